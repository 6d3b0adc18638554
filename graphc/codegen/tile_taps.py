"""Sums of products of a plane with shifts of another, as LLVM vector IR.

``taps_f32_9x16(g, g_row, x, x_row, sums, height, width, tap0, ..., tap8)`` adds to nine vectors of
`sums` the products of a plane `g` of `height` rows with the plane `x`, shifted by so many
elements each: what every tap of a small kernel adds to the gradient of its weight.  All sums
stay in registers meanwhile, as vectors along the rows; nothing is read beyond their ends.

The function is inlined, so shifts and distances that are known become part of the addresses.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from graphc.codegen.tile_vectors import Carried, Vectors
from graphc.frontend.types import I64, Pointer
from graphc.frontend.writer import Function

_NAME = re.compile(r"taps_(f32|f64)_(\d+)x(\d+)")
_PARAMETERS = ("g", "g_row", "x", "x_row", "sums", "height", "width")
# What the vector of `g`, masks and temporaries need of the registers, which are this many by bytes of width.
_SPARE, _REGISTERS = 3, {64: 32}


def most(width: int) -> int:
    """Return how many taps one call takes at most where vectors have so many bytes.

    >>> most(64), most(32)
    (29, 13)
    """
    return _REGISTERS.get(width, 16) - _SPARE


def name(dtype: str, taps: int, lanes: int) -> str:
    """Return the name in kernel code of the sums of so many taps."""
    return f"taps_{dtype}_{taps}x{lanes}"


@functools.cache
def function(name: str) -> Function | None:
    """Return the sums of this name as a function of LLVM IR, or None if it names none.

    Examples
    --------
    >>> [str(kind) for kind in function("taps_f32_2x8").parameters][4:]
    ['f32*', 'i64', 'i64', 'i64', 'i64']
    """
    match = _NAME.fullmatch(name)
    return None if match is None else _Taps(match[1], int(match[2]), int(match[3])).write(name)


class _Taps:
    """Writes the function for one number of taps."""

    def __init__(self, dtype: str, taps: int, lanes: int) -> None:
        self.v = Vectors(dtype, lanes)
        self.w = self.v.w
        self.taps = [f"tap{t}" for t in range(taps)]

    def write(self, name: str) -> Function:
        """Return the finished function."""
        v = self.v
        for t, total in enumerate(self._rows()):
            place = v.at("%sums", t * v.lanes)
            v.store(v.add(v.load(place), total), place)
        v.vacate()
        element = Pointer(v.scalar)
        kinds = dict.fromkeys((*_PARAMETERS, *self.taps), I64) | dict.fromkeys(("g", "x", "sums"), element)
        return v.function(name, kinds)

    def _rows(self) -> list[str]:
        """Return the sums over all rows."""
        v, w = self.v, self.w
        whole = w.name(f"and i64 %width, {-v.lanes}")
        mask = v.mask(w.name(f"sub i64 %width, {whole}"))
        before = w.block
        body, done = w.labels("taps_y", "taps_done")
        zeros = ["zeroinitializer"] * len(self.taps)
        v.branch(v.below(0, "%height"), body, done)
        w.start(body)
        y = Carried(w, "i64", "0", before)
        running = [Carried(w, v.kind, zero, before) for zero in zeros]
        rows = v.row("%g", "%g_row", y.name), v.row("%x", "%x_row", y.name)
        sums = self._vectors(rows, whole, [carried.name for carried in running])
        sums = self._rest(rows, whole, mask, sums)
        following = w.name(f"add i64 {y.name}, 1")
        last = w.block
        y.close(following, last)
        for carried, value in zip(running, sums, strict=True):
            carried.close(value, last)
        v.branch(v.below(following, "%height"), body, done)
        w.start(done)
        return [v.join(zero, before, value, last) for zero, value in zip(zeros, sums, strict=True)]

    def _vectors(self, rows: tuple[str, str], whole: str, sums: list[str]) -> list[str]:
        """Add the whole vectors of a row."""
        v, w = self.v, self.w
        before = w.block
        body, done = w.labels("taps_x", "taps_whole")
        v.branch(v.below(0, whole), body, done)
        w.start(body)
        at = Carried(w, "i64", "0", before)
        running = [Carried(w, v.kind, value, before) for value in sums]
        after = self._step(rows, at.name, v.load, [carried.name for carried in running])
        following = w.name(f"add i64 {at.name}, {v.lanes}")
        at.close(following, body)
        for carried, value in zip(running, after, strict=True):
            carried.close(value, body)
        v.branch(v.below(following, whole), body, done)
        w.start(done)
        return [v.join(value, before, total, body) for value, total in zip(sums, after, strict=True)]

    def _rest(self, rows: tuple[str, str], whole: str, mask: str, sums: list[str]) -> list[str]:
        """Add what is left of a row."""
        v, w = self.v, self.w
        before = w.block
        body, done = w.labels("taps_rest", "taps_next")
        v.branch(v.below(whole, "%width"), body, done)
        w.start(body)
        after = self._step(rows, whole, functools.partial(v.load_where, mask), sums)
        w.jump(done)
        w.start(done)
        return [v.join(value, before, total, body) for value, total in zip(sums, after, strict=True)]

    def _step(
        self, rows: tuple[str, str], place: str, load: Callable[[str], str], sums: list[str]
    ) -> list[str]:
        v = self.v
        left, base = load(v.at(rows[0], place)), v.at(rows[1], place)
        shifted = (load(v.at(base, f"%{tap}")) for tap in self.taps)
        return [v.multiply_add(left, right, total) for right, total in zip(shifted, sums, strict=True)]
