"""Draws that reject: gamma and Poisson variates, and whole numbers below a bound.

Each element tries candidates until one is accepted; a candidate is enciphered from the key, the element's
position and the number of the attempt.  `graphc.codegen.device_draws` states the same for kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.errors import DTypeError, ShapeError
from graphc.lower import expr
from graphc.lower.expr import Expr, call
from graphc.lower.rules import Index, Map, Site
from graphc.ops.batching import batch_by
from graphc.ops.gamma_slope import gamma_slope
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.ops.special import lgamma_numpy
from graphc.ops.threefry import check_key, key_and_position, no_gradient, split, threefry
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import FLOAT64, FLOATS, INT64, DType, TensorType

__all__: list[str] = []

Array = np.ndarray[Any, Any]


# ------------------------------------------------------------------- candidates
@dataclass(frozen=True)
class Candidates:
    """The random words of elements: the two words of the key of each, and its position in its row."""

    keys: Array
    positions: Array

    def words(self, number: int) -> tuple[Array, Array]:
        """Return two words of 32 bits, as uint64, of candidate `number`."""
        words = self.keys.view(np.uint32)
        low, high = split(self.positions)
        found = threefry((words[:, 0], words[:, 1]), (low, high ^ np.uint32(number << 20)))
        return found[0].astype(np.uint64), found[1].astype(np.uint64)

    def some(self, kept: Array) -> Candidates:
        """Return those of the elements where `kept` is true."""
        return Candidates(self.keys[kept], self.positions[kept])


def wide_unit(high: Array, low: Array) -> Array:
    """Return a number in (0, 1] from 64 bits, with all of a float64's places near 0."""
    return (high.astype(np.float64) * 2.0**32 + low.astype(np.float64) + 0.5) * 2.0**-64


def unit(word: Array) -> Array:
    """Return a number in (0, 1) from 32 bits."""
    return (word.astype(np.float64) + 0.5) * 2.0**-32


Attempt = Callable[[Candidates, Array, int], tuple[Array, Array]]


def _until_accepted(attempt: Attempt, candidates: Candidates, parameter: Array) -> Array:
    """Return the first accepted candidate of each element."""
    result = np.zeros(parameter.shape, parameter.dtype)
    waiting = np.arange(parameter.size)
    number = 0
    while waiting.size:
        values, accepted = attempt(candidates, parameter[waiting], number)
        result[waiting] = values
        waiting, candidates = waiting[~accepted], candidates.some(~accepted)
        number += 1
    return result


def _gamma_attempt(candidates: Candidates, shape: Array, number: int) -> tuple[Array, Array]:
    # G. Marsaglia, W. W. Tsang, "A simple method for generating gamma variables", 2000.
    first, second = candidates.words(2 * number)
    third, fourth = candidates.words(2 * number + 1)
    d = shape - 1 / 3
    x = np.sqrt(-2 * np.log(wide_unit(first, third)))
    x = x * np.sin(math.pi * (second.astype(np.float64) * 2.0**-32 - 0.5))
    root = 1 + x / np.sqrt(9 * d)
    v = root**3
    bounded = np.where(root > 0, v, 1)
    allowed = 0.5 * x * x + d * (1 - bounded + np.log(bounded))
    return d * v, ((root > 0) & (np.log(unit(fourth)) < allowed)) | np.isnan(shape)


def _poisson_small(candidates: Candidates, rate: Array) -> Array:
    # Inversion: the number of terms of the distribution that one uniform number exceeds.
    high = wide_unit(*candidates.words(0))
    term = np.exp(-rate)
    total, count = term, np.zeros(rate.shape)
    for k in range(1, 101):
        more = high > total
        count = count + more
        term = term * (rate / k)
        total = np.where(more, total + term, total)
    return count


def _poisson_attempt(candidates: Candidates, rate: Array, number: int) -> tuple[Array, Array]:
    # W. Hormann, "The transformed rejection method for generating Poisson random variables", 1993: PTRS.
    first, second = candidates.words(number)
    b = 0.931 + 2.53 * np.sqrt(rate)
    a = -0.059 + 0.02483 * b
    u, v = unit(first) - 0.5, unit(second)
    s = 0.5 - np.abs(u)
    k = np.floor((2 * a / s + b) * u + rate + 0.43)
    bounded = np.maximum(k, 0)
    density = bounded * np.log(rate) - rate - lgamma_numpy(bounded + 1)
    close = np.log(v) + np.log(1.1239 + 1.1328 / (b - 3.4)) - np.log(a / (s * s) + b) <= density
    outside = (k < 0) | ((s < 0.013) & (v > s))
    return k, ((s >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))) | (~outside & close)


def _below_attempt(candidates: Candidates, span: Array, number: int) -> tuple[Array, Array]:
    high, low = candidates.words(number)
    most = np.uint64(2**63 - 1)
    value = ((high << np.uint64(32)) | low) & most
    bounded = np.maximum(span, 1).astype(np.uint64)
    excess = (most % bounded + np.uint64(1)) % bounded
    return (value % bounded).astype(np.int64), value <= most - excess


# --------------------------------------------------------------------- meanings
def _elementwise(draw: Callable[[Candidates, Array], Array], dtype: DType) -> Callable[..., Array]:
    def meaning(key: Array, parameter: Array) -> Array:
        flat = parameter.astype(dtype).ravel()
        each = math.prod(parameter.shape[key.ndim - 1 :])
        keys = np.repeat(key.reshape(-1, 2), each, 0)
        with np.errstate(all="ignore"):
            return draw(Candidates(keys, np.arange(flat.size) % max(each, 1)), flat).reshape(parameter.shape)

    return meaning


def _gamma(candidates: Candidates, shape: Array) -> Array:
    return _until_accepted(_gamma_attempt, candidates, shape)


def _poisson(candidates: Candidates, rate: Array) -> Array:
    large = (rate >= 10) & (rate < 1e300)
    small = ~large & (rate < 10)
    result = np.zeros(rate.shape)
    result[small] = _poisson_small(candidates.some(small), rate[small])
    result[large] = _until_accepted(_poisson_attempt, candidates.some(large), rate[large])
    return result


def _below(candidates: Candidates, span: Array) -> Array:
    return _until_accepted(_below_attempt, candidates, span)


# -------------------------------------------------------------------- the ops
def _rule(dtypes: tuple[DType, ...], result: DType | None) -> Callable[..., TensorType]:
    def infer(ctx: Infer, key: TensorType, parameter: TensorType) -> TensorType:
        check_key(ctx, key, parameter.shape)
        ctx.dtype_in(parameter.dtype, dtypes, "parameter")
        return TensorType(parameter.shape, result or parameter.dtype)

    return infer


def _map(function: str, dtype: DType) -> Map:
    def lower(site: Site, index: Index) -> Expr:
        parameter = expr.cast(site.read(1, index), dtype)
        key, position = key_and_position(site, index)
        drawn = call(function, *key, *position, parameter, dtype=dtype)
        return expr.cast(drawn, site.type.dtype)

    return Map(lower)


def random_gamma(key: TensorLike, shape: TensorLike) -> Tensor:
    """Return gamma variates of scale 1, one for each element of `shape`, which must be at least 1.

    The gradient with respect to `shape` is that of the inverse distribution function at a
    fixed quantile (M. Figurnov, S. Mohamed, A. Mnih, "Implicit reparameterization
    gradients", 2018).

    Parameters
    ----------
    key : array_like
        int32[2], from `graphc.ops.threefry.random_key`.
    shape : array_like
        Parameter of the distribution; floating.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.rejection import random_gamma
    >>> random_gamma(gx.constant([0, 0], "int32"), [1.0, 2.0])
    <Tensor float64[2]>
    """
    return RANDOM_GAMMA(as_tensor(key), as_tensor(shape))


def random_poisson(key: TensorLike, rate: TensorLike) -> Tensor:
    """Return int64 Poisson variates, one for each element of `rate`.

    Parameters
    ----------
    key : array_like
        int32[2], from `graphc.ops.threefry.random_key`.
    rate : array_like
        Mean of the distribution; floating.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.rejection import random_poisson
    >>> random_poisson(gx.constant([0, 0], "int32"), [1.0, 2.0])
    <Tensor int64[2]>
    """
    return RANDOM_POISSON(as_tensor(key), as_tensor(rate))


def random_below(key: TensorLike, span: TensorLike) -> Tensor:
    """Return whole numbers from 0 to below each element of `span`.

    Parameters
    ----------
    key : array_like
        int32[2], from `graphc.ops.threefry.random_key`.
    span : array_like
        How many numbers there are to draw from; int64.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.rejection import random_below
    >>> random_below(gx.constant([0, 0], "int32"), [6, 6])
    <Tensor int64[2]>
    """
    return RANDOM_BELOW(as_tensor(key), as_tensor(span))


def _gamma_gradient(g: Tensor, out: Tensor, key: Tensor, shape: Tensor) -> Gradients:
    return [None, g * gamma_slope(shape, out)]


_KEY = np.array([0x13198A2E, 0x03707344], np.int32)


def _samples(values: Iterable[float], dtype: DType, ulp: float = 8) -> Callable[[], Iterable[Sample]]:
    def make() -> Iterable[Sample]:
        # Not differentiable by differences: these would follow one candidate, and not its distribution.
        table = np.array(list(values), dtype)
        for shape in ((3, 5), (), (0, 3), (1,)):
            yield Sample((_KEY, np.resize(table, shape)), differentiable=False, ulp=ulp)
        yield Sample((_KEY, np.repeat(table, 300)), differentiable=False, ulp=ulp)
        yield Sample((np.stack([_KEY, _KEY + 1]), np.resize(table, (2, 3))), differentiable=False, ulp=ulp)

    return make


def _errors(api: Callable[..., Tensor], good: Array, bad: Array) -> Callable[[], Iterable[ErrorSample]]:
    return lambda: (
        ErrorSample(lambda: api(np.zeros(3, np.int32), good), ShapeError, "bad key"),
        ErrorSample(lambda: api(_KEY, bad), DTypeError, "parameter"),
    )


RANDOM_GAMMA = Op(
    "random_gamma",
    _rule(FLOATS, None),
    lambda key, shape: _elementwise(_gamma, FLOAT64)(key, shape).astype(shape.dtype),
    _map("random_gamma", FLOAT64),
    gradient=_gamma_gradient,
    batch=batch_by(),
    api=random_gamma,
    # Near 0 a variate is the cube of a difference.
    samples=_samples((1.0, 1.5, 3.0, 20.0, 1e6), FLOAT64, ulp=200),
    errors=_errors(random_gamma, np.ones(2), np.ones(2, np.int64)),
    dtypes=FLOATS,
    cost=500,
)
RANDOM_POISSON = Op(
    "random_poisson",
    _rule(FLOATS, INT64),
    lambda key, rate: _elementwise(_poisson, FLOAT64)(key, rate).astype(np.int64),
    _map("random_poisson", FLOAT64),
    gradient=no_gradient,
    batch=batch_by(),
    api=random_poisson,
    samples=_samples((0.0, 0.3, 4.0, 10.0, 50.0, 1e7, -1.0), FLOAT64),
    errors=_errors(random_poisson, np.ones(2), np.ones(2, np.int64)),
    dtypes=FLOATS,
    cost=500,
)
RANDOM_BELOW = Op(
    "random_below",
    _rule((INT64,), None),
    _elementwise(_below, INT64),
    _map("random_below", INT64),
    gradient=no_gradient,
    batch=batch_by(),
    api=random_below,
    samples=_samples((6, 1, 2**62 + 2**61, 2**63 - 1, 10**9), INT64),
    errors=_errors(random_below, np.ones(2, np.int64), np.ones(2)),
    dtypes=(INT64,),
    cost=300,
)
