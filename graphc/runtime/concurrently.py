"""Independent jobs on several threads, the caller being one of them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

__all__ = ["run_all"]

Result = TypeVar("Result")


def run_all(jobs: Sequence[Callable[[], Result]], threads: int) -> list[Result]:
    """Run jobs, each once, and return their results in order.

    Threads take the next job whenever they are done with one.  They end before this returns, so none is
    left to a fork or to the interpreter's shutdown.  Where no thread can be started, the caller does it all.

    Parameters
    ----------
    jobs : sequence of callable
        They may not wait for each other.
    threads : int
        How many to use at most, the caller included.

    Raises
    ------
    BaseException
        What the first failing job of the sequence raised; jobs not yet begun then are not run.

    Examples
    --------
    >>> run_all([lambda: 1, lambda: 2, lambda: 3], threads=2)
    [1, 2, 3]
    """
    queue = _Queue(enumerate(jobs))
    helpers = [threading.Thread(target=queue.work, daemon=True) for _ in range(min(threads, len(jobs)) - 1)]
    started = []
    # RuntimeError: the system gives no more threads, or the interpreter is shutting down.
    with contextlib.suppress(RuntimeError):
        for helper in helpers:
            helper.start()
            started.append(helper)
    queue.work()
    for helper in started:
        helper.join()
    if queue.failures:
        raise queue.failures[min(queue.failures)]
    return [queue.results[position] for position in range(len(jobs))]


class _Queue(Generic[Result]):
    """Jobs to do, and what came of them."""

    def __init__(self, jobs: Iterator[tuple[int, Callable[[], Result]]]) -> None:
        self.jobs = jobs
        self.lock = threading.Lock()
        self.results: dict[int, Result] = {}
        self.failures: dict[int, BaseException] = {}

    def work(self) -> None:
        """Do jobs until none is left or one has failed."""
        while not self.failures:
            with self.lock:
                following = next(self.jobs, None)
            if following is None:
                return
            position, job = following
            try:
                self.results[position] = job()
            except BaseException as error:
                self.failures[position] = error
