"""Which nodes of a graph no kernel computes, and which one stores part by part.

A *view* only moves indices and is read through.  A concatenation of operands of one shape
is *spread* if nothing wants to read it in the loops that compute it: these loops run over
one part then, and store each operand where it belongs.
"""

from __future__ import annotations

from collections.abc import Collection

from graphc.ir import Graph, Node
from graphc.lower.reads import is_view
from graphc.lower.rules import AxisReduce, Contract, Join, Map

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
    return joins and len({i.type for i in node.inputs}) == 1 and not _shares_loops(graph, views, node)


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
