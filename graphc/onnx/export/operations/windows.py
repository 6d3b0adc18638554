"""Pooling."""

from __future__ import annotations

from graphc.onnx.export.call import Call
from graphc.onnx.export.registry import exporter
from graphc.types import is_float


def _attributes(call: Call) -> dict[str, object] | None:
    """Return kernel, strides, dilations and borders, if ONNX has such windows."""
    padding, kernel = call.attr("padding"), call.attr("kernel")
    rank = call.type.ndim - 2
    fixed = all(isinstance(p, int) and p >= 0 for pair in padding for p in pair)
    # No window may lie in the border only.
    narrow = fixed and all(p < k and q < k for (p, q), k in zip(padding, kernel, strict=True))
    if not narrow or rank != len(kernel) or not is_float(call.type.dtype):
        return None
    before, after = zip(*padding, strict=True)
    return {
        "kernel_shape": list(kernel),
        "strides": list(call.attr("stride")),
        "dilations": list(call.attr("dilation")),
        "pads": [*before, *after],
    }


@exporter("max_pool")
def _max_pool(call: Call) -> str | None:
    found = _attributes(call)
    return None if found is None else call.write("MaxPool", *call.inputs, **found)


@exporter("avg_pool")
def _avg_pool(call: Call) -> str | None:
    """Write an average over all cells of a window, or over those that lie inside."""
    found, counted = _attributes(call), call.attr("counted")
    inside = all(pair == (0, 0) for pair in counted)
    if found is None or not (inside or counted == call.attr("padding")):
        return None
    if any(d != 1 for d in call.attr("dilation")):
        call.writer.need(19, "dilated average pooling")
    else:
        del found["dilations"]
    return call.write("AveragePool", *call.inputs, count_include_pad=int(not inside), **found)
