"""Texts that users read: fused nodes, checks, big constants, programs."""

from __future__ import annotations

import re

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
    assert 'n1 [shape=box3d, label="fused\\nmultiply\\nexp\\nfloat32[n, 3]"];' in graph_to_dot(
        _fused(), places=False
    )


def test_big_constants_checks_and_names_are_shown_in_short() -> None:
    x, y = gx.placeholder("x", ("n",)), gx.placeholder("y", ("m",))
    total = x + y
    graph = Graph(
        (x.node, y.node), ((total[:, None] * np.ones((1, 9), "float32")).node,), (), total.node.checks
    )
    text = str(graph)
    assert "<9 elements, digest " in text
    assert "  checks:\n    n == m" in text


def test_every_line_of_a_graph_and_every_box_carries_its_place() -> None:
    graph = _fused()
    outer, inner = graph.outputs[0], graph.outputs[0].payload
    lines = [line for line in str(graph).splitlines() if re.match(r" *%\d+: ", line)]
    assert lines and all("# test_printing.py:" in line for line in lines)
    numbers = sorted({n.where.line for n in inner.nodes})
    assert f'tooltip="test_printing.py:{",".join(map(str, numbers))}"' in graph.to_dot()
    view = graph.to_networkx()
    assert [n.where for n in view] == [n.where for n in graph.nodes]
    assert list(view.edges(keys=True)) == [(graph.inputs[0], outer, 0)]


def _training_step() -> gx.Program:
    x, y = gx.placeholder("x", ("n", 4)), gx.placeholder("y", ("n",), "int64")
    w, b = gx.variable(np.ones((4, 3), "float32"), name="w"), gx.variable(np.zeros(3, "float32"), name="b")
    loss = gx.nn.softmax_cross_entropy(x @ w + b, y).mean()
    return gx.compile([x, y], loss, updates=gx.optim.Adam(1e-3).minimize(loss, [w, b]), name="step")


def test_a_program_lists_signature_passes_kernels_and_memory() -> None:
    program = _training_step()
    text = str(program)
    assert program_to_text(program) == text
    head, passes, kernels, schedules, memory = re.split(r"\n(?:passes|kernels|schedules|memory):\n", text)
    assert head.splitlines() == [
        "program step(x: float32[n, 4], y: int64[n]) -> float32[]",
        "  updates w: float32[4, 3], w.m: float32[4, 3], w.v: float32[4, 3], b: float32[3] and 3 more",
    ]
    rows = passes.splitlines()
    assert rows[0].split() == ["nodes", "kernels", "ms", "rewrites"]
    assert [row.split()[0] for row in rows[1:]] == [*(s.name.split()[0] for s in program.stages), "together"]
    first, last = program.stages[0], program.stages[-1]
    assert f"{first.nodes} -> {last.nodes}" in rows[-1] and f"{first.kernels} -> {last.kernels}" in rows[-1]
    assert len(kernels.splitlines()) == len(program.kernels)
    for row, kernel in zip(kernels.splitlines(), program.kernels, strict=True):
        assert row.split()[0] == kernel.name and "# test_printing.py:" in row
        assert str(kernel.results[0].type) in row
    chosen = {k.name: str(k.choice) for k in program.kernels if k.choice is not None}
    assert {row.split()[0]: row.split(maxsplit=1)[1] for row in schedules.splitlines()} == chosen
    assert "variables updated in place (7): w, w.m, w.v, b, b.m, b.v, Adam.step" in memory
    assert "bytes" not in memory
    assert all(len(row) < 140 for row in text.splitlines())


def test_a_kernel_shows_its_operations_source_and_machine_code() -> None:
    program = _training_step()
    for kernel in program.kernels:
        header = [line for line in kernel.source.splitlines() if line.startswith("#")]
        operations, parameters = header[: len(kernel.nodes)], header[len(kernel.nodes) :]
        assert all("test_printing.py:" in line for line in operations)
        described = r"# (p|dim)\d+ = .+|# +[\d,]+ cycles  .+"
        assert parameters and all(re.fullmatch(described, line) for line in parameters)
        assert "def kernel(" in kernel.source
        # Equal kernels are compiled once: the symbol may carry the name of another one.
        assert "define void" in kernel.llvm and ".globl" in kernel.asm
        assert len(kernel.name) < 60 and repr(kernel) == f"<Kernel {kernel.name}>"
    assert repr(program) == f"<Program 'step': inputs: 2, outputs: 1, kernels: {len(program.kernels)}>"


def test_a_callback_says_that_it_calls_python() -> None:
    double = gx.custom_op("double", lambda t: t, lambda v: v * 2)
    x = gx.placeholder("x", (3,))
    (kernel,) = gx.compile(x, double(x)).kernels
    assert "calls the op's NumPy meaning in Python" in kernel.source
    assert kernel.llvm == "" == kernel.asm


def test_a_program_without_updates_and_kernels_prints() -> None:
    x = gx.placeholder("x", (3,))
    text = str(gx.compile(x, [], name="empty"))
    assert text.startswith("program empty(x: float32[3]) -> nothing\npasses:\n")
    assert "variables updated in place (0): none" in text


def test_temporaries_are_listed_with_the_op_that_made_them() -> None:
    x = gx.placeholder("x", ("n", 3))
    program = gx.compile(x, gx.cumulative_sum(gx.exp(x) * 2, axis=0).sum(axis=0))
    assert any(
        re.fullmatch(r"multiply: float32\[n, 3\]  test_printing.py:\d+", t)
        for t in program.memory.temporaries
    )
