"""Activation functions: one node each, with gradients that stay finite and reuse the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphc import dims
from graphc.errors import ArgumentError, ShapeError, caller
from graphc.lower import expr
from graphc.lower.expr import Expr, call, const
from graphc.ops.elementwise import Unary, elementwise_op, number, operands, unary
from graphc.ops.elementwise_samples import default_samples
from graphc.ops.functions import erf, erf_numpy, exp, tanh
from graphc.ops.op import ErrorSample, Gradients, Op, Sample
from graphc.ops.selection import clip, where
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import FLOATS, NUMERIC

__all__ = [
    "elu",
    "gaussian",
    "gelu",
    "hard_tanh",
    "leaky_relu",
    "log_sigmoid",
    "maxout",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
]

_BOTH_SIGNS = (-2.5, 2.5)


def _sigmoid_numpy(x: Any) -> Any:
    # exp of a negative number only: nothing overflows.
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def _softplus_numpy(x: Any) -> Any:
    return np.logaddexp(x, x.dtype.type(0))


# ------------------------------------------------------------- smooth functions
sigmoid = unary(
    "sigmoid",
    _sigmoid_numpy,
    lambda x: call("sigmoid", x),
    doc="Compute the logistic function ``1 / (1 + exp(-x))`` elementwise without overflow.",
    cost=20,
    domain=_BOTH_SIGNS,
    gradient=lambda g, out, x: [g * (out * (1 - out))],
    samples=lambda: (
        Sample((np.linspace(-3.0, 3.0, 7),), expected=lambda x: 0.5 * (1 + np.tanh(x / 2))),
        Sample((np.array([-800.0, 800.0]),), expected=np.array([0.0, 1.0])),
    ),
)
log_sigmoid = unary(
    "log_sigmoid",
    lambda x: -_softplus_numpy(-x),
    lambda x: -call("softplus", -x),
    doc="Compute ``log(sigmoid(x))`` elementwise, precisely where the sigmoid is near 0 or 1.",
    cost=40,
    domain=_BOTH_SIGNS,
    gradient=lambda g, out, x: [g * sigmoid(-x)],
    samples=lambda: (Sample((np.linspace(-3.0, 3.0, 7),), expected=lambda x: -np.log1p(np.exp(-x))),),
)
softplus = unary(
    "softplus",
    _softplus_numpy,
    lambda x: call("softplus", x),
    doc="Compute ``log(1 + exp(x))`` elementwise without overflow.",
    cost=40,
    domain=_BOTH_SIGNS,
    gradient=lambda g, out, x: [g * sigmoid(x)],
    samples=lambda: (
        Sample((np.linspace(-3.0, 3.0, 7),), expected=lambda x: np.log1p(np.exp(x))),
        Sample((np.array([-800.0, 800.0]),), expected=np.array([0.0, 800.0])),
    ),
)


def _silu_gradient(g: Tensor, out: Tensor, x: Tensor) -> Gradients:
    gate = sigmoid(x)
    return [g * (gate + out * (1 - gate))]


silu = unary(
    "silu",
    lambda x: x * _sigmoid_numpy(x),
    lambda x: x * call("sigmoid", x),
    doc="Compute ``x * sigmoid(x)`` elementwise (the swish activation).",
    cost=20,
    domain=_BOTH_SIGNS,
    gradient=_silu_gradient,
    samples=lambda: (Sample((np.linspace(-3.0, 3.0, 7),), expected=lambda x: x / (1 + np.exp(-x))),),
)


def _mish_gradient(g: Tensor, out: Tensor, x: Tensor) -> Gradients:
    gate = tanh(softplus(x))
    return [g * (gate + x * (1 - gate * gate) * sigmoid(x))]


mish = unary(
    "mish",
    lambda x: x * np.tanh(_softplus_numpy(x)),
    lambda x: x * call("tanh", call("softplus", x)),
    doc="Compute ``x * tanh(softplus(x))`` elementwise.",
    cost=60,
    domain=_BOTH_SIGNS,
    gradient=_mish_gradient,
)
gaussian = unary(
    "gaussian",
    lambda x: np.exp(-(x * x)),
    lambda x: call("exp", -(x * x)),
    doc="Compute ``exp(-x**2)`` elementwise.",
    cost=20,
    domain=_BOTH_SIGNS,
    gradient=lambda g, out, x: [g * (-2 * x * out)],
)
softsign = unary(
    "softsign",
    lambda x: x / (1 + np.abs(x)),
    lambda x: x / (1 + call("abs", x)),
    doc="Compute ``x / (1 + abs(x))`` elementwise.",
    cost=6,
    domain=_BOTH_SIGNS,
    gradient=lambda g, out, x: [g / ((1 + abs(x)) * (1 + abs(x)))],
)


# --------------------------------------------------------------------- rectifiers
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
    api: Callable[..., Tensor],
    cost: int,
    options: Iterable[dict[str, Any]] = ({},),
    samples: Callable[[], Iterable[Sample]] = lambda: (),
    errors: Callable[[], Iterable[ErrorSample]] = lambda: (),
) -> Op:
    """Make the op of an activation whose public function, written below, takes parameters."""
    return elementwise_op(
        name,
        numpy,
        scalar,
        dtypes=FLOATS,
        gradient=gradient,
        cost=cost,
        api=api,
        samples=lambda: [
            *(s for o in options for s in default_samples(1, numpy, FLOATS, _BOTH_SIGNS, o)),
            *samples(),
        ],
        errors=errors,
    )


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
    api=leaky_relu,
    cost=2,
    options=({}, {"negative_slope": 0.2}, {"negative_slope": -1.0}),
    errors=lambda: (ErrorSample(lambda: leaky_relu(1.0, as_tensor(0.1)), ArgumentError, "negative_slope"),),
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
    errors=lambda: (ErrorSample(lambda: elu(1.0, alpha=as_tensor(0.1)), ArgumentError, "alpha"),),
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
    api=gelu,
    cost=25,
    options=({}, {"approximate": "tanh"}),
    # x * Phi(x), the distribution function from tables of the normal distribution.
    samples=lambda: (
        Sample((np.array([1.0, -1.0]),), expected=np.array([0.8413447460685429, -0.15865525393145705])),
    ),
    errors=lambda: (ErrorSample(lambda: gelu(1.0, "fast"), ArgumentError, "approximate"),),
)


# -------------------------------------------------------------------------- maxout
def maxout(x: TensorLike, num_pieces: int, axis: int = -1) -> Tensor:
    """Keep the largest of every `num_pieces` consecutive elements along an axis.

    Goodfellow, Warde-Farley, Mirza, Courville, Bengio: Maxout Networks, ICML 2013.

    Parameters
    ----------
    x : array_like
        Operand.
    num_pieces : int
        Linear pieces of each unit; divides the size of the axis.
    axis : int, default -1
        Axis of the pieces; it becomes `num_pieces` times shorter.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If `num_pieces` is not a positive int, or there is no such axis.
    ShapeError
        If `num_pieces` does not divide the size of the axis.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.maxout([[1.0, 5.0, 2.0, 4.0]], num_pieces=2))
    array([[5., 4.]])
    """
    from graphc.ops import max as max_
    from graphc.ops import reshape

    t = as_tensor(x)
    if not isinstance(num_pieces, int) or num_pieces < 1:
        raise ArgumentError(
            "maxout: bad num_pieces", expected="a positive int", given=repr(num_pieces), where=caller()
        )
    if not isinstance(axis, int) or not -t.ndim <= axis < t.ndim:
        raise ArgumentError(
            "maxout: there is no such axis",
            expected=f"an int from {-t.ndim} to {t.ndim - 1}",
            given=repr(axis),
            where=caller(),
        )
    at = axis % t.ndim
    size = t.shape[at]
    units = dims.floordiv(size, num_pieces)
    if units * num_pieces != size:
        raise ShapeError(
            f"maxout: axis {axis} cannot be split into pieces",
            expected=f"a multiple of {num_pieces}",
            given=f"{size} in {t.type}",
            where=caller(),
        )
    split = reshape(t, (*t.shape[:at], units, num_pieces, *t.shape[at + 1 :]))
    return max_(split, axis=at + 1)
