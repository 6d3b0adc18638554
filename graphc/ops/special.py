"""Special functions: the complement and inverses of the error function, the gamma function's logarithm."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np

from graphc.lower.expr import call
from graphc.ops.arithmetic import square
from graphc.ops.elementwise import Unary, unary
from graphc.ops.functions import erf_numpy, exp
from graphc.ops.gamma_derivatives import bernoulli, polygamma, zeta_numpy
from graphc.ops.op import Sample

__all__ = ["digamma", "erfc", "erfcinv", "erfinv", "lgamma"]

Array = np.ndarray[Any, Any]

_TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)


def _of_numbers(function: Callable[[float], float]) -> Callable[[Any], Any]:
    """Return a function of one number as one of arrays."""
    apply = np.frompyfunc(function, 1, 1)
    return lambda x: np.asarray(apply(x), x.dtype)


def _known(*pairs: tuple[float, float]) -> Callable[[], Iterable[Sample]]:
    points, values = np.array(pairs).T
    return lambda: (Sample((points,), expected=values, differentiable=False),)


# ------------------------------------------------------- error function and inverses
_erfc_numpy = _of_numbers(math.erfc)

erfc = unary(
    "erfc",
    _erfc_numpy,
    lambda x: call("erfc", x),
    doc="Compute ``1 - erf(x)`` elementwise, precisely where it is small.",
    gradient=lambda g, out, x: [g * (-_TWO_OVER_ROOT_PI * exp(-square(x)))],
    cost=50,
    domain=(-2.5, 2.5),
    # DLMF 7.2.2, evaluated to 16 digits.
    samples=_known(
        (0.0, 1.0), (0.5, 0.4795001221869535), (-1.0, 1.8427007929497148), (10, 2.088487583762545e-45)
    ),
)


def _erfcinv_tail(q: Array) -> Array:
    """Solve erfc(y) = q for 0 < q <= 1/2 by Newton's method on the logarithm of erfc."""
    target = np.log(q)
    y = np.sqrt(-target) * 0.9
    for _ in range(40):
        logarithm = np.log(_erfc_numpy(y))
        y = y + (logarithm - target) / _TWO_OVER_ROOT_PI * np.exp(logarithm + y * y)
    return y


def _erfinv_center(x: Array) -> Array:
    """Solve erf(y) = x for x from -1/2 to 1/2 by Newton's method."""
    y = x / _TWO_OVER_ROOT_PI
    for _ in range(6):
        y = y - (erf_numpy(y) - x) / _TWO_OVER_ROOT_PI * np.exp(y * y)
    return y


def _inverse(center: Array, q: Array, mirrored: Array) -> Array:
    """Return the inverse, given x and how far it is from the nearer end, over which it is mirrored."""
    inside = (q > 0) & (q <= 0.5)
    tail = _erfcinv_tail(np.where(inside, q, 0.5))
    tail = np.where(q == 0, np.inf, np.where(q > 0, tail, np.nan))
    near = _erfinv_center(np.where(q > 0.5, center, 0.0))
    return np.where(q > 0.5, near, np.where(mirrored, -tail, tail))


def _erfcinv_numpy(x: Array) -> Array:
    wide = x.astype(np.float64)
    mirrored = wide > 1
    return _inverse(1 - wide, np.where(mirrored, 2 - wide, wide), mirrored).astype(x.dtype)


def _erfinv_numpy(x: Array) -> Array:
    wide = x.astype(np.float64)
    return _inverse(wide, 1 - np.abs(wide), wide < 0).astype(x.dtype)


erfinv = unary(
    "erfinv",
    _erfinv_numpy,
    lambda x: call("erfinv", x),
    doc="Compute the inverse of `erf` elementwise; NaN outside [-1, 1].",
    example=([-0.5, 0.0, 0.75],),
    gradient=lambda g, out, x: [g * (exp(square(out)) / _TWO_OVER_ROOT_PI)],
    cost=100,
    domain=(-0.9, 0.9),
    samples=_known((math.erf(0.25), 0.25), (math.erf(-2.0), -2.0), (1.0, math.inf), (0.0, 0.0)),
)
erfcinv = unary(
    "erfcinv",
    _erfcinv_numpy,
    lambda x: call("erfcinv", x),
    doc="Compute the inverse of `erfc` elementwise; NaN outside [0, 2].",
    example=([0.5, 1.0, 1.75],),
    gradient=lambda g, out, x: [g * (exp(square(out)) / -_TWO_OVER_ROOT_PI)],
    cost=100,
    domain=(0.1, 1.9),
    samples=_known(
        (math.erfc(0.25), 0.25), (math.erfc(-2.0), -2.0), (math.erfc(20.0), 20.0), (0.0, math.inf)
    ),
)


# ---------------------------------------------------------------- gamma function
def _lgamma_of_number(x: float) -> float:
    try:
        return math.lgamma(x)
    except ValueError:  # at the poles
        return math.inf


@cache
def _series_of_lgamma(zero: int) -> tuple[float, ...]:
    """Return the series around a zero of lgamma, 1 or 2, lowest power first."""
    slope = -0.5772156649015329 if zero == 1 else 0.42278433509846714
    terms = (zeta_numpy(k, np.array(float(zero))) * (-1) ** k / k for k in range(2, 60))
    return (0.0, slope, *map(float, terms))


def lgamma_numpy(x: Array) -> Array:
    """Return the logarithm of the gamma function of an array."""
    # Python's function is exact to an ulp of 1 only, where the result is near 0.
    wide = x.astype(np.float64)
    result = np.asarray(np.frompyfunc(_lgamma_of_number, 1, 1)(wide), np.float64)
    for zero in (1, 2):
        distance = wide - zero
        near = np.abs(distance) <= 0.5
        series = np.polynomial.polynomial.polyval(np.where(near, distance, 0.0), _series_of_lgamma(zero))
        result = np.where(near, series, result)
    return result.astype(x.dtype)


@cache
def _root_of_digamma() -> tuple[float, float, tuple[float, ...]]:
    """Return the positive zero of digamma in two parts, and the series around it, lowest power first."""
    high, low = 1.4616321449683622, 9.549995429965697e-17
    terms = (zeta_numpy(k + 1, np.array(high)) * (-1) ** (k + 1) for k in range(1, 40))
    return high, low, (0.0, *map(float, terms))


def _digamma_positive(x: Array) -> Array:
    count = 12
    y = x + count
    inverse = 1 / y
    numbers = bernoulli(17)
    tail = (0.0, *(float(numbers[2 * k]) / (2 * k) for k in range(1, 9)))
    far = np.log(y) - inverse / 2 - np.polynomial.polynomial.polyval(inverse * inverse, tail)
    shifted = far - sum(1 / (x + k) for k in reversed(range(count)))
    high, low, series = _root_of_digamma()
    distance = (x - high) - low
    near = np.polynomial.polynomial.polyval(np.clip(distance, -0.45, 0.45), series)
    return np.where(np.abs(distance) < 0.45, near, np.where(x > 1e6, np.log(x) - 0.5 / x, shifted))


def _digamma_numpy(x: Array) -> Array:
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        size = np.abs(wide)
        positive = _digamma_positive(size)
        fraction = size - np.rint(size)
        reflected = positive + (1 / size + math.pi / np.tan(math.pi * fraction))
        reflected = np.where(fraction == 0, np.nan, reflected)
        result = np.where(wide > 0, positive, reflected)
        return np.where(size < 2.0**-60, -1 / wide, result).astype(x.dtype)


lgamma = unary(
    "lgamma",
    lgamma_numpy,
    lambda x: call("lgamma", x),
    doc="Compute the logarithm of the gamma function's absolute value elementwise.",
    gradient=lambda g, out, x: [g * digamma(x)],
    cost=120,
    domain=(0.3, 2.7),
    samples=_known(
        (5.0, math.log(24)), (0.5, math.log(math.pi) / 2), (1.0, 0.0), (2.0, 0.0), (-1.0, math.inf)
    ),
)
digamma: Unary = unary(
    "digamma",
    _digamma_numpy,
    lambda x: call("digamma", x),
    doc="Compute the derivative of `lgamma` elementwise.",
    notes="NaN at negative integers.",
    gradient=lambda g, out, x: [g * polygamma(1, x)],
    cost=120,
    domain=(0.3, 2.7),
    # Euler's constant; DLMF 5.4.13; the recurrence.
    samples=_known((1.0, -0.5772156649015329), (0.5, -1.9635100260214235), (2.0, 0.42278433509846714)),
)
