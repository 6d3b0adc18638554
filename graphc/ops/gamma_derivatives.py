"""Derivatives of digamma: polygamma functions of any order, closed under differentiation.

For positive x, polygamma(n, x) is n! times Hurwitz's zeta(n + 1, x), up to the sign: a sum of reciprocal
powers and, from a shifted x on, the series of Euler and Maclaurin.  Negative x are reflected by derivatives
of the cotangent, which are polynomials in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, caller
from graphc.lower import expr
from graphc.lower.expr import Expr, call
from graphc.ops.attributes import at_least
from graphc.ops.elementwise import elementwise_op, operands
from graphc.ops.op import ErrorSample, Gradients, Sample
from graphc.tensor import Tensor, TensorLike
from graphc.types import FLOAT64, FLOATS

__all__ = ["polygamma"]

Array = np.ndarray[Any, Any]

_TERMS = 10


def shift(order: int) -> int:
    """Return from where on the series is exact: later for higher powers."""
    return 10 + order // 2


@cache
def bernoulli(count: int) -> tuple[Fraction, ...]:
    """Return the Bernoulli numbers ``B(0)`` to ``B(count - 1)``, with ``B(1) = -1/2``."""
    found: list[Fraction] = []
    for m in range(count):
        total = sum((math.comb(m + 1, k) * b for k, b in enumerate(found)), Fraction(0))
        found.append(Fraction(1) if m == 0 else -total / (m + 1))
    return tuple(found)


@cache
def _tail(s: int) -> tuple[float, ...]:
    """Return c of the tail ``y**-s * sum(c[j] * y**(-2*j - 1))`` of the series for zeta(s, y)."""
    numbers = bernoulli(2 * _TERMS + 1)
    rising = [math.prod(range(s, s + 2 * j - 1)) for j in range(1, _TERMS + 1)]
    return tuple(float(numbers[2 * j] * r / math.factorial(2 * j)) for j, r in enumerate(rising, 1))


@cache
def _cotangent(order: int) -> tuple[int, ...]:
    """Return the polynomial in cot(x) that is its derivative of this order, lowest power first."""
    if order == 0:
        return (0, 1)
    slope = [k * c for k, c in enumerate(_cotangent(order - 1))][1:]
    result = [0] * (len(slope) + 2)
    for k, c in enumerate(slope):
        result[k] -= c
        result[k + 2] -= c
    return tuple(result)


def _pole(order: int) -> float:
    """Return the value at a negative integer: both sides go to infinity, or apart."""
    return math.inf if order % 2 else math.nan


# ------------------------------------------------------------------ the meaning
def zeta_numpy(s: int, x: Array) -> Array:
    """Return Hurwitz's zeta(s, x) of float64 x > 0, for an integer s > 1."""
    count = shift(s)
    inverse = 1 / (x + count)
    square = inverse * inverse
    tail = np.polynomial.polynomial.polyval(square, _tail(s))
    last = inverse ** (s - 1) * (1 / (s - 1) + inverse * (0.5 + inverse * tail))
    return last + sum((x + k) ** -float(s) for k in reversed(range(count)))


def _polygamma_numpy(x: Array, n: int) -> Array:
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        mirrored = wide < 0
        positive = np.where(mirrored, 1 - wide, wide)
        size = math.factorial(n) * zeta_numpy(n + 1, positive)
        fraction = wide - np.rint(wide)
        cotangent = 1 / np.tan(math.pi * fraction)
        slope = np.polynomial.polynomial.polyval(cotangent, _cotangent(n))
        reflected = -size - math.pi ** (n + 1) * slope
        reflected = np.where(fraction == 0, _pole(n), reflected)
        return np.where(mirrored, reflected, size if n % 2 else -size).astype(x.dtype)


# ----------------------------------------------------------------- the lowering
def _power(x: Expr, exponent: int) -> Expr:
    if exponent == 1:
        return x
    half = _power(x * x, exponent // 2)
    return half * x if exponent % 2 else half


def _polynomial(x: Expr, coefficients: tuple[float, ...]) -> Expr:
    *rest, total = (expr.const(c, x.dtype) for c in coefficients)
    for c in reversed(rest):
        total = total * x + c
    return total


def _zeta(s: int, x: Expr) -> Expr:
    count = shift(s)
    inverse = 1.0 / (x + float(count))
    tail = _polynomial(inverse * inverse, _tail(s))
    total = _power(inverse, s - 1) * (inverse * (inverse * tail + 0.5) + 1 / (s - 1))
    for k in reversed(range(count)):
        total = total + _power(1.0 / (x + float(k)), s)
    return total


def _scalar(x: Expr, n: int) -> Expr:
    wide = expr.cast(x, FLOAT64)
    mirrored = wide < 0.0
    positive = expr.where(mirrored, 1.0 - wide, wide)
    size = _zeta(n + 1, positive) * float(math.factorial(n))
    fraction = wide - call("rint", wide)
    slope = _polynomial(1.0 / call("tan", fraction * math.pi), tuple(map(float, _cotangent(n))))
    reflected = -size - slope * math.pi ** (n + 1)
    reflected = expr.where(fraction.eq(0.0), expr.const(_pole(n), FLOAT64), reflected)
    return expr.where(mirrored, reflected, size if n % 2 else -size)


# -------------------------------------------------------------------- the op
def polygamma(n: int, x: TensorLike) -> Tensor:
    """Compute the polygamma function of order `n`: the n-th derivative of `digamma`, elementwise.

    Parameters
    ----------
    n : int
        Order, at least 0; ``polygamma(1, x)`` is the trigamma function.
    x : array_like
        Operand; dtypes that are not floats are converted to float64.

    Returns
    -------
    Tensor
        Of the operand's shape and dtype.

    Raises
    ------
    ArgumentError
        If `n` is no integer of at least 0.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.polygamma(1, [0.5, 1.0])).round(6)
    array([4.934802, 1.644934])
    """
    # Deferred: digamma is what this is a derivative of.
    from graphc.ops.special import digamma

    if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 0:
        raise ArgumentError(
            "polygamma: bad order", expected="an integer of at least 0", given=repr(n), where=caller()
        )
    return digamma(x) if n == 0 else _POLYGAMMA(*operands((x,), FLOATS), n=int(n))


def _gradient(g: Tensor, out: Tensor, x: Tensor, n: int) -> Gradients:
    return [g * polygamma(n + 1, x)]


def _samples() -> Iterable[Sample]:
    rng = np.random.default_rng(5)
    for n, shape in ((1, (3, 5)), (2, (7,)), (3, (1,)), (4, (0, 3)), (1, ())):
        x = rng.uniform(0.3, 2.7, shape)
        yield Sample((x,), call=lambda x, n=n: polygamma(n, x))
    # DLMF 5.15: trigamma at 1 and 1/2, tetragamma at 1, by the zeta function; trigamma at -1/2 by recurrence.
    points = np.array([1.0, 0.5, -0.5])
    known = np.array([math.pi**2 / 6, math.pi**2 / 2, math.pi**2 / 2 + 4])
    yield Sample((points,), expected=known, call=lambda x: polygamma(1, x))
    yield Sample((np.ones(1),), expected=np.array([-2.4041138063191886]), call=lambda x: polygamma(2, x))
    edges = np.array([0.0, -0.0, 20.0, 1e9, np.inf, np.nan, -2.5, -3.0, 1e-9])
    for n in (1, 2):
        yield Sample((edges,), call=lambda x, n=n: polygamma(n, x), differentiable=False)


_POLYGAMMA = elementwise_op(
    "polygamma",
    _polygamma_numpy,
    _scalar,
    # Of higher orders, which no user reaches by derivatives, the expression would only be long.
    attributes={"n": at_least(1, 100)},
    dtypes=FLOATS,
    gradient=_gradient,
    cost=150,
    samples=_samples,
    errors=lambda: (
        ErrorSample(lambda: polygamma(-1, np.ones(2)), ArgumentError, "bad order"),
        ErrorSample(lambda: polygamma(1, "a"), DTypeError, ""),
    ),
    api=polygamma,
)
