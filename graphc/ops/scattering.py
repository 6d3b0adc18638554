"""Writing into a tensor at positions that are values of the graph: put_along_axis.

Everything comes down to one operation on rows of elements, `scatter_into`, that takes flat
positions.  Where the same position is written more than once, updates act in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import numpy as np

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError, caller
from graphc.ir import Node
from graphc.lower.rules import Loop, LoopBody, LoopSite
from graphc.ops.attributes import word
from graphc.ops.axes import normalize_axis
from graphc.ops.batching import all_stacked, row_numbers
from graphc.ops.elementwise import astype
from graphc.ops.gather import as_indices, check_fixed, gather, wrap, wrapped_source
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.ops.ranges import arange
from graphc.ops.selection import where
from graphc.ops.shape import broadcast_to, reshape
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import BOOL, DTYPES, INT64, INTEGERS, TensorType

__all__ = ["put_along_axis"]

Array = np.ndarray[Any, Any]
Combine = Literal["set", "add", "multiply", "maximum", "minimum"]


def put_along_axis(
    x: TensorLike, indices: TensorLike, updates: TensorLike, axis: int = -1, combine: Combine = "set"
) -> Tensor:
    """Return a tensor with elements replaced, or combined with others, along an axis.

    Parameters
    ----------
    x : array_like
        Operand; it is not changed.
    indices : array_like of int
        Positions along `axis`; of the rank of `x`, and along other axes at most as long: the
        first rows are meant.  Negative ones count from the end.
    updates : array_like
        One for each index; broadcasts to their shape.
    axis : int, default -1
        Axis that the indices are positions of.
    combine : {"set", "add", "multiply", "maximum", "minimum"}
        What becomes of an element and its update.  With "set" the last update of an element
        stays; its gradient is that of positions that all differ.

    Returns
    -------
    Tensor
        Of the type of `x`.

    Raises
    ------
    ShapeError
        If ranks differ, or there are more indices than rows.
    ArgumentError
        If `axis` or `combine` is not usable.
    IndexRangeError
        As for `take`.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.put_along_axis(gx.constant([[10, 30], [60, 40]]), [[1], [0]], 99, axis=1))
    array([[10, 99],
           [99, 40]])
    """
    t, positions = as_tensor(x), as_indices(indices, "put_along_axis")
    at = normalize_axis(axis, t.ndim, "put_along_axis")
    if t.ndim != positions.ndim:
        raise ShapeError(
            "put_along_axis: operand and indices differ in rank",
            expected=f"{t.ndim} dimensions",
            given=f"{t.type} and {positions.type}",
            where=caller(),
        )
    for a, (n, count) in enumerate(zip(t.shape, positions.shape, strict=True)):
        if a != at and isinstance(n, int) and isinstance(count, int) and count > n:
            raise ShapeError(
                "put_along_axis: more indices than rows",
                expected=f"at most {n} along axis {a}",
                given=str(positions.type),
                where=caller(),
            )
    check_fixed(positions, t.shape[at], "put_along_axis")
    places = [
        positions if a == at else broadcast_to(_along(arange(n), a, t.ndim), positions.shape)
        for a, n in enumerate(positions.shape)
    ]
    return put(t, places, updates, combine)


def _along(t: Tensor, axis: int, rank: int) -> Tensor:
    return reshape(t, tuple(-1 if a == axis else 1 for a in range(rank)))


def put(x: Tensor, indices: list[Tensor], updates: TensorLike, combine: Combine = "set") -> Tensor:
    """Combine updates into `x` where ``x[indices]`` reads: one index tensor for each leading axis.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(put(gx.constant([[1, 2], [3, 4]]), [gx.constant([1])], [[7, 8]]))
    array([[1, 2],
           [7, 8]])
    """
    _check_combine(combine)
    lead, rest = x.shape[: len(indices)], x.shape[len(indices) :]
    block = indices[0].shape
    row: Tensor | None = None
    for n, at in zip(lead, indices, strict=True):
        front = astype(at, INT64)
        # An index that is out of range stays so, whatever the other axes add.
        checked = where((front < -1 * n) | (front >= n), _BEYOND, where(front < 0, front + n, front))
        row = checked if row is None else where((row < 0) | (checked < 0), _BEYOND, row * n + checked)
    values = broadcast_to(astype(as_tensor(updates, x.dtype), x.dtype), (*block, *rest))
    if row is None:
        raise ArgumentError("put: no indices", where=caller())
    width = dims.product(rest)
    found = SCATTER_INTO(
        reshape(x, (dims.product(lead), width)),
        reshape(row, (dims.product(block),)),
        reshape(values, (dims.product(block), width)),
        combine=combine,
    )
    return reshape(found, x.shape)


# A position that no tensor has.
_BEYOND = -(2**62)


def _check_combine(combine: Any) -> None:
    if combine not in get_args(Combine):
        raise ArgumentError(
            "put_along_axis: bad combine",
            expected=" or ".join(map(repr, get_args(Combine))),
            given=repr(combine),
            where=caller(),
        )


# ------------------------------------------------------------------ the operation
def _rule(ctx: Infer, x: TensorType, rows: TensorType, updates: TensorType, combine: str) -> TensorType:
    ctx.dtype_in(rows.dtype, INTEGERS, "index")
    if updates.dtype != x.dtype:
        ctx.dtype_error("updates differ in dtype", x.dtype, updates.dtype)
    if x.dtype == BOOL and combine == "add":
        ctx.dtype_error("bools cannot be added", "numbers", x.dtype)
    ctx.rank(x, 2)
    ctx.rank(rows, 1, "index")
    ctx.rank(updates, 2, "updates")
    ctx.same(rows.shape[0], updates.shape[0], "one row of updates for each index")
    ctx.same(x.shape[1], updates.shape[1], "updates and operand differ in width")
    return x


_AT: dict[str, Any] = {"add": np.add, "multiply": np.multiply, "maximum": np.maximum, "minimum": np.minimum}


def _numpy(x: Array, rows: Array, updates: Array, combine: str) -> Array:
    out = np.array(x)
    if not updates.size:
        return out
    at = wrap(rows, x.shape[0], "put_along_axis")
    if combine == "set":
        out[at] = updates
    else:
        _AT[combine].at(out, at, updates)
    return out


# What becomes of an element `old` and its update `new`; a nan is kept by either extremum.
_SOURCE = {
    "set": "new",
    "add": "old + new",
    "multiply": "old * new",
    "maximum": "new if (new > old) or (new != new) else old",
    "minimum": "new if (new < old) or (new != new) else old",
}
_BOOL_SOURCE = {"multiply": "old and new", "maximum": "old or new", "minimum": "old and new"}


def _loop(site: LoopSite) -> LoopBody:
    (n, width), count = map(site.size, site.type.shape), site.size(site.inputs[1].shape[0])
    combine = site.attrs["combine"]
    table = {**_SOURCE, **_BOOL_SOURCE} if site.type.dtype == BOOL else _SOURCE
    lines = [f"for i in range({n} * {width}):", "    out[i] = in0[i]", f"for j in range({count}):"]
    lines += [f"    r = {wrapped_source(1, site.inputs[1], 'j', n)}", f"    if 0 <= r and r < {n}:"]
    lines += [f"        for t in range({width}):"]
    lines += [f"            old = out[r * {width} + t]", f"            new = in2[j * {width} + t]"]
    lines += [f"            out[r * {width} + t] = {table[combine]}"]
    lines += [f"    elif {width} > 0:", f"        {site.fail()}"]
    return LoopBody(tuple(lines))


def _gradient(g: Tensor, out: Tensor, x: Tensor, rows: Tensor, updates: Tensor, combine: str) -> Gradients:
    return [
        _x_gradient(g, out, x, rows, updates, combine),
        None,
        *_update_gradient(g, out, rows, updates, combine),
    ]


def _x_gradient(g: Tensor, out: Tensor, x: Tensor, rows: Tensor, updates: Tensor, combine: str) -> Tensor:
    if combine == "add":
        return g
    if combine == "multiply":
        return g * SCATTER_INTO(x * 0 + 1, rows, updates, combine=combine)
    if combine == "set":
        return SCATTER_INTO(g, rows, updates * 0, combine=combine)
    return where(x == out, g, g * 0)


def _update_gradient(g: Tensor, out: Tensor, rows: Tensor, updates: Tensor, combine: str) -> Gradients:
    at = gather(g, [rows], 0)
    if combine in ("add", "set"):
        return [at]
    found = gather(out, [rows], 0)
    if combine == "multiply":
        return [at * found / updates]
    return [where(updates == found, at, at * 0)]


def _batch(size: Dim, batched: tuple[bool, ...], node: Node, *inputs: Tensor) -> Tensor:
    """Put the rows of all behind each other."""
    x, rows, updates = all_stacked(size, batched, inputs)
    n, width = x.shape[1:]
    front = where(rows < 0, rows + n, rows)
    apart = where((front < 0) | (front >= n), _BEYOND, front + row_numbers(rows) * n)
    flat = reshape(apart, (size * rows.shape[1],))
    found = SCATTER_INTO(
        reshape(x, (size * n, width)), flat, reshape(updates, (flat.shape[0], width)), **node.attrs
    )
    return reshape(found, (size, n, width))


# -------------------------------------------------------------------- its samples
_ONE: dict[str, Callable[[Any, Any], Any]] = {
    "set": lambda old, new: new,
    "add": lambda old, new: old + new,
    "multiply": lambda old, new: old * new,
    "maximum": max,
    "minimum": min,
}


def _samples() -> Iterable[Sample]:
    rng = np.random.default_rng(11)
    for combine in get_args(Combine):
        # Positions that differ have gradients in every mode.
        yield _sample(rng.normal(size=(4, 3)), np.array([2, -4]), combine, rng)
        yield _sample(rng.normal(size=(3, 1)), np.zeros(0, INT64), combine, rng)
        yield _sample(rng.normal(size=(3, 0)), np.array([1, 1]), combine, rng)
        twice = _sample(rng.normal(size=(2, 2)), np.array([1, 0, 1], np.uint8), combine, rng)
        yield Sample(twice.inputs, twice.kwargs, twice.expected, call=_call, differentiable=combine == "add")


def _sample(x: Array, rows: Array, combine: str, rng: np.random.Generator) -> Sample:
    updates = rng.normal(size=(len(rows), x.shape[1]))
    expected = np.array(x)
    for j, row in enumerate(rows):
        for t in range(x.shape[1]):
            expected[int(row), t] = _ONE[combine](expected[int(row), t], updates[j, t])
    return Sample((x, rows, updates), {"combine": combine}, expected, call=_call)


def _call(x: Tensor, rows: Tensor, updates: Tensor, combine: str) -> Tensor:
    return SCATTER_INTO(x, rows, updates, combine=combine)


def _put(x: Shape, indices: Any, updates: Any, **options: Any) -> Tensor:
    return put_along_axis(np.zeros(x), indices, updates, **options)


SCATTER_INTO = Op(
    "scatter_into",
    _rule,
    _numpy,
    Loop(_loop),
    attributes={"combine": word(*get_args(Combine))},
    gradient=_gradient,
    batch=_batch,
    api=put_along_axis,
    samples=_samples,
    errors=lambda: (
        ErrorSample(lambda: _put((2, 3), [[3], [0]], 1.0, axis=1), IndexRangeError, "out of range"),
        ErrorSample(lambda: _put((2,), [[0]], 1.0), ShapeError, "rank"),
        ErrorSample(lambda: _put((2, 2), [[0], [0], [0]], 1.0, axis=1), ShapeError, "more indices"),
        ErrorSample(lambda: _put((2,), [0], 1.0, combine="mean"), ArgumentError, "combine"),
        ErrorSample(lambda: put_along_axis(np.ones(2, bool), [0], True, combine="add"), DTypeError, "added"),
    ),
    dtypes=DTYPES,
    cost=4,
)
