"""Numbers that stand for others: ``value = (stored - zero_point) * scale``."""

from __future__ import annotations

import graphc as gx
from graphc.onnx.call import Call
from graphc.onnx.elements import Element, element_of
from graphc.onnx.operators.windows import convolved
from graphc.onnx.registry import converter
from graphc.onnx.rounding import round_to
from graphc.onnx.values import Value
from graphc.tensor import Tensor


@converter("QuantizeLinear", since=10)
def _quantize(call: Call) -> Value:
    x, scale = call.tensor(0), _laid(call, 1)
    zero = _laid(call, 2) if call.has(2) else None
    saturate, target = call.flag("saturate", True), _quantized_element(call)
    # The quotient has the type of the scale, and its rounding, unless another is asked for.
    precision = call.integer("precision", 0)
    element = element_of(precision, call.label) if precision else call.element(1)
    quotient = element.fit(gx.astype(x, element.carrier) / gx.astype(scale, element.carrier))
    if target.grid is not None:
        return Value(target, gx.astype(round_to(quotient, target.grid, saturate=saturate), target.carrier))
    return Value(target, _quantized(quotient, zero, target))


def _quantized_element(call: Call) -> Element:
    """Return the type of a quantized result: that of its zero point, or what an attribute says."""
    given = call.integer("output_dtype", 0)
    stated = element_of(given, call.label) if given else None
    if not call.has(2):
        return stated or element_of(2, call.label)
    if stated is not None and stated is not call.element(2):
        expected = f"that of the zero point, {call.element(2).name}"
        call.fail("two types for the result", expected=expected, given=stated.name)
    return call.element(2)


def _quantized(x: Tensor, zero: Tensor | None, target: Element) -> Tensor:
    """Round to the nearest integer, ties to even, add the zero point, and saturate."""
    low, high = target.limits
    shift = gx.zeros((), dtype="int32") if zero is None else gx.astype(zero, "int32")
    offset = gx.astype(shift, x.dtype)
    # Clipped before the conversion, which has no meaning for numbers that are too large for it.
    whole = gx.clip(gx.round(x), low - offset, high - offset)
    return gx.astype(gx.astype(whole, "int32") + shift, target.carrier)


@converter("DequantizeLinear", since=10)
def _dequantize(call: Call) -> Value:
    given = call.integer("output_dtype", 0)
    target = element_of(given, call.label) if given else call.element(1)
    x, scale = call.tensor(0), _laid(call, 1)
    # Zero points of floats are zeros, which only tell the type.
    if call.has(2) and not call.element(0).is_float:
        x = gx.astype(x, "int32") - gx.astype(_laid(call, 2), "int32")
    return Value(target, target.fit(gx.astype(x, scale.dtype) * scale))


def _laid(call: Call, index: int) -> Tensor:
    """Return scales or zero points as they broadcast to operand 0: one, one per index, or per block."""
    x, value = call.tensor(0), call.tensor(index)
    axis, block = call.integer("axis", 1), call.integer("block_size", 0)
    if value.size == 1 or not block:
        return _placed(call, value, x.ndim, axis)
    # The last block may be cut off.
    axis %= x.ndim
    return gx.repeat(value, block, axis)[(slice(None),) * axis + (slice(0, x.shape[axis]),)]


def _placed(call: Call, value: Tensor, rank: int, axis: int) -> Tensor:
    """Return parameters as they broadcast to an operand: one for all, or one per index along an axis."""
    if value.size == 1:
        return gx.reshape(value, ())
    if value.ndim > 1:
        return value
    if not -rank <= axis < rank:
        call.fail("axis out of range", expected=f"{-rank} to {rank - 1}", given=str(axis))
    return gx.reshape(value, tuple(-1 if a == axis % rank else 1 for a in range(rank)))


@converter("DynamicQuantizeLinear", since=11)
def _quantize_to_range(call: Call) -> list[Value]:
    """Quantize to uint8 such that the range of the operand, with 0 in it, fills the type."""
    x, byte = call.tensor(0), element_of(2, call.label)
    low, high = gx.minimum(gx.min(x), 0.0), gx.maximum(gx.max(x), 0.0)
    scale = gx.where(low == high, gx.ones_like(high), high - low) / 255
    zero = gx.astype(gx.round(gx.clip(-low / scale, 0.0, 255.0)), byte.carrier)
    return [Value(byte, _quantized(x / scale, zero, byte)), Value(call.element(0), scale), Value(byte, zero)]


# ---------------------------------------------------------------------- products
# Axes that scales and zero points of one axis run along: rows of the first factor and of the result,
# columns of the second.
ROWS, COLUMNS = -2, -1


@converter("MatMulInteger", since=10)
def _matmul_integer(call: Call) -> Tensor:
    return _wide(call, 0, 2, ROWS) @ _wide(call, 1, 3, COLUMNS)


@converter("QLinearMatMul", since=10)
def _quantized_matmul(call: Call) -> Value:
    product = _wide(call, 0, 2, ROWS) @ _wide(call, 3, 5, COLUMNS)
    return _requantized(call, product, ROWS, COLUMNS)


@converter("ConvInteger", since=10)
def _conv_integer(call: Call) -> Tensor:
    return convolved(call, _wide(call, 0, 2, 1), _wide(call, 1, 3, 0))


@converter("QLinearConv", since=10)
def _quantized_conv(call: Call) -> Value:
    found = convolved(call, _wide(call, 0, 2, 1), _wide(call, 3, 5, 0))
    if call.has(8):
        found = found + _placed(call, call.tensor(8), found.ndim, 1)
    return _requantized(call, found, 1, 1)


def _wide(call: Call, index: int, zero: int, axis: int) -> Tensor:
    """Return a quantized operand less its zero point, in int32, which holds sums of products."""
    x = gx.astype(call.tensor(index), "int32")
    if not call.has(zero):
        return x
    return x - gx.astype(_placed(call, call.tensor(zero), x.ndim, axis), "int32")


def _requantized(call: Call, x: Tensor, rows: int, columns: int) -> Value:
    """Return a product of integers in the scale and zero point of the result."""
    element, target = call.element(1), call.element(7)
    a, y, zero = (_placed(call, call.tensor(k), x.ndim, rows) for k in (1, 6, 7))
    b = _placed(call, call.tensor(4), x.ndim, columns)
    factor = element.fit(element.fit(a * b) / y)
    # Sums of products can have more digits than float32.
    scaled = gx.astype(x, "float64") * gx.astype(factor, "float64")
    return Value(target, _quantized(scaled, zero, target))
