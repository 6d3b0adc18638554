"""Loops with the same body become one."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from graphc.control.loop import Loop
from graphc.ir import Graph, Node
from graphc.pipeline import record
from graphc.rewriting.joined_loops import independent, join_loops

__all__ = ["MergeLoops"]

RULE = "loops with the same body --> one"


@dataclass(frozen=True)
class MergeLoops:
    """Run a loop once for all that its iterations are asked for.

    ``scan(f, xs) and scan(f and what its gradient keeps, xs)  -->  the second``

    A gradient makes the forward loop once more, with more stacks, and a derivative along a
    direction with more carried values.  All have the same nodes for bodies, so this stands
    before any pass that rewrites them.
    """

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph in which every recurrence runs once."""
        refused: set[Node] = set()
        while True:
            pair = _pair(graph, refused)
            if pair is None:
                return graph
            found = join_loops(graph, pair) if independent(pair) else None
            if found is None:
                refused.add(pair[1])
                continue
            record(RULE, pair[1], nodes=pair)
            graph = found


def _pair(graph: Graph, refused: set[Node]) -> tuple[Node, Node] | None:
    """Return the first two loops that iterate the same body."""
    first: dict[Hashable, Node] = {}
    for node in graph.nodes:
        if node.op.name != "loop" or node in refused:
            continue
        other = first.setdefault(_key(node), node)
        if other is not node:
            return other, node
    return None


def _key(node: Node) -> Hashable:
    """Return what loops share that iterate the same body: its counter, and what ends it."""
    loop = Loop.of(node)
    ends = None if loop.condition is None else tuple(map(id, loop.condition.outputs))
    return (id(loop.iteration), loop.length, id(loop.count), ends)
