"""Indexing by tensors: take, scatter_add, take_along_axis, one_hot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError, caller
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Index, Loop, LoopBody, LoopSite, Map, Site
from graphc.ops.axes import as_dim, is_int, normalize_axis
from graphc.ops.elementwise import astype
from graphc.ops.gather import (
    as_indices,
    check_fixed,
    gather,
    read_checked,
    resolve,
    scatter_sum,
    wrap,
    wrapped_source,
    zero_fill,
)
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.ops.shape import broadcast_to, reshape
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import FLOAT32, INT64, INTEGERS, NUMERIC, DType, TensorType, as_dtype

__all__ = ["index_add", "one_hot", "scatter_add", "take", "take_along_axis"]

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
        from graphc.ops.getitem import getitem

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
    from graphc.ops.getitem import getitem

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


# --------------------------------------------------------------- along an axis
def take_along_axis(x: TensorLike, indices: TensorLike, axis: int = -1) -> Tensor:
    """Select one element per index, each from its own row along an axis.

    Parameters
    ----------
    x : array_like
        Operand.
    indices : array_like of int
        Positions along `axis`; of the rank of `x`, the other axes broadcast.
    axis : int, default -1
        Axis that the indices select from.

    Returns
    -------
    Tensor
        Of the shape of `indices`, other axes broadcast.

    Raises
    ------
    ShapeError
        If the ranks differ.
    IndexRangeError
        As for `take`.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.constant([[10, 30, 20], [60, 40, 50]])
    >>> gx.evaluate(gx.take_along_axis(x, [[1], [0]]))
    array([[30],
           [60]])
    """
    t, where = as_tensor(x), as_indices(indices, "take_along_axis")
    if t.ndim != where.ndim:
        raise ShapeError(
            "take_along_axis: operand and indices differ in rank",
            expected=f"{t.ndim} dimensions",
            given=f"{t.type} and {where.type}",
            where=caller(),
        )
    at = normalize_axis(axis, t.ndim, "take_along_axis")
    check_fixed(where, t.shape[at], "take_along_axis")
    return _ALONG(_stretch(t, where.shape, at), _stretch(where, t.shape, at), axis=at)


def _stretch(t: Tensor, other: Shape, axis: int) -> Tensor:
    pairs = enumerate(zip(t.shape, other, strict=True))
    return broadcast_to(t, tuple(n if a == axis or n != 1 else m for a, (n, m) in pairs))


def _aligned(ctx: Infer, x: TensorType, other: TensorType, axis: int) -> Shape:
    if x.ndim != other.ndim:
        ctx.shape_error("operands differ in rank", x, other)
    why = f"{x} and {other} differ in an axis other than {axis}"
    pairs = enumerate(zip(x.shape, other.shape, strict=True))
    return tuple(m if a == axis else ctx.same(n, m, why) for a, (n, m) in pairs)


def _along_rule(ctx: Infer, x: TensorType, indices: TensorType, axis: int) -> TensorType:
    ctx.dtype_in(indices.dtype, INTEGERS, "index")
    return TensorType(_aligned(ctx, x, indices, axis), x.dtype)


def _along_numpy(x: Array, indices: Array, axis: int) -> Array:
    if indices.size == 0:
        return np.zeros(indices.shape, x.dtype)
    return np.take_along_axis(x, wrap(indices, x.shape[axis], "take_along_axis"), axis)


def _along_lower(site: Site, index: Index) -> Expr:
    axis = site.attrs["axis"]
    n = site.inputs[0].shape[axis]
    position, ok = resolve(site, site.read(1, index), n)
    return read_checked(site, (*index[:axis], position, *index[axis + 1 :]), ok, (n,))


def _along_gradient(g: Tensor, out: Tensor, x: Tensor, indices: Tensor, axis: int) -> Gradients:
    return [_ADD_ALONG(indices, g, axis=axis, size=x.shape[axis]), None]


def _along_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(8)
    for shape, axis, count in (((3, 4), 1, 2), ((3, 4), 0, 5), ((2, 3, 2), -2, 3), ((5,), 0, 0), ((0, 3), 1, 2)):
        x = rng.normal(size=shape)
        size = list(shape)
        size[axis] = count
        indices = rng.integers(0, shape[axis], size) - shape[axis] // 2
        yield Sample((x, indices), {"axis": axis}, expected=np.take_along_axis(x, indices, axis))
    yield Sample((rng.normal(size=(3, 4)), np.array([[2]])), {"axis": 1}, expected=lambda x, i: x[:, 2:3])


_ALONG = Op(
    "take_along_axis",
    _along_rule,
    _along_numpy,
    Map(_along_lower),
    gradient=_along_gradient,
    api=take_along_axis,
    samples=_along_samples,
    errors=lambda: (
        ErrorSample(lambda: take_along_axis(np.ones((2, 3)), [0], 1), ShapeError, "rank"),
        ErrorSample(lambda: take_along_axis(np.ones((2, 3)), [[0], [0], [0]], 1), ShapeError, "axis other"),
        ErrorSample(lambda: take_along_axis(np.ones((2, 3)), [[3], [0]], 1), IndexRangeError, "out of range"),
        ErrorSample(lambda: take_along_axis(np.ones(3), [0.5], 0), DTypeError, "not integers"),
    ),
    cost=2,
)


def _add_along_rule(ctx: Infer, indices: TensorType, updates: TensorType, axis: int, size: Dim) -> TensorType:
    ctx.dtype_in(indices.dtype, INTEGERS, "index")
    ctx.dtype_in(updates.dtype, NUMERIC, "updates")
    shape = _aligned(ctx, indices, updates, axis)
    ctx.same(indices.shape[axis], updates.shape[axis], f"{indices} and {updates} differ in axis {axis}")
    return TensorType((*shape[:axis], size, *shape[axis + 1 :]), updates.dtype)


def _add_along_numpy(indices: Array, updates: Array, axis: int, size: int) -> Array:
    out = np.zeros((*updates.shape[:axis], size, *updates.shape[axis + 1 :]), updates.dtype)
    if updates.size:
        grid: list[Array] = list(np.indices(indices.shape))
        grid[axis] = wrap(indices, size, "take_along_axis")
        np.add.at(out, tuple(grid), updates)
    return out


def _add_along_loop(site: LoopSite) -> LoopBody:
    axis, shape = site.attrs["axis"], site.inputs[0].shape
    lead, trail = (site.size(dims.product(part)) for part in (shape[:axis], shape[axis + 1 :]))
    count, n = site.size(shape[axis]), site.size(site.attrs["size"])
    lines = [*zero_fill(site), f"for p in range({lead}):", f"    for j in range({count}):"]
    lines += [f"        for t in range({trail}):", f"            q = (p * {count} + j) * {trail} + t"]
    lines += [f"            r = {wrapped_source(0, site.inputs[0], 'q', n)}", f"            if 0 <= r and r < {n}:"]
    lines += [f"                out[(p * {n} + r) * {trail} + t] += in1[q]"]
    lines += ["            else:", f"                {site.fail()}"]
    return LoopBody(tuple(lines))


def _add_along_gradient(
    g: Tensor, out: Tensor, indices: Tensor, updates: Tensor, axis: int, size: Dim
) -> Gradients:
    return [None, _ALONG(g, indices, axis=axis)]


def _add_along_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(9)
    for shape, axis, size in (((3, 4), 1, 2), ((3, 4), 0, 5), ((2, 3, 2), 1, 3), ((0,), 0, 3), ((2, 0), 0, 1)):
        updates, indices = rng.normal(size=shape), rng.integers(-size, size, shape)
        expected = np.zeros((*shape[:axis], size, *shape[axis + 1 :]))
        for at in np.ndindex(*shape):
            expected[(*at[:axis], int(indices[at]), *at[axis + 1 :])] += updates[at]
        yield Sample((indices, updates), {"axis": axis, "size": size}, expected, call=_call_add_along)


def _call_add_along(indices: Tensor, updates: Tensor, axis: int, size: Dim) -> Tensor:
    return _ADD_ALONG(indices, updates, axis=axis, size=size)


_ADD_ALONG = Op(
    "add_along_axis",
    _add_along_rule,
    _add_along_numpy,
    Loop(_add_along_loop),
    gradient=_add_along_gradient,
    samples=_add_along_samples,
    errors=lambda: (
        ErrorSample(
            lambda: _call_add_along(as_tensor([[0, 0]]), as_tensor([[1.0]]), 1, 3), ShapeError, "differ in axis 1"
        ),
    ),
    cost=4,
)


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
