"""Compiled programs against the interpreter, on random graphs and on those that once differed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import graphc as gx
from graphc.codegen.emitter import Emitter
from graphc.codegen.scalar import SHORT
from graphc.errors import GraphcError
from graphc.interpreter import run_graph
from graphc.ir import Graph
from graphc.runtime import kernels as native
from graphc.trace import trace
from tests.random_kernels import Kernels, random_kernels

Array = np.ndarray[Any, Any]


def _assert_same(found: Sequence[Array], wanted: Sequence[Array], smooth: bool, words: str) -> None:
    for k, (a, b) in enumerate(zip(found, wanted, strict=True)):
        assert a.dtype == b.dtype and a.shape == b.shape, f"{words} {k}"
        if smooth:
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-8, err_msg=f"{words} {k}")
        else:
            np.testing.assert_array_equal(a, b, err_msg=f"{words} {k}")


def check(case: Kernels, level: str) -> None:
    """Call the compiled program at several sizes; outputs, updates and errors must be the interpreter's."""
    case.reset()
    program = gx.compile(case.inputs, case.outputs, updates=case.updates, optimize=level)
    graph, _ = trace(case.inputs, case.outputs, case.updates)
    compiled = native.compilations()
    for feeds in case.feeds:
        _check_call(program, graph, case, feeds)
    assert native.compilations() == compiled


def _check_call(program: gx.Program, graph: Graph, case: Kernels, feeds: Any) -> None:
    before = [v.value for v in case.updates]
    try:
        outputs, updates = run_graph(graph, feeds)
    except GraphcError as error:
        with pytest.raises(type(error)):
            program(*feeds.values())
        _assert_same([v.value for v in case.updates], before, case.smooth, "after the error, variable")
        return
    _assert_same(program(*feeds.values()), outputs, case.smooth, "output")
    _assert_same([v.value for v in case.updates], updates, case.smooth, "variable")


@given(case=random_kernels())
@settings(max_examples=40)
def test_exact_graphs(case: Kernels) -> None:
    check(case, "full")


@given(case=random_kernels(max_steps=8))
@settings(max_examples=15)
def test_exact_graphs_without_optimization(case: Kernels) -> None:
    check(case, "none")


@given(case=random_kernels(max_steps=8, smooth=True))
@settings(max_examples=25)
def test_smooth_graphs(case: Kernels) -> None:
    check(case, "full")


# ------------------------------------------------------------ what once differed
def _check_at(
    inputs: list[gx.Tensor], outputs: list[gx.Tensor], sizes: Sequence[int], **options: Any
) -> None:
    rng = np.random.default_rng(0)
    shapes = [[t.type.concrete({"n": n}) for t in inputs] for n in sizes]
    feeds = [
        {t.node: rng.integers(-4, 5, s).astype(t.dtype) for t, s in zip(inputs, row, strict=True)}
        for row in shapes
    ]
    check(Kernels(inputs, outputs, options.get("updates", {}), feeds, False), "full")


def test_a_slice_is_not_stored_from_the_loops_of_its_source() -> None:
    x = gx.placeholder("x", (2, "n", 3), "float64")
    floor = gx.floor(x)
    _check_at([x], [floor, floor[:, :-1]], (5, 1030, 1, 0))


def test_a_concatenation_is_not_stored_from_the_loops_of_its_first_operand() -> None:
    x, y = gx.placeholder("x", ("n", 3), "float32"), gx.placeholder("y", (3,), "float32")
    total = gx.relu(gx.sum(x, axis=0))
    _check_at([x, y], [total, gx.concat([total, y])], (4, 0, 1))


def test_a_result_in_an_operands_memory_is_stored_after_all_reads() -> None:
    x, w = gx.placeholder("x", (3,), "float64"), gx.variable(np.zeros(3), name="w")
    new = x * gx.abs(x)
    _check_at([x], [new, x * gx.abs(w)], (1, 1), updates={w: new})


def test_a_broadcast_row_value_is_used_inside_and_outside_the_loop() -> None:
    x = gx.placeholder("x", (), "int64")
    value = gx.clip(x, -2, 2)
    row = gx.broadcast_to(value, (3,))
    _check_at([x], [value, row, gx.sum(row), gx.sum(value * row)], (1, 1))


def test_no_variable_of_a_kernel_hides_a_dtype() -> None:
    emitter = Emitter()
    names = {emitter.fresh(prefix) for _ in range(100) for prefix in "bfiu"}
    assert len(names) == 400
    assert names.isdisjoint(SHORT.values())
