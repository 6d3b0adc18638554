"""Values that are fixed while a program runs: they depend on variables and constants alone."""

from __future__ import annotations

from graphc.ir import Graph, Node
from graphc.lower.rules import Callback, Leaf

__all__ = ["from_weights"]


def from_weights(graph: Graph) -> set[Node]:
    """Return the nodes that depend on no input of the graph: nothing made of them waits for a feed."""
    found: set[Node] = set()
    for node in graph.nodes:
        if node.op.name == "placeholder" or isinstance(node.op.lowering, Callback):
            continue
        if isinstance(node.op.lowering, Leaf) or all(i in found for i in node.inputs):
            found.add(node)
    return found
