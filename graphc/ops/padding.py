"""Padding and repetition: a tensor extended by copies of its elements or by a constant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.dims import Dim
from graphc.errors import ArgumentError, caller
from graphc.ops.axes import is_int, normalize_axis
from graphc.ops.joining import concat
from graphc.ops.shape import broadcast_to, expand_dims, reshape
from graphc.ops.slicing import flip, place, slice_window
from graphc.tensor import Tensor, TensorLike, as_tensor

__all__ = ["pad", "repeat", "tile"]

Widths = int | tuple[int, int] | Sequence[tuple[int, int]]


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
    raise ArgumentError(
        f"{op}: bad number of repetitions", expected=expected, given=repr(given), where=caller()
    )
