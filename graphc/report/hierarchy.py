"""Graphs as trees of small views: by the user's scopes, and by parts where those are too large.

No view has more boxes than a person can look at, however large the graph is. Loops, branches and
fused nodes are boxes with views of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

from graphc.ir import Graph, Node
from graphc.lower.rules import Item, Leaf
from graphc.report.scopes import calls, whole

__all__ = ["MOST", "Group", "Inside", "cuts", "paths", "tree"]

# Boxes of a view beyond which its nodes are grouped, and how many a part then has.
MOST, PART = 60, 36


@dataclass(frozen=True, eq=False)
class Group:
    """A box that opens: nodes that belong together.

    Attributes
    ----------
    title : str
        What to call it.
    kind : str
        ``scope``, ``part``, or how it belongs to the node that it is the inside of.
    items : tuple of Group or Node
        The boxes inside, in an order in which they could run.
    owner : Node or None
        The loop, branch or fused node whose inside it is.
    """

    title: str
    kind: str
    items: tuple[Group | Node, ...]
    owner: Node | None = None

    def nodes(self) -> Iterator[Node]:
        """Yield the nodes in it, however deep."""
        pending: list[Group | Node] = [self]
        while pending:
            item = pending.pop()
            if isinstance(item, Group):
                pending += reversed(item.items)
            else:
                yield item


Items = tuple[Group | Node, ...]
Phases = Mapping[Node, str]


def tree(
    nodes: Sequence[Node],
    title: str,
    kind: str = "graph",
    owner: Node | None = None,
    phases: Phases | None = None,
) -> Group:
    """Group the nodes of a graph.

    Parameters
    ----------
    nodes : sequence of Node
        In topological order; leaves, which are drawn beside what reads them, are left out, and so are the
        items of what has several results.
    title, kind : str
        Of the whole.
    owner : Node, optional
        What it is the inside of.
    phases : mapping of Node to str, optional
        Which nodes are of gradients.  These stand in the scope of what they are the gradient of, but come
        much later, so they get a group of their own; large graphs are divided into phases first.

    Returns
    -------
    Group

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ir import topological
    >>> x = gx.placeholder("x", shape=("n",))
    >>> for _ in range(200):
    ...     x = gx.sin(x)
    >>> root = tree(topological([x.node]), "chain")
    >>> len(root.items), root.items[0].title, len(list(root.nodes()))
    (6, 'part 1 of 6', 200)
    """
    inner = [n for n in nodes if not isinstance(n.op.lowering, (Leaf, Item))]
    return Group(title, kind, _arranged(inner, 0, phases or {}), owner)


def _arranged(nodes: Sequence[Node], depth: int, phases: Phases) -> Items:
    """Group nodes whose first `depth` scopes are the same."""
    if len(nodes) <= 1:
        return tuple(nodes)
    found = calls(nodes, depth, phases)
    if len(found) == 1:
        return _arranged(nodes, depth + 1, phases)
    items: list[Group | Node] = []
    for title, members in found:
        items += [_scope(title, _arranged(members, depth + 1, phases))] if title else members
    return _divided(_ordered(items), phases)


def _ordered(items: Sequence[Group | Node]) -> list[Group | Node]:
    """Order items so that what is read stands before what reads it, but for those that read each other."""
    at = _positions(items)
    reads = {(at[o], k) for node, k in at.items() for o in map(whole, node.inputs) if o in at and at[o] != k}
    if all(a < b for a, b in reads):
        return list(items)
    view = nx.DiGraph()
    view.add_nodes_from(range(len(items)))
    view.add_edges_from(reads)
    knots = nx.condensation(view)
    first = {k: min(data["members"]) for k, data in knots.nodes(data=True)}
    order = nx.lexicographical_topological_sort(knots, key=first.__getitem__)
    return [items[k] for knot in order for k in sorted(knots.nodes[knot]["members"])]


def _positions(items: Sequence[Group | Node]) -> dict[Node, int]:
    """Return for every node the position of the item that it stands in."""
    at: dict[Node, int] = {}
    for k, item in enumerate(items):
        at.update(dict.fromkeys(item.nodes() if isinstance(item, Group) else (item,), k))
    return at


def _divided(items: Sequence[Group | Node], phases: Phases) -> Items:
    """Divide what is too much to look at by phase, if it has several."""
    found: dict[str, list[Group | Node]] = {}
    for item in items:
        first = next(item.nodes()) if isinstance(item, Group) else item
        found.setdefault(phases.get(first, ""), []).append(item)
    if len(items) <= MOST or len(found) == 1:
        return _parts(items)
    return tuple(_scope(phase, _parts(members)) for phase, members in found.items())


def _scope(title: str, inside: Items) -> Group | Node:
    return inside[0] if len(inside) == 1 else Group(title, "scope", inside)


def _parts(items: Sequence[Group | Node]) -> Items:
    """Cut a sequence that is too long to look at into parts, and parts of parts."""
    if len(items) <= MOST:
        return tuple(items)
    count = min(-(-len(items) // PART), PART)
    ends = [*cuts(_crossings(items), count), len(items)]
    starts = [0, *ends[:-1]]
    return tuple(
        Group(f"part {k} of {count}", "part", _parts(items[a:b]))
        for k, (a, b) in enumerate(zip(starts, ends, strict=True), 1)
    )


def _crossings(items: Sequence[Group | Node]) -> list[int]:
    """Return for every position how many values cross it, from what stands before to what stands behind."""
    at = _positions(items)
    last = dict(at)
    for node, k in at.items():
        for operand in map(whole, node.inputs):
            if operand in last:
                last[operand] = max(last[operand], k)
    change = Counter[int]()
    for node, k in at.items():
        change[k + 1] += 1
        change[last[node] + 1] -= 1
    crossing, level = [], 0
    for k in range(len(items) + 1):
        level += change[k]
        crossing.append(level)
    return crossing


def cuts(crossings: Sequence[int], count: int) -> list[int]:
    """Return where to cut a sequence into `count` parts of about one length, so that little crosses.

    Examples
    --------
    >>> cuts([0, 3, 3, 3, 1, 3, 3, 3, 0], 2)
    [4]
    >>> cuts([0, 3, 3, 1, 3, 3, 3, 3, 0], 2)
    [3]
    """
    length = (len(crossings) - 1) / count
    reach = int(length / 3)
    found: list[int] = []
    for k in range(1, count):
        middle = round(k * length)
        near = range(middle - reach, middle + reach + 1)
        found.append(min(near, key=lambda at: (crossings[at], abs(at - middle))))
    return found


@dataclass(frozen=True)
class Inside:
    """The graphs that a node runs, and what each is to it."""

    titles: tuple[str, ...]
    graphs: tuple[Graph, ...]

    @classmethod
    def of(cls, node: Node) -> Inside:
        """Return what is inside of a node: nothing for most."""
        graphs = node.subgraphs
        if isinstance(node.payload, Graph):
            return cls(("inside",), graphs)
        loop = node.op.name == "loop"
        titles = ("body", "condition") if loop else tuple(f"branch {k}" for k in range(len(graphs)))
        return cls(titles[: len(graphs)], graphs)


def paths(root: Group) -> dict[Node, tuple[Group, ...]]:
    """Return the groups that each node of a tree stands in, the outermost first."""
    found: dict[Node, tuple[Group, ...]] = {}
    pending: list[tuple[Group, tuple[Group, ...]]] = [(root, (root,))]
    while pending:
        group, path = pending.pop()
        for item in group.items:
            if isinstance(item, Group):
                pending.append((item, (*path, item)))
            else:
                found[item] = path
    return found
