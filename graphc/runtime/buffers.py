"""Memory that calls bring and take: feeds as arrays, addresses, and whether outputs may be written."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.errors import FeedError
from graphc.ir import Node
from graphc.types import DType

__all__ = ["UNSHARED", "addressof", "as_array", "misfit", "overlap", "references", "window"]

Array = np.ndarray[Any, Any]
# An array's address, several times faster than from its array interface, but only of writeable memory.
addressof = ctypes.addressof
# An array's buffer: numpy's stubs deny it before Python 3.12.
window: Callable[[Any], ctypes.Array[ctypes.c_char]] = (ctypes.c_char * 0).from_buffer
# Which Python numbers a dtype takes: those of its own kind and of the kinds before it.
_KINDS = {"b": 0, "i": 1, "u": 1, "f": 2}


def as_array(value: Any, node: Node) -> Array:
    """Return a feed as an array; Python numbers and lists take a dtype that holds their kind."""
    weak = isinstance(value, (bool, int, float, list, tuple)) and not isinstance(value, np.generic)
    dtype = node.type.dtype
    try:
        found = np.asarray(value)
        rank = _KINDS.get(found.dtype.kind, len(_KINDS))
        if not weak or (found.size and rank > _KINDS[dtype.kind]):
            return found
        with np.errstate(over="raise"):
            return np.asarray(value, dtype)
    except (ValueError, OverflowError, FloatingPointError) as error:
        raise FeedError(
            f"feed of placeholder {node.name!r} is no {dtype} array",
            expected=str(node.type),
            given=str(error),
        ) from None


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
