"""Probes: steps that time others, and where they note it."""

from __future__ import annotations

import ctypes
import time

import numpy as np
import pytest

from graphc.inspection import overlaps
from graphc.runtime import recorder as recorders
from graphc.runtime import runner
from graphc.runtime.llvm_functions import load_llvm
from graphc.runtime.probe_llvm import cycles, probe
from graphc.runtime.recorder import Clock, Recorder

NOTHING = "define void @nothing(ptr %args, i64 %block, i64 %blocks, i64 %worker) { ret void }"


def _probed(recorder: Recorder, number: int, steps: int) -> ctypes.Array[ctypes.c_int64]:
    """Return a table of probes around steps that do nothing."""
    nothing = load_llvm("nothing", NOTHING, "nothing")
    words = (ctypes.c_int64 * (2 + 2 * steps + 5))()
    base, args = ctypes.addressof(words), 2 + 2 * steps
    words[:2] = [steps, base + 8 * (args + 4)]
    for k in range(steps):
        words[2 + 2 * k : 4 + 2 * k] = [probe(), base + 8 * args]
    words[args : args + 4] = [nothing, base, number, recorder.address]
    return words


def test_probes_count_blocks_and_keep_their_spans() -> None:
    recorder = Recorder(threads=3, probes=2)
    table = _probed(recorder, number=1, steps=4)
    before = cycles()()
    runner.run(ctypes.addressof(table), block=5, blocks=6, worker=2)
    runner.run(ctypes.addressof(table), block=0, blocks=6, worker=0)
    found, after = recorder.take(), cycles()()
    np.testing.assert_array_equal(found.counts, [[0, 4], [0, 0], [0, 4]])
    np.testing.assert_array_equal(found.spans[:, :3], [[0, 1, 0]] * 4 + [[2, 1, 5]] * 4)
    begins, ends = found.spans[:, 3], found.spans[:, 4]
    assert (begins >= before).all() and (ends >= begins).all() and (ends <= after).all()
    assert (ends - begins).sum() == found.cycles.sum() and (np.diff(begins[:4]) > 0).all()
    assert found.dropped == 0


def test_what_was_noted_is_forgotten() -> None:
    recorder = Recorder(threads=1, probes=1)
    table = _probed(recorder, number=0, steps=3)
    runner.run(ctypes.addressof(table))
    recorder.clear()
    assert recorder.take().counts.sum() == 0
    runner.run(ctypes.addressof(table))
    assert recorder.take().counts.sum() == 3


def test_memory_is_bounded_and_counts_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorders, "SPANS", 8)
    monkeypatch.setattr(recorders, "FEWEST", 3)
    recorder = Recorder(threads=1, probes=2)
    table = _probed(recorder, number=0, steps=10)
    runner.run(ctypes.addressof(table))
    found = recorder.take()
    assert found.counts[0, 0] == 10 and len(found.spans) == 4 and found.dropped == 6
    # The other probe's memory is as it was.
    assert found.counts[0, 1] == 0
    other = _probed(recorder, number=1, steps=2)
    runner.run(ctypes.addressof(other))
    assert len(recorder.take().of([1])) == 2


def test_clock_agrees_with_the_system() -> None:
    clock, begin, now = Clock(), time.perf_counter_ns(), cycles()()
    clock.settle()
    (found,) = clock.nanoseconds(np.array([now]))
    # What lies between the two readings above takes a few microseconds, more if the system interrupts.
    assert -20_000 < found - begin < 5_000_000


# ------------------------------------------------------------- what spans say
def _spans(*rows: tuple[int, int, int, int]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    return np.array([(thread, 0, block, begin, end) for thread, block, begin, end in rows], np.int64).reshape(
        -1, 5
    )


def test_elapsed_reaches_from_the_first_block_to_the_last() -> None:
    # Two executions of three blocks each, on two threads.
    spans = _spans((0, 0, 0, 10), (1, 1, 2, 8), (1, 2, 8, 15), (0, 1, 50, 60), (1, 0, 51, 55), (1, 2, 55, 70))
    busy = float((spans[:, 4] - spans[:, 3]).sum())
    assert overlaps.elapsed(spans, np.array([2, 4]), busy) == 15 + 20


def test_elapsed_of_one_block_is_what_it_took() -> None:
    assert overlaps.elapsed(_spans((0, 0, 0, 10), (0, 0, 50, 60)), np.array([2]), 20.0) == 20.0
    assert overlaps.elapsed(_spans(), np.array([0]), 0.0) == 0.0


def test_elapsed_is_estimated_where_spans_are_missing() -> None:
    # Thread 1 kept its first span only, so nothing is known of the second execution.
    spans = _spans((0, 0, 0, 10), (1, 1, 5, 15), (0, 0, 50, 60))
    assert overlaps.elapsed(spans, np.array([2, 2]), 40.0) == 40.0 * 15 / 20
    # Of no execution are both spans there.
    assert overlaps.elapsed(_spans((0, 1, 5, 15)), np.array([1, 1]), 20.0) == 20.0


def test_covered_time_counts_once() -> None:
    spans = _spans((0, 0, 0, 10), (1, 0, 3, 5), (1, 0, 8, 20), (0, 0, 30, 31))
    assert overlaps.covered(spans) == 21
    assert overlaps.covered(_spans()) == 0
