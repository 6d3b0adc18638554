"""Sums of reductions become one reduction where the operands lie side by side anyway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from graphc import ops
from graphc.ir import Graph, Node
from graphc.pipeline import record
from graphc.rewriting.rebuild import Replacement, replace_nodes
from graphc.rewriting.sums import Sum, added, find_sums, is_private
from graphc.tensor import Tensor

__all__ = ["SumReductions"]

RULE = "sum of sums --> sum of the concatenation that exists (rounding)"


@dataclass(frozen=True)
class SumReductions:
    """Sum a concatenation once instead of each of its parts.

    ``c = concat(x, y); sum(x, 0) + sum(y, 0)  -->  c = concat(x, y); sum(c, 0)``

    The bias of a layer that every time step applies has such a gradient, and the weight's
    gradient has laid the steps' values side by side.
    """

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with sums of reductions merged."""
        joined: dict[Hashable, Node] = {}
        for node in graph.nodes:
            if node.op.name == "concat":
                joined.setdefault((_bag(node.inputs), node.attrs["axis"]), node)
        if not joined:
            return graph
        roots = set(graph.roots)
        found: dict[Node, Replacement] = {}
        for total in find_sums(graph):
            private = [t for t in total.terms if t.op.name == "sum" and is_private(graph, roots, t)]
            merged = {w: group for group in _alike(private) if (w := _whole(group, joined)) is not None}
            if merged:
                found[total.root] = _merged(total, merged)
                record(RULE, total.root)
        return replace_nodes(graph, found) if found else graph


def _bag(nodes: Sequence[Node]) -> Hashable:
    """Return nodes as a key that leaves out their order."""
    return frozenset(Counter(nodes).items())


def _alike(sums: Sequence[Node]) -> list[list[Node]]:
    groups: dict[Hashable, list[Node]] = {}
    for node in sums:
        groups.setdefault((node.attrs, node.inputs[0].type), []).append(node)
    return [g for g in groups.values() if len(g) > 1]


def _whole(group: Sequence[Node], joined: Mapping[Hashable, Node]) -> Node | None:
    """Return the concatenation of what a group of sums takes in, along an axis that they sum over."""
    parts = _bag([s.inputs[0] for s in group])
    found = (joined.get((parts, axis)) for axis in group[0].attrs["axes"])
    return next((node for node in found if node is not None), None)


def _merged(total: Sum, merged: Mapping[Node, Sequence[Node]]) -> Replacement:
    inside = {s for group in merged.values() for s in group}
    rest = [t for t in total.terms if t not in inside]

    def build(images: Sequence[Tensor]) -> Tensor:
        wholes, others = images[: len(merged)], images[len(merged) :]
        attrs = [group[0].attrs for group in merged.values()]
        sums = [
            ops.sum(w, axis=a["axes"], keepdims=a["keepdims"], dtype=total.root.type.dtype)
            for w, a in zip(wholes, attrs, strict=True)
        ]
        return added([*sums, *others])

    return Replacement((*merged, *rest), build)
