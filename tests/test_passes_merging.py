"""Passes that merge matrix products and put windows together again: pictures, values, estimates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from graphc.passes import (
    FULL,
    FoldConstants,
    JoinWindows,
    MergeEqual,
    MergeSiblingMatmuls,
    StoreTransposes,
    SumMatmuls,
    SumReductions,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gx
from graphc import ops
from graphc.interpreter import run_graph
from graphc.ir import Graph, Node
from graphc.pipeline import Pass, Pipeline, pass_name
from graphc.printing import graph_to_text
from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]
STEPS = 4


def _draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype("float32")


def _weight(name: str, *shape: int) -> Tensor:
    return gx.variable(_draw(*shape, seed=len(name)), name=name)


def _count(graph: Graph, op: str) -> int:
    return sum(n.op.name == op for n in graph.nodes)


# -------------------------------------------------------------------- pictures
def _projections(x: Tensor) -> list[Tensor]:
    wide = [gx.constant(_draw(64, n), name=f"w{n}") for n in (8, 24)]
    return [ops.sum(x @ w, axis=0) for w in wide]


def _over_time(x: Tensor) -> list[Tensor]:
    w = _weight("w", 64, 32)
    return [ops.tanh(x[:, t] @ w) for t in range(STEPS)]


def _weight_gradient(x: Tensor) -> list[Tensor]:
    w = _weight("w", 64, 512)
    gradients = [ops.broadcast_to(ops.exp(x[:, t, :1]), (16, 512)) for t in range(STEPS)]
    products = [ops.matmul(x[:, t], g, transpose_a=True) for t, g in enumerate(gradients)]
    return [products[0] + products[1] + (w + products[2]) + products[3]]


def _windows(x: Tensor) -> list[Tensor]:
    steps = [x[:, t] for t in range(STEPS)]
    gradient = gx.grad(ops.sum(ops.exp(ops.stack(steps[1:3]))), x)
    return [ops.concat(steps, axis=0), ops.stack(steps[::-1], axis=1), gradient]


def _transposes(x: Tensor) -> list[Tensor]:
    w = _weight("w", 1024, 64)
    return [ops.matmul(f(x[0]), w, transpose_b=True) for f in (ops.exp, ops.tanh, ops.sin, ops.cos, ops.relu)]


def _reductions(x: Tensor) -> list[Tensor]:
    steps = [ops.exp(x[:, t]) for t in range(STEPS)]
    return [ops.concat(steps), sum((ops.sum(s, axis=0) for s in steps[1:]), ops.sum(steps[0], axis=0))]


PICTURES: dict[str, tuple[Pass, Callable[[Tensor], list[Tensor]]]] = {
    "merge_sibling_matmuls_wide": (MergeSiblingMatmuls(), _projections),
    "merge_sibling_matmuls_tall": (MergeSiblingMatmuls(), _over_time),
    "sum_matmuls": (SumMatmuls(), _weight_gradient),
    "join_windows": (JoinWindows(), _windows),
    "sum_reductions": (SumReductions(), _reductions),
    "store_transposes": (StoreTransposes(), _transposes),
}
PASSES: tuple[Pass, ...] = (
    MergeSiblingMatmuls(),
    SumMatmuls(),
    SumReductions(),
    JoinWindows(),
    StoreTransposes(),
)


@pytest.mark.parametrize("name", PICTURES)
def test_picture(name: str, golden: Callable[[str, str], None]) -> None:
    step, build = PICTURES[name]
    x = gx.placeholder("x", (16, STEPS, 64))
    graph = Graph((x.node,), tuple(y.node for y in build(x)))
    stage = Pipeline([step]).run(graph)[-1]
    rules = "\n".join(f"{count} x {rule}" for rule, count in stage.counts().items())
    before, after = (graph_to_text(g, places=False) for g in (graph, stage.graph))
    golden(name, f"{before}\n\n{rules}\n\n{after}")


@pytest.mark.parametrize("step", PASSES, ids=pass_name)
def test_nothing_to_do_returns_the_same_object(step: Pass) -> None:
    x, y, w = gx.placeholder("x", ("n", 3)), gx.placeholder("y", ("m", 3)), _weight("w", 3, 3)
    state = ops.tanh(ops.tanh(x @ w) @ w)
    other = ops.concat([y[1:2], x[0:1], y[0:1]]) + ops.matmul(y[0:1], w, transpose_b=True)
    graph = Graph((x.node, y.node), (state.node, other.node, (x @ y.T).node))
    assert step(graph) is graph


# ----------------------------------------------------------------- random graphs
Pick = Callable[[Sequence[Any]], Any]


def _recurrent(rng: np.random.Generator, pick: Pick) -> tuple[Graph, dict[Node, Array]]:
    """Return the training graph of a small recurrent network with random wiring."""
    steps, rows, width = pick((1, 2, 5)), pick((1, 3)), pick((2, 4))
    axis = pick((0, 1))
    named = "n" if pick((False, True)) else rows
    x = gx.placeholder("x", (steps, named, 3) if axis == 0 else (named, steps, 3), "float64")
    make = gx.constant if pick((False, True)) else lambda a: gx.variable(a)
    gates = [make(rng.normal(size=(3, width))) for _ in range(pick((1, 3)))]
    hidden = [gx.variable(rng.normal(size=(width, width))) for _ in gates]
    bias = gx.variable(rng.normal(size=width))
    order = list(range(steps)) if pick((False, True)) else list(range(steps))[::-1]
    state = ops.zeros((named, width), dtype="float64")
    states = []
    for t in order:
        step = x[t] if axis == 0 else x[:, t]
        parts = [
            step @ w + ops.matmul(state, h, transpose_b=flip)
            for w, h, flip in zip(gates, hidden, (False, True, False), strict=False)
        ]
        state = ops.tanh((sum(parts[1:], parts[0]) if pick((False, True)) else parts[0] * parts[-1]) + bias)
        states.append(state)
    joined = ops.stack(states, axis=axis)
    loss = ops.sum(ops.tanh(ops.matmul(joined, hidden[0], transpose_b=pick((False, True)))))
    wrt = [x, bias, *hidden, *(g for g in gates if g.node.op.name == "variable")]
    outputs = [loss, *gx.grad(loss, wrt)]
    feeds = {x.node: rng.normal(size=x.type.concrete({"n": rows}))}
    return Graph((x.node,), tuple(o.node for o in outputs)), feeds


@pytest.mark.parametrize("step", [*PASSES, FULL], ids=[*map(pass_name, PASSES), "full"])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_values_of_random_networks_stay(step: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph, feeds = _recurrent(rng, lambda options: options[int(rng.integers(len(options)))])
    steps = step if isinstance(step, tuple) else (step,)
    after = Pipeline(steps).run(graph)[-1].graph
    for got, wanted in zip(run_graph(after, feeds)[0], run_graph(graph, feeds)[0], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("step", PASSES, ids=pass_name)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_a_second_application_changes_nothing(step: Pass, seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph, _ = _recurrent(rng, lambda options: options[int(rng.integers(len(options)))])
    once = step(graph)
    assert step(once) is once


# ------------------------------------------------------------------ whole programs
def _unrolled(steps: int, rows: Any = "n") -> tuple[list[Tensor], list[Tensor]]:
    """Return inputs and outputs of a small LSTM language model's loss and gradients."""
    words = gx.placeholder("words", (rows, steps), "int64")
    table, w, u = _weight("table", 20, 32), _weight("w", 32, 4 * 64), _weight("u", 64, 4 * 64) * 0.2
    embedded = ops.take(table, words, axis=0)
    h = c = ops.zeros((rows if isinstance(rows, int) else words.shape[0], 64), dtype="float32")
    states = []
    for t in range(steps):
        i, f, g, o = ops.split(embedded[:, t] @ w + h @ u, 4, axis=1)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(c)
        states.append(h)
    loss = ops.mean(ops.stack(states, axis=1) ** 2)
    return [words], [loss, *gx.grad(loss, [table, w, u])]


def test_an_unrolled_network_has_as_many_different_kernels_as_a_short_one() -> None:
    texts = []
    for steps in (6, 9):
        inputs, outputs = _unrolled(steps)
        program = gx.compile(inputs, outputs)
        texts.append({k.text.code for k in program.kernels if k.text is not None})
        for n in (1, 4):
            words = np.random.default_rng(n).integers(0, 20, (n, steps))
            for got, wanted in zip(program(words), gx.evaluate(outputs, {inputs[0]: words}), strict=True):
                np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=1e-6)
    assert len(texts[0]) == len(texts[1])


def test_each_weight_of_an_unrolled_network_has_one_gradient_product() -> None:
    inputs, outputs = _unrolled(6, rows=8)
    traced = Graph((inputs[0].node,), tuple(o.node for o in outputs))
    stages = {s.name: s for s in Pipeline(FULL).run(traced)}
    graph = stages["store_transposes"].graph
    # The input's product and its gradient once; one product per step forwards, the first included,
    # and backwards, but for the last; the gradients of both weights.
    assert _count(graph, "matmul") == 2 + 6 + 5 + 2
    assert _count(graph, "place") == 0
    notes = [r.note for r in stages["sum_matmuls"].rewrites]
    assert notes and all(note.startswith("6 products, saves") for note in notes)


def test_what_does_not_pay_is_declined_with_the_estimate() -> None:
    x, y = gx.placeholder("x", (256, 8)), gx.placeholder("y", (256, 8))
    a, b = _weight("a", 8, 2), _weight("b", 8, 2)
    graph = Graph((x.node, y.node), ((x @ a + y @ b).node,))
    stage = Pipeline([SumMatmuls()]).run(graph)[-1]
    assert stage.graph is graph and not stage.changed
    (declined,) = stage.declined
    assert declined.note.startswith("2 products, saves") and str(declined) in str(stage)


def test_constants_are_joined_for_nothing() -> None:
    x = gx.placeholder("x", ("n", 256))
    constants = [gx.constant(_draw(256, 256, seed=k)) for k in range(3)]
    variables = [gx.variable(a.node.payload.array, name=f"w{k}") for k, a in enumerate(constants)]
    for weights, products in ((constants, 1), (variables, 3)):
        q, k, v = (ops.softmax(x @ w, axis=-1) for w in weights)
        graph = Graph((x.node,), tuple(ops.sum(t, axis=-1).node for t in (q * k, k * v, q * v)))
        after = MergeSiblingMatmuls()(graph)
        assert _count(after, "matmul") == products


def test_products_that_wait_for_each_other_stay_apart() -> None:
    w = _weight("w", 256, 256)

    def layer(t: Tensor) -> Tensor:
        return ops.matmul(t, w, transpose_b=True)

    x = gx.placeholder("x", (6, 4, 256))
    # Two chains: the heads are independent of each other, as are the second links.
    heads = [layer(x[k]) for k in range(2)]
    links = [layer(ops.tanh(h)) for h in heads]
    crossed = layer(links[0] + heads[1])
    graph = Graph((x.node,), (links[0].node, links[1].node, crossed.node))
    after = MergeSiblingMatmuls()(graph)
    assert _count(after, "matmul") == 3
    fed = {x.node: _draw(6, 4, 256)}
    for got, wanted in zip(run_graph(after, fed)[0], run_graph(graph, fed)[0], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-3)


# ------------------------------------------------------------------- constants
def test_constants_merge_by_content_and_are_read_whole_only_where_they_look_alike() -> None:
    x, values = gx.placeholder("x", (100,)), _draw(100)
    inside = values.copy()
    inside[50] += 1
    chosen = [values, values.copy(), inside, values + 1, values.astype("float64"), values.reshape(10, 10)]
    equal, twin, alike, *others = constants = [gx.constant(a) for a in chosen]
    graph = Graph((x.node,), tuple((gx.sum(x) + gx.sum(c)).node for c in constants))
    merged = MergeEqual()(graph)
    assert len(graph.nodes) - len(merged.nodes) == 3 + len(constants) - 1
    found = {n for n in merged.nodes if n.op.name == "constant"}
    assert found == {c.node for c in constants if c is not twin}
    assert all("digest" in vars(c.node.payload) for c in (equal, twin, alike))
    assert not any("digest" in vars(c.node.payload) for c in others)


@pytest.mark.parametrize(
    "value", [np.float32(2), np.zeros((3, 0), "float32"), np.arange(12.0).reshape(3, 4).T]
)
def test_constants_of_any_layout_merge(value: Array) -> None:
    pair = gx.constant(value), gx.constant(value.copy())
    merged = MergeEqual()(Graph((), tuple(c.node for c in pair)))
    assert len(merged.nodes) == 1


def test_folded_constants_own_their_memory_in_order() -> None:
    value = gx.constant(_draw(3, 4))
    results = [gx.permute_dims(value, (1, 0)), gx.reshape(value, (12,)), value[1:2], value * 2]
    folded = FoldConstants()(Graph((), tuple(r.node for r in results)))
    for node, result in zip(folded.outputs, results, strict=True):
        array = node.payload.array
        assert array.flags.owndata and array.flags.c_contiguous and not array.flags.writeable
        np.testing.assert_array_equal(array, gx.evaluate(result))
