"""Copies of rows whose neighbours belong to different classes, and back, as LLVM vector IR.

``classes_f32_2x16(source, target, count, at0, at1)`` copies `count` elements: those at even places
to ``target + at0`` and on, those at odd places to ``target + at1`` and on.  A convolution with
stride 2 then reads each class as a run.  With one class it copies a row, whatever its length,
by whole vectors and a masked one.

``join_f32_2x16(source, target, count, at0, at1)`` is the way back: it writes `count` elements to the
target, those at even places from ``source + at0`` and on, those at odd places from ``source + at1``.
"""

from __future__ import annotations

import functools
import re
from abc import ABC, abstractmethod

from graphc.codegen.tile_vectors import Carried, Vectors
from graphc.frontend.types import I64, Pointer, Scalar
from graphc.frontend.writer import Function

_NAME = re.compile(r"(classes|join)_(f32|f64)_(\d+)x(\d+)")
# Classes that one function tells apart, at most.
MOST = 4


def name(dtype: str, classes: int, lanes: int) -> str:
    """Return the name in kernel code of copying a row into so many classes.

    >>> name("f32", 2, 16)
    'classes_f32_2x16'
    """
    return f"classes_{dtype}_{classes}x{lanes}"


def joining(dtype: str, classes: int, lanes: int) -> str:
    """Return the name in kernel code of making a row from so many classes.

    >>> joining("f32", 2, 16)
    'join_f32_2x16'
    """
    return f"join_{dtype}_{classes}x{lanes}"


@functools.cache
def function(name: str) -> Function | None:
    """Return the copy of this name as a function of LLVM IR, or None if it names none.

    Examples
    --------
    >>> [str(kind) for kind in function("classes_f64_2x4").parameters]
    ['f64*', 'f64*', 'i64', 'i64', 'i64']
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    kind = {"classes": _Split, "join": _Join}[match[1]]
    return kind(match[2], int(match[3]), int(match[4])).write(name)


class _Rows(ABC):
    """Writes a function that goes through a row, by as much as fills one vector of each class."""

    def __init__(self, dtype: str, classes: int, lanes: int) -> None:
        self.classes = classes
        self.run = Vectors(dtype, classes * lanes)
        self.v, self.half = Vectors(dtype, lanes), Vectors(dtype, 2 * lanes)
        self.v.w = self.half.w = self.run.w

    def write(self, name: str) -> Function:
        """Return the finished function."""
        v, w = self.v, self.v.w
        before = w.block
        body, rest, tail, done = w.labels("classes_run", "classes_rest", "classes_tail", "classes_done")
        whole = w.name(f"sdiv i64 %count, {self.run.lanes}")
        v.branch(v.below(0, whole), body, rest)
        w.start(body)
        number = Carried(w, "i64", "0", before)
        self._copy(number.name)
        following = w.name(f"add i64 {number.name}, 1")
        number.close(following, body)
        v.branch(v.below(following, whole), body, rest)
        w.start(rest)
        left = w.name(f"sub i64 %count, {w.name(f'mul i64 {whole}, {self.run.lanes}')}")
        v.branch(v.below(0, left), tail, done)
        w.start(tail)
        self._copy_part(whole, left)
        w.jump(done)
        w.start(done)
        pointer = Pointer(v.scalar)
        kinds: dict[str, Scalar | Pointer] = {"source": pointer, "target": pointer, "count": I64}
        kinds.update((f"at{r}", I64) for r in range(self.classes))
        return v.function(name, kinds)

    @abstractmethod
    def _copy(self, number: str) -> None:
        """Copy one vector of each class."""

    @abstractmethod
    def _copy_part(self, number: str, left: str) -> None:
        """Copy what is left of the row."""

    def _in_row(self, row: str, number: str) -> str:
        """Return where vectors of all classes lie in the row."""
        return self.v.at(row, self.v.w.name(f"mul i64 {number}, {self.run.lanes}"))

    def _in_classes(self, pointer: str, number: str) -> list[str]:
        """Return where a vector of each class lies."""
        at = self.v.w.name(f"mul i64 {number}, {self.v.lanes}")
        return [self.v.at(self.v.at(pointer, f"%at{r}"), at) for r in range(self.classes)]

    def _masks(self, left: str) -> list[str]:
        """Return which lanes of each class belong to the last elements of a row."""
        w, v = self.v.w, self.v
        sums = (w.name(f"add i64 {left}, {self.classes - 1 - r}") for r in range(self.classes))
        return [v.mask(w.name(f"sdiv i64 {total}, {self.classes}")) for total in sums]


class _Split(_Rows):
    """Writes the copy of a row into classes."""

    def _copy(self, number: str) -> None:
        values = self._classes(self.run.load(self._in_row("%source", number)))
        for value, place in zip(values, self._in_classes("%target", number), strict=True):
            self.v.store(value, place)

    def _copy_part(self, number: str, left: str) -> None:
        loaded = self.run.load_where(self.run.mask(left), self._in_row("%source", number))
        places = self._in_classes("%target", number)
        for value, place, mask in zip(self._classes(loaded), places, self._masks(left), strict=True):
            self.v.store_where(mask, value, place)

    def _classes(self, value: str) -> list[str]:
        """Return the elements of each class."""
        if self.classes == 1:
            return [value]
        lanes = range(self.run.lanes)
        return [self.run.shuffle(value, "poison", lanes[r :: self.classes]) for r in range(self.classes)]


class _Join(_Rows):
    """Writes the copy of classes into a row."""

    def _copy(self, number: str) -> None:
        values = [self.v.load(place) for place in self._in_classes("%source", number)]
        self.run.store(self._row(values), self._in_row("%target", number))

    def _copy_part(self, number: str, left: str) -> None:
        places = zip(self._in_classes("%source", number), self._masks(left), strict=True)
        values = [self.v.load_where(mask, place) for place, mask in places]
        self.run.store_where(self.run.mask(left), self._row(values), self._in_row("%target", number))

    def _row(self, values: list[str]) -> str:
        """Return the elements of all classes in the order of the row."""
        if self.classes == 1:
            return values[0]
        lanes = self.v.lanes
        order = [r * lanes + n for n in range(lanes) for r in range(self.classes)]
        if self.classes == 2:
            return self.v.shuffle(values[0], values[1], order)
        first = self.v.shuffle(values[0], values[1], range(2 * lanes))
        second = self.v.shuffle(values[2], values[3] if self.classes == MOST else "poison", range(2 * lanes))
        return self.half.shuffle(first, second, order)
