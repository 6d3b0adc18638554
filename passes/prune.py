"""Drops what nothing reads."""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphc.ir import Graph
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
        kept = replace(graph, updates=updates, nodes=())
        needed = set(kept.nodes)
        dead = [n for n in graph.nodes if n not in needed]
        for node in dead:
            record("unused node --> none", node)
        if not dead and len(updates) == len(graph.updates):
            return graph
        return kept
