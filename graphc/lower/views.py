"""Which nodes of a graph no kernel computes, and which one stores part by part.

A *view* only moves indices and is read through.  A concatenation of operands of one shape
is *spread* if nothing wants to read it in the loops that compute it, or if its operands
can be computed in place: its loops run over one part then, and store each operand where it belongs.
"""

from __future__ import annotations

from collections.abc import Collection

from graphc.ir import Graph, Node
from graphc.lower.reads import is_view
from graphc.lower.rules import Alias, AxisReduce, Contract, Join, Leaf, Map

# Lowerings whose loops we can merge.
KINDS = (Map, AxisReduce, Contract)


def find_views(graph: Graph) -> frozenset[Node]:
    """Return the views that only kernels and other such views read."""
    roots = set(graph.roots)
    views: set[Node] = set()
    for node in reversed(graph.nodes):
        if node in roots or not is_view(node):
            continue
        if all(isinstance(u.op.lowering, KINDS) or u in views for u in graph.users[node]):
            views.add(node)
    return frozenset(views)


def find_spread(graph: Graph, views: Collection[Node]) -> frozenset[Node]:
    """Return the concatenations that are stored part by part."""
    return frozenset(n for n in graph.nodes if n not in views and _is_spread(graph, views, n))


def _is_spread(graph: Graph, views: Collection[Node], node: Node) -> bool:
    joins = isinstance(node.op.lowering, Join) and len(node.inputs) > 1
    if not joins or len({i.type for i in node.inputs}) > 1:
        return False
    return _is_computed_in_place(views, node) or not _shares_loops(graph, views, node)


def in_sequence(node: Node) -> bool:
    """Tell whether the operands of a concatenation lie one behind the other in it."""
    return all(d == 1 for d in node.type.shape[: node.attrs["axis"]])


def _is_computed_in_place(views: Collection[Node], node: Node) -> bool:
    """Tell whether the kernels of all operands can compute them where they belong: nothing is copied then."""
    return in_sequence(node) and all(_is_computed(views, i) for i in node.inputs)


def _is_computed(views: Collection[Node], node: Node) -> bool:
    while isinstance(node.op.lowering, Alias):
        node = node.inputs[0]
    return node not in views and not isinstance(node.op.lowering, Leaf)


def _shares_loops(graph: Graph, views: Collection[Node], node: Node) -> bool:
    """Tell whether a reader would like to run in the loops that compute a value: products do not."""
    stack = list(graph.users[node])
    while stack:
        reader = stack.pop()
        rule = reader.op.lowering
        if reader in views:
            stack.extend(graph.users[reader])
        elif isinstance(rule, (Map, AxisReduce)) and not isinstance(rule, Join):
            return True
    return False
