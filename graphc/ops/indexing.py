"""Indexing by tensors: take, scatter_add, index_add, one_hot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphc.dims import Dim, Shape
from graphc.errors import ArgumentError, DTypeError, IndexRangeError, caller
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Index, Map, Site
from graphc.ops.attributes import DTYPE, SIZE
from graphc.ops.axes import as_dim, is_int, normalize_axis
from graphc.ops.batching import batch_by
from graphc.ops.elementwise import astype
from graphc.ops.gather import (
    as_indices,
    check_fixed,
    gather,
    scatter_sum,
)
from graphc.ops.getitem import getitem
from graphc.ops.op import ErrorSample, Infer, Op, Sample
from graphc.ops.shape import broadcast_to, reshape
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import FLOAT32, INT64, INTEGERS, NUMERIC, DType, TensorType, as_dtype

__all__ = ["index_add", "one_hot", "scatter_add", "take"]

Array = np.ndarray[Any, Any]


def take(x: TensorLike, indices: TensorLike, axis: int | None = None) -> Tensor:
    """Select elements along an axis.

    Parameters
    ----------
    x : array_like
        Operand.
    indices : array_like of int
        Which; negative ones count from the end.
    axis : int, optional
        Along which axis; by default from the flattened tensor.

    Returns
    -------
    Tensor
        The axis is replaced by the axes of `indices`.

    Raises
    ------
    IndexRangeError
        If an index is out of range: now if it is known, else when the program is called.
    UnsupportedError
        If `indices` is a bool mask.

    Examples
    --------
    >>> import graphc as gx
    >>> table = gx.placeholder("table", shape=(100, 16))
    >>> gx.take(table, gx.placeholder("ids", shape=("n",), dtype="int64"), axis=0)
    <Tensor float32[n, 16]>
    """
    t = as_tensor(x)
    if axis is None:
        t, axis = reshape(t, -1), 0
    at = normalize_axis(axis, t.ndim, "take")
    if is_int(indices):
        return getitem(t, (*[slice(None)] * at, indices))
    return gather(t, [as_indices(indices, "take")], at)


def scatter_add(x: TensorLike, indices: TensorLike, updates: TensorLike, axis: int = 0) -> Tensor:
    """Add updates to the elements that ``take(x, indices, axis)`` would select.

    An element that is selected repeatedly receives every update, in a fixed order.

    Parameters
    ----------
    x : array_like
        Operand; it is not changed.
    indices : array_like of int
        Where along `axis`.
    updates : array_like
        What to add; broadcasts to the shape of ``take(x, indices, axis)``.
    axis : int, default 0
        Axis that the indices select from.

    Returns
    -------
    Tensor
        Of the type of `x`.

    Raises
    ------
    ShapeError
        If the updates do not fit.
    DTypeError
        If `x` is bool, or the updates have a wider kind of dtype than `x`.
    IndexRangeError
        As for `take`.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.scatter_add(gx.constant([10, 20, 30]), [0, 2, 0], [1, 2, 3]))
    array([14, 20, 32])
    """
    t = as_tensor(x)
    at = normalize_axis(axis, t.ndim, "scatter_add")
    where = as_indices(indices, "scatter_add")
    check_fixed(where, t.shape[at], "scatter_add")
    shape = (*t.shape[:at], *where.shape, *t.shape[at + 1 :])
    added = scatter_sum([where], _fit_updates(updates, t, shape, "scatter_add"), t.shape, at)
    return t + added


def _fit_updates(updates: TensorLike, x: Tensor, shape: Shape, op: str) -> Tensor:
    t = as_tensor(updates, x.dtype)
    if x.dtype not in NUMERIC or not np.can_cast(t.dtype, x.dtype, "same_kind"):
        raise DTypeError(
            f"{op}: updates cannot be added",
            expected=f"{x.dtype} and updates of its kind" if x.dtype in NUMERIC else "a numeric dtype",
            given=f"{x.dtype} and {t.dtype}",
            where=caller(),
        )
    return broadcast_to(astype(t, x.dtype), shape)


def index_add(x: TensorLike, key: Any, updates: TensorLike) -> Tensor:
    """Add updates to the elements that ``x[key]`` selects.

    Parameters
    ----------
    x : array_like
        Operand; it is not changed.
    key : index
        Whatever ``x[key]`` takes: ints, slices, index tensors.
    updates : array_like
        What to add; broadcasts to the shape of ``x[key]``.  Repeated indices add up.

    Returns
    -------
    Tensor
        Of the type of `x`.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.index_add(gx.zeros((2, 3), dtype="int64"), (slice(None), 1), 5))
    array([[0, 5, 0],
           [0, 5, 0]])
    """
    t = as_tensor(x)
    selected = getitem(t, key)
    g = _fit_updates(updates, t, selected.shape, "index_add")
    node = selected.node
    # Indexing is a chain of linear ops on its first operand; the adjoints lead back along it.
    while node is not t.node:
        pull = node.op.gradient
        found = pull(g, Tensor(node), *map(Tensor, node.inputs), **node.attrs)[0] if pull else None
        if found is None:
            raise ArgumentError(f"index_add: {node.op.name} has no adjoint", where=caller())
        g, node = found, node.inputs[0]
    return t + g


# --------------------------------------------------------------------- one_hot
def one_hot(x: TensorLike, num_classes: int | str | Dim, dtype: object = FLOAT32) -> Tensor:
    """Encode class numbers as rows with a one at the class and zeros elsewhere.

    Parameters
    ----------
    x : array_like of int
        Class numbers, from 0 to ``num_classes - 1``; others, negative ones included, raise.
    num_classes : int or dimension
        Size of the new last axis.
    dtype : dtype, default float32
        Element type of the result.

    Returns
    -------
    Tensor

    Raises
    ------
    IndexRangeError
        If a class number is out of range: now if it is known, else when the program is called.
    DTypeError
        If `x` is not of an integer dtype.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.one_hot([2, 0], 3, dtype="int64"))
    array([[0, 0, 1],
           [1, 0, 0]])
    """
    t, size = as_indices(x, "one_hot"), as_dim(num_classes, "one_hot")
    if t.node.op.name == "constant" and isinstance(size, int):
        try:
            _one_hot_numpy(t.node.payload.array, size, FLOAT32)
        except IndexRangeError as e:
            raise IndexRangeError(e.what, expected=e.expected, given=e.given, where=caller()) from None
    return _ONE_HOT(t, size=size, dtype=as_dtype(dtype))


def _one_hot_rule(ctx: Infer, x: TensorType, size: Dim, dtype: DType) -> TensorType:
    ctx.dtype_in(x.dtype, INTEGERS, "class number")
    return TensorType((*x.shape, size), dtype)


def _one_hot_numpy(x: Array, size: int, dtype: DType) -> Array:
    bad = x[(x < 0) | (x.astype(INT64) >= size)]
    if bad.size and size:
        raise IndexRangeError(
            "one_hot: class number out of range", expected=f"0 to {size - 1}", given=str(bad.flat[0])
        )
    hot: Array = x[..., None].astype(INT64) == np.arange(size)
    return hot.astype(dtype)


def _one_hot_lower(site: Site, index: Index) -> Expr:
    label = expr.cast(site.read(0, index[:-1]), INT64)
    one, zero = (expr.const(v, site.type.dtype) for v in (1, 0))
    value = expr.where(label.eq(index[-1]), one, zero)
    return expr.check((label >= 0) & (label < expr.size(site.attrs["size"])), value, site.message)


def _one_hot_samples() -> Iterable[Sample]:
    for labels in (np.array([[2, 0], [1, 1]]), np.array(2, np.uint8), np.zeros(0, np.int32)):
        for dtype in (FLOAT32, INT64, np.dtype(bool)):
            expected = np.eye(3)[labels.astype(INT64)].astype(dtype)
            yield Sample((labels,), {"num_classes": 3, "dtype": dtype}, expected=expected)


_ONE_HOT = Op(
    "one_hot",
    _one_hot_rule,
    _one_hot_numpy,
    Map(_one_hot_lower),
    attributes={"size": SIZE, "dtype": DTYPE},
    batch=batch_by(),
    api=one_hot,
    samples=_one_hot_samples,
    errors=lambda: (
        ErrorSample(lambda: one_hot([0, 3], 3), IndexRangeError, "out of range"),
        ErrorSample(lambda: one_hot([-1], 3), IndexRangeError, "out of range"),
        ErrorSample(lambda: one_hot([0.0], 3), DTypeError, "not integers"),
        ErrorSample(lambda: one_hot([0], -3), ArgumentError, "bad size"),
    ),
    dtypes=INTEGERS,
)
