"""Counting elements: element_count and count_nonzero."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.errors import ArgumentError
from graphc.lower import expr
from graphc.lower.rules import Map
from graphc.ops.attributes import DTYPE, SIZE
from graphc.ops.elementwise import astype
from graphc.ops.op import ErrorSample, Op, Sample
from graphc.ops.reductions import reduction_axes
from graphc.ops.reductions import sum as sum_
from graphc.tensor import Axes as AxisLike
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import BOOL, INT64, DType, TensorType, as_dtype

__all__ = ["count_nonzero", "element_count"]


# -------------------------------------------------------------- element_count
def element_count(x: TensorLike, axis: AxisLike = None, dtype: object = INT64) -> Tensor:
    """Return the number of elements along axes, as a value of the graph.

    A constant where the sizes are static; read at the call where they are symbolic.

    Parameters
    ----------
    x : array_like
        Only its shape matters.
    axis : int or tuple of int, optional
        Axes whose sizes are multiplied; by default all.
    dtype : dtype, default int64
        Type of the result.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    ArgumentError
        If an axis does not exist or is named twice.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> x = gx.placeholder("x", shape=("batch",), dtype="int64")
    >>> gx.evaluate(x * gx.element_count(x), {x: np.array([1, 2, 3])})
    array([3, 6, 9])
    """
    t = as_tensor(x)
    axes = reduction_axes(axis, t.ndim, "element_count")
    return size_tensor(dims.product(tuple(t.shape[a] for a in axes)), as_dtype(dtype))


def size_tensor(size: Dim, dtype: DType) -> Tensor:
    """Return a dimension as a scalar of the graph."""
    return as_tensor(size, dtype) if isinstance(size, int) else _SIZE(size=size, dtype=dtype)


def _size_samples() -> Iterable[Sample]:
    yield Sample((np.ones((2, 3)),), {"axis": 0}, expected=np.array(2), differentiable=False)
    none = np.array(0, np.float32)
    yield Sample((np.ones((2, 0)),), {"dtype": "float32"}, expected=none, differentiable=False)


_SIZE = Op(
    "size",
    lambda ctx, size, dtype: TensorType((), dtype),
    lambda size, dtype: np.asarray(size, dtype),
    Map(lambda site, index: expr.cast(expr.size(site.attrs["size"]), site.type.dtype)),
    attributes={"size": SIZE, "dtype": DTYPE},
    api=element_count,
    samples=_size_samples,
    errors=lambda: (ErrorSample(lambda: element_count(np.ones(2), axis=1), ArgumentError, "out of range"),),
)


def count_nonzero(x: TensorLike, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Count the elements over axes that are not zero (NaN is not).

    Parameters
    ----------
    x : array_like
        Operand.
    axis : int or tuple of int, optional
        Axes to count over; by default all.
    keepdims : bool, default False
        Keep the reduced axes with size 1.

    Returns
    -------
    Tensor of int64

    Raises
    ------
    ArgumentError
        If an axis does not exist or is named twice.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.count_nonzero(gx.constant([[0, 2], [3, 4]]), axis=1))
    array([1, 2])
    """
    t = as_tensor(x)
    axes = reduction_axes(axis, t.ndim, "count_nonzero")
    return sum_(astype(t, BOOL), axis=axes, keepdims=keepdims)
