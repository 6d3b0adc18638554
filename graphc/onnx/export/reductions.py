"""Reductions of whole tensors by kind: those of operations, and those of windows."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.dims import Shape, product
from graphc.onnx.export.writer import Writer, carrier
from graphc.types import BOOL, INT32, INT64, DType

_PLAIN = {"sum": "ReduceSum", "prod": "ReduceProd", "max": "ReduceMax", "min": "ReduceMin"}
_SEARCHES = {"argmax": "ArgMax", "argmin": "ArgMin"}


def reduced(
    w: Writer, kind: str, x: str, dtype: DType, shape: Shape, axes: Sequence[int], *, keepdims: bool
) -> str:
    """Return a reduction of `x`, of a dtype and shape, over axes."""
    if kind in _SEARCHES:
        return _position(w, _SEARCHES[kind], x, dtype, shape, axes, keepdims)
    if dtype == BOOL:
        return _quantified(w, kind, x, axes, keepdims)
    wide = carrier(dtype)
    if wide == dtype:
        return w.reduced(_PLAIN[kind], x, axes, keepdims)
    return w.cast(w.reduced(_PLAIN[kind], w.cast(x, wide), axes, keepdims), dtype)


def _quantified(w: Writer, kind: str, x: str, axes: Sequence[int], keepdims: bool) -> str:
    """Return whether any or all elements hold, by counting, which is defined for none too."""
    every = kind in ("all", "min", "prod")
    given = w.node("Not", x) if every else x
    count = w.reduced("ReduceSum", w.cast(given, INT32), axes, keepdims)
    some = w.cast(count, BOOL)
    return w.node("Not", some) if every else some


def _position(
    w: Writer, op: str, x: str, dtype: DType, shape: Shape, axes: Sequence[int], keepdims: bool
) -> str:
    """Return the flat position of an extremum within the reduced axes."""
    if dtype == BOOL or carrier(dtype) != dtype:
        x = w.cast(x, INT32)
    if len(axes) == 1:
        return w.node(op, x, axis=axes[0], keepdims=int(keepdims))
    kept = [a for a in range(len(shape)) if a not in axes]
    rows = w.transpose(x, [*kept, *axes])
    flat = w.reshape(rows, (*(shape[a] for a in kept), product(tuple(shape[a] for a in axes))))
    found = w.node(op, flat, axis=len(kept), keepdims=0)
    return w.node("Unsqueeze", found, w.constant(list(axes), INT64)) if keepdims and axes else found
