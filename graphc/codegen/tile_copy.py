"""Copies of short rows that lie far apart, through vector registers.

``copy_f32_6(source, source_row, target, target_row, count)`` copies `count` rows of six elements:
a panel of a matrix product's left operand where its rows are neighbours in memory.  Left to
itself LLVM turns loops around so few elements into gathers and scatters, which cost ten times
as much.
"""

from __future__ import annotations

import functools
import re

from graphc.codegen.tile_vectors import Carried, Vectors
from graphc.frontend.types import I64, Pointer
from graphc.frontend.writer import Function

_NAME = re.compile(r"copy_(f32|f64)_(\d+)")
_PARAMETERS = ("source", "source_row", "target", "target_row", "count")


def name(dtype: str, length: int) -> str:
    """Return the name in kernel code of copying rows of so many elements.

    >>> name("f32", 6)
    'copy_f32_6'
    """
    return f"copy_{dtype}_{length}"


@functools.cache
def function(name: str) -> Function | None:
    """Return the copy of this name as a function of LLVM IR, or None if it names none.

    Examples
    --------
    >>> [str(kind) for kind in function("copy_f64_3").parameters]
    ['f64*', 'i64', 'f64*', 'i64', 'i64']
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    v = Vectors(match[1], int(match[2]))
    w = v.w
    before = w.block
    body, done = w.labels("copy_row", "copy_done")
    v.branch(v.below(0, "%count"), body, done)
    w.start(body)
    row = Carried(w, "i64", "0", before)
    v.store(v.load(v.row("%source", "%source_row", row.name)), v.row("%target", "%target_row", row.name))
    following = w.name(f"add i64 {row.name}, 1")
    row.close(following, body)
    v.branch(v.below(following, "%count"), body, done)
    w.start(done)
    pointer = Pointer(v.scalar)
    kinds = (pointer, I64, pointer, I64, I64)
    return v.function(name, dict(zip(_PARAMETERS, kinds, strict=True)))
