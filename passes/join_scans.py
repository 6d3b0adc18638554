"""Loops over the same range become one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from graphc.control.loop import Loop
from graphc.ir import Graph, Node
from graphc.lower.rules import Contract
from graphc.pipeline import record
from graphc.rewriting.joined_loops import independent, join_loops

__all__ = ["JoinScans"]


@dataclass(frozen=True)
class JoinScans:
    """Run loops of the same length side by side, if none needs the other and both multiply matrices.

    ``scan(f, xs) and scan(g, xs, reverse=True)  -->  scan(f and g, xs, xs backwards)``

    Threads wait for each other once per iteration instead of twice, and share more work between.
    """

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph without such neighbours."""
        while True:
            joined = next((found for pair in _pairs(graph) if (found := _joined(graph, pair))), None)
            if joined is None:
                return graph
            graph = joined


def _pairs(graph: Graph) -> Iterator[tuple[Node, Node]]:
    loops = [n for n in graph.nodes if n.op.name == "loop" and _suits(Loop.of(n))]
    pairs = ((a, b) for a, b in combinations(loops, 2) if a.attrs["length"] == b.attrs["length"])
    return (pair for pair in pairs if independent(pair))


def _suits(loop: Loop) -> bool:
    return loop.rounds is not None and any(isinstance(n.op.lowering, Contract) for n in loop.body.nodes)


def _joined(graph: Graph, pair: tuple[Node, Node]) -> Graph | None:
    found = join_loops(graph, pair)
    if found is not None:
        record("loops over the same range --> one", pair[1], nodes=pair)
    return found
