"""One picture per pass: the graph before and after, as text on file (pytest --update-golden)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from graphc.passes import (
    FULL,
    Canonicalize,
    ExpandComposites,
    FoldConstants,
    MergeEqual,
    OwnResults,
    Prune,
    Simplify,
    Stabilize,
)

import graphc as gx
from graphc import ops
from graphc.ir import Graph
from graphc.lower.rules import Expand
from graphc.ops.op import Op
from graphc.pipeline import Pass, Pipeline, pass_name
from graphc.printing import graph_to_dot, graph_to_text
from graphc.tensor import Tensor

BELL = Op(
    "bell", lambda ctx, t: t, lambda a: np.exp(-a * a), Expand(lambda t: ops.exp(-(t * t))), listed=False
)


def _canonicalize(x: Tensor, w: Tensor) -> Tensor:
    return gx.stop_gradient(2 * (x - 1)).reshape(-1).reshape(-1, 1, 3) + w


def _expand(x: Tensor, w: Tensor) -> Tensor:
    return BELL(x) * BELL(w)


def _fold(x: Tensor, w: Tensor) -> Tensor:
    scale = ops.sqrt(gx.constant(np.float32(4.0))) + ops.sum(gx.constant(np.ones(4, "float32")))
    return x * scale


def _simplify(x: Tensor, w: Tensor) -> Tensor:
    return (ops.negative(-x) * 1 + 0) ** 2 / 4 - (-w)


def _stabilize(x: Tensor, w: Tensor) -> Tensor:
    return ops.log(ops.exp(x) + 1) + ops.sqrt(w * w)


def _cse(x: Tensor, w: Tensor) -> Tensor:
    return ops.exp(x * w) / (1.5 + ops.exp(w * x)) * (x + 1.5)


PICTURES: dict[Pass, Callable[[Tensor, Tensor], Tensor]] = {
    Canonicalize(): _canonicalize,
    ExpandComposites(): _expand,
    FoldConstants(): _fold,
    MergeEqual(): _cse,
    Simplify(): _simplify,
    Stabilize(): _stabilize,
}


def _leaves() -> tuple[Tensor, Tensor]:
    return gx.placeholder("x", ("n", 3)), gx.variable(np.ones(3, "float32"), name="w")


def _picture(graph: Graph, step: Pass) -> str:
    stage = Pipeline([step]).run(graph)[-1]
    rules = "\n".join(f"{count} x {rule}" for rule, count in stage.counts().items())
    before, after = (graph_to_text(g, places=False) for g in (graph, stage.graph))
    return f"{before}\n\n{rules}\n\n{after}"


@pytest.mark.parametrize("step", PICTURES, ids=pass_name)
def test_picture(step: Pass, golden: Callable[[str, str], None]) -> None:
    x, w = _leaves()
    graph = Graph((x.node,), (PICTURES[step](x, w).node,))
    golden(pass_name(step), _picture(graph, step))


@pytest.mark.parametrize("step", PICTURES, ids=pass_name)
def test_nothing_to_do_returns_the_same_object(step: Pass) -> None:
    x, w = _leaves()
    graph = Graph((x.node,), (ops.tanh(x * w).node,), ((w.node, (w + x.sum(axis=0)).node),))
    assert step(graph) is graph


def test_prune_picture(golden: Callable[[str, str], None]) -> None:
    x, w = _leaves()
    v, unused = gx.variable(np.float32(1), name="v"), gx.placeholder("unused", (2,))
    dead = x * v
    nodes = (x.node, unused.node, w.node, v.node, dead.node, (y := x * w).node)
    graph = Graph((x.node, unused.node), (y.node,), ((v.node, v.node),), nodes=nodes)
    golden("prune", _picture(graph, Prune()))


def test_own_results_picture(golden: Callable[[str, str], None]) -> None:
    x, w = _leaves()
    new = w * 0.5
    graph = Graph((x.node,), (new.node, new.node, x.node), ((w.node, new.node),))
    golden("own_results", _picture(graph, OwnResults()))


def test_own_results_leaves_results_of_their_own_alone() -> None:
    x, w = _leaves()
    graph = Graph((x.node,), ((x * w).node,), ((w.node, (w - 1).node),))
    assert OwnResults()(graph) is graph
    shared = Graph((x.node,), (x.node,))
    once = OwnResults()(shared)
    assert OwnResults()(once) is once


def test_full_pipeline_picture(golden: Callable[[str, str], None]) -> None:
    x, w = _leaves()
    loss = ops.log(1 + ops.exp(-(x * w))).sum()
    graph = Graph((x.node,), (loss.node,), ((w.node, (w - 0.5 * gx.grad(loss, w)).node),))
    stages = Pipeline(FULL).run(graph)
    golden("full", "\n\n".join(graph_to_text(stages[i].graph, places=False) for i in (0, -1)))


def test_text_shows_places_and_names_and_dot_lists_everything(golden: Callable[[str, str], None]) -> None:
    x, w = _leaves()
    y = gx.ops.multiply(x, w)
    graph = Graph((x.node,), (y.node,), ((w.node, (w * 2).node),))
    line = y.node.where.line
    assert f"# test_passes_golden.py:{line}" in str(graph)
    golden("dot", graph_to_dot(graph, places=False))
