"""Provenance: which node became which, through every stage, in both directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from graphc.passes import FULL, Rematerialize
from hypothesis import HealthCheck, given, settings

import graphc as gx
from graphc.inspection import Provenance
from graphc.ir import Node
from graphc.pipeline import Pipeline, Stage
from graphc.runtime.kernel import Kernel
from graphc.trace import trace
from tests.random_graphs import Program, random_programs

Float32 = "float32"


@pytest.fixture(scope="module")
def training() -> Provenance:
    x = gx.placeholder("x", shape=("b", 8))
    y = gx.placeholder("y", shape=("b",), dtype="int64")
    w = gx.variable(np.zeros((8, 4), Float32), name="w")
    shared = gx.exp(x) * gx.exp(x)
    scores = gx.relu((shared * gx.sqrt(gx.constant(np.float32(4)))) @ w)
    loss = gx.nn.softmax_cross_entropy(gx.log(gx.softmax(scores)), y).mean()
    return Provenance(gx.compile([x, y], loss, updates=gx.optim.SGD(0.1).minimize(loss)))


@pytest.fixture(scope="module")
def recurrent() -> Provenance:
    x = gx.placeholder("x", shape=("b", 16, 4))
    cell = gx.nn.GRU(4, 4)
    loss = (cell(x)[0] ** 2).sum()
    return Provenance(gx.compile([x], loss, updates=gx.optim.SGD(0.1).minimize(loss)))


@dataclass(frozen=True)
class Optimized:
    """A graph that went through the passes, but was not compiled."""

    stages: tuple[Stage, ...]
    kernels: tuple[Kernel, ...] = ()


def traced(history: Provenance, op: str) -> Node:
    return next(n for n in history.places(0).owner if n.op.name == op)


def fates(history: Provenance, node: Node) -> dict[str, Any]:
    stages = history.stages
    return {stages[k].name: f for k, f in history.course(node) if f.kind != "kept"}


# ------------------------------------------------------------------- forwards
def test_a_folded_node_becomes_a_constant_and_takes_its_operand_along(training: Provenance) -> None:
    fate = fates(training, traced(training, "sqrt"))["fold_constants"]
    assert (fate.kind, fate.rule) == ("folded", "sqrt of constants --> constant")
    assert fate.targets[0].op.name == "constant"
    operand = traced(training, "sqrt").inputs[0]
    absorbed = fates(training, operand)["fold_constants"]
    assert (absorbed.kind, absorbed.rule, absorbed.targets) == ("absorbed", fate.rule, fate.targets)


def test_an_equal_node_is_merged_with_the_other_one(training: Provenance) -> None:
    first, second = [n for n in training.places(0).owner if n.op.name == "exp"][:2]
    fate = fates(training, second)["cse"]
    assert fate.kind == "merged"
    assert fate.note.startswith("with exp at test_provenance.py:")
    assert training.kernel_of(first) is training.kernel_of(second) is not None


def test_a_rewritten_node_names_the_rule(training: Provenance) -> None:
    fate = fates(training, traced(training, "log"))["stabilize"]
    assert (fate.kind, fate.rule) == ("rewritten", "log(softmax(x)) --> log_softmax(x)")


def test_a_composite_node_becomes_all_nodes_of_its_expansion(training: Provenance) -> None:
    fate = fates(training, traced(training, "log"))["expand_composites"]
    assert {"max", "exp", "sum"} <= {n.op.name for n in fate.targets}


def test_a_fused_node_says_with_what(training: Provenance) -> None:
    matmul = traced(training, "matmul")
    (index, fate) = list(training.course(matmul))[-1]
    assert fate.kind == "fused"
    assert "relu" in fate.note
    owner = training.owner(index, fate.targets[0])
    assert owner is not None and owner.op.name == "fused"
    kernel = training.kernel_of(matmul)
    assert kernel is not None and fate.targets[0] in kernel.nodes


def test_what_nothing_reads_any_more_is_absorbed_by_the_rule() -> None:
    x = gx.placeholder("x", shape=("n",))
    history = Provenance(Optimized(Pipeline(FULL).run(trace([x], gx.log(gx.exp(x) + 1))[0])))
    fate = fates(history, traced(history, "exp"))["stabilize"]
    assert (fate.kind, fate.rule) == ("absorbed", "log(1 + exp(x)) --> softplus(x)")
    assert fate.note.startswith("with add at")
    assert [n.op.name for n in fate.targets] == ["softplus"]


def test_what_nothing_reads_is_pruned() -> None:
    x, w = gx.placeholder("x", shape=("n",)), gx.variable(np.ones((), "float32"), name="w")
    program = gx.compile(x, x + 1, updates={w: w})
    history = Provenance(program)
    assert fates(history, w.node)["prune"].kind == "pruned"
    assert history.kernel_of(w.node) is None


# ------------------------------------------------------------------- backwards
def test_gradient_nodes_belong_to_forward_nodes(training: Provenance) -> None:
    backward = {n: training.forward_of(n) for n in training.places(0).owner}
    forward = {n for n, of in backward.items() if of is None}
    assert traced(training, "matmul") in forward
    products = [n for n in backward if n.op.name == "matmul" and backward[n] is not None]
    assert [backward[n] for n in products] == [traced(training, "matmul")] * len(products)
    assert products


def test_the_correspondence_outlives_rewriting(training: Provenance) -> None:
    last = len(training.stages) - 1
    found = [n for n in training.places(last).owner if n.op.name == "matmul"]
    ways = {training.forward_of(n) for n in found}
    assert ways == {None, traced(training, "matmul")}


def test_a_node_of_a_loop_body_has_an_origin_and_a_gradient(recurrent: Provenance) -> None:
    places = recurrent.places(0)
    inside = [n for n, owner in places.owner.items() if owner is not None]
    assert any(recurrent.forward_of(n) in places.owner for n in inside if recurrent.forward_of(n) is not None)
    assert {f.kind for n in inside for _, f in recurrent.course(n)} >= {"kept", "fused"}


def test_a_node_that_is_not_part_of_the_program_has_no_course(training: Provenance) -> None:
    stranger = gx.exp(gx.placeholder("z", shape=("n",))).node
    assert training.forward_of(stranger) is None
    with pytest.raises(KeyError):
        list(training.course(stranger))


# ------------------------------------------------------------ for every program
@pytest.mark.parametrize("name", ["training", "recurrent"])
def test_every_node_has_a_fate_and_every_target_is_there(name: str, request: pytest.FixtureRequest) -> None:
    history: Provenance = request.getfixturevalue(name)
    consistent(history)


@given(program=random_programs())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_programs_are_followed_from_end_to_end(program: Program) -> None:
    consistent(Provenance(Optimized(Pipeline(FULL).run(program.graph))))


def test_copies_that_are_computed_again_have_the_origin_of_the_first() -> None:
    h = x = gx.placeholder("x", shape=(256, 64))
    weights = [gx.variable(np.ones((64, 64), "float32")) for _ in range(4)]
    for w in weights:
        h = h + gx.tanh(h @ w)
    graph, _ = trace([x], gx.grad(gx.square(h).mean(), weights))
    history = Provenance(Optimized(Pipeline([*FULL, Rematerialize(7 * 256 * 64 * 4)]).run(graph)))
    assert history.stages[-1].rewrites
    consistent(history)


def consistent(history: Provenance) -> None:
    for index, stage in enumerate(history.stages):
        after = history.places(index).owner
        for node, fate in history.step(index).fates.items():
            assert all(t in after for t in fate.targets), (stage.name, node)
            assert (fate.kind == "pruned") == (not fate.targets), (stage.name, node, fate)
            assert fate.rule or fate.kind == "kept", (stage.name, node, fate)
        lost = [n for n in after if not history.origin(index, n)]
        assert not lost, (stage.name, lost)
