"""Drops what nothing reads."""

from __future__ import annotations

from dataclasses import dataclass

from graphc.ir import Graph, topological
from graphc.pipeline import record

__all__ = ["Prune"]


@dataclass(frozen=True)
class Prune:
    """Drop nodes that no output or update needs, and updates that change nothing.

    ``updates: w <- w  -->  (none)``

    Inputs stay, used or not: they are the program's signature.  So do the graph's checks.
    """

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph without what nothing reads."""
        updates = tuple((var, value) for var, value in graph.updates if var is not value)
        for var, value in graph.updates:
            if var is value:
                record("update of a variable with itself --> none", value.where)
        needed = set(topological((*graph.inputs, *graph.outputs, *(n for pair in updates for n in pair))))
        dead = [n for n in graph.nodes if n not in needed]
        for node in dead:
            record("unused node --> none", node)
        if not dead and len(updates) == len(graph.updates):
            return graph
        return Graph(graph.inputs, graph.outputs, updates, graph.checks)
