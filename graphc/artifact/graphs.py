"""Graphs as pure data, and back: what an artifact recompiles from where its native code may not run.

All nodes stand in one table, operands before those that read them.  Bodies of loops and branches are
graphs over the same table, so nothing is nested and nothing recurs.  Reading trusts nothing: types
and what they assume of sizes are inferred again, attributes must obey the rules of their op, and
whatever does not fit is an `ArtifactError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, NoReturn

from graphc import errors
from graphc.artifact.attributes import check_use, implied_checks
from graphc.artifact.control import check_control
from graphc.artifact.fields import (
    as_index,
    as_list,
    as_object,
    as_text,
    reject,
    require,
)
from graphc.artifact.leaf_table import LeafTable
from graphc.artifact.values import MOST_AXES, ValueReader, ValueWriter
from graphc.effects import TOKEN
from graphc.errors import ArtifactError, GraphcError, caller
from graphc.feeds import DimCheck
from graphc.ir import Attrs, Graph, Node, topological, verify
from graphc.lower.rules import Control, Fused, Leaf
from graphc.ops.op import CUSTOM, REGISTRY, Infer, Op
from graphc.types import TensorType, TupleType

__all__ = ["decode_graph", "encode_graph"]

# Bodies within bodies; and all nodes counted as often as bodies hold them.
DEEPEST = 32
MOST_NODES = 1 << 22
MOST_OPERANDS = 1 << 16
_NODE_KEYS = frozenset({"at", "attrs", "custom", "graphs", "in", "leaf", "name"})
_CHECK_ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, GraphcError)
}


def encode_graph(graph: Graph, leaves: LeafTable) -> dict[str, Any]:
    """Return a graph as data that JSON can hold.

    Parameters
    ----------
    graph : Graph
        A traced graph: of ops as users write them, before passes fuse them.
    leaves : LeafTable
        Where its variables and constants are put.

    Returns
    -------
    dict

    Raises
    ------
    ArtifactError
        If a node is made of what is not data; names it and the user's line.

    Notes
    -----
    A `custom_gradient` says nothing any more once the graph is differentiated, and is left out.  An
    op that the user defined is written by its name.

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ir import Graph
    >>> x = gx.placeholder("x", shape=("n",))
    >>> data = encode_graph(Graph((x.node,), (gx.exp(x).node,)), LeafTable())
    >>> [node["op"] for node in data["nodes"]]
    ['placeholder', 'exp']
    >>> print(decode_graph(data, LeafTable()).outputs[0].type)
    float32[n]
    """
    return _Encoder(leaves).encode(graph)


def decode_graph(data: Any, leaves: LeafTable) -> Graph:
    """Return the graph that `encode_graph` wrote.

    Parameters
    ----------
    data : dict
        What a JSON text of it holds; anything else is refused.
    leaves : LeafTable
        Its variables and constants.

    Raises
    ------
    ArtifactError
        If the data is not a graph that the operations of this graphc can compute.

    Examples
    --------
    See `encode_graph`.
    """
    try:
        return _Decoder(data, leaves).decode()
    except ArtifactError:
        raise
    except GraphcError as error:
        raise ArtifactError(
            f"artifact: {error.what}", expected=error.expected, given=error.given, where=caller()
        ) from error


# ------------------------------------------------------------------------- writing
class _Encoder:
    def __init__(self, leaves: LeafTable) -> None:
        self.leaves = leaves
        self.values = ValueWriter()
        self.nodes: list[dict[str, Any]] = []
        self.graphs: list[dict[str, Any]] = []
        self.numbers: dict[Node, int] = {}
        self.known: dict[Graph, int] = {}

    def encode(self, graph: Graph) -> dict[str, Any]:
        self._graph(graph, 0)
        return {"nodes": self.nodes, "graphs": self.graphs, "tables": self.values.tables}

    def _graph(self, graph: Graph, depth: int) -> int:
        if graph in self.known:
            return self.known[graph]
        for node in graph.nodes:
            self._add(node, depth)
        self.graphs.append(
            {
                "inputs": [self.numbers[n] for n in graph.inputs],
                "outputs": [self.numbers[n] for n in graph.outputs],
                "updates": [[self.numbers[v], self.numbers[n]] for v, n in graph.updates],
                "checks": [self._check(c) for c in graph.checks],
                "effects": [self.numbers[n] for n in graph.effects],
            }
        )
        self.known[graph] = len(self.graphs) - 1
        return self.known[graph]

    def _check(self, check: DimCheck) -> list[Any]:
        left, right = self.values.dim(check.left), self.values.dim(check.right)
        return [left, right, check.why, self.values.place(check.where), check.error.__name__]

    def _add(self, node: Node, depth: int) -> None:
        if node in self.numbers:
            return
        if _is_marker(node):
            self.numbers[node] = self.numbers[node.inputs[0]]
            return
        _require_data(node, depth)
        entry: dict[str, Any] = {"op": node.op.name, "type": self.values.type(node.type)}
        if not node.op.listed:
            entry["custom"] = True
        if node.inputs:
            entry["in"] = [self.numbers[i] for i in node.inputs]
        if node.attrs:
            owner = f"attribute of {node.op.name}"
            entry["attrs"] = {k: self.values.attribute(v, owner, node.where) for k, v in node.attrs.items()}
        if isinstance(node.op.lowering, Control):
            entry["graphs"] = [self._graph(g, depth + 1) for g in node.subgraphs]
        if node.op.name == "variable":
            entry["leaf"] = self.leaves.add_variable(node)
        elif node.op.name == "constant":
            entry["leaf"] = self.leaves.add_constant(node.payload)
        if node.name is not None:
            entry["name"] = as_text(node.name, "name")
        if (place := self.values.place(node.where)) is not None:
            entry["at"] = place
        self.numbers[node] = len(self.nodes)
        self.nodes.append(entry)


def _is_marker(node: Node) -> bool:
    return node.op.name == "custom_gradient" and not node.op.listed


def _require_data(node: Node, depth: int) -> None:
    if isinstance(node.op.lowering, Fused):
        _refuse(node, "the graph before passes fuse it", "a fused node")
    if not node.op.listed and CUSTOM.get(node.op.name) is not node.op:
        _refuse(node, "one op of a name", f"another op named {node.op.name!r} that was defined later")
    if depth > DEEPEST:
        _refuse(node, f"loops and branches at most {DEEPEST} deep", "more")


def _refuse(node: Node, expected: str, given: str) -> NoReturn:
    label = node.op.name if node.name is None else f"{node.op.name} {node.name!r}"
    raise ArtifactError(
        f"artifact: {label} cannot be written", expected=expected, given=given, where=node.where
    )


# ------------------------------------------------------------------------- reading
class _Decoder:
    def __init__(self, data: Any, leaves: LeafTable) -> None:
        fields = as_object(data, "graph", {"nodes", "graphs", "tables"})
        self.leaves = leaves
        self.values = ValueReader(fields["tables"])
        self.entries = as_list(
            fields["nodes"], "nodes", lambda v: as_object(v, "node", {"op", "type"}, _NODE_KEYS)
        )
        keys = {"inputs", "outputs", "updates", "checks", "effects"}
        self.graph_entries = as_list(fields["graphs"], "graphs", lambda v: as_object(v, "graph", keys))
        self.nodes: list[Node] = []
        self.graphs: list[Graph] = []
        # How often and how deep a node or graph holds nodes, its bodies counted every time.
        self.weights: dict[Node | Graph, tuple[int, int]] = {}
        self.left = 64 * len(self.entries) + MOST_AXES

    def decode(self) -> Graph:
        # Deferred: the public face registers every op, and imports what imports this module.
        import_module("graphc.public")
        self._require_ops()
        for entry in self.entries:
            self._add(entry)
        *bodies, _ = self.graph_entries or [None]
        require(len(self.graphs) == len(bodies), "graphs without a node", str(len(self.graphs)), len(bodies))
        graph = self._graph()
        names = [n.name for n in graph.inputs]
        distinct = len(set(names)) == len(names) and "out" not in names
        require(distinct, "bad names of inputs", "distinct names, none of them 'out'", names)
        unknown = sorted(self.values.names - set(graph.dim_names))
        require(not unknown, "sizes that no input has", ", ".join(graph.dim_names) or "fixed sizes", unknown)
        return graph

    def _require_ops(self) -> None:
        missing = sorted({str(e["op"])[:80] for e in self.entries if _find(e) is None})
        if missing:
            raise ArtifactError(
                f"artifact: {len(missing)} operations are not known here",
                expected="the same graphc, and the same ops defined under their names before loading",
                given=", ".join(missing[:20]),
                where=caller(),
            )

    # -- nodes
    def _add(self, entry: Any) -> None:
        op = _find(entry)
        where = self.values.place(entry.get("at"))
        try:
            node = self._node(op, entry, where)
            self._weigh(node, node.subgraphs)
            require(
                "graphs" not in entry or isinstance(op.lowering, Control), "bad node", "no bodies", op.name
            )
        except GraphcError as error:
            raise ArtifactError(
                f"artifact: node {len(self.nodes)} ({op.name}): {error.what.removeprefix('artifact: ')}",
                expected=error.expected,
                given=error.given,
                where=where,
            ) from error
        self.nodes.append(node)

    def _node(self, op: Op, entry: Any, where: errors.Where) -> Node:
        if isinstance(op.lowering, Leaf):
            return self._leaf(op, entry, where)
        require("leaf" not in entry, "bad node", "no leaf", op.name)
        inputs = self._several(entry.get("in", []), "operands")
        given = entry.get("attrs", {})
        require(isinstance(given, dict), "bad attributes", "an object", given)
        attrs = Attrs({as_text(k, "attribute"): self.values.attribute(v) for k, v in given.items()}, op.name)
        type = self.values.type(entry["type"])
        name = None if "name" not in entry else as_text(entry["name"], "name")
        if isinstance(op.lowering, Control):
            return self._control(Node(op, inputs, attrs, type, name, where), entry)
        types = tuple(n.type for n in inputs)
        check_use(op, types, attrs)
        if op.name == "with_update":
            require(inputs[1].op.name == "variable", "bad update", "a variable", inputs[1].op.name)
        found, checks = _inferred(op, types, attrs, where)
        require(found == type, "wrong type", str(found), str(type))
        return Node(op, inputs, attrs, type, name, where, None, checks)

    def _several(self, value: Any, what: str) -> tuple[Node, ...]:
        count = len(self.nodes)
        found = as_list(value, what, lambda v: self.nodes[as_index(v, what, count)])
        require(len(found) <= MOST_OPERANDS, f"too many {what}", f"at most {MOST_OPERANDS}", len(found))
        return tuple(found)

    def _leaf(self, op: Op, entry: Any, where: errors.Where) -> Node:
        plain = not {"in", "attrs", "graphs"} & entry.keys()
        require(
            plain and ("leaf" in entry) == (op.name != "placeholder"), "bad leaf", "its data alone", op.name
        )
        type = self.values.type(entry["type"])
        require(not isinstance(type, TupleType), "bad type of a leaf", "a tensor", str(type))
        name = None if "name" not in entry else as_text(entry["name"], "name")
        if op.name == "placeholder":
            return Node(op, (), Attrs(), type, as_text(name, "name of a placeholder"), where)
        if op.name == "variable":
            found = self.leaves.variable(entry["leaf"])
            require(found.type == type, "wrong type of a variable", str(found.type), str(type))
            return found
        data = self.leaves.constant(entry["leaf"])
        stored = TensorType(data.array.shape, data.array.dtype)
        require(stored == type, "wrong type of a constant", str(stored), str(type))
        return Node(op, (), Attrs(), type, name, where, data)

    def _control(self, bare: Node, entry: Any) -> Node:
        numbers = as_list(entry.get("graphs", []), "bodies", lambda v: v)
        require(len(numbers) <= MOST_OPERANDS, "too many bodies", f"at most {MOST_OPERANDS}", len(numbers))
        bodies = tuple(self._body(n) for n in numbers)
        # Not only what type rules assume: also what is checked of bodies because they come from a file.
        checks = tuple(dict.fromkeys(c for body in bodies for c in body.checks))
        node = replace(bare, payload=bodies, checks=checks)
        require(
            not any(isinstance(n.type, TupleType) for n in bare.inputs), "bad operands", "tensors", "others"
        )
        check_control(node)
        return node

    # -- graphs
    def _body(self, number: Any) -> Graph:
        """Return a body, making it and those before it if no node has named them yet."""
        place = as_index(number, "body", len(self.graph_entries) - 1)
        while len(self.graphs) <= place:
            graph = self._graph()
            outside = [n.op.name for n in graph.nodes if n.op.name in ("variable", "with_update")]
            require(not outside, "a body holds state", "operands for all variables", outside)
        return self.graphs[place]

    def _graph(self) -> Graph:
        require(bool(self.graph_entries), "no graph", "a graph at least", 0)
        entry = self.graph_entries[len(self.graphs)]
        inputs = self._several(entry["inputs"], "inputs")
        plain = all(n.op.name == "placeholder" for n in inputs) and len(set(inputs)) == len(inputs)
        require(plain, "bad inputs", "distinct placeholders", [n.op.name for n in inputs])
        outputs = self._several(entry["outputs"], "outputs")
        pairs = as_list(entry["updates"], "updates", lambda v: self._several(v, "update"))
        updates = tuple((pair[0], pair[1]) for pair in pairs if len(pair) == 2)
        variables = len(updates) == len(pairs) and all(v.op.name == "variable" for v, _ in updates)
        require(variables, "bad updates", "pairs of a variable and its new value", len(pairs))
        effects = self._several(entry["effects"], "effects")
        tokens = all(n.type == TOKEN for n in effects)
        require(tokens, "bad effects", str(TOKEN), [str(n.type) for n in effects])
        roots = [*inputs, *outputs, *(n for pair in updates for n in pair), *effects]
        require(not any(isinstance(n.type, TupleType) for n in roots), "bad results", "tensors", "others")
        checks = as_list(entry["checks"], "checks", self._check)
        nodes = topological(roots)
        self.left -= len(nodes)
        require(self.left >= 0, "graphs share too many nodes", "each node in few graphs", len(nodes))
        assumed = [*(c for n in nodes for c in n.checks), *implied_checks(nodes)]
        verified = tuple(dict.fromkeys([*checks, *assumed]))
        graph = Graph(inputs, outputs, updates, verified, tuple(nodes), effects)
        # The nodes themselves were checked one by one.
        verify(graph, set(nodes))
        self._weigh(graph, nodes)
        self.graphs.append(graph)
        return graph

    def _check(self, entry: Any) -> DimCheck:
        left, right, why, place, error = as_list(entry, "check", lambda v: v, 5)
        if not isinstance(error, str) or error not in _CHECK_ERRORS:
            reject("bad error of a check", "an error of graphc", error)
        sides = self.values.check_side(left), self.values.check_side(right)
        kind = _CHECK_ERRORS[error]
        return DimCheck(*sides, as_text(why, "reason of a check", 1 << 20), self.values.place(place), kind)

    def _weigh(self, owner: Node | Graph, parts: Sequence[Node | Graph]) -> None:
        weights = [self.weights[p] for p in parts]
        count = 1 + sum(w for w, _ in weights)
        inner = max((d for _, d in weights), default=0)
        depth = inner + (1 if isinstance(owner, Graph) else 0)
        require(count <= MOST_NODES, "too many nodes", f"at most {MOST_NODES}", count)
        require(depth <= DEEPEST + 1, "bodies nested too deeply", f"at most {DEEPEST}", depth)
        self.weights[owner] = (count, depth)


def _find(entry: Any) -> Any:
    name = entry["op"]
    if not isinstance(name, str):
        return None
    op = (CUSTOM if entry.get("custom") is True else REGISTRY).get(name)
    return None if op is None or isinstance(op.lowering, Fused) else op


def _inferred(
    op: Op, types: tuple[TensorType, ...], attrs: Attrs, where: errors.Where
) -> tuple[TensorType, tuple[DimCheck, ...]]:
    """Return what the type rule says; whatever it stumbles over is the file's fault."""
    ctx = Infer(op.name, where, trusted=False)
    try:
        found = op.infer(ctx, *types, **attrs)
    except GraphcError:
        raise
    except Exception as error:
        raise ArtifactError(
            "artifact: the type rule refuses operands and attributes",
            expected="what the operation takes",
            given=f"{type(error).__name__}: {error}",
            where=where,
        ) from error
    require(isinstance(found, TensorType), "the type rule returns no type", "a type", found)
    return found, tuple(ctx.checks)
