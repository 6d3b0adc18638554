"""Tensors side by side: concatenation and its inverse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.errors import ArgumentError, ShapeError, caller
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Index, Join, Site
from graphc.ops.attributes import AXIS
from graphc.ops.axes import is_int, normalize_axis
from graphc.ops.batching import batch_by, next_axis
from graphc.ops.elementwise import astype
from graphc.ops.getitem import getitem
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.ops.shape import expand_dims, reshape, squeeze
from graphc.ops.slicing import slice_window
from graphc.tensor import Tensor, TensorLike, as_tensor, promote
from graphc.types import TensorType

__all__ = ["concat", "split", "stack", "unstack"]

Array = np.ndarray[Any, Any]


# ---------------------------------------------------------------------- concat
def concat(arrays: Sequence[TensorLike], axis: int | None = 0) -> Tensor:
    """Join tensors along an existing axis.

    Parameters
    ----------
    arrays : sequence of array_like
        Operands, promoted to one dtype; their sizes agree except along `axis`.
    axis : int or None, default 0
        Axis along which they follow each other; None joins the flattened operands.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If ranks or other sizes differ.
    ArgumentError
        If there are no operands, or `axis` is out of range.

    Examples
    --------
    >>> import graphc as gx
    >>> x, y = gx.placeholder("x", ("n", 3)), gx.placeholder("y", ("n", 2))
    >>> gx.concat([x, y], axis=1)
    <Tensor float32[n, 5]>
    """
    parts = _same_dtype(arrays, "concat")
    if axis is None:
        parts, axis = [reshape(p, -1) for p in parts], 0
    if parts[0].ndim == 0:
        raise ShapeError(
            "concat: operands without axes",
            expected="one dimension or more (gx.stack joins scalars)",
            given=str(parts[0].type),
            where=caller(),
        )
    at = normalize_axis(axis, parts[0].ndim, "concat")
    return parts[0] if len(parts) == 1 else _CONCAT(*parts, axis=at)


def _same_dtype(arrays: Sequence[TensorLike], op: str) -> list[Tensor]:
    listed = [arrays[i] for i in range(len(arrays))] if isinstance(arrays, Tensor) else list(arrays)
    if not listed:
        raise ArgumentError(f"{op}: no operands", expected="one or more", given="none", where=caller())
    tensors, dtype = promote(*listed)
    return [astype(t, dtype) for t in tensors]


def _concat_rule(ctx: Infer, *types: TensorType, axis: int) -> TensorType:
    first = types[0]
    shape = list(first.shape)
    for t in types[1:]:
        if t.dtype != first.dtype:
            ctx.dtype_error("operands differ in dtype", first.dtype, t.dtype)
        if t.ndim != first.ndim:
            ctx.shape_error("operands differ in rank", first, t)
        for a in range(t.ndim):
            if a != axis and shape[a] != t.shape[a]:
                shape[a] = ctx.same(shape[a], t.shape[a], f"sizes of axis {a} differ in {first} and {t}")
        shape[axis] = shape[axis] + t.shape[axis]
    return TensorType(tuple(shape), first.dtype)


def _concat_lower(site: Site, index: Index) -> Expr:
    axis = site.attrs["axis"]
    offsets: list[Dim] = [0]
    for t in site.inputs[:-1]:
        offsets.append(offsets[-1] + t.shape[axis])

    def part(k: int) -> Expr:
        moved = index[axis] - expr.size(offsets[k])
        return site.read(k, (*index[:axis], moved, *index[axis + 1 :]))

    def among(first: int, last: int) -> Expr:
        # Halves, not one after the other: few questions are asked and no branch is nested deeply.
        if first == last:
            return part(first)
        middle = (first + last + 1) // 2
        return expr.guard(
            index[axis] < expr.size(offsets[middle]), among(first, middle - 1), among(middle, last)
        )

    return among(0, len(offsets) - 1)


def _concat_gradient(g: Tensor, out: Tensor, *inputs: Tensor, axis: int) -> Gradients:
    return _windows(g, [t.shape[axis] for t in inputs], axis)


def _windows(x: Tensor, lengths: Sequence[Dim], axis: int) -> list[Tensor]:
    """Cut consecutive windows of the given lengths along an axis."""
    starts: list[Dim] = [0] * x.ndim
    parts = []
    for length in lengths:
        parts.append(slice_window(x, starts, (*x.shape[:axis], length, *x.shape[axis + 1 :])))
        starts[axis] = starts[axis] + length
    return parts


def _concat_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(4)
    cases: list[tuple[list[tuple[int, ...]], int | None]] = [
        ([(2, 3), (1, 3)], 0),
        ([(2, 3), (2, 0), (2, 1)], -1),
        ([(2, 1, 2), (2, 5, 2), (2, 2, 2)], 1),
        ([(0,), (0,)], 0),
        ([(2, 2), (3,)], None),
        ([(4,)], 0),
    ]
    for shapes, axis in cases:
        parts = tuple(rng.normal(size=s) for s in shapes)
        expected = np.concatenate(parts, axis)
        yield Sample(parts, {"axis": axis}, expected, call=lambda *ts, axis: concat(ts, axis))


_CONCAT = Op(
    "concat",
    _concat_rule,
    lambda *xs, axis: np.concatenate(xs, axis),
    Join(_concat_lower),
    attributes={"axis": AXIS},
    gradient=_concat_gradient,
    batch=batch_by(axis=next_axis),
    api=concat,
    samples=_concat_samples,
    errors=lambda: (
        ErrorSample(lambda: concat([]), ArgumentError, "no operands"),
        ErrorSample(lambda: concat([1.0, 2.0]), ShapeError, "without axes"),
        ErrorSample(lambda: concat([np.ones((2, 3)), np.ones(3)]), ShapeError, "rank"),
        ErrorSample(lambda: concat([np.ones((2, 3)), np.ones((2, 4))]), ShapeError, "axis 1"),
        ErrorSample(lambda: concat([np.ones(2), np.ones(2)], axis=1), ArgumentError, "out of range"),
    ),
    cost=0,
)


def stack(arrays: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Join tensors of equal shape along a new axis.

    Parameters
    ----------
    arrays : sequence of array_like
        Operands, promoted to one dtype.
    axis : int, default 0
        Where the new axis stands in the result.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.stack([gx.constant([1, 2]), gx.constant([3, 4])], axis=1))
    array([[1, 3],
           [2, 4]])
    """
    parts = _same_dtype(arrays, "stack")
    wrong = next((p for p in parts if p.ndim != parts[0].ndim), None)
    if wrong is not None:
        raise ShapeError(
            "stack: operands differ in rank",
            expected=str(parts[0].type),
            given=str(wrong.type),
            where=caller(),
        )
    at = normalize_axis(axis, parts[0].ndim + 1, "stack")
    return concat([expand_dims(p, at) for p in parts], at)


# ----------------------------------------------------------------------- split
def split(x: TensorLike, sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Cut a tensor along an axis.

    Parameters
    ----------
    x : array_like
        Operand.
    sections : int or sequence of int
        How many equal parts, or the indices at which to cut (as ``numpy.split``).
    axis : int, default 0
        Axis to cut.

    Returns
    -------
    list of Tensor

    Raises
    ------
    ShapeError
        If the parts would not be equal, or the axis is symbolic and cannot be divided provably.
    ArgumentError
        If `sections` is not a positive int or a sequence of ints.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.split(gx.placeholder("x", shape=("n", 6)), [2, 3], axis=1)
    [<Tensor float32[n, 2]>, <Tensor float32[n, 1]>, <Tensor float32[n, 3]>]
    """
    t = as_tensor(x)
    at = normalize_axis(axis, t.ndim, "split")
    if is_int(sections):
        return _windows(t, _equal_parts(t, sections, at), at)
    if not isinstance(sections, (tuple, list)) or not all(map(is_int, sections)):
        raise ArgumentError(
            "split: bad sections",
            expected="a positive int, or a list of indices",
            given=repr(sections),
            where=caller(),
        )
    lead = (slice(None),) * at
    bounds = zip([0, *sections], [*sections, None], strict=True)
    return [getitem(t, (*lead, slice(start, stop))) for start, stop in bounds]


def _equal_parts(t: Tensor, count: int, axis: int) -> list[Dim]:
    n = t.shape[axis]
    if count < 1:
        raise ArgumentError("split: bad sections", expected="1 or more", given=str(count), where=caller())
    length = dims.floordiv(n, int(count))
    if length * count != n:
        raise ShapeError(
            f"split: axis {axis} of {t.type} does not divide into {count} equal parts",
            expected=f"a size that is provably a multiple of {count}",
            given=str(n),
            where=caller(),
        )
    return [length] * count


def unstack(x: TensorLike, axis: int = 0) -> list[Tensor]:
    """Return the slices of a tensor along an axis, without that axis.

    Parameters
    ----------
    x : array_like
        Operand; its size along `axis` is fixed.
    axis : int, default 0
        Axis to take apart.

    Returns
    -------
    list of Tensor

    Raises
    ------
    ShapeError
        If the size along `axis` is symbolic.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.unstack(gx.placeholder("x", shape=("n", 2)), axis=1)
    [<Tensor float32[n]>, <Tensor float32[n]>]
    """
    t = as_tensor(x)
    at = normalize_axis(axis, t.ndim, "unstack")
    n = t.shape[at]
    if not isinstance(n, int):
        raise ShapeError(
            "unstack: how many tensors would result is not known",
            expected="a fixed size",
            given=f"{n} along axis {at} of {t.type}",
            where=caller(),
        )
    return [squeeze(part, at) for part in _windows(t, [1] * n, at)]
