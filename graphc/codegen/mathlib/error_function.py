"""The error function: a polynomial times x up to 1, from there 1 - exp(polynomial).

Near 1 the result hardly depends on erfc = 1 - erf, so that a plain exponential of a polynomial fitted to
log(erfc) is exact enough.
"""

from __future__ import annotations

from graphc.codegen.device import copysign_f32, copysign_f64, f32, f64, fabs_f32, fabs_f64
from graphc.codegen.mathlib.coefficients import ERF_F32, ERF_F64, LOG_ERFC_F32, LOG_ERFC_F64
from graphc.codegen.mathlib.exponential import exp_bounded_f32, exp_bounded_f64
from graphc.codegen.mathlib.polynomial import poly7, poly8, poly12, poly19


def erf_f32(x: f32) -> f32:
    """Return the error function.

    >>> erf_f32(f32(5))
    np.float32(1.0)
    """
    size = fabs_f32(x)
    near = x + x * poly7(x * x, ERF_F32)
    bounded = f32(4) if size > f32(4) else size
    far = copysign_f32(f32(1) - exp_bounded_f32(poly8(bounded, LOG_ERFC_F32)), x)
    return near if size < f32(1) else far


def erf_f64(x: f64) -> f64:
    """Return the error function.

    >>> erf_f64(f64(8))
    np.float64(1.0)
    """
    size = fabs_f64(x)
    near = x + x * poly12(x * x, ERF_F64)
    bounded = f64(6) if size > f64(6) else size
    far = copysign_f64(f64(1) - exp_bounded_f64(poly19(bounded, LOG_ERFC_F64)), x)
    return near if size < f64(1) else far
