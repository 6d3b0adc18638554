"""Passes over loops and branches: pictures, what they must leave alone, and that they keep results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graphc.passes import (
    FULL,
    HoistLoopInputs,
    HoistLoopOutputs,
    HoistLoopSums,
    JoinScans,
    KeepLast,
    MergeLoops,
    PruneBodies,
)

import graphc as gx
from graphc.interpreter import run_graph
from graphc.ir import Graph, Node
from graphc.pipeline import Pass, Pipeline, pass_name
from graphc.printing import graph_to_text
from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]
rng = np.random.default_rng(3)
F = "float64"


def _leaves() -> list[Tensor]:
    return [
        gx.placeholder("xs", ("t", 2, 3), F),
        gx.placeholder("h", (2, 4), F),
        gx.placeholder("w", (3, 4), F),
    ]


def _merge(xs: Tensor, h: Tensor, w: Tensor) -> list[Tensor]:
    last, ys = gx.scan(lambda c, x: (gx.sin(c + x @ w), c.sum()), h, xs)
    return [last, gx.grad(ys.sum(), h)]


def _prune(xs: Tensor, h: Tensor, w: Tensor) -> list[Tensor]:
    two = gx.constant(2.0)

    def body(c: Any, x: Any) -> Any:
        used, same, idle = c
        return (used * two + same + x[0].sum(), same, idle * used), (x[1], used, used)

    (used, same, _), (_, first, second) = gx.scan(body, (h, w[:2], h), (xs, xs))
    taken = gx.switch(1, [lambda: h, lambda: h + 1])
    chosen = gx.cond(h.sum() > 0, lambda a, b: (a, b), lambda a, b: (b, a), h, h * 3)[0]
    return [used, same, first, second, taken, chosen]


def _inputs(xs: Tensor, h: Tensor, w: Tensor) -> list[Tensor]:
    return list(gx.scan(lambda c, x: (c * gx.relu(x @ w) + (w @ w.T).sum(), x @ w), h, xs, reverse=True))


def _sums(xs: Tensor, h: Tensor, w: Tensor) -> list[Tensor]:
    def body(c: Any, x: Tensor) -> Any:
        state, products, total, outer = c
        state = gx.sin(state + x.sum())
        contracted = gx.einsum("bi,bj->ij", x, state)
        return (state, products + x.T @ state, total + state.sum(axis=0), outer + contracted), state

    (_, *sums), ys = gx.scan(body, (h, w, gx.zeros((4,), F), w * 2), xs, reverse=True)
    return [*sums, ys]


def _outputs(xs: Tensor, h: Tensor, w: Tensor) -> list[Tensor]:
    return list(gx.scan(lambda c, x: (gx.sin(c * x.sum()), gx.relu(c @ w.T + x)), h, xs))


def _both_ways(xs: Tensor, h: Tensor, w: Tensor) -> list[Tensor]:
    def step(c: Tensor, x: Tensor) -> Any:
        c = gx.sin(c @ w.T @ w + x @ w)
        return c, c

    forwards, backwards = gx.scan(step, h, xs)[1], gx.scan(step, h, xs, reverse=True)[1]
    # The third needs the first: it stays apart.
    last, _ = gx.scan(lambda c, y: (c @ w.T @ w * y, None), h, forwards)
    return [gx.concat([forwards, backwards], axis=2), last]


def _last(xs: Tensor, h: Tensor, w: Tensor) -> list[Tensor]:
    last, (first, second) = gx.scan(lambda c, x: (gx.sin(c + x.sum()), (c * 2, x + 1)), h, xs)
    _, backwards = gx.scan(lambda c, x: (c * x.sum(), c), h, xs, reverse=True)
    return [last, first[-1], second, backwards[0, :, 1:]]


PICTURES: dict[Pass, Callable[[Tensor, Tensor, Tensor], list[Tensor]]] = {
    MergeLoops(): _merge,
    PruneBodies(): _prune,
    HoistLoopInputs(): _inputs,
    HoistLoopSums(): _sums,
    HoistLoopOutputs(): _outputs,
    JoinScans(): _both_ways,
    KeepLast(): _last,
}


def _graph(build: Callable[..., list[Tensor]], leaves: list[Tensor]) -> Graph:
    return Graph(tuple(t.node for t in leaves), tuple(t.node for t in build(*leaves)))


@pytest.mark.parametrize("step", PICTURES, ids=pass_name)
def test_picture(step: Pass, golden: Callable[[str, str], None]) -> None:
    graph = _graph(PICTURES[step], _leaves())
    stage = Pipeline([step]).run(graph)[-1]
    rules = "\n".join(f"{count} x {rule}" for rule, count in stage.counts().items())
    before, after = (graph_to_text(g, places=False) for g in (graph, stage.graph))
    golden(pass_name(step), f"{before}\n\n{rules}\n\n{after}")


@pytest.mark.parametrize("step", PICTURES, ids=pass_name)
def test_once_is_enough(step: Pass) -> None:
    after = Pipeline([step]).run(_graph(PICTURES[step], _leaves()))[-1].graph
    assert step(after) is after


@pytest.mark.parametrize("step", PICTURES, ids=pass_name)
def test_nothing_to_do_returns_the_same_object(step: Pass) -> None:
    def build(xs: Tensor, h: Tensor, w: Tensor) -> list[Tensor]:
        # Products of a loop that may end early stay inside: they may never be computed.
        more = gx.while_loop(lambda c: c[1] < 3, lambda c: (c[0] + xs[0] @ w, c[1] + 1), (h, 0), 4)
        return [more[0], *gx.scan(lambda c, x: (gx.sin(c * x.sum()), c), h, xs)]

    graph = _graph(build, _leaves())
    assert step(graph) is graph


@pytest.mark.parametrize("build", PICTURES.values())
def test_results_stay(build: Callable[..., list[Tensor]]) -> None:
    graph = _graph(build, _leaves())
    for t in (1, 4) if build is _last else (0, 1, 4):
        feeds: dict[Node, Array] = {n: rng.normal(size=n.type.concrete({"t": t})) for n in graph.inputs}
        want, _ = run_graph(graph, feeds)
        for steps in (*([step] for step in PICTURES), FULL):
            got, _ = run_graph(Pipeline(steps).run(graph)[-1].graph, feeds)
            for a, b in zip(got, want, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12, strict=True)


def test_an_lstm_multiplies_only_by_its_state_in_the_loop() -> None:
    xs, w, u = (
        gx.placeholder("xs", ("t", 2, 3), F),
        gx.variable(np.ones((3, 8))),
        gx.variable(np.ones((2, 8))),
    )

    def cell(c: Any, x: Tensor) -> Any:
        h, s = c
        z = x @ w + h @ u
        s = gx.sigmoid(z[:, :2]) * s + gx.sigmoid(z[:, 2:4]) * gx.tanh(z[:, 4:6])
        h = gx.sigmoid(z[:, 6:]) * gx.tanh(s)
        return (h, s), h

    zero = np.zeros((2, 2))
    _, hs = gx.scan(cell, (zero, zero), xs)
    program = gx.compile(xs, gx.grad(hs.sum(), [w, u]))
    loops = [n for n in program.graph.nodes if n.op.name == "loop"]
    products = [m.op.name for n in loops for b in n.subgraphs for m in _members(b)].count("matmul")
    assert (len(loops), products) == (2, 2)
    # Nothing but the state's own cotangents is carried back: sums are taken outside.
    assert [n.attrs["carries"] for n in loops] == [2, 2]


def test_what_is_computed_again_for_lack_of_memory_stays_inside() -> None:
    t, h, w = 256, gx.placeholder("h", (4, 16), F), gx.placeholder("w", (16, 16), F)
    xs = gx.placeholder("xs", (t, 4, 16), F)
    arrays = [rng.normal(size=n.shape) / 4 for n in (xs, h, w)]

    def arena(residuals: Any) -> int:
        def body(h: Tensor, x: Tensor) -> tuple[Tensor, None]:
            return gx.tanh(gx.tanh(gx.tanh(h @ w + x) @ w) @ w), None

        last, _ = gx.scan(body, h, xs, residuals=residuals)
        output = gx.grad(last.sum(), w)
        program = gx.compile([xs, h, w], output)
        expected = gx.evaluate(output, dict(zip((xs, h, w), arrays, strict=True)))
        np.testing.assert_allclose(program(*arrays), expected, rtol=1e-9, atol=1e-12)
        return program.memory.arena

    states = t * 4 * 16 * 8
    assert arena("all") > 3 * states
    # The states themselves; nothing of all iterations besides.
    assert arena("none") < 1.3 * states
    assert arena(16) < 0.5 * states


def _members(graph: Graph) -> list[Node]:
    """Return a graph's nodes, those that were fused one by one."""
    return [m for n in graph.nodes for m in ([x for g in n.subgraphs for x in g.nodes] or [n])]
