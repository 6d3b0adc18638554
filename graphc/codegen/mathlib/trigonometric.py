"""Sine, cosine and tangent.

The argument becomes f*pi with |f| <= 1/2. cos(x) is sin(x + pi/2): the quarter turn is added to f and costs
no accuracy. float32 works in float64 from the reduction on, where one polynomial serves the whole range of f;
float64 carries f in two parts and uses a sine and a cosine polynomial for |f| <= 1/4.
"""

from __future__ import annotations

from graphc.codegen.device import copysign_f64, f32, f64, fabs_f64, fma_f64
from graphc.codegen.mathlib.angle import half_turns_f32, half_turns_f64
from graphc.codegen.mathlib.coefficients import COS_F64, SIN_F64, SIN_WIDE_F64, TAN_F64
from graphc.codegen.mathlib.polynomial import poly5, poly6, poly15

INF_F64 = f64(float("inf"))
PI_HI_F64 = f64(3.141592653589793)
PI_LO_F64 = f64(1.2246467991473532e-16)


def sin_half_turns_f32(fraction: f64, whole: f64) -> f64:
    """Return sin(pi * (fraction + whole)) to float32 accuracy, for |fraction| <= 1/2 and an integer whole.

    >>> f32(sin_half_turns_f32(f64(0.5), f64(1)))
    np.float32(-1.0)
    """
    r = PI_HI_F64 * fraction
    r = r if whole == f64(0) else -r
    z = r * r
    return r + r * (z * poly5(z, SIN_WIDE_F64))


def sin_f32(x: f32) -> f32:
    """Return the sine.

    >>> sin_f32(f32(0))
    np.float32(0.0)
    """
    fraction, whole = half_turns_f32(x, f64(0))
    return x if x == f32(0) else f32(sin_half_turns_f32(fraction, whole))


def cos_f32(x: f32) -> f32:
    """Return the cosine.

    >>> cos_f32(f32(0))
    np.float32(1.0)
    """
    fraction, whole = half_turns_f32(x, f64(0.5))
    return f32(sin_half_turns_f32(fraction, whole))


def tan_f32(x: f32) -> f32:
    """Return the tangent.

    >>> tan_f32(f32(0))
    np.float32(0.0)
    """
    fraction, _ = half_turns_f32(x, f64(0))
    complement = f64(0.5) - (-fraction if fraction < f64(0) else fraction)
    quotient = sin_half_turns_f32(fraction, f64(0)) / sin_half_turns_f32(complement, f64(0))
    return x if x == f32(0) else f32(quotient)


def radians_f64(high: f64, low: f64) -> tuple[f64, f64]:
    """Return pi * (high + low) in two parts.

    >>> radians_f64(f64(0.5), f64(0))
    (np.float64(1.5707963267948966), np.float64(6.123233995736766e-17))
    """
    r = PI_HI_F64 * high
    return r, fma_f64(PI_HI_F64, high, -r) + (PI_LO_F64 * high + PI_HI_F64 * low)


def sin_half_turns_f64(high: f64, low: f64, whole: f64) -> f64:
    """Return sin(pi * (high + low + whole)) for |high| <= 1/2, low below an ulp of high and an integer whole.

    >>> sin_half_turns_f64(f64(0.5), f64(0), f64(1))
    np.float64(-1.0)
    """
    outer = fabs_f64(high) > f64(0.25)
    inner = high - copysign_f64(f64(0.5), high)
    r, r_low = radians_f64(inner if outer else high, low)
    z = r * r
    sine = r + (r * (z * poly6(z, SIN_F64)) + r_low * (f64(1) - f64(0.5) * z))
    half = f64(0.5) * z
    rough = f64(1) - half
    cosine = rough + (((f64(1) - rough) - half) + (z * z * poly6(z, COS_F64) - r * r_low))
    result = copysign_f64(cosine, high) if outer else sine
    return result if whole == f64(0) else -result


def sin_f64(x: f64) -> f64:
    """Return the sine.

    >>> sin_f64(f64(0))
    np.float64(0.0)
    """
    size = fabs_f64(x)
    result = sin_half_turns_f64(*half_turns_f64(x, f64(0)))
    result = x if size < f64(2.0**-27) else result  # keeps the last places of a subnormal x
    return result if size < INF_F64 else x - x


def cos_f64(x: f64) -> f64:
    """Return the cosine.

    >>> cos_f64(f64(0))
    np.float64(1.0)
    """
    result = sin_half_turns_f64(*half_turns_f64(x, f64(0.5)))
    return result if fabs_f64(x) < INF_F64 else x - x


def tan_f64(x: f64) -> f64:
    """Return the tangent.

    >>> tan_f64(f64(-1e-300))
    np.float64(-1e-300)
    """
    size = fabs_f64(x)
    high, low, _ = half_turns_f64(x, f64(0))
    outer = fabs_f64(high) > f64(0.25)
    inner = high - copysign_f64(f64(0.5), high)
    r, r_low = radians_f64(inner if outer else high, low)
    z = r * r
    slope = f64(1) + z * (f64(1) + z * f64(2 / 3))
    tail = r * (z * poly15(z, TAN_F64)) + r_low * slope
    tangent = r + tail
    tangent_low = tail - (tangent - r)
    cotangent = f64(-1) / tangent
    cotangent = cotangent + cotangent * (fma_f64(cotangent, tangent, f64(1)) + cotangent * tangent_low)
    result = cotangent if outer else tangent
    result = x if size < f64(2.0**-27) else result  # keeps the last places of a subnormal x
    return result if size < INF_F64 else x - x
