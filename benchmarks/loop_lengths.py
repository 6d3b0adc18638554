"""Does compiling a loop take longer for more iterations?  Once it is compiled, a length is a number.

Each measurement is a process of its own with an empty cache.  It builds and runs another loop first,
so that what a compiler loads and sets up once does not count.  Frameworks compile when something is
built or when it is called for the first time; what counts is the time of both, less that of a
later call.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from benchmarks import children
from benchmarks.agreement import require_equal
from benchmarks.peers import PEERS, load
from benchmarks.tables import Table, seconds
from benchmarks.vocabulary import UnsupportedError
from benchmarks.workloads import loops

__all__ = ["ALLOWED", "COMPILED", "LENGTHS", "Grown", "measure", "table_of"]

LENGTHS = (10, 1_000, 100_000)
WIDTH = 32
# Those that compile loops at all; the others would run, or unroll, a hundred thousand iterations.
COMPILED = ("graphc", "jax", "pytensor")
ALLOWED = 2.0
# Later calls, of which the fastest counts.
CALLS = 3


@dataclass
class Grown:
    """What a framework took to compile loops.

    Attributes
    ----------
    seconds : dict of int to list of float
        By length.
    """

    seconds: dict[int, list[float]]

    @property
    def factor(self) -> float:
        """How much longer the longest loop takes than the shortest."""
        return median(self.seconds[max(self.seconds)]) / median(self.seconds[min(self.seconds)])


def _compile(peer_name: str, length: str, directory: str) -> dict[str, Any]:
    """Be the child: compile another loop, then this one; answer with its gradients, too."""
    peer = load(peer_name)
    peer.keep_compiled_in(directory)
    other = loops.recurrence("another loop", loops.squashed, "xab", (3,), 5)
    runner = peer.build(other, False)
    runner.step(runner.prepare(other.feed()))
    workload = loops.repeated_layer(WIDTH, int(length))
    started = time.perf_counter()
    runner = peer.build(workload, False)
    feed = runner.prepare(workload.feed())
    results = runner.step(feed)
    compiled = time.perf_counter() - started
    values = [array.tolist() for array in runner.arrays(results)]
    return {"seconds": compiled - min(_call(runner, feed) for _ in range(CALLS)), "values": values}


def _call(runner: Any, feed: Any) -> float:
    started = time.perf_counter()
    runner.step(feed)
    return time.perf_counter() - started


def _reference(length: int) -> list[Any]:
    from benchmarks.peers.graphc_compiled import reference

    return reference(loops.repeated_layer(WIDTH, length))


def measure(
    pythons: Mapping[str, str], lengths: Sequence[int], rounds: int
) -> tuple[dict[str, Grown], dict[str, str]]:
    """Return what each framework took, and why others are absent.

    Parameters
    ----------
    pythons : mapping of str to str
        The frameworks, and the interpreter that finds each.
    lengths : sequence of int
        Numbers of iterations.  Gradients of the smallest are compared with the interpreter's,
        those of the others with those of the first framework.
    rounds : int
        How many processes for each length.

    Raises
    ------
    DisagreementError
        If the gradients differ.
    """
    expected = {min(lengths): ("the interpreter", _reference(min(lengths)))}
    found: dict[str, Grown] = {}
    absent: dict[str, str] = {}
    for name in (n for n in pythons if n in COMPILED):
        grown = Grown({length: [] for length in lengths})
        try:
            for length in [n for _ in range(rounds) for n in lengths]:
                answer = _ask(pythons[name], name, length)
                values = [np.float32(v) for v in answer["values"]]
                other, truth = expected.setdefault(length, (name, values))
                require_equal(f"{name}, {length:,} iterations", values, other, truth, 1e-4)
                grown.seconds[length].append(answer["seconds"])
        except (UnsupportedError, children.FailedError) as reason:
            absent[name] = str(reason)
            continue
        found[name] = grown
    return found, absent


def _ask(python: str, name: str, length: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        return children.ask(python, "benchmarks.loop_lengths", name, str(length), directory)


def table_of(found: Mapping[str, Grown]) -> Table:
    """Return the table."""
    lengths: Iterable[int] = next(iter(found.values())).seconds if found else ()
    heads = ("compiling a loop and its gradient", *(f"{length:,} iterations" for length in lengths), "growth")
    table = Table("loops of many lengths", heads)
    for name, grown in found.items():
        cells = (seconds(median(samples)) for samples in grown.seconds.values())
        table.rows.append((PEERS[name].label, *cells, f"{grown.factor:.2f}"))
    return table


if __name__ == "__main__":
    children.answer(_compile)
