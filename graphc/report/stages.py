"""What each pass did, for the page: counts, rules by the user's lines, fates of nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from graphc.pipeline import Rewrite, Stage
from graphc.report.tables import Nodes

__all__ = ["stage_data"]


def stage_data(stage: Stage, graph: int, nodes: Nodes) -> dict[str, Any]:
    """Return what the page shows of a stage; `graph` is the number of its graph."""
    return {
        "name": stage.name,
        "graph": graph,
        "seconds": stage.seconds,
        "nodes": [stage.nodes_before, stage.nodes],
        "kernels": [stage.kernels_before, stage.kernels],
        "rewrites": _grouped(stage.rewrites, nodes),
        "declined": _grouped(stage.declined, nodes),
    }


def _grouped(rewrites: Sequence[Rewrite], nodes: Nodes) -> list[list[Any]]:
    """Return rule, line, note and how often, rules that were applied most first."""
    rules = Counter(r.rule for r in rewrites)
    rows = Counter((r.rule, nodes.places.number(r.where), r.note) for r in rewrites)
    ordered = sorted(rows, key=lambda row: (-rules[row[0]], row[0], row[1]))
    return [[*row, rows[row]] for row in ordered]
