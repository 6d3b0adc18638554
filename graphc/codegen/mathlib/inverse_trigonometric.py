"""Inverse sine, cosine and tangent.

asin is a polynomial up to 1/2; from there asin(x) = pi/2 - 2*asin(sqrt((1 - x)/2)), and acos is the same
without the subtraction. atan is a polynomial up to 1; from there atan(x) = pi/2 - atan(1/x).
"""

from __future__ import annotations

from graphc.codegen.device import (
    copysign_f32,
    copysign_f64,
    f32,
    f64,
    fabs_f32,
    fabs_f64,
    sqrt_f32,
    sqrt_f64,
)
from graphc.codegen.mathlib.coefficients import ASIN_F32, ASIN_F64, ATAN_F32, ATAN_F64
from graphc.codegen.mathlib.polynomial import poly5, poly9, poly12, poly20

HALF_PI_HI_F32 = f32(1.5707964)
HALF_PI_LO_F32 = f32(-4.371139e-08)
HALF_PI_HI_F64 = f64(1.5707963267948966)
HALF_PI_LO_F64 = f64(6.123233995736766e-17)
INF_F32 = f32(float("inf"))
INF_F64 = f64(float("inf"))


def asin_parts_f32(size: f32) -> tuple[f32, f32]:
    """Return asin(size) up to 1/2, else asin(sqrt((1 - size)/2)) = acos(size)/2, in a large and a small part.

    >>> asin_parts_f32(f32(1))
    (np.float32(0.0), np.float32(0.0))
    """
    small = size < f32(0.5)
    square = size * size
    outer = f32(0.5) - f32(0.5) * size
    z = square if small else outer
    root = sqrt_f32(outer)
    s = size if small else root
    return s, s * (z * poly5(z, ASIN_F32))


def asin_parts_f64(size: f64) -> tuple[f64, f64]:
    """Return asin(size) up to 1/2, else asin(sqrt((1 - size)/2)) = acos(size)/2, in a large and a small part.

    >>> asin_parts_f64(f64(1))
    (np.float64(0.0), np.float64(0.0))
    """
    small = size < f64(0.5)
    square = size * size
    outer = f64(0.5) - f64(0.5) * size
    z = square if small else outer
    root = sqrt_f64(outer)
    s = size if small else root
    return s, s * (z * poly12(z, ASIN_F64))


def asin_f32(x: f32) -> f32:
    """Return the inverse sine, nan outside of -1 to 1.

    >>> asin_f32(f32(1))
    np.float32(1.5707964)
    """
    size = fabs_f32(x)
    angle, tail = asin_parts_f32(size)
    inner = angle + tail
    rough = HALF_PI_HI_F32 - f32(2) * angle
    lost = (HALF_PI_HI_F32 - rough) - f32(2) * angle
    outer = rough - (f32(2) * tail - (HALF_PI_LO_F32 + lost))
    return copysign_f32(inner if size < f32(0.5) else outer, x)


def asin_f64(x: f64) -> f64:
    """Return the inverse sine, nan outside of -1 to 1.

    >>> asin_f64(f64(1))
    np.float64(1.5707963267948966)
    """
    size = fabs_f64(x)
    angle, tail = asin_parts_f64(size)
    inner = angle + tail
    rough = HALF_PI_HI_F64 - f64(2) * angle
    lost = (HALF_PI_HI_F64 - rough) - f64(2) * angle
    outer = rough - (f64(2) * tail - (HALF_PI_LO_F64 + lost))
    return copysign_f64(inner if size < f64(0.5) else outer, x)


def acos_f32(x: f32) -> f32:
    """Return the inverse cosine, nan outside of -1 to 1.

    >>> acos_f32(f32(1))
    np.float32(0.0)
    """
    size = fabs_f32(x)
    angle, tail = asin_parts_f32(size)
    angle = angle + tail
    middle = HALF_PI_HI_F32 - (copysign_f32(angle, x) - HALF_PI_LO_F32)
    right = f32(2) * angle
    left = f32(2) * (HALF_PI_HI_F32 - (angle - HALF_PI_LO_F32))
    outer = left if x < f32(0) else right
    return middle if size < f32(0.5) else outer


def acos_f64(x: f64) -> f64:
    """Return the inverse cosine, nan outside of -1 to 1.

    >>> acos_f64(f64(1))
    np.float64(0.0)
    """
    size = fabs_f64(x)
    angle, tail = asin_parts_f64(size)
    angle = angle + tail
    middle = HALF_PI_HI_F64 - (copysign_f64(angle, x) - HALF_PI_LO_F64)
    right = f64(2) * angle
    left = f64(2) * (HALF_PI_HI_F64 - (angle - HALF_PI_LO_F64))
    outer = left if x < f64(0) else right
    return middle if size < f64(0.5) else outer


def atan_inner_f32(x: f32) -> f32:
    """Return atan(x) for 0 <= x <= 1.

    >>> atan_inner_f32(f32(0))
    np.float32(0.0)
    """
    z = x * x
    return x + x * (z * poly9(z, ATAN_F32))


def atan_inner_f64(x: f64) -> f64:
    """Return atan(x) for 0 <= x <= 1.

    >>> atan_inner_f64(f64(0))
    np.float64(0.0)
    """
    z = x * x
    return x + x * (z * poly20(z, ATAN_F64))


def atan_f32(x: f32) -> f32:
    """Return the inverse tangent.

    >>> atan_f32(f32(float("inf")))
    np.float32(1.5707964)
    """
    size = fabs_f32(x)
    large = size > f32(1)
    inverse = f32(1) / size
    angle = atan_inner_f32(inverse if large else size)
    complement = HALF_PI_HI_F32 - (angle - HALF_PI_LO_F32)
    return copysign_f32(complement if large else angle, x)


def atan_f64(x: f64) -> f64:
    """Return the inverse tangent.

    >>> atan_f64(f64(float("inf")))
    np.float64(1.5707963267948966)
    """
    size = fabs_f64(x)
    large = size > f64(1)
    inverse = f64(1) / size
    angle = atan_inner_f64(inverse if large else size)
    complement = HALF_PI_HI_F64 - (angle - HALF_PI_LO_F64)
    return copysign_f64(complement if large else angle, x)


def atan2_f32(y: f32, x: f32) -> f32:
    """Return the angle of the point (x, y), from -pi to pi.

    >>> atan2_f32(f32(1), f32(-1))
    np.float32(2.3561945)
    """
    height, width = fabs_f32(y), fabs_f32(x)
    steep = height > width
    large = height if steep else width
    small = width if steep else height
    ratio = small / large
    ratio = f32(0) if large == f32(0) else ratio
    ratio = f32(1) if small == INF_F32 else ratio
    angle = atan_inner_f32(ratio)
    complement = HALF_PI_HI_F32 - (angle - HALF_PI_LO_F32)
    angle = complement if steep else angle
    behind = copysign_f32(f32(1), x) < f32(0)
    turned = f32(2) * HALF_PI_HI_F32 - (angle - f32(2) * HALF_PI_LO_F32)
    result = copysign_f32(turned if behind else angle, y)
    return result if (x == x) & (y == y) else x + y


def atan2_f64(y: f64, x: f64) -> f64:
    """Return the angle of the point (x, y), from -pi to pi.

    >>> atan2_f64(f64(1), f64(-1))
    np.float64(2.356194490192345)
    """
    height, width = fabs_f64(y), fabs_f64(x)
    steep = height > width
    large = height if steep else width
    small = width if steep else height
    ratio = small / large
    ratio = f64(0) if large == f64(0) else ratio
    ratio = f64(1) if small == INF_F64 else ratio
    angle = atan_inner_f64(ratio)
    complement = HALF_PI_HI_F64 - (angle - HALF_PI_LO_F64)
    angle = complement if steep else angle
    behind = copysign_f64(f64(1), x) < f64(0)
    turned = f64(2) * HALF_PI_HI_F64 - (angle - f64(2) * HALF_PI_LO_F64)
    result = copysign_f64(turned if behind else angle, y)
    return result if (x == x) & (y == y) else x + y
