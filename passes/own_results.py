"""Copies results that would share memory, while the copies can still be fused."""

from __future__ import annotations

from dataclasses import dataclass

from graphc.history import follow
from graphc.ir import Graph
from graphc.lower.ownership import materialize
from graphc.pipeline import record

__all__ = ["OwnResults"]


@dataclass(frozen=True)
class OwnResults:
    """Copy an output that is also a new value of a variable, another output, or an input.

    ``v = w + 1; outputs: v; updates: w <- v  -->  outputs: copy(v); updates: w <- v``

    Every result needs memory of its own.  Copied before fusing, the value is stored twice by
    the kernel that computes it, and not read again.
    """

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with a copy of each result that shares its memory."""
        owned = materialize(graph)
        before = {*graph.outputs, *(value for _, value in graph.updates)}
        for copy in (*owned.outputs, *(value for _, value in owned.updates)):
            if copy not in before:
                follow(copy.inputs[0], copy)
                record("shared result --> copy", copy.inputs[0])
        return owned
