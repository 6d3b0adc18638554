"""``x[key]`` with NumPy's meaning, composed of slices, reshapes and gathers.

A key is read once into entries, one per axis of the operand plus one per new axis.  Where
several entries are index tensors, their common block of axes stands where the first of
them stood if they are adjacent, else in front; ints beside index tensors count as such.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, SymbolicDim
from graphc.errors import ArgumentError, IndexRangeError, ShapeError, UnsupportedError, caller
from graphc.ops.axes import is_int
from graphc.ops.gather import as_indices, gather
from graphc.ops.shape import broadcast_to, expand_dims, squeeze
from graphc.ops.slicing import slice_window
from graphc.ops.transpose import permute_dims
from graphc.tensor import Tensor, TensorLike, as_tensor

__all__ = ["getitem"]


@dataclass(frozen=True)
class _New:
    """A new axis of size 1."""


@dataclass(frozen=True)
class _Gap:
    """An ellipsis; it keeps index tensors apart even where it stands for no axis."""


@dataclass(frozen=True)
class _Window:
    """One axis of the operand, sliced; an int keeps one element and drops the axis."""

    start: Dim
    size: Dim
    step: int
    drop: bool = False


@dataclass(frozen=True, eq=False)
class _Picked:
    """One axis of the operand, selected by an index tensor."""

    indices: Tensor
    size: Dim


_Entry = _New | _Gap | _Window | _Picked


def getitem(x: TensorLike, key: Any) -> Tensor:
    """Select as NumPy's ``x[key]``: ints, slices, None, Ellipsis, integer index tensors.

    Parameters
    ----------
    x : array_like
        Operand.
    key : index
        What stands between the brackets.  Ints and slice bounds may be dimensions: one that
        is never negative counts from the front, one that is never positive from the end.

    Returns
    -------
    Tensor

    Raises
    ------
    IndexRangeError
        If an index that is known now is out of range.
    ShapeError
        If there are more indices than axes, or index tensors do not broadcast.
    UnsupportedError
        For bool masks, and slices whose bounds are Tensors: the size would depend on data.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("n", 4, 6))
    >>> x[1:, ..., [0, 2]]
    <Tensor float32[max(0, n - 1), 4, 2]>
    """
    t = as_tensor(x)
    entries = _entries(t, key if isinstance(key, tuple) else (key,))
    own = [e for e in entries if isinstance(e, (_Window, _Picked))]
    windows = [e if isinstance(e, _Window) else _Window(0, e.size, 1) for e in own]
    t = slice_window(t, [w.start for w in windows], [w.size for w in windows], [w.step for w in windows])
    t = squeeze(t, tuple(a for a, w in enumerate(windows) if w.drop))
    if any(isinstance(e, _Picked) for e in entries):
        return _gathered(t, entries)
    return expand_dims(t, _new_axes(entries, 0, 0))


def _gathered(t: Tensor, entries: list[_Entry]) -> Tensor:
    kept = [e for e in entries if isinstance(e, _Picked) or (isinstance(e, _Window) and not e.drop)]
    axes = [a for a, e in enumerate(kept) if isinstance(e, _Picked)]
    indices = _broadcast([e.indices for e in kept if isinstance(e, _Picked)])
    front = _block_start(entries)
    if front is None:
        t = permute_dims(t, axes + [a for a in range(t.ndim) if a not in axes])
    found = gather(t, indices, 0 if front is None else axes[0])
    return expand_dims(found, _new_axes(entries, front or 0, indices[0].ndim))


def _broadcast(indices: list[Tensor]) -> list[Tensor]:
    rank = max(t.ndim for t in indices)
    shape: list[Dim] = [1] * rank
    for t in indices:
        for a, n in enumerate(t.shape, start=rank - t.ndim):
            if isinstance(n, int) and isinstance(shape[a], int) and n != shape[a] and 1 not in (n, shape[a]):
                raise ShapeError(
                    "getitem: index tensors do not broadcast",
                    expected="sizes that are equal or 1",
                    given=" and ".join(str(i.type) for i in indices),
                    where=caller(),
                )
            shape[a] = n if shape[a] == 1 else shape[a]
    return [broadcast_to(t, tuple(shape)) for t in indices]


def _is_advanced(e: _Entry) -> bool:
    return isinstance(e, _Picked) or (isinstance(e, _Window) and e.drop)


def _block_start(entries: list[_Entry]) -> int | None:
    """Return the entry at which the index tensors' block stands, or None if they are not adjacent."""
    places = [k for k, e in enumerate(entries) if _is_advanced(e)]
    return places[0] if places[-1] - places[0] + 1 == len(places) else None


def _new_axes(entries: list[_Entry], block_at: int, block: int) -> tuple[int, ...]:
    """Return where the new axes stand in the result, given the place and rank of the block."""
    axes = []
    at = 0
    for k, e in enumerate(entries):
        at += block if k == block_at else 0
        if isinstance(e, _New):
            axes.append(at)
        at += isinstance(e, _New) or (isinstance(e, _Window) and not e.drop)
    return tuple(axes)


# ------------------------------------------------------------- reading the key
def _entries(x: Tensor, key: tuple[Any, ...]) -> list[_Entry]:
    consumed = sum(item is not None and item is not Ellipsis for item in key)
    gaps = sum(item is Ellipsis for item in key)
    if consumed > x.ndim or gaps > 1:
        raise ShapeError(
            "getitem: too many indices" if consumed > x.ndim else "getitem: more than one Ellipsis",
            expected=f"at most {x.ndim}, and one Ellipsis",
            given=f"{consumed} indices of {x.type}" if consumed > x.ndim else f"{gaps} Ellipses",
            where=caller(),
        )
    entries: list[_Entry] = []
    sizes = iter(x.shape)
    rest = x.ndim - consumed
    for item in key if gaps else (*key, Ellipsis):
        if item is None:
            entries.append(_New())
        elif item is Ellipsis:
            entries += [_Gap(), *(_Window(0, next(sizes), 1) for _ in range(rest))]
        else:
            entries.append(_entry(item, next(sizes)))
    return entries


def _entry(item: Any, n: Dim) -> _Entry:
    if isinstance(item, slice):
        return _sliced(item, n)
    if is_int(item) or isinstance(item, SymbolicDim):
        return _Window(_from_front(item, n), 1, 1, drop=True)
    if isinstance(item, (Tensor, np.ndarray, list, tuple, bool, np.bool_)):
        return _Picked(as_indices(item, "getitem"), n)
    raise ArgumentError(
        "getitem: bad index",
        expected="an int, slice, None, Ellipsis or integer index tensor",
        given=repr(item),
        where=caller(),
    )


def _from_front(item: Any, n: Dim) -> Dim:
    """Return an int index counted from the front, verified where both are known."""
    if isinstance(item, SymbolicDim):
        return n + item if _counts_from_end(item) else item
    index = int(item)
    if isinstance(n, int) and not -n <= index < n:
        raise IndexRangeError(
            "getitem: index out of range",
            expected=f"{-n} to {n - 1}" if n else "none: the axis is empty",
            given=str(index),
            where=caller(),
        )
    return index if index >= 0 else n + index


def _counts_from_end(bound: Dim) -> bool:
    if isinstance(bound, int):
        return bound < 0
    most = dims.lower_bound(-bound)
    return most is not None and most >= 0


def _sliced(item: slice, n: Dim) -> _Window:
    step = 1 if item.step is None else item.step
    for bound in (item.start, item.stop, step):
        _check_bound(bound)
    if isinstance(step, SymbolicDim) or step == 0:
        raise ArgumentError(
            "getitem: bad slice step", expected="an int other than 0", given=repr(step), where=caller()
        )
    fixed = all(b is None or is_int(b) for b in (item.start, item.stop))
    if isinstance(n, int) and fixed:
        span = range(*slice(item.start, item.stop, step).indices(n))
        return _Window(span.start if len(span) else 0, len(span), int(step))
    return _forward(item, n, int(step)) if step > 0 else _backward(item, n, int(step))


def _check_bound(bound: Any) -> None:
    if bound is None or is_int(bound) or isinstance(bound, SymbolicDim):
        return
    if isinstance(bound, Tensor):
        raise UnsupportedError(
            "getitem: a slice bound that is a Tensor gives a size that depends on data",
            expected="gx.take(x, start + gx.arange(length), axis) for a window of fixed length",
            given=repr(bound),
            where=caller(),
        )
    raise ArgumentError(
        "getitem: bad slice bound", expected="an int or None", given=repr(bound), where=caller()
    )


def _forward(item: slice, n: Dim, step: int) -> _Window:
    start = 0 if item.start is None else _clamped(item.start, n)
    stop = n if item.stop is None else _ended(item.stop, n)
    if item.stop is None and item.start is not None and _counts_from_end(item.start):
        length = dims.minimum(n, -item.start)
    else:
        length = dims.maximum(stop - start, 0)
    # A start beyond the end needs no clamp: the length is 0 then.
    return _Window(start, dims.floordiv(length + (step - 1), step), step)


def _clamped(bound: Dim, n: Dim) -> Dim:
    return dims.maximum(n + bound, 0) if _counts_from_end(bound) else dims.maximum(bound, 0)


def _ended(bound: Dim, n: Dim) -> Dim:
    # One before the first element needs no clamp either: the length is 0 then.
    return n + bound if _counts_from_end(bound) else dims.minimum(_clamped(bound, n), n)


def _backward(item: slice, n: Dim, step: int) -> _Window:
    start = n - 1 if item.start is None else _clamped_back(item.start, n)
    stop = -1 if item.stop is None else _clamped_back(item.stop, n)
    length = dims.maximum(start - stop, 0)
    return _Window(start, dims.floordiv(length + (-step - 1), -step), step)


def _clamped_back(bound: Dim, n: Dim) -> Dim:
    return dims.maximum(n + bound, -1) if _counts_from_end(bound) else dims.minimum(bound, n - 1)
