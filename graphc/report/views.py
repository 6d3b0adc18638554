"""What the page draws: views with boxes at places and lines between them.

A view shows the items of one group and the inputs that they read. Variables and constants are named in
the boxes that read them, and new values of variables in those that compute them: drawn as boxes of
their own, they would be most of the picture. What comes from other groups, or goes there, hangs at the
edge as a box that leads there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePath
from typing import Any

from graphc.errors import UNKNOWN
from graphc.ir import Graph, Node
from graphc.lower.rules import Leaf
from graphc.report.geometry import Geometries
from graphc.report.hierarchy import Group, Inside, paths, tree
from graphc.report.scopes import whole
from graphc.report.tables import Nodes, kind_of

__all__ = ["Box", "Drawn", "Results", "Views", "results_of"]

# Pixels of a character of the title, one of smaller text, a line, and around the text of a box.
TITLE, CHARACTER, LINE, PADDING = 7.6, 6.7, 16.0, 20.0
# Characters of a line of a box.
WIDEST = 30
# Variables that a box names, of those that it reads and of those that it gives new values.
NAMED = 3
# Boxes at each edge of a view.
EDGE = 10


@dataclass(frozen=True)
class Box:
    """Something to draw: its lines of text, its kind, and where it leads.

    Attributes
    ----------
    lines : tuple of str
        The title, then smaller text.
    kind : str
        Of the node or group.
    node : int
        Number of the node; -1 for a group.
    opens : tuple of str
        Keys of the views inside of it.
    reads, updates : tuple of str
        Names of the variables and constants that it reads, and of the variables that it gives new values.
    """

    lines: tuple[str, ...]
    kind: str
    node: int = -1
    opens: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    updates: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[float, float]:
        """Width and height."""
        title, *rest = self.lines
        rest += [*self.reads, *self.updates]
        # Names stand behind a mark.
        width = max(len(title) * TITLE, *(len(line) * CHARACTER + LINE for line in rest), 0)
        return round(width + PADDING), (1 + len(rest)) * LINE + PADDING


@dataclass
class Drawn:
    """One view: title, key of the view around, boxes, lines between them, number of the geometry."""

    title: str
    kind: str
    around: str
    boxes: list[Box]
    edges: list[tuple[int, int]]
    shape: int = -1

    @property
    def data(self) -> list[Any]:
        """As the page reads it."""
        boxes = [[b.lines, b.kind, b.node, b.opens, b.reads, b.updates] for b in self.boxes]
        return [self.title, self.kind, self.around, boxes, [list(e) for e in self.edges], self.shape]


class Views:
    """The views of one graph, by key."""

    def __init__(
        self, nodes: Nodes, geometries: Geometries, phases: Mapping[Node, str] | None = None
    ) -> None:
        self.nodes = nodes
        self.geometries = geometries
        self.phases = phases or {}
        self.drawn: dict[str, Drawn] = {}
        # The innermost view that shows a node.
        self.home: dict[int, str] = {}

    def add(self, graph_nodes: Sequence[Node], title: str, results: Mapping[Node, Results]) -> str:
        """Draw a list of nodes, and all that is inside; return the key of the outermost view."""
        return self._root(tree(graph_nodes, title, phases=self.phases), "", results)

    @property
    def data(self) -> dict[str, Any]:
        """As the page reads them."""
        return {"views": {key: view.data for key, view in self.drawn.items()}, "home": self.home}

    def _root(self, root: Group, around: str, results: Mapping[Node, Results]) -> str:
        keys: dict[Group, str] = {}
        pending: list[tuple[Group, str]] = [(root, around)]
        groups: list[tuple[Group, str]] = []
        while pending:
            group, outer = pending.pop()
            keys[group] = f"v{len(self.drawn) + len(keys)}"
            groups.append((group, outer))
            pending += [(i, keys[group]) for i in reversed(group.items) if isinstance(i, Group)]
        for group, outer in groups:
            # Reserved before what is inside of its nodes takes further keys.
            self.drawn[keys[group]] = Drawn(group.title, group.kind, outer, [], [])
        frame = Frame(paths(root), keys, results)
        for group, _ in groups:
            self._fill(self.drawn[keys[group]], _Sketch(self, group, frame))
        return keys[root]

    def _fill(self, view: Drawn, sketch: _Sketch) -> None:
        view.boxes, view.edges = sketch.boxes, sketch.edges
        view.shape = self.geometries.number([b.size for b in sketch.boxes], sketch.edges)

    def inside(self, node: Node, key: str) -> tuple[str, ...]:
        """Draw what is inside of a node that stands in the view `key`."""
        found = Inside.of(node)
        return tuple(
            self._root(
                tree(graph.nodes, title_of(node, what), what, node, self.phases), key, results_of(graph)
            )
            for what, graph in zip(found.titles, found.graphs, strict=True)
        )

    def box(self, node: Node, key: str) -> Box:
        """Return the box of a node in the view `key`."""
        number = self.nodes.number(node)
        opens = self.inside(node, key)
        self.home.setdefault(number, key)
        return Box(label(node), kind_of(node), number, opens, leaves_of(node))


@dataclass(frozen=True)
class Frame:
    """What the views of one tree share: the groups around each node, keys of views, and what leaves it."""

    where: Mapping[Node, tuple[Group, ...]]
    keys: Mapping[Group, str]
    results: Mapping[Node, Results]

    @cached_property
    def readers(self) -> Mapping[Node, Sequence[Node]]:
        """For every node, those that read it."""
        found: dict[Node, list[Node]] = {}
        for node in self.where:
            for operand in map(whole, node.inputs):
                found.setdefault(operand, []).append(node)
        return found


class _Sketch:
    """The boxes and lines of one group, before they have places."""

    def __init__(self, views: Views, group: Group, frame: Frame) -> None:
        self.views, self.group, self.frame = views, group, frame
        self.boxes: list[Box] = []
        self.edges: list[tuple[int, int]] = []
        path = next((frame.where[n] for n in group.nodes()), (group,))
        self._path = path[: path.index(group) + 1]
        owner = self._draw_items()
        items = len(self.boxes)
        self._connect(owner)
        before = len(self.boxes)
        self._draw_readers(owner)
        self._draw_results(owner)
        # What is read stands before what reads it.
        self._reorder([*range(items, before), *range(items), *range(before, len(self.boxes))])

    def _reorder(self, order: Sequence[int]) -> None:
        place = {old: new for new, old in enumerate(order)}
        self.boxes = [self.boxes[k] for k in order]
        self.edges = [(place[a], place[b]) for a, b in self.edges]

    def _draw_items(self) -> dict[Node, int]:
        """Draw the items; return the box that each node is in."""
        owner: dict[Node, int] = {}
        key = self.frame.keys[self.group]
        for item in self.group.items:
            if isinstance(item, Group):
                owner.update(dict.fromkeys(item.nodes(), len(self.boxes)))
                self.boxes.append(group_box(item, self.frame.keys[item]))
            else:
                owner[item] = len(self.boxes)
                self.boxes.append(self.views.box(item, key))
        return owner

    def _connect(self, owner: Mapping[Node, int]) -> None:
        edges: dict[tuple[int, int], None] = {}
        readers: dict[Node, dict[int, None]] = {}
        outside: dict[Group | Node, dict[int, None]] = {}
        for node, at in owner.items():
            for given in node.inputs:
                operand = whole(given)
                if operand is not given:
                    self._lodge(given)
                if operand in owner:
                    edges.update({(owner[operand], at): None} if owner[operand] != at else {})
                elif operand in self.frame.where:
                    outside.setdefault(self._sibling(operand), {})[at] = None
                elif operand.op.name == "placeholder":
                    readers.setdefault(operand, {})[at] = None
                elif self.boxes[at].node >= 0:
                    self._lodge(operand)
        self.edges += edges
        for leaf, found in readers.items():
            self.edges += [(len(self.boxes), reader) for reader in found]
            self.boxes.append(Box(label(leaf), kind_of(leaf), self._lodge(leaf)))
        for item, found in list(outside.items())[:EDGE]:
            self._draw_outside(item, list(found), into=True)

    def _lodge(self, leaf: Node) -> int:
        """Let a leaf or item be found in this view; return its number."""
        number = self.views.nodes.number(leaf)
        self.views.home.setdefault(number, self.frame.keys[self.group])
        return number

    def _draw_readers(self, owner: Mapping[Node, int]) -> None:
        outside: dict[Group | Node, dict[int, None]] = {}
        for operand, at in owner.items():
            for node in self.frame.readers.get(operand, ()):
                if node not in owner:
                    outside.setdefault(self._sibling(node), {})[at] = None
        for item, found in list(outside.items())[:EDGE]:
            self._draw_outside(item, list(found), into=False)

    def _sibling(self, node: Node) -> Group | Node:
        """Return the largest group around a node outside that is not around this view."""
        path = self.frame.where[node]
        same = sum(1 for a, b in zip(path, self._path, strict=False) if a is b)
        return path[same] if same < len(path) else node

    def _draw_outside(self, item: Group | Node, ends: Sequence[int], into: bool) -> None:
        self.edges += [(len(self.boxes), end) if into else (end, len(self.boxes)) for end in ends]
        if isinstance(item, Group):
            self.boxes.append(Box((item.title,), "outside", opens=(self.frame.keys[item],)))
            return
        key = self.frame.keys[self.frame.where[item][-1]]
        self.boxes.append(Box((label(item)[0],), "outside", self.views.nodes.number(item), (key,)))

    def _draw_results(self, owner: Mapping[Node, int]) -> None:
        """Draw outputs as boxes; name the variables that get new values in the boxes that compute these."""
        for node, results in self.frame.results.items():
            if node not in owner or self.boxes[owner[node]].node < 0:
                continue
            at = owner[node]
            named = few([shortened(n) for n in results.updated])
            self.boxes[at] = replace(self.boxes[at], updates=named)
            for title in results.outputs:
                self.edges.append((at, len(self.boxes)))
                self.boxes.append(Box((title,), "result"))


@dataclass
class Results:
    """What a node computes that leaves its graph: titles of outputs, names of variables."""

    outputs: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)


def results_of(graph: Graph) -> dict[Node, Results]:
    """Return what leaves a graph, by the node that computes it."""
    found: dict[Node, Results] = {}
    for k, node in enumerate(graph.outputs):
        title = "output" if len(graph.outputs) == 1 else f"output {k}"
        found.setdefault(whole(node), Results()).outputs.append(title)
    for variable, value in graph.updates:
        found.setdefault(whole(value), Results()).updated.append(str(variable.name))
    return found


def leaves_of(node: Node) -> tuple[str, ...]:
    """Return the names of the variables and large constants that a node reads."""
    leaves = dict.fromkeys(i for i in node.inputs if i.op.name == "variable" or _is_large_constant(i))
    return few([shortened(i.name or str(i.type)) for i in leaves])


def _is_large_constant(node: Node) -> bool:
    return node.op.name == "constant" and node.type.shape != ()


def few(names: Sequence[str]) -> tuple[str, ...]:
    """Return names for a box, those that are too many as a count."""
    rest = len(names) - NAMED
    return tuple(names) if rest <= 1 else (*names[:NAMED], f"and {rest} more")


def title_of(node: Node, what: str) -> str:
    """Return the title of the view of what is inside of a node."""
    return label(node)[0] if what == "inside" else f"{node.op.name}: {what}"


def label(node: Node) -> tuple[str, ...]:
    """Return the text of a node: what it is, then its type."""
    if isinstance(node.op.lowering, Leaf):
        return shortened(node.name or node.op.name), shortened(str(node.type))
    if node.op.name == "fused":
        steps = dict.fromkeys(n.op.name for n in node.payload.nodes if not isinstance(n.op.lowering, Leaf))
        return shortened(" + ".join(steps)), shortened(str(node.type))
    scalars = [
        f"{i.payload.array:.4g}" for i in node.inputs if i.op.name == "constant" and i.type.shape == ()
    ]
    return shortened(" ".join([node.op.name, *scalars])), shortened(str(node.type))


def group_box(group: Group, key: str) -> Box:
    """Return the box of a group: its name, what is in it most, and where."""
    nodes = list(group.nodes())
    # Often all comes from one line: that says more than a number.
    places = {(n.where.file, n.where.line) for n in nodes if n.where is not UNKNOWN}
    ops = [f"{op} x{n}" if n > 1 else op for op, n in Counter(n.op.name for n in nodes).most_common(3)]
    counted = f"{len(nodes)} nodes"
    if len(places) == 1:
        ((file, line),) = places
        counted = f"{counted}, {PurePath(file).name}:{line}"
    lines = (shortened(group.title), shortened(counted), shortened(", ".join(ops)))
    return Box(lines, group.kind, opens=(key,))


def shortened(text: str) -> str:
    """Return a text, its end replaced if it is too long for a box."""
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
