"""Sums of products: matrices, einsum, convolutions."""

from __future__ import annotations

from graphc.onnx.export.call import Call
from graphc.onnx.export.registry import exporter
from graphc.types import is_float


@exporter("matmul")
def _matmul(call: Call) -> str | None:
    if not is_float(call.type.dtype):
        return None
    w = call.writer
    operands = []
    for x, type, flag in zip(call.inputs, call.types, ("transpose_a", "transpose_b"), strict=True):
        rank = type.ndim
        axes = [*range(rank - 2), rank - 1, rank - 2]
        operands.append(w.transpose(x, axes) if call.attr(flag) else x)
    return call.write("MatMul", *operands)


@exporter("contract")
def _contract(call: Call) -> str | None:
    if not is_float(call.type.dtype):
        return None
    return call.write("Einsum", *call.inputs, equation=call.attr("spec"))


def _windows(call: Call) -> dict[str, object]:
    """Return the attributes that convolutions share."""
    before, after = zip(*call.attr("padding"), strict=True)
    return {
        "strides": list(call.attr("stride")),
        "dilations": list(call.attr("dilation")),
        "pads": [*before, *after],
        "group": call.attr("groups"),
    }


def _plain(call: Call) -> bool:
    """Tell whether ONNX has the convolution: floats, and borders that are fixed and add."""
    fixed = all(isinstance(p, int) and p >= 0 for pair in call.attr("padding") for p in pair)
    return is_float(call.type.dtype) and fixed and len(call.attr("stride")) > 0


@exporter("conv")
def _conv(call: Call) -> str | None:
    return call.write("Conv", *call.inputs, **_windows(call)) if _plain(call) else None


@exporter("conv_input_grad")
def _conv_input_grad(call: Call) -> str | None:
    if not _plain(call):
        return None
    axes = zip(
        call.attr("size"),
        call.types[0].shape[2:],
        call.types[1].shape[2:],
        call.attr("stride"),
        call.attr("dilation"),
        call.attr("padding"),
        strict=True,
    )
    # What the result has beyond the last window.
    extra = [size - ((n - 1) * s + (k - 1) * d + 1 - p - q) for size, n, k, s, d, (p, q) in axes]
    limits = map(max, call.attr("stride"), call.attr("dilation"))
    if not all(isinstance(e, int) and 0 <= e < m for e, m in zip(extra, limits, strict=True)):
        return None
    return call.write("ConvTranspose", *call.inputs, output_padding=extra, **_windows(call))
