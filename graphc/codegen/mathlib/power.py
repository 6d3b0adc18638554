"""Powers and roots: pow, rsqrt, cbrt, hypot.

pow(x, y) = 2**(y*log2|x|). The product may reach 1075 and its absolute error becomes a relative one, so the
logarithm needs about 12 bits more than the result: float64 for float32, pairs of float64 for float64.
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
    fma_f64,
    i32,
    i32_as_f32,
    i64,
    i64_as_f64,
    rint_f32,
    rint_f64,
    sqrt_f32,
    sqrt_f64,
)
from graphc.codegen.mathlib.coefficients import CBRT_F32, CBRT_F64, LOG2_F64, LOG2_TAIL_F64
from graphc.codegen.mathlib.exponential import (
    LN2_F32,
    LN2_F64,
    SHIFT_F32,
    SHIFT_F64,
    exp_mantissa_f32,
    exp_mantissa_f64,
    scale_f32,
    scale_f64,
)
from graphc.codegen.mathlib.logarithm import split_f32, split_f64, split_normal_f64
from graphc.codegen.mathlib.polynomial import poly5, poly8, poly9

INF_F32 = f32(float("inf"))
INF_F64 = f64(float("inf"))
NAN_F32 = f32(float("nan"))
NAN_F64 = f64(float("nan"))
# 2/ln(2) and a third of it, in two parts
C0_HI_F64 = f64(2.8853900817779268)
C0_LO_F64 = f64(4.0710547481862066e-17)
C1_HI_F64 = f64(0.9617966939259756)
C1_LO_F64 = f64(5.0577616648125906e-17)


def log2_wide_f64(x: f64) -> tuple[f64, f64]:
    """Return log2(x) of a finite x > 0 in two parts, to about 65 bits.

    >>> log2_wide_f64(f64(8))
    (np.float64(3.0), np.float64(0.0))
    """
    k, f = split_f64(x)
    below = f64(2) + f
    below_low = (f64(2) - below) + f
    inverse = f64(1) / below
    s = f * inverse
    s_low = (fma_f64(-s, below, f) - s * below_low) * inverse
    z = s * s
    z_low = fma_f64(s, s, -z) + f64(2) * s * s_low
    tail = z * poly9(z, LOG2_TAIL_F64)
    inner = C1_HI_F64 + tail
    inner_low = ((C1_HI_F64 - inner) + tail) + C1_LO_F64
    product = z * inner
    product_low = fma_f64(z, inner, -product) + (z * inner_low + z_low * inner)
    outer = C0_HI_F64 + product
    outer_low = ((C0_HI_F64 - outer) + product) + (C0_LO_F64 + product_low)
    mantissa = s * outer
    mantissa_low = fma_f64(s, outer, -mantissa) + (s * outer_low + s_low * outer)
    total = k + mantissa
    return total, ((k - total) + mantissa) + mantissa_low


def pow_edges_f32(size: f32, x: f32, y: f32) -> f32:
    """Return pow(x, y) given |x|**y: its sign and IEEE 754 rules for 0, 1, nan and roots of negatives.

    >>> pow_edges_f32(f32(8), f32(-2), f32(3))
    np.float32(-8.0)
    """
    half = f32(0.5) * y
    whole = rint_f32(y) == y
    odd = whole & (rint_f32(half) != half)
    result = copysign_f32(size, x) if odd else size
    no_root = (x < f32(0)) & (x > -INF_F32) & (not whole)
    result = NAN_F32 if no_root | (x != x) | (y != y) else result
    return f32(1) if (x == f32(1)) | (y == f32(0)) else result


def pow_edges_f64(size: f64, x: f64, y: f64) -> f64:
    """Return pow(x, y) given |x|**y: its sign and IEEE 754 rules for 0, 1, nan and roots of negatives.

    >>> pow_edges_f64(f64(8), f64(-2), f64(3))
    np.float64(-8.0)
    """
    half = f64(0.5) * y
    whole = rint_f64(y) == y
    odd = whole & (rint_f64(half) != half)
    result = copysign_f64(size, x) if odd else size
    no_root = (x < f64(0)) & (x > -INF_F64) & (not whole)
    result = NAN_F64 if no_root | (x != x) | (y != y) else result
    return f64(1) if (x == f64(1)) | (y == f64(0)) else result


def pow_f32(x: f32, y: f32) -> f32:
    """Return x to the power y.

    >>> pow_f32(f32(-2), f32(-3))
    np.float32(-0.125)
    """
    base = fabs_f64(f64(x))
    k, f = split_normal_f64(base)
    s = f / (f64(2) + f)
    logarithm = k + s * poly5(s * s, LOG2_F64)
    logarithm = -INF_F64 if base == f64(0) else logarithm
    logarithm = INF_F64 if base == INF_F64 else logarithm
    power = f64(0) if base == f64(1) else f64(y) * logarithm
    power = f64(-200) if power < f64(-200) else power
    power = f64(200) if power > f64(200) else power
    n = rint_f64(power)
    mantissa = exp_mantissa_f32(f32(power - n) * LN2_F32)
    return pow_edges_f32(scale_f32(mantissa, f32_as_i32(f32(n) + SHIFT_F32)), x, y)


def pow_f64(x: f64, y: f64) -> f64:
    """Return x to the power y.

    >>> pow_f64(f64(-2), f64(-3))
    np.float64(-0.125)
    """
    base = fabs_f64(x)
    logarithm, logarithm_low = log2_wide_f64(base)
    logarithm = -INF_F64 if base == f64(0) else logarithm
    logarithm = INF_F64 if base == INF_F64 else logarithm
    power = f64(0) if base == f64(1) else y * logarithm
    power_low = fma_f64(y, logarithm, -power) + y * logarithm_low
    power_low = power_low if fabs_f64(power) < f64(1100) else f64(0)
    power = f64(-1100) if power < f64(-1100) else power
    power = f64(1100) if power > f64(1100) else power
    shifted = power + SHIFT_F64
    r = (power - (shifted - SHIFT_F64)) + power_low
    return pow_edges_f64(scale_f64(exp_mantissa_f64(r * LN2_F64), f64_as_i64(shifted)), x, y)


def rsqrt_f32(x: f32) -> f32:
    """Return 1 / sqrt(x).

    >>> rsqrt_f32(f32(4))
    np.float32(0.5)
    """
    return f32(1) / sqrt_f32(x)


def rsqrt_f64(x: f64) -> f64:
    """Return 1 / sqrt(x).

    >>> rsqrt_f64(f64(4))
    np.float64(0.5)
    """
    return f64(1) / sqrt_f64(x)


def hypot_f32(x: f32, y: f32) -> f32:
    """Return sqrt(x*x + y*y), without overflow or underflow on the way.

    >>> hypot_f32(f32(3 * 2.0**100), f32(4 * 2.0**100)) == f32(5 * 2.0**100)
    np.True_
    """
    width, height = fabs_f32(x), fabs_f32(y)
    large = height if width < height else width
    small = width if width < height else height
    bounded = f32(2.0**-126) if large < f32(2.0**-126) else large
    bounded = f32(2.0**126) if bounded > f32(2.0**126) else bounded
    exponent = i32(f32_as_i32(bounded) & 0x7F800000)
    scale = i32_as_f32(i32(0x7F000000 - exponent))
    a, b = large * scale, small * scale
    result = sqrt_f32(a * a + b * b) * i32_as_f32(exponent)
    return INF_F32 if (width == INF_F32) | (height == INF_F32) else result


def hypot_f64(x: f64, y: f64) -> f64:
    """Return sqrt(x*x + y*y), without overflow or underflow on the way.

    >>> hypot_f64(f64(3 * 2.0**100), f64(4 * 2.0**100)) == f64(5 * 2.0**100)
    np.True_
    """
    width, height = fabs_f64(x), fabs_f64(y)
    large = height if width < height else width
    small = width if width < height else height
    bounded = f64(2.0**-1022) if large < f64(2.0**-1022) else large
    bounded = f64(2.0**1022) if bounded > f64(2.0**1022) else bounded
    exponent = i64(f64_as_i64(bounded) & 0x7FF0000000000000)
    scale = i64_as_f64(i64(0x7FE0000000000000 - exponent))
    a, b = large * scale, small * scale
    result = sqrt_f64(a * a + b * b) * i64_as_f64(exponent)
    return INF_F64 if (width == INF_F64) | (height == INF_F64) else result


def cbrt_f32(x: f32) -> f32:
    """Return the cube root.

    >>> cbrt_f32(f32(-27))
    np.float32(-3.0)
    """
    size = fabs_f32(x)
    k, f = split_f32(size)
    third = rint_f32(k * f32(1 / 3))
    rest = k - f32(3) * third
    m = f32(1) + f
    doubled, halved = m * f32(2), m * f32(0.5)
    target = doubled if rest > f32(0) else m
    target = halved if rest < f32(0) else target
    factor = f32(2 ** (1 / 3)) if rest > f32(0) else f32(1)
    factor = f32(2 ** (-1 / 3)) if rest < f32(0) else factor
    # A third of the bits, so that t*t is exact; one step of Halley's method triples them.
    t = i32_as_f32(i32(f32_as_i32(factor * poly5(m, CBRT_F32)) & -0x1000))
    quotient = target / (t * t)
    root = t + t * ((quotient - t) / (t + t + quotient))
    power = i32_as_f32(i32((f32_as_i32(third + SHIFT_F32) - 127) << 23))
    result = copysign_f32(root * power, x)
    return result if (size > f32(0)) & (size < INF_F32) else x


def cbrt_f64(x: f64) -> f64:
    """Return the cube root.

    >>> cbrt_f64(f64(-27))
    np.float64(-3.0)
    """
    size = fabs_f64(x)
    k, f = split_f64(size)
    third = rint_f64(k * f64(1 / 3))
    rest = k - f64(3) * third
    m = f64(1) + f
    doubled, halved = m * f64(2), m * f64(0.5)
    target = doubled if rest > f64(0) else m
    target = halved if rest < f64(0) else target
    factor = f64(2 ** (1 / 3)) if rest > f64(0) else f64(1)
    factor = f64(2 ** (-1 / 3)) if rest < f64(0) else factor
    # A third of the bits, so that t*t is exact; one step of Halley's method triples them.
    t = i64_as_f64(i64(f64_as_i64(factor * poly8(m, CBRT_F64)) & -0x80000000))
    quotient = target / (t * t)
    root = t + t * ((quotient - t) / (t + t + quotient))
    power = i64_as_f64(i64((f64_as_i64(third + SHIFT_F64) - 1023) << 52))
    result = copysign_f64(root * power, x)
    return result if (size > f64(0)) & (size < INF_F64) else x
