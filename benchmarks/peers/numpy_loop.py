"""NumPy: loops over its scalars and arrays, as they stand in the file."""

from __future__ import annotations

from benchmarks.peers import Peer
from benchmarks.peers.handwritten import Loop, LoopRunner
from benchmarks.workload import Workload

__all__ = ["PEER"]


def _unchanged(loop: Loop, shape: tuple[int, ...]) -> Loop:
    return loop


def _build(workload: Workload, varies: bool) -> LoopRunner:
    return LoopRunner(workload, _unchanged)


PEER = Peer(_build)
