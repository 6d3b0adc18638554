"""Tensors side by side: concatenation, splitting, padding, tiling."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.errors import ArgumentError, ShapeError, caller
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Index, Map, Site
from graphc.ops.axes import is_int, normalize_axis
from graphc.ops.elementwise import astype
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.ops.shape import broadcast_to, expand_dims, reshape, squeeze
from graphc.ops.slicing import flip, place, slice_window
from graphc.tensor import Tensor, TensorLike, as_tensor, promote
from graphc.types import TensorType

__all__ = ["concat", "pad", "repeat", "split", "stack", "tile", "unstack"]

Array = np.ndarray[Any, Any]
Widths = int | tuple[int, int] | Sequence[tuple[int, int]]


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
            if a != axis:
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

    value = part(len(offsets) - 1)
    for k in reversed(range(len(offsets) - 1)):
        value = expr.guard(index[axis] < expr.size(offsets[k + 1]), part(k), value)
    return value


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
    Map(_concat_lower),
    gradient=_concat_gradient,
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
            "stack: operands differ in rank", expected=str(parts[0].type), given=str(wrong.type), where=caller()
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
    from graphc.ops.getitem import getitem

    t = as_tensor(x)
    at = normalize_axis(axis, t.ndim, "split")
    if is_int(sections):
        return _windows(t, _equal_parts(t, int(sections), at), at)
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
    length = dims.floordiv(n, count)
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
            expected="a fixed size (gx.scan walks a symbolic one)",
            given=f"{n} along axis {at} of {t.type}",
            where=caller(),
        )
    return [squeeze(part, at) for part in _windows(t, [1] * n, at)]


# --------------------------------------------------------------------- padding
def pad(x: TensorLike, pad_width: Widths, mode: str = "constant", value: bool | int | float = 0) -> Tensor:
    """Put elements before and after a tensor's own, along every axis.

    Parameters
    ----------
    x : array_like
        Operand.
    pad_width : int, (before, after) or sequence of (before, after)
        How many elements: everywhere, along every axis, or axis by axis.
    mode : {"constant", "edge", "reflect"}
        What they are: `value`, the border element, or the mirror image without the border.
    value : scalar, default 0
        Padding of mode "constant".

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If the mode is unknown or a width is negative or missing.
    ShapeError
        If the edge or mirror image of an empty axis is asked for.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.pad(gx.constant([1, 2, 3]), (2, 1), mode="reflect"))
    array([3, 2, 1, 2, 3, 2])
    """
    t = as_tensor(x)
    widths = _pad_widths(pad_width, t.ndim)
    if mode not in _PAD_MODES:
        raise ArgumentError(
            "pad: unknown mode", expected=" or ".join(_PAD_MODES), given=repr(mode), where=caller()
        )
    if mode == "constant":
        shape = tuple(n + before + after for n, (before, after) in zip(t.shape, widths, strict=True))
        return place(t, shape, [before for before, _ in widths], [1] * t.ndim, value)
    for axis, (before, after) in enumerate(widths):
        if before or after:
            t = _PAD_MODES[mode](t, axis, before, after)
    return t


def _pad_widths(given: Any, ndim: int) -> list[tuple[int, int]]:
    listed = (given, given) if is_int(given) else given
    if isinstance(listed, (tuple, list)) and len(listed) == 2 and all(map(is_int, listed)):
        listed = [listed] * ndim
    fits = isinstance(listed, (tuple, list)) and len(listed) == ndim
    if fits and all(_is_width(pair) for pair in listed):
        return [(int(before), int(after)) for before, after in listed]
    raise ArgumentError(
        "pad: bad pad_width",
        expected=f"a non-negative int, a pair of them, or {ndim} pairs (one per axis)",
        given=repr(given),
        where=caller(),
    )


def _is_width(pair: Any) -> bool:
    is_pair = isinstance(pair, (tuple, list)) and len(pair) == 2
    return is_pair and all(is_int(n) and n >= 0 for n in pair)


def _pad_edge(t: Tensor, axis: int, before: int, after: int) -> Tensor:
    n = t.shape[axis]
    first = _along(t, axis, 0, 1)
    last = _along(t, axis, n - 1, 1)
    return concat([_stretch(first, axis, before), t, _stretch(last, axis, after)], axis)


def _pad_reflect(t: Tensor, axis: int, before: int, after: int) -> Tensor:
    n = t.shape[axis]
    if n == 1:
        return _pad_edge(t, axis, before, after)
    while before or after:
        # The image is periodic, so what one mirror cannot give, mirroring the result does.
        n = t.shape[axis]
        reach = n - 1 if isinstance(n, int) else max(before, after)
        left, right = min(before, max(reach, 1)), min(after, max(reach, 1))
        head = flip(_along(t, axis, 1, left), axis)
        tail = flip(_along(t, axis, n - 1 - right, right), axis)
        t = concat([head, t, tail], axis)
        before, after = before - left, after - right
    return t


def _along(t: Tensor, axis: int, start: Dim, length: Dim) -> Tensor:
    starts: list[Dim] = [0] * t.ndim
    starts[axis] = start
    return slice_window(t, starts, (*t.shape[:axis], length, *t.shape[axis + 1 :]))


def _stretch(t: Tensor, axis: int, length: int) -> Tensor:
    return broadcast_to(t, (*t.shape[:axis], length, *t.shape[axis + 1 :]))


_PAD_MODES: dict[str, Any] = {"constant": None, "edge": _pad_edge, "reflect": _pad_reflect}


# ------------------------------------------------------------------ repetition
def tile(x: TensorLike, repetitions: int | Sequence[int]) -> Tensor:
    """Repeat a whole tensor along its axes.

    Parameters
    ----------
    x : array_like
        Operand.
    repetitions : int or tuple of int
        How often, along the last axes; more than the operand has add leading axes.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.tile(gx.constant([1, 2]), 3))
    array([1, 2, 1, 2, 1, 2])
    """
    t = as_tensor(x)
    counts = _counts(repetitions, "tile")
    rank = max(t.ndim, len(counts))
    counts = (1,) * (rank - len(counts)) + counts
    shape = (1,) * (rank - t.ndim) + t.shape
    # A broadcast leaves the innermost loop contiguous, where an index modulo the size would not.
    split_shape = [d for r, n in zip(counts, shape, strict=True) for d in ((1, n) if r != 1 else (n,))]
    wide_shape = [d for r, n in zip(counts, shape, strict=True) for d in ((r, n) if r != 1 else (n,))]
    whole = tuple(n * r for r, n in zip(counts, shape, strict=True))
    return reshape(broadcast_to(reshape(t, split_shape), wide_shape), whole)


def repeat(x: TensorLike, repeats: int, axis: int | None = None) -> Tensor:
    """Repeat every element along an axis.

    Parameters
    ----------
    x : array_like
        Operand.
    repeats : int
        How often; the same for every element, so that the size is known.
    axis : int, optional
        Along which axis; by default of the flattened tensor.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.repeat(gx.constant([1, 2]), 3))
    array([1, 1, 1, 2, 2, 2])
    """
    (count,) = _counts(repeats, "repeat")
    t = as_tensor(x)
    if axis is None:
        t, axis = reshape(t, -1), 0
    at = normalize_axis(axis, t.ndim, "repeat")
    before, n, after = t.shape[:at], t.shape[at], t.shape[at + 1 :]
    wide = broadcast_to(expand_dims(t, at + 1), (*before, n, count, *after))
    return reshape(wide, (*before, n * count, *after))


def _counts(given: Any, op: str) -> tuple[int, ...]:
    listed = (given,) if is_int(given) else given
    single = op == "repeat" and not is_int(given)
    if isinstance(listed, (tuple, list)) and not single and all(is_int(n) and n >= 0 for n in listed):
        return tuple(int(n) for n in listed)
    expected = "a non-negative int" if op == "repeat" else "a non-negative int or a tuple of them"
    raise ArgumentError(f"{op}: bad number of repetitions", expected=expected, given=repr(given), where=caller())
