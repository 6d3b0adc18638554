"""Machine code that needs no linker: one block of bytes that runs wherever it is put.

References within the block are relative and were resolved when it was made.  What it calls outside,
a few functions of the C library, it finds through words of its own, which are filled in when the
block is put into memory.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import threading
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from graphc.errors import KernelError, UnsupportedError

__all__ = ["ALIGNMENT", "FlatCode", "place"]

ALIGNMENT = 64
"""Blocks begin at multiples of a cache line, which is as much as any constant in them asks for."""


class FlatCode(NamedTuple):
    """A function as a block of bytes.

    Attributes
    ----------
    symbol : str
        Its name, which says what it does: equal names mean equal code.
    code : bytes-like
        The block.
    entry : int
        Where in it the function begins.
    imports : tuple of (int, str)
        Where in it addresses of other functions belong, and the names of those.
    """

    symbol: str
    code: bytes | memoryview
    entry: int
    imports: tuple[tuple[int, str], ...] = ()


_addresses: dict[str, int] = {}
_lock = threading.Lock()


def place(blocks: Sequence[FlatCode]) -> list[int]:
    """Put blocks into executable memory of this process, for good.

    Parameters
    ----------
    blocks : sequence of FlatCode
        What to put there; those whose symbol is there already stay where they are.

    Returns
    -------
    list of int
        The addresses of their functions.

    Raises
    ------
    KernelError
        If a block calls a function that the process lacks.
    UnsupportedError
        If the system gives no memory, or lets nobody make memory executable.

    Examples
    --------
    >>> place([])
    []
    """
    with _lock:
        fresh = {b.symbol: b for b in blocks if b.symbol not in _addresses}
        if fresh:
            _addresses.update(_placed(list(fresh.values())))
        return [_addresses[b.symbol] for b in blocks]


def _placed(blocks: Sequence[FlatCode]) -> dict[str, int]:
    starts, size = _starts(len(b.code) for b in blocks)
    imported = {name: _address_of(name) for b in blocks for _, name in b.imports}
    base = _map(size)
    for block, start in zip(blocks, starts, strict=True):
        ctypes.memmove(base + start, bytes(block.code), len(block.code))
        for offset, name in block.imports:
            ctypes.c_uint64.from_address(base + start + offset).value = imported[name]
    # Never both writable and executable.
    if _c("mprotect", base, size, mmap.PROT_READ | mmap.PROT_EXEC):
        raise UnsupportedError(
            "the system lets no program make memory executable", given=os.strerror(ctypes.get_errno())
        )
    return {b.symbol: base + start + b.entry for b, start in zip(blocks, starts, strict=True)}


def _starts(lengths: Iterable[int]) -> tuple[list[int], int]:
    """Return where blocks begin that lie one after the other, and where the last ends."""
    starts, end = [], 0
    for length in lengths:
        starts.append(end)
        end += length + -length % ALIGNMENT
    return starts, end


def _map(size: int) -> int:
    """Return the address of new memory of whole pages, which is never given back.

    Native threads may still be running code in it while the interpreter clears its modules.
    """
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    address = _c("mmap", None, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise UnsupportedError(f"no {size} bytes for machine code", given=os.strerror(ctypes.get_errno()))
    return int(address)


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _c(name: str, first: int | None, size: int, *rest: int) -> int:
    """Call a function of the C library whose arguments are an address, a size, and numbers."""
    function = _library()[name]
    function.restype = ctypes.c_void_p if name == "mmap" else ctypes.c_int
    numbers = [ctypes.c_long(value) for value in rest]
    found: int = function(ctypes.c_void_p(first), ctypes.c_size_t(size), *numbers)
    return found


def _address_of(name: str) -> int:
    try:
        return ctypes.cast(_library()[name], ctypes.c_void_p).value or 0
    except AttributeError as error:
        raise KernelError(f"this process has no function {name}") from error
