"""Gather and scatter: selection by indices that are values of the graph.

Indices below zero count from the end, as in NumPy.  One outside the axis stops the program
with `IndexRangeError` after the call; the element that it would have selected is never
touched.  Only indices that select an element are looked at: a result of size 0 checks none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import DTypeError, IndexRangeError, ShapeError, UnsupportedError, caller
from graphc.ir import Node
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Index, Loop, LoopBody, LoopSite, Map, Site
from graphc.ops.attributes import AXIS, SHAPE, Attributes, Use, at_least
from graphc.ops.batching import all_stacked, row_numbers
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.ops.transpose import moveaxis
from graphc.tensor import Tensor, as_tensor
from graphc.types import BOOL, INT64, INTEGERS, NUMERIC, TensorType, is_integer

Array = np.ndarray[Any, Any]


# ------------------------------------------------------- indices and their range
def as_indices(value: Any, op: str) -> Tensor:
    """Return integer indices as a Tensor; masks are refused by name.

    Raises
    ------
    UnsupportedError
        If they are bool: how many elements a mask selects is known only at run time.
    DTypeError
        If they are not integers.
    """
    empty = not isinstance(value, Tensor) and np.size(value) == 0
    t = as_tensor(np.asarray(value, INT64) if empty else value)
    if t.dtype == BOOL:
        raise UnsupportedError(
            f"{op}: how many elements a bool mask selects is known only at run time",
            expected="gx.where(mask, x, y), gx.top_k, or x * mask; indices (np.nonzero) for a fixed mask",
            given=str(t.type),
            where=caller(),
        )
    if not is_integer(t.dtype):
        raise DTypeError(
            f"{op}: indices are not integers", expected="an integer dtype", given=str(t.dtype), where=caller()
        )
    return t


def check_fixed(indices: Tensor, n: Dim, op: str) -> None:
    """Raise now for constant indices outside an axis of fixed size."""
    if indices.node.op.name != "constant" or not isinstance(n, int):
        return
    try:
        wrap(indices.node.payload.array, n, op)
    except IndexRangeError as error:
        raise IndexRangeError(
            error.what, expected=error.expected, given=error.given, where=caller()
        ) from None


def wrap(indices: Array, n: int, op: str) -> Array:
    """Return indices as non-negative int64.

    Raises
    ------
    IndexRangeError
        If one is outside an axis of size `n`.
    """
    given = indices.astype(INT64)
    found: Array = np.where(given < 0, given + n, given)
    bad = given[(found < 0) | (found >= n)]
    if bad.size:
        raise IndexRangeError(
            f"{op}: index out of range",
            expected=f"{-n} to {n - 1}" if n else "none: the axis is empty",
            given=str(bad.flat[0]),
        )
    return found


def resolve(site: Site, given: Expr, n: Dim) -> tuple[Expr, Expr]:
    """Return a run-time index as a position that is safe to read, and whether it was in range."""
    at = expr.cast(given, INT64)
    wrapped = at if site.inputs[1].dtype.kind == "u" else expr.where(at < 0, at + expr.size(n), at)
    ok = (wrapped >= 0) & (wrapped < expr.size(n))
    return expr.where(ok, wrapped, expr.ZERO), ok


def read_checked(site: Site, position: Index, ok: Expr, sizes: Iterable[Dim]) -> Expr:
    """Return the element of operand 0 at a position from `resolve`, under the range check."""
    value = site.read(0, position)
    if not all(isinstance(n, int) and n > 0 for n in sizes):
        # Position 0 is no element of an axis that may be empty.
        value = expr.guard(ok, value, expr.const(0, value.dtype))
    return expr.check(ok, value, site.message)


# ---------------------------------------------------------------------- gather
def gather(x: Tensor, indices: list[Tensor], axis: int) -> Tensor:
    """Select by one index tensor for each of the axes from `axis` on; all have one shape.

    The result's axes are those of `x` before `axis`, those of the indices, the rest of `x`.
    """
    found = _GATHER(x, *indices, axis=axis)
    for offset, t in enumerate(indices):
        check_fixed(t, x.shape[axis + offset], "take")
    return found


def index_rule(ctx: Infer, indices: tuple[TensorType, ...]) -> Shape:
    """Return the shape that all index operands have."""
    shape = indices[0].shape
    for t in indices:
        ctx.dtype_in(t.dtype, INTEGERS, "index")
        if t.ndim != len(shape):
            ctx.shape_error("index operands differ in rank", indices[0], t)
        pairs = zip(shape, t.shape, strict=True)
        shape = tuple(ctx.same(a, b, "index operands differ in shape") for a, b in pairs)
    return shape


def _gather_rule(ctx: Infer, x: TensorType, *indices: TensorType, axis: int) -> TensorType:
    if axis + len(indices) > x.ndim:
        ctx.shape_error("more indices than axes", f"at most {x.ndim - axis}", len(indices))
    block = index_rule(ctx, indices)
    return TensorType((*x.shape[:axis], *block, *x.shape[axis + len(indices) :]), x.dtype)


def _gather_numpy(x: Array, *indices: Array, axis: int) -> Array:
    shape = (*x.shape[:axis], *indices[0].shape, *x.shape[axis + len(indices) :])
    if 0 in shape:
        return np.zeros(shape, x.dtype)
    found = [wrap(t, x.shape[axis + k], "take") for k, t in enumerate(indices)]
    selected: Array = x[key_of(axis, found)]
    return selected


def key_of(axis: int, indices: Sequence[Any]) -> Any:
    """Return what selects by the indices from `axis` on, as NumPy's key."""
    return (*[slice(None)] * axis, *indices)


def _gather_lower(site: Site, index: Index) -> Expr:
    axis, count = site.attrs["axis"], len(site.inputs) - 1
    stop = axis + site.inputs[1].ndim
    sizes = site.inputs[0].shape[axis : axis + count]
    positions, ok = [], expr.TRUE
    for k, n in enumerate(sizes, start=1):
        position, fits = resolve(site, site.read(k, index[axis:stop]), n)
        positions.append(position)
        ok = ok & fits
    return read_checked(site, (*index[:axis], *positions, *index[stop:]), ok, sizes)


def _gather_gradient(g: Tensor, out: Tensor, x: Tensor, *indices: Tensor, axis: int) -> Gradients:
    return [scatter_sum(list(indices), g, x.shape, axis), *[None] * len(indices)]


def _gather_batch(size: Dim, batched: tuple[bool, ...], node: Node, x: Tensor, *indices: Tensor) -> Tensor:
    axis = node.attrs["axis"]
    if not any(batched[1:]):
        return _GATHER(x, *indices, axis=axis + 1)
    wanted = all_stacked(size, batched[1:], indices)
    if batched[0]:
        x, wanted = moveaxis(x, 0, axis), [row_numbers(wanted[0]), *wanted]
    return moveaxis(_GATHER(x, *wanted, axis=axis), axis, 0)


def _gather_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3, 4, 2))
    i, j = np.array([[0, 2, -1], [1, 1, -3]]), np.array([[3, -4, 0], [2, 2, 1]])
    yield Sample((x, i), {"axis": 0}, expected=lambda x, i: x[i], call=_call_gather)
    yield Sample((x, j), {"axis": 1}, expected=lambda x, j: x[:, j], call=_call_gather)
    yield Sample((x, i, j), {"axis": 0}, expected=lambda x, i, j: x[i, j], call=_call_gather)
    yield Sample((x, j, i // 2), {"axis": 1}, expected=lambda x, j, i: x[:, j, i], call=_call_gather)
    yield Sample((x, np.array(-1)), {"axis": 2}, expected=x[:, :, -1], call=_call_gather)
    none = np.zeros((0, 2), INT64)
    yield Sample((x, none), {"axis": 1}, expected=np.zeros((3, 0, 2, 2)), call=_call_gather)
    yield Sample((x, np.array([2, 0], np.uint8)), {"axis": 0}, expected=x[[2, 0]], call=_call_gather)
    yield Sample((np.zeros((0, 3)), np.array([2, -1])), {"axis": 1}, np.zeros((0, 2)), call=_call_gather)


def _call_gather(x: Tensor, *indices: Tensor, axis: int) -> Tensor:
    return gather(x, list(indices), axis)


def _zeros_int(*shape: int) -> Tensor:
    return as_tensor(np.zeros(shape, INT64))


def _ones(*shape: int) -> Tensor:
    return as_tensor(np.ones(shape))


_GATHER = Op(
    "gather",
    _gather_rule,
    _gather_numpy,
    Map(_gather_lower),
    attributes={"axis": AXIS},
    gradient=_gather_gradient,
    batch=_gather_batch,
    samples=_gather_samples,
    errors=lambda: (
        ErrorSample(lambda: gather(_ones(3), [_zeros_int(2), _zeros_int(2)], 0), ShapeError, "more indices"),
        ErrorSample(lambda: gather(_ones(3), [_ones(2)], 0), DTypeError, "index"),
        ErrorSample(lambda: gather(_ones(3, 3), [_zeros_int(2), _zeros_int(3)], 0), ShapeError, "in shape"),
        ErrorSample(lambda: gather(_ones(3, 3), [_zeros_int(2), _zeros_int(2, 2)], 0), ShapeError, "in rank"),
    ),
    cost=2,
)


# --------------------------------------------------------------------- scatter
def scatter_sum(indices: list[Tensor], updates: Tensor, shape: Shape, axis: int) -> Tensor:
    """Return zeros of `shape` to which the updates are added where `gather` would read."""
    return _SCATTER(*indices, updates, shape=shape, axis=axis)


def _scatter_rule(ctx: Infer, *types: TensorType, shape: Shape, axis: int) -> TensorType:
    *indices, updates = types
    ctx.dtype_in(updates.dtype, NUMERIC, "updates")
    block = index_rule(ctx, tuple(indices))
    expected = TensorType((*shape[:axis], *block, *shape[axis + len(indices) :]), updates.dtype)
    if expected.ndim != updates.ndim:
        ctx.shape_error("updates have a wrong rank", expected, updates)
    for want, have in zip(expected.shape, updates.shape, strict=True):
        ctx.same(want, have, f"updates have a wrong shape: expected {expected}, given {updates}")
    return TensorType(shape, updates.dtype)


def _scatter_numpy(*operands: Array, shape: tuple[int, ...], axis: int) -> Array:
    *indices, updates = operands
    out = np.zeros(shape, updates.dtype)
    if updates.size:
        found = [wrap(t, shape[axis + k], "scatter_add") for k, t in enumerate(indices)]
        np.add.at(out, key_of(axis, found), updates)
    return out


def _scatter_loop(site: LoopSite) -> LoopBody:
    axis, shape = site.attrs["axis"], site.type.shape
    indices = site.inputs[:-1]
    count = len(indices)
    lead, trail = (site.size(dims.product(part)) for part in (shape[:axis], shape[axis + count :]))
    block, source = site.size(dims.product(indices[0].shape)), f"in{count}"
    lines = [*zero_fill(site), f"for p in range({lead}):", f"    for j in range({block}):"]
    lines += ["        ok = True", "        row = p"]
    for k, t in enumerate(indices):
        n = site.size(shape[axis + k])
        lines += [f"        r = {wrapped_source(k, t, 'j', n)}", f"        ok = ok and 0 <= r and r < {n}"]
        lines += [f"        row = row * {n} + r"]
    lines += ["        if ok:", f"            for t in range({trail}):"]
    lines += [f"                out[row * {trail} + t] += {source}[(p * {block} + j) * {trail} + t]"]
    lines += [f"        elif {trail} > 0:", f"            {site.fail()}"]
    return LoopBody(tuple(lines))


def zero_fill(site: LoopSite) -> tuple[str, str]:
    """Return the lines that clear the result."""
    zero = {"float32": "f32(0.0)", "float64": "f64(0.0)"}.get(str(site.type.dtype), "0")
    return f"for i in range({site.size(site.type.size)}):", f"    out[i] = {zero}"


def wrapped_source(k: int, type: TensorType, at: str, n: str) -> str:
    """Return the source of index operand `k` at a flat position, counted from the front."""
    given = f"i64(in{k}[{at}])"
    return given if type.dtype.kind == "u" else f"{given} + ({n} if {given} < 0 else 0)"


def _scatter_gradient(g: Tensor, out: Tensor, *operands: Tensor, shape: Shape, axis: int) -> Gradients:
    indices = list(operands[:-1])
    return [*[None] * len(indices), gather(g, indices, axis)]


def _scatter_batch(size: Dim, batched: tuple[bool, ...], node: Node, *operands: Tensor) -> Tensor:
    axis, shape = node.attrs["axis"], node.attrs["shape"]
    if not any(batched[:-1]):
        return _SCATTER(*operands, shape=(size, *shape), axis=axis + 1)
    *indices, updates = all_stacked(size, batched, operands)
    rows = row_numbers(indices[0])
    wide = (*shape[:axis], size, *shape[axis:])
    return moveaxis(_SCATTER(rows, *indices, moveaxis(updates, 0, axis), shape=wide, axis=axis), axis, 0)


def _scatter_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(6)
    i, j = np.array([[0, 2, -1], [1, 2, -3]]), np.array([[3, -4, 0], [2, 3, 1]])
    cases: list[tuple[tuple[Array, ...], tuple[int, ...], int]] = [
        ((i,), (3, 2), 0),
        ((j,), (2, 4, 3), 1),
        ((i, j), (3, 4), 0),
        ((np.array(1),), (2, 3), 1),
        ((np.zeros(0, INT64),), (3,), 0),
        ((np.array([1, 1]),), (2, 0), 0),
        ((np.array([1, 0, 1], np.uint8),), (2,), 0),
    ]
    for indices, shape, axis in cases:
        block = indices[0].shape
        updates = rng.normal(size=(*shape[:axis], *block, *shape[axis + len(indices) :]))
        expected = np.zeros(shape)
        for at in np.ndindex(*block):
            expected[key_of(axis, [int(t[at]) for t in indices])] += updates[key_of(axis, at)]
        yield Sample((*indices, updates), {"shape": shape, "axis": axis}, expected, call=_call_scatter)


def _call_scatter(*operands: Tensor, shape: Shape, axis: int) -> Tensor:
    return scatter_sum(list(operands[:-1]), operands[-1], shape, axis)


def _has_indexed_axes(value: Any, use: Use) -> bool:
    return bool(value + len(use.types) - 1 <= len(use.attrs["shape"]))


SCATTERED: Attributes = {
    "shape": SHAPE,
    "axis": at_least(0).narrowed("followed by an axis for each index", _has_indexed_axes),
}
_SCATTER = Op(
    "scatter_sum",
    _scatter_rule,
    _scatter_numpy,
    Loop(_scatter_loop),
    attributes=SCATTERED,
    gradient=_scatter_gradient,
    batch=_scatter_batch,
    samples=_scatter_samples,
    errors=lambda: (
        ErrorSample(lambda: scatter_sum([_zeros_int(2)], _ones(3, 2), (4, 2), 0), ShapeError, "wrong shape"),
        ErrorSample(lambda: scatter_sum([_zeros_int(2)], _ones(2), (4, 2), 0), ShapeError, "rank"),
        ErrorSample(lambda: scatter_sum([_zeros_int(1)], as_tensor([True]), (4,), 0), DTypeError, "updates"),
    ),
    dtypes=NUMERIC,
    cost=4,
)
