"""The intermediate representation: nodes, attributes and frozen graphs.

A `Node` applies one op to other nodes; it is frozen and identity-hashed, so merging
equal nodes is a real, visible pass.  A `Graph` is a flat, topologically ordered
snapshot.  Data that is not structure (a placeholder's name, a variable's storage, a
constant's array) is the node's `payload`; `Graph.constants` is the table of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from graphc import dims, history
from graphc.errors import UNKNOWN, ArgumentError, GraphError, Where, caller
from graphc.feeds import DimCheck
from graphc.types import TensorType

if TYPE_CHECKING:
    import networkx as nx

    from graphc.ops.op import Op

Inferred: TypeAlias = "dict[tuple[Op, Attrs, tuple[TensorType, ...]], TensorType]"
"""What type rules have said, by the op, its attributes and the types of its operands."""


class Attrs(Mapping[str, Any]):
    """An immutable, hashable mapping of an op's parameters.

    Values are numbers, strings, dtypes, dimensions, None and tuples of these.
    """

    __slots__ = ("_hash", "_items")

    def __init__(self, items: Mapping[str, Any] | None = None, op: str = "node") -> None:
        self._items = dict(items or {})
        try:
            self._hash = hash(tuple(sorted(self._items.items(), key=lambda kv: kv[0])))
        except TypeError as error:
            bad = {k: type(v).__name__ for k, v in self._items.items() if not _hashable(v)}
            name, kind = next(iter(bad.items()))
            raise ArgumentError(
                f"{op}: attribute {name!r} is not hashable",
                expected="a number, string, dtype, dimension, None or a tuple of these",
                given=kind,
                where=caller(),
            ) from error

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        # 1 == 1.0 == True in Python, but they are different attributes.
        return isinstance(other, Attrs) and _typed(self._items) == _typed(other._items)

    def __str__(self) -> str:
        return ", ".join(f"{k}={_show(v)}" for k, v in self._items.items())


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _typed(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(_typed(v) for v in value)
    # repr tells -0.0 from 0.0 and lets a NaN attribute equal itself.
    return (type(value), repr(value) if isinstance(value, float) else value)


def _show(value: Any) -> str:
    if isinstance(value, np.dtype):
        return str(value)
    if isinstance(value, tuple):
        inner = ", ".join(_show(v) for v in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return value if isinstance(value, str) else repr(value)


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One application of an op.

    Attributes
    ----------
    op : Op
        What is applied.
    inputs : tuple of Node
        Operands.
    attrs : Attrs
        Parameters of the op: axes, paddings, dtypes.
    type : TensorType
        Shape and dtype of the result.
    name : str or None
        The user's name for it.
    where : Where
        The user's line; nodes made by gradients and passes inherit it.
    payload : object
        Data of a leaf, the sub-graph of a fused node, those of a loop or branch as a tuple, or `Moves`.
    checks : tuple of DimCheck
        What the type rule assumed of symbolic dimensions.
    source : Node or None
        For a part of a derivative, the node that was differentiated.
    effects : list of Effect or None
        Of a leaf: prints and checks that programs which read it may have to do (`graphc.effects`).
    """

    op: Op
    inputs: tuple[Node, ...]
    attrs: Attrs
    type: TensorType
    name: str | None = None
    where: Where = UNKNOWN
    payload: Any = None
    checks: tuple[DimCheck, ...] = ()
    source: Node | None = field(default_factory=history.current_source)
    effects: list[Any] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        history.note_made(self)

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        """Return this node over other operands of the same types."""
        if inputs == self.inputs:
            return self
        # As `replace` does, which takes three times as long: passes come through here most of all.
        kept = (self.attrs, self.type, self.name, self.where, self.payload, self.checks, self.source)
        rebuilt = Node(self.op, inputs, *kept)
        history.follow(self, rebuilt)
        return rebuilt

    @property
    def subgraphs(self) -> tuple[Graph, ...]:
        """The graphs that the node runs: none for most."""
        if isinstance(self.payload, Graph):
            return (self.payload,)
        return self.payload if isinstance(self.payload, tuple) else ()

    def __repr__(self) -> str:
        return f"<{self.op.name} {self.name or ''} {self.type} at {self.where}>"


@dataclass(frozen=True, eq=False)
class Moves:
    """Payload of a node whose gradient is a function that has closed over nodes.

    Attributes
    ----------
    images : tuple of mapping of Node to Node
        What those nodes became, each time that the node was rebuilt.
    """

    images: tuple[Mapping[Node, Node], ...] = ()


@dataclass(frozen=True, eq=False)
class Graph:
    """A frozen, flat, topologically ordered program.

    Attributes
    ----------
    inputs : tuple of Node
        Placeholders, in the order in which they are fed.
    outputs : tuple of Node
        Values to return.
    updates : tuple of (Node, Node)
        Pairs of variable and new value.  Reads see the old value; all updates land together.
    checks : tuple of DimCheck
        Equalities of dimensions to verify at the call.
    nodes : tuple of Node
        All nodes, operands first.
    effects : tuple of Node
        What must be computed although nothing reads it: the last of the prints and checks.
    """

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    updates: tuple[tuple[Node, Node], ...] = ()
    checks: tuple[DimCheck, ...] = ()
    nodes: tuple[Node, ...] = field(default=(), repr=False)
    effects: tuple[Node, ...] = ()

    def __post_init__(self) -> None:
        if not self.nodes:
            updates = (n for pair in self.updates for n in pair)
            roots = (*self.inputs, *self.outputs, *updates, *self.effects)
            object.__setattr__(self, "nodes", tuple(topological(roots)))

    @property
    def roots(self) -> tuple[Node, ...]:
        """Nodes that must be computed: outputs, then new values of variables, then effects."""
        return (*self.outputs, *(value for _, value in self.updates), *self.effects)

    @cached_property
    def variables(self) -> tuple[Node, ...]:
        """Variables that the graph reads or updates, in order of first appearance."""
        return tuple(n for n in self.nodes if n.op.name == "variable")

    @cached_property
    def constants(self) -> Mapping[Node, np.ndarray[Any, Any]]:
        """The table of constants."""
        return {n: n.payload.array for n in self.nodes if n.op.name == "constant"}

    @cached_property
    def users(self) -> Mapping[Node, tuple[Node, ...]]:
        """For every node, the nodes that read it (once per operand position)."""
        found: dict[Node, list[Node]] = {n: [] for n in self.nodes}
        for node in self.nodes:
            for operand in node.inputs:
                found[operand].append(node)
        return {n: tuple(us) for n, us in found.items()}

    @cached_property
    def dim_names(self) -> tuple[str, ...]:
        """Named dimensions, in the order in which the inputs introduce them."""
        seen: dict[str, None] = {}
        for node in self.inputs:
            for d in node.type.shape:
                seen.update(dict.fromkeys(sorted(dims.names(d))))
        return tuple(seen)

    def rewired(self, new: Mapping[Node, Node], checks: Iterable[DimCheck] = ()) -> Graph:
        """Return the graph with roots replaced by their image in `new` (identity where absent)."""
        history.follow_all(new)
        outputs = tuple(new.get(n, n) for n in self.outputs)
        updates = tuple((var, new.get(value, value)) for var, value in self.updates)
        effects = tuple(new.get(n, n) for n in self.effects)
        extra = tuple(c for c in checks if c not in self.checks)
        same = (outputs, updates, effects) == (self.outputs, self.updates, self.effects) and not extra
        return self if same else Graph(self.inputs, outputs, updates, self.checks + extra, effects=effects)

    def map_nodes(self, fn: Callable[[Node], Node]) -> Graph:
        """Rebuild bottom-up: `fn` sees each node with its operands already replaced."""
        new: dict[Node, Node] = {}
        for node in self.nodes:
            new[node] = fn(node.with_inputs(tuple(new[i] for i in node.inputs)))
        return self.rewired({old: n for old, n in new.items() if old is not n})

    def to_networkx(self) -> nx.MultiDiGraph:
        """Return a view for graph algorithms: nodes are `Node`, edge keys operand positions."""
        import networkx as nx  # deferred: a third of the time it takes to import graphc

        view = nx.MultiDiGraph()
        view.add_nodes_from(self.nodes)
        for node in self.nodes:
            view.add_edges_from((operand, node, position) for position, operand in enumerate(node.inputs))
        return view

    def to_dot(self) -> str:
        """Return the graph in Graphviz DOT, fused nodes as boxes that list their sub-graph."""
        # Deferred: printing is written in terms of graphs.
        from graphc.printing import graph_to_dot

        return graph_to_dot(self)

    def to_svg(self, scope: str = "") -> str:
        """Return a drawing of the graph, or of what stands in a scope; scopes are one box each.

        Raises
        ------
        MissingDependencyError
            If igraph is not installed: ``pip install "graphc[report]"``.
        """
        # Deferred: drawing is written in terms of graphs.
        from graphc.inspection.svg import graph_to_svg

        return graph_to_svg(self, scope)

    def _repr_html_(self) -> str:
        # Deferred: as above.
        from graphc.inspection.display import graph_html

        return graph_html(self)

    def _repr_svg_(self) -> str | None:
        # Deferred: as above.
        from graphc.inspection.display import picture

        return picture(self)

    def __str__(self) -> str:
        # Deferred: printing is written in terms of graphs.
        from graphc.printing import graph_to_text

        return graph_to_text(self)


def topological(roots: Iterable[Node], known: Container[Node] = ()) -> list[Node]:
    """Return every node that `roots` depend on, operands first, in a deterministic order.

    Depth-first from the roots in the order given, without recursion: graphs of
    100,000 chained nodes are legal.  Nodes in `known` are left out, and what only they depend on.
    """
    order: list[Node] = []
    done: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(r, False) for r in reversed(list(roots))]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
            continue
        if node in done or node in known:
            continue
        done.add(node)
        stack.append((node, True))
        stack.extend((i, False) for i in reversed(node.inputs) if i not in done)
    return order


def verify(graph: Graph, trusted: Collection[Node] = (), known: Inferred | None = None) -> None:
    """Check the invariants that every pass must keep.

    Parameters
    ----------
    graph : Graph
        What to check.
    trusted : collection of Node, optional
        Nodes whose types were confirmed before; a set, so that this stays linear.
    known : dict, optional
        What type rules have said before, and where to note what they say now.

    Raises
    ------
    GraphError
        Naming the node that breaks one: order, foreign placeholder, types that the op's
        rule does not confirm, variable updated twice.
    """
    # Deferred: ops are written in terms of nodes.
    from graphc.ops.op import infer

    seen: set[Node] = set()
    inputs = set(graph.inputs)
    said: Inferred = {} if known is None else known
    for node in graph.nodes:
        missing = next((i for i in node.inputs if i not in seen), None)
        if missing is not None:
            raise GraphError(f"{node!r} stands before its operand {missing!r}", where=node.where)
        if node.op.name == "placeholder" and node not in inputs:
            raise GraphError(
                f"placeholder {node.name!r} is used but is not an input of the graph",
                expected="every placeholder among the inputs",
                given=", ".join(str(i.name) for i in graph.inputs) or "none",
                where=node.where,
            )
        seen.add(node)
        if node in trusted:
            continue
        # Bodies of loops and branches; what was fused into a kernel consists of nodes verified before.
        for body in node.payload if isinstance(node.payload, tuple) else ():
            verify(body, trusted, said)
        found = infer(node, said)
        if found != node.type:
            raise GraphError(
                f"{node.op.name} has a wrong type",
                expected=str(found),
                given=str(node.type),
                where=node.where,
            )
    updated: set[Node] = set()
    for var, value in graph.updates:
        if var in updated:
            raise GraphError(f"variable {var.name!r} is updated twice", where=value.where)
        updated.add(var)
        if value.type != var.type:
            raise GraphError(
                f"update of variable {var.name!r} has another type",
                expected=str(var.type),
                given=str(value.type),
                where=value.where,
            )
