"""Scopes: names for parts of a model, in every view."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import graphc as gx
from graphc.errors import ArgumentError, ShapeError
from graphc.printing import graph_to_dot, graph_to_text
from graphc.trace import trace


def scopes_of(graph):
    return {n.where.scope for n in graph.nodes if n.op.name not in ("placeholder", "variable", "constant")}


def test_scopes_nest_and_end():
    x = gx.placeholder("x", shape=("n",))
    with gx.scope("outer"):
        a = gx.exp(x)
        with gx.scope("inner/deep"):
            b = gx.exp(a)
        with pytest.raises(ShapeError, match=r"\(in outer\)"):
            gx.concat([x, gx.zeros((2, 2))])
    c = gx.exp(b)
    assert [t.node.where.scope for t in (a, b, c)] == ["outer", "outer/inner/deep", ""]


def test_a_scope_is_open_in_its_own_thread_only():
    x = gx.placeholder("x", shape=("n",))
    found = []
    with gx.scope("here"):
        thread = threading.Thread(target=lambda: found.append(gx.exp(x).node.where.scope))
        thread.start()
        thread.join()
    assert found == [""]


@pytest.mark.parametrize("name", ["", "a b", "a//b", "/a", "a\nb", 3, None])
def test_bad_names(name):
    with pytest.raises(ArgumentError, match=r"(?s)scope: bad name.*test_scopes.py"):
        gx.scope(name)


def test_layers_and_optimizers_open_scopes_and_gradients_keep_them():
    x = gx.placeholder("x", shape=("batch", 4))
    model = gx.nn.Sequential(gx.nn.Dense(4, 3, seed=0), gx.tanh, gx.nn.Dense(3, 1, seed=1, name="head"))
    with gx.scope("model"):
        loss = (model(x) ** 2).mean()
    dense, head = "model/Sequential/0.Dense", "model/Sequential/2.head"
    tanh = "model/Sequential/1.tanh"
    graph = trace([x], loss)[0]
    assert scopes_of(graph) == {"model", dense, tanh, head}
    slopes = trace([x], gx.grad(loss, model.variables))[0]
    assert scopes_of(slopes) == {"model", dense, tanh, head}
    step = gx.compile(x, loss, updates=gx.optim.SGD(0.1).minimize(loss))
    assert scopes_of(step.graph) <= {"model", dense, tanh, head, "optimizer"}
    assert dense in str(step) and "optimizer" in str(step)


def test_sequence_modules_open_one_scope():
    x = gx.placeholder("x", shape=("time", "batch", 2))
    chained = gx.nn.Sequential(gx.nn.LSTM(2, 3, seed=0))(x)
    alone = gx.nn.GRU(2, 3, seed=0, name="gru")(x)[0]
    attended = gx.nn.MultiHeadAttention(2, 1, seed=0)(gx.swapaxes(x, 0, 1))
    for value, name in ((chained, "Sequential/0.LSTM"), (alone, "gru"), (attended, "MultiHeadAttention")):
        found = scopes_of(trace([x], value)[0]) - {""}
        assert {s for s in found if s.startswith(name)} == found and name in found


def test_bodies_belong_to_the_scope_in_which_they_are_traced():
    x = gx.placeholder("x", shape=(3,))
    with gx.scope("loop"):
        last, _ = gx.scan(lambda c, v: (gx.sin(c * v), c), 1.0, x)
    (loop,) = [n for n in trace([x], last)[0].nodes if n.op.name == "loop"]
    assert loop.where.scope == "loop" and scopes_of(loop.payload[0]) == {"loop"}


def test_text_and_dot_group_by_scope():
    x = gx.placeholder("x", shape=("n",))
    with gx.scope("a"):
        y = gx.exp(x)
        with gx.scope("b"):
            z = gx.sin(y)
    graph = trace([x], z * 2)[0]
    text = graph_to_text(graph)
    assert [line.rpartition(" in ")[2] for line in text.splitlines() if " in " in line] == ["a", "a/b"]
    assert " in a" not in graph_to_text(graph, places=False)
    lines = [line.strip() for line in graph_to_dot(graph).splitlines()]
    outer, inner = lines.index('subgraph "cluster_a" {'), lines.index('subgraph "cluster_a/b" {')
    exp, sin = (next(k for k, line in enumerate(lines) if f'label="{op}' in line) for op in ("exp", "sin"))
    assert outer < exp < inner < sin
    assert lines[sin + 1] == lines[sin + 2] == "}"
    assert graph_to_dot(graph).count("{") == graph_to_dot(graph).count("}")


def test_names_of_variables_stay():
    with gx.scope("encoder"):
        w = gx.variable(np.zeros(3), name="w")
    assert w.name == "w" and w.node.where.scope == "encoder"
