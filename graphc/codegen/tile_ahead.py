"""Prefetching: memory that will be read soon starts on its way into the L1 cache.

``ahead_f32(start, count)`` asks for `count` elements.  It is a hint: nothing depends on it, and
addresses beyond the end of an array do no harm.
"""

from __future__ import annotations

import functools
import re

from graphc.codegen.tile_vectors import Carried
from graphc.frontend.types import I64, SCALARS, STORAGE, Pointer
from graphc.frontend.writer import Function, Writer

# Bytes that one request brings.
LINE = 64
_NAME = re.compile(r"ahead_(\w+)")
_PREFETCH = "llvm.prefetch.p0"


def name(dtype: str) -> str:
    """Return the name in kernel code of prefetching elements of a NumPy dtype.

    >>> name("float32"), name("bool")
    ('ahead_f32', 'ahead_u8')
    """
    return f"ahead_{STORAGE[dtype].name}"


@functools.cache
def function(name: str) -> Function | None:
    """Return the prefetching of this name as a function of LLVM IR, or None if it names none.

    Examples
    --------
    >>> [str(kind) for kind in function("ahead_i64").parameters]
    ['i64*', 'i64']
    """
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
    w.declare("void", _PREFETCH, ("ptr", "i32", "i32", "i32"))
    # For reading, to be kept near, data.
    w.run(f"call void @{_PREFETCH}(ptr {place}, i32 0, i32 3, i32 1)")
    following = w.name(f"add i64 {at.name}, {LINE // max(1, scalar.bits // 8)}")
    at.close(following, body)
    w.run(f"br i1 {w.name(f'icmp slt i64 {following}, %count')}, label %{body}, label %{done}")
    w.start(done)
    w.run("ret void")
    text = w.finish(f"define internal void @{name}(ptr %start, i64 %count) alwaysinline nounwind")
    return Function(name, (Pointer(scalar), I64), None, text, w.declarations, ())
