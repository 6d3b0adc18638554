"""Sliding windows over spatial axes: the geometry that convolutions and pooling share.

Along one axis, window `o` reads with its tap `t` the position ``o*stride - before +
t*dilation``; positions outside the input are padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import ArgumentError, caller
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Index
from graphc.ops.attributes import DIM, Attributes, at_least, tuple_of
from graphc.ops.op import Array, Infer
from graphc.types import DType

PerAxis = int | Sequence[int]
Padding = int | str | Sequence[int | tuple[int, int]]
Pads = tuple[tuple[Dim, Dim], ...]

# What attributes of windows may be.
STEPS = tuple_of(at_least(1))
PAD = tuple_of(DIM, count=2)
WINDOWS: Attributes = {"stride": STEPS, "padding": tuple_of(PAD), "dilation": STEPS}


@dataclass(frozen=True)
class Windows:
    """Windows over the last axes of a tensor; every field has an entry per axis.

    Attributes
    ----------
    kernel : tuple of Dim
        Taps of a window.
    stride : tuple of int
        Distance of neighbouring windows.
    padding : tuple of (Dim, Dim)
        Padding before and after; a negative `after` crops.
    dilation : tuple of int
        Distance of neighbouring taps.
    """

    kernel: Shape
    stride: tuple[int, ...]
    padding: Pads
    dilation: tuple[int, ...]

    @classmethod
    def of(cls, attrs: Mapping[str, Any], kernel: Shape | None = None) -> Windows:
        """Return the windows that a node's attributes describe."""
        taps = attrs["kernel"] if kernel is None else kernel
        return cls(taps, attrs["stride"], attrs["padding"], attrs["dilation"])

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes that say so in a node."""
        return {
            "kernel": self.kernel,
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
        }

    @property
    def spans(self) -> Shape:
        """Sizes from the first to the last tap."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def counts(self, ctx: Infer, sizes: Shape) -> Shape:
        """Return the number of windows along each axis; raises where not even one fits."""
        found: list[Dim] = []
        for size, span, step, (before, after) in zip(
            sizes, self.spans, self.stride, self.padding, strict=True
        ):
            if isinstance(span, int) and span < 1:
                ctx.shape_error(
                    "the kernel is empty", "at least one tap along each axis", _shape(self.kernel)
                )
            room = size + before + after - span
            if isinstance(room, int) and room < 0:
                ctx.shape_error(
                    "the kernel is larger than the padded input",
                    f"at least {span} along each axis (dilation included)",
                    f"{size + before + after} ({_shape(sizes)} with padding {self.padding})",
                )
            ctx.same(dims.maximum(room, 0), room, "the kernel is larger than the padded input")
            found.append(dims.floordiv(room, step) + 1)
        return tuple(found)

    # -- on scalar expressions
    def position(self, window: Index, tap: Index) -> Index:
        """Return the position that a tap of a window reads; it may lie outside the input."""
        return tuple(
            o * s - expr.size(p[0]) + t * d
            for o, t, s, p, d in zip(window, tap, self.stride, self.padding, self.dilation, strict=True)
        )

    def inside(self, position: Index, sizes: Shape) -> Expr:
        """Return whether a position lies inside the input; no test where there is no padding."""
        found = expr.TRUE
        for i, size, (before, after) in zip(position, sizes, self.padding, strict=True):
            if before != 0:
                found = found & (i >= 0)
            if not isinstance(after, int) or after > 0:
                found = found & (i < expr.size(size))
        return found


def _shape(shape: Shape) -> str:
    return "x".join(map(str, shape))


# ------------------------------------------------------------------- on arrays
Ints = tuple[int, ...]
IntPads = tuple[tuple[int, int], ...]


def take_windows(
    x: Array, kernel: Ints, stride: Ints, padding: IntPads, dilation: Ints, fill: float
) -> Array:
    """Return the windows of `x`: its leading axes, an axis per window count, an axis per tap."""
    rank = len(kernel)
    padded = _padded(x, padding, fill)
    index: list[Any] = [...]
    for axis in range(rank):
        room = padded.shape[axis - rank] - dilation[axis] * (kernel[axis] - 1) - 1
        starts = np.arange(room // stride[axis] + 1) * stride[axis]
        place = starts[:, None] + np.arange(kernel[axis]) * dilation[axis]
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = place.shape
        index.append(place.reshape(shape))
    windows: Array = padded[tuple(index)]
    return windows


def spread_windows(
    shape: Ints,
    dtype: DType,
    parts: Iterable[tuple[Ints, Array]],
    stride: Ints,
    padding: IntPads,
    dilation: Ints,
) -> Array:
    """Sum up in zeros of `shape`, for each tap of a window, an array with an entry per window."""
    rank = len(stride)
    lead = shape[: len(shape) - rank]
    extents = [n + before + max(after, 0) for n, (before, after) in zip(shape[-rank:], padding, strict=True)]
    padded = np.zeros((*lead, *extents), dtype)
    for tap, part in parts:
        places: list[Any] = [
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, s, n in zip(tap, dilation, stride, part.shape[-rank:], strict=True)
        ]
        padded[(..., *places)] += part
    inner: list[Any] = [
        slice(before, before + n) for n, (before, _) in zip(shape[-rank:], padding, strict=True)
    ]
    return padded[(..., *inner)]


def _padded(x: Array, padding: IntPads, fill: float) -> Array:
    lead = x.ndim - len(padding)
    # A negative `after` crops, which numpy.pad does not do.
    keep: list[Any] = [
        slice(0, n + min(after, 0)) for n, (_, after) in zip(x.shape[lead:], padding, strict=True)
    ]
    widths = [(0, 0)] * lead + [(before, max(after, 0)) for before, after in padding]
    result: Array = np.pad(x[(..., *keep)], widths, constant_values=fill)
    return result


# ------------------------------------------------------------ users' parameters
def _fail(owner: str, name: str, expected: str, given: object) -> NoReturn:
    raise ArgumentError(f"{owner}: bad {name}", expected=expected, given=repr(given), where=caller())


def _is_int(value: object, least: int) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= least)


def per_axis(owner: str, name: str, value: Any, rank: int, least: int = 1) -> tuple[int, ...]:
    """Return a parameter as one int per axis, each at least `least`."""
    entries = (value,) * rank if _is_int(value, least) else value
    fits = isinstance(entries, (tuple, list)) and len(entries) == rank
    if not fits or not all(_is_int(v, least) for v in entries):
        _fail(owner, name, f"an int of at least {least}, or {rank} of them", value)
    return tuple(int(v) for v in entries)


def paddings(
    owner: str, value: Any, sizes: Shape, kernel: Shape, stride: tuple[int, ...], dilation: tuple[int, ...]
) -> Pads:
    """Return the padding before and after each axis from what the user wrote."""
    rank = len(sizes)
    if value == "valid":
        return ((0, 0),) * rank
    if value == "same":
        spans = Windows(kernel, stride, (), dilation).spans
        return tuple(_same(n, span, step) for n, span, step in zip(sizes, spans, stride, strict=True))
    entries = (value,) * rank if _is_int(value, 0) else value
    if not isinstance(entries, (tuple, list)) or len(entries) != rank:
        _fail_padding(owner, rank, value)
    return tuple(_pair(owner, rank, entry, value) for entry in entries)


def _pair(owner: str, rank: int, entry: Any, value: Any) -> tuple[int, int]:
    pair = (entry, entry) if _is_int(entry, 0) else entry
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(_is_int(v, 0) for v in pair):
        _fail_padding(owner, rank, value)
    return int(pair[0]), int(pair[1])


def _fail_padding(owner: str, rank: int, value: Any) -> NoReturn:
    expected = f"'same', 'valid', a non-negative int, or {rank} of: an int, a pair (before, after)"
    _fail(owner, "padding", expected, value)


def _same(size: Dim, span: Dim, step: int) -> tuple[Dim, Dim]:
    """Return the padding that gives ceil(size / step) windows, the odd element after the input."""
    count = dims.floordiv(size + step - 1, step)
    total = dims.maximum((count - 1) * step + span - size, 0)
    before = dims.floordiv(total, 2)
    return before, total - before
