"""Which nodes belong to the forward program, which to gradients, which to updates, at every stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from graphc.inspection import Provenance
from graphc.ir import Graph, Node, topological
from graphc.lower.rules import Leaf

__all__ = ["Phase", "gradients", "phases"]

Phase = Literal["forward", "gradients", "updates"]


def gradients(provenance: Provenance) -> dict[Node, Node]:
    """Return the traced nodes of gradients, each with the node whose derivative it belongs to."""
    traced = provenance.places(0).owner
    pairs = ((n, provenance.forward_of(n)) for n in traced if not isinstance(n.op.lowering, Leaf))
    return {node: forward for node, forward in pairs if forward is not None}


def phases(provenance: Provenance, pairs: Mapping[Node, Node]) -> dict[Node, Phase]:
    """Return the phase of every node of every stage: the traced ones by `pairs`, the others by origin.

    Parameters
    ----------
    provenance : Provenance
        Of the program.
    pairs : mapping of Node to Node
        What `gradients` returns.

    Returns
    -------
    dict of Node to str
    """
    stages = provenance.stages
    found = _traced(stages[0].graph, pairs)
    for k, stage in enumerate(stages[1:], 1):
        if stage.graph is stages[k - 1].graph:
            continue
        for node, fate in provenance.step(k).fates.items():
            for target in fate.targets:
                found.setdefault(target, found[node])
        for level in reversed(provenance.places(k).levels):
            for node in level:
                if node not in found:
                    found[node] = _made(node, found)
    return found


def _made(node: Node, known: Mapping[Node, Phase]) -> Phase:
    """Return the phase of what a pass made from nothing: that of what it holds, or of its operands."""
    roots = [n for g in node.subgraphs for n in g.roots if n in known]
    # A kernel with results of several phases passes for what its line says.
    held = [known[n] for n in roots if n.where == node.where] or [known[n] for n in roots]
    if held:
        return min(held, key=_RANK.__getitem__)
    return max((known[n] for n in node.inputs if n in known), key=_RANK.__getitem__, default="forward")


_RANK: dict[Phase, int] = {"forward": 0, "gradients": 1, "updates": 2}


def _traced(graph: Graph, pairs: Mapping[Node, Node]) -> dict[Node, Phase]:
    found: dict[Node, Phase] = {}
    # What neither an output nor a gradient needs, or what needs a gradient, computes new values of variables.
    needed = set(topological([*graph.outputs, *(n for n in graph.nodes if n in pairs)]))
    waiting: list[tuple[Graph, Phase | None]] = [(graph, None)]
    while waiting:
        inner, around = waiting.pop()
        for node in inner.nodes:
            early = node in needed and all(found[i] == "forward" for i in node.inputs)
            own: Phase = "forward" if early else "updates"
            found[node] = "gradients" if node in pairs else around or own
            waiting += [(g, found[node]) for g in node.subgraphs]
    return found
