"""Selection of single elements along an axis, and its adjoint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import DTypeError, IndexRangeError, ShapeError, caller
from graphc.lower.expr import Expr
from graphc.lower.rules import Index, Loop, LoopBody, LoopSite, Map, Site
from graphc.ops.attributes import AXIS, SIZE
from graphc.ops.axes import normalize_axis
from graphc.ops.batching import batch_by, next_axis
from graphc.ops.gather import (
    as_indices,
    check_fixed,
    read_checked,
    resolve,
    wrap,
    wrapped_source,
    zero_fill,
)
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.ops.shape import broadcast_to
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import INTEGERS, NUMERIC, TensorType

__all__ = ["take_along_axis"]

Array = np.ndarray[Any, Any]


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
    return [ADD_ALONG(indices, g, axis=axis, size=x.shape[axis]), None]


def _along_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(8)
    cases = [((3, 4), 1, 2), ((3, 4), 0, 5), ((2, 3, 2), -2, 3), ((5,), 0, 0), ((0, 3), 1, 2)]
    for shape, axis, count in cases:
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
    attributes={"axis": AXIS},
    gradient=_along_gradient,
    batch=batch_by(axis=next_axis),
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
    lines += [f"            r = {wrapped_source(0, site.inputs[0], 'q', n)}"]
    lines += [f"            if 0 <= r and r < {n}:"]
    lines += [f"                out[(p * {n} + r) * {trail} + t] += in1[q]"]
    lines += ["            else:", f"                {site.fail()}"]
    return LoopBody(tuple(lines))


def _add_along_gradient(
    g: Tensor, out: Tensor, indices: Tensor, updates: Tensor, axis: int, size: Dim
) -> Gradients:
    return [None, _ALONG(g, indices, axis=axis)]


def _add_along_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(9)
    cases = [((3, 4), 1, 2), ((3, 4), 0, 5), ((2, 3, 2), 1, 3), ((0,), 0, 3), ((2, 0), 0, 1)]
    for shape, axis, size in cases:
        updates, indices = rng.normal(size=shape), rng.integers(-size, size, shape)
        expected = np.zeros((*shape[:axis], size, *shape[axis + 1 :]))
        for at in np.ndindex(*shape):
            expected[(*at[:axis], int(indices[at]), *at[axis + 1 :])] += updates[at]
        yield Sample((indices, updates), {"axis": axis, "size": size}, expected, call=_call_add_along)


def _call_add_along(indices: Tensor, updates: Tensor, axis: int, size: Dim) -> Tensor:
    return ADD_ALONG(indices, updates, axis=axis, size=size)


ADD_ALONG = Op(
    "add_along_axis",
    _add_along_rule,
    _add_along_numpy,
    Loop(_add_along_loop),
    attributes={"axis": AXIS, "size": SIZE},
    gradient=_add_along_gradient,
    batch=batch_by(axis=next_axis),
    samples=_add_along_samples,
    errors=lambda: (
        ErrorSample(
            lambda: _call_add_along(as_tensor([[0, 0]]), as_tensor([[1.0]]), 1, 3),
            ShapeError,
            "differ in axis 1",
        ),
    ),
    dtypes=NUMERIC,
    cost=4,
)
