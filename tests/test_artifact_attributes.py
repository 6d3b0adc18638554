"""Attributes of nodes that come from a file: every op has its rules, and they keep kernels within memory."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import graphc as gx
from benchmarks.artifact_files import EXAMPLES
from graphc import dims
from graphc.artifact.attributes import check_attributes, check_use
from graphc.effects import TOKEN
from graphc.errors import ArtifactError
from graphc.ir import Graph, Node, topological
from graphc.ops.op import REGISTRY, expand_all, make_node
from graphc.trace import trace
from graphc.types import TensorType
from tests import op_table
from tests.test_artifact_graphs import calls_of


def effects() -> Graph:
    """Return a graph of what has no samples."""
    x, w = gx.placeholder("x", shape=(3,)), gx.variable(np.ones(3, "float32"))
    gx.debug.print(x, format="{0}")
    gx.debug.check(x > 0, "positive")
    nodes = trace([x], x)[0].nodes
    check = next(n for n in nodes if n.op.name == "debug_check")
    copy, update = make_node(REGISTRY["copy"], (x.node,), {}), gx.with_update(x, w, w + 1).node
    return Graph((), (*nodes, *expand_all(check), copy, update))


def nodes_of(graph: Graph) -> list[Node]:
    nodes = topological(graph.outputs)
    return [*nodes, *(n for node in nodes for body in node.subgraphs for n in nodes_of(body))]


@pytest.fixture(scope="module")
def used() -> dict[str, list[Node]]:
    """Return the nodes that the samples of all ops are made of, by op."""
    calls = [c for op in op_table.OPS for c in calls_of(op)]
    graphs = [*(trace(c.inputs, list(c.outputs))[0] for c in calls), *(e() for e in EXAMPLES.values())]
    found: dict[str, list[Node]] = {}
    for graph in [*graphs, effects()]:
        for node in nodes_of(graph):
            found.setdefault(node.op.name, []).append(node)
    return found


def test_every_attribute_of_every_op_has_a_rule(used: dict[str, list[Node]]) -> None:
    lacking = {
        f"{name}: {attribute}"
        for name, nodes in used.items()
        for attribute in {a for n in nodes for a in n.attrs} - REGISTRY[name].attributes.keys()
    }
    assert not lacking, "say what these may be in Op(..., attributes={...}), see graphc/ops/attributes.py"


def test_every_rule_is_of_an_attribute(used: dict[str, list[Node]]) -> None:
    assert REGISTRY.keys() - used.keys() == {"fused"}  # whose nodes are made anew
    stale = {
        f"{name}: {attribute}"
        for name, nodes in used.items()
        for attribute, rule in REGISTRY[name].attributes.items()
        if not rule.optional and any(attribute not in n.attrs for n in nodes)
    }
    assert not stale


# Of every kind that a file can hold.
STRANGE = (
    *(None, True, -1, 0, 1, 3, 1 << 63, 0.5, float("nan"), float("-inf"), "", "nearest", "{0}", "ab,bc->ac"),
    *(np.int8(-3), np.bool_(True), np.float32(2), np.dtype("bool"), dims.symbol("n")),
    *((), (0,), (0, 0), (-1, 2), (1, 0), ((1, 1),), ((0,), None), ("a", 1.5), (dims.symbol("n"),)),
)


def test_rules_answer_to_any_value(used: dict[str, list[Node]]) -> None:
    """Whatever stands in the place of an attribute is taken or refused, and an attribute may not lack."""
    for name, nodes in used.items():
        op = REGISTRY[name]
        for node in {n.attrs: n for n in nodes}.values():
            types, attrs = tuple(i.type for i in node.inputs), dict(node.attrs)
            check_attributes(op, types, attrs)
            for key, value in itertools.product(attrs, STRANGE):
                with suppress(ArtifactError):
                    check_attributes(op, types, {**attrs, key: value})
            for key in (k for k in attrs if not op.attributes[k].optional):
                with pytest.raises(ArtifactError, match=f"bad attributes of {name}"):
                    check_attributes(op, types, {k: v for k, v in attrs.items() if k != key})


def test_errors_say_what_an_attribute_may_be() -> None:
    with pytest.raises(ArtifactError) as caught:
        check_use(REGISTRY["argmax"], (X,), {"axes": (1, 0), "keepdims": False})
    assert caught.value.what == "artifact: bad attribute 'axes' of argmax"
    assert caught.value.expected == "distinct axes of the first operand, in rising order"


N = dims.symbol("n")
X = TensorType((3, 4), np.dtype("float32"))
IMAGE = TensorType((1, 2, 5, 5), np.dtype("float32"))
INDEX = TensorType((2,), np.dtype("int64"))
WINDOW = {"kernel": (2, 2), "stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
CONV = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}

PRINTED = {"label": "x", "format": "{0}", "summarize": 6, "masked": False}

# An op, operands, attributes that fit; then one attribute that does not.
HOSTILE: list[tuple[str, tuple[TensorType, ...], dict[str, Any], str, Any]] = [
    ("permute_dims", (X,), {"axes": (1, 0)}, "axes", (1, 1)),
    ("permute_dims", (X,), {"axes": (1, 0)}, "axes", (0, -1)),
    ("permute_dims", (X,), {"axes": (1, 0)}, "axes", (0,)),
    ("sum", (X,), {"axes": (0,), "keepdims": False}, "axes", (2,)),
    ("argmax", (X,), {"axes": (0, 1), "keepdims": False}, "axes", (1, 0)),
    ("sum", (X,), {"axes": (0,), "keepdims": False}, "axes", (-1,)),
    ("sum", (X,), {"axes": (0,), "keepdims": False}, "axes", [0]),
    ("sum", (X,), {"axes": (0,), "keepdims": False}, "keepdims", 1),
    ("sum", (X,), {"axes": (0,), "keepdims": False}, "axes", (True,)),
    ("slice", (X,), {"starts": (0, 0), "sizes": (2, 2), "steps": (1, 1)}, "steps", (0, 1)),
    ("slice", (X,), {"starts": (0, 0), "sizes": (2, 2), "steps": (1, 1)}, "sizes", (-2, 2)),
    ("slice", (X,), {"starts": (0, 0), "sizes": (2, 2), "steps": (1, 1)}, "starts", (1 << 62, 0)),
    ("gather", (X, INDEX), {"axis": 0}, "axis", -1),
    ("gather_clipped", (X, INDEX), {"axis": 0, "batch": 0}, "batch", -1),
    ("scatter_sum", (INDEX, INDEX), {"shape": (3,), "axis": 0}, "axis", 5),
    ("scatter_sum", (INDEX, INDEX), {"shape": (3,), "axis": 0}, "shape", (-3,)),
    ("take_along_axis", (X, TensorType((3, 4), INDEX.dtype)), {"axis": 1}, "axis", 2),
    ("diagonal", (TensorType((3, 3), X.dtype),), {"labels": (0, 0)}, "labels", (1, 1)),
    ("embed_diagonal", (TensorType((3,), X.dtype),), {"labels": (0, 0)}, "labels", (0, 2)),
    ("contract", (X, TensorType((4, 3), X.dtype)), {"spec": "ab,bc->ac"}, "spec", "ab,bc->ca"),
    ("contract", (X, TensorType((4, 3), X.dtype)), {"spec": "ab,bc->ac"}, "spec", "ab,ba->aa"),
    ("contract", (X, TensorType((4, 3), X.dtype)), {"spec": "ab,bc->ac"}, "spec", "ab,bc->a"),
    ("contract", (X, TensorType((4, 3), X.dtype)), {"spec": "ab,bc->ac"}, "spec", "ab bc ac"),
    ("max_pool", (IMAGE,), WINDOW, "stride", (0, 1)),
    ("max_pool", (IMAGE,), WINDOW, "dilation", (-1, 1)),
    ("max_pool", (IMAGE,), WINDOW, "kernel", (0, 2)),
    ("max_pool", (IMAGE,), WINDOW, "padding", ((0, 0, 0), (0, 0))),
    ("avg_pool", (IMAGE,), {**WINDOW, "counted": ((0, 0), (0, 0))}, "counted", ((0, 0),)),
    ("conv", (IMAGE, IMAGE), CONV, "groups", -1),
    ("conv_input_grad", (IMAGE, IMAGE), {**CONV, "size": (5, 5)}, "size", (5,)),
    ("shift", (X,), {"axis": 0, "offset": 1, "fill": 0}, "offset", 1 << 60),
    ("broadcast_to", (X,), {"shape": (3, 4)}, "shape", (3, 1 << 60)),
    ("top_k", (X,), {"axis": 0, "k": 1}, "k", -1),
    ("one_hot", (INDEX,), {"size": 3, "dtype": X.dtype}, "size", -3),
    ("one_hot", (INDEX,), {"size": 3, "dtype": X.dtype}, "dtype", np.dtype("complex64")),
    ("eye", (), {"shape": (2, 2), "k": 0, "dtype": X.dtype}, "shape", (2,)),
    ("gelu", (X,), {"approximate": "tanh"}, "approximate", "no such"),
    ("expand_dims", (X,), {"axes": (0,)}, "axes", (3,)),
    ("random_word", (INDEX,), {"shape": (2,), "word": 0}, "word", 2),
    ("exp", (X,), {}, "axis", 0),
    ("debug_print", (TOKEN, X), PRINTED, "format", "{1}"),
    ("debug_print", (TOKEN, X), PRINTED, "format", "{0.__class__}"),
    ("debug_print", (TOKEN, X), PRINTED, "masked", True),
    ("full", (), {"shape": (2,), "value": 3, "dtype": INDEX.dtype}, "value", float("inf")),
    ("full", (), {"shape": (2,), "value": 3, "dtype": np.dtype("int8")}, "value", 300),
    ("vector_norm", (X,), {"axes": (0,), "keepdims": False, "ord": 2.0}, "ord", 0.0),
    ("polygamma", (X,), {"n": 1}, "n", 0),
    ("reshape", (X,), {"shape": (N,)}, "shape", ("n",)),
]


@pytest.mark.parametrize(("name", "types", "attrs", "key", "value"), HOSTILE, ids=lambda v: str(v)[:30])
def test_attributes_outside_their_rules_are_refused(
    name: str, types: tuple[TensorType, ...], attrs: dict[str, Any], key: str, value: Any
) -> None:
    check_use(REGISTRY[name], types, attrs)
    with pytest.raises(ArtifactError, match=name):
        check_use(REGISTRY[name], types, {**attrs, key: value})


@pytest.mark.parametrize(
    ("name", "count", "attrs"),
    [("add", 1, {}), ("exp", 2, {}), ("sum", 1, {"axes": ()}), ("matmul", 2, {})],
)
def test_operands_and_attributes_are_counted(name: str, count: int, attrs: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match=f"{name} does not take this"):
        check_use(REGISTRY[name], (X,) * count, attrs)


def test_a_recurrence_reads_as_many_factors_as_terms() -> None:
    node = gx.placeholder("x", shape=(1, 4)).node, gx.placeholder("y", shape=(3, 4)).node
    with pytest.raises(gx.errors.ShapeError, match="factors and terms differ in size"):
        make_node(REGISTRY["linear_recurrence"], node, {"axis": 0, "reverse": False})


def test_a_pool_gathers_within_its_operand_whatever_the_taps() -> None:
    x, index = gx.placeholder("x", shape=(1, 1, 4)), gx.placeholder("index", shape=(1, 1, 2), dtype="int64")
    gather = REGISTRY["max_pool_gather"]
    y = gather(x, index, kernel=(2,), stride=(2,), padding=((0, 0),), dilation=(1,))
    program = gx.compile([x, index], y)
    values = np.arange(1, 5, dtype="float32").reshape(1, 1, 4)
    taps = np.array([[[1, 0]]])
    np.testing.assert_array_equal(program(values, taps), [[[2, 3]]])
    # Any number names a tap of its window.
    far = np.array([[[(1 << 40) + 1, -(1 << 40) - 1]]])
    np.testing.assert_array_equal(program(values, far), [[[2, 4]]])
