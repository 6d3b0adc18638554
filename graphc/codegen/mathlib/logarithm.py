"""Logarithms, and what is made of one log1p: softplus and logaddexp.

x = 2**k * (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), taken from the bits of x. float32 uses a polynomial
in f; float64 uses s = f / (2 + f), where the series runs in s**2 and needs a third of the terms (K. C.
Ng's method in fdlibm, 1993). k becomes a number by setting it into the low bits of 2**23 or 2**52, as AVX2
cannot convert int64.
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
from graphc.codegen.mathlib.coefficients import ATANH_TAIL_F64, LOG1P_F32
from graphc.codegen.mathlib.exponential import (
    LN2_HI_F32,
    LN2_HI_F64,
    LN2_LO_F32,
    LN2_LO_F64,
    exp_f32,
    exp_f64,
)
from graphc.codegen.mathlib.polynomial import poly7, poly9

INF_F32 = f32(float("inf"))
INF_F64 = f64(float("inf"))
NAN_F32 = f32(float("nan"))
NAN_F64 = f64(float("nan"))
ONE_BITS_F32 = i32(0x3F800000)
ONE_BITS_F64 = i64(0x3FF0000000000000)
SQRT_HALF_BITS_F32 = i32(0x3F3504F3)
SQRT_HALF_BITS_F64 = i64(0x3FE6A09E667F3BCD)
# log2(e), log10(e) with half of the bits in the high part, log10(2) with room for a factor k
LOG2E_HI_F32 = f32(1.4423828)
LOG2E_LO_F32 = f32(0.0003122284)
LOG2E_HI_F64 = f64(1.4426950216293335)
LOG2E_LO_F64 = f64(1.9259629911266175e-08)
LOG10E_HI_F32 = f32(0.4342041)
LOG10E_LO_F32 = f32(9.038034e-05)
LOG10E_HI_F64 = f64(0.4342944771051407)
LOG10E_LO_F64 = f64(4.798111141615973e-09)
LOG10_2_HI_F32 = f32(0.3010254)
LOG10_2_LO_F32 = f32(4.605039e-06)
LOG10_2_HI_F64 = f64(0.30102999566395283)
LOG10_2_LO_F64 = f64(2.8363394551044964e-14)


def split_normal_f32(x: f32) -> tuple[f32, f32]:
    """Return k and f of x = 2**k * (1 + f) for positive normal x.

    >>> split_normal_f32(f32(2.5))
    (np.float32(1.0), np.float32(0.25))
    """
    bits = i32(f32_as_i32(x) + (ONE_BITS_F32 - SQRT_HALF_BITS_F32))
    k = i32_as_f32(i32(((bits >> 23) & 0xFF) | 0x4B000000)) - f32(2**23 + 127)
    return k, i32_as_f32(i32((bits & 0x7FFFFF) + SQRT_HALF_BITS_F32)) - f32(1)


def split_normal_f64(x: f64) -> tuple[f64, f64]:
    """Return k and f of x = 2**k * (1 + f) for positive normal x.

    >>> split_normal_f64(f64(2.5))
    (np.float64(1.0), np.float64(0.25))
    """
    bits = i64(f64_as_i64(x) + (ONE_BITS_F64 - SQRT_HALF_BITS_F64))
    k = i64_as_f64(i64(((bits >> 52) & 0x7FF) | 0x4330000000000000)) - f64(2**52 + 1023)
    return k, i64_as_f64(i64((bits & 0xFFFFFFFFFFFFF) + SQRT_HALF_BITS_F64)) - f64(1)


def split_f32(x: f32) -> tuple[f32, f32]:
    """Return k and f of x = 2**k * (1 + f) for positive x, subnormals included.

    >>> split_f32(f32(2.0**-149))
    (np.float32(-149.0), np.float32(0.0))
    """
    tiny = x < f32(2.0**-126)
    raised = x * f32(2.0**24)
    k, f = split_normal_f32(raised if tiny else x)
    lowered = k - f32(24)
    return lowered if tiny else k, f


def split_f64(x: f64) -> tuple[f64, f64]:
    """Return k and f of x = 2**k * (1 + f) for positive x, subnormals included.

    >>> split_f64(f64(2.0**-1074))
    (np.float64(-1074.0), np.float64(0.0))
    """
    tiny = x < f64(2.0**-1022)
    raised = x * f64(2.0**54)
    k, f = split_normal_f64(raised if tiny else x)
    lowered = k - f64(54)
    return lowered if tiny else k, f


def log1p_tail_f32(f: f32) -> f32:
    """Return log1p(f) - f + f**2/2 for sqrt(1/2) <= 1 + f <= sqrt(2).

    >>> log1p_tail_f32(f32(0))
    np.float32(0.0)
    """
    return f * f * f * poly9(f, LOG1P_F32)


def log1p_tail_f64(f: f64) -> f64:
    """Return log1p(f) - f + f**2/2 for sqrt(1/2) <= 1 + f <= sqrt(2).

    >>> log1p_tail_f64(f64(0))
    np.float64(0.0)
    """
    s = f / (f64(2) + f)
    z = s * s
    return s * (f64(0.5) * f * f + z * poly7(z, ATANH_TAIL_F64))


def edges_f32(result: f32, x: f32, pole: f32) -> f32:
    """Return result for a finite x above the pole, else what a logarithm gives: -inf at the pole, nan, inf.

    >>> edges_f32(f32(5), f32(0), f32(0))
    np.float32(-inf)
    """
    below = -INF_F32 if x == pole else NAN_F32
    result = result if x < INF_F32 else x
    return result if x > pole else below


def edges_f64(result: f64, x: f64, pole: f64) -> f64:
    """Return result for a finite x above the pole, else what a logarithm gives: -inf at the pole, nan, inf.

    >>> edges_f64(f64(5), f64(0), f64(0))
    np.float64(-inf)
    """
    below = -INF_F64 if x == pole else NAN_F64
    result = result if x < INF_F64 else x
    return result if x > pole else below


def log_f32(x: f32) -> f32:
    """Return the natural logarithm.

    >>> log_f32(f32(1))
    np.float32(0.0)
    """
    k, f = split_f32(x)
    result = k * LN2_HI_F32 - ((f32(0.5) * f * f - (log1p_tail_f32(f) + k * LN2_LO_F32)) - f)
    return edges_f32(result, x, f32(0))


def log_f64(x: f64) -> f64:
    """Return the natural logarithm.

    >>> log_f64(f64(1))
    np.float64(0.0)
    """
    k, f = split_f64(x)
    result = k * LN2_HI_F64 - ((f64(0.5) * f * f - (log1p_tail_f64(f) + k * LN2_LO_F64)) - f)
    return edges_f64(result, x, f64(0))


def log_halves_f32(f: f32) -> tuple[f32, f32]:
    """Return log1p(f) as a sum whose first part has 12 bits, so that its product with such another is exact.

    >>> log_halves_f32(f32(0))
    (np.float32(0.0), np.float32(0.0))
    """
    square = f32(0.5) * f * f
    high = i32_as_f32(i32(f32_as_i32(f - square) & -0x1000))
    return high, ((f - high) - square) + log1p_tail_f32(f)


def log_halves_f64(f: f64) -> tuple[f64, f64]:
    """Return log1p(f) as a sum whose first part has 26 bits, so that its product with such another is exact.

    >>> log_halves_f64(f64(0))
    (np.float64(0.0), np.float64(0.0))
    """
    square = f64(0.5) * f * f
    high = i64_as_f64(i64(f64_as_i64(f - square) & -0x8000000))
    return high, ((f - high) - square) + log1p_tail_f64(f)


def log2_f32(x: f32) -> f32:
    """Return the logarithm to base 2, exact for powers of two.

    >>> log2_f32(f32(0.125))
    np.float32(-3.0)
    """
    k, f = split_f32(x)
    high, low = log_halves_f32(f)
    large = high * LOG2E_HI_F32
    small = low * (LOG2E_HI_F32 + LOG2E_LO_F32) + high * LOG2E_LO_F32
    total = k + large
    return edges_f32(total + (small + ((k - total) + large)), x, f32(0))


def log2_f64(x: f64) -> f64:
    """Return the logarithm to base 2, exact for powers of two.

    >>> log2_f64(f64(0.125))
    np.float64(-3.0)
    """
    k, f = split_f64(x)
    high, low = log_halves_f64(f)
    large = high * LOG2E_HI_F64
    small = low * (LOG2E_HI_F64 + LOG2E_LO_F64) + high * LOG2E_LO_F64
    total = k + large
    return edges_f64(total + (small + ((k - total) + large)), x, f64(0))


def log10_f32(x: f32) -> f32:
    """Return the logarithm to base 10.

    >>> log10_f32(f32(1000))
    np.float32(3.0)
    """
    k, f = split_f32(x)
    high, low = log_halves_f32(f)
    large = high * LOG10E_HI_F32
    small = k * LOG10_2_LO_F32 + (low * (LOG10E_HI_F32 + LOG10E_LO_F32) + high * LOG10E_LO_F32)
    whole = k * LOG10_2_HI_F32
    total = whole + large
    return edges_f32(total + (small + ((whole - total) + large)), x, f32(0))


def log10_f64(x: f64) -> f64:
    """Return the logarithm to base 10.

    >>> log10_f64(f64(1000))
    np.float64(3.0)
    """
    k, f = split_f64(x)
    high, low = log_halves_f64(f)
    large = high * LOG10E_HI_F64
    small = k * LOG10_2_LO_F64 + (low * (LOG10E_HI_F64 + LOG10E_LO_F64) + high * LOG10E_LO_F64)
    whole = k * LOG10_2_HI_F64
    total = whole + large
    return edges_f64(total + (small + ((whole - total) + large)), x, f64(0))


def log1p_sum_f32(x: f32, low: f32) -> f32:
    """Return log(1 + x + low) for finite x > -1 and low small beside x.

    >>> log1p_sum_f32(f32(1e-10), f32(0))
    np.float32(1e-10)
    """
    u = f32(1) + x
    lost_x = x - (u - f32(1))
    lost_1 = f32(1) - (u - x)
    lost = lost_1 if x > f32(1) else lost_x
    k, f = split_normal_f32(u)
    f = x if k == f32(0) else f
    lost = f32(0) if k == f32(0) else lost
    correction = (lost + low) / u + k * LN2_LO_F32
    return k * LN2_HI_F32 - ((f32(0.5) * f * f - (log1p_tail_f32(f) + correction)) - f)


def log1p_sum_f64(x: f64, low: f64) -> f64:
    """Return log(1 + x + low) for finite x > -1 and low small beside x.

    >>> log1p_sum_f64(f64(1e-20), f64(0))
    np.float64(1e-20)
    """
    u = f64(1) + x
    lost_x = x - (u - f64(1))
    lost_1 = f64(1) - (u - x)
    lost = lost_1 if x > f64(1) else lost_x
    k, f = split_normal_f64(u)
    f = x if k == f64(0) else f
    lost = f64(0) if k == f64(0) else lost
    correction = (lost + low) / u + k * LN2_LO_F64
    return k * LN2_HI_F64 - ((f64(0.5) * f * f - (log1p_tail_f64(f) + correction)) - f)


def log1p_f32(x: f32) -> f32:
    """Return log(1 + x), exact to the last places near zero.

    >>> log1p_f32(f32(-0.0))
    np.float32(-0.0)
    """
    return edges_f32(copysign_f32(log1p_sum_f32(x, f32(0)), x), x, f32(-1))


def log1p_f64(x: f64) -> f64:
    """Return log(1 + x), exact to the last places near zero.

    >>> log1p_f64(f64(-0.0))
    np.float64(-0.0)
    """
    return edges_f64(copysign_f64(log1p_sum_f64(x, f64(0)), x), x, f64(-1))


def softplus_f32(x: f32) -> f32:
    """Return log(1 + e**x); the negative tail keeps its relative accuracy.

    >>> softplus_f32(f32(200))
    np.float32(200.0)
    """
    positive = f32(0) if x < f32(0) else x
    return positive + log1p_sum_f32(exp_f32(-fabs_f32(x)), f32(0))


def softplus_f64(x: f64) -> f64:
    """Return log(1 + e**x); the negative tail keeps its relative accuracy.

    >>> softplus_f64(f64(2000))
    np.float64(2000.0)
    """
    positive = f64(0) if x < f64(0) else x
    return positive + log1p_sum_f64(exp_f64(-fabs_f64(x)), f64(0))


def logaddexp_f32(x: f32, y: f32) -> f32:
    """Return log(e**x + e**y); where the sum is near 1, within ulps of the larger operand, not of the result.

    >>> logaddexp_f32(f32(100), f32(-100))
    np.float32(100.0)
    """
    high = y if x < y else x
    gap = f32(0) if x == y else fabs_f32(x - y)
    return high + log1p_sum_f32(exp_f32(-gap), f32(0))


def logaddexp_f64(x: f64, y: f64) -> f64:
    """Return log(e**x + e**y); where the sum is near 1, within ulps of the larger operand, not of the result.

    >>> logaddexp_f64(f64(100), f64(-1000))
    np.float64(100.0)
    """
    high = y if x < y else x
    gap = f64(0) if x == y else fabs_f64(x - y)
    return high + log1p_sum_f64(exp_f64(-gap), f64(0))
