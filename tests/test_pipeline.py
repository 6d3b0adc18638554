"""The pipeline and the rewrite driver: what they record, what they refuse, what they cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from graphc.passes import (
    FULL,
    PIPELINES,
    Canonicalize,
    ExpandComposites,
    FoldConstants,
    MergeEqual,
    Simplify,
    steps_for,
)

import graphc as gx
from graphc import ops
from graphc.errors import ArgumentError, GraphError, PassError
from graphc.ir import Graph, Inferred, Node, verify
from graphc.pipeline import Pass, Pipeline, Repeat, kernel_count
from graphc.rewriting import Match, Rule, apply_rules, op, var
from graphc.tensor import Tensor
from graphc.types import TensorType

X = var("x")


def _graph(*outputs: Tensor) -> Graph:
    leaves = {n: None for t in outputs for n in Graph((), (t.node,)).nodes if n.op.name == "placeholder"}
    return Graph(tuple(leaves), tuple(t.node for t in outputs))


def _input() -> Tensor:
    return gx.placeholder("x", ("n", 3), "float64")


# ---------------------------------------------------------------------- records
def test_stages_record_counts_rules_and_lines() -> None:
    x = _input()
    y = x * 1
    stages = Pipeline([Simplify()]).run(_graph(ops.exp(y)))
    first, last = stages
    assert (first.name, first.nodes, first.kernels) == ("traced", 4, 2)
    assert (last.name, last.nodes_before, last.nodes, last.kernels_before, last.kernels) == (
        "simplify",
        4,
        2,
        2,
        1,
    )
    assert [(r.rule, r.where) for r in last.rewrites] == [("x * 1 --> x", y.node.where)]
    assert last.changed and last.seconds > 0
    assert "simplify: 4 -> 2 nodes, 2 -> 1 kernels" in str(last) and "1 x x * 1 --> x" in str(last)


def test_shape_changes_launch_no_kernel() -> None:
    assert kernel_count(_graph(ops.exp(_input().reshape(-1)))) == 1


def test_replacements_keep_name_and_line() -> None:
    x = _input()
    y = ops.negative(x - x * 2)
    named = replace(y.node, name="result")
    after = Simplify()(_graph(Tensor(named)))
    (root,) = after.outputs
    assert (root.op.name, root.name, root.where) == ("subtract", "result", y.node.where)


def test_a_repeated_group_stops_when_nothing_changes() -> None:
    group = Repeat((Canonicalize(), FoldConstants(), Simplify()))
    stages = Pipeline([group]).run(_graph(_input() * (ops.sqrt(gx.constant(4.0)) - 1)))
    assert [s.name for s in stages] == ["traced", "canonicalize", "fold_constants", "simplify"]
    assert stages[-1].nodes == 1


def test_later_rounds_leave_only_stages_that_changed_something() -> None:
    group = Repeat((MergeEqual(), Simplify(), FoldConstants()))
    stages = Pipeline([group]).run(_graph(_input() + (ops.sqrt(gx.constant(4.0)) - 2)))
    assert [s.name for s in stages] == ["traced", "cse", "simplify", "fold_constants", "simplify (2)"]


@dataclass(frozen=True)
class Rename:
    """A user's own pass, in a few lines."""

    suffix: str = "!"

    def __call__(self, graph: Graph) -> Graph:
        return graph.map_nodes(lambda n: replace(n, name="y" + self.suffix) if n.op.name == "exp" else n)


def test_users_passes_run_and_are_named() -> None:
    stages = Pipeline(steps_for([Rename("?")])).run(_graph(ops.exp(_input())))
    assert [s.name for s in stages] == ["traced", "rename", "expand_composites"]
    assert stages[-1].graph.outputs[0].name == "y?"


def test_a_plain_function_is_a_pass() -> None:
    def leave(graph: Graph) -> Graph:
        return graph

    assert [s.name for s in Pipeline([leave]).run(_graph(_input()))] == ["traced", "leave"]


def test_levels() -> None:
    assert set(PIPELINES) == {"none", "fast", "full"}
    assert steps_for("none") == (ExpandComposites(),)
    assert steps_for([Simplify()]) == (Simplify(), ExpandComposites())
    with pytest.raises(ArgumentError, match="no such pipeline"):
        steps_for("fastest")
    with pytest.raises(ArgumentError, match="cannot be called"):
        Pipeline([3])


# --------------------------------------------------------------------- failures
def _crash(graph: Graph) -> Graph:
    raise ZeroDivisionError("oh no")


def _lie(graph: Graph) -> Graph:
    return graph.map_nodes(lambda n: replace(n, type=replace(n.type, shape=())) if n.op.name == "exp" else n)


def _forget_inputs(graph: Graph) -> Graph:
    return Graph((), graph.inputs[:0], nodes=())


def _other_output(graph: Graph) -> Graph:
    return Graph(graph.inputs, graph.inputs)


def _invent_update(graph: Graph) -> Graph:
    v = gx.variable(1.0, name="v")
    return Graph(graph.inputs, graph.outputs, ((v.node, (v + 1).node),))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (_crash, "ZeroDivisionError: oh no"),
        (_lie, "exp has a wrong type"),
        (_forget_inputs, "inputs"),
        (_other_output, "output types"),
        (_invent_update, "updates other variables"),
        (lambda graph: None, "not a Graph"),
    ],
)
def test_a_failing_pass_is_named_with_what_ran_before(step: Pass, message: str) -> None:
    graph = _graph(ops.exp(_input()).sum())
    with pytest.raises(PassError, match=message) as caught:
        Pipeline([Canonicalize(), step]).run(graph)
    assert "failed after traced -> canonicalize" in str(caught.value)
    assert caught.value.__cause__ is not None


def test_passes_that_undo_each_other_are_named() -> None:
    def back(graph: Graph) -> Graph:
        return apply_rules(graph, (Rule("exp --> tanh", op("exp", X), op("tanh", X)),))

    def forth(graph: Graph) -> Graph:
        return apply_rules(graph, (Rule("tanh --> exp", op("tanh", X), op("exp", X)),))

    with pytest.raises(PassError, match="back, forth do not converge"):
        Pipeline([Repeat((back, forth), limit=5)]).run(_graph(ops.exp(_input())))


def test_only_new_nodes_are_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphc.ops import op as op_module

    x = _input()
    y = x
    for _ in range(50):
        y = ops.tanh(y)
    seen: list[str] = []
    original = op_module.infer

    def noting(node: Node, said: Inferred) -> TensorType:
        seen.append(node.op.name)
        return original(node, said)

    monkeypatch.setattr(op_module, "infer", noting)
    graph = _graph(ops.log(1 + ops.exp(y)))
    Pipeline([]).run(graph)
    at_start = len(seen)
    Pipeline(FULL).run(graph)
    assert len(seen) - at_start < at_start + 12


def test_type_rules_are_asked_once_and_every_node_is_compared() -> None:
    x = _input()
    y = ops.exp(ops.tanh(ops.tanh(ops.tanh(x))))
    said: Inferred = {}
    verify(_graph(y), known=said)
    assert [op.name for op, _, _ in said] == ["tanh", "exp"]
    other = ops.tanh(y).node
    false = replace(other, type=x.astype("float32").type)
    verify(Graph((x.node,), (other,)), known=said)
    with pytest.raises(GraphError, match="tanh has a wrong type"):
        verify(Graph((x.node,), (false,)), known=said)


# ------------------------------------------------------------------- the driver
def test_rules_are_tried_only_where_their_ops_may_be() -> None:
    tried: list[tuple[str, str]] = []

    def noting(name: str) -> Callable[[Match], bool]:
        return lambda m: tried.append((name, m.root.op.name)) is not None

    x = _input()
    patterns = {
        "some": op(None, X, of=lambda o: o.name == "exp"),
        "pair": op("add", 1, op("exp", X)),
        "in order": op("add", 1, op("exp", X), ordered=True),
        "over others": op("exp", op("tanh", X)),
        "three": op("add", X, X, X),
    }
    rules = tuple(Rule(name, p, X, noting(name)) for name, p in patterns.items())
    graph = _graph(ops.add(ops.exp(x), 1))
    assert apply_rules(graph, rules) is graph
    assert tried == [("some", "exp"), ("pair", "add")]


def test_a_replacement_of_another_type_is_refused() -> None:
    rule = Rule("exp(x) --> float32", op("exp", X), lambda m: m["x"].astype("float32"))
    with pytest.raises(PassError, match="changed the type of exp") as caught:
        apply_rules(_graph(ops.exp(_input())), (rule,))
    assert "float64[n, 3], given float32[n, 3]" in str(caught.value)


def test_a_rule_that_does_not_terminate_is_stopped() -> None:
    rule = Rule("exp(x) --> exp(x + 1)", op("exp", X), lambda m: ops.exp(m["x"] + 1))
    with pytest.raises(PassError, match="does not terminate"):
        apply_rules(_graph(ops.exp(_input())), (rule,))


def test_a_replacement_around_its_root_is_refused() -> None:
    rule = Rule("exp(x) --> tanh(exp(x))", op("exp", X), lambda m: ops.tanh(Tensor(m.root)))
    with pytest.raises(PassError, match="contains what it replaces"):
        apply_rules(_graph(ops.exp(_input())), (rule,))


def test_replacements_are_rewritten_in_turn() -> None:
    rules = (
        Rule("tanh --> exp(exp)", op("tanh", X), op("exp", op("exp", X))),
        Rule("exp --> sin", op("exp", X), op("sin", X)),
    )
    after = apply_rules(_graph(ops.tanh(_input())), rules)
    assert [n.op.name for n in after.nodes] == ["placeholder", "sin", "sin"]


def test_patterns_match_constants_in_any_dress_and_order() -> None:
    x = _input()
    ones = ops.broadcast_to(gx.constant(np.ones((1, 3))), (2, 1, 3))
    rule = Rule("x * 1 --> x", op("multiply", X, 1), X)
    for product in (1.0 * x, x * 1.0, x * np.ones((1, 3)), ops.ones((3,), "float64") * x):
        assert apply_rules(_graph(product), (rule,)).outputs == (x.node,)
    stretched = apply_rules(_graph(x[:1] * ones), (rule,)).outputs[0]
    assert stretched.op.name == "broadcast_to"


def test_equal_names_mean_equal_values() -> None:
    x = _input()
    rule = Rule("maximum(x, x) --> x", op("maximum", X, X), X)
    assert apply_rules(_graph(ops.maximum(x, x)), (rule,)).outputs == (x.node,)
    untouched = _graph(ops.maximum(x, x * 2))
    assert apply_rules(untouched, (rule,)) is untouched


# ------------------------------------------------------------------------- size
@pytest.mark.parametrize("length", [100, 2_500])
def test_chains_of_up_to_ten_thousand_nodes_cost_one_application_per_match(length: int) -> None:
    y = _input()
    for _ in range(length):
        y = ops.negative(-(y * 1)) + 0
    stages = Pipeline([Canonicalize(), Simplify(), MergeEqual()]).run(_graph(y))
    counts = stages[2].counts()
    assert counts["x * 1 --> x"] == counts["-(-x) --> x"] == counts["x + 0 --> x"] == length
    assert stages[-1].nodes == 1


def test_the_gradient_of_a_long_chain_settles_in_few_rounds() -> None:
    x = gx.variable(1.0, name="x")
    y: Tensor = x
    for _ in range(2_000):
        y = y * 1.5 + x
    stages = Pipeline(FULL).run(_graph(gx.grad(y, x)))
    assert sum(len(s.rewrites) for s in stages) < 30_000
    assert len(stages) < 40
