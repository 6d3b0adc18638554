"""`gx.diff`: what differs between graphs, whatever their nodes are numbered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.errors import ArgumentError
from graphc.ir import Graph
from graphc.trace import trace


def graph_of(fn: Any, **types: Any) -> Graph:
    fed = [gx.placeholder(name, **kind) for name, kind in types.items()]
    return trace(fed, fn(*fed))[0]


X = {"shape": ("n", 4)}


def test_graphs_that_compute_the_same_do_not_differ() -> None:
    def model(x: Any, y: Any) -> Any:
        return gx.exp(x) + gx.tanh(y), y * 2

    def other_order(x: Any, y: Any) -> Any:
        double, right = y * 2, gx.tanh(y)
        return gx.exp(x) + right, double

    found = gx.diff(graph_of(model, x=X, y=X), graph_of(other_order, x=X, y=X))
    assert not found
    assert (str(found), repr(found)) == ("", "<no difference>")


def test_an_inserted_node_leaves_the_rest_alone() -> None:
    a = graph_of(lambda x: gx.tanh(gx.exp(x) + 1) * 3, x=X)
    b = graph_of(lambda x: gx.tanh(gx.relu(gx.exp(x) + 1)) * 3, x=X)
    assert str(gx.diff(a, b)).splitlines() == [
        "  %1: float32[n, 4] = exp(x)",
        "  %2: float32[n, 4] = add(%1, 1.0)",
        "+ %3: float32[n, 4] = relu(%2)",
        "- %4: float32[n, 4] = tanh(%2)",
        "+ %4: float32[n, 4] = tanh(%3)",
        "  %5: float32[n, 4] = multiply(%4, 3.0)",
        "  return %5",
    ]


def test_other_attributes_constants_and_types_are_shown() -> None:
    a = graph_of(lambda x: gx.sum(x * 2, axis=0), x=X)
    b = graph_of(lambda x: gx.sum(x * 3, axis=1), x=X)
    assert str(gx.diff(a, b)).splitlines() == [
        "  input x: float32[n, 4]",
        "- %1: float32[n, 4] = multiply(x, 2.0)",
        "+ %1: float32[n, 4] = multiply(x, 3.0)",
        "- %2: float32[4] = sum(%1, axes=(0,), keepdims=False)",
        "+ %2: float32[n] = sum(%1, axes=(1,), keepdims=False)",
        "  return %2",
    ]


def test_constants_are_compared_by_their_content() -> None:
    a, b = (graph_of(lambda x, c=c: x + np.full(4, c, "float32"), x=X) for c in (1, 2))
    assert len(gx.diff(a, b).lines) == 4
    c = graph_of(lambda x: x + np.full(4, 1, "float32"), x=X)
    assert not gx.diff(a, c)


def test_removed_nodes_stand_where_they_were() -> None:
    a = graph_of(lambda x: (gx.exp(x), gx.sum(gx.tanh(x)), -x), x=X)
    b = graph_of(lambda x: (gx.exp(x), gx.constant(np.float32(0)), -x), x=X)
    lines = str(gx.diff(a, b)).splitlines()
    marks = [line[0] for line in lines]
    assert next(line for line in lines if line.startswith("-")).endswith("tanh(x)")
    assert marks.index("-") < next(k for k, line in enumerate(lines) if "negative" in line)
    assert lines[-2:] == ["- return %1, %4, %2", "+ return %1, 0.0, %2"]


def test_inputs_and_updates_are_compared() -> None:
    w = gx.variable(np.ones((), "float32"), name="w")
    x, y = gx.placeholder("x", shape=("n",)), gx.placeholder("y", shape=("n",))
    a = trace([x], x * w, {w: w * 2})[0]
    b = trace([x, y], x * w, {w: w * 2 + 1})[0]
    text = str(gx.diff(a, b))
    assert "+ input y: float32[n]" in text
    assert any(line.startswith("+ update w <- ") for line in text.splitlines())


def test_far_changes_are_separated_by_dots() -> None:
    def chain(x: Any, first: Any, last: Any) -> Any:
        x = first(x)
        for _ in range(12):
            x = gx.tanh(x)
        return last(x)

    a = graph_of(lambda x: chain(x, gx.exp, gx.exp), x=X)
    b = graph_of(lambda x: chain(x, gx.sin, gx.sin), x=X)
    lines = gx.diff(a, b).lines
    assert lines.count("  ...") == 1
    assert sum(line.startswith("-") for line in lines) == 2


def test_bodies_of_loops_are_compared_line_by_line() -> None:
    def looped(fn: Any) -> Any:
        return lambda x: gx.scan(lambda h, row: (fn(h) + row, h), gx.zeros((4,)), x)[1]

    kind = {"shape": (8, 4)}
    assert not gx.diff(graph_of(looped(gx.tanh), x=kind), graph_of(looped(gx.tanh), x=kind))
    text = str(gx.diff(graph_of(looped(gx.tanh), x=kind), graph_of(looped(gx.sin), x=kind)))
    assert "-     %1: float32[4] = tanh(" in text
    assert "+     %1: float32[4] = sin(" in text


def test_programs_and_stages_are_compared_by_their_graphs() -> None:
    x = gx.placeholder("x", shape=("n",))
    plain = gx.compile(x, gx.log(gx.exp(x) + 1), optimize="none")
    full = gx.compile(x, gx.log(gx.exp(x) + 1))
    assert not gx.diff(plain, plain.graph)
    assert "+ %1: float32[n] = softplus(x)" in str(gx.diff(plain, full))
    stages = {s.name: s for s in full.stages}
    assert not gx.diff(full.stages[0], full.stages[1])
    assert gx.diff(stages["trace"], stages["stabilize"])


def test_anything_else_is_refused() -> None:
    with pytest.raises(ArgumentError, match="nothing to compare"):
        gx.diff(3, 4)  # what users may well try
