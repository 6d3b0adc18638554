"""Texts that users read: fused nodes, checks, big constants, programs."""

from __future__ import annotations

import numpy as np

import graphc as gx
from graphc import ops
from graphc.ir import Graph
from graphc.ops.fused import fuse_nodes
from graphc.printing import graph_to_dot, graph_to_text, program_to_text


def _fused() -> Graph:
    x = gx.placeholder("x", ("n", 3))
    inner = gx.placeholder("a", ("n", 3))
    body = Graph((inner.node,), (ops.exp(inner * 2).node,))
    return Graph((x.node,), fuse_nodes(body, (x.node,)))


def test_a_fused_node_prints_its_sub_graph_indented() -> None:
    assert graph_to_text(_fused(), places=False).splitlines() == [
        "graph(%0: float32[n, 3] 'x') {",
        "  %1: float32[n, 3] = fused(%0)",
        "    where(%0: float32[n, 3] 'a') {",
        "      constants:",
        "        %1: float32[] = 2.0",
        "      %2: float32[n, 3] = multiply(%0, %1)",
        "      %3: float32[n, 3] = exp(%2)",
        "      return %3",
        "    }",
        "  return %1",
        "}",
    ]


def test_a_fused_node_is_one_box_that_lists_its_steps() -> None:
    assert 'n1 [shape=box3d, label="fused\\nmultiply\\nexp\\nfloat32[n, 3]"];' in graph_to_dot(_fused())


def test_big_constants_checks_and_names_are_shown_in_short() -> None:
    x, y = gx.placeholder("x", ("n",)), gx.placeholder("y", ("m",))
    total = x + y
    graph = Graph(
        (x.node, y.node), ((total[:, None] * np.ones((1, 9), "float32")).node,), (), total.node.checks
    )
    text = str(graph)
    assert "<9 elements, digest " in text
    assert "  checks:\n    n == m" in text


def test_a_program_lists_signature_passes_kernels_and_memory() -> None:
    x, w = gx.placeholder("x", ("n", 3)), gx.variable(np.ones(3, "float32"), name="w")
    program = gx.compile([x], (x * w).sum(), updates={w: w * 2}, name="step")
    text = program_to_text(program)
    assert text.startswith("program step(x: float32[n, 3]) -> float32[]\n  updates w: float32[3]\npasses:\n")
    assert "\nkernels:\n" in text and "\nmemory:\n" in text and "test_printing.py:" in text
    assert str(program) == text
