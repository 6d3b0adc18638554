"""A program as plain data: everything that the page shows, with drawings already laid out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import graphc
from graphc.inspection import Provenance
from graphc.inspection.shortfalls import TITLES, Shortfall, shortfalls
from graphc.ir import Graph
from graphc.report.arena import arena_of
from graphc.report.geometry import Geometries
from graphc.report.histories import Histories
from graphc.report.kernels import kernel_data
from graphc.report.packing import Pack
from graphc.report.phases import gradients, phases
from graphc.report.stages import stage_data
from graphc.report.tables import Nodes
from graphc.report.views import Views, results_of

if TYPE_CHECKING:
    from graphc.runtime.program import Program

__all__ = ["packed"]


def packed(program: Program, measured: dict[str, Any] | None = None) -> Pack:
    """Return everything that the page shows of a program.

    Parameters
    ----------
    program : Program
        What to describe.
    measured : dict, optional
        What `measured_data` returns.

    Returns
    -------
    Pack
        ``program``, ``nodes`` and ``shapes`` are needed at once; a graph, the gradients or the kernels when
        they are drawn, and texts when somebody looks at them.
    """
    return _Page(program, measured).pack


class _Page:
    """The entries of one page, as they are made."""

    def __init__(self, program: Program, measured: dict[str, Any] | None) -> None:
        self.program = program
        self.pack, self.nodes, self.geometries = Pack(), Nodes(), Geometries()
        provenance = Provenance.of(program)
        self.histories = Histories(provenance, self.nodes)
        self.pairs = gradients(provenance)
        self.phases = phases(provenance, self.pairs)
        graphs = self._graphs()
        sides = self._gradients()
        kernels = self._kernels()
        stages = [stage_data(s, graphs[s.graph], self.nodes) for s in program.stages]
        numbers = range(len(stages))
        content = {
            **_header(program),
            "stages": stages,
            "stageGraphs": self._members(graphs),
            "fates": [self.histories.fates(k) for k in numbers],
            "kernels": kernels,
            "gradients": sides,
            "arena": arena_of(program).data,
            "undone": self._undone(),
            "profile": measured,
        }
        # Last: everything before adds words, nodes and lines.
        self.pack.add("program", {**content, "words": self.histories.words.rows})
        names, places = self.nodes.names.rows, self.nodes.places.rows
        self.pack.add("nodes", {"names": names, "places": places, "rows": self.nodes.rows})
        self.pack.add("shapes", self.geometries.rows)

    def _graphs(self) -> dict[Graph, int]:
        """Draw every graph of the stages; return their numbers."""
        numbers: dict[Graph, int] = {}
        for stage in self.program.stages:
            if stage.graph in numbers:
                continue
            numbers[stage.graph] = len(numbers)
            views = Views(self.nodes, self.geometries, self.phases)
            views.add(stage.graph.nodes, self.program.name, results_of(stage.graph))
            self.pack.add(f"graph{numbers[stage.graph]}", views.data)
        return numbers

    def _members(self, graphs: dict[Graph, int]) -> list[list[int]]:
        """Return the nodes of each graph, in the order of its number."""
        stages = {stage.graph: k for k, stage in enumerate(self.program.stages)}
        return [self.histories.members(stages[graph]) for graph in graphs]

    def _gradients(self) -> dict[str, Any]:
        """Draw the traced graph in two parts: what the user wrote, and the gradients of that."""
        traced = self.program.stages[0].graph.nodes
        views = Views(self.nodes, self.geometries)
        forward = views.add([n for n in traced if self.phases[n] == "forward"], "forward", {})
        backward = views.add([n for n in traced if self.phases[n] == "gradients"], "backward", {})
        self.pack.add("gradients", views.data)
        numbers = [[self.nodes.number(node), self.nodes.number(of)] for node, of in self.pairs.items()]
        return {"forward": forward, "backward": backward, "pairs": numbers}

    def _kernels(self) -> list[dict[str, Any]]:
        views = Views(self.nodes, self.geometries)
        kernels = self.program.kernels
        steps = self.histories.computed_by(kernels)
        found = [
            kernel_data(k, computed, views, self.pack, self.nodes)
            for k, computed in zip(kernels, steps, strict=True)
        ]
        self.pack.add("kernels", views.data)
        return found

    def _undone(self) -> list[list[Any]]:
        """Return what was left undone, by title: to what, why, on which line, in which kernel, how often."""
        return [[title, [self._shortfall(s) for s in found]] for title, found in self._shortfalls.items()]

    @property
    def _shortfalls(self) -> dict[str, list[Shortfall]]:
        found: dict[str, list[Shortfall]] = {title: [] for title in TITLES}
        for shortfall in shortfalls(self.program):
            found[shortfall.title].append(shortfall)
        return found

    def _shortfall(self, found: Shortfall) -> list[Any]:
        place = self.nodes.places.number(found.where)
        return [found.subject, found.why, place, found.kernel, found.count]


def _header(program: Program) -> dict[str, Any]:
    graph = program.graph
    return {
        "name": program.name,
        "version": graphc.__version__,
        "inputs": [f"{n.name}: {n.type}" for n in graph.inputs],
        "outputs": [str(n.type) for n in graph.outputs],
        "updates": [f"{v.name}: {v.type}" for v, _ in graph.updates],
        "reused": program.memory.reused,
        "inPlace": program.memory.in_place,
        "committed": program.memory.committed,
    }
