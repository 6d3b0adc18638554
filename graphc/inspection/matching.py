"""Which nodes of two graphs correspond.

In rounds, each on what earlier ones have left: nodes that compute the same, since op, attributes, type and
operands are equal down to the leaves; operands in the same position of nodes that correspond, from the
outputs up; nodes of one op and name, or on one line, in their order.  At last, whatever stands in the same
position.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping

from graphc.errors import UNKNOWN
from graphc.ir import Graph, Node

__all__ = ["correspondence"]


def correspondence(old: Graph, new: Graph) -> dict[Node, Node]:
    """Return, for each node of a graph that has one, its partner in another graph.

    Parameters
    ----------
    old, new : Graph
        What to compare.

    Returns
    -------
    dict of Node to Node

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ir import Graph
    >>> x = gx.placeholder("x", shape=("n",))
    >>> a, b = (Graph((x.node,), (gx.exp(x * 2).node,)) for _ in range(2))
    >>> correspondence(a, b)[a.outputs[0]] is b.outputs[0]
    True
    """
    match = _Match(old, new)
    numbers: dict[Hashable, int] = {}
    match.by(_identities(old, numbers), _identities(new, numbers))
    match.along_operands(_same_op)
    for key in (_name, _place):
        match.by({n: key(n) for n in old.nodes}, {n: key(n) for n in new.nodes})
        match.along_operands(_same_op)
    match.along_operands(_same_type)
    return match.image


class _Match:
    def __init__(self, old: Graph, new: Graph) -> None:
        self.old, self.new = old, new
        self.image: dict[Node, Node] = {}
        self.taken: set[Node] = set()

    def by(self, old: Mapping[Node, Hashable], new: Mapping[Node, Hashable]) -> None:
        """Match nodes of one key, in their order."""
        waiting: dict[Hashable, list[Node]] = defaultdict(list)
        for node, key in reversed(list(new.items())):
            if key is not None and node not in self.taken:
                waiting[key].append(node)
        for node, key in old.items():
            if key is not None and node not in self.image and waiting.get(key):
                self.pair(node, waiting[key].pop())

    def along_operands(self, suits: Callable[[Node, Node], bool]) -> None:
        """Match what stands in the same position: outputs, updates, effects, operands."""
        news = {var.name: value for var, value in self.new.updates}
        pairs = [*zip(self.old.outputs, self.new.outputs, strict=False)]
        pairs += zip(self.old.effects, self.new.effects, strict=False)
        pairs += [(value, news[var.name]) for var, value in self.old.updates if var.name in news]
        for a, b in pairs:
            self.attempt(a, b, suits)
        for node in reversed(self.old.nodes):
            partner = self.image.get(node)
            for a, b in zip(node.inputs, partner.inputs if partner is not None else (), strict=False):
                self.attempt(a, b, suits)

    def attempt(self, a: Node, b: Node, suits: Callable[[Node, Node], bool]) -> None:
        if a not in self.image and b not in self.taken and suits(a, b):
            self.pair(a, b)

    def pair(self, a: Node, b: Node) -> None:
        self.image[a] = b
        self.taken.add(b)


def _same_op(a: Node, b: Node) -> bool:
    return a.op.name == b.op.name


def _same_type(a: Node, b: Node) -> bool:
    return a.type == b.type and bool(a.inputs) == bool(b.inputs)


def _name(node: Node) -> Hashable:
    return (node.op.name, node.name) if node.name else None


def _place(node: Node) -> Hashable:
    return (node.op.name, node.where) if node.inputs and node.where is not UNKNOWN else None


# ------------------------------------------------------------------- identities
def _identities(graph: Graph, numbers: dict[Hashable, int], *, inner: bool = False) -> dict[Node, Hashable]:
    """Return a number for each node, the same for those that compute the same.

    The inputs of inner graphs are known by their position, those of whole programs by their names.
    """
    found: dict[Node, Hashable] = {}
    if inner:
        found |= {node: ("input", k, node.type) for k, node in enumerate(graph.inputs)}
    for node in graph.nodes:
        if node not in found:
            key = (node.op.name, node.attrs, node.type, tuple(found[i] for i in node.inputs))
            found[node] = numbers.setdefault((*key, _content(node, numbers)), len(numbers))
    return found


def _content(node: Node, numbers: dict[Hashable, int]) -> Hashable:
    """Return what tells nodes of one op, attributes and operands apart."""
    if node.op.name in ("placeholder", "variable"):
        return node.name
    if node.op.name == "constant":
        return str(node.payload.digest)
    inner = ((g, _identities(g, numbers, inner=True)) for g in node.subgraphs)
    return tuple(tuple(found[o] for o in g.outputs) for g, found in inner)
