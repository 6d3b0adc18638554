"""Exponentials and what is made of one exponential: sigmoid, tanh, sinh, cosh.

All rest on e**x = 2**n * (1 + q) with n = rint(x / ln 2), r = x - n ln 2 and q = expm1(r). ln 2 is split
so that n times its high part is exact (W. J. Cody, W. Waite, "Software Manual for the Elementary
Functions", 1980). Adding a large SHIFT rounds to a whole number and leaves n in the low bits, ready to
become an exponent: no conversion to an integer type, which AVX2 lacks for float64. SHIFT is biased so that
those bits hold n plus twice the exponent bias.
"""

from __future__ import annotations

from graphc.codegen.device import (
    copysign_f32,
    copysign_f64,
    f32,
    f32_as_i32,
    f64,
    f64_as_i64,
    fabs_f32,
    fabs_f64,
    i32,
    i32_as_f32,
    i64,
    i64_as_f64,
)
from graphc.codegen.mathlib.coefficients import (
    EXPM1_F32,
    EXPM1_F64,
    SINH_F32,
    SINH_F64,
    TANH_F32,
    TANH_F64,
)
from graphc.codegen.mathlib.polynomial import poly4, poly5, poly7, poly10, poly11

LOG2E_F32 = f32(1.4426950408889634)
LOG2E_F64 = f64(1.4426950408889634)
LN2_HI_F32 = f32(0.69314575)  # nine trailing zero bits
LN2_LO_F32 = f32(1.4286068e-06)
LN2_HI_F64 = f64(0.6931471805598903)  # eleven trailing zero bits
LN2_LO_F64 = f64(5.497923018708371e-14)
LN2_F32 = f32(0.6931471805599453)
LN2_F64 = f64(0.6931471805599453)
SHIFT_F32 = f32(1.5 * 2**23 + 2 * 127)
SHIFT_F64 = f64(1.5 * 2**52 + 2 * 1023)


def expm1_tail_f32(r: f32) -> f32:
    """Return expm1(r) - r for |r| <= ln(2)/2.

    >>> expm1_tail_f32(f32(0))
    np.float32(0.0)
    """
    return r * r * poly5(r, EXPM1_F32)


def expm1_tail_f64(r: f64) -> f64:
    """Return expm1(r) - r for |r| <= ln(2)/2.

    >>> expm1_tail_f64(f64(0))
    np.float64(0.0)
    """
    return r * r * poly11(r, EXPM1_F64)


def exp_mantissa_f32(r: f32) -> f32:
    """Return e**r for |r| <= ln(2)/2, with no rounding error beyond that of the last addition.

    >>> exp_mantissa_f32(f32(0))
    np.float32(1.0)
    """
    rough = f32(1) + r
    return rough + ((r - (rough - f32(1))) + expm1_tail_f32(r))


def exp_mantissa_f64(r: f64) -> f64:
    """Return e**r for |r| <= ln(2)/2, with no rounding error beyond that of the last addition.

    >>> exp_mantissa_f64(f64(0))
    np.float64(1.0)
    """
    rough = f64(1) + r
    return rough + ((r - (rough - f64(1))) + expm1_tail_f64(r))


def exp_parts_f32(x: f32) -> tuple[f32, i32]:
    """Return r and bits: e**x is e**r * 2**n, and the low bits hold n + 254; |x| up to about 300.

    >>> exp_parts_f32(f32(0))[0]
    np.float32(0.0)
    """
    shifted = x * LOG2E_F32 + SHIFT_F32
    n = shifted - SHIFT_F32
    return (x - n * LN2_HI_F32) - n * LN2_LO_F32, f32_as_i32(shifted)


def exp_parts_f64(x: f64) -> tuple[f64, i64]:
    """Return r and bits: e**x is e**r * 2**n, and the low bits hold n + 2046; |x| up to about 1400.

    >>> exp_parts_f64(f64(0))[0]
    np.float64(0.0)
    """
    shifted = x * LOG2E_F64 + SHIFT_F64
    n = shifted - SHIFT_F64
    return (x - n * LN2_HI_F64) - n * LN2_LO_F64, f64_as_i64(shifted)


def scale_f32(x: f32, bits: i32) -> f32:
    """Return x * 2**n, bits as in `exp_parts_f32`, in two steps so that n may leave the exponent range.

    >>> scale_f32(f32(1), i32(254 - 140)) == f32(2.0**-140)
    np.True_
    """
    half = i32(bits >> 1)
    return x * i32_as_f32(i32(half << 23)) * i32_as_f32(i32((bits - half) << 23))


def scale_f64(x: f64, bits: i64) -> f64:
    """Return x * 2**n, bits as in `exp_parts_f64`, in two steps so that n may leave the exponent range.

    >>> scale_f64(f64(1), i64(2046 - 1060)) == f64(2.0**-1060)
    np.True_
    """
    half = i64(bits >> 1)
    return x * i64_as_f64(i64(half << 52)) * i64_as_f64(i64((bits - half) << 52))


def exp_bounded_f32(x: f32) -> f32:
    """Return e**x for |x| <= 87.

    >>> exp_bounded_f32(f32(0))
    np.float32(1.0)
    """
    r, bits = exp_parts_f32(x)
    return exp_mantissa_f32(r) * i32_as_f32(i32((bits - 127) << 23))


def exp_bounded_f64(x: f64) -> f64:
    """Return e**x for |x| <= 708.

    >>> exp_bounded_f64(f64(0))
    np.float64(1.0)
    """
    r, bits = exp_parts_f64(x)
    return exp_mantissa_f64(r) * i64_as_f64(i64((bits - 1023) << 52))


def exp_f32(x: f32) -> f32:
    """Return e**x.

    >>> exp_f32(f32(0))
    np.float32(1.0)
    """
    x = f32(-104) if x < f32(-104) else x
    x = f32(89) if x > f32(89) else x
    r, bits = exp_parts_f32(x)
    return scale_f32(exp_mantissa_f32(r), bits)


def exp_f64(x: f64) -> f64:
    """Return e**x.

    >>> exp_f64(f64(0))
    np.float64(1.0)
    """
    x = f64(-746) if x < f64(-746) else x
    x = f64(710) if x > f64(710) else x
    r, bits = exp_parts_f64(x)
    return scale_f64(exp_mantissa_f64(r), bits)


def exp2_f32(x: f32) -> f32:
    """Return 2**x, exact for whole x.

    >>> exp2_f32(f32(-3))
    np.float32(0.125)
    """
    x = f32(-151) if x < f32(-151) else x
    x = f32(129) if x > f32(129) else x
    shifted = x + SHIFT_F32
    n = shifted - SHIFT_F32
    return scale_f32(exp_mantissa_f32((x - n) * LN2_F32), f32_as_i32(shifted))


def exp2_f64(x: f64) -> f64:
    """Return 2**x, exact for whole x.

    >>> exp2_f64(f64(-3))
    np.float64(0.125)
    """
    x = f64(-1076) if x < f64(-1076) else x
    x = f64(1025) if x > f64(1025) else x
    shifted = x + SHIFT_F64
    n = shifted - SHIFT_F64
    return scale_f64(exp_mantissa_f64((x - n) * LN2_F64), f64_as_i64(shifted))


def expm1_f32(x: f32) -> f32:
    """Return e**x - 1, exact to the last places near zero.

    >>> expm1_f32(f32(1e-10))
    np.float32(1e-10)
    """
    clamped = f32(-20) if x < f32(-20) else x
    clamped = f32(89) if clamped > f32(89) else clamped
    r, bits = exp_parts_f32(clamped)
    half = i32_as_f32(i32((bits - 128) << 23))  # 2**(n-1): 2**n itself may overflow
    result = f32(2) * (((half - f32(0.5)) + half * r) + half * expm1_tail_f32(r))
    return x if fabs_f32(x) < f32(2**-25) else result


def expm1_f64(x: f64) -> f64:
    """Return e**x - 1, exact to the last places near zero.

    >>> expm1_f64(f64(1e-20))
    np.float64(1e-20)
    """
    clamped = f64(-40) if x < f64(-40) else x
    clamped = f64(710) if clamped > f64(710) else clamped
    r, bits = exp_parts_f64(clamped)
    half = i64_as_f64(i64((bits - 1024) << 52))  # 2**(n-1): 2**n itself may overflow
    result = f64(2) * (((half - f64(0.5)) + half * r) + half * expm1_tail_f64(r))
    return x if fabs_f64(x) < f64(2**-54) else result


def sigmoid_f32(x: f32) -> f32:
    """Return 1 / (1 + e**-x); both tails keep their relative accuracy down to subnormals.

    >>> sigmoid_f32(f32(0))
    np.float32(0.5)
    """
    e = exp_f32(-fabs_f32(x))
    part = e if x < f32(0) else f32(1)
    return part - part * (e / (f32(1) + e))  # for both signs closer than one division


def sigmoid_f64(x: f64) -> f64:
    """Return 1 / (1 + e**-x); both tails keep their relative accuracy down to subnormals.

    >>> sigmoid_f64(f64(0))
    np.float64(0.5)
    """
    e = exp_f64(-fabs_f64(x))
    part = e if x < f64(0) else f64(1)
    return part - part * (e / (f64(1) + e))  # for both signs closer than one division


def tanh_f32(x: f32) -> f32:
    """Return the hyperbolic tangent.

    >>> tanh_f32(f32(20))
    np.float32(1.0)
    """
    size = fabs_f32(x)
    z = size * size
    near = size + size * (z * poly5(z, TANH_F32))
    twice = f32(20) if size > f32(10) else f32(2) * size
    far = f32(1) - f32(2) / (exp_bounded_f32(twice) + f32(1))
    return copysign_f32(near if size < f32(0.55) else far, x)


def tanh_f64(x: f64) -> f64:
    """Return the hyperbolic tangent.

    >>> tanh_f64(f64(40))
    np.float64(1.0)
    """
    size = fabs_f64(x)
    z = size * size
    near = size + size * (z * poly10(z, TANH_F64))
    twice = f64(40) if size > f64(20) else f64(2) * size
    far = f64(1) - f64(2) / (exp_bounded_f64(twice) + f64(1))
    return copysign_f64(near if size < f64(0.55) else far, x)


def half_exp_f32(x: f32) -> f32:
    """Return e**x / 2 for x >= 0, which overflows later than e**x.

    >>> half_exp_f32(f32(0))
    np.float32(0.5)
    """
    x = f32(90) if x > f32(90) else x
    r, bits = exp_parts_f32(x)
    return scale_f32(exp_mantissa_f32(r), i32(bits - 1))


def half_exp_f64(x: f64) -> f64:
    """Return e**x / 2 for x >= 0, which overflows later than e**x.

    >>> half_exp_f64(f64(0))
    np.float64(0.5)
    """
    x = f64(711) if x > f64(711) else x
    r, bits = exp_parts_f64(x)
    return scale_f64(exp_mantissa_f64(r), i64(bits - 1))


def sinh_f32(x: f32) -> f32:
    """Return the hyperbolic sine.

    >>> sinh_f32(f32(-0.0))
    np.float32(-0.0)
    """
    z = x * x
    near = x + x * (z * poly4(z, SINH_F32))
    h = half_exp_f32(fabs_f32(x))
    far = copysign_f32(h - f32(0.25) / h, x)
    return near if fabs_f32(x) < f32(1) else far


def sinh_f64(x: f64) -> f64:
    """Return the hyperbolic sine.

    >>> sinh_f64(f64(-0.0))
    np.float64(-0.0)
    """
    z = x * x
    near = x + x * (z * poly7(z, SINH_F64))
    h = half_exp_f64(fabs_f64(x))
    far = copysign_f64(h - f64(0.25) / h, x)
    return near if fabs_f64(x) < f64(1) else far


def cosh_f32(x: f32) -> f32:
    """Return the hyperbolic cosine.

    >>> cosh_f32(f32(0))
    np.float32(1.0)
    """
    h = half_exp_f32(fabs_f32(x))
    return h + f32(0.25) / h


def cosh_f64(x: f64) -> f64:
    """Return the hyperbolic cosine.

    >>> cosh_f64(f64(0))
    np.float64(1.0)
    """
    h = half_exp_f64(fabs_f64(x))
    return h + f64(0.25) / h
