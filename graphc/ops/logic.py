"""Comparisons, logic on truth values, bit manipulation and tests for special values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.lower import expr
from graphc.lower.expr import FALSE, TRUE, Expr, call, const
from graphc.ops.elementwise import Binary, Unary, binary, boolean, unary
from graphc.types import BOOL, DTYPES, FLOATS, INT8, INTEGERS, DType, is_float

__all__ = [
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "equal",
    "greater",
    "greater_equal",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "signbit",
]

_BITS: tuple[DType, ...] = (BOOL, *INTEGERS)
_TRUTHS = ([True, True, False], [True, False, False])


# ---------------------------------------------------------------- comparisons
def _comparison(
    name: str, numpy: Callable[..., Any], fn: str, symbol: str, commutative: bool = False
) -> Binary:
    return binary(
        name,
        numpy,
        lambda x, y: expr.compare(fn, x, y),
        doc=f"Tell elementwise whether ``x {symbol} y``.",
        example=([1, 2, 3], [1, 3, 2]),
        result=boolean,
        commutative=commutative,
    )


equal = _comparison("equal", np.equal, "eq", "==", commutative=True)
not_equal = _comparison("not_equal", np.not_equal, "ne", "!=", commutative=True)
less = _comparison("less", np.less, "lt", "<")
less_equal = _comparison("less_equal", np.less_equal, "le", "<=")
greater = _comparison("greater", np.greater, "gt", ">")
greater_equal = _comparison("greater_equal", np.greater_equal, "ge", ">=")


# ---------------------------------------------------------------------- truth
def _truth(x: Expr) -> Expr:
    return x if x.dtype == BOOL else x.ne(0)


def _logical(name: str, numpy: Callable[..., Any], scalar: Callable[[Expr, Expr], Expr], text: str) -> Binary:
    return binary(
        name,
        numpy,
        lambda x, y: scalar(_truth(x), _truth(y)),
        doc=f"Tell elementwise whether {text} true; any value but 0 is, NaN too.",
        example=_TRUTHS,
        result=boolean,
        commutative=True,
    )


logical_and = _logical("logical_and", np.logical_and, lambda x, y: x & y, "`x` and `y` are")
logical_or = _logical("logical_or", np.logical_or, lambda x, y: x | y, "`x` or `y` is")
logical_xor = _logical(
    "logical_xor", np.logical_xor, lambda x, y: call("xor", x, y), "exactly one of `x` and `y` is"
)
logical_not = unary(
    "logical_not",
    np.logical_not,
    lambda x: ~_truth(x),
    doc="Tell elementwise whether `x` is 0 or false.",
    example=([True, False],),
    dtypes=DTYPES,
    result=boolean,
)


# ----------------------------------------------------------------------- bits
def _bitwise(name: str, numpy: Callable[..., Any], on_bool: str, on_bits: str, text: str) -> Binary:
    def scalar(x: Expr, y: Expr) -> Expr:
        return call(on_bool if x.dtype == BOOL else on_bits, x, y)

    return binary(
        name, numpy, scalar, doc=f"Compute the bitwise {text} elementwise.", dtypes=_BITS, commutative=True
    )


bitwise_and = _bitwise("bitwise_and", np.bitwise_and, "and", "bitand", "and")
bitwise_or = _bitwise("bitwise_or", np.bitwise_or, "or", "bitor", "or")
bitwise_xor = _bitwise("bitwise_xor", np.bitwise_xor, "xor", "bitxor", "exclusive or")
bitwise_invert = unary(
    "bitwise_invert",
    np.bitwise_not,
    lambda x: ~x if x.dtype == BOOL else call("bitnot", x),
    doc="Invert every bit; for bools, the logical not.",
    dtypes=_BITS,
)


def _in_range(amount: Expr) -> tuple[Expr, Expr]:
    """Return whether a shift is narrower than the operand, and an amount that is safe to shift by."""
    narrow = (amount >= 0) & (amount < 8 * amount.dtype.itemsize)
    return narrow, expr.where(narrow, amount, const(0, amount.dtype))


def _left_shift(x: Expr, y: Expr) -> Expr:
    narrow, amount = _in_range(y)
    return expr.where(narrow, call("shl", x, amount), const(0, x.dtype))


def _right_shift(x: Expr, y: Expr) -> Expr:
    narrow, amount = _in_range(y)
    zero = const(0, x.dtype)
    rest = zero if x.dtype.kind == "u" else expr.where(x < 0, const(-1, x.dtype), zero)
    return expr.where(narrow, call("shr", x, amount), rest)


bitwise_left_shift = binary(
    "bitwise_left_shift",
    np.left_shift,
    _left_shift,
    doc="Shift the bits of `x` to the left by `y`.",
    notes="Shifts by a negative amount, or by as many bits as there are, give 0.",
    dtypes=INTEGERS,
    bools=INT8,
)
bitwise_right_shift = binary(
    "bitwise_right_shift",
    np.right_shift,
    _right_shift,
    doc="Shift the bits of `x` to the right by `y`, keeping the sign.",
    notes="Shifts by a negative amount, or by as many bits as there are, leave only the sign: 0 or -1.",
    dtypes=INTEGERS,
    bools=INT8,
)


# ------------------------------------------------------------- special values
def _special(name: str, numpy: Callable[..., Any], otherwise: Expr, text: str) -> Unary:
    def scalar(x: Expr) -> Expr:
        # Integers and bools are always finite.
        return call(name, x, dtype=BOOL) if is_float(x.dtype) else otherwise

    example: Sequence[Any] = ([1.0, float("-inf"), float("nan")],)
    return unary(
        name,
        numpy,
        scalar,
        doc=f"Tell elementwise whether `x` is {text}.",
        example=example,
        dtypes=DTYPES,
        result=boolean,
    )


isnan = _special("isnan", np.isnan, FALSE, "NaN")
isinf = _special("isinf", np.isinf, FALSE, "positive or negative infinity")
isfinite = _special("isfinite", np.isfinite, TRUE, "neither NaN nor infinite")
signbit = unary(
    "signbit",
    np.signbit,
    lambda x: call("copysign", const(1, x.dtype), x) < 0,
    doc="Tell elementwise whether the sign bit of `x` is set, also of -0.0 and NaN.",
    example=([-0.0, 0.0, -2.0],),
    dtypes=FLOATS,
    result=boolean,
)
