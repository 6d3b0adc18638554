"""Groups of nodes that share the loops of one kernel."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphc.dims import Shape
from graphc.ir import Node
from graphc.lower.reads import Projection, Read, own_axes


@dataclass(eq=False)
class Cluster:
    """A group of nodes that will be one kernel.

    `space` holds the sizes of its loop axes, `reduced` those that reductions run over,
    `crossed` those of sums across the rows, if any, and `places` where each node's own loops
    lie in them.  `position` orders clusters topologically.
    """

    nodes: list[Node]
    space: Shape
    reduced: frozenset[int]
    places: dict[Node, Projection]
    position: float
    contraction: bool
    reads: list[tuple[Node, Read]] = field(default_factory=list)
    crossed: frozenset[int] = frozenset()

    def result_axes(self, node: Node) -> Projection:
        """Return, per axis of the node's result, the axis of the space that walks it."""
        place = self.places[node]
        return tuple(None if a is None else place[a] for a in own_axes(node))


def common_reductions(
    space: Shape, moved: Cluster, kept: Cluster, mapping: dict[int, int]
) -> tuple[frozenset[int], frozenset[int]] | None:
    """Return the axes that two clusters reduce within rows and across, None if they cannot share loops."""
    found: dict[frozenset[int], None] = {}
    for axes in (moved.reduced, moved.crossed):
        if not all(a in mapping for a in axes):
            return None
        found[frozenset(mapping[a] for a in axes)] = None
    kinds = [axes for axes in (*found, kept.reduced, kept.crossed) if axes]
    kinds = list(dict.fromkeys(kinds))
    if len(kinds) < 2:
        return (kinds[0] if kinds else frozenset()), frozenset()
    full = nontrivial(space)
    if len(kinds) > 2 or kinds[0] & kinds[1] or kinds[0] | kinds[1] != full:
        return None
    rows, columns = kinds if max(full) in kinds[0] else reversed(kinds)
    return rows, columns


def nontrivial(space: Shape) -> set[int]:
    """Return the axes that are not of size 1."""
    return {a for a, d in enumerate(space) if d != 1}
