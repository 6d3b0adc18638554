"""Memory: where values lie, what shares a buffer, what is updated in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from graphc.passes import FULL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graphc as gx
from graphc import ordering
from graphc.blocks import may_fail
from graphc.ir import Graph
from graphc.lower.ownership import materialize
from graphc.lower.rules import Leaf
from graphc.lower.steps import Storage, lower_graph, storage_of
from graphc.memory import Assignment, assign
from graphc.pipeline import Pipeline
from graphc.placement import ALIGNMENT, Block, place
from graphc.tensor import Tensor
from tests.random_graphs import Program, random_programs

Array = np.ndarray[Any, Any]
_settings = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


# ---------------------------------------------------------------- the arena
@st.composite
def _blocks(draw: Callable[..., Any]) -> list[Block]:
    spans = st.tuples(
        st.integers(0, 12), st.integers(0, 6), st.sampled_from([0, 1, 63, 64, 65, 100, 1000, 4096])
    )
    drawn = draw(st.lists(spans, max_size=25))
    return [Block(k, first, first + length, size) for k, (first, length, size) in enumerate(drawn)]


def _round(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


@given(blocks=_blocks())
@_settings
def test_blocks_that_live_together_never_overlap(blocks: list[Block]) -> None:
    offsets, arena = place(blocks)
    for k, a in enumerate(blocks):
        start = offsets[a.key]
        assert start % ALIGNMENT == 0 and start >= 0 and start + a.size <= arena
        for b in blocks[:k]:
            apart_in_time = a.last < b.first or b.last < a.first
            apart = start + a.size <= offsets[b.key] or offsets[b.key] + b.size <= start
            assert apart_in_time or apart or not a.size or not b.size
    live = [sum(_round(b.size) for b in blocks if b.first <= t <= b.last) for t in range(20)]
    assert max(live) <= arena <= sum(_round(b.size) for b in blocks)


@pytest.mark.parametrize(
    ("spans", "arena"),
    [
        ([], 0),
        ([(0, 1, 64), (2, 3, 64), (4, 5, 64)], 64),
        ([(0, 1, 64), (1, 2, 64), (2, 3, 64), (3, 4, 64)], 128),
        # Two small neighbours that are free again make room for a large one.
        ([(0, 1, 64), (0, 1, 64), (2, 3, 128)], 128),
        ([(0, 5, 1)], 64),
        ([(0, 5, 0)], 0),
    ],
)
def test_the_arena_is_as_small_as_the_peak_of_simple_chains(
    spans: list[tuple[int, int, int]], arena: int
) -> None:
    assert place([Block(k, *span) for k, span in enumerate(spans)])[1] == arena


# ------------------------------------------------------------- the assignment
def _assigned(graph: Graph) -> tuple[Graph, Assignment]:
    ready = materialize(graph)
    steps = lower_graph(ready)
    return ready, assign(ready, steps, frozenset(s.node for s in steps if may_fail(s)))


@pytest.mark.parametrize("reordered", [False, True])
@pytest.mark.parametrize("optimized", [True, False])
@given(program=random_programs())
@_settings
def test_every_value_is_still_there_when_it_is_read(
    program: Program, optimized: bool, reordered: bool
) -> None:
    """Follow what each memory holds through all steps: nothing is overwritten too early."""
    stages = Pipeline(FULL).run(program.graph)
    expanded = next(s for s in stages if s.name.startswith("expand")) if not optimized else stages[-1]
    with patch.object(ordering, "WORTHWHILE", -(1 << 60) if reordered else 1 << 60):
        graph, assignment = _assigned(expanded.graph)
    holds = {Storage(n): Storage(n) for n in graph.nodes if isinstance(n.op.lowering, Leaf)}
    for position, step in enumerate(assignment.order):
        for storage in step.reads.values():
            assert holds[assignment.resolve(storage)] == storage
        for storage in step.writes.values():
            holds[assignment.resolve(storage)] = storage
        for storage in (*step.reads.values(), *step.writes.values()):
            first, last = assignment.lifetimes.get(assignment.resolve(storage), (position, position))
            assert first <= position <= last
    for variable, storage in assignment.committed:
        assert holds[assignment.resolve(storage)] == storage
        holds[Storage(variable)] = storage
    for variable, value in graph.updates:
        assert holds[Storage(variable)] in (storage_of(value), Storage(variable))
    outputs = [assignment.resolve(storage_of(n)) for n in graph.outputs]
    assert len(set(outputs)) == len(outputs)
    for node, lies in zip(graph.outputs, outputs, strict=True):
        assert holds[lies] == storage_of(node) and not isinstance(lies.node.op.lowering, Leaf)


def _chain(x: Tensor) -> Any:
    return gx.exp(gx.tanh(x * 2) + 1).sum()


def _diamond(x: Tensor) -> Any:
    e = gx.exp(x)
    return gx.tanh(e) * gx.sin(e)


def _shapes(x: Tensor) -> Any:
    return gx.exp(gx.tanh(x).reshape(-1)) + 1


def _transposed(x: Tensor) -> Any:
    return gx.tanh(gx.exp(x).T) + 1


def _stencil(x: Tensor) -> Any:
    e = gx.exp(x)
    return (e[:, 1:] + e[:, :-1]).sum()


SMALL: dict[str, Callable[[Tensor], Any]] = {
    "chain": _chain,
    "diamond": _diamond,
    "shapes": _shapes,
    "transposed": _transposed,
    "stencil": _stencil,
}


def _decisions(graph: Graph) -> str:
    """Return each step with the memory of its operands and results; ``=`` marks shared ones."""
    ready, assignment = _assigned(graph)
    names: dict[Storage, str] = {}
    outputs = {assignment.resolve(storage_of(n)) for n in ready.outputs}

    def name(storage: Storage) -> str:
        lies = assignment.resolve(storage)
        leaf = isinstance(lies.node.op.lowering, Leaf)
        kind = str(lies.node.name) if leaf and lies.node.name else "out" if lies in outputs else "m"
        return names.setdefault(lies, kind if leaf else f"{kind}{len(names)}")

    lines = []
    for step in assignment.order:
        read = ", ".join(name(s) for n, s in step.reads.items() if n.op.name != "constant")
        written = ", ".join(name(s) for s in step.writes.values())
        lines.append(f"{written} = {' '.join(n.op.name for n in step.members)}({read})")
    return "\n".join(lines)


def test_which_results_take_over_an_operand(golden: Callable[[str, str], None]) -> None:
    texts = []
    for name, build in SMALL.items():
        x = gx.placeholder("x", ("n", 4))
        texts.append(f"{name}\n{_decisions(Graph((x.node,), (build(x).node,)))}")
    golden("memory", "\n\n".join(texts))


@pytest.mark.parametrize("build", SMALL.values(), ids=SMALL.keys())
def test_shared_memory_gives_the_same_values(build: Callable[[Tensor], Any]) -> None:
    x = gx.placeholder("x", ("n", 4))
    y = build(x)
    fed = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)
    program = gx.compile(x, y, optimize="none")
    np.testing.assert_allclose(program(fed), gx.evaluate(y, {x: fed}), rtol=1e-6)


def test_memory_that_is_shared_is_one_parameter_of_the_kernel() -> None:
    w = gx.variable(np.ones(5), name="w")
    step = gx.compile([], updates={w: w * 2})
    (kernel,) = step.kernels
    assert kernel.source.count("def kernel(p0, dim0, block, blocks, worker)") == 1
    step()
    np.testing.assert_array_equal(w.value, np.full(5, 2.0))


def test_a_total_of_a_product_is_not_collected_in_a_variable_that_the_kernel_reads() -> None:
    """Long sums are collected in a result's memory; that must not hold an operand."""
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(20, 3000)), rng.normal(size=(3000, 30))
    old_a, old_b = rng.normal(size=(20, 30)), rng.normal(size=(20, 30))
    a, b = gx.variable(old_a, name="a"), gx.variable(old_b, name="b")
    x, y = (gx.placeholder(n, v.shape, "float64") for n, v in (("x", left), ("y", right)))
    step = gx.compile([x, y], updates={a: x @ y - 0.1 * b, b: a * b + x @ y})
    step(left, right)
    product = left @ right
    np.testing.assert_allclose(a.value, product - 0.1 * old_b, atol=1e-11)
    np.testing.assert_allclose(b.value, old_a * old_b + product, atol=1e-11)


# ------------------------------------------------------------------- programs
def _deep(layers: int) -> tuple[list[Tensor], Tensor, list[gx.Variable]]:
    rng = np.random.default_rng(1)
    x, y = gx.placeholder("x", ("n", 32)), gx.placeholder("y", ("n",), "int64")
    weights = [gx.variable(rng.normal(0, 0.2, (32, 32)).astype("f4"), name=f"w{k}") for k in range(layers)]
    h = x
    for w in weights:
        h = gx.relu(h @ w)
    return [x, y], gx.nn.softmax_cross_entropy(h, y).mean(), weights


def test_the_arena_of_a_deep_network_is_far_below_the_sum_of_its_values() -> None:
    inputs, loss, _ = _deep(12)
    program = gx.compile(inputs, loss)
    assert program.memory.sizes is None and program.memory.arena == 0
    program(np.ones((64, 32), np.float32), np.zeros(64, np.int64))
    report = program.memory
    assert report.sizes == {"n": 64}
    assert 0 < report.arena < report.unshared / 3
    assert f"arena {report.arena} bytes at n=64; without sharing {report.unshared} bytes" in str(report)


def test_training_a_deep_network_updates_every_variable_in_place() -> None:
    inputs, loss, weights = _deep(6)
    step = gx.compile(inputs, loss, updates=gx.optim.Adam(1e-3).minimize(loss, weights))
    fed = np.ones((16, 32), np.float32), np.zeros(16, np.int64)
    losses = [float(step(*fed)) for _ in range(5)]
    report = step.memory
    assert {f"w{k}" for k in range(6)} | {f"w{k}.m" for k in range(6)} <= set(report.in_place)
    assert report.committed == []
    assert report.arena < report.unshared
    assert losses[-1] < losses[0]


def test_a_swap_cannot_be_in_place() -> None:
    a, b = gx.variable(np.zeros(3), name="a"), gx.variable(np.ones(3), name="b")
    report = gx.compile([], updates={a: b, b: a}).memory
    assert len(report.committed) == 1 and len(report.in_place) == 1
    assert f"variables updated by copy (1): {report.committed[0]}" in str(report)


def test_a_step_that_may_fail_keeps_all_updates_aside() -> None:
    a, x = gx.variable(np.zeros(3), name="a"), gx.placeholder("x", (3,), "float64")
    plain = gx.compile(x, updates={a: a + x})
    checked = gx.compile(x, updates={a: gx.debug.check_finite(a + x)})
    assert plain.memory.in_place == ["a"] and checked.memory.committed == ["a"]


def test_the_arena_grows_for_larger_sizes_and_old_plans_still_run() -> None:
    x = gx.placeholder("x", ("n", 8))
    program = gx.compile(x, gx.cumulative_sum(gx.exp(x), axis=0).sum(axis=0) + gx.exp(x).max())
    for n in (3, 400, 3, 1, 0 + 2, 400, 4000, 3):
        fed = np.linspace(-1, 1, n * 8, dtype=np.float32).reshape(n, 8)
        e = np.exp(fed)
        np.testing.assert_allclose(program(fed), np.cumsum(e, 0).sum(0) + e.max(), rtol=1e-4)


def test_a_check_keeps_updates_aside_only_where_it_depends_on_their_kernels() -> None:
    """Statistics of the batch and the running ones come from one kernel, long before labels are checked."""
    x, y = gx.placeholder("x", ("n", 4)), gx.placeholder("y", ("n",), "int64")
    norm, w = gx.nn.BatchNorm(4), gx.variable(np.ones((4, 3), np.float32), name="w")
    loss = gx.nn.softmax_cross_entropy(norm(x, training=True) @ w, y).mean()
    step = gx.compile([x, y], loss, updates=gx.optim.SGD(0.1).minimize(loss))
    assert "w" in step.memory.in_place
    before = [v.value for v in (w, *norm.variables)]
    with pytest.raises(gx.errors.CheckError):
        step(np.ones((2, 4), np.float32), np.array([0, 3]))
    for variable, value in zip((w, *norm.variables), before, strict=True):
        np.testing.assert_array_equal(variable.value, value)
