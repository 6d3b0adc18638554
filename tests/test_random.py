"""Random draws: the cipher's published answers, independence of draws, dropout."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import graphc as gx
from graphc.errors import ArgumentError, DTypeError
from graphc.ir import topological
from graphc.ops.random_words import random_uniform
from graphc.ops.threefry import random_key, threefry

# Random123, tests/kat_vectors: counter, key, result of threefry2x32 with 20 rounds.
KNOWN_ANSWERS = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


def words(*values):
    return tuple(np.array([v], np.uint32) for v in values)


def advance(*outputs):
    """Do what a compiled program does with the updates that its values carry."""
    nodes = [n for n in topological([t.node for t in outputs]) if n.op.name == "with_update"]
    new = {gx.Variable.of(n.inputs[1]): gx.Tensor(n.inputs[2]) for n in nodes}
    values = gx.evaluate(list(outputs))
    for state, value in zip(new, gx.evaluate(list(new.values())), strict=True):
        state.assign(value)
    return values, len({n.inputs[2] for n in nodes})


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN_ANSWERS)
def test_threefry_gives_the_published_answers(counter, key, result):
    assert [int(w[0]) for w in threefry(words(*key), words(*counter))] == list(result)


def scalar_threefry(key, counter):
    """The cipher on Python integers, word by word, as the paper's table 1 states it."""
    mask = 0xFFFFFFFF
    schedule = (*key, key[0] ^ key[1] ^ 0x1BD11BDA)
    x, y = (counter[0] + schedule[0]) & mask, (counter[1] + schedule[1]) & mask
    for i in range(20):
        r = (13, 15, 26, 6, 17, 29, 16, 24)[i % 8]
        x = (x + y) & mask
        y = ((y << r | y >> (32 - r)) & mask) ^ x
        if i % 4 == 3:
            s = i // 4 + 1
            x, y = (x + schedule[s % 3]) & mask, (y + schedule[(s + 1) % 3] + s) & mask
    return x, y


@pytest.mark.parametrize(
    ("seed", "counter", "stream"), [(0, 0, 0), (-1, 2**40 + 3, 7), (2**62, -5, 2**35 + 1)]
)
def test_a_draw_is_the_cipher_of_seed_counter_stream_and_position(seed, counter, stream):
    def split(value):
        return value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF

    key = scalar_threefry(scalar_threefry(split(seed), split(counter)), split(stream))
    drawn = random_key(np.array([seed, counter]), [stream % 2**32, stream >> 32])
    assert gx.evaluate(drawn).view(np.uint32).tolist() == list(key)
    for dtype in ("float32", "float64"):
        expected = []
        for position in range(6):
            a, b = scalar_threefry(key, (position, 0))
            exact = (a >> 8) / 2**24 if dtype == "float32" else ((a >> 5) * 2**26 + (b >> 6)) / 2**53
            expected.append(exact)
        assert gx.evaluate(random_uniform(drawn, (2, 3), dtype)).ravel().tolist() == expected


def test_uniform_is_uniform_and_below_one():
    values = gx.evaluate(gx.random.Generator(3).uniform((100_000,), dtype="float64"))
    counts, _ = np.histogram(values, 20, (0, 1))
    assert counts.sum() == values.size
    # Chi-squared with 19 degrees of freedom exceeds 43.8 once in a thousand.
    assert ((counts - 5000) ** 2 / 5000).sum() < 43.8


def test_uniform_bounds():
    values = gx.evaluate(gx.random.Generator(3).uniform((1000,), -2.0, 6.0))
    assert values.dtype == np.float32
    assert -2 <= values.min() < -1.9 and 5.9 < values.max() <= 6


def test_normal_has_the_moments_of_a_normal():
    values = gx.evaluate(gx.random.Generator(5).normal((100_000,), mean=2.0, std=3.0, dtype="float64"))
    standard = (values - 2) / 3
    assert np.isfinite(standard).all()
    assert abs(standard.mean()) < 0.02 and abs(standard.var() - 1) < 0.02
    assert abs((standard**3).mean()) < 0.05 and abs((standard**4).mean() - 3) < 0.1


def test_bernoulli_has_its_probability():
    assert abs(gx.evaluate(gx.random.Generator(5).bernoulli((100_000,), 0.3)).mean() - 0.3) < 0.01


def test_draws_differ_and_repeat_from_the_same_generator_seed():
    one, two = gx.random.Generator(9), gx.random.Generator(9)
    a, b = one.uniform((50,)), one.uniform((50,))
    again = two.uniform((50,))
    assert not np.intersect1d(gx.evaluate(a), gx.evaluate(b)).size
    assert_array_equal(gx.evaluate(a), gx.evaluate(again))


def test_state_advances_once_for_all_draws_of_a_program():
    generator = gx.random.Generator(9)
    a, b = generator.uniform((4,)), generator.normal((3,))
    first, updates = advance(a, b)
    second, _ = advance(a, b)
    assert updates == 1 and generator.state.value.tolist() == [9, 2]
    assert not np.intersect1d(first[0], second[0]).size
    generator.seed(9)
    assert_array_equal(advance(a, b)[0][1], first[1])


def test_default_generator_restarts_with_seed():
    t = gx.random.uniform((5,))
    gx.random.seed(123)
    first, _ = advance(t)
    other, _ = advance(t)
    gx.random.seed(123)
    assert_array_equal(advance(t)[0][0], first[0])
    assert not np.array_equal(first[0], other[0])
    gx.random.seed(0)


def test_symbolic_shapes():
    x = gx.placeholder("x", ("n",))
    t = gx.random.uniform(("n", 2)) + 0 * x.reshape((-1, 1))
    for n in (0, 1, 5):
        assert gx.evaluate(t, {x: np.zeros(n, np.float32)}).shape == (n, 2)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: gx.random.seed(1.5), "bad seed"),
        (lambda: gx.random.seed(2**64), "bad seed"),
        (lambda: gx.random.uniform((-1,)), "bad size"),
        (lambda: gx.random.bernoulli((2,), 1.5), "bad probability"),
        (lambda: gx.dropout(np.ones(2), 1.0), "bad rate"),
        (lambda: gx.drop_connect(np.ones(2), -0.1), "bad rate"),
        (lambda: gx.nn.Dropout(2), "bad rate"),
    ],
)
def test_bad_arguments(build, match):
    with pytest.raises(ArgumentError, match=match):
        build()


def test_random_dtype_must_be_floating():
    with pytest.raises(DTypeError, match="uniform: unsupported dtype"):
        gx.random.uniform((2,), dtype="int32")


# --------------------------------------------------------------------- dropout
def test_dropout_drops_and_scales():
    x = np.random.default_rng(0).normal(size=(200, 50)) + 5
    y = gx.evaluate(gx.dropout(x, 0.2, generator=gx.random.Generator(1)))
    kept = y != 0
    assert abs(kept.mean() - 0.8) < 0.02
    assert_allclose(y[kept], x[kept] / 0.8, rtol=1e-15)


def test_dropout_gradient_uses_the_same_mask():
    x = gx.variable(np.ones((6, 7), np.float32))
    y = gx.dropout(x, 0.5, generator=gx.random.Generator(2))
    value, slope = gx.evaluate([y, gx.grad(y.sum(), x)])
    assert_array_equal(value, slope)
    assert set(np.unique(slope)) == {0.0, 2.0}


@pytest.mark.parametrize("drop", [gx.dropout, gx.drop_connect])
def test_dropout_is_the_identity_outside_training_and_at_rate_zero(drop):
    x = gx.variable(np.ones(3))
    assert drop(x, 0.5, training=False) is x
    assert drop(x, 0.0) is x


def test_dropout_refuses_integers():
    with pytest.raises(DTypeError, match="dropout"):
        gx.dropout(np.arange(3))


# -------------------------------------------------------------------- compiled
def test_compiled_draws_are_the_interpreters_bit_for_bit():
    generator = gx.random.Generator(-4)
    x = gx.placeholder("x", ("n",))
    outputs = [
        generator.uniform((5, 3)),
        generator.uniform(("n",)) + 0 * x,
        generator.uniform((7,), dtype="float64"),
        generator.bernoulli((20,), 0.3),
    ]
    program = gx.compile(x, outputs)
    for n in (4, 0, 1):
        feed = np.zeros(n, np.float32)
        for expected, found in zip(gx.evaluate(outputs, {x: feed}), program(feed), strict=True):
            assert_array_equal(found, expected)
    assert generator.state.value.tolist() == [-4, 3]
