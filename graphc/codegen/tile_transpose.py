"""Transposition of a square block, through vector registers.

``transpose_f32_16(source, source_row, target, target_row)`` writes the 16 x 16 block at
`source` transposed to `target`.  Rows of an operand that lie along the inner axis become
rows along the columns so, as the register tile wants them, at a few elements a cycle.

In log2(lanes) rounds, blocks of 1, 2, 4, ... elements beside the diagonal change places
(J. O. Eklundh, "A Fast Computer Method for Matrix Transposing", IEEE TC 21(7), 1972).
"""

from __future__ import annotations

import functools
import re

from graphc.codegen.tile_vectors import Vectors
from graphc.frontend.types import I64, Pointer
from graphc.frontend.writer import Function

_PARAMETERS = ("source", "source_row", "target", "target_row")
_NAME = re.compile(r"transpose_(f32|f64)_(\d+)")


def name(dtype: str, lanes: int) -> str:
    """Return the name in kernel code of the transposition of a `lanes` x `lanes` block."""
    return f"transpose_{dtype}_{lanes}"


@functools.cache
def function(name: str) -> Function | None:
    """Return the transposition of this name as a function of LLVM IR, or None if it names none.

    Examples
    --------
    >>> [str(kind) for kind in function("transpose_f64_4").parameters]
    ['f64*', 'i64', 'f64*', 'i64']
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    vectors = Vectors(match[1], int(match[2]))
    rows = [vectors.load(vectors.row("%source", "%source_row", i)) for i in range(vectors.lanes)]
    block = 1
    while block < vectors.lanes:
        rows = _exchange(vectors, rows, block)
        block *= 2
    for i, row in enumerate(rows):
        vectors.store(row, vectors.row("%target", "%target_row", i))
    pointer = Pointer(vectors.scalar)
    kinds = (pointer, I64, pointer, I64)
    return vectors.function(name, dict(zip(_PARAMETERS, kinds, strict=True)))


def _exchange(vectors: Vectors, rows: list[str], block: int) -> list[str]:
    """Let the blocks beside the diagonal of each square of two by two blocks change places."""
    lanes = range(vectors.lanes)
    upper = [vectors.lanes + j - block if j & block else j for j in lanes]
    lower = [vectors.lanes + j if j & block else j + block for j in lanes]
    done = list(rows)
    for i in lanes:
        if not i & block:
            first, second = rows[i], rows[i + block]
            done[i] = vectors.shuffle(first, second, upper)
            done[i + block] = vectors.shuffle(first, second, lower)
    return done
