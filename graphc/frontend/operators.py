"""Operators and conversions of kernel code as LLVM instructions."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from graphc.errors import KernelError
from graphc.frontend.types import BOOL, F64, I64, U64, Pointer, Scalar, arithmetic
from graphc.frontend.writer import Value, Writer, constant

__all__ = ["FLAGS", "binary", "compare", "convert", "literal", "scalar_of", "unary"]

# A multiplication and an addition may become one instruction. NaN and Inf propagate, and no formula is
# regrouped: accumulations are regrouped by functions of their own (see `instructions`).
FLAGS = "contract"
_FLOAT = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
_INTEGER = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul"}
_BITWISE = {ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor"}
# Computed while compiling where both operands are literals.
_FOLDED: Mapping[type[ast.operator], Callable[[Any, Any], int | float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_LITERALS = (I64, U64, F64)
_COMPARISONS = {
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
    ast.Eq: "eq",
    ast.NotEq: "ne",
}


def scalar_of(value: Value) -> Scalar:
    """Return a value's type, which must be a scalar."""
    if isinstance(value.type, Pointer):
        raise KernelError("a pointer stands where a number is expected")
    return value.type


def convert(w: Writer, value: Value, target: Scalar) -> Value:
    """Return a value as another type: numbers as in C, anything but zero as True."""
    source = scalar_of(value)
    if source == target:
        return value
    if value.known is not None and (target.is_float or math.isfinite(value.known)):
        return constant(target, value.known != 0 if target == BOOL else value.known)
    if target == BOOL:
        zero = constant(source, 0)
        # NaN is true, as in Python.
        instruction = "fcmp une" if source.is_float else "icmp ne"
        return w.value(BOOL, f"{instruction} {value}, {zero.text}")
    operation = _conversion(source, target)
    if operation is None:
        return Value(target, value.text)
    return w.value(target, f"{operation} {value} to {target.llvm}")


def _conversion(source: Scalar, target: Scalar) -> str | None:
    if source.is_float and target.is_float:
        return "fpext" if target.bits > source.bits else "fptrunc"
    if source.is_float:
        return "fptosi" if target.signed else "fptoui"
    if target.is_float:
        return "sitofp" if source.signed else "uitofp"
    if source.bits == target.bits:
        return None
    if source.bits > target.bits:
        return "trunc"
    return "sext" if source.signed else "zext"


def unary(w: Writer, op: ast.unaryop, operand: Value) -> Value:
    """Return the result of ``-x``, ``+x``, ``~x`` or ``not x``."""
    kind = scalar_of(operand)
    if isinstance(op, ast.Not):
        return w.value(BOOL, f"xor {convert(w, operand, BOOL)}, true")
    if isinstance(op, ast.Invert):
        return _inverted(w, operand)
    wide = kind if kind.is_float else arithmetic(kind, kind)
    value = convert(w, operand, wide)
    if isinstance(op, ast.UAdd):
        return value
    if value.known is not None:
        return literal(-value.known) if wide in _LITERALS else constant(wide, -value.known)
    return w.value(wide, f"fneg {FLAGS} {value}" if wide.is_float else f"sub {wide.llvm} 0, {value.text}")


def _inverted(w: Writer, operand: Value) -> Value:
    kind = scalar_of(operand)
    if kind.is_float:
        raise KernelError(f"~ of {kind}")
    if kind == BOOL:
        return w.value(BOOL, f"xor {operand}, true")
    # In its own bits and widened only then: ~ of an unsigned integer stays within its range.
    return convert(w, w.value(kind, f"xor {operand}, -1"), arithmetic(kind, kind))


def binary(w: Writer, op: ast.operator, first: Value, second: Value) -> Value:
    """Return the result of an infix operator."""
    if isinstance(op, (ast.LShift, ast.RShift)):
        return _shift(w, op, first, second)
    kinds = scalar_of(first), scalar_of(second)
    folded = _folded(op, first, second)
    if folded is not None:
        return folded
    if type(op) in _BITWISE:
        return _bitwise(w, _BITWISE[type(op)], first, second)
    kind = arithmetic(*kinds)
    if isinstance(op, ast.Div) and not kind.is_float:
        kind = F64
    a, b = convert(w, first, kind), convert(w, second, kind)
    if isinstance(op, ast.Mod):
        return _float_modulo(w, a, b) if kind.is_float else _divide(w, a, b, remainder=True)
    if isinstance(op, ast.FloorDiv) and not kind.is_float:
        return _divide(w, a, b, remainder=False)
    if kind.is_float and type(op) in _FLOAT:
        return w.value(kind, f"{_FLOAT[type(op)]} {FLAGS} {a}, {b.text}")
    if kind.is_float or type(op) not in _INTEGER:
        raise KernelError(f"{type(op).__name__} of {kinds[0]} and {kinds[1]}")
    return w.value(kind, f"{_INTEGER[type(op)]} {a}, {b.text}")


def _folded(op: ast.operator, first: Value, second: Value) -> Value | None:
    """Return the result of an operator on two literals, as Python computes it."""
    a, b = first.known, second.known
    fold = _FOLDED.get(type(op))
    if a is None or b is None or fold is None or first.type not in _LITERALS or second.type not in _LITERALS:
        return None
    try:
        return literal(fold(a, b))
    except ArithmeticError as error:
        raise KernelError(f"{type(op).__name__} of {a} and {b}: {error}") from error


def literal(number: int | float) -> Value:
    """Return a number as kernel code types it where it stands by itself.

    Examples
    --------
    >>> str(literal(2)), str(literal(-(2**63)).type), str(literal(2**63).type)
    ('i64 2', 'i64', 'u64')
    """
    if isinstance(number, float):
        return constant(F64, number)
    return constant(I64 if number < 2**63 else U64, number)


def _bitwise(w: Writer, instruction: str, first: Value, second: Value) -> Value:
    kinds = scalar_of(first), scalar_of(second)
    kind = BOOL if kinds == (BOOL, BOOL) else arithmetic(*kinds)
    if kind.is_float:
        raise KernelError(f"{instruction} of {kinds[0]} and {kinds[1]}")
    return w.value(kind, f"{instruction} {convert(w, first, kind)}, {convert(w, second, kind).text}")


def _shift(w: Writer, op: ast.operator, first: Value, second: Value) -> Value:
    kind = arithmetic(scalar_of(first), scalar_of(first))
    if kind.is_float or scalar_of(second).is_float:
        raise KernelError(f"shift of {first.type} by {second.type}")
    right = "ashr" if kind.signed else "lshr"
    instruction = "shl" if isinstance(op, ast.LShift) else right
    return w.value(kind, f"{instruction} {convert(w, first, kind)}, {convert(w, second, kind).text}")


def _float_modulo(w: Writer, a: Value, b: Value) -> Value:
    """Return the remainder with the sign of the divisor, as in Python."""
    kind = scalar_of(a)
    zero = constant(kind, 0)
    rest = w.value(kind, f"frem {a}, {b.text}")
    differs = w.name(f"xor i1 {_below(w, rest, zero)}, {_below(w, b, zero)}")
    shifted = w.value(kind, f"fadd {rest}, {b.text}")
    moved = w.value(kind, f"select i1 {differs}, {shifted}, {rest}")
    signed_zero = w.intrinsic(kind, "llvm.copysign", (zero, b))
    some = w.name(f"fcmp une {rest}, {zero.text}")
    return w.value(kind, f"select i1 {some}, {moved}, {signed_zero}")


def _below(w: Writer, a: Value, b: Value) -> str:
    return w.name(f"fcmp olt {a}, {b.text}")


def _divide(w: Writer, a: Value, b: Value, remainder: bool) -> Value:
    """Return quotient or remainder of integers, rounded down as in Python; both are 0 for a divisor of 0."""
    kind = scalar_of(a)
    sign = "s" if kind.signed else "u"
    if isinstance(b.known, int) and b.known > 0:
        return _divide_by_constant(w, a, b, b.known, remainder)
    zero = constant(kind, 0)
    stuck = w.name(f"icmp eq {b}, 0")
    unsafe = stuck
    if kind.signed:
        # The quotient of the smallest number by -1 does not fit; dividing by 1 gives NumPy's results.
        least, minus = constant(kind, -(2**63)), constant(kind, -1)
        pair = w.name(
            f"and i1 {w.name(f'icmp eq {a}, {least.text}')}, {w.name(f'icmp eq {b}, {minus.text}')}"
        )
        unsafe = w.name(f"or i1 {stuck}, {pair}")
    divisor = w.value(kind, f"select i1 {unsafe}, {constant(kind, 1)}, {b}")
    result = _rounded_down(w, a, divisor, sign, remainder)
    return w.value(kind, f"select i1 {stuck}, {zero}, {result}")


def _divide_by_constant(w: Writer, a: Value, b: Value, number: int, remainder: bool) -> Value:
    kind = scalar_of(a)
    if number & (number - 1):
        return _rounded_down(w, a, b, "s" if kind.signed else "u", remainder)
    if remainder:
        return w.value(kind, f"and {a}, {number - 1}")
    return w.value(kind, f"{'ashr' if kind.signed else 'lshr'} {a}, {number.bit_length() - 1}")


def _rounded_down(w: Writer, a: Value, b: Value, sign: str, remainder: bool) -> Value:
    kind = scalar_of(a)
    if sign == "u":
        return w.value(kind, f"{'urem' if remainder else 'udiv'} {a}, {b.text}")
    rest = w.value(kind, f"srem {a}, {b.text}")
    if b.known is not None:
        wrong = w.name(f"icmp slt {rest}, 0")
    else:
        mixed = w.name(f"icmp slt {kind.llvm} {w.name(f'xor {rest}, {b.text}')}, 0")
        wrong = w.name(f"and i1 {w.name(f'icmp ne {rest}, 0')}, {mixed}")
    if remainder:
        moved = w.value(kind, f"add {rest}, {b.text}")
        return w.value(kind, f"select i1 {wrong}, {moved}, {rest}")
    quotient = w.value(kind, f"sdiv {a}, {b.text}")
    lower = w.value(kind, f"sub {quotient}, 1")
    return w.value(kind, f"select i1 {wrong}, {lower}, {quotient}")


def compare(w: Writer, op: ast.cmpop, first: Value, second: Value) -> Value:
    """Return the result of one comparison; one with NaN is false, but ``!=`` is true."""
    kinds = scalar_of(first), scalar_of(second)
    word = _COMPARISONS.get(type(op))
    kind = arithmetic(*kinds)
    mixed = U64 in kinds and any(k.signed for k in kinds)
    if word is None or (mixed and not kind.is_float):
        raise KernelError(f"{type(op).__name__} of {kinds[0]} and {kinds[1]}")
    a, b = convert(w, first, kind), convert(w, second, kind)
    if kind.is_float:
        ordered = "une" if word == "ne" else f"o{word}"
        return w.value(BOOL, f"fcmp {ordered} {a}, {b.text}")
    prefix = "" if word in ("eq", "ne") else "s" if kind == I64 else "u"
    return w.value(BOOL, f"icmp {prefix}{word} {a}, {b.text}")
