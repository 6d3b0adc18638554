"""Inverse hyperbolic functions, each one log1p of an argument that keeps its small part.

Beyond a bound the argument of asinh and acosh is 2*x, whose logarithm is taken as log(x) + log(2).
"""

from __future__ import annotations

from graphc.codegen.device import copysign_f32, copysign_f64, f32, f64, fabs_f32, fabs_f64, sqrt_f32, sqrt_f64
from graphc.codegen.mathlib.exponential import LN2_F32, LN2_F64
from graphc.codegen.mathlib.logarithm import (
    INF_F32,
    INF_F64,
    NAN_F32,
    NAN_F64,
    log1p_sum_f32,
    log1p_sum_f64,
)


def asinh_f32(x: f32) -> f32:
    """Return the inverse hyperbolic sine.

    >>> asinh_f32(f32(-0.0))
    np.float32(-0.0)
    """
    size = fabs_f32(x)
    large = size > f32(2**30)
    a = f32(1) if large else size
    square = a * a
    part = square / (f32(1) + sqrt_f32(square + f32(1)))
    argument = a + part
    low = part - (argument - a)
    result = log1p_sum_f32(size if large else argument, f32(0) if large else low)
    result = result + (LN2_F32 if large else f32(0))
    return copysign_f32(result if size < INF_F32 else size, x)


def asinh_f64(x: f64) -> f64:
    """Return the inverse hyperbolic sine.

    >>> asinh_f64(f64(-0.0))
    np.float64(-0.0)
    """
    size = fabs_f64(x)
    large = size > f64(2**60)
    a = f64(1) if large else size
    square = a * a
    part = square / (f64(1) + sqrt_f64(square + f64(1)))
    argument = a + part
    low = part - (argument - a)
    result = log1p_sum_f64(size if large else argument, f64(0) if large else low)
    result = result + (LN2_F64 if large else f64(0))
    return copysign_f64(result if size < INF_F64 else size, x)


def acosh_f32(x: f32) -> f32:
    """Return the inverse hyperbolic cosine, nan below 1.

    >>> acosh_f32(f32(1))
    np.float32(0.0)
    """
    large = x > f32(2**30)
    t = f32(1) if large else x - f32(1)
    root = sqrt_f32(t * t + f32(2) * t)
    argument = root + t
    low = t - (argument - root)
    result = log1p_sum_f32(x if large else argument, f32(0) if large else low)
    result = result + (LN2_F32 if large else f32(0))
    result = result if x < INF_F32 else x
    return NAN_F32 if x < f32(1) else result


def acosh_f64(x: f64) -> f64:
    """Return the inverse hyperbolic cosine, nan below 1.

    >>> acosh_f64(f64(1))
    np.float64(0.0)
    """
    large = x > f64(2**60)
    t = f64(1) if large else x - f64(1)
    root = sqrt_f64(t * t + f64(2) * t)
    argument = root + t
    low = t - (argument - root)
    result = log1p_sum_f64(x if large else argument, f64(0) if large else low)
    result = result + (LN2_F64 if large else f64(0))
    result = result if x < INF_F64 else x
    return NAN_F64 if x < f64(1) else result


def atanh_f32(x: f32) -> f32:
    """Return the inverse hyperbolic tangent, nan outside of -1 to 1.

    >>> atanh_f32(f32(-0.0))
    np.float32(-0.0)
    """
    size = fabs_f32(x)
    twice = f32(2) * size
    part = twice * size / (f32(1) - size)
    argument = twice + part  # 2*x / (1 - x)
    result = f32(0.5) * log1p_sum_f32(argument, part - (argument - twice))
    edge = INF_F32 if size == f32(1) else NAN_F32
    return copysign_f32(result if size < f32(1) else edge, x)


def atanh_f64(x: f64) -> f64:
    """Return the inverse hyperbolic tangent, nan outside of -1 to 1.

    >>> atanh_f64(f64(-0.0))
    np.float64(-0.0)
    """
    size = fabs_f64(x)
    twice = f64(2) * size
    part = twice * size / (f64(1) - size)
    argument = twice + part  # 2*x / (1 - x)
    result = f64(0.5) * log1p_sum_f64(argument, part - (argument - twice))
    edge = INF_F64 if size == f64(1) else NAN_F64
    return copysign_f64(result if size < f64(1) else edge, x)
