"""Data that claims to be a graph: whatever would make decoding or running it go astray is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import dims
from graphc.artifact.graphs import decode_graph, encode_graph
from graphc.artifact.leaf_table import LeafTable
from graphc.artifact.values import ValueReader
from graphc.dims import Dim
from graphc.errors import ArtifactError, GraphcError
from graphc.interpreter import run_graph
from graphc.ir import Graph


class Stored:
    """A graph as data, to be changed, with its leaves."""

    def __init__(self, inputs: tuple[gx.Tensor, ...], *outputs: gx.Tensor) -> None:
        self.leaves = LeafTable()
        graph = Graph(tuple(t.node for t in inputs), tuple(t.node for t in outputs))
        self.data: Any = encode_graph(graph, self.leaves)

    @property
    def nodes(self) -> Any:
        return self.data["nodes"]

    def find(self, op: str) -> int:
        return next(k for k, n in enumerate(self.nodes) if n["op"] == op)

    def decode(self) -> Graph:
        return decode_graph(self.data, self.leaves)

    def refused(self, match: str) -> ArtifactError:
        with pytest.raises(ArtifactError, match=match) as caught:
            self.decode()
        return caught.value


@pytest.fixture
def simple() -> Stored:
    x = gx.placeholder("x", shape=("n", 4))
    return Stored((x,), gx.exp(x).sum(axis=1))


def test_an_operand_must_come_before(simple: Stored) -> None:
    simple.nodes[1]["in"] = [1]
    simple.refused(r"node 1 \(exp\): bad operands")


def test_types_are_inferred_again(simple: Stored) -> None:
    simple.nodes[2]["type"] = simple.nodes[1]["type"]
    assert "float32[n]" in str(simple.refused(r"node 2 \(sum\): wrong type"))


def test_checks_are_inferred_again() -> None:
    x, y = gx.placeholder("x", shape=("n",)), gx.placeholder("y", shape=("m",))
    stored = Stored((x, y), x + y)
    assert stored.data["graphs"][0]["checks"] == []
    (check,) = stored.decode().checks
    assert (str(check.left), str(check.right)) == ("n", "m")


def test_every_named_size_is_one_of_an_input(simple: Stored) -> None:
    simple.data["tables"]["dims"].append(["name", "m"])
    simple.refused("sizes that no input has")


def test_windows_of_named_sizes_are_checked_at_the_call() -> None:
    x = gx.placeholder("x", shape=("n",), dtype="float64")
    stored = Stored((x,), x[:-1], x[1:], x[::-1][: 2 * dims.symbol("n")])
    honest = stored.decode()
    for size in (0, 1, 3):
        run_graph(honest, {honest.inputs[0]: np.ones(size)})
    # x[1:] with as many elements as x itself.
    whole = stored.nodes[0]["type"]
    n = stored.data["tables"]["types"][whole][1][0]
    window = next(n for n in stored.nodes if n["op"] == "slice" and n["attrs"]["starts"] != [0])
    window["attrs"].update(starts=[1], sizes=[n], steps=[1])
    window["type"] = whole
    stored.data["graphs"][0]["outputs"] = [stored.nodes.index(window)]
    found = stored.decode()
    with pytest.raises(GraphcError, match="a window reaches beyond its operand"):
        run_graph(found, {found.inputs[0]: np.ones(3)})


def test_windows_within_loops_are_checked_at_the_call() -> None:
    x = gx.placeholder("x", shape=("n",), dtype="float64")
    stored = Stored((x,), gx.scan(lambda c, _: ((x * c)[1:].sum(), None), 1.0, length=2)[0])
    honest = stored.decode()
    assert run_graph(honest, {honest.inputs[0]: np.ones(3)})[0] == [4.0]
    window = stored.nodes[stored.find("slice")]
    window["attrs"]["starts"] = [2]
    found = stored.decode()
    with pytest.raises(GraphcError, match="a window reaches beyond its operand"):
        run_graph(found, {found.inputs[0]: np.ones(3)})


def test_sizes_within_loops_are_checked_at_the_call() -> None:
    x = gx.placeholder("x", shape=("n",), dtype="float64")
    n = dims.symbol("n")

    def step(carry: Any, _: None) -> Any:
        return gx.broadcast_to(carry, (n + 3,)).sum(), None

    stored = Stored((x,), gx.scan(step, 1.0, length=2)[0])
    honest = stored.decode()
    assert run_graph(honest, {honest.inputs[0]: np.ones(1)})[0] == [16.0]
    # n - 3
    stored.data["tables"]["dims"][-1][1][1][0] = -3
    found = stored.decode()
    with pytest.raises(GraphcError, match="a size is negative"):
        run_graph(found, {found.inputs[0]: np.ones(1)})


# ------------------------------------------------------------------ loops and branches
def summed(data: Any) -> Stored:
    return Stored((), *gx.scan(lambda c, x: (c + x, c * x), 0.0, data))


def test_results_of_several_are_read_through_items_alone() -> None:
    stored = summed(np.ones(3))
    stored.nodes[stored.find("item")].update(op="exp", attrs={})
    stored.refused("bad operands of exp")
    stored = summed(np.ones(3))
    stored.data["graphs"][-1]["outputs"] = [stored.find("loop")]
    stored.refused("bad results")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("flip", [True]),
        ("captures", 7),
        ("captures", True),
        ("length", None),
        ("length", 4),
        ("carries", -1),
        ("carries", 2),
        ("counted", True),
        ("what", 3),
        ("recompute", None),
        ("extra", 1),
    ],
)
def test_loops_must_fit_their_bodies(key: str, value: Any) -> None:
    stored = summed(np.ones(3))
    stored.decode()
    stored.nodes[stored.find("loop")]["attrs"][key] = value
    stored.refused(r"\(loop\)")


def test_the_condition_of_a_loop_must_be_one() -> None:
    stored = Stored((), gx.while_loop(lambda s: s < 9, lambda s: s + 1, 0))
    stored.decode()
    body, condition, _ = stored.data["graphs"]
    condition["outputs"] = body["outputs"]
    stored.refused("result of a condition differ")


def chosen() -> Stored:
    x = gx.placeholder("x", shape=())
    return Stored((x,), gx.cond(x > 0, gx.exp, lambda t: t * 2, x))


def test_branches_must_agree() -> None:
    stored = chosen()
    branch = stored.data["graphs"][0]
    branch["outputs"] = branch["outputs"] * 2
    stored.refused(r"\(switch\): results of switch differ")


def test_a_body_reads_its_own_inputs_alone() -> None:
    stored = chosen()
    stored.data["graphs"][0]["outputs"] = [0]
    stored.refused("placeholder 'x' is used but is not an input")


def test_bodies_hold_no_state() -> None:
    w, x = gx.variable(np.ones((), "float32"), name="w"), gx.placeholder("x")
    stored = Stored((x,), gx.cond(x > 0, lambda t: t * w, lambda t: t, x))
    stored.decode()
    stored.data["graphs"][0]["outputs"] = [stored.find("variable")]
    stored.refused("a body holds state")


# ------------------------------------------------------------------ too large, too deep
def value_tables(dimensions: list[Any]) -> Any:
    return {"files": [], "places": [], "dims": dimensions, "types": []}


def doubling(levels: int) -> list[Any]:
    """Return dimensions each of which names the one before twice."""
    entries: list[Any] = [["name", "n"], ["sum", [[1, [0]]]]]
    for level in range(levels):
        last = len(entries) - 1
        entries.append(["max", {"dim": last}, {"dim": last}])
        entries.append(["sum", [[1, [last + 1]], [level + 1, []]]])
    return entries


def test_dimensions_cannot_grow_exponentially() -> None:
    ValueReader(value_tables(doubling(8)))
    with pytest.raises(ArtifactError, match="dimension too long"):
        ValueReader(value_tables(doubling(40)))


def test_all_dimensions_together_are_bounded() -> None:
    entries = doubling(9)
    last = {"dim": len(entries) - 1}
    entries += [["//", last, k] for k in range(2, 5000)]
    with pytest.raises(ArtifactError, match="dimensions too long"):
        ValueReader(value_tables(entries))


def test_dimensions_cannot_nest_deeply() -> None:
    entries: list[Any] = [["name", "n"], ["sum", [[1, [0]]]]]
    for _ in range(100):
        entries += [["//", {"dim": len(entries) - 1}, 2], ["sum", [[1, [len(entries)]]]]]
    with pytest.raises(ArtifactError, match="nested too deeply"):
        ValueReader(value_tables(entries))


def test_bounds_of_deep_dimensions_take_linear_time() -> None:
    d: Dim = dims.symbol("n")
    for k in range(40):
        d = dims.call("max", d - 1, 2 + k)
    # By looking at each level twice this would take hours.
    assert dims.lower_bound(d) == 0


def test_tensors_have_a_largest_size(simple: Stored) -> None:
    simple.data["tables"]["types"][0] = ["float32", [1 << 40, 1 << 40]]
    simple.refused("tensor too large")


def test_sizes_cannot_multiply_out_to_long_sums() -> None:
    entries: list[Any] = [["name", f"n{k}"] for k in range(40)]
    entries.append(["sum", [[1, [k]] for k in range(40)]])
    tables = value_tables(entries)
    tables["types"] = [["float32", [{"dim": 40}] * 6]]
    with pytest.raises(ArtifactError, match="too involved"):
        ValueReader(tables)


def test_bodies_cannot_multiply() -> None:
    """Each level holds the one before twice: at the 25th, thirty million nodes."""
    x = gx.placeholder("x", shape=(), dtype="int64")
    stored = Stored((x,), gx.switch(x, [lambda t: t, lambda t: t], x))
    empty, main = stored.data["graphs"][0], stored.data["graphs"][-1]
    (formal,) = empty["inputs"]
    switch, item = stored.nodes[stored.find("switch")], stored.nodes[stored.find("item")]
    nodes, graphs = stored.nodes[: stored.find("switch")], [empty]
    for _ in range(25):
        nodes += [{**switch, "in": [formal, formal], "graphs": [len(graphs) - 1] * 2}]
        nodes += [{**item, "in": [len(nodes) - 1]}]
        graphs.append({**empty, "outputs": [len(nodes) - 1]})
    nodes += [{**switch, "in": [0, 0], "graphs": [len(graphs) - 1]}]
    nodes += [{**item, "in": [len(nodes) - 1]}]
    stored.data.update(nodes=nodes, graphs=[*graphs, {**main, "outputs": [len(nodes) - 1]}])
    stored.refused("too many nodes")


def test_bodies_cannot_nest_deeply() -> None:
    def nested(level: int) -> Any:
        return lambda t: gx.cond(t > 0, nested(level - 1), lambda v: v, t) if level else t

    x = gx.placeholder("x", shape=())
    Stored((x,), nested(20)(x)).decode()
    with pytest.raises(ArtifactError, match="32 deep"):
        Stored((x,), nested(40)(x))


def test_graphs_cannot_share_a_long_chain() -> None:
    stored = chosen()
    formal = stored.data["graphs"][0]["inputs"][0]
    add = {"op": "add", "type": stored.nodes[formal]["type"], "in": [formal, formal]}
    at = stored.find("switch")
    chain = [{**add, "in": [at + k - 1 if k else formal, formal]} for k in range(300)]
    tail = [{**n, "in": [i + 300 if i >= at else i for i in n["in"]]} for n in stored.nodes[at:]]
    body = {**stored.data["graphs"][0], "outputs": [at + 299]}
    tail[0]["graphs"] = list(range(40_000))
    main = {**stored.data["graphs"][-1], "outputs": [at + 301]}
    stored.data.update(nodes=[*stored.nodes[:at], *chain, *tail], graphs=[dict(body)] * 40_000 + [main])
    stored.refused("share too many nodes")


# ----------------------------------------------------------------------------- the data
@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"offset": 0}, "bad offset"),
        ({"offset": 65}, "not aligned"),
        ({"offset": 1 << 20}, "bad offset"),
        ({"offset": 128}, "beyond the stored bytes"),
        ({"trainable": 1}, "bad variable"),
        ({"name": ""}, "bad name"),
        ({"type": 7}, "bad type"),
    ],
)
def test_stored_arrays_lie_apart_and_within_their_bytes(change: dict[str, Any], match: str) -> None:
    leaves = LeafTable()
    w, v = gx.variable(np.zeros(8), name="w"), gx.variable(np.zeros(8), name="v")
    encode_graph(Graph((), (w.node, v.node)), leaves)
    stored, data = np.frombuffer(b"".join(leaves.pieces()), np.uint8), leaves.encode()
    LeafTable.decode(data, stored)
    data["variables"][1].update(change)
    with pytest.raises(ArtifactError, match=match):
        LeafTable.decode(data, stored)


# ----------------------------------------------------------------------------- the rest
def test_whatever_a_type_rule_stumbles_over_is_refused() -> None:
    odd = gx.custom_op("odd_in_a_file", lambda x, key: ((10 // key,), x.dtype), lambda x, key: x)
    x = gx.placeholder("x", shape=(2,))
    stored = Stored((x,), odd(x, key=2))
    stored.decode()
    stored.nodes[1]["attrs"]["key"] = 0
    assert "ZeroDivisionError" in str(stored.refused("odd_in_a_file"))


@pytest.mark.parametrize(
    "data", [None, [], {}, {"nodes": [], "graphs": [], "tables": {}}, {"nodes": 1, "graphs": [], "tables": 0}]
)
def test_what_is_no_graph_is_refused(data: Any) -> None:
    with pytest.raises(ArtifactError, match="artifact: "):
        decode_graph(data, LeafTable())
