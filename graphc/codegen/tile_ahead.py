"""Prefetching: memory that will be used soon starts on its way into the L1 cache.

``ahead_f32(start, count)`` asks for `count` elements that will be read; ``claim_f32_16(start, pitch)``
for the lines of 16 elements, `pitch` apart, that will be written.  Both are hints: nothing depends on
them, and addresses beyond the end of an array do no harm.
"""

from __future__ import annotations

import functools
import re

from graphc.codegen.tile_vectors import Carried
from graphc.frontend.types import I64, SCALARS, STORAGE, Pointer, Scalar
from graphc.frontend.writer import Function, Writer

# Bytes that one request brings.
LINE = 64
_NAME = re.compile(r"ahead_(\w+)")
_CLAIM = re.compile(r"claim_(\w+)_(\d+)")


def name(dtype: str) -> str:
    """Return the name in kernel code of prefetching elements of a NumPy dtype.

    >>> name("float32"), name("bool")
    ('ahead_f32', 'ahead_u8')
    """
    return f"ahead_{STORAGE[dtype].name}"


def claim(dtype: str, count: int) -> str:
    """Return the name in kernel code of claiming lines that `count` elements lie in, which will be written.

    >>> claim("float32", 16)
    'claim_f32_16'
    """
    return f"claim_{STORAGE[dtype].name}_{count}"


def next_line(panel: str, number: str, cols: int, itemsize: int) -> str:
    """Return how much further on the line lies that a tile asks for with each step of its panel.

    A step may take several lines, of which each tile asks for one: those that share a panel take turns.

    Parameters
    ----------
    panel : str
        Elements from the tile's panel to the next one, as text.
    number : str
        The tile's number among those that share its panel.
    cols, itemsize : int
        Elements of a step, and bytes of an element.

    >>> next_line("k * 32", "r // 8", 32, 4)
    'k * 32 + r // 8 % 2 * 16'
    """
    line = LINE // itemsize
    return f"{panel} + {number} % {max(1, cols // line)} * {line}"


@functools.cache
def function(name: str) -> Function | None:
    """Return the prefetching of this name as a function of LLVM IR, or None if it names none.

    Examples
    --------
    >>> [str(kind) for kind in function("ahead_i64").parameters]
    ['i64*', 'i64']
    """
    claimed = _CLAIM.fullmatch(name)
    if claimed is not None and claimed[1] in SCALARS:
        return _claim(name, SCALARS[claimed[1]], int(claimed[2]))
    match = _NAME.fullmatch(name)
    scalar = None if match is None else SCALARS.get(match[1])
    if scalar is None:
        return None
    w = Writer()
    before = w.block
    body, done = w.labels("ahead_line", "ahead_done")
    w.run(f"br i1 {w.name('icmp slt i64 0, %count')}, label %{body}, label %{done}")
    w.start(body)
    at = Carried(w, "i64", "0", before)
    place = w.name(f"getelementptr {scalar.llvm}, ptr %start, i64 {at.name}")
    w.prefetch(place, level=1)
    following = w.name(f"add i64 {at.name}, {LINE // max(1, scalar.bits // 8)}")
    at.close(following, body)
    w.run(f"br i1 {w.name(f'icmp slt i64 {following}, %count')}, label %{body}, label %{done}")
    w.start(done)
    w.run("ret void")
    text = w.finish(f"define internal void @{name}(ptr %start, i64 %count) alwaysinline nounwind")
    return Function(name, (Pointer(scalar), I64), None, text, w.declarations, ())


def _claim(name: str, scalar: Scalar, count: int) -> Function:
    w = Writer()
    place = "%start"
    for number in range(count):
        if number:
            place = w.name(f"getelementptr {scalar.llvm}, ptr {place}, i64 %pitch")
        w.prefetch(place, level=1, write=True)
    w.run("ret void")
    text = w.finish(f"define internal void @{name}(ptr %start, i64 %pitch) alwaysinline nounwind")
    return Function(name, (Pointer(scalar), I64), None, text, w.declarations, ())
