"""Numba: the same loops, compiled; of arrays, for every element."""

from __future__ import annotations

import numba

from benchmarks.peers import Peer
from benchmarks.peers.handwritten import Loop, LoopRunner
from benchmarks.workload import Workload

__all__ = ["PEER"]


def _compiled(loop: Loop, shape: tuple[int, ...]) -> Loop:
    compiled: Loop = numba.vectorize(nopython=True)(loop) if shape else numba.njit(loop)
    return compiled


def _build(workload: Workload, varies: bool) -> LoopRunner:
    return LoopRunner(workload, _compiled)


PEER = Peer(_build)
