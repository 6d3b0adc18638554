"""The team: native threads that compute the blocks of a program's kernels together.

The calling thread always works; the others are helpers that a call never has to wait for, unless
they are in the middle of a block.  They sleep between calls.  One team serves the process; a call
that finds it busy, from another Python thread, runs on its own thread alone.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import threading
from collections.abc import Callable

from graphc.errors import ArgumentError, GraphcError, caller
from graphc.runtime import team_llvm as native
from graphc.runtime.llvm_functions import load_llvm

__all__ = ["CELL", "MOST_THREADS", "Team", "enter", "get_num_threads", "leave", "set_num_threads", "sharer"]

MOST_THREADS = 256
_PAGE = 4096
# Bits of the C library's cpu_set_t.
_CPUS = 1024


# Holds the address of the sync block of the process's team: what jobs read, as plans outlive teams.
CELL = ctypes.c_int64(0)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


@functools.cache
def _address_of(symbol: str) -> int:
    return load_llvm(f"graphc_{symbol}", native.LLVM, symbol)


def prepare() -> None:
    """Make all native code of the team callable."""
    for symbol in ("serve", "share", "wake"):
        _address_of(symbol)


@functools.cache
def sharer() -> int:
    """Return the address of the step by which the team computes a job."""
    return _address_of("share")


@functools.cache
def _wake() -> Callable[[int], None]:
    return ctypes.CFUNCTYPE(None, ctypes.c_int64)(_address_of("wake"))


def _memory(size: int) -> int:
    """Return the address of zeroed memory, aligned to lines, that stays for good."""
    allocate = _libc().aligned_alloc
    allocate.restype, allocate.argtypes = ctypes.c_void_p, [ctypes.c_size_t, ctypes.c_size_t]
    address = allocate(native.LINE, size)
    if not address:
        raise MemoryError
    ctypes.memset(address, 0, size)
    return int(address)


def _spread(thread: ctypes.c_uint64, worker: int) -> None:
    """Start a helper on a CPU of its own; later the system may move it.

    Born on its parent's CPU, it could stay there for long: both seldom sleep.
    """
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    others = [cpu for cpu in allowed if cpu != _libc().sched_getcpu()]
    if not others or max(allowed) >= _CPUS:
        return
    for cpus in ([others[(worker - 1) % len(others)]], allowed):
        mask = sum(1 << cpu for cpu in cpus).to_bytes(_CPUS // 8, "little")
        _libc().pthread_setaffinity_np(thread, ctypes.c_size_t(len(mask)), mask)


class Team:
    """Threads that share jobs.

    Parameters
    ----------
    threads : int
        Number of threads, the caller included.
    """

    def __init__(self, threads: int) -> None:
        # Never given back, not even as the interpreter ends: a thread that the system has set aside may
        # look at it at any later time.
        self.sync = _memory(_PAGE)
        fixed = self._word(native.FIXED)
        fixed.value = ctypes.cast(_libc().syscall, ctypes.c_void_p).value or 0
        self._limit = self._word(native.FIXED + 8)
        self._limit.value = 1
        self._workers: list[ctypes.c_uint64] = []
        self.lock = threading.Lock()
        self.resize(threads)

    def _word(self, offset: int) -> ctypes.c_int64:
        return ctypes.c_int64.from_address(self.sync + offset)

    def resize(self, threads: int) -> None:
        """Start or end threads.  No job may be running."""
        self._limit.value = threads
        if len(self._workers) >= threads:
            self._dismiss(threads - 1)
        while len(self._workers) < threads - 1:
            self._hire(len(self._workers) + 1)

    def _hire(self, worker: int) -> None:
        place = ctypes.c_void_p(_memory(native.LINE))
        (ctypes.c_int64 * 2).from_address(place.value or 0)[:] = [self.sync, worker]
        thread = ctypes.c_uint64()
        # Signals are for the threads that Python knows.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            start = ctypes.c_void_p(_address_of("serve"))
            failed = _libc().pthread_create(ctypes.byref(thread), None, start, place)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if failed:
            self._limit.value = worker
            raise GraphcError(
                "threads: the system starts no more of them",
                expected=f"{worker} or fewer: set_num_threads({worker})",
                given=os.strerror(failed),
                where=caller(),
            )
        self._workers.append(thread)
        _spread(thread, worker)

    def _dismiss(self, kept: int) -> None:
        leaving = self._workers[kept:]
        del self._workers[kept:]
        if leaving:
            _wake()(self.sync)
        for thread in leaving:
            _libc().pthread_join(thread, None)


def _available() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_team: Team | None = None
_lock = threading.Lock()
count = min(_available(), MOST_THREADS)
"""How many threads programs run on; `set_num_threads` changes it."""


def get_num_threads() -> int:
    """Return how many threads programs run on, the calling thread included.

    Returns
    -------
    int
        By default as many as there are CPUs that the process may use.

    Examples
    --------
    >>> get_num_threads() >= 1
    True
    """
    return count


def set_num_threads(threads: int) -> None:
    """Set how many threads programs run on.

    Results do not depend on it, bit for bit.  Calls that are too small to gain from more run
    on the calling thread.

    Parameters
    ----------
    threads : int
        Number of threads, the calling thread included.

    Raises
    ------
    ArgumentError
        If it is no number from 1 to 256.

    Examples
    --------
    >>> import graphc as gx
    >>> before = gx.get_num_threads()
    >>> gx.set_num_threads(1)
    >>> gx.get_num_threads()
    1
    >>> gx.set_num_threads(before)
    """
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise ArgumentError(
            "set_num_threads: not a number of threads",
            expected=f"an integer from 1 to {MOST_THREADS}",
            given=repr(threads),
            where=caller(),
        )
    global count
    with _lock:
        if _team is not None:
            with _team.lock:
                _team.resize(threads)
        count = threads


def _the_team() -> Team:
    global _team
    with _lock:
        if _team is None:
            _team = Team(count)
            CELL.value = _team.sync
        return _team


def enter() -> bool:
    """Take the process's team for one call, until `leave`.

    Returns
    -------
    bool
        False if it is busy with a call of another Python thread.
    """
    team = _team or _the_team()
    return team.lock.acquire(blocking=False)


def leave() -> None:
    """Give the team back."""
    if _team is not None:
        _team.lock.release()


def _after_fork() -> None:
    """Let the child hire its own helpers: threads do not survive a fork."""
    global _team, _lock
    _team, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
