"""Gather and its adjoint by indices that may reach beyond the border: windows, sampled images.

An index outside its axis stands for the nearest inside.  So nothing is checked, and what
computes the indices need not clip them.  The first axes of the indices may coincide with the
first axes of the operand, for elements that are selected in every sample of a batch by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import DTypeError, ShapeError
from graphc.ir import Node
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Index, Loop, LoopBody, LoopSite, Map, Site
from graphc.ops.attributes import AXIS, at_least
from graphc.ops.batching import all_stacked
from graphc.ops.gather import SCATTERED, index_rule, key_of, zero_fill
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.tensor import Tensor, as_tensor
from graphc.types import INT64, NUMERIC, TensorType

Array = np.ndarray[Any, Any]


def gather_clipped(x: Tensor, indices: list[Tensor], axis: int, batch: int = 0) -> Tensor:
    """Select by one index tensor for each of the axes from `axis` on; all have one shape.

    The first `batch` axes of the indices are those of `x`.  The result's axes are those of
    `x` before `axis`, the others of the indices, the rest of `x`.  Negative indices do not
    count from the end; an empty axis gives zeros.
    """
    return _GATHER(x, *indices, axis=axis, batch=batch)


def scatter_clipped(
    indices: list[Tensor], updates: Tensor, shape: Shape, axis: int, batch: int = 0
) -> Tensor:
    """Return zeros of `shape` to which the updates are added where `gather_clipped` would read."""
    return _SCATTER(*indices, updates, shape=shape, axis=axis, batch=batch)


def _selected(ctx: Infer, shape: Shape, indices: tuple[TensorType, ...], axis: int, batch: int) -> Shape:
    """Return the shape of what the indices select."""
    if axis + len(indices) > len(shape):
        ctx.shape_error("more indices than axes", f"at most {len(shape) - axis}", len(indices))
    block = index_rule(ctx, indices)
    if not batch <= min(axis, len(block)):
        ctx.shape_error("too many axes of the batch", f"at most {min(axis, len(block))}", batch)
    for have, want in zip(block[:batch], shape[:batch], strict=True):
        ctx.same(want, have, "indices and operand differ in batch")
    return (*shape[:axis], *block[batch:], *shape[axis + len(indices) :])


def _each(shape: tuple[int, ...], batch: int) -> Iterable[tuple[int, ...]]:
    return np.ndindex(*shape[:batch])


def _positions(indices: tuple[Array, ...], sizes: tuple[int, ...], at: tuple[int, ...]) -> list[Array]:
    return [np.clip(t[at].astype(INT64), 0, n - 1) for t, n in zip(indices, sizes, strict=True)]


# ---------------------------------------------------------------------- gather
def _gather_rule(ctx: Infer, x: TensorType, *indices: TensorType, axis: int, batch: int) -> TensorType:
    return TensorType(_selected(ctx, x.shape, indices, axis, batch), x.dtype)


def _gather_numpy(x: Array, *indices: Array, axis: int, batch: int) -> Array:
    sizes = x.shape[axis : axis + len(indices)]
    block = indices[0].shape[batch:]
    out = np.zeros((*x.shape[:axis], *block, *x.shape[axis + len(indices) :]), x.dtype)
    if out.size and 0 not in sizes:
        for at in _each(x.shape, batch):
            out[at] = x[at][key_of(axis - batch, _positions(indices, sizes, at))]
    return out


def _gather_lower(site: Site, index: Index) -> Expr:
    axis, batch, count = site.attrs["axis"], site.attrs["batch"], len(site.inputs) - 1
    stop = axis + site.inputs[1].ndim - batch
    chosen = (*index[:batch], *index[axis:stop])
    positions, elements = [], expr.TRUE
    for k, n in enumerate(site.inputs[0].shape[axis : axis + count], start=1):
        at = expr.cast(site.read(k, chosen), INT64)
        positions.append(expr.call("max", expr.ZERO, expr.call("min", at, expr.size(n) - 1)))
        elements = elements & (expr.size(n) > 0)
    value = site.read(0, (*index[:axis], *positions, *index[stop:]))
    # Position 0 is no element of an axis that may be empty.
    return expr.guard(elements, value, expr.const(0, value.dtype))


def _gather_batch(size: Dim, batched: tuple[bool, ...], node: Node, x: Tensor, *indices: Tensor) -> Tensor:
    axis, batch = node.attrs["axis"], node.attrs["batch"]
    if not batch and not any(batched[1:]):
        return _GATHER(x, *indices, axis=axis + 1, batch=0)
    return _GATHER(*all_stacked(size, batched, (x, *indices)), axis=axis + 1, batch=batch + 1)


def _gather_gradient(g: Tensor, out: Tensor, x: Tensor, *indices: Tensor, axis: int, batch: int) -> Gradients:
    return [scatter_clipped(list(indices), g, x.shape, axis, batch), *[None] * len(indices)]


def _cases() -> Iterable[tuple[tuple[int, ...], tuple[Array, ...], int, int]]:
    """Yield a shape, indices, an axis and the number of axes of the batch."""
    i, j = np.array([[0, 2, -1], [1, 1, 3]]), np.array([[3, -4, 0], [2, 2, 9]])
    yield (3, 4, 2), (i,), 0, 0
    yield (3, 4, 2), (j,), 1, 0
    yield (3, 4, 2), (i, j), 0, 0
    yield (3, 2, 4), (np.array(-1),), 1, 0
    yield (2, 5, 4, 2), (j,), 2, 1
    yield (2, 3, 4), (i, j), 1, 1
    yield (2, 3, 4), (j,), 2, 2
    yield (3, 2), (np.zeros((0, 2), INT64),), 1, 0
    yield (3, 2), (np.array([2, 9], np.uint8),), 0, 0
    yield (0, 3), (np.array([2, -1]),), 1, 0
    yield (3, 0), (np.array([2, -1]),), 1, 0


def _walk(
    shape: tuple[int, ...], indices: tuple[Array, ...], axis: int, batch: int
) -> Iterable[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Yield each place of the selection and the place that it reads, by the definition."""
    sizes = shape[axis : axis + len(indices)]
    block = indices[0].shape[batch:]
    for lead in np.ndindex(*shape[:axis]):
        for at in np.ndindex(*block):
            chosen = [int(t[(*lead[:batch], *at)]) for t in indices]
            yield (*lead, *at), (*lead, *[min(max(r, 0), n - 1) for r, n in zip(chosen, sizes, strict=True)])


def _gather_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(7)
    for shape, indices, axis, batch in _cases():
        x = rng.normal(size=shape)
        expected = np.zeros((*shape[:axis], *indices[0].shape[batch:], *shape[axis + len(indices) :]))
        for to, source in _walk(shape, indices, axis, batch) if x.size else ():
            expected[to] = x[source]
        yield Sample((x, *indices), {"axis": axis, "batch": batch}, expected, _call_gather)


def _call_gather(x: Tensor, *indices: Tensor, axis: int, batch: int) -> Tensor:
    return gather_clipped(x, list(indices), axis, batch)


def _ints(*shape: int) -> Tensor:
    return as_tensor(np.zeros(shape, INT64))


def _ones(*shape: int) -> Tensor:
    return as_tensor(np.ones(shape))


_GATHER = Op(
    "gather_clipped",
    _gather_rule,
    _gather_numpy,
    Map(_gather_lower),
    attributes={"axis": AXIS, "batch": at_least(0)},
    gradient=_gather_gradient,
    batch=_gather_batch,
    samples=_gather_samples,
    errors=lambda: (
        ErrorSample(lambda: gather_clipped(_ones(3), [_ints(2)] * 2, 0), ShapeError, "more indices"),
        ErrorSample(lambda: gather_clipped(_ones(3), [_ones(2)], 0), DTypeError, "index"),
        ErrorSample(lambda: gather_clipped(_ones(3, 4), [_ints(2)], 1, 1), ShapeError, "in batch"),
        ErrorSample(lambda: gather_clipped(_ones(3, 4), [_ints(3)], 0, 1), ShapeError, "too many axes"),
    ),
    cost=2,
)


# --------------------------------------------------------------------- scatter
def _scatter_rule(ctx: Infer, *types: TensorType, shape: Shape, axis: int, batch: int) -> TensorType:
    *indices, updates = types
    ctx.dtype_in(updates.dtype, NUMERIC, "updates")
    expected = _selected(ctx, shape, tuple(indices), axis, batch)
    ctx.rank(updates, len(expected), "updates")
    for want, have in zip(expected, updates.shape, strict=True):
        ctx.same(want, have, "updates have a wrong shape")
    return TensorType(shape, updates.dtype)


def _scatter_numpy(*operands: Array, shape: tuple[int, ...], axis: int, batch: int) -> Array:
    *indices, updates = operands
    out = np.zeros(shape, updates.dtype)
    if out.size and updates.size:
        sizes = shape[axis : axis + len(indices)]
        for at in _each(shape, batch):
            np.add.at(out[at], key_of(axis - batch, _positions(tuple(indices), sizes, at)), updates[at])
    return out


def _scatter_loop(site: LoopSite) -> LoopBody:
    axis, batch, shape = site.attrs["axis"], site.attrs["batch"], site.type.shape
    indices = site.inputs[:-1]
    count = len(indices)
    parts = (shape[:batch], shape[batch:axis], indices[0].shape[batch:], shape[axis + count :])
    samples, lead, block, trail = (site.size(dims.product(part)) for part in parts)
    # Without elements there is no nearest one.
    lines = [*zero_fill(site), f"for b in range({samples} if {site.size(site.type.size)} > 0 else 0):"]
    lines += [f"    for p in range({lead}):", f"        for j in range({block}):"]
    lines += [f"            row = b * {lead} + p"]
    for k in range(count):
        n = site.size(shape[axis + k])
        lines += [f"            r = i64(in{k}[b * {block} + j])"]
        lines += [
            f"            r = r if r < {n} else {n} - 1",
            f"            row = row * {n} + (r if r > 0 else 0)",
        ]
    lines += [f"            at = (b * {lead} + p) * {block} + j"]
    lines += [f"            for t in range({trail}):"]
    lines += [f"                out[row * {trail} + t] += in{count}[at * {trail} + t]"]
    return LoopBody(tuple(lines))


def _scatter_batch(size: Dim, batched: tuple[bool, ...], node: Node, *operands: Tensor) -> Tensor:
    shape, axis, batch = (node.attrs[name] for name in ("shape", "axis", "batch"))
    if not batch and not any(batched[:-1]):
        return _SCATTER(*operands, shape=(size, *shape), axis=axis + 1, batch=0)
    rows = all_stacked(size, batched, operands)
    return _SCATTER(*rows, shape=(size, *shape), axis=axis + 1, batch=batch + 1)


def _scatter_gradient(
    g: Tensor, out: Tensor, *operands: Tensor, shape: Shape, axis: int, batch: int
) -> Gradients:
    indices = list(operands[:-1])
    return [*[None] * len(indices), gather_clipped(g, indices, axis, batch)]


def _scatter_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(8)
    for shape, indices, axis, batch in _cases():
        updates = rng.normal(size=(*shape[:axis], *indices[0].shape[batch:], *shape[axis + len(indices) :]))
        expected = np.zeros(shape)
        for source, to in _walk(shape, indices, axis, batch) if expected.size else ():
            expected[to] += updates[source]
        kwargs = {"shape": shape, "axis": axis, "batch": batch}
        yield Sample((*indices, updates), kwargs, expected, _call_scatter)


def _call_scatter(*operands: Tensor, shape: Shape, axis: int, batch: int) -> Tensor:
    return scatter_clipped(list(operands[:-1]), operands[-1], shape, axis, batch)


_SCATTER = Op(
    "scatter_clipped",
    _scatter_rule,
    _scatter_numpy,
    Loop(_scatter_loop),
    attributes={**SCATTERED, "batch": at_least(0)},
    gradient=_scatter_gradient,
    batch=_scatter_batch,
    samples=_scatter_samples,
    errors=lambda: (
        ErrorSample(lambda: scatter_clipped([_ints(2)], _ones(3, 2), (4, 2), 0), ShapeError, "wrong shape"),
        ErrorSample(lambda: scatter_clipped([_ints(2)], _ones(2), (4, 2), 0), ShapeError, "rank"),
        ErrorSample(lambda: scatter_clipped([_ints(1)], as_tensor([True]), (4,), 0), DTypeError, "updates"),
    ),
    dtypes=NUMERIC,
    cost=4,
)
