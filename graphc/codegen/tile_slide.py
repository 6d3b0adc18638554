"""The register tile of convolutions with few channels: sums of shifted planes, as LLVM vector IR.

``slide_f32_1x4x2x16(a, a_row, a_k, x, x_row, steps, c, c_plane, c_row, last, k)`` computes one plane
of four rows of two vectors: at each of `k` steps, the plane `x`, shifted by ``steps[step]`` elements,
is multiplied with an element of `a` and added.  With several planes of results, each has a row of
`a`, and all share the vectors of `x`.  All sums stay in registers meanwhile.

The last vector of a row starts at `last`.  Where that is less than a vector from the one before, the two
overlap and agree, so that rows of any length from a vector on need no masks; shorter rows run
over into the next one, which is stored after them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from graphc.codegen.tile_vectors import Carried, Vectors
from graphc.frontend.types import I64, Pointer
from graphc.frontend.writer import Function

_NAME = re.compile(r"slide_(f32|f64)_(\d+)x(\d+)x(\d+)x(\d+)")
_PARAMETERS = ("a", "a_row", "a_k", "x", "x_row", "steps", "c", "c_plane", "c_row", "last", "k")
# Vector registers, by bytes of width.
_REGISTERS = {64: 32, 32: 16, 16: 16}
# Planes, rows and vectors of a tile, at most.
_PLANES, _ROWS, _VECTORS = 8, 8, 8
# Cycles of a vector that is loaded across the border of two cache lines; of a step of the loop beside its
# arithmetic and loads; from one multiply-add to the next that needs its result; of a call beside its steps.
_LOAD, _LOOP, _LATENCY, _CALL = 1.0, 0.5, 4.0, 12.0


@dataclass(frozen=True)
class SlideTile:
    """Shape of a tile: planes, rows of each, vectors of a row, lanes of a vector."""

    dtype: str
    planes: int
    rows: int
    vectors: int
    lanes: int

    @property
    def name(self) -> str:
        """The tile's name in kernel code."""
        return f"slide_{self.dtype}_{self.planes}x{self.rows}x{self.vectors}x{self.lanes}"

    def cycles(self, planes: int, height: int, length: int, steps: int) -> float:
        """Estimate what computing so many planes of results costs."""
        vectors = self.rows * self.vectors
        arithmetic, loads = self.planes * vectors / 2, _LOAD * vectors + self.planes / 2
        step = max(arithmetic, loads, _LATENCY) + _LOOP
        calls = (
            -(-planes // self.planes) * -(-height // self.rows) * -(-length // (self.vectors * self.lanes))
        )
        return calls * (steps * step + self.planes * vectors + _CALL)


def choose(dtype: str, planes: int, height: int, length: int, steps: int, width: int) -> SlideTile:
    """Return the tile for so many planes of results, each of `height` rows, for vectors of `width` bytes.

    >>> choose("f32", 1, 56, 56, 9, 64).name
    'slide_f32_1x7x4x16'
    """
    lanes = width // (4 if dtype == "f32" else 8)
    registers = _REGISTERS.get(width, 16)
    tiles = (
        SlideTile(dtype, p, r, v, lanes)
        for p in range(1, min(planes, _PLANES) + 1)
        for r in range(1, min(height, _ROWS) + 1)
        for v in range(1, min(-(-length // lanes), _VECTORS) + 1)
        # One register broadcasts, the others hold vectors of x, unless each is used only once.
        if p * r * v + (r * v if p > 1 else 1) + 1 <= registers
    )
    return min(tiles, key=lambda tile: tile.cycles(planes, height, length, steps))


@functools.cache
def function(name: str) -> Function | None:
    """Return the tile of this name as a function of LLVM IR, or None if it names none.

    Examples
    --------
    >>> [str(kind) for kind in function("slide_f32_1x2x1x8").parameters][4:7]
    ['i64', 'i64*', 'f32*']
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return _Slide(SlideTile(match[1], *(int(match[n]) for n in range(2, 6)))).write(name)


class _Slide:
    """Writes the function of one tile."""

    def __init__(self, tile: SlideTile) -> None:
        self.v = Vectors(tile.dtype, tile.lanes)
        self.tile = tile

    def write(self, name: str) -> Function:
        """Return the finished function."""
        v, tile = self.v, self.tile
        weights = [v.row("%a", "%a_row", p) for p in range(tile.planes)]
        rows = [v.row("%x", "%x_row", r) for r in range(tile.rows)]
        sums = iter(self._loop(weights, rows))
        for p in range(tile.planes):
            plane = v.row("%c", "%c_plane", p)
            for r in range(tile.rows):
                for place in self._along(v.row(plane, "%c_row", r)):
                    v.store(next(sums), place)
        v.vacate()
        element = Pointer(v.scalar)
        kinds = {"a": element, "x": element, "c": element, "steps": Pointer(I64)}
        return v.function(name, {parameter: kinds.get(parameter, I64) for parameter in _PARAMETERS})

    def _along(self, row: str) -> Iterator[str]:
        """Yield the addresses of the vectors of a row."""
        *before, last = range(self.tile.vectors)
        for n in before:
            yield self.v.at(row, n * self.tile.lanes)
        yield self.v.at(row, "%last" if last else 0)

    def _loop(self, weights: list[str], rows: list[str]) -> list[str]:
        """Write the loop over steps; return the sums, plane by plane."""
        v, w, tile = self.v, self.v.w, self.tile
        body, done = w.labels("slide_k", "slide_done")
        before = w.block
        v.branch(v.below(0, "%k"), body, done)
        w.start(body)
        step, at_a = (Carried(w, "i64", "0", before) for _ in range(2))
        count = tile.planes * tile.rows * tile.vectors
        running = [Carried(w, v.kind, "zeroinitializer", before) for _ in range(count)]
        shift = w.name(f"load i64, ptr {w.name(f'getelementptr i64, ptr %steps, i64 {step.name}')}")
        vectors = [v.load(place) for row in rows for place in self._along(v.at(row, shift))]
        after: list[str] = []
        for plane in weights:
            spread = v.spread(v.element(v.at(plane, at_a.name)))
            after += [v.multiply_add(spread, x, running[len(after) + n].name) for n, x in enumerate(vectors)]
        following = w.name(f"add i64 {step.name}, 1")
        step.close(following, body)
        at_a.close(w.name(f"add i64 {at_a.name}, %a_k"), body)
        for carried, value in zip(running, after, strict=True):
            carried.close(value, body)
        v.branch(v.below(following, "%k"), body, done)
        w.start(done)
        return [v.join("zeroinitializer", before, value, body) for value in after]
