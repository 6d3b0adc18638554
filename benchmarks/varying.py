"""Batches of every size from 1 to 128 in random order: who compiles how often, and what that costs."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from benchmarks.children import FailedError
from benchmarks.peers import PEERS
from benchmarks.steps import Served
from benchmarks.tables import Table, seconds
from benchmarks.vocabulary import UnsupportedError

__all__ = ["BATCHES", "WORKLOAD", "Varied", "measure", "table_of"]

BATCHES = 128
WORKLOAD = "mlp"


@dataclass(frozen=True)
class Varied:
    """Seconds of every call, when a size comes for the first time and when it comes again."""

    first: list[float]
    again: list[float]
    compilations: int


def measure(served: Mapping[str, Served], largest: int) -> tuple[dict[str, Varied], dict[str, str]]:
    """Return what each framework took for batches up to the largest, and why others did not take part."""
    batches = list(range(1, largest + 1))
    random.Random(0).shuffle(batches)
    found, absent = {}, {}
    for name, host in served.items():
        try:
            found[name] = Varied(*host.call("varying", WORKLOAD, batches))
        except (UnsupportedError, FailedError) as reason:
            absent[name] = str(reason)
    return found, absent


def table_of(found: Mapping[str, Varied], title: str) -> Table:
    """Return the table."""
    heads = ("varying batch", "compilations", "first round", "slowest call", "second round", "median call")
    table = Table(title, heads)
    for name, varied in found.items():
        figures = (sum(varied.first), max(varied.first), sum(varied.again), median(varied.again))
        first, slowest, again, middle = map(seconds, figures)
        table.rows.append((PEERS[name].label, str(varied.compilations), first, slowest, again, middle))
    return table
