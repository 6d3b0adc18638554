"""Samplers: their distributions, the gradients of their parameters, their streams."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import graphc as gx
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ops.gamma_slope import gamma_slope
from graphc.ops.random_words import random_words
from graphc.random import Generator

COUNT = 30_000
# Two-sample Kolmogorov-Smirnov: exceeded once in 100,000 draws.
LIMIT = 2.47 * np.sqrt(2 / COUNT)
_NP = np.random.default_rng(2024)
_WEIGHTS = np.array([0.1, 0.2, 0.3, 0.4])


def inside(low, high):
    """Return standard normal numbers between bounds, by rejection of uniform ones."""
    found = np.empty(0)
    top = np.exp(-0.5 * np.clip(0.0, low, high) ** 2)
    while found.size < COUNT:
        x = _NP.uniform(low, high, COUNT)
        found = np.concatenate([found, x[_NP.uniform(0, top, COUNT) < np.exp(-0.5 * x * x)]])
    return found[:COUNT]


# name: (how graphc draws, how NumPy does)
SAMPLERS = {
    "uniform": (lambda g, n: g.uniform(n, -2, 6), lambda: _NP.uniform(-2, 6, COUNT)),
    "normal": (lambda g, n: g.normal(n, 2, 3), lambda: _NP.normal(2, 3, COUNT)),
    "normal_f64": (lambda g, n: g.normal(n, dtype="float64"), lambda: _NP.normal(size=COUNT)),
    "truncated": (lambda g, n: g.truncated_normal(n, -1, 2), lambda: inside(-1, 2)),
    "truncated_right": (lambda g, n: g.truncated_normal(n, 8, 9), lambda: inside(8, 9)),
    "truncated_left": (
        lambda g, n: g.truncated_normal(n, -30, -29, dtype="float64"),
        lambda: inside(-30, -29),
    ),
    "exponential": (lambda g, n: g.exponential(n, 2.0), lambda: _NP.exponential(2.0, COUNT)),
    "gumbel": (lambda g, n: g.gumbel(n, 1.0, 2.0), lambda: _NP.gumbel(1.0, 2.0, COUNT)),
    "laplace": (lambda g, n: g.laplace(n, 1.0, 2.0), lambda: _NP.laplace(1.0, 2.0, COUNT)),
    "gamma_small": (lambda g, n: g.gamma(0.3, 2.0, n), lambda: _NP.gamma(0.3, 2.0, COUNT)),
    "gamma_one": (lambda g, n: g.gamma(1.0, shape=n, dtype="float64"), lambda: _NP.gamma(1.0, size=COUNT)),
    "gamma_large": (lambda g, n: g.gamma(40.0, 0.5, n), lambda: _NP.gamma(40.0, 0.5, COUNT)),
    "beta": (lambda g, n: g.beta(0.5, 2.0, n), lambda: _NP.beta(0.5, 2.0, COUNT)),
    "dirichlet": (
        lambda g, n: g.dirichlet(np.array([1.0, 2.0, 3.0]), (*n, 3))[:, 1],
        lambda: _NP.dirichlet([1.0, 2.0, 3.0], COUNT)[:, 1],
    ),
    "bernoulli": (lambda g, n: g.bernoulli(n, 0.3), lambda: _NP.random(COUNT) < 0.3),
    "categorical": (
        lambda g, n: g.categorical(np.log(_WEIGHTS), n),
        lambda: _NP.choice(4, COUNT, p=_WEIGHTS),
    ),
    "poisson_small": (lambda g, n: g.poisson(0.7, n), lambda: _NP.poisson(0.7, COUNT)),
    "poisson_near": (lambda g, n: g.poisson(9.9, n), lambda: _NP.poisson(9.9, COUNT)),
    "poisson_beyond": (lambda g, n: g.poisson(10.0, n), lambda: _NP.poisson(10.0, COUNT)),
    "poisson_large": (lambda g, n: g.poisson(1e4, n), lambda: _NP.poisson(1e4, COUNT)),
    "randint": (lambda g, n: g.randint(-3, 4, n), lambda: _NP.integers(-3, 4, COUNT)),
    "randint_wide": (lambda g, n: g.randint(0, 3 * 2**61, n), lambda: _NP.integers(0, 3 * 2**61, COUNT)),
    "choice": (
        lambda g, n: g.choice(np.array([1.0, 2.0, 5.0, 7.0]), n, p=_WEIGHTS),
        lambda: _NP.choice([1.0, 2.0, 5.0, 7.0], COUNT, p=_WEIGHTS),
    ),
    "choice_even": (lambda g, n: g.choice(6, n), lambda: _NP.choice(6, COUNT)),
}


@pytest.fixture(scope="module")
def generator():
    return Generator(17)


@pytest.fixture(scope="module")
def outputs(generator):
    return {name: draw(generator, (COUNT,)) for name, (draw, _) in SAMPLERS.items()}


@pytest.fixture(scope="module")
def interpreted(outputs):
    return dict(zip(outputs, gx.evaluate(list(outputs.values())), strict=True))


def distance(a, b):
    """Return the largest difference of two empirical distribution functions."""
    points = np.concatenate([a, b])
    below = [np.searchsorted(np.sort(x), points, side="right") / x.size for x in (a, b)]
    return np.abs(below[0] - below[1]).max()


@pytest.mark.parametrize("name", SAMPLERS)
def test_distribution(name, interpreted):
    found, expected = interpreted[name].astype(np.float64), SAMPLERS[name][1]().astype(np.float64)
    assert np.isfinite(found).all()
    assert distance(found, expected) < LIMIT
    # Moments see tails that the distance above does not.
    error = np.sqrt((found.var() + expected.var()) / COUNT)
    assert abs(found.mean() - expected.mean()) <= 4.5 * error
    spread = [np.abs(x - expected.mean()) ** 2 for x in (found, expected)]
    error = np.sqrt((spread[0].var() + spread[1].var()) / COUNT)
    assert abs(spread[0].mean() - spread[1].mean()) <= 4.5 * error


@pytest.mark.parametrize("level", ["none", "full"])
def test_compiled_draws_are_the_interpreters(level, generator, outputs, interpreted):
    generator.seed(17)
    found = gx.compile([], outputs, optimize=level)()
    assert generator.state.value.tolist() == [17, 1]
    for name, expected in interpreted.items():
        if expected.dtype.kind != "f":
            assert_array_equal(found[name], expected, err_msg=name)
            continue
        scale = np.abs(expected).max()
        eps = np.finfo(expected.dtype).eps
        assert_allclose(found[name], expected, rtol=64 * eps, atol=4 * scale * eps, err_msg=name)


# --------------------------------------------------------------------- shapes
def test_parameters_broadcast_to_the_shape():
    g = Generator(1)
    mean = gx.placeholder("mean", ("n", 1), "float64")
    assert g.normal(None, mean, np.ones(3)).shape == (mean.shape[0], 3)
    drawn = g.normal((4, 2), np.array([0.0, 100.0]), 0.1)
    assert drawn.dtype == np.float64
    value = gx.evaluate(drawn)
    assert value.shape == (4, 2) and (np.abs(value - [0, 100]) < 1).all()
    assert g.gamma(np.ones((3, 1), np.float32), shape=(3, 5)).type.shape == (3, 5)
    assert g.poisson(np.array([1.0, 100.0])).shape == (2,)
    assert g.randint(np.array([0, 10]), 20, (5, 2)).shape == (5, 2)
    assert g.categorical(np.zeros((3, 7)), (4, 3)).shape == (4, 3)
    low = gx.evaluate(g.randint(np.array([0, 10]), np.array([1, 11]), (5, 2), dtype="int32"))
    assert low.dtype == np.int32 and (low == [0, 10]).all()


def test_symbolic_sizes():
    x = gx.placeholder("x", ("n",))
    g = Generator(1)
    order = g.permutation("n")
    outputs = [g.shuffle(x), order, g.gamma(2.0, shape=("n",)) + x]
    program = gx.compile(x, outputs)
    for n in (0, 1, 9):
        shuffled, positions, _ = program(np.arange(n, dtype=np.float32))
        assert_array_equal(np.sort(shuffled), np.arange(n))
        assert_array_equal(np.sort(positions), np.arange(n))


def test_permutations_are_unordered():
    order = gx.evaluate(Generator(3).permutation(COUNT))
    assert_array_equal(np.sort(order), np.arange(COUNT))
    rises = (np.diff(order) > 0).sum()
    assert abs(np.corrcoef(order, np.arange(COUNT))[0, 1]) < 4.5 / np.sqrt(COUNT)
    assert abs(rises - COUNT / 2) < 4.5 * np.sqrt(COUNT / 12)


def test_choice_without_replacement():
    g = Generator(3)
    drawn = gx.evaluate([g.choice(20, (20,), replace=False), g.choice(5, replace=False)])
    assert_array_equal(np.sort(drawn[0]), np.arange(20))
    assert 0 <= drawn[1] < 5
    p = np.array([0.0, 0.5, 0.0, 0.5])
    with np.errstate(divide="ignore"):
        for k in range(5):
            assert set(gx.evaluate(Generator(k).choice(4, (2,), replace=False, p=p)).tolist()) == {1, 3}


@pytest.mark.parametrize(("size", "regions"), [(25, 16), (10, 10), (10, 1), (32, 22), (7, 3)])
def test_pooling_boundaries(size, regions):
    g = Generator(0)
    seen = set()
    for _ in range(5):
        edges = gx.evaluate(g.pooling_boundaries(size, regions))
        assert edges[0] == 0 and edges[-1] == size
        assert set(np.diff(edges)) <= {size // regions, -(-size // regions)}
        seen.add(tuple(edges))
    assert len(seen) > 1 or size % regions == 0


def test_tails_of_the_normal_distribution():
    """The smallest uniform numbers are far apart in float32, unless all bits are used."""
    values = gx.evaluate(Generator(0).normal((2_000_000,)))
    expected = [2_000_000 * float(mpmath.erfc(k / mpmath.sqrt(2))) for k in (4, 4.5, 5)]
    found = [(np.abs(values) > k).sum() for k in (4, 4.5, 5)]
    assert all(abs(f - e) < 4.5 * np.sqrt(e) + 1 for f, e in zip(found, expected, strict=True))
    assert (values > 0).mean() == pytest.approx(0.5, abs=0.002)


# ------------------------------------------------------------------- gradients
def test_gradients_of_location_and_scale():
    g = Generator(5)
    loc, scale = gx.variable(np.array(1.5)), gx.variable(np.array(0.7))
    for draw in (g.normal, g.gumbel, g.laplace):
        y = draw((50,), loc, scale)
        value, by_loc, by_scale = gx.evaluate([y, *gx.grad(y.sum(), [loc, scale])])
        assert by_loc == pytest.approx(50)
        assert by_scale == pytest.approx(((value - 1.5) / 0.7).sum())
    y = g.uniform((50,), loc, 2 * loc)
    assert gx.evaluate(gx.grad(y.sum(), loc)) == pytest.approx(gx.evaluate(y).sum() / 1.5)


def test_gradients_of_truncation_equal_finite_differences():
    low, high = gx.variable(np.array(-0.5)), gx.variable(np.array(1.5))
    y = Generator(5).truncated_normal((20,), low, high, 1.0, 2.0, dtype="float64")
    gx.check_gradients([y], [low, high])


def test_gamma_slope_equals_differences_of_the_quantile_function():
    rng = np.random.default_rng(0)
    shape = np.concatenate([[1.0, 1.0, 2.0, 1.5], 10 ** rng.uniform(0, 2, 6)])
    x = np.concatenate([[1e-6, 30.0, 1e-3, 0.9], rng.gamma(shape[4:])])
    found = gx.evaluate(gamma_slope(gx.constant(shape), gx.constant(x)))
    with mpmath.workdps(40):
        for a, z, slope in zip(shape, x, found, strict=True):
            a, z = mpmath.mpf(a), mpmath.mpf(z)
            by_shape = mpmath.diff(lambda a, z=z: mpmath.gammainc(a, 0, z, regularized=True), a)
            density = mpmath.exp((a - 1) * mpmath.log(z) - z - mpmath.loggamma(a))
            assert slope == pytest.approx(float(-by_shape / density), rel=1e-7)


def test_second_derivatives_of_gamma_slope():
    shape, x = gx.variable(np.array([1.2, 3.0, 40.0])), gx.variable(np.array([0.3, 5.0, 41.0]))
    gx.check_gradients([gamma_slope(shape, x)], [shape, x], rtol=1e-5)


@pytest.mark.parametrize("alpha", [0.4, 1.0, 7.0])
def test_gamma_gradient_is_that_of_the_expectations(alpha):
    """The slopes of E[x] = a, E[x**2] = a*(a + 1) and E[log(x)] = digamma(a)."""
    a = gx.variable(np.full(40_000, alpha))
    x = Generator(8).gamma(a)
    exact = (1.0, 2 * alpha + 1, float(mpmath.polygamma(1, alpha)))
    found = gx.evaluate([gx.grad(y.sum(), a) for y in (x, x * x, gx.log(x))])
    for slopes, expected in zip(found, exact, strict=True):
        assert abs(slopes.mean() - expected) < 5 * slopes.std() / 200


def test_beta_gradient_is_that_of_the_mean():
    a = gx.variable(np.full(40_000, 0.8))
    b = gx.variable(np.full(40_000, 2.0))
    by_a, by_b = gx.evaluate(gx.grad(Generator(2).beta(a, b).sum(), [a, b]))
    assert abs(by_a.mean() - 2.0 / 2.8**2) < 5 * by_a.std() / 200
    assert abs(by_b.mean() + 0.8 / 2.8**2) < 5 * by_b.std() / 200


def test_gumbel_softmax():
    logits = gx.variable(np.log(_WEIGHTS))
    soft = Generator(1).gumbel_softmax(logits * np.ones((5000, 1)), 0.5)
    hard = Generator(1).gumbel_softmax(logits * np.ones((5000, 1)), 0.5, hard=True)
    weights = gx.constant(np.arange(4.0))
    found = gx.evaluate([soft, hard, *(gx.grad((y * weights).sum(), logits) for y in (soft, hard))])
    assert_allclose(found[0].sum(-1), 1)
    assert_array_equal(found[1].argmax(-1), found[0].argmax(-1))
    assert_allclose(np.sort(found[1], -1), [[0, 0, 0, 1]] * 5000, atol=1e-12)
    assert_allclose(found[1].mean(0), _WEIGHTS, atol=0.03)
    assert_allclose(found[2], found[3])
    assert np.abs(found[2]).min() > 0


# --------------------------------------------------------------------- streams
def test_words_are_the_same_for_any_number_of_threads_and_any_fusion():
    g = Generator(-9)
    bits = random_words(g.key(), (300, 7))
    outputs = [*bits, bits[0] + bits[1], g.poisson(20.0, (300,)), g.randint(0, 10**12, (300,))]
    expected = gx.evaluate(outputs)
    threads = gx.get_num_threads()
    try:
        for count in (1, 2, 3):
            gx.set_num_threads(count)
            for level in ("none", "full"):
                g.seed(-9)
                for found, wanted in zip(gx.compile([], outputs, optimize=level)(), expected, strict=True):
                    assert_array_equal(found, wanted)
    finally:
        gx.set_num_threads(threads)


def test_a_program_continues_its_stream_and_replays_it():
    g = Generator(4)
    program = gx.compile([], [g.normal((3,)), g.poisson(5.0, (3,))])
    first = program()
    saved = g.state.value.copy()
    later = [program(), program()]
    assert not np.array_equal(first[0], later[0][0]) and not np.array_equal(later[0][0], later[1][0])
    g.state.assign(saved)
    for again, before in zip((program(), program()), later, strict=True):
        assert_array_equal(again[0], before[0])
        assert_array_equal(again[1], before[1])


def test_split_gives_independent_generators():
    parent = Generator(4)
    one, two = parent.split()
    again = Generator(4).split()
    other = parent.split(1)
    states = [g.state.value.tolist() for g in (one, two, *other)]
    assert [g.state.value.tolist() for g in again] == states[:2]
    assert len({s for s, _ in states}) == 3
    draws = gx.evaluate([g.uniform((100,)) for g in (parent, one, two, *other)])
    assert np.unique(np.concatenate(draws)).size == 400
    assert abs(np.corrcoef(draws)[np.triu_indices(4, 1)]).max() < 0.4


def test_every_iteration_of_a_loop_draws_anew():
    g = Generator(6)

    def step(total, _):
        noise = g.normal((4,))
        _, inner = gx.scan(lambda c, _: (c, g.uniform((2,))), 0.0, length=3)
        return total + noise, (noise, inner)

    total, (noise, inner) = gx.scan(step, np.zeros(4, np.float32), length=5)
    outside = g.uniform((4,))
    summed, values, nested, rest = gx.evaluate([total, noise, inner, outside])
    assert np.unique(values).size == 20
    assert np.unique(nested).size == 30
    assert not np.intersect1d(nested, rest).size
    assert_allclose(summed, values.sum(0), rtol=1e-5)
    program = gx.compile([], [noise, inner])
    for found, expected in zip(program(), (values, nested), strict=True):
        assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert g.state.value.tolist() == [6, 1]
    assert not np.intersect1d(program()[1], nested).size


# ---------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda g: g.gamma(0.0), ArgumentError, "gamma: bad alpha"),
        (lambda g: g.beta(1.0, -1), ArgumentError, "beta: bad beta"),
        (lambda g: g.poisson(-1.0), ArgumentError, "poisson: bad rate"),
        (lambda g: g.randint(3, 3), ArgumentError, "randint: bad bounds"),
        (lambda g: g.randint(0.5, 3), DTypeError, "randint: a bound"),
        (lambda g: g.randint(0, 3, dtype="float32"), DTypeError, "randint: unsupported dtype"),
        (lambda g: g.normal((2,), np.zeros(3)), ShapeError, "normal: a parameter"),
        (lambda g: g.normal((2,), dtype="int32"), DTypeError, "normal: unsupported dtype"),
        (lambda g: g.categorical(1.0), ShapeError, "categorical: logits"),
        (lambda g: g.gumbel_softmax([1.0, 2.0], 0.0), ArgumentError, "bad temperature"),
        (lambda g: g.choice(3, (4,), replace=False), ShapeError, "too many"),
        (lambda g: g.choice(3, (2, 1), replace=False), ShapeError, "too many"),
        (lambda g: g.choice(3, (2,), p=[0.5, 0.5]), ShapeError, "bad weights"),
        (lambda g: g.choice(1.5), ShapeError, "values have no axes"),
        (lambda g: g.pooling_boundaries(5, 6), ArgumentError, "bad number of regions"),
        (lambda g: g.split(0), ArgumentError, "split: bad count"),
        (lambda g: g.permutation(-1), ArgumentError, "bad size"),
    ],
)
def test_bad_arguments(build, error, match):
    with pytest.raises(error, match=match):
        build(Generator(0))
