"""Programs whose every kernel is cut into as many blocks as it can be, run by several threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import graphc as gx
from graphc.runtime import schedule


@contextmanager
def everything_cut(threads: int) -> Iterator[None]:
    """Let programs run on so many threads, however little there is to do."""
    before = schedule.GRAIN, schedule.WORTHWHILE, gx.get_num_threads()
    schedule.GRAIN, schedule.WORTHWHILE = 1, 0
    gx.set_num_threads(threads)
    try:
        yield
    finally:
        schedule.GRAIN, schedule.WORTHWHILE = before[:2]
        gx.set_num_threads(before[2])
