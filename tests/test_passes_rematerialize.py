"""Rematerialize: the same values in less memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from graphc.passes import FULL, Rematerialize
from hypothesis import HealthCheck, given, settings

import graphc as gx
from graphc.errors import ArgumentError
from graphc.ir import Graph, topological
from graphc.pipeline import Pipeline, Stage
from graphc.tensor import Tensor
from tests.lifetimes import peak_of
from tests.random_graphs import Program, random_programs

LAYERS, BATCH, WIDTH = 24, 512, 128
VALUE = BATCH * WIDTH * 4
_settings = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def _training(batch: Any = BATCH, optimizer: Any = None, **options: Any) -> gx.Program:
    """A step of a residual net."""
    x = gx.placeholder("x", (batch, WIDTH))
    h: Tensor = x
    weights = []
    for k in range(LAYERS):
        value = np.random.default_rng(k).normal(0, 0.05, (WIDTH, WIDTH)).astype("f4")
        weights.append(gx.variable(value, name=f"w{k}"))
        h = h + gx.tanh(h @ weights[-1])
    loss = gx.square(h).mean()
    updates = (optimizer or gx.optim.SGD(0.1)).minimize(loss, weights)
    return gx.compile(x, loss, updates=updates, **options)


def _run(step: gx.Program, count: int = 3) -> list[float]:
    point = np.random.default_rng(5).normal(size=(BATCH, WIDTH)).astype("f4")
    return [float(step(point)) for _ in range(count)]


def _stage(program: gx.Program) -> Stage:
    return next(s for s in program.stages if s.name == "rematerialize")


@pytest.fixture(scope="module")
def plain() -> tuple[int, list[float]]:
    step = _training()
    losses = _run(step)
    return peak_of(step), losses


@pytest.mark.parametrize("share", [0.75, 0.5, 0.4])
def test_a_budget_is_kept_and_no_loss_changes(plain: tuple[int, list[float]], share: float) -> None:
    before, losses = plain
    budget = int(before * share)
    step = _training(optimize=[*FULL, Rematerialize(budget)])
    # A kernel that stores fewer results may sum in another order.
    np.testing.assert_allclose(_run(step), losses, rtol=1e-5)
    assert peak_of(step) <= budget
    assert not _stage(step).declined
    assert len(step.memory.in_place) == LAYERS


def test_smaller_budgets_compute_more_again() -> None:
    counts = []
    for budget in (LAYERS * 2 * VALUE, LAYERS * 3 * VALUE // 2, LAYERS * VALUE):
        counts.append(len(_stage(_training(optimize=[*FULL, Rematerialize(budget)])).rewrites))
    assert 0 < counts[0] < counts[1] < counts[2] < LAYERS


def test_what_cannot_be_kept_is_said(plain: tuple[int, list[float]]) -> None:
    step = _training(optimize=[*FULL, Rematerialize(0)])
    (declined,) = _stage(step).declined
    assert "0 allowed" in declined.note and "live at one time" in declined.note
    np.testing.assert_allclose(_run(step), plain[1], rtol=1e-5)
    assert peak_of(step) < plain[0] / 2
    first = _stage(step).rewrites[0]
    assert first.rule == "value kept --> computed again" and "bytes less at the peak, costs" in first.note


def test_adam_and_named_sizes() -> None:
    losses = _run(_training(optimizer=gx.optim.Adam(1e-2)))
    budget = LAYERS * VALUE
    step = _training("n", gx.optim.Adam(1e-2), optimize=[*FULL, Rematerialize(budget, {"n": BATCH})])
    np.testing.assert_allclose(_run(step), losses, rtol=1e-4)
    assert peak_of(step, {"n": BATCH}) <= budget
    # Named sizes count as 32: without a word on the batch, a small part of the budget seems ample.
    assert not _stage(_training("n", optimize=[*FULL, Rematerialize(budget)])).rewrites


def test_a_graph_that_fits_is_left_alone() -> None:
    graph = _training(optimize=[*FULL]).graph
    assert Rematerialize(1 << 30)(graph) is graph


def test_a_second_application_changes_nothing() -> None:
    once = Rematerialize(LAYERS * VALUE)(_training(optimize=[*FULL]).stages[-1].graph)
    assert Rematerialize(LAYERS * VALUE)(once) is once


def test_shared_values_loops_and_checks_stay() -> None:
    """What is returned, loops and users' functions are never computed again."""
    seen = []
    traced = gx.custom_op(
        "traced", lambda x: x, lambda x: seen.append(1) or np.tanh(x), lambda g, y, x: [g * x]
    )
    x = gx.placeholder("x", (64, 64), "float64")
    a = traced(gx.exp(x))
    b = gx.scan(lambda c, _: (gx.sin(c), None), a, None, length=3)[0]
    c = gx.exp(b @ np.ones((64, 64)))
    last = gx.debug.check_finite((c @ c).sum())
    outputs = [c, gx.grad(last, x), last]
    program = gx.compile(x, outputs, optimize=[*FULL, Rematerialize(0)])
    point = np.random.default_rng(0).normal(size=(64, 64)) / 100
    found = program(point)
    assert len(seen) == 1
    for got, wanted in zip(found, gx.evaluate(outputs, {x: point}), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9)


def test_copies_stand_right_before_their_use() -> None:
    graph = Rematerialize(LAYERS * VALUE)(_training(optimize=[*FULL]).stages[-1].graph)
    barriers = [n for n in graph.nodes if n.op.name == "barrier"]
    assert barriers
    for node in barriers:
        waits = {n for n in topological([node.inputs[1]]) if n.op.name in ("fused", "matmul")}
        # At least the whole forward pass.
        assert len(waits) >= LAYERS


@given(program=random_programs(max_steps=20))
@_settings
def test_random_programs_keep_every_value(program: Program) -> None:
    before = Pipeline(FULL).run(program.graph)[-1].graph
    after: Graph = Pipeline([Rematerialize(0)]).run(before)[-1].graph
    for got, wanted in zip(program.run(after), program.run(before), strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("budget", [-1, 0.5, True, "1GB"])
def test_a_budget_is_a_number_of_bytes(budget: Any) -> None:
    with pytest.raises(ArgumentError, match="Rematerialize: bad budget") as caught:
        Rematerialize(budget)
    assert len(str(caught.value).splitlines()) == 3
