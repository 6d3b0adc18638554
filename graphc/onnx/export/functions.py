"""How each scalar function of expressions is written in ONNX: one table.

Small integers are computed in int32 and brought back, as runtimes have few operators for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphc.onnx.export.writer import CannotExpress, Writer, carrier
from graphc.types import BOOL, FLOAT32, INT64, DType, is_float

Spelling = Callable[["Values", tuple[str, ...], DType], str]


class Values:
    """Elementwise arithmetic on values of one dtype, by name."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def number(self, value: Any, dtype: DType) -> str:
        """Return a scalar constant."""
        return self.writer.constant(np.asarray(value, dtype), dtype)

    def __call__(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Return the result of an operator."""
        return self.writer.node(op, *inputs, **attributes)

    def where(self, condition: str, a: str, b: str, dtype: DType) -> str:
        """Select between two values."""
        if dtype == BOOL:
            return self("Or", self("And", condition, a), self("And", self("Not", condition), b))
        return self("Where", condition, a, b)


def apply(writer: Writer, fn: str, args: tuple[str, ...], operand: DType, result: DType) -> str:
    """Return scalar function `fn` of operands of dtype `operand`.

    Raises
    ------
    CannotExpress
        If ONNX has nothing for it.
    """
    table = _FLOAT if is_float(operand) else _BOOL if operand == BOOL else _INTEGER
    spelling = table.get(fn) or _ANY.get(fn)
    if spelling is None:
        raise CannotExpress(fn)
    values = Values(writer)
    wide = carrier(operand)
    if fn == "where":
        return _where(values, args, result)
    if wide == operand:
        return spelling(values, args, operand)
    found = spelling(values, tuple(writer.cast(a, wide) for a in args), wide)
    return writer.cast(found, result) if result == operand else found


def _where(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    wide = carrier(dtype)
    if wide == dtype:
        return v.where(args[0], args[1], args[2], dtype)
    a, b = (v.writer.cast(x, wide) for x in args[1:])
    return v.writer.cast(v("Where", args[0], a, b), dtype)


def _plain(op: str) -> Spelling:
    return lambda v, args, dtype: v(op, *args)


def _scaled(op: str, factor: float) -> Spelling:
    return lambda v, args, dtype: v("Mul", v(op, *args), v.number(factor, dtype))


def _not(spelling: Spelling) -> Spelling:
    return lambda v, args, dtype: v("Not", spelling(v, args, dtype))


def _same(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    return args[0]


# ------------------------------------------------------------------------ floats
def _rsqrt(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    return v("Reciprocal", v("Sqrt", *args))


def _floor_divide(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    return v("Floor", v("Div", *args))


def _remainder(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    zero = v.number(0, dtype)
    rest = v("Mod", *args, fmod=1)
    differs = v("Xor", v("Less", rest, zero), v("Less", args[1], zero))
    moved = v("And", differs, v("Not", v("Equal", rest, zero)))
    return v("Where", moved, v("Add", rest, args[1]), rest)


def _trunc(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    return v("Where", v("Less", args[0], v.number(0, dtype)), v("Ceil", *args), v("Floor", *args))


def _negative(v: Values, x: str, dtype: DType) -> str:
    """Return whether the sign is minus, also that of zero, which the reciprocal tells."""
    zero = v.number(0, dtype)
    minus_zero = v("And", v("Equal", x, zero), v("Less", v("Reciprocal", x), zero))
    return v("Or", v("Less", x, zero), minus_zero)


def _copysign(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    size = v("Abs", args[0])
    return v("Where", _negative(v, args[1], dtype), v("Neg", size), size)


def _finite(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    return v("Not", v("Or", v("IsNaN", *args), v("IsInf", *args)))


def _tan(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    # ONNX Runtime has sines of float64, and no tangents.
    return v("Tan", *args) if dtype == FLOAT32 else v("Div", v("Sin", *args), v("Cos", *args))


def _exp2(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    return v("Pow", v.number(2, dtype), args[0])


def _log1p(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    # Kahan: the error of 1 + x cancels between logarithm and denominator.
    one = v.number(1, dtype)
    (x,) = args
    above = v("Add", x, one)
    excess = v("Sub", above, one)
    small = v("Equal", excess, v.number(0, dtype))
    exact = v("Or", small, v("IsInf", above, detect_negative=0))
    scaled = v("Div", v("Mul", v("Log", above), x), v("Where", exact, one, excess))
    return v("Where", exact, x, scaled)


def _expm1(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    # Kahan, as above; far from zero the subtraction itself is exact enough.
    one, zero = v.number(1, dtype), v.number(0, dtype)
    (x,) = args
    power = v("Exp", x)
    less = v("Sub", power, one)
    near = v("Less", v("Abs", x), v.number(0.5, dtype))
    small = v("Equal", less, zero)
    logarithm = v("Log", v("Where", v("And", near, v("Not", small)), power, v.number(math.e, dtype)))
    return v("Where", small, x, v("Where", near, v("Div", v("Mul", less, x), logarithm), less))


def _hypot(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    a, b = (v("Abs", x) for x in args)
    large, small = v("Max", a, b), v("Min", a, b)
    none, one = v("Equal", large, v.number(0, dtype)), v.number(1, dtype)
    ratio = v("Div", small, v("Where", none, one, large))
    length = v("Mul", large, v("Sqrt", v("Add", v("Mul", ratio, ratio), one)))
    # An infinite side counts, whatever the other one is.
    return v("Where", v("Or", v("IsInf", a), v("IsInf", b)), v.number(math.inf, dtype), length)


def _logaddexp(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    large = v("Max", *args)
    same = v("Equal", *args)
    gap = v("Where", same, v.number(0, dtype), v("Abs", v("Sub", *args)))
    return v("Add", large, _log1p(v, (v("Exp", v("Neg", gap)),), dtype))


def _atan2(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    zero, one = v.number(0, dtype), v.number(1, dtype)
    both = v("And", *(v("IsInf", a) for a in args))
    y, x = (v("Where", both, v("Sign", a), a) for a in args)
    upright = v("Equal", x, zero)
    plain = v("Atan", v("Div", y, v("Where", upright, one, x)))
    turned = v("Add", plain, _copysign(v, (v.number(math.pi, dtype), y), dtype))
    side = v("Where", _negative(v, x, dtype), turned, plain)
    quarter = v("Mul", v("Sign", y), v.number(math.pi / 2, dtype))
    return v("Where", v("And", upright, v("Not", v("Equal", y, zero))), quarter, side)


def _erfc(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    return v("Sub", v.number(1, dtype), v("Erf", *args))


def _bits(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    v.writer.need(26, "reading the bits of a number (BitCast)")
    target = {"float32": 6, "int32": 1, "float64": 7, "int64": 11}[str(dtype)]
    return v("BitCast", *args, to=target)


_FLOAT: Mapping[str, Spelling] = {
    **{
        fn: _plain(op)
        for fn, op in {
            "max": "Max",
            "min": "Min",
            "abs": "Abs",
            "sign": "Sign",
            "div": "Div",
            "sqrt": "Sqrt",
            "floor": "Floor",
            "ceil": "Ceil",
            "rint": "Round",
            "exp": "Exp",
            "log": "Log",
            "pow": "Pow",
            "sin": "Sin",
            "cos": "Cos",
            "asin": "Asin",
            "acos": "Acos",
            "atan": "Atan",
            "sinh": "Sinh",
            "cosh": "Cosh",
            "tanh": "Tanh",
            "asinh": "Asinh",
            "acosh": "Acosh",
            "atanh": "Atanh",
            "erf": "Erf",
            "sigmoid": "Sigmoid",
            "softplus": "Softplus",
            "isnan": "IsNaN",
            "isinf": "IsInf",
        }.items()
    },
    "tan": _tan,
    "isfinite": _finite,
    "rsqrt": _rsqrt,
    "floordiv": _floor_divide,
    "mod": _remainder,
    "trunc": _trunc,
    "copysign": _copysign,
    "exp2": _exp2,
    "log2": _scaled("Log", 1 / math.log(2)),
    "log10": _scaled("Log", 1 / math.log(10)),
    "log1p": _log1p,
    "expm1": _expm1,
    "hypot": _hypot,
    "logaddexp": _logaddexp,
    "atan2": _atan2,
    "erfc": _erfc,
    "bits": _bits,
}


# ---------------------------------------------------------------------- integers
def _unit(v: Values, divisor: str, dtype: DType) -> tuple[str, str, str]:
    """Return whether a divisor is 0 and whether it is -1, and 1 instead: processors trap on both."""
    none = v("Equal", divisor, v.number(0, dtype))
    minus = v("Equal", divisor, v.number(-1, dtype))
    return none, minus, v("Where", v("Or", none, minus), v.number(1, dtype), divisor)


def _int_mod(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    none, _, divisor = _unit(v, args[1], dtype)
    return v("Where", none, v.number(0, dtype), v("Mod", args[0], divisor))


def _int_floor_divide(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    zero = v.number(0, dtype)
    none, minus, divisor = _unit(v, args[1], dtype)
    quotient = v("Div", args[0], divisor)
    # Division truncates in ONNX: one less where the signs differ and something remains.
    rest = v("Not", v("Equal", v("Mod", args[0], divisor), zero))
    below = v("And", rest, v("Xor", v("Less", args[0], zero), v("Less", divisor, zero)))
    floor = v("Sub", quotient, v.writer.cast(below, dtype))
    return v("Where", none, zero, v("Where", minus, v("Neg", args[0]), floor))


def divided(writer: Writer, fn: str, x: str, divisor: int, dtype: DType) -> str:
    """Return the quotient or remainder, rounded down, by a number above zero."""
    v = Values(writer)
    number = v.number(divisor, dtype)
    if fn == "mod":
        return v("Mod", x, number)
    quotient = v("Div", x, number)
    return v("Sub", quotient, v.writer.cast(v("Greater", v("Mul", quotient, number), x), dtype))


def _shift(v: Values, args: tuple[str, ...], dtype: DType) -> tuple[str, str, str]:
    """Return the operands of a shift, and whether it shifts everything out."""
    x, amount = (v.writer.cast(a, INT64) if dtype != INT64 else a for a in args)
    return x, v("Min", amount, v.number(63, INT64)), v("GreaterOrEqual", amount, v.number(64, INT64))


def _shifted(v: Values, x: str, amount: str, direction: str) -> str:
    unsigned = [v("Cast", part, to=13) for part in (x, amount)]
    return v("Cast", v("BitShift", *unsigned, direction=direction), to=7)


def _shift_left(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    x, amount, all_out = _shift(v, args, dtype)
    found = v("Where", all_out, v.number(0, INT64), _shifted(v, x, amount, "LEFT"))
    return found if dtype == INT64 else v.writer.cast(found, dtype)


def _shift_right(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    x, amount, _ = _shift(v, args, dtype)
    negative = v("Less", x, v.number(0, INT64))
    # The sign fills up: shift the complement, whose upper bits are zero.
    flipped = v("Where", negative, v("BitwiseNot", x), x)
    moved = _shifted(v, flipped, amount, "RIGHT")
    found = v("Where", negative, v("BitwiseNot", moved), moved)
    return found if dtype == INT64 else v.writer.cast(found, dtype)


def _never(v: Values, args: tuple[str, ...], dtype: DType) -> str:
    return v("Less", args[0], args[0])


_INTEGER: Mapping[str, Spelling] = {
    **{
        fn: _plain(op)
        for fn, op in {
            "max": "Max",
            "min": "Min",
            "abs": "Abs",
            "sign": "Sign",
            "pow": "Pow",
            "bitand": "BitwiseAnd",
            "bitor": "BitwiseOr",
            "bitxor": "BitwiseXor",
            "bitnot": "BitwiseNot",
        }.items()
    },
    "div": _int_floor_divide,
    "floordiv": _int_floor_divide,
    "mod": _int_mod,
    "shl": _shift_left,
    "shr": _shift_right,
    "floor": _same,
    "ceil": _same,
    "trunc": _same,
    "rint": _same,
    "bits": _bits,
    "isnan": _never,
    "isinf": _never,
    "isfinite": _not(_never),
}
_BOOL: Mapping[str, Spelling] = {
    **dict.fromkeys(("bitand", "and", "min", "mul"), _plain("And")),
    **dict.fromkeys(("bitor", "or", "max", "add"), _plain("Or")),
    **dict.fromkeys(("bitxor", "xor", "ne"), _plain("Xor")),
    **dict.fromkeys(("bitnot", "not"), _plain("Not")),
    "eq": _not(_plain("Xor")),
    "lt": lambda v, args, dtype: v("And", v("Not", args[0]), args[1]),
    "gt": lambda v, args, dtype: v("And", args[0], v("Not", args[1])),
    "le": lambda v, args, dtype: v("Or", v("Not", args[0]), args[1]),
    "ge": lambda v, args, dtype: v("Or", args[0], v("Not", args[1])),
}
_ANY: Mapping[str, Spelling] = {
    "add": _plain("Add"),
    "sub": _plain("Sub"),
    "mul": _plain("Mul"),
    "neg": _plain("Neg"),
    "lt": _plain("Less"),
    "le": _plain("LessOrEqual"),
    "gt": _plain("Greater"),
    "ge": _plain("GreaterOrEqual"),
    "eq": _plain("Equal"),
    "ne": _not(_plain("Equal")),
    "where": _same,
}
