"""Sample calls of the pooling ops, with results from scalar loops over the definition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ops.elementwise import astype
from graphc.ops.op import Array, ErrorSample, Sample
from graphc.tensor import Tensor
from graphc.types import INT64

Ints = tuple[int, ...]
Build = Callable[..., Tensor]


@dataclass(frozen=True)
class Case:
    """Shape and parameters of one pooling."""

    x: Ints
    kernel: Ints
    stride: Ints
    padding: tuple[Ints, ...]
    dilation: Ints

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes that all pooling ops have."""
        return {
            "kernel": self.kernel,
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
        }

    @property
    def y(self) -> Ints:
        """Shape of the result."""
        counts = (
            (n + sum(p) - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(
                self.x[2:], self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )
        return (*self.x[:2], *counts)

    def taps(self, q: Ints) -> Iterator[tuple[int, Ints]]:
        """Yield, for a window, the flat number and the position of each tap that lies inside."""
        for flat, t in enumerate(np.ndindex(*self.kernel)):
            p = tuple(
                i * s - pad[0] + j * d
                for i, j, s, pad, d in zip(q, t, self.stride, self.padding, self.dilation, strict=True)
            )
            if all(0 <= i < n for i, n in zip(p, self.x[2:], strict=True)):
                yield flat, p

    def distinct(self) -> Array:
        """Return an input without ties, so that the largest element is differentiable."""
        count = int(np.prod(self.x))
        return np.random.default_rng(4).permutation(count).reshape(self.x).astype(float)

    def values(self, shape: Ints) -> Array:
        """Return small whole numbers, which every dtype holds."""
        return np.random.default_rng(5).integers(1, 5, shape).astype(float)


CASES = (
    Case((2, 2, 4, 6), (2, 3), (2, 3), ((0, 0), (0, 0)), (1, 1)),
    Case((1, 1, 1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    Case((1, 2, 5, 5), (3, 3), (2, 1), ((1, 1), (0, 1)), (1, 1)),
    Case((1, 1, 5, 4), (2, 2), (3, 3), ((0, 1), (1, 0)), (1, 1)),
    Case((0, 2, 4, 4), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    Case((2, 2, 7), (3,), (2,), ((1, 2),), (1,)),
    Case((1, 1, 3, 4, 3), (2, 2, 3), (1, 2, 1), ((1, 0), (0, 0), (1, 1)), (1, 1, 1)),
)
DILATED = (
    Case((1, 2, 7, 6), (3, 2), (1, 2), ((1, 1), (0, 0)), (2, 3)),
    Case((1, 1, 9), (3,), (4,), ((2, 0),), (3,)),
)


def max_samples(build: Build) -> Iterable[Sample]:
    """Return the samples of the largest element."""
    for case in CASES + DILATED:
        x, expected = case.distinct(), np.zeros(case.y)
        for n, c, *q in np.ndindex(*case.y):
            expected[(n, c, *q)] = max(x[(n, c, *p)] for _, p in case.taps(tuple(q)))
        yield Sample((x,), case.attrs, expected, build)
    pair = {"kernel": (2,), "stride": (2,), "padding": ((0, 0),), "dilation": (1,)}
    special = np.array([[[np.nan, 1.0, 2.0, np.nan, -np.inf, -np.inf, np.inf, 0.0]]])
    yield Sample((special,), pair, np.array([[[np.nan, np.nan, -np.inf, np.inf]]]), build, False)
    yield Sample((np.array([[[-7, -3, 2, 2]]], np.int8),), pair, np.array([[[-3, 2]]]), build)


def index_samples(build: Build) -> Iterable[Sample]:
    """Return the samples of the largest element's tap number, ties and NaN included."""
    for case in CASES + DILATED:
        x, expected = case.distinct() // 2, np.zeros(case.y, np.int64)
        for n, c, *q in np.ndindex(*case.y):
            taps = [(x[(n, c, *p)], -flat) for flat, p in case.taps(tuple(q))]
            expected[(n, c, *q)] = -max(taps)[1]
        yield Sample((x,), case.attrs, expected, build)
    pair = {"kernel": (3,), "stride": (3,), "padding": ((0, 0),), "dilation": (1,)}
    special = np.array([[[np.inf, np.nan, np.nan, 1.0, 2.0, 2.0]]])
    yield Sample((special,), pair, np.array([[[1, 1]]]), build)


def _with_index(build: Build) -> Build:
    # A test that feeds the samples in another dtype still means whole tap numbers.
    return lambda x, index, **attrs: build(x, astype(index, INT64), **attrs)


def _inside_choice(case: Case) -> Array:
    """Return for every window the number of one tap that lies inside."""
    rng, chosen = np.random.default_rng(6), np.zeros(case.y, np.int64)
    for at in np.ndindex(*case.y):
        chosen[at] = rng.choice([flat for flat, _ in case.taps(at[2:])])
    return chosen


def scatter_samples(build: Build) -> Iterable[Sample]:
    """Return the samples of adding values up where their windows chose."""
    for case in CASES + DILATED:
        g, index, expected = case.values(case.y), _inside_choice(case), np.zeros(case.x)
        for n, c, *q in np.ndindex(*case.y):
            place = dict(case.taps(tuple(q)))[int(index[(n, c, *q)])]
            expected[(n, c, *place)] += g[(n, c, *q)]
        kwargs = {**case.attrs, "size": case.x[2:]}
        yield Sample((g, index), kwargs, expected, _with_index(build))


def gather_samples(build: Build) -> Iterable[Sample]:
    """Return the samples of reading what the windows chose."""
    for case in CASES + DILATED:
        x, index, expected = case.values(case.x), _inside_choice(case), np.zeros(case.y)
        for n, c, *q in np.ndindex(*case.y):
            place = dict(case.taps(tuple(q)))[int(index[(n, c, *q)])]
            expected[(n, c, *q)] = x[(n, c, *place)]
        yield Sample((x, index), case.attrs, expected, _with_index(build))


def _averages(case: Case) -> Iterator[tuple[tuple[Ints, ...], Array]]:
    """Yield what the divisor counts, and how much each input element adds to each window."""
    for counted in {case.padding, ((0, 0),) * len(case.kernel)}:
        weights = np.zeros((*case.y[2:], *case.x[2:]))
        for q in np.ndindex(*case.y[2:]):
            inside = [p for _, p in case.taps(q)]
            full = len(inside) if counted != case.padding else int(np.prod(case.kernel))
            for p in inside:
                weights[(*q, *p)] = 1 / full
        yield counted, weights


def avg_samples(build: Build) -> Iterable[Sample]:
    """Return the samples of the average, padding counted and not."""
    for case in CASES:
        x, rank = case.values(case.x), len(case.kernel)
        for counted, weights in _averages(case):
            expected = np.tensordot(x, weights, (range(2, 2 + rank), range(rank, 2 * rank)))
            yield Sample((x,), {**case.attrs, "counted": counted}, expected, build)


def avg_grad_samples(build: Build) -> Iterable[Sample]:
    """Return the samples of the average's adjoint."""
    for case in CASES:
        g, rank = case.values(case.y), len(case.kernel)
        for counted, weights in _averages(case):
            expected = np.tensordot(g, weights, (range(2, 2 + rank), range(rank)))
            kwargs = {**case.attrs, "counted": counted, "size": case.x[2:]}
            yield Sample((g,), kwargs, expected, build)


def max_errors() -> Iterable[ErrorSample]:
    """Return the mistakes that users make with max pooling."""
    # Deferred: the op's table entry refers to these samples.
    from graphc.ops.pooling import global_max_pool, max_pool2d

    x = np.ones((1, 2, 4, 4))
    yield ErrorSample(lambda: max_pool2d(x[0], 2), ShapeError, "wrong rank")
    yield ErrorSample(lambda: max_pool2d(x, 5), ShapeError, "larger than the padded input")
    yield ErrorSample(lambda: max_pool2d(x, 3, dilation=2), ShapeError, "larger than the padded input")
    yield ErrorSample(lambda: max_pool2d(x, 0), ArgumentError, "bad kernel")
    yield ErrorSample(lambda: max_pool2d(x, (2, 2, 2)), ArgumentError, "bad kernel")
    yield ErrorSample(lambda: max_pool2d(x, 2, stride=0), ArgumentError, "bad stride")
    yield ErrorSample(lambda: max_pool2d(x, 2, dilation=0), ArgumentError, "bad dilation")
    yield ErrorSample(lambda: max_pool2d(x, 2, padding=2), ArgumentError, "bad padding")
    yield ErrorSample(lambda: max_pool2d(x, 2, padding="full"), ArgumentError, "bad padding")
    yield ErrorSample(lambda: max_pool2d(x > 0, 2), DTypeError, "unsupported dtype")
    yield ErrorSample(lambda: global_max_pool(np.ones((2, 3))), ShapeError, "wrong rank")


def avg_errors() -> Iterable[ErrorSample]:
    """Return the mistakes that users make with average pooling."""
    # Deferred: the op's table entry refers to these samples.
    from graphc.ops.pooling import avg_pool2d, global_avg_pool

    x = np.ones((1, 2, 4, 4))
    yield ErrorSample(lambda: avg_pool2d(x[0], 2), ShapeError, "wrong rank")
    yield ErrorSample(lambda: avg_pool2d(x, 5), ShapeError, "larger than the padded input")
    yield ErrorSample(lambda: avg_pool2d(x, 2, padding=((0, 3), (0, 0))), ArgumentError, "bad padding")
    yield ErrorSample(lambda: global_avg_pool(np.ones((2, 3))), ShapeError, "wrong rank")
