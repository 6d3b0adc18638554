"""The figures of the workloads as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median, quantiles

from benchmarks.counting import cost_of
from benchmarks.machine import usable_cpus
from benchmarks.peers import PEERS
from benchmarks.steps import Line, Timing
from benchmarks.tables import Table, percent, seconds
from benchmarks.workloads import WORKLOADS
from graphc.inspection import machine as peak

__all__ = ["family_table", "notes", "summary"]

BASE = "graphc"
_HEADS = ("workload", "framework", "median", "fastest", "x graphc", "middle half", "of peak", "of copy")


def family_table(title: str, lines: Mapping[str, Line]) -> Table:
    """Return every figure of some workloads; ratios are to graphc, round by round."""
    table = Table(title, _HEADS, left=2)
    for name, line in lines.items():
        title = WORKLOADS[name].title
        for peer, timing in line.timings.items():
            ratios = _ratio_cells(timing, line.timings.get(BASE))
            cells = (seconds(timing.median), seconds(timing.fastest), *ratios, *_shares(name, timing))
            table.rows.append((title, PEERS[peer].label, *cells))
            title = ""
    absent = [(peer, reason, name) for name, line in lines.items() for peer, reason in line.absent.items()]
    table.notes = notes(absent)
    return table


def notes(absent: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return who does not take part in what, from framework, reason and workload."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for peer, reason, name in absent:
        grouped.setdefault((peer, reason), []).append(name)
    return [f"{PEERS[p].label}: {reason} ({', '.join(names)})" for (p, reason), names in grouped.items()]


def _ratio_cells(timing: Timing, base: Timing | None) -> tuple[str, str]:
    if base is None or base is timing:
        return "", ""
    ratios = timing.ratios(base)
    if len(ratios) < 2:
        return f"{ratios[0]:.2f}", ""
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    return f"{middle:.2f}", f"{low:.2f} to {high:.2f}"


def _shares(name: str, timing: Timing) -> tuple[str, str]:
    """Return the shares of what the machine can do at most, in arithmetic and in moving memory."""
    cost = cost_of(WORKLOADS[name])
    possible = cost.flops / peak.flops_per_second(usable_cpus())
    arithmetic = percent(possible / timing.median) if cost.flops else ""
    return arithmetic, percent(peak.copy_seconds(cost.nbytes, usable_cpus()) / timing.median)


def summary(lines: Mapping[str, Line]) -> Table:
    """Return the ratios alone: how many times as long as graphc each framework takes."""
    measured = {name: line for name, line in lines.items() if BASE in line.timings}
    seen = {peer for line in measured.values() for peer in line.timings}
    others = [peer for peer in PEERS if peer in seen and peer != BASE]
    heads = ("times as long as graphc", BASE, *(PEERS[peer].label for peer in others), "best")
    table = Table("Summary", heads)
    for name, line in measured.items():
        base = line.timings[BASE]
        ratios = {p: median(t.ratios(base)) for p, t in line.timings.items() if p != BASE}
        cells = (f"{ratios[peer]:.2f}" if peer in ratios else "-" for peer in others)
        best = f"{min(ratios.values()):.2f}" if ratios else "-"
        table.rows.append((WORKLOADS[name].title, seconds(base.median), *cells, best))
    return table
