"""What to draw of a graph: boxes and edges, scopes and fused nodes as one box each.

A view is one picture.  What lies inside of a box, the nodes of a scope or the sub-graph of a fused node or
loop, is a view of its own, so that a graph of thousands of nodes is looked at level by level.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from graphc.ir import Graph, Node
from graphc.lower.rules import Alias, Contract, Control, Fused, Item, Leaf
from graphc.printing import constant_text
from graphc.types import TupleType

__all__ = ["Box", "BoxKind", "Edge", "Part", "View", "part_of", "view"]

BoxKind = Literal[
    "input", "variable", "constant", "op", "product", "view", "fused", "control", "scope", "outside", "output"
]

SEPARATOR = "/"
# Ops that a fused node is labelled with, and letters of a line.
_OPS, _LETTERS = 3, 26


@dataclass(frozen=True)
class Part:
    """A part of a graph that is a picture of its own: what stands in a scope.

    Attributes
    ----------
    scope : str
        The names of nested scopes, joined by slashes; empty for the whole graph.
    derivative : bool
        Whether it is what gradients made on behalf of nodes in that scope.
    """

    scope: str = ""
    derivative: bool = False

    @property
    def title(self) -> str:
        """The innermost name, marked if it is a derivative."""
        name = self.scope.rpartition(SEPARATOR)[2]
        return f"gradient of {name}" if self.derivative else name

    def holds(self, other: Part) -> bool:
        """Tell whether another part is this one or within it."""
        if not self.scope:
            return True
        inside = f"{other.scope}{SEPARATOR}".startswith(f"{self.scope}{SEPARATOR}")
        return inside and other.derivative == self.derivative

    def next_to(self, other: Part) -> Part | None:
        """Return the part right within this one in which another part lies; None if that is this one."""
        prefix = f"{self.scope}{SEPARATOR}" if self.scope else ""
        name = other.scope[len(prefix) :].partition(SEPARATOR)[0]
        return Part(prefix + name, other.derivative) if name else None


WHOLE = Part()


@dataclass(frozen=True)
class Box:
    """A node of a picture.

    Attributes
    ----------
    key : str
        Tells it from all others of the view.
    kind : str
        What it is, for colours.
    label : tuple of str
        Lines of text.
    nodes : tuple of Node
        What it stands for: one node, or all of a scope.
    part : Part or None
        For a scope, what to look into.  What is inside a fused node or loop are its `Node.subgraphs`.
    note : str
        More, for a tooltip.
    """

    key: str
    kind: BoxKind
    label: tuple[str, ...]
    nodes: tuple[Node, ...] = ()
    part: Part | None = None
    note: str = ""


@dataclass(frozen=True)
class Edge:
    """Who is read by whom: keys of boxes."""

    source: str
    target: str


@dataclass(frozen=True)
class View:
    """Boxes, operands first as far as scopes allow, and edges between them."""

    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]


def part_of(node: Node) -> Part:
    """Return the part of a graph in which a node stands."""
    return Part(str(getattr(node.where, "scope", "")), node.source is not None)


def view(graph: Graph, part: Part = WHOLE) -> View:
    """Return what to draw of a graph.

    Parameters
    ----------
    graph : Graph
        Of any stage, or the sub-graph of a fused node or loop.
    part : Part, optional
        The scope to look into; by default the whole graph.  Scopes within it are one box each, and what it
        reads from elsewhere, or hands on, are boxes of the kind ``outside``.

    Returns
    -------
    View

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ir import Graph
    >>> x = gx.placeholder("x", shape=("n",))
    >>> found = view(Graph((x.node,), ((x * 2).node,)))
    >>> [(box.kind, box.label) for box in found.boxes]
    [('input', ('x', 'float32[n]')), ('op', ('multiply 2.0', 'float32[n]')), ('output', ('output 0',))]
    >>> [(e.source, e.target) for e in found.edges]
    [('n0', 'n2'), ('n2', 'output 0')]
    """
    return _Viewer(graph, part).view()


class _Viewer:
    def __init__(self, graph: Graph, part: Part) -> None:
        self.graph = graph
        self.part = part
        self.boxes: dict[str, Box] = {}
        self.members: dict[str, list[Node]] = {}
        self.edges: dict[Edge, None] = {}
        self.key: dict[Node, str] = {}

    def view(self) -> View:
        shown = [n for n in self.graph.nodes if not _is_hidden(n)]
        for number, node in enumerate(self.graph.nodes):
            if not _is_hidden(node):
                self.enter(number, node)
        for node in shown:
            for operand in map(_source, node.inputs):
                self.join(operand, node)
        for k, value in enumerate(map(_source, self.graph.outputs)):
            self.give(f"output {k}", value)
        for variable, value in self.graph.updates:
            self.give(f"new {variable.name}", _source(value))
        joined = {key for e in self.edges for key in (e.source, e.target)}
        boxes = [b for b in self.boxes.values() if b.kind != "outside" or b.key in joined]
        return View(tuple(map(self.filled, boxes)), tuple(self.edges))

    # -- boxes
    def enter(self, number: int, node: Node) -> None:
        """Make the box of a node, or put it into that of its scope."""
        at = part_of(node)
        inner = self.part.next_to(at) if self.part.holds(at) else None
        if inner is None:
            self.key[node] = key = f"n{number}"
            kind = _kind(node) if self.part.holds(at) else "outside"
            self.boxes[key] = Box(key, kind, tuple(map(_clipped, _label(node))), (node,), None, _note(node))
            return
        self.key[node] = key = f"{'gradient' if inner.derivative else 'scope'} {inner.scope}"
        self.boxes.setdefault(key, Box(key, "scope", (inner.title,), (), inner, inner.scope))
        self.members.setdefault(key, []).append(node)

    def filled(self, box: Box) -> Box:
        """Return a box; that of a scope with what it stands for."""
        if box.kind != "scope":
            return box
        nodes = tuple(self.members[box.key])
        steps = sum(not isinstance(n.op.lowering, Leaf) for n in nodes)
        return Box(box.key, "scope", (*box.label, f"{steps} nodes"), nodes, box.part, box.note)

    # -- edges
    def join(self, source: Node, target: Node) -> None:
        """Add an edge, unless it is within a box or outside of the part."""
        if source not in self.key or self.key[source] == self.key[target]:
            return
        if self.part.holds(part_of(source)) or self.part.holds(part_of(target)):
            self.edges[Edge(self.key[source], self.key[target])] = None

    def give(self, key: str, value: Node) -> None:
        """Add what leaves the graph: an output, or the new value of a variable."""
        if value in self.key and self.part.holds(part_of(value)):
            self.boxes[key] = Box(key, "output", (key,))
            self.edges[Edge(self.key[value], key)] = None


def _source(node: Node) -> Node:
    """Return the node whose box a value comes from: results of one node are not boxes of their own."""
    return node.inputs[0] if isinstance(node.op.lowering, Item) else node


def _is_hidden(node: Node) -> bool:
    """Tell whether a node has no box: a scalar constant stands in the label of what reads it."""
    return isinstance(node.op.lowering, Item) or _is_scalar(node)


def _is_scalar(node: Node) -> bool:
    return node.op.name == "constant" and bool(node.payload.array.size == 1)


# ---------------------------------------------------------------------- labels
_LEAF_KINDS: dict[str, BoxKind] = {"placeholder": "input", "variable": "variable", "constant": "constant"}
_KINDS: tuple[tuple[type[Any], BoxKind], ...] = (
    (Fused, "fused"),
    (Control, "control"),
    (Contract, "product"),
    (Alias, "view"),
)


def _kind(node: Node) -> BoxKind:
    if node.op.name in _LEAF_KINDS:
        return _LEAF_KINDS[node.op.name]
    return next((kind for rule, kind in _KINDS if isinstance(node.op.lowering, rule)), "op")


def _label(node: Node) -> Iterator[str]:
    if isinstance(node.op.lowering, Fused):
        yield from _fused_label(node)
    elif node.op.name == "constant":
        yield constant_text(node.payload)
    elif isinstance(node.op.lowering, Leaf):
        yield str(node.name)
    else:
        # As NumPy prints them: float32 numbers with no more digits than they have.
        yield " ".join([node.op.name, *(str(i.payload.array.flat[0]) for i in node.inputs if _is_scalar(i))])
    types = node.type.items if isinstance(node.type, TupleType) else (node.type,)
    yield str(types[0]) + (f" +{len(types) - 1}" if len(types) > 1 else "")


def _fused_label(node: Node) -> Iterator[str]:
    ops = dict.fromkeys(n.op.name for n in node.payload.nodes if not isinstance(n.op.lowering, Leaf))
    names = list(ops)
    yield from names[:_OPS]
    if len(names) > _OPS:
        yield f"and {len(names) - _OPS} more"


def _note(node: Node) -> str:
    lines = [f"{node.op.name} {node.name or ''}".strip(), str(node.attrs), str(node.type), str(node.where)]
    return "\n".join(filter(None, lines))


def _clipped(line: str) -> str:
    return line if len(line) <= _LETTERS else line[: _LETTERS - 1] + "…"
