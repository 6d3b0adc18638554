"""Activations, normalization over one axis, and what passes values through."""

from __future__ import annotations

from graphc.onnx.export.call import Call
from graphc.onnx.export.registry import exporter
from graphc.types import is_float


@exporter("relu")
def _relu(call: Call) -> str | None:
    return call.write("Relu", *call.inputs) if is_float(call.type.dtype) else None


@exporter("softsign")
def _softsign(call: Call) -> str:
    return call.write("Softsign", *call.inputs)


@exporter("mish")
def _mish(call: Call) -> str:
    return call.write("Mish", *call.inputs)


@exporter("leaky_relu")
def _leaky_relu(call: Call) -> str:
    return call.write("LeakyRelu", *call.inputs, alpha=call.attr("negative_slope"))


@exporter("elu")
def _elu(call: Call) -> str:
    alpha, scale = call.attr("alpha"), call.attr("scale")
    if scale != 1:
        return call.write("Selu", *call.inputs, alpha=alpha, gamma=scale)
    return call.write("Elu", *call.inputs, alpha=alpha)


@exporter("gelu")
def _gelu(call: Call) -> str | None:
    if call.writer.root.opset < 20:
        return None
    return call.write("Gelu", *call.inputs, approximate=call.attr("approximate"))


_OVER_ONE_AXIS = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}


@exporter(*_OVER_ONE_AXIS)
def _softmax(call: Call) -> str | None:
    axes = call.attr("axes")
    if len(axes) != 1:
        return None
    return call.write(_OVER_ONE_AXIS[call.node.op.name], *call.inputs, axis=axes[0])


@exporter("stop_gradient", "barrier", "with_update", "copy")
def _same(call: Call) -> str:
    return call.inputs[0]


@exporter("astype")
def _astype(call: Call) -> str:
    return call.writer.cast(call.inputs[0], call.type.dtype)
