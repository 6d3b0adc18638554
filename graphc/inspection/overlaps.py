"""What spans say together: how long steps took whose blocks ran on several threads.

A span is a row: thread, probe, block, begin and end in cycles, as `graphc.runtime.recorder` returns them.
"""

from __future__ import annotations

import numpy as np

from graphc.runtime.recorder import Array

__all__ = ["blocks_of", "covered", "elapsed"]

_THREAD, _BLOCK, _BEGIN, _END = 0, 2, 3, 4


def blocks_of(spans: Array) -> int:
    """Return into how many blocks each execution of one probe's step is cut.

    Examples
    --------
    >>> blocks_of(np.array([[0, 7, 0, 10, 20], [1, 7, 1, 10, 30]]))
    2
    """
    return int(spans[:, _BLOCK].max(initial=0)) + 1


def elapsed(spans: Array, counts: Array, cycles: float) -> float:
    """Return the cycles from the first block's beginning to the last one's end, over all executions.

    Estimated from the executions of which all spans were kept, if these are not all.

    Parameters
    ----------
    spans : ndarray
        Of one probe.
    counts : ndarray
        How many blocks each thread ran.
    cycles : float
        What they took, added up.

    Examples
    --------
    >>> spans = np.array([[0, 7, 0, 10, 20], [1, 7, 1, 12, 30]])
    >>> elapsed(spans, np.array([1, 1]), 28.0)
    20.0
    """
    blocks = blocks_of(spans)
    if blocks == 1:
        return cycles
    threads, begins, ends = (spans[:, k] for k in (_THREAD, _BEGIN, _END))
    # Until the first thread stops keeping spans, those of all threads are there.
    kept = np.bincount(threads, minlength=len(counts))
    stopped = [begins[threads == t].max(initial=0) for t in np.flatnonzero(kept < counts)]
    known = int((begins <= min(stopped, default=np.iinfo(np.int64).max)).sum())
    order = np.argsort(begins, kind="stable")[: known // blocks * blocks]
    if not len(order):
        return cycles
    first, last = (a[order].reshape(-1, blocks) for a in (begins, ends))
    window = float((last.max(axis=1) - first.min(axis=1)).sum())
    return cycles * window / max(float((ends - begins)[order].sum()), 1.0)


def covered(spans: Array) -> float:
    """Return the cycles in which at least one of the spans was going on.

    Examples
    --------
    >>> covered(np.array([[0, 1, 0, 10, 20], [1, 2, 0, 15, 30], [0, 3, 0, 40, 45]]))
    25.0
    """
    if not len(spans):
        return 0.0
    spans = spans[np.argsort(spans[:, _BEGIN])]
    begins, ends = spans[:, _BEGIN], np.maximum.accumulate(spans[:, _END])
    starts = np.concatenate([begins[:1], np.maximum(begins[1:], ends[:-1])])
    return float(np.maximum(ends - starts, 0).sum())
