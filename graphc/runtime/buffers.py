"""Memory that calls bring and take: addresses, and whether outputs may be written."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.types import DType

__all__ = ["UNSHARED", "addressof", "misfit", "overlap", "references", "window"]

Array = np.ndarray[Any, Any]
# An array's address, several times faster than from its array interface, but only of writeable memory.
addressof = ctypes.addressof
# An array's buffer: numpy's stubs deny it before Python 3.12.
window: Callable[[Any], ctypes.Array[ctypes.c_char]] = (ctypes.c_char * 0).from_buffer


def misfit(a: Any, shape: tuple[int, ...], dtype: DType) -> str:
    """Return what keeps an output from being written into `a`, or nothing."""
    if not isinstance(a, np.ndarray):
        return type(a).__name__
    if a.shape != shape or (a.dtype is not dtype and a.dtype != dtype):
        return f"{a.dtype}{list(a.shape)}"
    return "" if a.flags.carray else "an array that is read-only, unaligned or not contiguous"


def overlap(start: int, extents: Sequence[int], taken: list[int]) -> str:
    """Say if an output at `start` overlaps what is taken; takes its place otherwise."""
    end = start + extents[len(taken)]
    for first, extent in zip(taken, extents, strict=False):
        if first < end and start < first + extent:
            return "an array that overlaps an input or another output"
    taken.append(start)
    return ""


def references(kept: Mapping[int, object], k: int) -> int:
    """Return how many references there are to what is kept: views and buffers of an array count."""
    return sys.getrefcount(kept[k])


# As many as there are if nobody else has one; Python versions differ.
UNSHARED = references({0: object()}, 0)
