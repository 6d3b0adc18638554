"""Attributes of nodes that come from a file: every op has its rules, and they keep kernels within memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import dims
from graphc.artifact.attributes import ATTRIBUTES, check_attributes
from graphc.effects import TOKEN
from graphc.errors import ArtifactError
from graphc.ops.op import REGISTRY, make_node
from graphc.trace import trace
from graphc.types import TensorType
from tests import op_table
from tests.test_artifact_graphs import EFFECTS, calls_of


def attributes_in_use() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for op in op_table.OPS:
        for call in calls_of(op):
            for node in trace(call.inputs, list(call.outputs))[0].nodes:
                found.setdefault(node.op.name, set()).update(node.attrs)
    return found


def test_every_attribute_of_every_op_has_a_rule() -> None:
    used = {name: attrs for name, attrs in attributes_in_use().items() if attrs}
    assert {name: attrs - ATTRIBUTES.get(name, {}).keys() for name, attrs in used.items()} == {
        name: set() for name in used
    }
    # What no sample has: `size` stands only where a size is named, and effects have no results.
    assert ATTRIBUTES.keys() - used.keys() <= {"size"} | EFFECTS
    assert ATTRIBUTES.keys() <= REGISTRY.keys()


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
    check_attributes(REGISTRY[name], types, attrs)
    with pytest.raises(ArtifactError, match=name):
        check_attributes(REGISTRY[name], types, {**attrs, key: value})


@pytest.mark.parametrize(
    ("name", "count", "attrs"),
    [("add", 1, {}), ("exp", 2, {}), ("sum", 1, {"axes": ()}), ("matmul", 2, {})],
)
def test_operands_and_attributes_are_counted(name: str, count: int, attrs: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match=f"{name} does not take this"):
        check_attributes(REGISTRY[name], (X,) * count, attrs)


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
