"""Densities, entropies and divergences against their definitions, by mpmath."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose

import graphc as gx
from graphc import probability
from graphc.errors import ArgumentError, DTypeError


def normal(x, loc, scale):
    return mpmath.npdf(x, loc, scale)


def gamma(x, alpha, scale):
    return x ** (alpha - 1) * mpmath.exp(-x / scale) / (mpmath.gamma(alpha) * mpmath.mpf(scale) ** alpha)


def beta(x, a, b):
    return x ** (a - 1) * (1 - x) ** (b - 1) / mpmath.beta(a, b)


# density, its support, parameters, those of another distribution
CONTINUOUS = {
    "normal": (normal, [-30, -5, 0, 5, 30], (0.5, 1.5), (-1.0, 2.5)),
    "gamma": (gamma, [0, 1, 5, 20, 200], (2.5, 1.5), (4.0, 0.75)),
    "beta": (beta, [0, 0.5, 1], (2.5, 1.5), (4.0, 0.75)),
}


def function(name, kind):
    return getattr(probability, f"{name}_{kind}")


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_densities(name, dtype):
    density, _, parameters, _ = CONTINUOUS[name]
    x = np.array([[0.05], [0.4], [0.9]], dtype)
    found = gx.evaluate(function(name, "log_prob")(x, *(np.array([p, p + 1], dtype) for p in parameters)))
    shifted = [[p + k for p in parameters] for k in (0, 1)]
    expected = [[float(mpmath.log(density(v, *given))) for given in shifted] for v in x[:, 0].tolist()]
    assert found.dtype == dtype
    assert_allclose(found, expected, rtol=1e-5 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_entropies_and_divergences_are_integrals(name):
    density, support, p, q = CONTINUOUS[name]

    def mean_of(f):
        return float(mpmath.quad(lambda x: density(x, *p) * f(x), support))

    given = p[1:] if name == "normal" else p
    found = gx.evaluate(function(name, "entropy")(*given))
    assert_allclose(found, mean_of(lambda x: -mpmath.log(density(x, *p))), rtol=1e-7)
    found = gx.evaluate(function(name, "kl")(*p, *q))
    expected = mean_of(lambda x: mpmath.log(density(x, *p) / density(x, *q)))
    assert_allclose(found, expected, rtol=1e-7)
    assert gx.evaluate(function(name, "kl")(*p, *p)) == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_gradients(name):
    _, _, p, q = CONTINUOUS[name]
    first, second = ([gx.variable(np.array([v, v + 1])) for v in values] for values in (p, q))
    x = gx.variable(np.array([0.3, 0.6]))
    given = first[1:] if name == "normal" else first
    outputs = [
        function(name, "log_prob")(x, *first),
        function(name, "entropy")(*given),
        function(name, "kl")(*first, *second),
    ]
    gx.check_gradients(outputs, [x, *first, *second])
    slopes = [s for s in gx.grad(sum(y.sum() for y in outputs), [x, *first, *second])]
    gx.check_gradients(slopes, [x, *first, *second], rtol=1e-4, atol=1e-5)


def test_large_shapes_keep_their_places_in_float32():
    a = np.array([1e5, 3e6], np.float32)
    found = gx.evaluate([probability.gamma_log_prob(a, a), probability.beta_log_prob(np.float32(0.5), a, a)])
    with mpmath.workdps(40):
        exact = [
            [mpmath.log(gamma(mpmath.mpf(v), mpmath.mpf(v), mpmath.mpf(1))) for v in a.tolist()],
            [mpmath.log(beta(mpmath.mpf("0.5"), mpmath.mpf(v), mpmath.mpf(v))) for v in a.tolist()],
        ]
    assert_allclose(found, np.array(exact, np.float64), rtol=1e-6)


def test_edges_of_the_supports():
    assert gx.evaluate(probability.gamma_log_prob([0.0, 0.0], [1.0, 2.0])).tolist() == [0.0, -math.inf]
    found = gx.evaluate(probability.beta_log_prob([0.0, 1.0, 1.0], [1.0, 3.0, 2.0], [1.0, 1.0, 2.0]))
    assert_allclose(found, [0.0, math.log(3), -math.inf])


# -------------------------------------------------------------------- bernoulli
PROBABILITIES = np.array([0.0, 0.1, 0.5, 0.99, 1.0])


def test_bernoulli_by_probabilities():
    with np.errstate(divide="ignore"):
        expected = [np.log(PROBABILITIES), np.log(1 - PROBABILITIES)]
    found = gx.evaluate([probability.bernoulli_log_prob(x, probs=PROBABILITIES) for x in (True, 0)])
    assert_allclose(found, expected, atol=1e-15)
    p = PROBABILITIES[1:-1]
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    assert_allclose(
        gx.evaluate(probability.bernoulli_entropy(probs=PROBABILITIES)), [0, *entropy, 0], atol=1e-15
    )
    found = gx.evaluate(probability.bernoulli_kl(probs_p=PROBABILITIES, probs_q=0.25))
    whole = [-math.log(0.75), -math.log(0.25)]
    assert_allclose(found, [whole[0], *(p * np.log(p / 0.25) + (1 - p) * np.log((1 - p) / 0.75)), whole[1]])


def test_bernoulli_by_logits():
    logits = np.array([-50.0, -2.0, 0.0, 3.0, 700.0])
    with mpmath.workdps(400):
        p = [1 / (1 + mpmath.exp(-v)) for v in logits.tolist()]
        expected = [
            [mpmath.log(v) for v in p],
            [mpmath.log(1 - v) for v in p],
            [-v * mpmath.log(v) - (1 - v) * mpmath.log(1 - v) for v in p],
            [v * mpmath.log(2 * v) + (1 - v) * mpmath.log(2 * (1 - v)) for v in p],
        ]
    found = gx.evaluate(
        [
            probability.bernoulli_log_prob(1, logits),
            probability.bernoulli_log_prob(np.zeros(5, bool), logits),
            probability.bernoulli_entropy(logits),
            probability.bernoulli_kl(logits, 0.0),
        ]
    )
    assert_allclose(found, np.array(expected, np.float64), rtol=1e-12, atol=1e-15)


def test_bernoulli_gradients():
    logits, other = gx.variable(np.array([-1.0, 0.5])), gx.variable(np.array([0.3, -2.0]))
    p, q = gx.variable(np.array([0.2, 0.7])), gx.variable(np.array([0.6, 0.5]))
    x = np.array([1.0, 0.0])
    gx.check_gradients(
        [
            probability.bernoulli_log_prob(x, logits) + probability.bernoulli_log_prob(x, probs=p),
            probability.bernoulli_entropy(logits) + probability.bernoulli_entropy(probs=p),
            probability.bernoulli_kl(logits, other) + probability.bernoulli_kl(probs_p=p, probs_q=q),
        ],
        [logits, other, p, q],
    )


# ------------------------------------------------------------------ categorical
def test_categorical():
    rng = np.random.default_rng(0)
    logits, other = rng.normal(size=(2, 4, 3))
    p, q = (np.exp(z) / np.exp(z).sum(-1, keepdims=True) for z in (logits, other))
    classes = np.array([0, 2, 1, 1])
    found = gx.evaluate(
        [
            probability.categorical_log_prob(classes, logits),
            probability.categorical_entropy(logits),
            probability.categorical_kl(logits, other),
        ]
    )
    assert_allclose(found[0], np.log(p[np.arange(4), classes]))
    assert_allclose(found[1], -(p * np.log(p)).sum(-1))
    assert_allclose(found[2], (p * np.log(p / q)).sum(-1))
    table = gx.evaluate(probability.categorical_log_prob(np.arange(3)[:, None], logits))
    assert_allclose(table, np.log(p).T)
    a, b = gx.variable(logits), gx.variable(other)
    gx.check_gradients([probability.categorical_entropy(a), probability.categorical_kl(a, b)], [a, b])


def test_impossible_classes_have_no_part():
    logits = gx.variable(np.array([0.0, -np.inf, 0.0]))
    entropy = probability.categorical_entropy(logits)
    divergence = probability.categorical_kl(logits, np.zeros(3))
    assert_allclose(gx.evaluate([entropy, divergence]), [math.log(2), math.log(1.5)])


def test_samples_have_the_entropy():
    """The mean log-density of draws is minus the entropy: samplers and densities take the same parameters."""
    g, n = gx.random.Generator(3), (20_000,)
    pairs = [
        (probability.normal_log_prob(g.normal(n, 1.0, 2.0), 1.0, 2.0), probability.normal_entropy(2.0)),
        (probability.gamma_log_prob(g.gamma(0.7, 2.0, n), 0.7, 2.0), probability.gamma_entropy(0.7, 2.0)),
        (probability.beta_log_prob(g.beta(0.7, 2.0, n), 0.7, 2.0), probability.beta_entropy(0.7, 2.0)),
        (
            probability.bernoulli_log_prob(g.bernoulli(n, 0.3), probs=0.3),
            probability.bernoulli_entropy(probs=0.3),
        ),
        (
            probability.categorical_log_prob(g.categorical([0.0, 1.0, 2.0], n), [0.0, 1.0, 2.0]),
            probability.categorical_entropy([0.0, 1.0, 2.0]),
        ),
    ]
    for logarithms, entropy in gx.evaluate(pairs):
        assert abs(logarithms.mean() + entropy) < 4.5 * logarithms.std() / np.sqrt(20_000)


def test_bad_arguments():
    with pytest.raises(ArgumentError, match="bernoulli_log_prob: bad parameters"):
        probability.bernoulli_log_prob(1)
    with pytest.raises(ArgumentError, match="bernoulli_entropy: bad parameters"):
        probability.bernoulli_entropy(0.0, probs=0.5)
    with pytest.raises(ArgumentError, match="bernoulli_kl: bad parameters"):
        probability.bernoulli_kl(0.0)
    with pytest.raises(DTypeError, match="categorical_log_prob: unsupported dtype"):
        probability.categorical_log_prob(1.5, [0.0, 1.0])
