"""What kernels have to do at least: operations and bytes, counted by hand here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from graphc.passes import steps_for
from op_table import OPS, symbolic_calls

import graphc as gx
from graphc import dims
from graphc.dims import Dim
from graphc.feeds import solve_sizes
from graphc.frontend.writer import Function
from graphc.inspection.arithmetic import counted, operations
from graphc.inspection.work import Work, work_of, work_of_kernel
from graphc.lower.ownership import materialize
from graphc.lower.steps import lower_graph
from graphc.ops.op import Op
from graphc.pipeline import Pipeline
from graphc.trace import trace
from graphc.types import FLOAT32, FLOAT64

N: Dim = dims.symbol("n")
X = gx.placeholder("x", shape=("n", 8))
Y = gx.placeholder("y", shape=("n",), dtype="int64")
IMAGES = gx.placeholder("images", shape=("n", 2, 6, 6))
W = gx.variable(np.zeros((8, 3), np.float32), name="w")
B = gx.variable(np.zeros(3, np.float32), name="b")
TABLE = gx.variable(np.zeros((100, 4), np.float32), name="table")
FILTERS = gx.variable(np.zeros((5, 2, 3, 3), np.float32), name="filters")
EXP, EXP64 = operations("exp", FLOAT32), operations("exp", FLOAT64)
LOG = operations("log", FLOAT32)

Expected = tuple[Mapping[str, Dim] | None, Dim, Dim]
# A graph that runs as one kernel: operations, bytes read, bytes written.
ONE_KERNEL: dict[str, tuple[Callable[[], gx.Tensor], Expected]] = {
    "elementwise": (lambda: X * X + 1, ({"float32": 16 * N}, 32 * N, 32 * N)),
    "choices are free": (lambda: gx.where(X > 0, X, -X), ({}, 32 * N, 32 * N)),
    "integers": (lambda: Y * Y + 1, ({}, 8 * N, 8 * N)),
    "vector math": (lambda: gx.exp(X), ({"float32": 8 * EXP * N}, 32 * N, 32 * N)),
    "shared sub-expressions": (
        lambda: gx.exp(X) * gx.exp(X),
        ({"float32": (8 * EXP + 8) * N}, 32 * N, 32 * N),
    ),
    "two dtypes": (
        lambda: gx.exp(X.astype("float64")) + (X * X).astype("float64"),
        ({"float64": (8 * EXP64 + 8) * N, "float32": 8 * N}, 32 * N, 64 * N),
    ),
    "broadcast operands are read once": (lambda: X[:, :3] + B, ({"float32": 3 * N}, 12 * N + 12, 12 * N)),
    "sums of rows": (lambda: gx.sum(X, axis=1), ({"float32": 8 * N}, 32 * N, 4 * N)),
    "once for each row": (
        lambda: gx.log(gx.sum(X, axis=1)),
        ({"float32": (8 + LOG) * N}, 32 * N, 4 * N),
    ),
    "once for each row, for all of its elements": (
        lambda: X / gx.log(gx.sum(X, axis=1, keepdims=True)),
        ({"float32": (8 + LOG + 8) * N}, 32 * N, 32 * N),
    ),
    "softmax": (
        # Maximum, difference, exponential, sum, quotient.
        lambda: gx.softmax(X, axis=1),
        ({"float32": 8 * N * (1 + 1 + EXP + 1 + 1 + EXP + 1)}, 32 * N, 32 * N),
    ),
    "product and epilogue": (
        lambda: gx.relu(X @ W + B),
        ({"float32": 2 * 8 * 3 * N + 2 * 3 * N}, 32 * N + 96 + 12, 12 * N),
    ),
    "convolution": (
        lambda: gx.conv2d(IMAGES, FILTERS),
        ({"float32": 2 * (5 * 4 * 4) * (2 * 3 * 3) * N}, 4 * 72 * N + 4 * 90, 4 * 80 * N),
    ),
    "windows": (lambda: gx.max_pool2d(IMAGES, 2), ({"float32": 72 * N}, 288 * N, 72 * N)),
    "no more rows than are taken": (
        lambda: gx.take(TABLE, Y, axis=0),
        ({}, 8 * N + 4 * dims.minimum(4 * N, 400), 16 * N),
    ),
    "a loop inside a kernel": (
        lambda: gx.fori_loop(0, 10, lambda i, c: c * c + 1, X),
        ({"float32": 10 * 16 * N}, 32 * N, 32 * N + 8),
    ),
    "loop nests written by hand": (lambda: gx.argsort(X, axis=1), (None, 32 * N, 64 * N)),
}


@pytest.mark.parametrize("name", ONE_KERNEL)
def test_kernels_are_counted(name: str) -> None:
    build, expected = ONE_KERNEL[name]
    (kernel,) = gx.compile([X, Y, IMAGES], build()).kernels
    work = work_of_kernel(kernel)
    assert (work.flops, work.read, work.written) == expected


def test_operations_of_the_math_library_are_those_of_its_code() -> None:
    # e**x: 7 to reduce the argument, 5 around a polynomial of 2 + 8, 2 to scale.
    assert operations("exp", FLOAT32) == 24
    # Made of it.
    assert operations("exp", FLOAT32) < operations("sigmoid", FLOAT32) < operations("tanh", FLOAT32)
    assert operations("exp", FLOAT32) < operations("exp", FLOAT64)


def test_fused_multiply_add_counts_as_two() -> None:
    text = """
      %v1 = call double @llvm.fma.f64(double %v0, double %v0, double %p0)
      %v2 = fmul contract double %v1, %v0
      %v3 = call double @inner(double %v2)
      %v4 = select i1 %c, double %v2, double %v3
    """
    inner = Function("inner", (), None, "%v1 = call double @llvm.sqrt.f64(double %p0)", {}, ())
    assert counted(Function("outer", (), None, text, {}, (inner,))) == 4


def test_copies_around_loops_are_counted() -> None:
    state = gx.variable(np.zeros(8, np.float32), name="state")
    rows = gx.placeholder("rows", (3, 8))
    last, _ = gx.scan(lambda c, v: (c[::-1] + v, c * v), state, rows)
    named = {k.name: work_of_kernel(k) for k in gx.compile(rows, last).kernels}
    assert named["carry"] == Work({}, 32, 32)


def test_work_adds_up_and_scales() -> None:
    work = Work({"float32": 2 * N}, N, 4) + Work({"float32": 1, "float64": N}, 0, N)
    assert work == Work({"float32": 2 * N + 1, "float64": N}, N, N + 4)
    assert work.at({"n": 10}, 3) == ({"float32": 63, "float64": 30}, 30, 42)
    assert (work + Work(None)).at({"n": 10}, 1) == (None, 10, 14)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_steps_of_every_operation_can_be_counted(op: Op) -> None:
    for call in symbolic_calls(op, list(op.samples())[:1]):
        traced, _ = trace(list(call.inputs), list(call.outputs), None)
        graph = materialize(Pipeline(steps_for("none")).run(traced)[-1].graph)
        sizes = solve_sizes(list(zip(graph.inputs, call.values, strict=True)))
        for step in lower_graph(graph):
            flops, read, written = work_of(step).at(sizes, 1)
            assert written > 0 and read >= 0 and all(count > 0 for count in (flops or {}).values())
