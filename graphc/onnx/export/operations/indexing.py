"""Gather and scatter."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import dims
from graphc.dims import Shape
from graphc.onnx.export.call import Call
from graphc.onnx.export.expressions import moved
from graphc.onnx.export.registry import exporter
from graphc.onnx.export.writer import Writer, carrier
from graphc.types import INT32, INT64, DType, TensorType


def _indices(w: Writer, x: str, type: TensorType) -> str:
    """Return indices in a type that ONNX selects by."""
    return x if type.dtype in (INT32, INT64) else w.cast(x, INT64)


@exporter("gather")
def _gather(call: Call) -> str | None:
    if len(call.inputs) != 2:
        return None
    return call.write(
        "Gather",
        call.inputs[0],
        _indices(call.writer, call.inputs[1], call.types[1]),
        axis=call.attr("axis"),
    )


@exporter("take_along_axis")
def _take_along_axis(call: Call) -> str | None:
    axis, (x, index) = call.attr("axis"), (t.shape for t in call.types)
    if any(a != b for k, (a, b) in enumerate(zip(x, index, strict=True)) if k != axis):
        return None
    at = _indices(call.writer, call.inputs[1], call.types[1])
    return call.write("GatherElements", call.inputs[0], at, axis=axis)


@exporter("add_along_axis")
def _add_along_axis(call: Call) -> str:
    w, dtype = call.writer, call.type.dtype
    wide = carrier(dtype)
    at = _indices(w, call.inputs[0], call.types[0])
    updates = call.inputs[1] if wide == dtype else w.cast(call.inputs[1], wide)
    zeros = w.expand(w.constant(0, wide), call.type.shape)
    axis = call.attr("axis")
    found = w.node("ScatterElements", zeros, at, updates, axis=axis, reduction="add")
    return found if wide == dtype else w.cast(found, dtype)


_COMBINE = {"set": "none", "add": "add", "multiply": "mul", "minimum": "min", "maximum": "max"}


@exporter("scatter_into")
def _scatter_into(call: Call) -> str | None:
    w, dtype = call.writer, call.type.dtype
    reduction = _COMBINE.get(call.attr("combine"))
    if reduction is None:
        return None
    rows = w.node("Unsqueeze", _indices64(w, call.inputs[1], call.types[1]), w.constant([-1]))
    return _scattered(w, call.inputs[0], rows, call.inputs[2], dtype, reduction)


def _indices64(w: Writer, x: str, type: TensorType) -> str:
    return x if type.dtype == INT64 else w.cast(x, INT64)


def _scattered(w: Writer, x: str, at: str, updates: str, dtype: DType, reduction: str) -> str:
    wide = carrier(dtype)
    given = updates if wide == dtype else w.cast(updates, wide)
    return moved(w, "ScatterND", x, at, given, dtype=dtype, wide=wide, reduction=reduction)


@exporter("scatter_sum")
def _scatter_sum(call: Call) -> str:
    return _summed(call, 0, clipped=False)


@exporter("scatter_clipped")
def _scatter_clipped(call: Call) -> str:
    return _summed(call, call.attr("batch"), clipped=True)


def _summed(call: Call, batch: int, *, clipped: bool) -> str:
    """Add updates to zeros whose indexed axes stand in front, behind those of the batch."""
    w, shape, axis, dtype = call.writer, call.type.shape, call.attr("axis"), call.type.dtype
    *indices, updates = call.inputs
    count, block = len(indices), call.types[0].ndim - batch
    zero = w.constant(0, dtype)
    if 0 in shape or 0 in call.types[-1].shape:
        return w.expand(zero, shape)
    order = [*range(batch), *range(axis, axis + count), *range(batch, axis), *range(axis + count, len(shape))]
    rank = call.types[-1].ndim
    given = [*range(batch), *range(axis, axis + block), *range(batch, axis), *range(axis + block, rank)]
    parts = [_batch_number(w, k, call.types[0].shape) for k in range(batch)]
    for x, type, size in zip(indices, call.types, shape[axis : axis + count], strict=False):
        at = _indices64(w, x, type)
        if clipped:
            last = w.scalar(dims.maximum(size - 1, 0))
            at = w.node("Max", w.node("Min", at, last), w.constant(0))
        parts.append(w.node("Unsqueeze", at, w.constant([-1])))
    at = parts[0] if len(parts) == 1 else w.node("Concat", *parts, axis=-1)
    wide = carrier(dtype)
    zeros = w.expand(w.constant(0, wide), tuple(shape[a] for a in order))
    moving = w.transpose(updates if wide == dtype else w.cast(updates, wide), given)
    total = w.node("ScatterND", zeros, at, moving, reduction="add")
    found = w.transpose(total, _inverse(order))
    return found if wide == dtype else w.cast(found, dtype)


def _batch_number(w: Writer, axis: int, shape: Shape) -> str:
    """Return the position along an axis of the indices, for each of them."""
    numbers = w.node("Range", w.constant(0), w.scalar(shape[axis]), w.constant(1))
    aligned = w.reshape(numbers, (*[1] * axis, shape[axis], *[1] * (len(shape) - axis - 1)))
    return w.node("Unsqueeze", w.expand(aligned, shape), w.constant([-1]))


def _inverse(order: Sequence[int]) -> list[int]:
    return [order.index(k) for k in range(len(order))]
