"""Where probes note what they time, and what their cycles are in seconds."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.errors import GraphError
from graphc.runtime import probe_llvm
from graphc.runtime.probe_llvm import LINE, SPAN_WORDS, TOTAL_WORDS

__all__ = ["Clock", "Probes", "Recorder", "Recording"]

Array = np.ndarray[Any, Any]
# Spans that one thread keeps of all probes together, and the fewest and the most of one.
SPANS, FEWEST, MOST = 1 << 16, 32, 4096
# How long to compare the two clocks at least: their readings are off by some 100 ns.
COMPARED_SECONDS = 0.02
_LINE_WORDS = LINE // 8


class Probes:
    """The probes of a plan.

    Attributes
    ----------
    steps : list of (int, int)
        What each of them times: the section and the step's position in it.
    slots : list of int
        Where in the plan's words their recorder's address stands.
    """

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self.slots: list[int] = []
        self._recorder: Recorder | None = None

    def number(self, section: int, position: int) -> int:
        """Return the number of a new probe."""
        self.steps.append((section, position))
        return len(self.steps) - 1

    def connect(self, words: ctypes.Array[ctypes.c_int64], threads: int) -> None:
        """Give a finished plan's probes a recorder."""
        self._recorder = Recorder(threads, len(self.steps))
        for slot in self.slots:
            words[slot] = self._recorder.address

    def clear(self) -> None:
        """Forget what was noted.  No probe may be running."""
        self.recorder.clear()

    def take(self) -> Recording:
        """Return what was noted since it was last cleared."""
        return self.recorder.take()

    @property
    def recorder(self) -> Recorder:
        """Where they note it."""
        if self._recorder is None:
            raise GraphError("probes of a plan that is not written yet")
        return self._recorder


@dataclass(frozen=True)
class Recording:
    """What probes noted during one call.

    Attributes
    ----------
    counts, cycles : ndarray
        Blocks run and the cycles that took, by thread and probe.
    spans : ndarray
        One row for each block whose span was kept: thread, probe, block, begin and end in cycles.
    """

    counts: Array
    cycles: Array
    spans: Array

    def of(self, probes: Sequence[int]) -> Array:
        """Return the spans of some probes."""
        found: Array = self.spans[np.isin(self.spans[:, 1], probes)]
        return found

    @property
    def dropped(self) -> int:
        """How many blocks ran whose spans were not kept."""
        return int(self.counts.sum()) - len(self.spans)


class Recorder:
    """The memory of a plan's probes.

    Parameters
    ----------
    threads, probes : int
        How many of each.

    Attributes
    ----------
    address : int
        For the probes' args blocks.
    """

    def __init__(self, threads: int, probes: int) -> None:
        self._kept = min(max(SPANS // max(probes, 1), FEWEST), MOST)
        totals = _whole_lines(probes * TOTAL_WORDS)
        pitch = totals + _whole_lines(probes * self._kept * SPAN_WORDS)
        # Zeroed page by page, as the threads come to them.
        memory = np.zeros((threads * pitch) + 2 * _LINE_WORDS, np.int64)
        start = -memory.ctypes.data % LINE // 8
        self._memory = memory[start : start + _LINE_WORDS + threads * pitch]
        self._memory[:3] = pitch * 8, self._kept, totals * 8
        self.address: int = self._memory.ctypes.data
        areas = self._memory[_LINE_WORDS:].reshape(threads, pitch)
        self._totals = areas[:, : probes * TOTAL_WORDS].reshape(threads, probes, TOTAL_WORDS)
        used = probes * self._kept * SPAN_WORDS
        self._spans = areas[:, totals : totals + used].reshape(threads, probes, self._kept, SPAN_WORDS)

    def clear(self) -> None:
        """Forget what was noted.  No probe may be running."""
        self._totals.fill(0)

    def take(self) -> Recording:
        """Return what was noted.  No probe may be running."""
        counts, cycles = self._totals[:, :, 0].copy(), self._totals[:, :, 1].copy()
        found = [self._of(thread, probe, counts) for thread, probe in np.argwhere(counts)]
        spans = np.concatenate(found) if found else np.empty((0, 2 + SPAN_WORDS), np.int64)
        return Recording(counts, cycles, spans)

    def _of(self, thread: int, probe: int, counts: Array) -> Array:
        kept = min(int(counts[thread, probe]), self._kept)
        rows = np.empty((kept, 2 + SPAN_WORDS), np.int64)
        rows[:, 0], rows[:, 1] = thread, probe
        rows[:, 2:] = self._spans[thread, probe, :kept]
        return rows


class Clock:
    """Turns cycles into seconds of `time.perf_counter_ns`, by reading both when made and when asked.

    Examples
    --------
    >>> clock = Clock()
    >>> clock.settle()
    >>> 0 < clock.nanoseconds_per_cycle < 100
    True
    """

    def __init__(self) -> None:
        self._first = _both()
        self.nanoseconds_per_cycle = 0.0

    def settle(self) -> None:
        """Compare the clocks once more, when enough time has passed."""
        now = _both()
        while now[0] - self._first[0] < COMPARED_SECONDS * 1e9:
            time.sleep(COMPARED_SECONDS / 4)
            now = _both()
        self.nanoseconds_per_cycle = (now[0] - self._first[0]) / (now[1] - self._first[1])

    def nanoseconds(self, cycles: Array) -> Array:
        """Return readings of the counter as readings of `time.perf_counter_ns`."""
        return self._first[0] + (cycles - self._first[1]) * self.nanoseconds_per_cycle


def _both() -> tuple[int, int]:
    """Read both clocks: the attempt in which they lie closest together."""
    read = probe_llvm.cycles()
    found = []
    for _ in range(5):
        before, cycles, after = time.perf_counter_ns(), read(), time.perf_counter_ns()
        found.append((after - before, (before + after) // 2, cycles))
    _, nanoseconds, cycles = min(found)
    return nanoseconds, cycles


def _whole_lines(words: int) -> int:
    return -(-words // _LINE_WORDS) * _LINE_WORDS
