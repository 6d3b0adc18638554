"""Elementwise arithmetic, functions, comparisons, logic and bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import graphc as gx
from graphc.onnx.call import Call
from graphc.onnx.registry import Convert, converter
from graphc.tensor import Tensor
from graphc.types import is_float, is_integer

Unary = Callable[[Tensor], Tensor]
Binary = Callable[[Tensor, Tensor], Tensor]


def _on_one(compute: Unary) -> Convert:
    return lambda call: compute(call.tensor())


def _on_two(compute: Binary) -> Convert:
    return lambda call: compute(call.tensor(0), call.tensor(1))


def _on_two_of_old(compute: Binary) -> Convert:
    return lambda call: compute(call.tensor(0), _placed(call))


def _placed(call: Call) -> Tensor:
    """Return the second operand with axes of size 1 behind: older versions say where it begins."""
    x, y = call.tensor(0), call.tensor(1)
    axis = call.integer("axis", None)
    call.ignore("consumed_inputs")
    if not call.flag("broadcast") or axis is None:
        return y
    return gx.reshape(y, (*y.shape, *[1] * (x.ndim - axis % x.ndim - y.ndim)))


def _on_all(compute: Binary) -> Convert:
    return lambda call: reduce(compute, call.tensors())


def _truncated_quotient(a: Tensor, b: Tensor) -> Tensor:
    """Divide; integers towards zero, as in C."""
    if not is_integer(a.dtype):
        return gx.divide(a, b)
    floor = gx.floor_divide(a, b)
    return gx.where((gx.less(a, 0) != gx.less(b, 0)) & (floor * b != a), floor + 1, floor)


_UNARY: dict[str, Unary] = {
    "Abs": gx.abs,
    "Acos": gx.acos,
    "Acosh": gx.acosh,
    "Asin": gx.asin,
    "Asinh": gx.asinh,
    "Atan": gx.atan,
    "Atanh": gx.atanh,
    "Ceil": gx.ceil,
    "Cos": gx.cos,
    "Cosh": gx.cosh,
    "Erf": gx.erf,
    "Exp": gx.exp,
    "Floor": gx.floor,
    "Log": gx.log,
    "Neg": gx.negative,
    "Reciprocal": gx.reciprocal,
    "Round": gx.round,
    "Sign": gx.sign,
    "Sin": gx.sin,
    "Sinh": gx.sinh,
    "Sqrt": gx.sqrt,
    "Tan": gx.tan,
    "Not": gx.logical_not,
    "BitwiseNot": gx.bitwise_invert,
    "IsNaN": gx.isnan,
}
_BINARY: dict[str, Binary] = {
    "Add": gx.add,
    "Sub": gx.subtract,
    "Mul": gx.multiply,
    "Div": _truncated_quotient,
    "And": gx.logical_and,
    "Or": gx.logical_or,
    "Xor": gx.logical_xor,
    "BitwiseAnd": gx.bitwise_and,
    "BitwiseOr": gx.bitwise_or,
    "BitwiseXor": gx.bitwise_xor,
    "Equal": gx.equal,
    "Less": gx.less,
    "LessOrEqual": gx.less_equal,
    "Greater": gx.greater,
    "GreaterOrEqual": gx.greater_equal,
}
_VARIADIC: dict[str, Binary] = {"Max": gx.maximum, "Min": gx.minimum, "Sum": gx.add}

for _name, _one in _UNARY.items():
    converter(_name)(_on_one(_one))
for _name, _two in _BINARY.items():
    converter(_name, since=7)(_on_two(_two))
for _name in ("Add", "Sub", "Mul", "Div", "And", "Or", "Xor", "Equal", "Less", "Greater"):
    converter(_name)(_on_two_of_old(_BINARY[_name]))
for _name, _many in _VARIADIC.items():
    converter(_name)(_on_all(_many))


@converter("Mean")
def _mean(call: Call) -> Tensor:
    return reduce(gx.add, call.tensors()) / len(call.inputs)


@converter("Mod", since=10)
def _mod(call: Call) -> Tensor:
    a, b = call.tensor(0), call.tensor(1)
    if not call.flag("fmod"):
        return gx.remainder(a, b)
    size = gx.remainder(gx.abs(a), gx.abs(b))
    return gx.copysign(size, a) if is_float(a.dtype) else gx.sign(a) * size


@converter("Pow", since=7)
def _pow(call: Call) -> Tensor:
    base, exponent = call.tensor(0), call.tensor(1)
    # Next to a float an integer is one of its values: NumPy would compute in float64.
    return gx.pow(base, gx.astype(exponent, base.dtype) if is_float(base.dtype) else exponent)


@converter("Pow")
def _pow_of_old(call: Call) -> Tensor:
    return gx.pow(call.tensor(0), _placed(call))


@converter("BitShift", since=11)
def _bit_shift(call: Call) -> Tensor:
    call.needs("direction")
    left = call.choice("direction", "LEFT", ("LEFT", "RIGHT")) == "LEFT"
    return (gx.bitwise_left_shift if left else gx.bitwise_right_shift)(call.tensor(0), call.tensor(1))


@converter("IsInf", since=10)
def _is_inf(call: Call) -> Tensor:
    x = call.tensor()
    found = gx.isinf(x)
    if not call.flag("detect_negative", True):
        found = found & (x > 0)
    return found if call.flag("detect_positive", True) else found & (x < 0)


@converter("Where", since=9, exact=True)
def _where(call: Call) -> Tensor:
    return gx.where(call.tensor(0), call.tensor(1), call.tensor(2))


@converter("Clip", since=11, exact=True)
def _clip(call: Call) -> Tensor:
    found = call.tensor()
    if call.has(1):
        found = gx.maximum(found, call.tensor(1))
    return gx.minimum(found, call.tensor(2)) if call.has(2) else found


@converter("Clip", since=6)
def _clip_between_attributes(call: Call) -> Tensor:
    return gx.clip(call.tensor(), call.number("min", None), call.number("max", None))
