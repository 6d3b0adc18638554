"""Graphs as pure data: what is read back is what was written, and what is not a graph is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import graphc as gx
from benchmarks.artifact_files import EXAMPLES
from graphc import dims
from graphc.artifact.graphs import decode_graph, encode_graph
from graphc.artifact.leaf_table import LeafTable
from graphc.artifact.values import ValueReader, ValueWriter
from graphc.compiler import compile_traced
from graphc.errors import UNKNOWN, ArtifactError, Where
from graphc.interpreter import run_graph
from graphc.ir import Attrs, Graph, Node, verify
from graphc.ops.op import REGISTRY, make_node
from graphc.trace import trace
from tests import op_table
from tests.random_graphs import Program, random_programs

Array = np.ndarray[Any, Any]


def copied(graph: Graph) -> Graph:
    """Return the graph written as JSON and read back, with its data."""
    leaves = LeafTable()
    text = json.dumps(encode_graph(graph, leaves), allow_nan=False)
    stored = np.frombuffer(b"".join(leaves.pieces()), np.uint8)
    table = LeafTable.decode(json.loads(json.dumps(leaves.encode())), stored)
    return decode_graph(json.loads(text), table)


def assert_copied(graph: Graph, feeds: dict[Node, Array]) -> None:
    found = copied(graph)
    again = copied(found)
    assert len({str(replace(g, checks=())) for g in (graph, found, again)}) == 1
    # It may check more, of what cannot be proven; never less, and reading twice adds nothing.
    assert set(graph.checks) <= set(found.checks) == set(again.checks)
    assert [n.checks for n in found.nodes] == [n.checks for n in again.nodes]
    verify(found)
    expected = run_graph(graph, feeds)
    results = run_graph(found, dict(zip(found.inputs, feeds.values(), strict=True)))
    for wanted, got in zip([*expected[0], *expected[1]], [*results[0], *results[1]], strict=True):
        assert wanted.dtype == got.dtype and wanted.tobytes() == got.tobytes()


# ----------------------------------------------------------------------- round trips
def calls_of(op: Any) -> list[op_table.Call]:
    samples = list(op.samples())
    plain = [op_table.build(op, s, f"p{k}_") for k, s in enumerate(samples)]
    symbolic = op_table.symbolic_calls(op, samples)
    slopes = [op_table.gradient(c) for c in plain[:2]] if op in op_table.DIFFERENTIABLE else []
    return [*plain, *symbolic, *(c for c in slopes if c.outputs)]


@pytest.mark.parametrize("op", op_table.OPS, ids=lambda op: op.name)
def test_every_sample_of_every_op_comes_back(op: Any) -> None:
    for call in calls_of(op):
        graph, _ = trace(call.inputs, list(call.outputs))
        assert_copied(graph, dict(zip(graph.inputs, call.values, strict=True)))


@given(random_programs())
def test_random_graphs_come_back(program: Program) -> None:
    feeds = {n: program.feeds[n] for n in program.graph.inputs}
    assert_copied(program.graph, feeds)


FEEDS: dict[str, Callable[[], list[Array]]] = {
    "training step": lambda: [np.ones((5, 4), "float32"), np.array([0, 1, 1, 0, 1])],
    "loops": lambda: [np.random.default_rng(0).normal(size=(4, 3))],
    "windows": lambda: [np.random.default_rng(0).normal(size=(2, 2, 6, 6)).astype("float32")],
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_whole_programs_come_back(name: str) -> None:
    graph = EXAMPLES[name]()
    assert_copied(graph, dict(zip(graph.inputs, FEEDS[name](), strict=True)))


def test_bodies_may_share_nodes_and_nest() -> None:
    x = gx.placeholder("x", shape=(3,), dtype="float64")

    def inner(carry: Any, row: Any) -> Any:
        return gx.scan(lambda c, r: (c * r, c), carry, row * x)[0], row

    total, _ = gx.scan(inner, 1.0, gx.stack([x, x]))
    graph, _ = trace([x], [total, gx.grad(total, x)])
    assert_copied(graph, {graph.inputs[0]: np.array([0.5, 1.5, -2.0])})


def test_places_and_names_come_back() -> None:
    x = gx.placeholder("x", shape=("n",))
    y = gx.exp(x)
    found = copied(Graph((x.node,), (replace(y.node, name="growth"),)))
    assert found.outputs[0].where == y.node.where
    assert (found.inputs[0].name, found.outputs[0].name) == ("x", "growth")
    unplaced = Graph((x.node,), (replace(y.node, where=UNKNOWN),))
    assert copied(unplaced).outputs[0].where is UNKNOWN


def test_lines_are_shown_of_python_files_only() -> None:
    x = gx.placeholder("x")
    for file, shown in (("/dev/zero", "</dev/zero>"), ("<stdin>", "<stdin>"), ("a\n.py", "a?.py")):
        graph = Graph((x.node,), (replace(gx.exp(x).node, where=Where(file, 3)),))
        assert copied(graph).outputs[0].where.file == shown


def test_variables_are_shared_by_the_graphs_of_a_file() -> None:
    w = gx.variable(np.arange(3.0), name="w", trainable=False)
    x = gx.placeholder("x", shape=(3,), dtype="float64")
    one, two = trace([x], x * w, {w: w + 1})[0], trace([x], x - w)[0]
    leaves = LeafTable()
    encoded = [encode_graph(g, leaves) for g in (one, two)]
    assert len(leaves.variables) == 1
    stored = np.frombuffer(b"".join(leaves.pieces()), np.uint8)
    again = LeafTable.decode(leaves.encode(), stored)
    decoded = [decode_graph(data, again) for data in encoded]
    assert decoded[0].variables == decoded[1].variables
    storage = decoded[0].variables[0].payload
    assert storage.array.tolist() == [0, 1, 2] and not storage.trainable


def test_equal_constants_are_stored_once() -> None:
    leaves = LeafTable()
    parts = [gx.constant(np.ones(1000)), gx.constant(np.ones(1000), name="again")]
    graph = Graph((), tuple(p.node for p in parts))
    data = encode_graph(graph, leaves)
    assert len(b"".join(leaves.pieces())) == 8000
    found = decode_graph(data, leaves)
    assert [n.name for n in found.outputs] == [None, "again"]


# -------------------------------------------------------------------------- values
N, M = dims.symbol("n"), dims.symbol("m")


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 0, -3, 2**63, 1.5, -0.0, float("inf"), float("-inf"), 5e-324, "text", "", "ä\n"),
        *((), (1, (2.0, "x"), None), np.dtype("float32"), np.dtype(bool)),
        *(np.float32(0.1), np.int8(-3), np.bool_(True), np.uint8(255)),
        *(N, 2 * N + M, N * M * M - 7, (N + 1) // 2, dims.maximum(N - 3, dims.minimum(M, 4)), (N, 1)),
    ],
    ids=repr,
)
def test_attributes_keep_their_value_and_kind(value: Any) -> None:
    writer = ValueWriter()
    data = writer.attribute(value, "example", UNKNOWN)
    text = json.dumps([data, writer.tables], allow_nan=False)
    data, tables = json.loads(text)
    assert Attrs({"a": ValueReader(tables).attribute(data)}) == Attrs({"a": value})


def test_a_nan_stays_one() -> None:
    writer = ValueWriter()
    data = writer.attribute(float("nan"), "example", UNKNOWN)
    assert np.isnan(ValueReader(writer.tables).attribute(data))


# ------------------------------------------------------------------ what is not data
def test_a_fused_graph_is_refused() -> None:
    x = gx.placeholder("x", shape=("n",))
    fused = gx.compile(x, gx.exp(x) + 1).graph
    with pytest.raises(ArtifactError, match="fused cannot be written") as caught:
        encode_graph(fused, LeafTable())
    assert caught.value.where is not None and caught.value.where.file == __file__


def test_an_attribute_that_is_no_data_is_refused() -> None:
    op = gx.custom_op("keyed", lambda x, key: x, lambda x, key: x)
    node = op(np.ones(2), key=frozenset({1})).node
    with pytest.raises(ArtifactError, match="attribute of keyed cannot be written") as caught:
        encode_graph(Graph((), (node,)), LeafTable())
    assert caught.value.where == node.where


def test_a_custom_gradient_is_left_out() -> None:
    @gx.custom_gradient
    def twice(x: Any) -> Any:
        return x * 2, lambda g: g * 2

    x = gx.placeholder("x", shape=(2,), dtype="float64")
    y = twice(x)
    graph, _ = trace([x], [y, gx.grad(y.sum(), x)])
    found = copied(graph)
    assert "custom_gradient" not in {n.op.name for n in found.nodes}
    points = np.array([1.0, -2.0])
    results, _ = run_graph(found, {found.inputs[0]: points})
    np.testing.assert_array_equal(results, [2 * points, [2, 2]])


def test_ops_of_users_are_found_by_name() -> None:
    cube = gx.elementwise_op("cube_of_a_file", lambda x: x**3)
    x = gx.placeholder("x", shape=(2,), dtype="float64")
    graph, _ = trace([x], cube(x))
    leaves = LeafTable()
    data = encode_graph(graph, leaves)
    assert decode_graph(data, leaves).outputs[0].op is graph.outputs[0].op
    data["nodes"][1]["op"] = "square_of_a_file"
    data["nodes"].append({**data["nodes"][1], "op": "no_such_op"})
    with pytest.raises(ArtifactError, match="2 operations are not known") as caught:
        decode_graph(data, leaves)
    assert caught.value.given == "no_such_op, square_of_a_file"


def test_an_op_whose_name_was_taken_is_refused() -> None:
    ops = [gx.elementwise_op("taken_in_a_file", f) for f in (np.exp, np.log)]
    graphs = [Graph((), (op(np.ones(2)).node,)) for op in ops]
    encode_graph(graphs[1], LeafTable())
    with pytest.raises(ArtifactError, match="defined later"):
        encode_graph(graphs[0], LeafTable())


# --------------------------------------------------------------------- the whole registry
# These are not called by users, or only within loops and branches, which have tests of their own.
EFFECTS = {"debug_print", "debug_check", "debug_fail"}
MADE_INSIDE = {"fused", "loop", "switch", "size", "copy", "with_update"} | EFFECTS


def test_every_registered_op_can_be_written() -> None:
    """No op is made of anything but data; fused nodes alone are made anew."""
    graphs = [trace(c.inputs, list(c.outputs))[0] for op in op_table.OPS for c in calls_of(op)[:1]]
    written = {n.op.name for g in graphs for n in copied(g).nodes}
    assert REGISTRY.keys() - written == MADE_INSIDE


def test_what_only_the_compiler_makes_is_data_too() -> None:
    x, w = gx.placeholder("x", shape=(2,)), gx.variable(np.ones(2, "float32"))
    nodes = (make_node(REGISTRY["copy"], (x.node,), {}), gx.with_update(x, w, w + 1).node)
    assert [n.op.name for n in copied(Graph((x.node,), nodes)).outputs] == ["copy", "with_update"]


def test_prints_and_checks_stand_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    x = gx.placeholder("x", shape=("n",), dtype="float64")
    gx.debug.print(x.sum(), format="sum {0:.1f}")
    gx.debug.check(x > 0, "x must be positive", x.min())
    gx.debug.print(x, label="after")
    graph, _ = trace([x], gx.log(x))
    found = copied(graph)
    assert len(found.effects) == len(graph.effects) == 1
    assert {str(replace(g, checks=())) for g in (graph, found)} == {str(replace(graph, checks=()))}
    program = compile_traced(found, None, "copied")
    program(np.array([1.0, 2.0]))
    assert capsys.readouterr().out == "sum 3.0\nafter: [1. 2.]\n"
    with pytest.raises(gx.errors.CheckError, match="x must be positive"):
        program(np.array([1.0, -2.0]))
