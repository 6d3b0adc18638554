"""From nothing to the first training step: with an empty cache, then in a process that finds a full one.

Each start is a process of its own.  It reports how long the import took, and how long building,
compiling and running the first step took after that.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

# Nothing that imports NumPy: a start is to be timed from the first import on.
from benchmarks.agreement import require_close
from benchmarks.tables import Table, seconds

__all__ = ["Start", "measure", "table_of"]


@dataclass(frozen=True)
class Start:
    """Seconds to import the framework, and from there to the first loss."""

    imports: float
    first_step: float
    loss: float


def _start(peer_name: str, workload_name: str, directory: str) -> Start:
    """Be the child: import, build, step once."""
    started = time.perf_counter()
    from benchmarks import peers
    from benchmarks.workloads import WORKLOADS

    peer = peers.load(peer_name)
    imported = time.perf_counter()
    peer.keep_compiled_in(directory)
    loss = float(peer.train(WORKLOADS[workload_name]).step())
    return Start(imported - started, time.perf_counter() - imported, loss)


def _spawn(peer_name: str, workload_name: str, directory: str) -> Start:
    command = [sys.executable, "-m", "benchmarks.startup", peer_name, workload_name, directory]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Start(**json.loads(done.stdout.splitlines()[-1]))


def measure(names: list[str], workload_name: str, rounds: int) -> dict[str, dict[str, list[Start]]]:
    """Return the cold and warm starts of each framework, taken in turns.

    Raises
    ------
    DisagreementError
        If the first steps do not give the same loss.
    """
    found: dict[str, dict[str, list[Start]]] = {name: {"cold": [], "warm": []} for name in names}
    for _ in range(rounds):
        for name, kinds in found.items():
            with tempfile.TemporaryDirectory() as directory:
                for starts in kinds.values():
                    starts.append(_spawn(name, workload_name, directory))
    every = [(name, start.loss) for name, kinds in found.items() for s in kinds.values() for start in s]
    for name, loss in every:
        require_close(name, loss, *every[0])
    return found


def table_of(title: str, found: Mapping[str, Mapping[str, Sequence[Start]]]) -> Table:
    """Return the table of one workload, of medians."""
    heads = ("start", "import, cold", "to first loss, cold", "import, warm", "to first loss, warm")
    table = Table(title, heads)
    for name, kinds in found.items():
        cells = (
            seconds(median(getattr(s, part) for s in starts))
            for starts in kinds.values()
            for part in ("imports", "first_step")
        )
        table.rows.append((name, *cells))
    return table


def main() -> None:
    """Print one start, measured in this process, as JSON."""
    print(json.dumps(asdict(_start(*sys.argv[1:]))))


if __name__ == "__main__":
    main()
