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
from typing import Any

from llvmlite import ir

from graphc.codegen.tile_vectors import I64, Vectors

_NAME = re.compile(r"transpose_(f32|f64)_(\d+)")


def name(dtype: str, lanes: int) -> str:
    """Return the name in kernel code of the transposition of a `lanes` x `lanes` block."""
    return f"transpose_{dtype}_{lanes}"


@functools.cache
def intrinsic(name: str) -> Any:
    """Return the Numba intrinsic of a transposition by its name, or None if it names none."""
    match = _NAME.fullmatch(name)
    return None if match is None else _make(match[1], int(match[2]))


def _make(dtype: str, lanes: int) -> Any:
    # Deferred: a process with warm caches never imports Numba.
    from numba.core import types
    from numba.extending import intrinsic as numba_intrinsic

    pointer = types.CPointer(types.float32 if dtype == "f32" else types.float64)

    def generate(context: Any, builder: Any, signature: Any, arguments: list[Any]) -> Any:
        _write(Vectors(builder, dtype, lanes), *arguments)
        return context.get_dummy_value()

    def operation(typing_context: Any, source: Any, source_row: Any, target: Any, target_row: Any) -> Any:
        return types.void(pointer, types.int64, pointer, types.int64), generate

    return numba_intrinsic(operation)


def _write(vectors: Vectors, source: Any, source_row: Any, target: Any, target_row: Any) -> None:
    b, lanes = vectors.b, vectors.lanes
    rows = [vectors.load(b.gep(source, [b.mul(source_row, ir.Constant(I64, i))])) for i in range(lanes)]
    block = 1
    while block < lanes:
        rows = _exchange(vectors, rows, block)
        block *= 2
    for i, row in enumerate(rows):
        vectors.store(row, b.gep(target, [b.mul(target_row, ir.Constant(I64, i))]))


def _exchange(vectors: Vectors, rows: list[Any], block: int) -> list[Any]:
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
