"""Normal, gamma and beta distributions."""

from __future__ import annotations

import math
from collections.abc import Callable

from graphc.ops import astype, digamma, lgamma, log, log1p, square, where
from graphc.ops.elementwise import operands
from graphc.probability.logarithms import times_log
from graphc.tensor import Tensor, TensorLike
from graphc.types import FLOAT64, FLOATS

__all__ = [
    "beta_entropy",
    "beta_kl",
    "beta_log_prob",
    "gamma_entropy",
    "gamma_kl",
    "gamma_log_prob",
    "normal_entropy",
    "normal_kl",
    "normal_log_prob",
]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def _wide(function: Callable[..., Tensor], *values: TensorLike) -> Tensor:
    """Return a function of values computed in float64, in the dtype of the values."""
    tensors = operands(values, FLOATS)
    return astype(function(*(astype(t, FLOAT64) for t in tensors)), tensors[0].dtype)


# ------------------------------------------------------------------ normal


def normal_log_prob(x: TensorLike, loc: TensorLike = 0.0, scale: TensorLike = 1.0) -> Tensor:
    """Return the logarithm of the normal density.

    Parameters
    ----------
    x : array_like
        Where.
    loc, scale : array_like
        Mean and standard deviation.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> round(float(gx.evaluate(gx.probability.normal_log_prob(0.0))), 6)
    -0.918939
    """
    at, center, width = operands((x, loc, scale), FLOATS)
    return -0.5 * square((at - center) / width) - log(width) - _HALF_LOG_2PI


def normal_entropy(scale: TensorLike) -> Tensor:
    """Return the entropy of a normal distribution.

    Parameters
    ----------
    scale : array_like
        Standard deviation.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> round(float(gx.evaluate(gx.probability.normal_entropy(1.0))), 6)
    1.418939
    """
    (width,) = operands((scale,), FLOATS)
    return log(width) + (0.5 + _HALF_LOG_2PI)


def normal_kl(loc_p: TensorLike, scale_p: TensorLike, loc_q: TensorLike, scale_q: TensorLike) -> Tensor:
    """Return the divergence of a normal distribution p from another, q.

    Parameters
    ----------
    loc_p, scale_p, loc_q, scale_q : array_like
        Means and standard deviations.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> float(gx.evaluate(gx.probability.normal_kl(1.0, 1.0, 0.0, 1.0)))
    0.5
    """
    center, width, other, other_width = operands((loc_p, scale_p, loc_q, scale_q), FLOATS)
    ratio = square(width / other_width)
    return 0.5 * (ratio - 1 - log(ratio) + square((center - other) / other_width))


# ------------------------------------------------------------------- gamma


def gamma_log_prob(x: TensorLike, alpha: TensorLike, scale: TensorLike = 1.0) -> Tensor:
    """Return the logarithm of the gamma density.

    Parameters
    ----------
    x : array_like
        Where; positive.
    alpha, scale : array_like
        Shape and scale, positive.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> float(gx.evaluate(gx.probability.gamma_log_prob(1.0, 2.0)))
    -1.0
    """

    def density(at: Tensor, a: Tensor, width: Tensor) -> Tensor:
        return times_log(a - 1, at / width) - at / width - lgamma(a) - log(width)

    return _wide(density, x, alpha, scale)


def gamma_entropy(alpha: TensorLike, scale: TensorLike = 1.0) -> Tensor:
    """Return the entropy of a gamma distribution.

    Parameters
    ----------
    alpha, scale : array_like
        Shape and scale, positive.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> float(gx.evaluate(gx.probability.gamma_entropy(1.0)))
    1.0
    """

    def entropy(a: Tensor, width: Tensor) -> Tensor:
        return a + log(width) + lgamma(a) + (1 - a) * digamma(a)

    return _wide(entropy, alpha, scale)


def gamma_kl(alpha_p: TensorLike, scale_p: TensorLike, alpha_q: TensorLike, scale_q: TensorLike) -> Tensor:
    """Return the divergence of a gamma distribution p from another, q.

    Parameters
    ----------
    alpha_p, scale_p, alpha_q, scale_q : array_like
        Shapes and scales, positive.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> round(float(gx.evaluate(gx.probability.gamma_kl(1.0, 1.0, 1.0, 2.0))), 6)
    0.193147
    """

    def divergence(a: Tensor, width: Tensor, other: Tensor, other_width: Tensor) -> Tensor:
        ratio = width / other_width
        shapes = (a - other) * digamma(a) - lgamma(a) + lgamma(other)
        return shapes - other * log(ratio) + a * (ratio - 1)

    return _wide(divergence, alpha_p, scale_p, alpha_q, scale_q)


# -------------------------------------------------------------------- beta


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def beta_log_prob(x: TensorLike, alpha: TensorLike, beta: TensorLike) -> Tensor:
    """Return the logarithm of the beta density.

    Parameters
    ----------
    x : array_like
        Where; from 0 to 1.
    alpha, beta : array_like
        Shapes, positive.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> round(float(gx.evaluate(gx.probability.beta_log_prob(0.5, 2.0, 2.0))), 6)
    0.405465
    """

    def density(at: Tensor, a: Tensor, b: Tensor) -> Tensor:
        none = b == 1
        right = where(none, 0, (b - 1) * log1p(-where(none, 0, at)))
        return times_log(a - 1, at) + right - _log_beta(a, b)

    return _wide(density, x, alpha, beta)


def beta_entropy(alpha: TensorLike, beta: TensorLike) -> Tensor:
    """Return the entropy of a beta distribution.

    Parameters
    ----------
    alpha, beta : array_like
        Shapes, positive.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> round(float(gx.evaluate(gx.probability.beta_entropy(2.0, 2.0))), 6)
    -0.125093
    """

    def entropy(a: Tensor, b: Tensor) -> Tensor:
        both = (a + b - 2) * digamma(a + b)
        return _log_beta(a, b) - (a - 1) * digamma(a) - (b - 1) * digamma(b) + both

    return _wide(entropy, alpha, beta)


def beta_kl(alpha_p: TensorLike, beta_p: TensorLike, alpha_q: TensorLike, beta_q: TensorLike) -> Tensor:
    """Return the divergence of a beta distribution p from another, q.

    Parameters
    ----------
    alpha_p, beta_p, alpha_q, beta_q : array_like
        Shapes, positive.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> float(gx.evaluate(gx.probability.beta_kl(2.0, 3.0, 2.0, 3.0)))
    0.0
    """

    def divergence(a: Tensor, b: Tensor, other_a: Tensor, other_b: Tensor) -> Tensor:
        total = (other_a - a + (other_b - b)) * digamma(a + b)
        means = (a - other_a) * digamma(a) + (b - other_b) * digamma(b) + total
        return _log_beta(other_a, other_b) - _log_beta(a, b) + means

    return _wide(divergence, alpha_p, beta_p, alpha_q, beta_q)
