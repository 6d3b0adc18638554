"""Checkpoints: the same values and gradients, computed twice and kept for a shorter time."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from graphc.passes import Canonicalize, MergeEqual

import graphc as gx
from graphc.checkpointing import barrier
from graphc.errors import ArgumentError
from graphc.ir import Graph, topological

RNG = np.random.default_rng(3)


def _counts(program: gx.Program, name: str = "prune") -> Counter[str]:
    graph = next(s.graph for s in reversed(program.stages) if s.name == name)
    return Counter(n.op.name for n in graph.nodes)


def _net(wrap: Callable[..., object], layers: int = 6) -> tuple[gx.Tensor, gx.Tensor, list[gx.Variable]]:
    rng = np.random.default_rng(0)
    x = gx.placeholder("x", ("n", 8), "float64")
    weights = [gx.variable(rng.normal(size=(8, 8)) / 3, name=f"w{k}") for k in range(layers)]
    h: gx.Tensor = x
    for k in range(0, layers, 2):

        def block(t: gx.Tensor, k: int = k) -> gx.Tensor:
            return t + gx.tanh(gx.tanh(t @ weights[k]) @ weights[k + 1])

        h = wrap(block)(h)
    return x, (h * h).mean(), weights


# ---------------------------------------------------------------- values
def test_gradients_do_not_change_and_compile() -> None:
    point = RNG.normal(size=(5, 8))
    (x, plain, weights), (x2, saved, weights2) = _net(lambda f: f), _net(gx.checkpoint)
    wanted = gx.evaluate([plain, *gx.grad(plain, [x, *weights])], {x: point})
    outputs = [saved, *gx.grad(saved, [x2, *weights2])]
    for found in (gx.evaluate(outputs, {x2: point}), gx.compile(x2, outputs)(point)):
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_the_inside_is_computed_twice_and_no_more() -> None:
    (x, plain, weights), (x2, saved, weights2) = _net(lambda f: f), _net(gx.checkpoint)
    once = _counts(gx.compile(x, gx.grad(plain, weights)))["tanh"]
    twice = _counts(gx.compile(x2, gx.grad(saved, weights2)))["tanh"]
    assert once == 6
    # The last result of the last block is needed by the loss at once: only its argument comes again.
    assert twice == 2 * once
    assert _counts(gx.compile(x2, saved))["tanh"] == once


def test_structures_constants_integers_and_keywords() -> None:
    w = gx.variable(RNG.normal(size=4), name="w")

    @gx.checkpoint
    def block(parts: dict[str, gx.Tensor], *, power: int) -> object:
        a = gx.exp(parts["a"] * w)
        return {"y": a**power, "z": (parts["k"], gx.argmax(a), a.sum() + 1.0)}

    k = gx.constant([1, 2])
    found = block({"a": w + 1, "k": k}, power=2)
    assert list(found) == ["y", "z"] and found["z"][1].dtype == np.int64
    value = found["y"].sum() + found["z"][2] * 3
    gx.check_gradients(value, [w])
    np.testing.assert_array_equal(gx.evaluate(found["z"][0]), [1, 2])


def test_optimizers_see_through_a_first_result_that_is_an_integer() -> None:
    w = gx.variable(RNG.normal(size=4), name="w")
    k, y = gx.checkpoint(lambda t: (gx.argmax(t), gx.exp(t)))(w)
    assert list(gx.optim.SGD(0.1).minimize((y * k.astype("float64")).sum())) == [w]


def test_nested_checkpoints() -> None:
    x = gx.variable(RNG.normal(size=3), name="x")
    inner = gx.checkpoint(lambda t: gx.sin(gx.exp(t)))
    outer = gx.checkpoint(lambda t: inner(inner(t)) * t)
    y = outer(x).sum()
    gx.check_gradients(y, [x])
    first = gx.grad(y, x)
    gx.check_gradients(first, [x], rtol=1e-4)
    np.testing.assert_allclose(gx.compile([], first)(), gx.evaluate(first), rtol=1e-11)


def test_forward_mode_passes_through() -> None:
    x = gx.variable(RNG.normal(size=3), name="x")

    def fn(t: gx.Tensor) -> gx.Tensor:
        return gx.sin(gx.exp(t))

    found, plain = gx.jvp(gx.checkpoint(fn)(x), x, np.ones(3)), gx.jvp(fn(x), x, np.ones(3))
    np.testing.assert_array_equal(*gx.evaluate([found, plain]))
    assert "barrier" not in {n.op.name for n in topological([found.node])}


def test_many_rows_keep_the_checkpoint() -> None:
    x = gx.variable(RNG.normal(size=(4, 3)), name="x")
    block = gx.checkpoint(lambda t: (gx.sin(gx.exp(t)), gx.constant(1.0) * t.sum()))
    y, total = gx.vectorize(lambda row: block(row))(x)
    gx.check_gradients([y, total], [x])
    slope = gx.grad(y.sum(), x)
    assert "barrier" in {n.op.name for n in topological([slope.node])}
    each = gx.vectorize(lambda row: gx.grad(block(row)[0].sum(), row))(x)
    np.testing.assert_allclose(*gx.evaluate([each, slope]), rtol=1e-12)


def test_variables_made_inside_are_trained() -> None:
    x = gx.placeholder("x", ("n", 3), "float64")
    made = []

    @gx.checkpoint
    def block(t: gx.Tensor) -> gx.Tensor:
        made.append(gx.variable(np.ones((3, 2)), name="inner"))
        return gx.tanh(t @ made[0])

    loss = block(x).sum()
    gx.check_gradients(loss, made, {x: RNG.normal(size=(4, 3))})
    step = gx.compile(x, loss, updates=gx.optim.SGD(0.1).minimize(loss))
    before = made[0].value
    step(np.ones((4, 3)))
    assert (made[0].value != before).all()


def test_updates_inside_happen_once_and_draws_are_the_same() -> None:
    x = gx.placeholder("x", ("n", 6), "float64")
    norm = gx.nn.BatchNorm(6, dtype="float64")
    generator = gx.random.Generator(seed=1)
    drop = gx.nn.Dropout(0.5, generator)
    block = gx.checkpoint(lambda t: gx.tanh(drop(norm(t, training=True), training=True)))
    loss = (block(x) * np.arange(6.0)).sum()
    trained = [v for v in norm.variables if v.trainable]
    step = gx.compile(x, [loss, *gx.grad(loss, [x, *trained])])
    point = RNG.normal(size=(7, 6))
    state = [v.value for v in (*norm.variables, generator.state)]
    wanted = gx.evaluate([loss, *gx.grad(loss, [x, *trained])], {x: point})
    found = step(point)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    moved = [(v.value != s).any() for v, s in zip((*norm.variables, generator.state), state, strict=True)]
    assert sum(moved) == 3, "both running statistics and the generator"


def test_a_loop_inside_and_a_checkpoint_in_a_loop() -> None:
    x = gx.variable(RNG.normal(size=3), name="x")

    def looped(t: gx.Tensor) -> gx.Tensor:
        return gx.scan(lambda c, _: (gx.sin(c * t), c), t, None, length=4)[0]

    def stepped(t: gx.Tensor) -> gx.Tensor:
        body = gx.checkpoint(lambda c: gx.sin(gx.exp(c) * t))
        return gx.scan(lambda c, _: (body(c), c), t, None, length=3)[0]

    gx.check_gradients(gx.checkpoint(looped)(x).sum(), [x])
    gx.check_gradients(stepped(x).sum(), [x])


def test_what_depends_on_nothing_is_left_alone() -> None:
    assert gx.evaluate(gx.checkpoint(lambda: gx.constant(2.0) * 3)()) == 6.0
    assert gx.checkpoint(lambda: ())() == ()


def test_only_functions_can_be_checkpoints() -> None:
    with pytest.raises(ArgumentError, match="checkpoint: not a function") as caught:
        gx.checkpoint(gx.constant(1.0))
    assert len(str(caught.value).splitlines()) == 3


# ---------------------------------------------------------------- the barrier
def test_no_pass_looks_through_a_barrier() -> None:
    x = gx.placeholder("x", (3,), "float64")
    y = gx.exp(x) + gx.exp(barrier(x, gx.sin(x)))
    graph = Graph((x.node,), (y.node,))
    assert Canonicalize()(graph) is graph and MergeEqual()(graph) is graph
    program = gx.compile(x, y)
    assert len(program.kernels) == 2, "the second exponential must wait for the sine"
    point = RNG.normal(size=3)
    np.testing.assert_allclose(program(point), 2 * np.exp(point), rtol=1e-14)


def test_a_barrier_costs_no_memory_and_no_kernel() -> None:
    x, t = gx.placeholder("x", (3,), "float64"), gx.placeholder("t", (3,), "float64")
    assert len(gx.compile([x, t], gx.exp(barrier(gx.sin(x), t))).kernels) == 2


def test_each_copy_waits_for_the_backward_pass_to_reach_it() -> None:
    x, loss, weights = _net(gx.checkpoint)
    order = gx.compile(x, gx.grad(loss, weights)).graph.nodes
    kinds = [n.op.name for n in order if n.op.name in ("fused", "matmul", "barrier")]
    starts = [k for k, kind in enumerate(kinds) if kind == "barrier" and kinds[k - 1] != "barrier"]
    # Three blocks: each is computed again after the gradient of the one behind it.
    assert len(starts) == 3
    assert all(b - a > 4 for a, b in itertools.pairwise(starts))
