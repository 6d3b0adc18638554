"""Memory of their own for outputs and for new values of variables."""

from __future__ import annotations

from dataclasses import replace

from graphc.ir import Graph, Node
from graphc.lower.rules import Leaf
from graphc.lower.steps import Storage, storage_of
from graphc.ops.fused import copy_of


def materialize(graph: Graph) -> Graph:
    """Give every output and every new value memory of its own, by copies where it has none."""
    taken: set[Storage] = set()
    updates: list[tuple[Node, Node]] = []
    for variable, value in graph.updates:
        storage = storage_of(value)
        own = not isinstance(storage.node.op.lowering, Leaf)
        updates.append((variable, value if own else copy_of(value)))
        taken.add(storage_of(updates[-1][1]))
    outputs: list[Node] = []
    for node in graph.outputs:
        storage = storage_of(node)
        own = storage not in taken and not isinstance(storage.node.op.lowering, Leaf)
        outputs.append(node if own else copy_of(node))
        taken.add(storage_of(outputs[-1]))
    if tuple(outputs) == graph.outputs and tuple(updates) == graph.updates:
        return graph
    return replace(graph, outputs=tuple(outputs), updates=tuple(updates), nodes=())
