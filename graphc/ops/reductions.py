"""Reductions over axes: sum, prod, any, all; and what all reductions share.

``axis`` is None (all axes), an int or a tuple of ints, negative ones counting from the
back; ``keepdims`` keeps reduced axes with size 1.  Result dtypes are NumPy's, except
that sums of uint8 are int64 (graphc has no uint64).  NaN propagates.

The reduction of an empty axis is the reducer's identity: 0, 1, False, True.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphc import ops
from graphc.dims import Shape
from graphc.errors import ArgumentError
from graphc.lower.rules import AxisReduce
from graphc.ops.attributes import REDUCED
from graphc.ops.axes import normalize_axes
from graphc.ops.batching import batch_by, next_axes
from graphc.ops.cumulative import product_of_others
from graphc.ops.elementwise import astype
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.tensor import Axes as AxisLike
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import BOOL, DTYPES, INT64, DType, TensorType, is_float

__all__ = ["all", "any", "prod", "sum"]

Array = np.ndarray[Any, Any]
Axes = tuple[int, ...]


# -------------------------------------------------------------- shared by all
def reduction_axes(axis: AxisLike, ndim: int, op: str) -> Axes:
    """Return what a user gave as `axis` (None for all) as sorted, non-negative axes."""
    return tuple(range(ndim)) if axis is None else tuple(sorted(normalize_axes(axis, ndim, op)))


def reduced_shape(shape: Shape, axes: Axes, keepdims: bool) -> Shape:
    """Return the shape after reducing `axes`, dropped or kept as 1."""
    if keepdims:
        return tuple(1 if a in axes else d for a, d in enumerate(shape))
    return tuple(d for a, d in enumerate(shape) if a not in axes)


def reduction_rule(
    dtypes: Iterable[DType], result: Callable[[DType], DType], has_identity: bool = True
) -> Callable[..., TensorType]:
    """Return a reduction's type rule; without an identity, static empty axes are refused."""
    allowed = tuple(dtypes)

    def infer(ctx: Infer, x: TensorType, axes: Axes, keepdims: bool) -> TensorType:
        ctx.dtype_in(x.dtype, allowed)
        if not has_identity and 0 in (x.shape[a] for a in axes):
            ctx.shape_error("an empty axis has no such element", "reduced axes of size 1 or more", x)
        return TensorType(reduced_shape(x.shape, axes, keepdims), result(x.dtype))

    return infer


def _accumulator(dtype: DType) -> DType:
    return dtype if is_float(dtype) else INT64


def keep_axes(t: Tensor, axes: Axes, keepdims: bool) -> Tensor:
    """Return a reduced tensor with its reduced axes present as 1."""
    return t if keepdims or not axes else ops.expand_dims(t, axes)


def stretch(t: Tensor, like: Tensor, axes: Axes, keepdims: bool) -> Tensor:
    """Return a reduced tensor repeated along its reduced axes, in the shape of `like`."""
    return ops.broadcast_to(keep_axes(t, axes, keepdims), like.shape)


def reduction_samples(meaning: Callable[..., Any]) -> Callable[[], Iterable[Sample]]:
    """Return samples that any reduction must survive, against NumPy's `meaning`."""

    def samples() -> Iterable[Sample]:
        rng = np.random.default_rng(11)
        # Distinct magnitudes: no ties, so that finite differences of max and min exist.
        x = (rng.permutation(30).reshape(2, 5, 3) - 14.5) / 7
        for kwargs in (
            {},
            {"axis": 1},
            {"axis": -1, "keepdims": True},
            {"axis": (0, -1)},
            {"axis": (2, 0), "keepdims": True},
            {"axis": ()},
        ):
            yield Sample((x,), kwargs, expected=meaning(x, **kwargs))
        for shape, axis in (((1,), 0), ((0, 3), 1), ((1, 1), None), ((), None), ((3, 1), 1), ((7,), None)):
            y = rng.permutation(int(np.prod(shape))).reshape(shape) / 3 + 0.5
            yield Sample((y,), {"axis": axis}, expected=meaning(y, axis=axis))
        special = np.array([[np.inf, 1.0, -2.0], [np.nan, np.inf, 0.0], [-np.inf, -np.inf, -0.0]])
        with np.errstate(invalid="ignore"):
            expected = meaning(special, axis=1)
        yield Sample((special,), {"axis": 1}, expected=expected, differentiable=False)

    return samples


def reduction_errors(function: Callable[..., Any]) -> Callable[[], Iterable[ErrorSample]]:
    """Return the mistakes that users can make with any reduction's axes."""
    return lambda: (
        ErrorSample(lambda: function(np.ones((2, 3)), axis=2), ArgumentError, "out of range"),
        ErrorSample(lambda: function(np.ones((2, 3)), axis=(0, -2)), ArgumentError, "named twice"),
        ErrorSample(lambda: function(np.ones((2, 3)), axis=1.0), ArgumentError, "bad axes"),
    )


# ------------------------------------------------------------------------ sum
def sum(x: TensorLike, axis: AxisLike = None, dtype: object = None, keepdims: bool = False) -> Tensor:
    """Sum over axes.

    Parameters
    ----------
    x : array_like
        Operand; integers and bools are summed as int64.
    axis : int or tuple of int, optional
        Axes to sum over; by default all.
    dtype : dtype, optional
        Type in which to sum, and of the result.
    keepdims : bool, default False
        Keep the reduced axes with size 1.

    Returns
    -------
    Tensor
        Zero where nothing is summed.

    Raises
    ------
    ArgumentError
        If an axis does not exist or is named twice.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.sum(gx.constant([[1, 2], [3, 4]]), axis=0))
    array([4, 6])
    """
    t = _in_dtype(x, dtype)
    axes = reduction_axes(axis, t.ndim, "sum")
    return _SUM(t, axes=axes, keepdims=bool(keepdims)) if axes else astype(t, _accumulator(t.dtype))


def _in_dtype(x: TensorLike, dtype: object) -> Tensor:
    t = as_tensor(x)
    return t if dtype is None else astype(t, dtype)


def _sum_numpy(x: Array, axes: Axes, keepdims: bool) -> Any:
    return np.sum(x, axis=axes, dtype=_accumulator(x.dtype), keepdims=keepdims)


def _sum_gradient(g: Tensor, out: Tensor, x: Tensor, axes: Axes, keepdims: bool) -> Gradients:
    return [stretch(g, x, axes, keepdims) if is_float(x.dtype) else None]


_SUM = Op(
    "sum",
    reduction_rule(DTYPES, _accumulator),
    _sum_numpy,
    AxisReduce("sum"),
    attributes=REDUCED,
    gradient=_sum_gradient,
    batch=batch_by(axes=next_axes),
    api=sum,
    samples=reduction_samples(np.sum),
    errors=reduction_errors(sum),
)


# ----------------------------------------------------------------------- prod
def prod(x: TensorLike, axis: AxisLike = None, dtype: object = None, keepdims: bool = False) -> Tensor:
    """Multiply over axes.

    Its gradient multiplies the other elements, so it is right where elements are zero.

    Parameters
    ----------
    x : array_like
        Operand; integers and bools are multiplied as int64.
    axis : int or tuple of int, optional
        Axes to multiply over; by default all.
    dtype : dtype, optional
        Type in which to multiply, and of the result.
    keepdims : bool, default False
        Keep the reduced axes with size 1.

    Returns
    -------
    Tensor
        One where nothing is multiplied.

    Raises
    ------
    ArgumentError
        If an axis does not exist or is named twice.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.prod(gx.constant([[1, 2], [3, 4]]), axis=1))
    array([ 2, 12])
    """
    t = _in_dtype(x, dtype)
    axes = reduction_axes(axis, t.ndim, "prod")
    return _PROD(t, axes=axes, keepdims=bool(keepdims)) if axes else astype(t, _accumulator(t.dtype))


def _prod_numpy(x: Array, axes: Axes, keepdims: bool) -> Any:
    return np.prod(x, axis=axes, dtype=_accumulator(x.dtype), keepdims=keepdims)


def _prod_gradient(g: Tensor, out: Tensor, x: Tensor, axes: Axes, keepdims: bool) -> Gradients:
    return [_prod_backward(keep_axes(g, axes, keepdims), x, axes) if is_float(x.dtype) else None]


def _prod_backward(g: Tensor, x: Tensor, axes: Axes) -> Tensor:
    if len(axes) > 1:
        inner = prod(x, axis=axes[-1], keepdims=True)
        g = _prod_backward(g, inner, axes[:-1])
    return g * product_of_others(x, axes[-1])


def _prod_samples() -> Iterable[Sample]:
    yield from reduction_samples(np.prod)()
    zeros = np.array([[2.0, 0.0, 3.0], [0.0, 4.0, 0.0], [1.5, -2.0, 0.5]])
    yield Sample((zeros,), {"axis": 1}, expected=np.prod(zeros, 1))
    yield Sample((zeros,), {}, expected=np.array(0.0))


_PROD = Op(
    "prod",
    reduction_rule(DTYPES, _accumulator),
    _prod_numpy,
    AxisReduce("prod"),
    attributes=REDUCED,
    gradient=_prod_gradient,
    batch=batch_by(axes=next_axes),
    api=prod,
    samples=_prod_samples,
    errors=reduction_errors(prod),
)


# ------------------------------------------------------------------- any, all
def any(x: TensorLike, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Tell whether any element over axes is true (not zero; NaN is true).

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
    Tensor of bool
        False where there are no elements.

    Raises
    ------
    ArgumentError
        If an axis does not exist or is named twice.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.any(gx.constant([[0, 0], [0, 3]]), axis=1))
    array([False,  True])
    """
    t = as_tensor(x)
    axes = reduction_axes(axis, t.ndim, "any")
    return _ANY(t, axes=axes, keepdims=bool(keepdims)) if axes else astype(t, BOOL)


def all(x: TensorLike, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Tell whether all elements over axes are true (not zero; NaN is true).

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
    Tensor of bool
        True where there are no elements.

    Raises
    ------
    ArgumentError
        If an axis does not exist or is named twice.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.all(gx.constant([[1, 0], [2, 3]]), axis=1))
    array([False,  True])
    """
    t = as_tensor(x)
    axes = reduction_axes(axis, t.ndim, "all")
    return _ALL(t, axes=axes, keepdims=bool(keepdims)) if axes else astype(t, BOOL)


def _any_numpy(x: Array, axes: Axes, keepdims: bool) -> Any:
    return np.any(x, axis=axes, keepdims=keepdims)


def _all_numpy(x: Array, axes: Axes, keepdims: bool) -> Any:
    return np.all(x, axis=axes, keepdims=keepdims)


def _logical_samples(meaning: Callable[..., Any]) -> Callable[[], Iterable[Sample]]:
    def samples() -> Iterable[Sample]:
        x = np.array([[True, False, True], [False, False, False], [True, True, True]])
        for kwargs in ({"axis": 1}, {"axis": 0, "keepdims": True}, {}, {"axis": (-1, -2)}):
            yield Sample((x,), kwargs, expected=meaning(x, **kwargs))
        yield Sample((np.ones((0, 2), bool),), {"axis": 0}, expected=meaning(np.ones((0, 2), bool), axis=0))
        yield Sample((np.array(True),), {}, expected=np.array(True))
        values = np.array([[0.0, np.nan], [-0.0, 0.0], [2.0, 0.5]])
        yield Sample((values,), {"axis": 1}, expected=meaning(values, axis=1), differentiable=False)

    return samples


def _boolean(dtype: DType) -> DType:
    return BOOL


_ANY = Op(
    "any",
    reduction_rule(DTYPES, _boolean),
    _any_numpy,
    AxisReduce("any"),
    attributes=REDUCED,
    batch=batch_by(axes=next_axes),
    api=any,
    samples=_logical_samples(np.any),
    errors=reduction_errors(any),
)
_ALL = Op(
    "all",
    reduction_rule(DTYPES, _boolean),
    _all_numpy,
    AxisReduce("all"),
    attributes=REDUCED,
    batch=batch_by(axes=next_axes),
    api=all,
    samples=_logical_samples(np.all),
    errors=reduction_errors(all),
)
