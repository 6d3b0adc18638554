"""The complement of the error function to its last places, and the inverses of both.

erfc(x) = exp(-x*x) * erfcx(x), where erfcx varies slowly: one polynomial in (x - 3)/(x + 3) serves the whole
tail (M. M. Shepherd, J. G. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x in 0 <= x <
infinity", 1981). The inverse in the tail is a polynomial too, and one step of Newton's method on the
logarithm of erfc doubles its places.

float32 works in float64.
"""

from __future__ import annotations

from graphc.codegen.device import copysign_f64, f32, f64, fabs_f64, fma_f64, sqrt_f64
from graphc.codegen.mathlib.coefficients import ERF_F64
from graphc.codegen.mathlib.exponential import exp_f64
from graphc.codegen.mathlib.logarithm import INF_F64, NAN_F64, log_f64
from graphc.codegen.mathlib.polynomial import poly12, poly15, poly18, poly22
from graphc.codegen.mathlib.special_coefficients import ERFCINV_F64, ERFCX_F64, ERFINV_F64

HALF_ROOT_PI_F64 = f64(0.886226925452758)
# Where the inverses pass 1/2, so that the step of Newton's method is exact to the last places.
EDGE_F64 = f64(0.46)


def erfcx_tail_f64(x: f64) -> f64:
    """Return exp(x*x) * erfc(x) from 1/2 to 27.3.

    >>> round(float(erfcx_tail_f64(f64(3))), 12)
    0.179001151181
    """
    return poly22((x - f64(3)) / (x + f64(3)), ERFCX_F64) / (f64(1) + f64(2) * x)


def erfc_f64(x: f64) -> f64:
    """Return 1 - erf(x), exact to the last places where it is small.

    >>> erfc_f64(f64(0))
    np.float64(1.0)
    """
    size = fabs_f64(x)
    near = f64(1) - (x + x * poly12(x * x, ERF_F64))
    bounded = f64(27.3) if size > f64(27.3) else size
    square = bounded * bounded
    lost = fma_f64(bounded, bounded, -square)
    exponential = exp_f64(-square)
    far = (exponential - exponential * lost) * erfcx_tail_f64(bounded)
    far = far if x > f64(0) else f64(2) - far
    result = near if size < f64(0.5) else far
    return x if x != x else result


def erfc_f32(x: f32) -> f32:
    """Return 1 - erf(x), exact to the last places where it is small.

    >>> erfc_f32(f32(0))
    np.float32(1.0)
    """
    return f32(erfc_f64(f64(x)))


def erfinv_near_f64(x: f64) -> f64:
    """Return the inverse error function for |x| <= 0.54.

    >>> erfinv_near_f64(f64(0))
    np.float64(0.0)
    """
    return x * poly15(x * x, ERFINV_F64)


def erfcinv_tail_f64(q: f64) -> f64:
    """Return the y of erfc(y) = q for q up to 0.46.

    >>> round(float(erfcinv_tail_f64(f64(0.0046777349810472645))), 12)
    2.0
    """
    bounded = q if (q > f64(0)) & (q < EDGE_F64) else EDGE_F64
    square = -log_f64(bounded)
    r = sqrt_f64(square)
    y = r * poly18((r - f64(2)) / (r + f64(2)), ERFCINV_F64)
    # log(erfc(y)) = log(erfcx(y)) - y*y
    ratio = erfcx_tail_f64(y)
    off = log_f64(ratio) + fma_f64(-y, y, square)
    return y + HALF_ROOT_PI_F64 * ratio * off


def erfcinv_f64(x: f64) -> f64:
    """Return the y of erfc(y) = x; nan outside [0, 2].

    >>> erfcinv_f64(f64(1))
    np.float64(0.0)
    """
    mirrored = x > f64(1)
    q = f64(2) - x if mirrored else x
    tail = erfcinv_tail_f64(q)
    tail = INF_F64 if q == f64(0) else tail
    tail = tail if q >= f64(0) else NAN_F64
    near = erfinv_near_f64(f64(1) - x)
    far = -tail if mirrored else tail
    return near if fabs_f64(f64(1) - x) < f64(1) - EDGE_F64 else far


def erfcinv_f32(x: f32) -> f32:
    """Return the y of erfc(y) = x; nan outside [0, 2].

    >>> erfcinv_f32(f32(1))
    np.float32(0.0)
    """
    return f32(erfcinv_f64(f64(x)))


def erfinv_f64(x: f64) -> f64:
    """Return the y of erf(y) = x; nan outside [-1, 1].

    >>> erfinv_f64(f64(-1))
    np.float64(-inf)
    """
    q = f64(1) - fabs_f64(x)
    tail = erfcinv_tail_f64(q)
    tail = INF_F64 if q == f64(0) else tail
    tail = tail if q >= f64(0) else NAN_F64
    far = copysign_f64(tail, x)
    near = erfinv_near_f64(x)
    return near if q >= EDGE_F64 else far


def erfinv_f32(x: f32) -> f32:
    """Return the y of erf(y) = x; nan outside [-1, 1].

    >>> erfinv_f32(f32(-1))
    np.float32(-inf)
    """
    return f32(erfinv_f64(f64(x)))
