"""Windows of a tensor: `slice` reads a strided window, `place` writes one into a filled tensor.

The two are each other's adjoint, so every slice, flip, roll, concatenation and padding
differentiates any number of times without a scatter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import ArgumentError, GraphcError, IndexRangeError, ShapeError, caller
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Index, Map, Site
from graphc.ops.attributes import INTEGER, OFFSETS, SHAPE, number_of, tuple_of
from graphc.ops.axes import is_int, normalize_axes, normalize_axis
from graphc.ops.batching import batch_by, by_one, from_zero, sized
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.ops.shape import reshape
from graphc.tensor import Axes, Tensor, TensorLike, as_tensor
from graphc.types import TensorType

__all__ = ["flip", "roll"]

Array = np.ndarray[Any, Any]


# ----------------------------------------------------------------------- slice
def slice_window(
    x: Tensor, starts: Sequence[Dim], sizes: Sequence[Dim], steps: Sequence[int] | None = None
) -> Tensor:
    """Return the window of `sizes` elements that begins at `starts`, every `steps`-th along each axis.

    Steps may be negative, not zero.  A window of symbolic size is taken to lie within `x`
    (as the one that `getitem` computes does); one of static size is verified.
    """
    strides = tuple(steps) if steps is not None else (1,) * x.ndim
    whole = tuple(sizes) == x.shape and all(s == 1 for s in strides) and all(s == 0 for s in starts)
    return x if whole else _SLICE(x, starts=tuple(starts), sizes=tuple(sizes), steps=strides)


def _slice_rule(ctx: Infer, x: TensorType, starts: Shape, sizes: Shape, steps: tuple[int, ...]) -> TensorType:
    if not x.ndim == len(starts) == len(sizes) == len(steps):
        ctx.shape_error("window of another rank", f"{x.ndim} dimensions", len(sizes))
    _require_inside(ctx, x, starts, sizes, steps)
    return TensorType(sizes, x.dtype)


def _require_inside(ctx: Infer, x: TensorType, starts: Shape, sizes: Shape, steps: tuple[int, ...]) -> None:
    for axis, (n, start, count, step) in enumerate(zip(x.shape, starts, sizes, steps, strict=True)):
        if not isinstance(count, int):
            _suspect(ctx, n, start, count, step)
        elif count > 0:
            low, high = _ends(start, count, step)
            # One element in steps of 1 is how x[i] selects.
            error: type[GraphcError] = IndexRangeError if (count, step) == (1, 1) else ShapeError
            reach = f"index {low} is out of range for" if low == high else "the window reaches beyond"
            why = f"{reach} axis {axis} of {x}"
            # min(n, high + 1) == high + 1 says high < n, in the one relation that checks can state.
            ctx.same(high + 1, dims.minimum(n, high + 1), why, error)
            ctx.same(low, dims.maximum(low, 0), why, error)


def _suspect(ctx: Infer, n: Dim, start: Dim, count: Dim, step: int) -> None:
    """Record for a graph of doubtful origin that a window of symbolic size lies within `n` elements."""
    if ctx.trusted:
        return
    low, high = _ends(start, count, step)
    some = dims.minimum(1, count)  # an empty window lies anywhere
    ctx.at_most((high + 1) * some, n, "a window reaches beyond its operand")
    ctx.at_most(0, low * some, "a window begins before its operand")


def _ends(start: Dim, count: Dim, step: int) -> tuple[Dim, Dim]:
    """Return the smallest and the largest index of a window."""
    last = start + (count - 1) * step
    return (start, last) if step > 0 else (last, start)


def _window(starts: Any, sizes: Any, steps: tuple[int, ...]) -> tuple[Array, ...]:
    spans = zip(starts, sizes, steps, strict=True)
    return np.ix_(*(start + step * np.arange(count, dtype=np.int64) for start, count, step in spans))


def _slice_numpy(x: Array, starts: Shape, sizes: Shape, steps: tuple[int, ...]) -> Array:
    found: Array = x[_window(starts, sizes, steps)]
    return found


def _slice_lower(site: Site, index: Index) -> Expr:
    a = site.attrs
    spans = zip(index, a["starts"], a["steps"], strict=True)
    return site.read(0, tuple(_advance(i, start, step) for i, start, step in spans))


def _advance(i: Expr, start: Dim, step: int) -> Expr:
    return expr.size(start) - i if step == -1 else i * step + expr.size(start)


def _slice_gradient(
    g: Tensor, out: Tensor, x: Tensor, starts: Shape, sizes: Shape, steps: tuple[int, ...]
) -> Gradients:
    return [place(g, x.shape, starts, steps)]


Ints = tuple[int, ...]


def _window_samples() -> Iterable[tuple[Ints, Ints, Ints, Ints]]:
    yield (5,), (1,), (3,), (1,)
    yield (5, 4), (4, 0), (5, 2), (-1, 2)
    yield (7, 3), (0, 2), (3, 1), (3, -1)
    yield (6,), (5,), (2,), (-4,)
    yield (3, 4), (1, 2), (0, 2), (1, 1)
    yield (0, 2), (0, 0), (0, 1), (1, 1)
    yield (1,), (0,), (1,), (1,)
    yield (), (), (), ()


def _slice_samples() -> Iterable[Sample]:
    for shape, starts, sizes, steps in _window_samples():
        x = np.random.default_rng(1).normal(size=shape)
        spans = zip(starts, sizes, steps, strict=True)
        expected = x
        for axis, (at, count, step) in enumerate(spans):
            expected = np.take(expected, [at + step * k for k in range(count)], axis)
        kwargs = {"starts": starts, "sizes": sizes, "steps": steps}
        yield Sample((x,), kwargs, expected=expected, call=slice_window)


_STEPS = tuple_of(INTEGER.narrowed("not 0", lambda value, use: value != 0))
_SLICE = Op(
    "slice",
    _slice_rule,
    _slice_numpy,
    Map(_slice_lower),
    attributes={"starts": OFFSETS, "sizes": SHAPE, "steps": _STEPS},
    gradient=_slice_gradient,
    batch=batch_by(starts=from_zero, sizes=sized, steps=by_one),
    samples=_slice_samples,
    errors=lambda: (
        ErrorSample(lambda: slice_window(as_tensor(np.zeros(3)), (1,), (3,)), ShapeError, "beyond axis 0"),
        ErrorSample(lambda: slice_window(as_tensor(np.zeros(3)), (0,), (2,), (-1,)), ShapeError, "beyond"),
        ErrorSample(lambda: slice_window(as_tensor(np.zeros(3)), (0, 0), (1, 1)), ShapeError, "rank"),
    ),
    cost=0,
)


# ----------------------------------------------------------------------- place
def place(
    x: Tensor, shape: Shape, starts: Sequence[Dim], steps: Sequence[int], value: bool | int | float = 0
) -> Tensor:
    """Return a tensor of `shape` filled with `value`, its strided window replaced by `x`.

    A window of symbolic size is taken to lie within `shape`; one of static size is verified.
    """
    whole = shape == x.shape and all(s == 1 for s in steps) and all(s == 0 for s in starts)
    fill = x.dtype.type(value).item()
    return x if whole else _PLACE(x, shape=shape, starts=tuple(starts), steps=tuple(steps), value=fill)


def _place_rule(
    ctx: Infer, x: TensorType, shape: Shape, starts: Shape, steps: tuple[int, ...], value: Any
) -> TensorType:
    if not x.ndim == len(shape) == len(starts) == len(steps):
        ctx.shape_error("window of another rank", f"{x.ndim} dimensions", len(shape))
    result = TensorType(shape, x.dtype)
    _require_inside(ctx, result, starts, x.shape, steps)
    return result


def _place_numpy(x: Array, shape: Any, starts: Shape, steps: tuple[int, ...], value: Any) -> Array:
    out = np.full(shape, value, x.dtype)
    out[_window(starts, x.shape, steps)] = x
    return out


def _place_lower(site: Site, index: Index) -> Expr:
    a = site.attrs
    inside, position = expr.TRUE, []
    spans = zip(index, site.type.shape, site.inputs[0].shape, a["starts"], a["steps"], strict=True)
    for i, extent, count, start, step in spans:
        ok, k = _position(i, extent, count, start, step)
        inside = inside & ok
        position.append(k)
    return expr.guard(inside, site.read(0, tuple(position)), expr.const(a["value"], site.type.dtype))


def _position(i: Expr, extent: Dim, count: Dim, start: Dim, step: int) -> tuple[Expr, Expr]:
    """Return whether result index `i` lies in the window, and which element of it that is."""
    if count == 1:
        # One element has no stride; position 0 keeps the read free of arithmetic.
        return (expr.TRUE if extent == 1 else i.eq(expr.size(start))), expr.ZERO
    offset = i - expr.size(start) if step > 0 else expr.size(start) - i
    stride = abs(step)
    k = offset // stride
    aligned = expr.TRUE if stride == 1 else (offset % stride).eq(0)
    # Bounds that the window touches hold for every index of the result.
    after = expr.TRUE if step == 1 and start == 0 else offset >= 0
    touches = step == 1 and start + count == extent
    before = expr.TRUE if touches else k < expr.size(count)
    return after & before & aligned, k


def _place_gradient(
    g: Tensor, out: Tensor, x: Tensor, shape: Shape, starts: Shape, steps: tuple[int, ...], value: Any
) -> Gradients:
    return [slice_window(g, starts, x.shape, steps)]


def _place_samples() -> Iterable[Sample]:
    for shape, starts, sizes, steps in _window_samples():
        x = np.random.default_rng(2).normal(size=sizes)
        expected = np.full(shape, 1.5)
        for k in np.ndindex(*x.shape):
            at = tuple(s + step * i for s, step, i in zip(starts, steps, k, strict=True))
            expected[at] = x[k]
        kwargs = {"shape": shape, "starts": starts, "steps": steps, "value": 1.5}
        yield Sample((x,), kwargs, expected=expected, call=place)


_PLACE = Op(
    "place",
    _place_rule,
    _place_numpy,
    Map(_place_lower),
    attributes={
        "shape": SHAPE,
        "starts": OFFSETS,
        "steps": _STEPS,
        "value": number_of(lambda use: use.types[0].dtype),
    },
    gradient=_place_gradient,
    batch=batch_by(shape=sized, starts=from_zero, steps=by_one),
    samples=_place_samples,
    errors=lambda: (
        ErrorSample(lambda: place(as_tensor(np.zeros(3)), (3, 3), (0,), (1,)), ShapeError, "rank"),
        ErrorSample(lambda: place(as_tensor(np.zeros(3)), (4,), (2,), (1,)), ShapeError, "beyond axis 0"),
    ),
    cost=0,
)


# ------------------------------------------------------------ reordered copies
def flip(x: TensorLike, axis: Axes = None) -> Tensor:
    """Reverse the order of the elements along axes.

    Parameters
    ----------
    x : array_like
        Operand.
    axis : int or tuple of int, optional
        Which axes; by default all.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.flip(gx.constant([1, 2, 3])))
    array([3, 2, 1])
    """
    t = as_tensor(x)
    axes = normalize_axes(axis, t.ndim, "flip") if axis is not None else tuple(range(t.ndim))
    starts = [n - 1 if a in axes else 0 for a, n in enumerate(t.shape)]
    return slice_window(t, starts, t.shape, [-1 if a in axes else 1 for a in range(t.ndim)])


def roll(x: TensorLike, shift: int | Sequence[int], axis: Axes = None) -> Tensor:
    """Move the elements along axes; those that leave at one end enter at the other.

    Parameters
    ----------
    x : array_like
        Operand.
    shift : int or tuple of int
        By how many places, per axis; negative moves towards the front.
    axis : int or tuple of int, optional
        Along which axes; by default the elements are rolled in row-major order.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.roll(gx.constant([1, 2, 3, 4]), 1))
    array([4, 1, 2, 3])
    """
    t = as_tensor(x)
    if axis is None:
        return reshape(roll(reshape(t, -1), shift, 0), t.shape)
    listed = _tuple(axis)
    shifts = (shift,) * len(listed) if is_int(shift) else _tuple(shift)
    if len(shifts) != len(listed) or not all(map(is_int, shifts)):
        raise ArgumentError(
            "roll: bad shift",
            expected=f"an int, or {len(listed)} of them (one per axis)",
            given=repr(shift),
            where=caller(),
        )
    for a, by in zip(listed, shifts, strict=True):
        t = _roll_axis(t, normalize_axis(a, t.ndim, "roll"), int(by))
    return t


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _roll_axis(t: Tensor, axis: int, shift: int) -> Tensor:
    # Deferred: splits are slices in turn.
    from graphc.ops.joining import concat

    n = t.shape[axis]
    remainder = shift - dims.floordiv(shift, n) * n if n != 0 else 0
    # At run time a size of 0 leaves the shift undivided.
    tail = dims.maximum(dims.minimum(remainder, n), 0)
    if tail == 0:
        return t
    before, after = t.shape[:axis], t.shape[axis + 1 :]
    starts = (*[0] * axis, n - tail, *[0] * len(after))
    moved = slice_window(t, starts, (*before, tail, *after))
    return concat([moved, slice_window(t, [0] * t.ndim, (*before, n - tail, *after))], axis)
