"""One framework at work: what is asked of it, in the process where it lives."""

from __future__ import annotations

import functools
import gc
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import peers
from benchmarks.workload import Array
from benchmarks.workloads import WORKLOADS

__all__ = ["Host"]

# Enough for every weight to have changed several times, and too few for rounding to grow.
CHECKED_STEPS = 5
# Samples in a framework's turn, after one that does not count: caches and threads are its own then.
SAMPLES = 5
SHORTEST_SAMPLE = 2e-3
# A turn ends early when it has taken so long.
LONGEST_TURN = 1.0


class Host:
    """Builds, checks and times the workloads in one framework; `server` runs it in a process of its own.

    Parameters
    ----------
    name : str
        The framework, as in `benchmarks.peers.PEERS`.
    """

    def __init__(self, name: str) -> None:
        self.peer = peers.load(name)
        self.runner: Any = None
        self.feed: Any = None

    def build(self, workload: str) -> None:
        """Make the runner of a workload.

        Raises
        ------
        UnsupportedError
            If the framework has no good way to do it.
        """
        self.chosen = WORKLOADS[workload]
        self.runner = self.peer.build(self.chosen, False)
        self.feed = self.runner.prepare(self.chosen.feed())

    def results(self) -> list[list[Array]]:
        """Return the results of the first steps; of one step, if steps change nothing."""
        self.runner.reset()
        steps = CHECKED_STEPS if self.chosen.training else 1
        return [self.runner.arrays(self.runner.step(self.feed)) for _ in range(steps)]

    def reference(self) -> list[Array]:
        """Return the results of the first step by graphc's interpreter."""
        from benchmarks.peers.graphc_compiled import reference

        return reference(self.chosen)

    def calibrate(self) -> None:
        """Find out how many steps make a sample long enough for the clock."""
        self.runner.reset()
        shortest, started = math.inf, time.perf_counter()
        while shortest == math.inf or (time.perf_counter() - started < LONGEST_TURN / 10):
            shortest = min(shortest, self._sample(1))
        self.calls = max(1, math.ceil(SHORTEST_SAMPLE / shortest))

    def turn(self) -> tuple[float, ...]:
        """Return seconds per step, for several samples from the first weights on."""
        gc.collect()
        gc.disable()
        try:
            self.runner.reset()
            self._sample(self.calls)
            samples, started = [self._sample(self.calls)], time.perf_counter()
            while len(samples) < SAMPLES and time.perf_counter() - started < LONGEST_TURN:
                samples.append(self._sample(self.calls))
        finally:
            gc.enable()
        return tuple(samples)

    def _sample(self, calls: int) -> float:
        started = time.perf_counter()
        for _ in range(calls):
            self.runner.step(self.feed)
        return (time.perf_counter() - started) / calls

    def varying(self, workload: str, batches: Sequence[int]) -> tuple[list[float], list[float], int]:
        """Call a workload once with every size of the batch, then once more.

        Returns
        -------
        tuple
            Seconds of each call in the first round and in the second, and how many
            compilations there were.
        """
        chosen = WORKLOADS[workload]
        runner = self.peer.build(chosen, True)
        feeds = [runner.prepare(chosen.resized(batch).feed()) for batch in batches]
        first, second = ([_seconds(functools.partial(runner.step, f)) for f in feeds] for _ in range(2))
        return first, second, runner.compilations()

    def drop(self) -> None:
        """Forget the workload, and free its memory."""
        self.runner = self.feed = None
        gc.collect()


def _seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
