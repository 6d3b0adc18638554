"""Bernoulli and categorical distributions."""

from __future__ import annotations

from collections.abc import Callable

from graphc.errors import ArgumentError, DTypeError, caller
from graphc.ops import (
    astype,
    expand_dims,
    log_softmax,
    sigmoid,
    softmax,
    softplus,
    take_along_axis,
    where,
)
from graphc.ops import sum as sum_
from graphc.ops.elementwise import operands
from graphc.probability.logarithms import times_log
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import FLOATS, INTEGERS

__all__ = [
    "bernoulli_entropy",
    "bernoulli_kl",
    "bernoulli_log_prob",
    "categorical_entropy",
    "categorical_kl",
    "categorical_log_prob",
]


# --------------------------------------------------------------- bernoulli


def _bernoulli(
    op: str, logits: TensorLike | None, probs: TensorLike | None
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], Tensor, Tensor]:
    """Return how to weigh the logarithms of p and of 1 - p, and these two themselves.

    A weight of 0 makes 0 of an infinite logarithm.
    """
    if (logits is None) == (probs is None):
        given = "neither" if logits is None else "both"
        raise ArgumentError(f"{op}: bad parameters", expected="logits or probs", given=given, where=caller())
    if logits is not None:
        (odds,) = operands((logits,), FLOATS)
        return lambda w: -w * softplus(-odds), lambda w: -w * softplus(odds), sigmoid(odds), sigmoid(-odds)
    (p,) = operands((as_tensor(0.0 if probs is None else probs),), FLOATS)
    return lambda w: times_log(w, p), lambda w: times_log(w, 1 - p), p, 1 - p


def bernoulli_log_prob(
    x: TensorLike, logits: TensorLike | None = None, *, probs: TensorLike | None = None
) -> Tensor:
    """Return the logarithm of the probability of `x`, true with probability p.

    Parameters
    ----------
    x : array_like
        Bools, or 0 and 1.
    logits : array_like, optional
        Logarithms of ``p / (1 - p)``.
    probs : array_like, optional
        Probabilities p, in place of logits.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If not exactly one of logits and probabilities is given.

    Examples
    --------
    >>> import graphc as gx
    >>> round(float(gx.evaluate(gx.probability.bernoulli_log_prob(True, probs=0.25))), 6)
    -1.386294
    """
    true, false, p, _ = _bernoulli("bernoulli_log_prob", logits, probs)
    weight = astype(as_tensor(x), p.dtype)
    return true(weight) + false(1 - weight)


def bernoulli_entropy(logits: TensorLike | None = None, *, probs: TensorLike | None = None) -> Tensor:
    """Return the entropy of a Bernoulli distribution.

    Parameters
    ----------
    logits : array_like, optional
        Logarithms of ``p / (1 - p)``.
    probs : array_like, optional
        Probabilities p, in place of logits.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If not exactly one of logits and probabilities is given.

    Examples
    --------
    >>> import graphc as gx
    >>> round(float(gx.evaluate(gx.probability.bernoulli_entropy(0.0))), 6)
    0.693147
    """
    true, false, p, rest = _bernoulli("bernoulli_entropy", logits, probs)
    return -(true(p) + false(rest))


def bernoulli_kl(
    logits_p: TensorLike | None = None,
    logits_q: TensorLike | None = None,
    *,
    probs_p: TensorLike | None = None,
    probs_q: TensorLike | None = None,
) -> Tensor:
    """Return the divergence of a Bernoulli distribution p from another, q.

    Parameters
    ----------
    logits_p, logits_q : array_like, optional
        Logarithms of the odds.
    probs_p, probs_q : array_like, optional
        Probabilities, in place of logits.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If not exactly one of logits and probabilities is given.

    Examples
    --------
    >>> import graphc as gx
    >>> round(float(gx.evaluate(gx.probability.bernoulli_kl(probs_p=0.5, probs_q=0.25))), 6)
    0.143841
    """
    true, false, p, rest = _bernoulli("bernoulli_kl", logits_p, probs_p)
    other_true, other_false, _, _ = _bernoulli("bernoulli_kl", logits_q, probs_q)
    return (true(p) - other_true(p)) + (false(rest) - other_false(rest))


# ------------------------------------------------------------- categorical


def categorical_log_prob(x: TensorLike, logits: TensorLike) -> Tensor:
    """Return the logarithm of the probability of class `x`.

    Parameters
    ----------
    x : array_like of int
        Classes; its axes are those of `logits` without the last, or broadcast with them.
    logits : array_like
        Logarithms of probabilities along the last axis, up to a constant.

    Returns
    -------
    Tensor

    Raises
    ------
    DTypeError
        If `x` is not of an integer dtype.

    Examples
    --------
    >>> import graphc as gx
    >>> round(float(gx.evaluate(gx.probability.categorical_log_prob(1, [0.0, 0.0, 0.0]))), 6)
    -1.098612
    """
    classes = as_tensor(x)
    if classes.dtype not in INTEGERS:
        raise DTypeError(
            "categorical_log_prob: unsupported dtype of x",
            expected="an integer dtype",
            given=str(classes.dtype),
            where=caller(),
        )
    logarithms, positions = _log_probabilities(logits), expand_dims(classes, -1)
    rank = max(logarithms.ndim, positions.ndim)
    table, index = (expand_dims(t, tuple(range(rank - t.ndim))) for t in (logarithms, positions))
    return take_along_axis(table, index, axis=-1)[..., 0]


def categorical_entropy(logits: TensorLike) -> Tensor:
    """Return the entropy of distributions over classes.

    Parameters
    ----------
    logits : array_like
        Logarithms of probabilities along the last axis, up to a constant.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> round(float(gx.evaluate(gx.probability.categorical_entropy([0.0, 0.0, 0.0]))), 6)
    1.098612
    """
    logarithms = _log_probabilities(logits)
    return -_expected(logits, logarithms)


def categorical_kl(logits_p: TensorLike, logits_q: TensorLike) -> Tensor:
    """Return the divergence of distributions p over classes from others, q.

    Parameters
    ----------
    logits_p, logits_q : array_like
        Logarithms of probabilities along the last axis, up to a constant.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> float(gx.evaluate(gx.probability.categorical_kl([0.0, 0.0], [0.0, 0.0])))
    0.0
    """
    return _expected(logits_p, _log_probabilities(logits_p) - _log_probabilities(logits_q))


def _log_probabilities(logits: TensorLike) -> Tensor:
    return log_softmax(operands((logits,), FLOATS)[0], axis=-1)


def _expected(logits: TensorLike, values: Tensor) -> Tensor:
    """Return the mean of values, of which impossible classes have no part."""
    weights = softmax(operands((logits,), FLOATS)[0], axis=-1)
    none = weights == 0
    return sum_(where(none, 0, weights * where(none, 0, values)), axis=-1)
