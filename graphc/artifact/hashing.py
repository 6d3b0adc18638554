"""BLAKE3 of large data, as fast as memory gives it: vectors of inputs, on several threads.

Weights are most of what a file holds, and nothing is to be had of them before they are verified.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.artifact import blake3_llvm
from graphc.runtime.llvm_functions import load_llvm

__all__ = ["Hashing", "blake3", "map_ahead", "prepare"]

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
_BLOCK, _CHUNK, _RESULT = 64, 1024, 32
_CHUNK_START, _CHUNK_END, _PARENT, _ROOT = 1, 2, 4, 8
# Chunks that a thread takes at a time: to take more it needs Python's lock, which it may wait for.
_PIECE = 8192
# Linux 5.14; other systems ignore it or have it not.
_POPULATE_READ = 22


def prepare() -> None:
    """Make the native function callable."""
    _many()


@functools.cache
def _many() -> Callable[..., None]:
    address = load_llvm(f"graphc_{blake3_llvm.MANY}", blake3_llvm.many(), blake3_llvm.MANY)
    long, word = ctypes.c_int64, ctypes.c_int32
    prototype = ctypes.CFUNCTYPE(None, *[long] * 4, word, long, long, word, word, word, long)
    return prototype(address)


class Hashing:
    """A BLAKE3 hash that other threads have begun to compute.

    Parameters
    ----------
    data : ndarray of uint8
        One-dimensional and contiguous.
    threads : int
        How many to use at most, that which asks for the result included.  Hashing does not hold Python's
        lock.

    Examples
    --------
    >>> Hashing(np.frombuffer(b"abc", np.uint8), 2).result().hex()[:16]
    '6437b3ac38465133'
    """

    def __init__(self, data: Bytes, threads: int) -> None:
        whole, rest = divmod(len(data), _CHUNK)
        if rest == 0 and whole:
            whole, rest = whole - 1, _CHUNK
        self._data, self._whole, self._rest = data, whole, rest
        self._results = np.empty((whole + 1, _RESULT), np.uint8)
        # Each number goes to one thread.
        self._pieces = iter(range(0, whole, _PIECE))
        helpers = min(threads - 1, -(-whole // _PIECE) - 1)
        self._helpers = [threading.Thread(target=self._work) for _ in range(helpers)]
        for thread in self._helpers:
            thread.start()

    def result(self) -> bytes:
        """Do what is left, and return the 32 bytes."""
        self._work()
        self._end()
        for thread in self._helpers:
            thread.join()
        results = self._results
        while len(results) > 1:
            results = _parents(results)
        return results.tobytes()

    def _work(self) -> None:
        """Hash whole chunks, a piece of them at a time."""
        many, ends, blocks = _many(), (_CHUNK_START, 0, _CHUNK_END), _CHUNK // _BLOCK
        for first in self._pieces:
            number, start = min(_PIECE, self._whole - first), _at(self._data) + first * _CHUNK
            _map_at_once(start, number * _CHUNK)
            results = _at(self._results) + first * _RESULT
            many(start, _CHUNK, number, blocks, _BLOCK, first, 1, *ends, results)

    def _end(self) -> None:
        """Hash the last chunk, which may be shorter and is continued by zeros."""
        whole, rest = self._whole, self._rest
        last = np.zeros(_CHUNK, np.uint8)
        last[:rest] = self._data[whole * _CHUNK :]
        blocks = max(-(-rest // _BLOCK), 1)
        ends = _CHUNK_START, 0, _CHUNK_END if whole else _CHUNK_END | _ROOT
        left = rest - (blocks - 1) * _BLOCK
        _many()(_at(last), _CHUNK, 1, blocks, left, whole, 1, *ends, _at(self._results[whole:]))


def blake3(data: Bytes, threads: int = 1) -> bytes:
    """Return the BLAKE3 hash of an array of bytes; the parameters are those of `Hashing`.

    Examples
    --------
    >>> blake3(np.frombuffer(b"abc", np.uint8)).hex()[:16]
    '6437b3ac38465133'
    """
    return Hashing(data, threads).result()


def map_ahead(data: Bytes) -> None:
    """Have mapped memory looked up by a thread of its own."""
    threading.Thread(target=_map_at_once, args=(_at(data), len(data))).start()


def _map_at_once(start: int, size: int) -> None:
    """Have the pages of a mapped file looked up together: as they are touched, it takes thrice as long."""
    page = mmap.PAGESIZE
    first, end = start // page * page, -(-(start + size) // page) * page
    # It is a hint: where the system does not take it, pages are looked up as they are touched.
    _madvise()(first, end - first, _POPULATE_READ)


@functools.cache
def _madvise() -> Callable[..., int]:
    advise = getattr(ctypes.CDLL(None), "madvise", None)
    if sys.platform != "linux" or advise is None:
        return lambda *_: 0
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    found: Callable[..., int] = advise
    return found


def _parents(results: Bytes) -> Bytes:
    """Return one level less of the tree: what two neighbours hash to, and what has none as it is."""
    pairs, alone = divmod(len(results), 2)
    found = np.empty((pairs + alone, _RESULT), np.uint8)
    flags = _PARENT if len(found) > 1 else _PARENT | _ROOT
    _many()(_at(results), _BLOCK, pairs, 1, _BLOCK, 0, 0, 0, flags, 0, _at(found))
    if alone:
        found[pairs] = results[-1]
    return found


def _at(data: Bytes) -> int:
    address: int = data.__array_interface__["data"][0]
    return address
