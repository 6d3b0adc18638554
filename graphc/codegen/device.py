"""Scalar types and single instructions that the vector math library is written in.

The functions of `graphc.codegen.mathlib` name these objects as free globals. The just-in-time compiler
replaces every one of them by name: the types by machine types, the functions by one LLVM instruction or
intrinsic each. The definitions here give the same results in plain Python on NumPy scalars, which is what
a debugger or a test uses.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TypeAlias

import numpy as np

f32: TypeAlias = np.float32
f64: TypeAlias = np.float64
i32: TypeAlias = np.int32
i64: TypeAlias = np.int64
u32: TypeAlias = np.uint32

__all__ = [
    "copysign_f32",
    "copysign_f64",
    "f32",
    "f32_as_i32",
    "f64",
    "f64_as_i64",
    "fabs_f32",
    "fabs_f64",
    "floor_f32",
    "floor_f64",
    "fma_f32",
    "fma_f64",
    "i32",
    "i32_as_f32",
    "i64",
    "i64_as_f64",
    "rint_f32",
    "rint_f64",
    "sqrt_f32",
    "sqrt_f64",
    "u32",
]


def f32_as_i32(x: f32) -> i32:
    """Return the bits of a float32 as an int32.

    >>> hex(f32_as_i32(f32(1)))
    '0x3f800000'
    """
    return i32(np.asarray(x, np.float32).view(np.int32).item())


def i32_as_f32(bits: i32) -> f32:
    """Return the float32 that has these bits.

    >>> i32_as_f32(i32(0x40000000))
    np.float32(2.0)
    """
    return f32(np.asarray(bits, np.int32).view(np.float32).item())


def f64_as_i64(x: f64) -> i64:
    """Return the bits of a float64 as an int64.

    >>> hex(f64_as_i64(f64(1)))
    '0x3ff0000000000000'
    """
    return i64(np.asarray(x, np.float64).view(np.int64).item())


def i64_as_f64(bits: i64) -> f64:
    """Return the float64 that has these bits.

    >>> i64_as_f64(i64(0x4000000000000000))
    np.float64(2.0)
    """
    return f64(np.asarray(bits, np.int64).view(np.float64).item())


def fma_f64(a: f64, b: f64, c: f64) -> f64:
    """Return a*b + c, rounded once.

    >>> fma_f64(f64(1 + 2**-30), f64(1 - 2**-30), f64(-1)) == -(2.0**-60)
    np.True_
    """
    if not (np.isfinite(a) and np.isfinite(b) and np.isfinite(c)):
        return f64(a * b + c)
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    if exact == 0:  # the sign of a zero comes from the operands
        return f64(a * b + c)
    try:
        return f64(float(exact))
    except OverflowError:
        return f64(np.inf if exact > 0 else -np.inf)


def fma_f32(a: f32, b: f32, c: f32) -> f32:
    """Return a*b + c, rounded once.

    >>> fma_f32(f32(1 + 2**-20), f32(1 - 2**-20), f32(-1)) == f32(-(2.0**-40))
    np.True_
    """
    product, addend = f64(a) * f64(b), f64(c)
    total = product + addend
    if not np.isfinite(total):
        return f32(total)
    # Rounding to odd first makes the second rounding see which side of a tie the exact sum lies on
    # (S. Boldo, G. Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
    back = total - product
    error = (product - (total - back)) + (addend - back)
    bits = f64_as_i64(total)
    if error != 0 and bits & 1 == 0:
        bits = i64(bits + (1 if (error > 0) == (total > 0) else -1))
    return f32(i64_as_f64(bits))


def floor_f32(x: f32) -> f32:
    """Return the largest whole number that is not above x.

    >>> floor_f32(f32(-1.5))
    np.float32(-2.0)
    """
    return f32(np.floor(x))


def floor_f64(x: f64) -> f64:
    """Return the largest whole number that is not above x.

    >>> floor_f64(f64(-1.5))
    np.float64(-2.0)
    """
    return f64(np.floor(x))


def rint_f32(x: f32) -> f32:
    """Return the nearest whole number, ties to even.

    >>> rint_f32(f32(2.5))
    np.float32(2.0)
    """
    return f32(np.rint(x))


def rint_f64(x: f64) -> f64:
    """Return the nearest whole number, ties to even.

    >>> rint_f64(f64(2.5))
    np.float64(2.0)
    """
    return f64(np.rint(x))


def sqrt_f32(x: f32) -> f32:
    """Return the correctly rounded square root.

    >>> sqrt_f32(f32(9))
    np.float32(3.0)
    """
    return f32(np.sqrt(x))


def sqrt_f64(x: f64) -> f64:
    """Return the correctly rounded square root.

    >>> sqrt_f64(f64(9))
    np.float64(3.0)
    """
    return f64(np.sqrt(x))


def fabs_f32(x: f32) -> f32:
    """Return x with its sign bit cleared.

    >>> fabs_f32(f32(-0.5))
    np.float32(0.5)
    """
    return f32(np.fabs(x))


def fabs_f64(x: f64) -> f64:
    """Return x with its sign bit cleared.

    >>> fabs_f64(f64(-0.5))
    np.float64(0.5)
    """
    return f64(np.fabs(x))


def copysign_f32(x: f32, sign: f32) -> f32:
    """Return x with the sign bit of the second argument.

    >>> copysign_f32(f32(2), f32(-0.0))
    np.float32(-2.0)
    """
    return f32(np.copysign(x, sign))


def copysign_f64(x: f64, sign: f64) -> f64:
    """Return x with the sign bit of the second argument.

    >>> copysign_f64(f64(2), f64(-0.0))
    np.float64(-2.0)
    """
    return f64(np.copysign(x, sign))
