"""Smooth activation functions and maxout: one node each, with gradients that stay finite."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import dims
from graphc.errors import ArgumentError, ShapeError, caller
from graphc.lower.expr import call
from graphc.ops.elementwise import unary
from graphc.ops.extrema import max as max_
from graphc.ops.functions import tanh
from graphc.ops.op import Gradients, Sample
from graphc.ops.shape import reshape
from graphc.tensor import Tensor, TensorLike, as_tensor

__all__ = [
    "gaussian",
    "log_sigmoid",
    "maxout",
    "mish",
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
