"""Offsets of temporaries in one arena, by first and last use: decided for each set of sizes."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ALIGNMENT", "Block", "aligned", "place"]

ALIGNMENT = 64


@dataclass(frozen=True)
class Block:
    """A request for arena memory: a key, its first and last step, its size in bytes."""

    key: object
    first: int
    last: int
    size: int


def place(blocks: Sequence[Block]) -> tuple[dict[object, int], int]:
    """Return an offset for every block, and the size of the arena.

    Blocks are opened in order of first use; a block takes the smallest free gap that holds
    it.  Gaps are merged when their neighbours close, so the arena stays near the peak of
    live bytes.
    """
    offsets: dict[object, int] = {}
    free: list[tuple[int, int]] = []
    open_blocks: list[tuple[int, int, int]] = []
    top = 0
    for block in sorted(blocks, key=lambda b: (b.first, -b.size)):
        while open_blocks and open_blocks[0][0] < block.first:
            _, offset, size = heapq.heappop(open_blocks)
            free = _release(free, offset, size)
        size = aligned(block.size)
        fitting = [gap for gap in free if gap[1] >= size]
        if fitting:
            start, length = min(fitting, key=lambda gap: gap[1])
            free.remove((start, length))
            if length > size:
                free.append((start + size, length - size))
        else:
            start = top
            top += size
        offsets[block.key] = start
        heapq.heappush(open_blocks, (block.last, start, size))
    return offsets, top


def aligned(size: int) -> int:
    """Return a size in bytes, rounded up to whole cache lines."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def _release(free: list[tuple[int, int]], offset: int, size: int) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    start, end = offset, offset + size
    for gap_start, gap_size in free:
        if gap_start + gap_size == start:
            start = gap_start
        elif gap_start == end:
            end = gap_start + gap_size
        else:
            merged.append((gap_start, gap_size))
    return [*merged, (start, end - start)]
