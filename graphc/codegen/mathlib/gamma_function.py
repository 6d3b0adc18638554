"""Logarithm of the gamma function, and its derivative, digamma.

For large arguments both are Stirling's series. Below, the recurrence leads into an interval on which a
polynomial is exact: beside the zero of lgamma at 2, which keeps its last places there, and at 1 too, where
the step is one log; beside the positive zero of digamma, which is divided out. Negative arguments are
reflected, with the sine and cotangent of a fraction that is exact: beside the zeros there, the error is an
ulp of the two numbers that cancel.

float32 works in float64.
"""

from __future__ import annotations

from graphc.codegen.device import f32, f64, fabs_f64, rint_f64
from graphc.codegen.mathlib.logarithm import INF_F64, NAN_F64, log_f64
from graphc.codegen.mathlib.polynomial import poly7, poly20, poly22
from graphc.codegen.mathlib.special_coefficients import (
    DIGAMMA_F64,
    DIGAMMA_TAIL_F64,
    LGAMMA_F64,
    STIRLING_F64,
)
from graphc.codegen.mathlib.trigonometric import sin_half_turns_f64

PI_F64 = f64(3.141592653589793)
HALF_LOG_2PI_F64 = f64(0.9189385332046728)
# The zero of digamma, in two parts
ROOT_HI_F64 = f64(1.4616321449683622)
ROOT_LO_F64 = f64(9.549995429965697e-17)


def step_down_f64(y: f64, product: f64) -> tuple[f64, f64]:
    """Return y - 1 and product * (y - 1) for y of at least 2.25, else both as they are.

    >>> step_down_f64(f64(4), f64(1))
    (np.float64(3.0), np.float64(3.0))
    """
    lower = y - f64(1)
    above = y >= f64(2.25)
    return lower if above else y, product * lower if above else product


def lgamma_positive_f64(x: f64) -> f64:
    """Return log(gamma(x)) for positive x.

    >>> lgamma_positive_f64(f64(2))
    np.float64(0.0)
    """
    y, product = step_down_f64(x, f64(1))
    y, product = step_down_f64(y, product)
    y, product = step_down_f64(y, product)
    y, product = step_down_f64(y, product)
    y, product = step_down_f64(y, product)
    y, product = step_down_f64(y, product)
    # The polynomial runs around 2: in x itself, or in x - 1, where those are exact.
    below, low = x < f64(1.25), x < f64(0.25)
    raised = x if low else x - f64(1)
    e = raised if below else y - f64(2)
    risen = x + x * x if low else x
    argument = risen if below | (x >= f64(8)) else product
    logarithm = log_f64(argument)
    near = e * poly20(e, LGAMMA_F64) + (-logarithm if below else logarithm)
    inverse = f64(1) / x
    # Less than the first of its terms is lost: no term is larger than the result from 8 on.
    far = (x - f64(0.5)) * (logarithm - f64(1)) + (
        (HALF_LOG_2PI_F64 - f64(0.5)) + inverse * poly7(inverse * inverse, STIRLING_F64)
    )
    far = INF_F64 if x == INF_F64 else far
    return near if x < f64(8) else far


def lgamma_f64(x: f64) -> f64:
    """Return log(|gamma(x)|).

    >>> round(float(lgamma_f64(f64(0.5))), 12)
    0.572364942925
    """
    size = fabs_f64(x)
    positive = lgamma_positive_f64(size)
    fraction = size - rint_f64(size)
    sine = fabs_f64(sin_half_turns_f64(fraction, f64(0), f64(0)))
    reflected = log_f64(PI_F64 / (size * sine)) - positive
    reflected = INF_F64 if fraction == f64(0) else reflected
    tiny = size < f64(2.0**-60)
    return positive if (x > f64(0)) | tiny | (size == INF_F64) | (x != x) else reflected


def lgamma_f32(x: f32) -> f32:
    """Return log(|gamma(x)|).

    >>> lgamma_f32(f32(3.5))
    np.float32(1.2009736)
    """
    return f32(lgamma_f64(f64(x)))


def recur_f64(y: f64, above: f64, below: f64) -> tuple[f64, f64, f64]:
    """Return y - 1 and above/below + 1/(y - 1) as a fraction for y of at least 2, else all as they are.

    >>> recur_f64(f64(3), f64(0), f64(1))
    (np.float64(2.0), np.float64(1.0), np.float64(2.0))
    """
    lower = y - f64(1)
    more = y >= f64(2)
    return lower if more else y, above * lower + below if more else above, below * lower if more else below


def digamma_positive_f64(x: f64) -> f64:
    """Return the derivative of log(gamma(x)) for positive x.

    >>> digamma_positive_f64(f64(1))
    np.float64(-0.5772156649015329)
    """
    y, above, below = recur_f64(x, f64(0), f64(1))
    y, above, below = recur_f64(y, above, below)
    y, above, below = recur_f64(y, above, below)
    y, above, below = recur_f64(y, above, below)
    small = x < f64(1)
    e = x - f64(0.5) if small else y - f64(1.5)
    root_distance = (e - (ROOT_HI_F64 - f64(1.5))) - ROOT_LO_F64
    near = root_distance * poly22(e, DIGAMMA_F64) + (f64(-1) if small else above) / (x if small else below)
    inverse = f64(1) / x
    z = inverse * inverse
    far = log_f64(x) - (f64(0.5) * inverse + z * poly7(z, DIGAMMA_TAIL_F64))
    return near if x < f64(6) else far


def digamma_f64(x: f64) -> f64:
    """Return the derivative of log(|gamma(x)|).

    >>> round(float(digamma_f64(f64(0.5))), 12)
    -1.963510026021
    """
    size = fabs_f64(x)
    direct = x > f64(0)
    positive = digamma_positive_f64(size if direct else f64(1) + size)
    # digamma(-x) = digamma(1 + x) + pi*cot(pi*x)
    fraction = size - rint_f64(size)
    sine = sin_half_turns_f64(fraction, f64(0), f64(0))
    cosine = sin_half_turns_f64(f64(0.5) - fabs_f64(fraction), f64(0), f64(0))
    reflected = positive + PI_F64 * (cosine / sine)
    reflected = NAN_F64 if fraction == f64(0) else reflected
    result = positive if direct else reflected
    return f64(-1) / x if size < f64(2.0**-60) else result


def digamma_f32(x: f32) -> f32:
    """Return the derivative of log(|gamma(x)|).

    >>> digamma_f32(f32(0.5))
    np.float32(-1.96351)
    """
    return f32(digamma_f64(f64(x)))
