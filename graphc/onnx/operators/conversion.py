"""Constants, and conversions between element types."""

from __future__ import annotations

import numpy as np

import graphc as gx
from graphc.onnx.call import Call
from graphc.onnx.elements import FLOAT, INTEGER, Element, element_of
from graphc.onnx.registry import converter
from graphc.onnx.rounding import exponent, round_to
from graphc.onnx.values import Value
from graphc.tensor import Tensor
from graphc.types import is_float, is_integer


@converter("Constant")
def _constant(call: Call) -> Value:
    found = call.constant("value")
    if found is not None:
        return found
    for name, read, element in (
        ("value_float", call.number, FLOAT),
        ("value_int", call.integer, INTEGER),
        ("value_floats", call.numbers, FLOAT),
        ("value_ints", call.integers, INTEGER),
    ):
        if call.given(name):
            return Value(element, known=np.asarray(read(name, None), element.carrier))
    return call.fail("no value that graphc has", expected="a tensor, numbers or integers")


@converter("Cast", since=6)
def _cast(call: Call) -> Value:
    call.needs("to")
    target = element_of(call.integer("to", 0), call.label)
    return _converted(call, target)


@converter("CastLike", since=15)
def _cast_like(call: Call) -> Value:
    return _converted(call, call.element(1))


@converter("BitCast", since=26)
def _bit_cast(call: Call) -> Value:
    call.needs("to")
    source, target = call.element(0), element_of(call.integer("to", 0), call.label)
    x = call.tensor(0)
    if source.bits != target.bits and {source.bits, target.bits} != {1, 8}:
        call.fail("types of other sizes", expected=f"{source.bits} bits", given=f"{target.bits} bits")
    if source.is_float and target.is_float and source is not target:
        call.fail("bits of one float type as another", given=f"{source.name} and {target.name}")
    if not source.is_float and not target.is_float:
        return Value(target, target.fit(x))
    if not (source if source.is_float else target).native:
        call.fail("bits of narrow floats", expected="float or double", given=f"{source.name}, {target.name}")
    whole = {32: "int32", 64: "int64"}[source.bits]
    if source.is_float:
        return Value(target, target.fit(gx.bitcast(x, whole)))
    return Value(target, gx.bitcast(gx.astype(x, whole), target.carrier))


def _converted(call: Call, target: Element) -> Value:
    saturate, mode = call.flag("saturate", True), call.choice("round_mode", "up", ("up", "down", "nearest"))
    source, x = call.element(0), call.tensor(0)
    if source is target:
        return call.value(0)
    if target.name == "float8e8m0":
        return Value(target, _power_of_two(x, mode, saturate))
    if target.grid is not None and target.bits == 8:
        return Value(target, gx.astype(round_to(x, target.grid, saturate=saturate), target.carrier))
    if is_float(x.dtype) and is_integer(target.carrier) and target.bits < 64:
        # Through a type that holds the whole part, which then wraps around as integers do.
        x = gx.astype(x, "int64")
    return Value(target, target.fit(x))


def _power_of_two(x: Tensor, mode: str, saturate: bool) -> Tensor:
    """Return the powers of two next to the sizes of numbers; infinity becomes nan, like what overflows."""
    size = gx.abs(gx.astype(x, "float64"))
    finite = gx.isfinite(size)
    known = gx.maximum(gx.where(finite, size, 1.0), 2.0**-127)
    below = gx.exp2(exponent(known, -127))
    above = {"down": known < 0, "up": known > below, "nearest": known >= 1.5 * below}[mode]
    chosen = gx.where(above, 2 * below, below)
    largest = 2.0**127
    found = gx.minimum(chosen, largest) if saturate else gx.where(chosen > largest, np.nan, chosen)
    return gx.astype(gx.where(finite, found, np.nan), "float32")
