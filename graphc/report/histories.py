"""What became of every node at each stage, and which nodes belong to which gradient, for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphc.inspection import Fate, Provenance
from graphc.report.tables import Names, Nodes

if TYPE_CHECKING:
    from graphc.runtime.kernel import Kernel

__all__ = ["Histories"]


class Histories:
    """Provenance as numbers.

    Parameters
    ----------
    provenance : Provenance
        Of the program.
    nodes : Nodes
        Where nodes get their numbers.
    """

    def __init__(self, provenance: Provenance, nodes: Nodes) -> None:
        self.provenance = provenance
        self.nodes = nodes
        self.words = Names()

    def fates(self, stage: int) -> list[list[Any]]:
        """Return the fates of the nodes that a stage did not leave just as they were.

        A number alone in the place of a fate says what the node became over other operands.
        """
        if stage == 0:
            return []
        step = self.provenance.step(stage)
        return [
            [self.nodes.number(node), self._fate(fate)]
            for node, fate in step.fates.items()
            if fate.kind != "kept" or fate.targets[0] is not node
        ]

    def _fate(self, fate: Fate) -> int | list[Any]:
        targets = [self.nodes.number(n) for n in fate.targets]
        if fate.kind == "kept":
            return targets[0]
        return [fate.kind, self._word(fate.rule), targets, self._word(fate.note)]

    def _word(self, text: str) -> int:
        return self.words.number(text) if text else -1

    def members(self, stage: int) -> list[int]:
        """Return all nodes of a stage's graph, those inside of others included."""
        return [self.nodes.number(n) for n in self.provenance.places(stage).owner]

    def computed_by(self, kernels: Sequence[Kernel]) -> list[list[int]]:
        """Return for every kernel the nodes of the last stage's graph that it computes."""
        numbers = {id(k): i for i, k in enumerate(kernels)}
        found: list[list[int]] = [[] for _ in kernels]
        last = len(self.provenance.stages) - 1
        for node in self.provenance.places(last).owner:
            kernel = self.provenance.kernel_of(node)
            if kernel is not None:
                found[numbers[id(kernel)]].append(self.nodes.number(node))
        return found
