"""Optimizers against their formulas in plain NumPy, over ten steps."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import graphc as gx
from graphc.errors import ArgumentError, GradientError, GraphcError, GraphError
from graphc.optim.optimizer import trainable_variables

STEPS = 10


def run(updates):
    """Apply updates once, as a compiled program does: all reads before all writes."""
    targets = list(updates)
    for target, value in zip(targets, gx.evaluate([updates[t] for t in targets]), strict=True):
        target.assign(value)


# The formulas, one step each: (w, g, state, t) -> (w, state), with t from 1.
def sgd(w, g, s, t):
    return w - 0.1 * g, s


def momentum(w, g, v, t):
    v = 0.9 * v + g
    return w - 0.1 * v, v


def nesterov(w, g, v, t):
    v = 0.9 * v + g
    return w - 0.1 * (g + 0.9 * v), v


def adagrad(w, g, s, t):
    s = s + g**2
    return w - 0.1 * g / (np.sqrt(s) + 1e-10), s


def rmsprop(w, g, s, t):
    s = 0.99 * s + 0.01 * g**2
    return w - 0.1 * g / (np.sqrt(s) + 1e-8), s


def adam(w, g, s, t):
    m, v = (0, 0) if isinstance(s, float) else s
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    return w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8), (m, v)


def adamw(w, g, s, t):
    moved, s = adam(w * (1 - 0.1 * 0.05), g, s, t)
    return moved, s


CASES = [
    (lambda: gx.optim.SGD(0.1), sgd),
    (lambda: gx.optim.Momentum(0.1), momentum),
    (lambda: gx.optim.Nesterov(0.1), nesterov),
    (lambda: gx.optim.AdaGrad(0.1), adagrad),
    (lambda: gx.optim.RMSProp(0.1), rmsprop),
    (lambda: gx.optim.Adam(0.1), adam),
    (lambda: gx.optim.AdamW(0.1, weight_decay=0.05), adamw),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("make", "formula"), CASES, ids=lambda c: getattr(c, "__name__", ""))
def test_ten_steps_follow_the_formula(make, formula, dtype):
    start = np.array([[1.0, -2.0], [0.5, 3.0]])
    scale = np.array([[1.0, 0.3], [2.0, 0.1]])
    w = gx.variable(start.astype(dtype), name="w")
    optimizer = make()
    updates = optimizer.minimize((w * w * scale.astype(dtype)).sum())
    reference, state = start, 0.0
    for t in range(1, STEPS + 1):
        run(updates)
        reference, state = formula(reference, 2 * reference * scale, state, t)
        assert_allclose(w.value, reference, rtol=1e-12 if dtype == "float64" else 1e-4, atol=1e-6)
    assert all(v.dtype in (np.dtype(dtype), np.int64) for v in optimizer.variables)


def test_weight_decay_adds_to_the_gradient():
    w = gx.variable(np.array([1.0, -2.0]))
    updates = gx.optim.SGD(0.1, weight_decay=0.5).minimize((3 * w).sum())
    assert_allclose(gx.evaluate(updates[w]), [1 - 0.1 * 3.5, -2 - 0.1 * 2.0])


def test_updates_of_given_gradients():
    w = gx.variable(np.array([1.0, -2.0]))
    assert_allclose(gx.evaluate(gx.optim.SGD(1.0).updates({w: gx.constant([0.5, 0.5])})[w]), [0.5, -2.5])


# ------------------------------------------------------------------- variables
def test_default_variables_are_the_trainable_ones_on_differentiable_paths():
    w, frozen, fixed, index = (
        gx.variable(np.ones(2), "w"),
        gx.variable(np.ones(2), "frozen"),
        gx.variable(np.ones(2), "fixed", trainable=False),
        gx.variable(np.array([0, 1]), "index"),
    )
    loss = (w * gx.stop_gradient(frozen) * fixed * index.astype("float64")).sum()
    assert [v.name for v in trainable_variables(loss)] == ["w"]
    assert next(iter(gx.optim.SGD(0.1).minimize(loss))) is w


def test_explicit_variables():
    a, b = gx.variable(np.ones(2), "a"), gx.variable(np.ones(2), "b")
    assert [v.name for v in gx.optim.SGD(0.1).minimize((a * b).sum(), [b])] == ["b"]


def test_a_variable_outlives_its_handle():
    loss = (gx.variable(np.ones(2), "gone") ** 2).sum()
    (found,) = gx.optim.SGD(0.25).minimize(loss)
    assert found.name == "gone" and found.trainable


def test_state_is_shared_by_two_programs_of_one_optimizer():
    w = gx.variable(np.ones(2))
    adam = gx.optim.Adam(0.1)
    first, second = adam.minimize(w.sum()), adam.minimize((w * w).sum())
    assert {id(v) for v in first} == {id(v) for v in second}
    assert list(adam.named_variables()) == ["step", "0.m", "0.v"]


def test_join_refuses_two_values_for_one_variable():
    a, b = gx.variable(np.ones(2), "a"), gx.variable(np.ones(2), "b")
    sgd = gx.optim.SGD(0.1)
    left, right = sgd.minimize(a.sum()), sgd.minimize(b.sum())
    joined = left | right
    assert [v.name for v in joined] == ["a", "b"]
    with pytest.raises(GraphError, match="'a' is updated twice"):
        joined | gx.optim.Adam().minimize(a.sum())
    with pytest.raises(GraphError, match="'a' is updated twice"):
        joined |= gx.optim.Adam().minimize(a.sum())


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: gx.optim.SGD(-1.0), ArgumentError, "learning rate"),
        (lambda: gx.optim.SGD(gx.constant([1.0])), ArgumentError, "learning rate"),
        (lambda: gx.optim.Momentum(0.1, momentum=1.0), ArgumentError, "momentum"),
        (lambda: gx.optim.Adam(beta2=1.5), ArgumentError, "beta2"),
        (lambda: gx.optim.SGD(0.1).minimize(gx.constant(1.0)), ArgumentError, "nothing to update"),
        (
            lambda: gx.optim.SGD(0.1).minimize(gx.constant(1.0), [gx.constant(1.0)]),
            ArgumentError,
            "cannot update",
        ),
        (lambda: gx.optim.SGD(0.1).minimize(gx.variable(np.ones(3)) * 2), GradientError, "scalar"),
        (
            lambda: gx.optim.SGD(0.1).updates({gx.variable(np.ones(3)): gx.constant([1.0])}),
            ArgumentError,
            "gradient",
        ),
        (lambda: gx.optim.clip_by_norm([], 0.0), ArgumentError, "limit"),
        (lambda: gx.optim.cosine(0.1, 0), ArgumentError, "cosine"),
    ],
)
def test_bad_arguments(build, error, match):
    with pytest.raises(error, match=match) as caught:
        build()
    assert isinstance(caught.value, GraphcError)


def test_a_variable_listed_twice_is_refused():
    w = gx.variable(np.ones(2))
    with pytest.raises(ArgumentError, match="twice"):
        gx.optim.SGD(0.1).minimize(w.sum(), [w, w])


# -------------------------------------------------------------------- clipping
def test_clipping():
    a, b = np.array([3.0, -4.0]), np.array([[0.3]])
    tensors = [gx.constant(a), gx.constant(b)]
    value = gx.evaluate(gx.optim.clip_by_value(tensors, 1.0))
    assert_array_equal(value[0], [1, -1])
    each = gx.evaluate(gx.optim.clip_by_norm(tensors, 1.0))
    assert_allclose(each[0], a / 5)
    assert_array_equal(each[1], b)
    norm = np.sqrt(25.09)
    together = gx.evaluate(gx.optim.clip_by_global_norm(tensors, 1.0))
    assert_allclose(together[0], a / norm)
    assert_allclose(together[1], b / norm)
    assert gx.optim.clip_by_global_norm([], 1.0) == []


def test_clipping_of_zero_gradients_and_mixed_dtypes():
    zero, small = gx.constant(np.zeros(2, np.float32)), gx.constant(np.array([0.5]))
    clipped = gx.optim.clip_by_global_norm([zero, small], 1.0)
    assert [c.dtype for c in clipped] == [np.float32, np.float64]
    assert_array_equal(gx.evaluate(clipped[0]), [0, 0])
    assert_array_equal(gx.evaluate(gx.optim.clip_by_norm([zero], 1.0)[0]), [0, 0])


def test_optimizer_applies_its_limits():
    w = gx.variable(np.array([3.0, 4.0]))
    for options, expected in [
        ({"clip_value": 1.0}, [1, 1]),
        ({"clip_norm": 1.0}, [0.6, 0.8]),
        ({"clip_global_norm": 1.0}, [0.6, 0.8]),
        ({"clip_value": 1.0, "clip_norm": 1.0}, np.sqrt([0.5, 0.5])),
    ]:
        updates = gx.optim.SGD(1.0, **options).minimize((w * w).sum() / 2)
        assert_allclose(w.value - gx.evaluate(updates[w]), expected)


# ------------------------------------------------------------------- schedules
def at(schedule, *steps):
    return [float(gx.evaluate(schedule(gx.constant(t)))) for t in steps]


def test_schedules():
    optim = gx.optim
    assert at(optim.constant(0.3), 0, 9) == [0.3, 0.3]
    assert_allclose(at(optim.step_decay(1.0, 3), 0, 2, 3, 6), [1, 1, 0.1, 0.01])
    assert_allclose(at(optim.multistep(1.0, {4: 0.1, 2: 0.5}), 1, 2, 3, 4), [1, 0.5, 0.5, 0.05])
    assert_allclose(at(optim.exponential(2.0, 0.5, every=2), 0, 1, 2), [2, np.sqrt(2), 1])
    assert_allclose(at(optim.cosine(1.0, 4, final=0.2), 0, 2, 4, 9), [1.0, 0.6, 0.2, 0.2])
    assert_allclose(at(optim.warmup(optim.step_decay(1.0, 2), 2), 0, 1, 2, 3, 4), [0.5, 1, 1, 1, 0.1])
    cycle = at(optim.one_cycle(1.0, 10, rise=0.4, end=100.0), 0, 2, 4, 7, 10, 20)
    assert_allclose(cycle, [0.04, 0.52, 1.0, 0.5002, 0.0004, 0.0004])


def test_scheduled_rate_counts_steps():
    w = gx.variable(np.array([0.0], np.float32))
    updates = gx.optim.SGD(gx.optim.step_decay(1.0, 2, 0.5)).minimize(w.sum())
    seen = []
    for _ in range(5):
        run(updates)
        seen.append(float(w.value[0]))
    assert seen == [-1, -2, -2.5, -3, -3.25]


def test_rate_held_in_a_variable():
    rate, w = gx.variable(0.5, trainable=False), gx.variable(np.array([1.0], np.float32))
    updates = gx.optim.SGD(rate).minimize(w.sum())
    assert gx.evaluate(updates[w])[0] == 0.5
    rate.value = 0.25
    assert gx.evaluate(updates[w])[0] == 0.75


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: gx.optim.SGD("fast"), "optimizer: bad learning rate"),
        (lambda: gx.optim.Adam(beta1=None), "optimizer: bad beta1"),
        (lambda: gx.optim.SGD(0.1, clip_value="tight"), "optimizer: bad clip_value"),
        (lambda: gx.optim.SGD(0.1, clip_norm=0), "optimizer: bad clip_norm"),
        (lambda: gx.optim.SGD(0.1, clip_global_norm=-1.0), "optimizer: bad clip_global_norm"),
        (lambda: gx.optim.clip_by_norm([gx.constant([1.0])], "tight"), "clip_by_norm: bad limit"),
        (lambda: gx.optim.cosine(0.1, "long"), "cosine: bad length"),
    ],
)
def test_bad_options_are_refused_where_they_are_given(build, match):
    with pytest.raises(ArgumentError, match=match) as caught:
        build()
    assert "test_optim.py" in str(caught.value)


def test_options_may_be_numpy_numbers():
    w = gx.variable(np.array([3.0, 4.0]), name="w")
    for rate in (np.float32(0.5), gx.optim.warmup(np.float32(0.5), np.int64(1))):
        updates = gx.optim.SGD(rate, clip_norm=np.float64(1.0)).updates({w: gx.constant([30.0, 40.0])})
        assert_allclose(gx.evaluate(updates[w]), [2.7, 3.6])
