"""Operations that move elements: axes in another order, slices, stretching, joining."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.onnx.export.call import Call
from graphc.onnx.export.expressions import moved
from graphc.onnx.export.registry import exporter
from graphc.onnx.export.writer import carrier
from graphc.types import BOOL, INT32


@exporter("permute_dims")
def _permute_dims(call: Call) -> str:
    return call.write("Transpose", *call.inputs, perm=list(call.attr("axes")))


@exporter("stored_transpose")
def _stored_transpose(call: Call) -> str:
    rank = call.type.ndim
    return call.write("Transpose", *call.inputs, perm=[*range(rank - 2), rank - 1, rank - 2])


@exporter("expand_dims")
def _expand_dims(call: Call) -> str:
    axes = call.writer.constant(list(call.attr("axes")))
    return call.write("Unsqueeze", call.inputs[0], axes)


@exporter("squeeze")
def _squeeze(call: Call) -> str:
    axes = call.writer.constant(list(call.attr("axes")))
    return call.write("Squeeze", call.inputs[0], axes)


@exporter("broadcast_to")
def _broadcast_to(call: Call) -> str:
    w, (x,) = call.writer, call.inputs
    return moved(
        w, "Expand", x, w.shape(call.type.shape), dtype=call.type.dtype, wide=carrier(call.type.dtype)
    )


@exporter("concat")
def _concat(call: Call) -> str:
    return call.write("Concat", *call.inputs, axis=call.attr("axis"))


@exporter("full")
def _full(call: Call) -> str:
    value: Any = np.asarray(call.attr("value"), call.type.dtype)
    return call.writer.expand(call.writer.constant(value, call.type.dtype), call.type.shape)


@exporter("slice")
def _slice(call: Call) -> str | None:
    starts, sizes, steps = (call.attr(k) for k in ("starts", "sizes", "steps"))
    if any(step < 0 for step in steps) or not starts:
        return None
    w, (x,) = call.writer, call.inputs
    # The end is cut off at that of the axis, so that the last step may reach beyond it.
    ends = tuple(a + n * s for a, n, s in zip(starts, sizes, steps, strict=True))
    axes = w.constant(list(range(len(starts))))
    return call.write("Slice", x, w.shape(tuple(starts)), w.shape(ends), axes, w.constant(list(steps)))


@exporter("place")
def _place(call: Call) -> str | None:
    """Write a plain border as padding."""
    starts, steps, (x,), (type,) = call.attr("starts"), call.attr("steps"), call.inputs, call.types
    ends = tuple(n - a - d for n, a, d in zip(call.type.shape, starts, type.shape, strict=True))
    fixed = [d for d in (*starts, *ends) if isinstance(d, int)]
    if any(s != 1 for s in steps) or any(d < 0 for d in fixed) or not steps:
        return None
    w, dtype = call.writer, type.dtype
    wide = INT32 if dtype == BOOL else carrier(dtype)
    value = w.constant(np.asarray(call.attr("value"), dtype).astype(wide), wide)
    pads = w.shape((*starts, *ends))
    return moved(w, "Pad", x, pads, value, dtype=dtype, wide=wide)
