"""Rectifiers and other linear units: relu, leaky_relu, elu, selu, gelu."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, caller
from graphc.lower import expr
from graphc.lower.expr import Expr, call, const
from graphc.ops.attributes import REAL, Attributes, word
from graphc.ops.elementwise import elementwise_op, number, operands, unary
from graphc.ops.elementwise_samples import default_samples
from graphc.ops.functions import erf, erf_numpy, exp, tanh
from graphc.ops.op import ErrorSample, Gradients, Op, Sample
from graphc.ops.selection import clip, where
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import FLOATS, NUMERIC

__all__ = ["elu", "gelu", "hard_tanh", "leaky_relu", "relu", "relu6", "selu"]

_BOTH_SIGNS = (-2.5, 2.5)

relu = unary(
    "relu",
    lambda x: np.maximum(x, x.dtype.type(0)),
    lambda x: call("max", x, const(0, x.dtype)),
    doc="Replace negative elements by 0 (the rectifier).",
    notes="NaN stays NaN.  The gradient at 0 is 0.",
    example=([-1.5, 0.0, 2.0],),
    dtypes=NUMERIC,
    # The result tells which elements passed, so `x` itself need not be kept for this.
    gradient=lambda g, out, x: [where(out > 0, g, as_tensor(0, g.dtype))],
    samples=lambda: (Sample((np.array([[-1.5, 0.3, 2.0]]),), expected=np.array([[0.0, 0.3, 2.0]])),),
)


def relu6(x: TensorLike) -> Tensor:
    """Limit the elements to [0, 6].

    Parameters
    ----------
    x : array_like
        Operand; any dtype but bool.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.relu6([-1.0, 3.0, 8.0]))
    array([0., 3., 6.])
    """
    return clip(x, 0, 6)


def hard_tanh(x: TensorLike) -> Tensor:
    """Limit the elements to [-1, 1].

    Parameters
    ----------
    x : array_like
        Operand; any dtype but bool and unsigned integers.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.hard_tanh([-3.0, 0.5, 2.0]))
    array([-1. ,  0.5,  1. ])
    """
    return clip(x, -1, 1)


def _activation(
    name: str,
    numpy: Callable[..., Any],
    scalar: Callable[..., Expr],
    gradient: Callable[..., Gradients],
    *,
    attributes: Attributes,
    api: Callable[..., Tensor],
    cost: int,
    options: Iterable[dict[str, Any]] = ({},),
    samples: Callable[[], Iterable[Sample]] = lambda: (),
    errors: Callable[[], Iterable[ErrorSample]] = lambda: (),
    ulp: float = 8.0,
) -> Op:
    """Make the op of an activation whose public function, written below, takes parameters."""
    return elementwise_op(
        name,
        numpy,
        scalar,
        dtypes=FLOATS,
        attributes=attributes,
        gradient=gradient,
        cost=cost,
        api=api,
        samples=lambda: [
            *(
                replace(s, ulp=ulp)
                for o in options
                for s in default_samples(1, numpy, FLOATS, _BOTH_SIGNS, o)
            ),
            *samples(),
        ],
        errors=errors,
    )


def _not_a_number() -> Any:
    return as_tensor(0.1)


def leaky_relu(x: TensorLike, negative_slope: float = 0.01) -> Tensor:
    """Multiply negative elements by a slope.

    Parameters
    ----------
    x : array_like
        Operand.
    negative_slope : float, default 0.01
        Slope at 0 and below.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If `negative_slope` is not a Python number.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.leaky_relu([-2.0, 3.0], negative_slope=0.5))
    array([-1.,  3.])
    """
    slope = number("leaky_relu", "negative_slope", negative_slope)
    return _LEAKY_RELU(*operands((x,), FLOATS), negative_slope=slope)


_LEAKY_RELU = _activation(
    "leaky_relu",
    lambda x, negative_slope=0.01: np.where(x > 0, x, negative_slope * x),
    lambda x, negative_slope: expr.where(x > 0, x, negative_slope * x),
    lambda g, out, x, negative_slope: [where(x > 0, g, g * negative_slope)],
    attributes={"negative_slope": REAL},
    api=leaky_relu,
    cost=2,
    options=({}, {"negative_slope": 0.2}, {"negative_slope": -1.0}),
    errors=lambda: (ErrorSample(lambda: leaky_relu(1.0, _not_a_number()), ArgumentError, "negative_slope"),),
)


def elu(x: TensorLike, alpha: float = 1.0) -> Tensor:
    """Replace negative elements by ``alpha * (exp(x) - 1)``.

    Exponential linear units: Clevert, Unterthiner, Hochreiter, ICLR 2016.

    Parameters
    ----------
    x : array_like
        Operand.
    alpha : float, default 1
        Minus the limit for very negative elements.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If `alpha` is not a Python number.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.elu([-800.0, 0.0, 2.0], alpha=0.5))
    array([-0.5,  0. ,  2. ])
    """
    return _ELU(*operands((x,), FLOATS), alpha=number("elu", "alpha", alpha), scale=1.0)


# Klambauer, Unterthiner, Mayr, Hochreiter: Self-Normalizing Neural Networks, NeurIPS 2017.
_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


def selu(x: TensorLike) -> Tensor:
    """Compute ``scale * elu(x, alpha)`` with the constants of self-normalizing networks.

    Parameters
    ----------
    x : array_like
        Operand.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.selu([-1.0, 0.0, 1.0]))
    array([-1.11133074,  0.        ,  1.05070099])
    """
    return _ELU(*operands((x,), FLOATS), alpha=_SELU_ALPHA, scale=_SELU_SCALE)


def _elu_numpy(x: Any, alpha: float = 1.0, scale: float = 1.0) -> Any:
    return np.where(x > 0, scale * x, scale * alpha * np.expm1(x))


def _elu_scalar(x: Expr, alpha: float, scale: float) -> Expr:
    return expr.where(x > 0, scale * x, scale * alpha * call("expm1", x))


def _elu_gradient(g: Tensor, out: Tensor, x: Tensor, alpha: float, scale: float) -> Gradients:
    # scale * alpha * exp(x) without another exponential.
    return [g * where(x > 0, as_tensor(scale, x.dtype), out + scale * alpha)]


_ELU = _activation(
    "elu",
    _elu_numpy,
    _elu_scalar,
    _elu_gradient,
    attributes={"alpha": REAL, "scale": REAL},
    api=elu,
    cost=20,
    options=({}, {"alpha": 0.3}),
    samples=lambda: (
        Sample(
            (np.array([[-2.0, -0.5], [0.5, 2.0]]),),
            expected=lambda x: _SELU_SCALE * (np.maximum(x, 0) + _SELU_ALPHA * np.expm1(np.minimum(x, 0))),
            call=selu,
        ),
    ),
    errors=lambda: (ErrorSample(lambda: elu(1.0, alpha=_not_a_number()), ArgumentError, "alpha"),),
)


# ---------------------------------------------------------------------------- gelu
_ROOT_HALF = math.sqrt(0.5)
_DENSITY = 1 / math.sqrt(2 * math.pi)
# The tanh form, Hendrycks and Gimpel, arXiv:1606.08415, eq. 2.
_TANH_SCALE = math.sqrt(2 / math.pi)
_TANH_CUBE = 0.044715


def gelu(x: TensorLike, approximate: str = "none") -> Tensor:
    """Multiply every element by the normal distribution function of it.

    Gaussian error linear units: Hendrycks and Gimpel, arXiv:1606.08415.

    Parameters
    ----------
    x : array_like
        Operand.
    approximate : {"none", "tanh"}
        Whether to compute the distribution function exactly, or by the authors' `tanh` form.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If `approximate` is neither.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.gelu([-1.0, 0.0, 1.0]))
    array([-0.15865525,  0.        ,  0.84134475])
    """
    if approximate not in _GELU_FORMS:
        raise ArgumentError(
            "gelu: bad approximate",
            expected=" or ".join(map(repr, _GELU_FORMS)),
            given=repr(approximate),
            where=caller(),
        )
    return _GELU(*operands((x,), FLOATS), approximate=approximate)


def _gelu_numpy(x: Any, approximate: str = "none") -> Any:
    if approximate == "none":
        return 0.5 * x * (1 + erf_numpy(x * _ROOT_HALF))
    return 0.5 * x * (1 + np.tanh(_TANH_SCALE * (x + _TANH_CUBE * x * x * x)))


def _gelu_exact(x: Expr) -> Expr:
    return 0.5 * x * (1 + call("erf", x * _ROOT_HALF))


def _gelu_tanh(x: Expr) -> Expr:
    return 0.5 * x * (1 + call("tanh", _TANH_SCALE * (x + _TANH_CUBE * x * x * x)))


def _gelu_exact_slope(x: Tensor) -> Tensor:
    return 0.5 * (1 + erf(x * _ROOT_HALF)) + _DENSITY * x * exp(-0.5 * x * x)


def _gelu_tanh_slope(x: Tensor) -> Tensor:
    curve = tanh(_TANH_SCALE * (x + _TANH_CUBE * x * x * x))
    inner = _TANH_SCALE * (1 + 3 * _TANH_CUBE * x * x)
    return 0.5 * (1 + curve) + 0.5 * x * (1 - curve * curve) * inner


_GELU_FORMS: dict[str, tuple[Callable[[Expr], Expr], Callable[[Tensor], Tensor]]] = {
    "none": (_gelu_exact, _gelu_exact_slope),
    "tanh": (_gelu_tanh, _gelu_tanh_slope),
}
_GELU = _activation(
    "gelu",
    _gelu_numpy,
    lambda x, approximate: _GELU_FORMS[approximate][0](x),
    lambda g, out, x, approximate: [g * _GELU_FORMS[approximate][1](x)],
    attributes={"approximate": word(*_GELU_FORMS)},
    api=gelu,
    cost=25,
    options=({}, {"approximate": "tanh"}),
    # x * Phi(x), the distribution function from tables of the normal distribution.
    samples=lambda: (
        Sample((np.array([1.0, -1.0]),), expected=np.array([0.8413447460685429, -0.15865525393145705])),
    ),
    errors=lambda: (ErrorSample(lambda: gelu(1.0, "fast"), ArgumentError, "approximate"),),
    # 1 + tanh cancels on the negative side, in NumPy's form and in this one.
    ulp=128.0,
)
