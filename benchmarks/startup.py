"""From nothing to the first training step: with an empty cache, then in a process that finds a full one.

Each start is a process of its own.  It reports how long the import took, and how long building,
compiling and running the first step took after that.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

# Nothing that imports NumPy: a start is to be timed from the first import on.
from benchmarks import children
from benchmarks.agreement import require_close
from benchmarks.tables import Table, seconds
from benchmarks.vocabulary import UnsupportedError

__all__ = ["Start", "measure", "table_of"]


@dataclass(frozen=True)
class Start:
    """Seconds to import the framework, and from there to the first loss."""

    imports: float
    first_step: float
    loss: float


def _start(peer_name: str, workload_name: str, directory: str) -> dict[str, Any]:
    """Be the child: import, build, step once."""
    started = time.perf_counter()
    from benchmarks import peers
    from benchmarks.workloads import WORKLOADS

    peer = peers.load(peer_name)
    imported = time.perf_counter()
    peer.keep_compiled_in(directory)
    workload = WORKLOADS[workload_name]
    runner = peer.build(workload, False)
    (loss,) = runner.arrays(runner.step(runner.prepare(workload.feed())))
    return asdict(Start(imported - started, time.perf_counter() - imported, float(loss)))


Starts = dict[str, dict[str, list[Start]]]


def measure(pythons: Mapping[str, str], workload_name: str, rounds: int) -> tuple[Starts, dict[str, str]]:
    """Return the cold and warm starts of each framework, taken in turns, and why others are absent.

    Parameters
    ----------
    pythons : mapping of str to str
        The frameworks, and the interpreter that finds each.
    workload_name : str
        The workload.
    rounds : int
        How many starts of each kind.

    Raises
    ------
    DisagreementError
        If the first steps do not give the same loss.
    """
    found: Starts = {name: {"cold": [], "warm": []} for name in pythons}
    absent: dict[str, str] = {}
    for _ in range(rounds):
        for name in list(found):
            try:
                _start_twice(pythons[name], name, workload_name, found[name])
            except (UnsupportedError, children.FailedError) as reason:
                absent[name] = str(reason)
                del found[name]
    every = [(name, start.loss) for name, kinds in found.items() for s in kinds.values() for start in s]
    for name, loss in every:
        require_close(name, loss, *every[0])
    return found, absent


def _start_twice(python: str, peer_name: str, workload_name: str, kinds: Mapping[str, list[Start]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        for starts in kinds.values():
            found = children.ask(python, "benchmarks.startup", peer_name, workload_name, directory)
            starts.append(Start(**found))


def table_of(title: str, found: Mapping[str, Mapping[str, Sequence[Start]]]) -> Table:
    """Return the table of one workload, of medians."""
    from benchmarks.peers import PEERS

    heads = ("start", "import, cold", "to first loss, cold", "import, warm", "to first loss, warm")
    table = Table(title, heads)
    for name, kinds in found.items():
        cells = (
            seconds(median(getattr(s, part) for s in starts))
            for starts in kinds.values()
            for part in ("imports", "first_step")
        )
        table.rows.append((PEERS[name].label, *cells))
    return table


if __name__ == "__main__":
    children.answer(_start)
