"""Peak memory of a training step: what a process holds at most while it steps.

Each measurement is a process of its own.  A process that finds everything compiled in its cache is
measured, so that a compiler's own memory does not count.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import children
from benchmarks.peers import PEERS
from benchmarks.tables import Table, mebibytes

__all__ = ["Footprint", "available", "measure", "table_of"]

STEPS = 5
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
# What writing it there does: the highest mark starts over from what is held now.
_RESET_PEAK = "5"


@dataclass(frozen=True)
class Footprint:
    """Bytes of memory in use.

    Attributes
    ----------
    imported : int
        After the framework is imported, before anything is built.
    peak : int
        At most, while stepping.
    """

    imported: int
    peak: int

    @property
    def own(self) -> int:
        """What the training step adds to the bare framework."""
        return self.peak - self.imported


def available() -> bool:
    """Tell whether the operating system can say."""
    return _STATUS.exists() and _CLEAR.exists()


def _held(field: str) -> int:
    lines = _STATUS.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024


def _footprint(peer_name: str, workload_name: str, directory: str) -> dict[str, Any]:
    """Be the child: import, build, step, look."""
    from benchmarks import peers
    from benchmarks.workloads import WORKLOADS

    peer = peers.load(peer_name)
    peer.keep_compiled_in(directory)
    imported = _held("VmRSS")
    workload = WORKLOADS[workload_name]
    runner = peer.build(workload, False)
    feed = runner.prepare(workload.feed())
    runner.step(feed)
    _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
    for _ in range(STEPS):
        runner.step(feed)
    return asdict(Footprint(imported, _held("VmHWM")))


def measure(python: str, peer_name: str, workload_name: str) -> Footprint:
    """Return the footprint of a framework, in the interpreter that finds it.

    Raises
    ------
    UnsupportedError, FailedError
        If it does not take part, or fails.
    """
    with tempfile.TemporaryDirectory() as directory:
        arguments = (python, "benchmarks.memory", peer_name, workload_name, directory)
        children.ask(*arguments)
        return Footprint(**children.ask(*arguments))


def table_of(title: str, found: Mapping[str, Footprint]) -> Table:
    """Return the table of one workload."""
    table = Table(title, ("memory", "bare framework", "at most", "added by the step"))
    for name, footprint in found.items():
        figures = (footprint.imported, footprint.peak, footprint.own)
        table.rows.append((PEERS[name].label, *map(mebibytes, figures)))
    return table


if __name__ == "__main__":
    children.answer(_footprint)
