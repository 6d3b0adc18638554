"""Replacing loops and branches by others whose results stand in other places."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from graphc.ir import Graph, Node
from graphc.lower.rules import Control, Item
from graphc.ops.op import inherit_place
from graphc.rewriting.driver import with_new_checks

__all__ = ["replace_controls"]

Results = Mapping[int, Node]


def replace_controls(graph: Graph, build: Callable[[Node, Collection[int]], Results]) -> Graph:
    """Return the graph with results of loops and branches replaced.

    Parameters
    ----------
    graph : Graph
        What to rewrite.
    build : callable
        Given a loop or branch, its operands replaced already, and the numbers of its results that
        are read, returns what stands for them: nothing to leave it alone.
    """
    if not any(isinstance(n.op.lowering, Control) for n in graph.nodes):
        return graph
    image: dict[Node, Node] = {}
    results: dict[tuple[Node, int], Node] = {}
    for node in graph.nodes:
        source = node.inputs[0] if isinstance(node.op.lowering, Item) else None
        if source is not None and (source, node.attrs["index"]) in results:
            image[node] = results[source, node.attrs["index"]]
            continue
        image[node] = node.with_inputs(tuple(image[i] for i in node.inputs))
        if isinstance(node.op.lowering, Control):
            read = {u.attrs["index"] for u in graph.users[node]}
            with inherit_place(node):
                results |= {(node, k): n for k, n in build(image[node], read).items()}
    found = graph.rewired({old: new for old, new in image.items() if old is not new})
    return found if found is graph else with_new_checks(graph, found)
