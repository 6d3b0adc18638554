"""Mean, variance and standard deviation over axes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np

from graphc import ops
from graphc.errors import ArgumentError, caller
from graphc.lower.rules import Expand
from graphc.ops.attributes import REAL, REDUCED
from graphc.ops.batching import batch_by, next_axes
from graphc.ops.counting import element_count
from graphc.ops.elementwise import astype
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.ops.reductions import Axes, keep_axes, reduced_shape, reduction_axes
from graphc.ops.reductions import sum as sum_
from graphc.tensor import Axes as AxisLike
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import FLOAT64, FLOATS, TensorType, is_float

__all__ = ["mean", "std", "var"]

Array = np.ndarray[Any, Any]


def as_float(x: TensorLike) -> Tensor:
    """Return `x` as a floating Tensor; other dtypes become float64."""
    t = as_tensor(x)
    return t if is_float(t.dtype) else astype(t, FLOAT64)


# ----------------------------------------------------------------------- mean
def mean(x: TensorLike, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Average over axes.

    Parameters
    ----------
    x : array_like
        Operand; integers and bools are averaged as float64.
    axis : int or tuple of int, optional
        Axes to average over; by default all.
    keepdims : bool, default False
        Keep the reduced axes with size 1.

    Returns
    -------
    Tensor
        NaN where nothing is averaged.

    Raises
    ------
    ArgumentError
        If an axis does not exist or is named twice.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.mean(gx.constant([[1.0, 2.0], [3.0, 6.0]]), axis=0))
    array([2., 4.])
    """
    t = as_float(x)
    axes = reduction_axes(axis, t.ndim, "mean")
    return sum_(t, axis=axes, keepdims=keepdims) / element_count(t, axes, t.dtype) if axes else t


# ------------------------------------------------------------------ var and std
def var(x: TensorLike, axis: AxisLike = None, correction: float = 0, keepdims: bool = False) -> Tensor:
    """Compute the variance over axes, as the mean squared distance from the mean.

    Parameters
    ----------
    x : array_like
        Operand; integers and bools are converted to float64.
    axis : int or tuple of int, optional
        Axes to reduce; by default all.
    correction : float, default 0
        Subtracted from the number of elements in the divisor (1 gives the unbiased estimate).
    keepdims : bool, default False
        Keep the reduced axes with size 1.

    Returns
    -------
    Tensor
        NaN where there are no elements, NaN or infinite where `correction` leaves none.

    Raises
    ------
    ArgumentError
        If an axis does not exist or is named twice, or `correction` is not a number.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.constant([1.0, 2.0, 3.0, 4.0])
    >>> float(gx.evaluate(gx.var(x))), round(float(gx.evaluate(gx.var(x, correction=1))), 4)
    (1.25, 1.6667)
    """
    t = as_float(x)
    axes = reduction_axes(axis, t.ndim, "var")
    return _VAR(t, axes=axes, correction=_number("var", correction), keepdims=bool(keepdims))


def std(x: TensorLike, axis: AxisLike = None, correction: float = 0, keepdims: bool = False) -> Tensor:
    """Compute the standard deviation over axes: the square root of `var`.

    Parameters
    ----------
    x : array_like
        Operand; integers and bools are converted to float64.
    axis : int or tuple of int, optional
        Axes to reduce; by default all.
    correction : float, default 0
        Subtracted from the number of elements in the divisor.
    keepdims : bool, default False
        Keep the reduced axes with size 1.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If an axis does not exist or is named twice, or `correction` is not a number.

    Examples
    --------
    >>> import graphc as gx
    >>> float(gx.evaluate(gx.std(gx.constant([1.0, 3.0]))))
    1.0
    """
    t = as_float(x)
    axes = reduction_axes(axis, t.ndim, "std")
    return ops.sqrt(var(t, axes, _number("std", correction), keepdims))


def _number(owner: str, correction: object) -> float:
    if isinstance(correction, (int, float)) and not isinstance(correction, bool):
        return float(correction)
    raise ArgumentError(
        f"{owner}: bad correction", expected="a number", given=repr(correction), where=caller()
    )


def _divisor(x: Tensor, axes: Axes, correction: float) -> Tensor:
    count = element_count(x, axes, x.dtype)
    if not correction:
        return count
    return ops.maximum(count - correction, 0)


def _var_rule(ctx: Infer, x: TensorType, axes: Axes, correction: float, keepdims: bool) -> TensorType:
    ctx.dtype_in(x.dtype, FLOATS)
    return TensorType(reduced_shape(x.shape, axes, keepdims), x.dtype)


def _var_numpy(x: Array, axes: Axes, correction: float, keepdims: bool) -> Any:
    centered = x - _mean_numpy(x, axes)
    count = np.prod([x.shape[a] for a in axes]) - correction
    return np.sum(centered * centered, axis=axes, keepdims=keepdims) / x.dtype.type(np.maximum(count, 0))


def _mean_numpy(x: Array, axes: Axes) -> Any:
    return np.sum(x, axis=axes, keepdims=True) / x.dtype.type(np.prod([x.shape[a] for a in axes]))


def _var_expand(x: Tensor, axes: Axes, correction: float, keepdims: bool) -> Tensor:
    centered = x - mean(x, axis=axes, keepdims=True)
    return sum_(centered * centered, axis=axes, keepdims=keepdims) / _divisor(x, axes, correction)


def _var_gradient(
    g: Tensor, out: Tensor, x: Tensor, axes: Axes, correction: float, keepdims: bool
) -> Gradients:
    # The mean's own share vanishes: distances from the mean sum to zero.
    scale = keep_axes(g, axes, keepdims) * 2 / _divisor(x, axes, correction)
    return [(x - mean(x, axis=axes, keepdims=True)) * scale]


def _var_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3, 4, 2)) + 3
    yield Sample((x,), {}, expected=np.array(np.var(x)))
    yield Sample((x,), {"axis": 1, "correction": 1}, expected=np.var(x, axis=1, ddof=1))
    yield Sample((x,), {"axis": (0, -1), "keepdims": True}, expected=np.var(x, axis=(0, 2), keepdims=True))
    yield Sample((x,), {"axis": -1, "correction": 0.5}, expected=np.var(x, axis=-1, ddof=0.5))
    yield Sample((x,), {"axis": ()}, expected=np.zeros_like(x))
    yield Sample((x[:1, 0],), {"axis": 0}, expected=np.zeros(2))
    yield Sample((np.ones((0, 3)),), {"axis": 1}, expected=np.zeros(0))
    yield Sample((np.ones((0, 3)),), {"axis": 0}, expected=np.full(3, np.nan))
    yield Sample((np.array(2.5),), {}, expected=np.array(0.0))
    none_left = {"axis": 1, "correction": 1}
    yield Sample((np.ones((2, 1)),), none_left, expected=np.full(2, np.nan), differentiable=False)
    special = np.array([[1.0, np.inf], [np.nan, 2.0], [1.0, 3.0]])
    yield Sample((special,), {"axis": 1}, expected=np.array([np.nan, np.nan, 1.0]), differentiable=False)


_VAR = Op(
    "var",
    _var_rule,
    _var_numpy,
    Expand(_var_expand),
    attributes={**REDUCED, "correction": REAL},
    gradient=_var_gradient,
    batch=batch_by(axes=next_axes),
    api=var,
    samples=_var_samples,
    errors=lambda: (
        ErrorSample(lambda: var(np.ones(3), axis=1), ArgumentError, "out of range"),
        ErrorSample(lambda: var(np.ones(3), correction=cast("Any", "n")), ArgumentError, "correction"),
    ),
    dtypes=FLOATS,
    cost=4,
)
