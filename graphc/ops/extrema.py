"""Extrema over axes: max, min and their positions, argmax and argmin.

They have no identity, so an axis that is empty by its static shape is a build error.  A
symbolic axis that turns out to be empty gives the lowest value of the dtype (`max`), the
highest (`min`) or position 0.  NaN counts as the extremum, as in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphc import ops
from graphc.errors import ArgumentError, ShapeError
from graphc.lower.rules import AxisReduce
from graphc.ops.attributes import AXES, FLAG, REDUCED, Attributes
from graphc.ops.axes import normalize_axis
from graphc.ops.batching import batch_by, next_axes
from graphc.ops.elementwise import astype
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.ops.reductions import (
    Axes,
    keep_axes,
    reduced_shape,
    reduction_axes,
    reduction_errors,
    reduction_rule,
    reduction_samples,
)
from graphc.ops.reductions import all as all_
from graphc.ops.reductions import any as any_
from graphc.ops.reductions import sum as sum_
from graphc.tensor import Axes as AxisLike
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import BOOL, INT64, NUMERIC, UINT8, DType, TensorType, is_float

__all__ = ["argmax", "argmin", "max", "min"]

Array = np.ndarray[Any, Any]


# ------------------------------------------------------------------- max, min
def max(x: TensorLike, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Take the largest element over axes; NaN where there is one.

    Elements that share the largest value share the gradient evenly.

    Parameters
    ----------
    x : array_like
        Operand.
    axis : int or tuple of int, optional
        Axes to reduce; by default all.
    keepdims : bool, default False
        Keep the reduced axes with size 1.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If an axis does not exist or is named twice.
    ShapeError
        If a reduced axis has the static size 0.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.max(gx.constant([[1, 5], [4, 2]]), axis=1))
    array([5, 4])
    """
    t = as_tensor(x)
    if t.dtype == BOOL:
        return any_(t, axis=axis, keepdims=keepdims)
    axes = reduction_axes(axis, t.ndim, "max")
    return _MAX(t, axes=axes, keepdims=bool(keepdims)) if axes else t


def min(x: TensorLike, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Take the smallest element over axes; NaN where there is one.

    Elements that share the smallest value share the gradient evenly.

    Parameters
    ----------
    x : array_like
        Operand.
    axis : int or tuple of int, optional
        Axes to reduce; by default all.
    keepdims : bool, default False
        Keep the reduced axes with size 1.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If an axis does not exist or is named twice.
    ShapeError
        If a reduced axis has the static size 0.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.min(gx.constant([[1, 5], [4, 2]]), axis=1))
    array([1, 2])
    """
    t = as_tensor(x)
    if t.dtype == BOOL:
        return all_(t, axis=axis, keepdims=keepdims)
    axes = reduction_axes(axis, t.ndim, "min")
    return _MIN(t, axes=axes, keepdims=bool(keepdims)) if axes else t


def _empty_errors(function: Callable[..., Any]) -> Callable[[], Iterable[ErrorSample]]:
    empty = ErrorSample(lambda: function(np.ones((2, 0)), axis=1), ShapeError, "empty axis")
    return lambda: (*reduction_errors(function)(), empty)


def _lowest(dtype: DType) -> float | int:
    return -np.inf if is_float(dtype) else int(np.iinfo(dtype).min)


def _highest(dtype: DType) -> float | int:
    return np.inf if is_float(dtype) else int(np.iinfo(dtype).max)


def _max_numpy(x: Array, axes: Axes, keepdims: bool) -> Any:
    return np.max(x, axis=axes, keepdims=keepdims, initial=_lowest(x.dtype))


def _min_numpy(x: Array, axes: Axes, keepdims: bool) -> Any:
    return np.min(x, axis=axes, keepdims=keepdims, initial=_highest(x.dtype))


def _extremum_gradient(g: Tensor, out: Tensor, x: Tensor, axes: Axes, keepdims: bool) -> Gradients:
    if not is_float(x.dtype):
        return [None]
    chosen = astype(x == keep_axes(out, axes, keepdims), x.dtype)
    # A row with a NaN chooses nothing: 0 * (g / 0) makes its gradient NaN too.
    return [chosen * (keep_axes(g, axes, keepdims) / sum_(chosen, axis=axes, keepdims=True))]


def _same(dtype: DType) -> DType:
    return dtype


_MAX = Op(
    "max",
    reduction_rule(NUMERIC, _same, has_identity=False),
    _max_numpy,
    AxisReduce("max"),
    attributes=REDUCED,
    gradient=_extremum_gradient,
    batch=batch_by(axes=next_axes),
    api=max,
    samples=reduction_samples(np.max),
    errors=_empty_errors(max),
    dtypes=NUMERIC,
)
_MIN = Op(
    "min",
    reduction_rule(NUMERIC, _same, has_identity=False),
    _min_numpy,
    AxisReduce("min"),
    attributes=REDUCED,
    gradient=_extremum_gradient,
    batch=batch_by(axes=next_axes),
    api=min,
    samples=reduction_samples(np.min),
    errors=_empty_errors(min),
    dtypes=NUMERIC,
)


# -------------------------------------------------------------- argmax, argmin
def argmax(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Find the position of the largest element: the first of equals, the first NaN if any.

    Parameters
    ----------
    x : array_like
        Operand.
    axis : int, optional
        Axis to search along; by default the position is in the flattened operand.
    keepdims : bool, default False
        Keep the searched axes with size 1.

    Returns
    -------
    Tensor of int64
        Position 0 where a symbolic axis turns out to be empty.

    Raises
    ------
    ArgumentError
        If the axis does not exist.
    ShapeError
        If a searched axis has the static size 0.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.argmax(gx.constant([[1, 5, 5], [4, 2, 3]]), axis=1))
    array([1, 0])
    """
    return _search(_ARGMAX, x, axis, keepdims)


def argmin(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Find the position of the smallest element: the first of equals, the first NaN if any.

    Parameters
    ----------
    x : array_like
        Operand.
    axis : int, optional
        Axis to search along; by default the position is in the flattened operand.
    keepdims : bool, default False
        Keep the searched axes with size 1.

    Returns
    -------
    Tensor of int64
        Position 0 where a symbolic axis turns out to be empty.

    Raises
    ------
    ArgumentError
        If the axis does not exist.
    ShapeError
        If a searched axis has the static size 0.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.argmin(gx.constant([[1, 5, 1], [4, 2, 3]]), axis=1))
    array([0, 1])
    """
    return _search(_ARGMIN, x, axis, keepdims)


def _search(op: Op, x: TensorLike, axis: int | None, keepdims: bool) -> Tensor:
    t = as_tensor(x)
    t = astype(t, UINT8) if t.dtype == BOOL else t
    axes = tuple(range(t.ndim)) if axis is None else (normalize_axis(axis, t.ndim, op.name),)
    if axes:
        return op(t, axes=axes, keepdims=bool(keepdims))
    return op(ops.reshape(t, (1,)), axes=(0,), keepdims=False)


def _search_rule(ctx: Infer, x: TensorType, axes: Axes, keepdims: bool) -> TensorType:
    ctx.dtype_in(x.dtype, NUMERIC)
    if 0 in (x.shape[a] for a in axes):
        ctx.shape_error("an empty axis has no such element", "searched axes of size 1 or more", x)
    return TensorType(reduced_shape(x.shape, axes, keepdims), INT64)


def _search_numpy(meaning: Callable[..., Any]) -> Callable[..., Any]:
    def numpy(x: Array, axes: Axes, keepdims: bool) -> Any:
        kept = [a for a in range(x.ndim) if a not in axes]
        rows = x.transpose(*kept, *axes).reshape(*(x.shape[a] for a in kept), _elements(x, axes))
        found = meaning(rows, axis=-1) if rows.shape[-1] else np.zeros(rows.shape[:-1], np.int64)
        return np.expand_dims(found, axes) if keepdims else found

    return numpy


def _elements(x: Array, axes: Axes) -> int:
    return int(np.prod([x.shape[a] for a in axes]))


def _search_samples(meaning: Callable[..., Any]) -> Callable[[], Iterable[Sample]]:
    def samples() -> Iterable[Sample]:
        x = np.array([[3.0, 1.0, 3.0, 1.0], [0.0, -2.0, 5.0, -2.0], [1.0, 1.0, 1.0, 1.0]])
        for kwargs in ({}, {"axis": 1}, {"axis": -2, "keepdims": True}, {"keepdims": True}):
            yield Sample((x,), kwargs, expected=meaning(x, **kwargs), differentiable=False)
        for shape, axis in (((1,), 0), ((0, 3), 1), ((2, 3, 2), 1), ((), None)):
            y = np.random.default_rng(2).normal(size=shape)
            yield Sample((y,), {"axis": axis}, expected=meaning(y, axis=axis), differentiable=False)
        nan = np.array([[1.0, np.nan, np.nan], [np.inf, -np.inf, np.inf], [-np.inf, -np.inf, -np.inf]])
        yield Sample((nan,), {"axis": 1}, expected=meaning(nan, axis=1), differentiable=False)
        flags = np.array([[False, True, True], [True, False, False]])
        yield Sample((flags,), {"axis": 1}, expected=meaning(flags, axis=1), differentiable=False)

    return samples


def _search_errors(function: Callable[..., Any]) -> Callable[[], Iterable[ErrorSample]]:
    return lambda: (
        ErrorSample(lambda: function(np.ones((2, 3)), axis=-3), ArgumentError, "out of range"),
        ErrorSample(lambda: function(np.ones((2, 3)), axis=(0, 1)), ArgumentError, "expected an int"),
        ErrorSample(lambda: function(np.ones((2, 0)), axis=1), ShapeError, "empty axis"),
    )


# A position within several axes counts in their order.
_SEARCH: Attributes = {
    "axes": AXES.narrowed("in rising order", lambda value, use: list(value) == sorted(value)),
    "keepdims": FLAG,
}
_ARGMAX = Op(
    "argmax",
    _search_rule,
    _search_numpy(np.argmax),
    AxisReduce("argmax"),
    attributes=_SEARCH,
    batch=batch_by(axes=next_axes),
    api=argmax,
    samples=_search_samples(np.argmax),
    errors=_search_errors(argmax),
    dtypes=NUMERIC,
)
_ARGMIN = Op(
    "argmin",
    _search_rule,
    _search_numpy(np.argmin),
    AxisReduce("argmin"),
    attributes=_SEARCH,
    batch=batch_by(axes=next_axes),
    api=argmin,
    samples=_search_samples(np.argmin),
    errors=_search_errors(argmin),
    dtypes=NUMERIC,
)
