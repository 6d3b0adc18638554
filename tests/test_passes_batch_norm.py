"""Batch norm with fixed statistics: folded into the layer before it, or one kernel with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from graphc.passes import FULL, FoldBatchNorm
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gx
from graphc import ops
from graphc.interpreter import run_graph
from graphc.ir import Graph, Node
from graphc.pipeline import Pipeline
from graphc.printing import graph_to_text
from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]
Make = Callable[[Array], Tensor]


def _draw(*shape: int) -> Array:
    return np.random.default_rng(shape).normal(size=shape).astype("float32")


def _statistics(channels: int, make: Make) -> list[Tensor]:
    mean, gamma, beta = (make(_draw(k, channels)[-1]) for k in (1, 2, 3))
    return [mean, make(np.abs(_draw(4, channels)[-1]) + 0.5), gamma, beta]


def _normalized(x: Tensor, make: Make) -> Tensor:
    """Return a convolution with a bias and the batch norm behind it."""
    w, bias = make(_draw(6, 3, 3, 3)), make(_draw(6, 1, 1))
    return ops.batch_norm(ops.conv2d(x, w, padding=1) + bias, *_statistics(6, make))


def _has_batch_norm(graph: Graph) -> bool:
    return any(n.op.name == "batch_norm" for n in graph.nodes)


def test_picture(golden: Callable[[str, str], None]) -> None:
    x = gx.placeholder("x", ("n", 3, 8, 8))
    graph = Graph((x.node,), (_normalized(x, gx.constant).node,))
    stage = Pipeline([FoldBatchNorm()]).run(graph)[-1]
    rules = "\n".join(f"{count} x {rule}" for rule, count in stage.counts().items())
    before, after = (graph_to_text(g, places=False) for g in (graph, stage.graph))
    golden("fold_batch_norm", f"{before}\n\n{rules}\n\n{after}")


def test_constants_leave_nothing_but_a_convolution_and_a_shift() -> None:
    x = gx.placeholder("x", ("n", 3, 8, 8))
    program = gx.compile([x], ops.relu(_normalized(x, gx.constant)))
    (kernel,) = program.kernels
    assert [n.op.name for n in kernel.nodes] == ["conv", "add", "relu"]


def _keeping(graph: Graph) -> None:
    assert FoldBatchNorm(ratio=0)(graph) is graph


def test_statistics_of_the_batch_are_not_folded() -> None:
    x, w = gx.placeholder("x", (4, 3, 8, 8)), gx.variable(_draw(6, 3, 3, 3))
    y = ops.conv2d(x, w)
    by_hand = ops.batch_norm(y, ops.mean(y, axis=(0, 2, 3)), ops.var(y, axis=(0, 2, 3)))
    level = ops.mean(x) + ops.zeros(6, dtype="float32")
    of_input = ops.batch_norm(ops.conv2d(x, w, stride=2), level, ops.ones(6, dtype="float32"))
    layer = gx.nn.BatchNorm(6)(y, training=True)
    _keeping(Graph((x.node,), (by_hand.node, of_input.node, layer.node)))


def test_a_layer_whose_result_is_read_elsewhere_is_kept() -> None:
    x = gx.placeholder("x", (4, 3, 8, 8))
    y = ops.conv2d(x, gx.variable(_draw(6, 3, 3, 3)))
    _keeping(Graph((x.node,), (ops.batch_norm(y, *_statistics(6, gx.variable)).node, y.node)))
    # The gradient of the scale needs what is normalized.
    z = ops.conv2d(x, gx.variable(_draw(6, 3, 3, 3)))
    statistics = _statistics(6, gx.variable)
    loss = ops.sum(ops.batch_norm(z, *statistics) ** 2)
    _keeping(Graph((x.node,), (loss.node, gx.grad(loss, statistics[2]).node)))


def test_what_lies_on_another_axis_is_kept() -> None:
    x, w = gx.placeholder("x", (4, 6, 6, 6)), gx.variable(_draw(6, 6, 3, 3))
    spatial = ops.batch_norm(ops.conv2d(x, w, padding=1), *_statistics(6, gx.variable), axis=2)
    shifted = ops.batch_norm(
        ops.conv2d(x, w, padding=1) + gx.variable(_draw(6)), *_statistics(6, gx.variable)
    )
    rows = ops.batch_norm(x @ gx.variable(_draw(6, 6)), *_statistics(6, gx.variable), axis=2)
    _keeping(Graph((x.node,), (spatial.node, shifted.node, rows.node)))


def test_variables_are_scaled_per_call_only_where_the_layer_is_far_larger() -> None:
    for size, folds in ((4, False), (128, True)):
        x = gx.placeholder("x", (8, 4, size, size))
        y = ops.batch_norm(ops.conv2d(x, gx.variable(_draw(16, 4, 1, 1))), *_statistics(16, gx.variable))
        stage = Pipeline([FoldBatchNorm()]).run(Graph((x.node,), (y.node,)))[-1]
        (note,) = stage.rewrites if folds else stage.declined
        assert _has_batch_norm(stage.graph) is not folds
        assert note.note == f"{8 * 16 * size * size} results, 64 weights to scale in every call"


# ----------------------------------------------------------------- random graphs
def _chain(pick: Callable[[Sequence[Any]], Any], rng: np.random.Generator) -> tuple[Graph, dict[Node, Array]]:
    """Return layers of random kinds, most of them with a batch norm behind."""
    rows = pick(("n", 2))
    x = gx.placeholder("x", (rows, 4, 5), "float64")
    make: Make = pick((gx.constant, gx.variable))
    y = x
    for _ in range(pick((1, 2, 3))):
        kind = pick(("conv", "grouped", "matmul", "transposed"))
        if kind in ("conv", "grouped"):
            groups = 2 if kind == "grouped" else 1
            y = ops.conv1d(y, make(rng.normal(size=(4, 4 // groups, 3))), padding=1, groups=groups)
        else:
            y = ops.matmul(y, make(rng.normal(size=(5, 5))), transpose_b=kind == "transposed")
        axis = 1 if kind in ("conv", "grouped") else 2
        size = 4 if axis == 1 else 5
        if pick((False, True)):
            y = y + make(rng.normal(size=(4, 1) if axis == 1 else (5,)))
        for _ in range(pick((0, 1, 2))):
            mean, gamma, beta = (make(rng.normal(size=size)) for _ in range(3))
            y = ops.batch_norm(y, mean, make(rng.uniform(0.5, 2, size)), gamma, beta, axis=axis)
        y = pick((ops.relu, lambda t: t))(y)
    return Graph((x.node,), (y.node,)), {x.node: rng.normal(size=(2, 4, 5))}


@pytest.mark.parametrize("step", [(FoldBatchNorm(ratio=0),), FULL], ids=["alone", "full"])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_values_of_random_layers_stay(step: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph, feeds = _chain(lambda options: options[int(rng.integers(len(options)))], rng)
    after = Pipeline(step).run(graph)[-1].graph
    for got, wanted in zip(run_graph(after, feeds)[0], run_graph(graph, feeds)[0], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-8, atol=1e-9)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_a_second_application_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph, _ = _chain(lambda options: options[int(rng.integers(len(options)))], rng)
    once = FoldBatchNorm(ratio=0)(graph)
    assert FoldBatchNorm(ratio=0)(once) is once


# ------------------------------------------------------------------ one kernel
@pytest.mark.parametrize("rows", [1, 8, "batch"])
def test_a_residual_block_is_one_kernel_per_convolution(rows: Any) -> None:
    x = gx.placeholder("x", (rows, 16, 12, 12))
    first, second, down = (gx.nn.Conv2d(16, 16, k, padding=k // 2, bias=False, seed=k) for k in (3, 3, 1))
    norms = [gx.nn.BatchNorm(16) for _ in range(3)]
    y = ops.relu(norms[0](first(x), training=False))
    y = norms[1](second(y), training=False)
    y = ops.relu(y + norms[2](down(x), training=False))
    program = gx.compile([x], y)
    assert len(program.kernels) == 3
    fed = _draw(8 if rows == "batch" else rows, 16, 12, 12)
    np.testing.assert_allclose(program(fed), gx.evaluate(y, {x: fed}), rtol=1e-4, atol=1e-5)
