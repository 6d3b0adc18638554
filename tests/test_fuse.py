"""Fusion: what becomes one kernel, what must not, and that values stay what they were."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graphc.passes import ExpandComposites, Fuse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graphc as gx
from graphc.ir import Graph, verify
from graphc.lower.rules import Leaf
from graphc.pipeline import Pipeline
from graphc.printing import graph_to_text
from graphc.tensor import Tensor
from tests.random_graphs import Program, random_programs

FLOAT = "float32"
_settings = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def _rows(name: str = "x", width: int = 10) -> Tensor:
    return gx.placeholder(name, ("n", width))


def _weight(shape: tuple[int, ...], name: str) -> gx.Variable:
    return gx.variable(np.full(shape, 0.5, FLOAT), name=name)


def _graph(*outputs: Tensor) -> Graph:
    """Return the graph over all placeholders that the outputs need."""
    whole = Graph((), tuple(t.node for t in outputs))
    fed = tuple(n for n in whole.nodes if n.op.name == "placeholder")
    return Graph(fed, whole.outputs)


def _fused(graph: Graph, **options: Any) -> Graph:
    return Pipeline([ExpandComposites(), Fuse(**options)]).run(graph)[-1].graph


def _kernels(graph: Graph) -> list[str]:
    """Return the ops of each kernel, joined by spaces."""
    named = []
    for node in graph.nodes:
        if isinstance(node.payload, Graph):
            inner = (n for n in node.payload.nodes if not isinstance(n.op.lowering, Leaf))
            named.append(" ".join(n.op.name for n in inner))
        elif node.inputs and node.op.name != "item":
            named.append(node.op.name)
    return named


# --------------------------------------------------------- what is one kernel
def _softmax() -> Tensor:
    return gx.softmax(_rows() * 2)


def _layer_norm() -> Tensor:
    return gx.layer_norm(_rows(), _weight((10,), "scale"), _weight((10,), "shift"))


def _dense() -> Tensor:
    return gx.relu(_rows() @ _weight((10, 8), "w") + _weight((8,), "bias"))


def _standardize() -> Tensor:
    x = _rows()
    return (x - x.mean(axis=1, keepdims=True)) / (x.std(axis=1, keepdims=True) + 1)


def _outer_sum() -> Tensor:
    return gx.tanh(_rows().T[:, :, None] + gx.placeholder("y", ("m",)))


PICTURES: dict[str, Callable[[], Tensor]] = {
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "dense": _dense,
    "standardize": _standardize,
    "outer_sum": _outer_sum,
}


@pytest.mark.parametrize("name", PICTURES)
def test_typical_clusters_become_one_kernel(name: str, golden: Callable[[str, str], None]) -> None:
    after = _fused(_graph(PICTURES[name]()))
    golden(f"fuse_{name}", graph_to_text(after, places=False))
    assert len(_kernels(after)) == 1


def _with_gradient(loss: Callable[[Tensor, Tensor], Tensor], dtype: str) -> list[Tensor]:
    x = _rows()
    y = gx.placeholder("y", ("n", 10) if dtype == FLOAT else ("n",), dtype)
    total = loss(x, y).sum()
    return [total, gx.grad(total, [x])[0]]


def _mean_with_gradient(loss: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
    x, y = _rows(), _rows("y")
    mean = loss(x, y).mean()
    return [mean, gx.grad(mean, [x])[0]]


def _batch_norm() -> list[Tensor]:
    x = gx.placeholder("x", ("n", 4, 6, 6))
    return [gx.nn.BatchNorm(4)(x, training=True)]


# The most kernels that each may take.
COUNTS: dict[str, tuple[Callable[[], list[Tensor]], int]] = {
    "log_softmax": (lambda: [gx.log_softmax(_rows())], 1),
    "logsumexp": (lambda: [gx.logsumexp(_rows(), axis=1)], 1),
    "dense and softmax": (lambda: [gx.softmax(_dense())], 2),
    "siblings": (lambda: (lambda x: [gx.exp(x), x.sum(axis=1), gx.tanh(x) * 2])(_rows()), 1),
    "softmax_cross_entropy": (lambda: _with_gradient(gx.nn.softmax_cross_entropy, "int64"), 2),
    "mse": (lambda: _with_gradient(gx.nn.mse, FLOAT), 2),
    "sigmoid_cross_entropy": (lambda: _with_gradient(gx.nn.sigmoid_cross_entropy, FLOAT), 2),
    "l1": (lambda: _with_gradient(gx.nn.l1, FLOAT), 2),
    "huber": (lambda: _with_gradient(gx.nn.huber, FLOAT), 2),
    "huber, mean": (lambda: _mean_with_gradient(gx.nn.huber), 2),
    "batch norm, training": (_batch_norm, 1),
}


@pytest.mark.parametrize(("build", "most"), COUNTS.values(), ids=COUNTS.keys())
def test_common_patterns_take_few_kernels(build: Callable[[], list[Tensor]], most: int) -> None:
    outputs = build()
    fed = [Tensor(n) for n in _graph(*outputs).inputs]
    program = gx.compile(fed, outputs)
    assert program.stages[-1].kernels <= most, [k.name for k in program.kernels]


@pytest.mark.parametrize("optimizer", [gx.optim.Adam(1e-3), gx.optim.SGD(0.1)], ids=["adam", "sgd"])
def test_an_optimizer_takes_one_kernel_per_parameter(optimizer: gx.optim.Optimizer) -> None:
    x = gx.placeholder("x", (6,))
    parameters = [_weight((6,), "a"), _weight((6,), "b"), _weight((6,), "c")]
    loss = (x * parameters[0] * parameters[1] * gx.exp(parameters[2])).sum()
    updates = optimizer.minimize(loss, parameters)
    step = gx.compile(x, updates=updates)
    touched = [k for k in step.kernels if any(n.type.shape == (6,) for n in k.nodes)]
    assert 0 < len(touched) <= len(parameters)


def test_a_value_that_is_output_and_update_is_stored_twice_by_one_kernel() -> None:
    x, w = gx.placeholder("x", (500,)), _weight((500,), "w")
    new = w * 2 + gx.exp(x)
    step = gx.compile(x, new, updates={w: new})
    assert len(step.kernels) == 1
    assert step.memory.in_place == ["w"]
    data = np.linspace(-1, 1, 500, dtype=FLOAT)
    first = step(data)
    np.testing.assert_allclose(first, 1 + np.exp(data), rtol=1e-6)
    np.testing.assert_allclose(step(data), 2 * first + np.exp(data), rtol=1e-6)
    np.testing.assert_allclose(first, 1 + np.exp(data), rtol=1e-6)


def test_an_optimizer_compiles_one_kernel_for_parameters_of_all_shapes() -> None:
    parameters = [_weight(shape, f"w{k}") for k, shape in enumerate([(6,), (3, 70), (2, 3, 4, 5), (500,)])]
    gradients = [gx.placeholder(f"g{k}", w.shape) for k, w in enumerate(parameters)]
    updates = gx.optim.Adam(1e-3).updates(dict(zip(parameters, gradients, strict=True)))
    step = gx.compile(gradients, updates=updates)
    scalars = [k for k in step.kernels if all(n.type.shape == () for n in k.nodes)]
    assert len(scalars) == 1, "the step, its corrections and their count are one kernel"
    compiled = {k.compiled.key("") for k in step.kernels if k.compiled is not None}
    assert len(compiled) == 2
    assert len(step.kernels) == 1 + len(parameters)


def test_column_sums_of_all_sizes_are_one_kernel() -> None:
    matrices = [gx.placeholder(f"x{k}", shape) for k, shape in enumerate([(64, 10), (64, 120), (300, 84)])]
    program = gx.compile(matrices, [x.sum(axis=0) for x in matrices])
    assert len({k.compiled.key("") for k in program.kernels if k.compiled is not None}) == 1


@pytest.mark.parametrize("build", [*PICTURES.values(), *(b for b, _ in COUNTS.values())])
def test_fusing_again_changes_nothing(build: Callable[[], Any]) -> None:
    # Not so for every graph: the test for cycles is cautious, and what is already fused moves aside.
    outputs = build()
    once = _fused(_graph(*(outputs if isinstance(outputs, list) else [outputs])))
    assert Fuse()(once) is once


# ------------------------------------------------------------- what is not
def test_nothing_to_fuse_returns_the_same_object() -> None:
    x = _rows()
    for outputs in ([x], [gx.exp(x)], [x @ _weight((10, 6), "w")], [gx.cumulative_sum(x, axis=1)]):
        graph = _graph(*outputs)
        assert Fuse()(graph) is graph


def test_a_diamond_through_an_unfusible_node_stays_acyclic() -> None:
    x = _rows()
    e = gx.exp(x)
    graph = _graph(e / gx.cumulative_sum(e * 2, axis=1))
    after = _fused(graph)
    verify(after)
    assert _kernels(after) == ["exp multiply", "cumulative_sum", "divide"]


def test_siblings_that_depend_on_each_other_from_afar_stay_apart() -> None:
    x = _rows()
    first = gx.tanh(x)
    second = x + gx.cumulative_sum(first, axis=1)
    after = _fused(_graph(first, second))
    verify(after)
    assert _kernels(after) == ["tanh", "cumulative_sum", "add"]


EXPENSIVE: dict[str, Callable[[Tensor], Tensor]] = {
    "broadcast along a new outer axis": lambda x: gx.exp(x)[None] * gx.placeholder("y", (7, 1, 1)),
    "each row for every row": lambda x: gx.tanh(x)[:, None, :] - gx.tanh(x)[None, :, :],
    "into a product": lambda x: gx.exp(x) @ _weight((10, 6), "w"),
    "gathered": lambda x: gx.take(gx.exp(x), [0, 1, 1, 1, 0, 2], axis=1) * 2,
    "a window": lambda x: gx.exp(x)[:, :-1] + gx.exp(x)[:, 1:],
}


@pytest.mark.parametrize("build", EXPENSIVE.values(), ids=EXPENSIVE.keys())
def test_an_expensive_producer_is_not_computed_again_for_every_reader(
    build: Callable[[Tensor], Tensor],
) -> None:
    kernels = _kernels(_fused(_graph(build(_rows()))))
    alone = [k for k in kernels if k in ("exp", "tanh", "exp exp", "tanh tanh")]
    assert alone and len(kernels) > len(alone)


def test_an_expensive_producer_may_be_computed_once_around_the_inner_loop() -> None:
    x, y = _rows(), gx.placeholder("y", (1, 1, 7))
    program = gx.compile([x, y], gx.exp(x)[:, :, None] * y)
    assert len(program.kernels) == 1
    before, inner = program.kernels[0].source.split("in range(7):")
    assert before.count("exp_f32(") == 1 and "exp_f32(" not in inner


def test_a_cheap_producer_is_read_through() -> None:
    x = _rows()
    assert len(_kernels(_fused(_graph((x * 2)[:, :, None] + gx.placeholder("y", (1, 1, 7)))))) == 1


def test_the_caps_on_size_hold() -> None:
    y = x = _rows()
    for _ in range(30):
        y = y * x + 1
    after = _fused(_graph(y), max_nodes=8)
    assert max(len(k.split()) for k in _kernels(after)) <= 8
    wide = sum((gx.placeholder(f"x{k}", ("n",)) for k in range(1, 12)), gx.placeholder("x0", ("n",)))
    after = _fused(_graph(wide), max_operands=4)
    assert all(len(n.inputs) <= 4 for n in after.nodes)


def test_what_a_row_maximum_compares_is_kept_for_the_exponential() -> None:
    """Computed twice, the two copies could differ in their last bit, and exp makes that inf."""
    x, y = _rows("x", 3000), _rows("y", 3000)
    program = gx.compile([x, y], gx.softmax(x * y + 1))
    assert len(program.kernels) == 1
    source = program.kernels[0].source
    assert len(re.findall(r"t\d+ \* t\d+", source)) == 1
    assert source.count("exp_f32(") == 1
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(4, 3000)).astype(FLOAT) * 1e4 for _ in range(2))
    result = program(a, b)
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result.sum(axis=1), 1, rtol=1e-5)


def test_a_program_shows_what_was_fused_and_every_line() -> None:
    x = _rows()
    y = gx.exp(x)
    z = y * 2
    program = gx.compile(x, z.sum(axis=1))
    lines = [t.node.where.line for t in (y, z)]
    for text in (program.kernels[0].source, str(program.graph), str(program)):
        assert all(re.search(rf"test_fuse\.py:(\d+,)*{line}\b", text) for line in lines)
    assert program.stages[-1].kernels == 1 < program.stages[-1].kernels_before
    assert program.stages[-1].counts() == {"fuse 3 nodes": 1}


# ------------------------------------------------------------------ any graph
@given(program=random_programs())
@_settings
def test_fusing_keeps_every_value(program: Program) -> None:
    after = _fused(program.graph)
    verify(after)
    for got, wanted in zip(program.run(after), program.run(), strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)


@given(program=random_programs(), nodes=st.integers(2, 6), operands=st.integers(2, 6))
@_settings
def test_any_caps_keep_every_value(program: Program, nodes: int, operands: int) -> None:
    expanded = Pipeline([ExpandComposites()]).run(program.graph)[-1].graph
    after = Fuse(max_nodes=nodes, max_operands=operands)(expanded)
    verify(after)
    for got, wanted in zip(program.run(after), program.run(), strict=True):
        np.testing.assert_array_equal(got, wanted)


@given(program=random_programs())
@_settings
def test_fusing_never_adds_kernels_and_keeps_every_computation_once(program: Program) -> None:
    expanded = Pipeline([ExpandComposites()]).run(program.graph)[-1].graph
    before, after = _kernels(expanded), _kernels(Fuse()(expanded))
    assert len(after) <= len(before)
    # A view may be repeated in each of its readers; a reduction or an expensive op never is.
    words = " ".join(after).split()
    for name in ("exp", "tanh", "sum", "prod", "max", "min", "matmul", "sigmoid", "sqrt"):
        assert words.count(name) == before.count(name)
