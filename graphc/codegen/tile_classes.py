"""Copies of rows whose neighbours belong to different classes, as LLVM vector IR.

``classes_f32_2x16(source, target, count, at0, at1)`` copies `count` elements: those at even places
to ``target + at0`` and on, those at odd places to ``target + at1`` and on.  A convolution with
stride 2 then reads each class as a run.  With one class it copies a row, whatever its length,
by whole vectors and a masked one.
"""

from __future__ import annotations

import functools
import re

from graphc.codegen.tile_vectors import Carried, Vectors
from graphc.frontend.types import I64, Pointer, Scalar
from graphc.frontend.writer import Function

_NAME = re.compile(r"classes_(f32|f64)_(\d+)x(\d+)")
# Classes that one function tells apart, at most.
MOST = 4


def name(dtype: str, classes: int, lanes: int) -> str:
    """Return the name in kernel code of copying a row into so many classes.

    >>> name("f32", 2, 16)
    'classes_f32_2x16'
    """
    return f"classes_{dtype}_{classes}x{lanes}"


@functools.cache
def function(name: str) -> Function | None:
    """Return the copy of this name as a function of LLVM IR, or None if it names none.

    Examples
    --------
    >>> [str(kind) for kind in function("classes_f64_2x4").parameters]
    ['f64*', 'f64*', 'i64', 'i64', 'i64']
    """
    match = _NAME.fullmatch(name)
    return None if match is None else _Classes(match[1], int(match[2]), int(match[3])).write(name)


class _Classes:
    """Writes the function for one number of classes."""

    def __init__(self, dtype: str, classes: int, lanes: int) -> None:
        self.classes = classes
        # As much of a row as fills one vector of each class.
        self.run = Vectors(dtype, classes * lanes)
        self.v = Vectors(dtype, lanes)
        self.v.w = self.run.w

    def write(self, name: str) -> Function:
        """Return the finished function."""
        v, w = self.v, self.v.w
        before = w.block
        body, rest, tail, done = w.labels("classes_run", "classes_rest", "classes_tail", "classes_done")
        whole = w.name(f"sdiv i64 %count, {self.run.lanes}")
        v.branch(v.below(0, whole), body, rest)
        w.start(body)
        number = Carried(w, "i64", "0", before)
        at = w.name(f"mul i64 {number.name}, {v.lanes}")
        for r, value in enumerate(self._split(self.run.load(self._source(number.name)))):
            v.store(value, self._target(r, at))
        following = w.name(f"add i64 {number.name}, 1")
        number.close(following, body)
        v.branch(v.below(following, whole), body, rest)
        w.start(rest)
        left = w.name(f"sub i64 %count, {w.name(f'mul i64 {whole}, {self.run.lanes}')}")
        v.branch(v.below(0, left), tail, done)
        w.start(tail)
        at = w.name(f"mul i64 {whole}, {v.lanes}")
        loaded = self.run.load_where(self.run.mask(left), self._source(whole))
        for r, value in enumerate(self._split(loaded)):
            taken = w.name(f"sdiv i64 {w.name(f'add i64 {left}, {self.classes - 1 - r}')}, {self.classes}")
            v.store_where(v.mask(taken), value, self._target(r, at))
        w.jump(done)
        w.start(done)
        pointer = Pointer(v.scalar)
        kinds: dict[str, Scalar | Pointer] = {"source": pointer, "target": pointer, "count": I64}
        kinds.update((f"at{r}", I64) for r in range(self.classes))
        return v.function(name, kinds)

    def _source(self, number: str) -> str:
        return self.v.at("%source", self.v.w.name(f"mul i64 {number}, {self.run.lanes}"))

    def _target(self, r: int, at: str) -> str:
        return self.v.at(self.v.at("%target", f"%at{r}"), at)

    def _split(self, value: str) -> list[str]:
        """Return the elements of each class."""
        if self.classes == 1:
            return [value]
        lanes = range(self.run.lanes)
        return [self.run.shuffle(value, "poison", lanes[r :: self.classes]) for r in range(self.classes)]
