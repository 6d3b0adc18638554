"""The register tile of convolutions with few channels: sums of shifted planes, as LLVM vector IR.

``slide_f32_1x4x2x16_3(a, a_row, a_k, x, x_row, steps, spacing, c, c_plane, c_row, last, k0)`` computes one
plane of four rows of two vectors.  Its sums run over `k0` *runs* of three taps each, of which every tap reads
the plane `x` one row below the one before, so that a vector of `x` that is loaded once serves up to three
rows of results.  For every run, `steps` has two numbers: by how many elements the plane is shifted for its
first tap, and the number of that tap's weight, which lies so many times `a_k` behind `a`; those of the other
taps follow `spacing` apart.  With several planes of results, each has a row of `a`, and all share the
vectors of `x`.  All sums stay in registers meanwhile.  A tile may know two heights of runs, as
``..._3_2(..., k0, k1)``: those of the second follow in `steps`.

The last vector of a row starts at `last`.  Where that is less than a vector from the one before, the two
overlap and agree, so that rows of any length from a vector on need no masks; shorter rows run
over into the next one, which is stored after them.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from graphc.codegen.tile_vectors import Carried, Vectors
from graphc.frontend.types import I64, Pointer
from graphc.frontend.writer import Function

_NAME = re.compile(r"slide_(f32|f64)_(\d+)x(\d+)x(\d+)x(\d+)((?:_\d+)+)")
_PARAMETERS = ("a", "a_row", "a_k", "x", "x_row", "steps", "spacing", "c", "c_plane", "c_row", "last")
# Vector registers, by bytes of width.
_REGISTERS = {64: 32, 32: 16, 16: 16}
# Planes, rows and vectors of a tile, at most; multiply-adds for a run, which are written out.
_PLANES, _ROWS, _VECTORS, _WRITTEN = 8, 8, 8, 160
# Cycles of a vector that is loaded across the border of two cache lines; of a step of the loop beside its
# arithmetic and loads; from one multiply-add to the next that needs its result; of a call beside its steps.
_LOAD, _LOOP, _LATENCY, _CALL = 1.25, 0.5, 4.0, 12.0
# Part of the lesser of arithmetic and loads that the greater does not hide.
_VISIBLE = 0.2

# Heights of runs, and how many there are of each.
Runs = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class SlideTile:
    """Shape of a tile: planes, rows of each, vectors of a row, lanes of a vector, heights of runs."""

    dtype: str
    planes: int
    rows: int
    vectors: int
    lanes: int
    heights: tuple[int, ...] = (1,)

    @property
    def name(self) -> str:
        """The tile's name in kernel code."""
        shape = f"{self.planes}x{self.rows}x{self.vectors}x{self.lanes}"
        return "_".join(["slide", self.dtype, shape, *map(str, self.heights)])

    @property
    def registers(self) -> int:
        """Vector registers that sums, weights and what is loaded take."""
        tallest, vectors = max(self.heights), self.rows * self.vectors
        if tallest > 1:
            return self.planes * (vectors + tallest) + 2
        # One register broadcasts, the others hold vectors of x, unless each is used only once.
        return self.planes * vectors + (vectors if self.planes > 1 else 1) + 1

    def cycles(self, planes: int, height: int, length: int, runs: Runs) -> float:
        """Estimate what computing so many planes of results costs."""
        sums = self.planes * self.rows * self.vectors
        calls = (
            -(-planes // self.planes) * -(-height // self.rows) * -(-length // (self.vectors * self.lanes))
        )
        return calls * (sum(count * self._run(tall) for tall, count in runs) + sums + _CALL)

    def _run(self, tall: int) -> float:
        arithmetic = self.planes * self.rows * self.vectors * tall / 2
        loads = _LOAD * (self.rows + tall - 1) * self.vectors + self.planes * tall / 2
        return max(arithmetic, loads, tall * _LATENCY) + _VISIBLE * min(arithmetic, loads) + _LOOP


def choose(
    dtype: str, planes: int, height: int, length: int, ways: Sequence[Runs], width: int
) -> tuple[SlideTile, Runs]:
    """Return the tile for planes of results, for vectors of `width` bytes, and the runs that it takes.

    Parameters
    ----------
    dtype : str
        ``f32`` or ``f64``.
    planes, height, length : int
        Number of planes, of rows of each, of positions of a row.
    ways : sequence of tuple
        Into what runs taps may be grouped.
    width : int
        Bytes of the host's vector registers.

    Returns
    -------
    tuple of SlideTile and tuple
        The tile, and one of the ways.

    Examples
    --------
    >>> choose("f32", 1, 56, 56, [((1, 9),), ((3, 3),)], 64)[0].name
    'slide_f32_1x8x2x16_3'
    """
    lanes = width // (4 if dtype == "f32" else 8)
    registers = _REGISTERS.get(width, 16)
    shapes = itertools.product(
        ways,
        range(1, min(planes, _PLANES) + 1),
        range(1, min(height, _ROWS) + 1),
        range(1, min(-(-length // lanes), _VECTORS) + 1),
    )
    tiles = ((SlideTile(dtype, p, r, v, lanes, tuple(h for h, _ in way)), way) for way, p, r, v in shapes)
    fitting = (
        (tile, way)
        for tile, way in tiles
        if tile.registers <= registers
        and tile.planes * tile.rows * tile.vectors * max(tile.heights) <= _WRITTEN
    )
    return min(fitting, key=lambda found: found[0].cycles(planes, height, length, found[1]))


@functools.cache
def function(name: str) -> Function | None:
    """Return the tile of this name as a function of LLVM IR, or None if it names none.

    Examples
    --------
    >>> [str(kind) for kind in function("slide_f32_1x2x1x8_3").parameters][4:8]
    ['i64', 'i64*', 'i64', 'f32*']
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    planes, rows, vectors, lanes = (int(match[n]) for n in range(2, 6))
    heights = tuple(int(height) for height in match[6].split("_")[1:])
    return _Slide(SlideTile(match[1], planes, rows, vectors, lanes, heights)).write(name)


class _Slide:
    """Writes the function of one tile."""

    def __init__(self, tile: SlideTile) -> None:
        self.v = Vectors(tile.dtype, tile.lanes)
        self.tile = tile

    def write(self, name: str) -> Function:
        """Return the finished function."""
        v, tile = self.v, self.tile
        weights = [v.row("%a", "%a_row", p) for p in range(tile.planes)]
        sums = ["zeroinitializer"] * (tile.planes * tile.rows * tile.vectors)
        first = "%steps"
        for number, tall in enumerate(tile.heights):
            sums = self._loop(weights, first, (tall, f"%k{number}"), sums)
            first = self._table(first, v.w.name(f"mul i64 %k{number}, 2"))
        stored = iter(sums)
        for p in range(tile.planes):
            plane = v.row("%c", "%c_plane", p)
            for r in range(tile.rows):
                for place in self._along(v.row(plane, "%c_row", r)):
                    v.store(next(stored), place)
        v.vacate()
        element = Pointer(v.scalar)
        kinds = {"a": element, "x": element, "c": element, "steps": Pointer(I64)}
        parameters = [*_PARAMETERS, *(f"k{number}" for number in range(len(tile.heights)))]
        return v.function(name, {parameter: kinds.get(parameter, I64) for parameter in parameters})

    def _along(self, row: str) -> Iterator[str]:
        """Yield the addresses of the vectors of a row."""
        *before, last = range(self.tile.vectors)
        for n in before:
            yield self.v.at(row, n * self.tile.lanes)
        yield self.v.at(row, "%last" if last else 0)

    def _table(self, base: str, offset: str | int) -> str:
        """Return the address of a number of a table."""
        return self.v.w.name(f"getelementptr i64, ptr {base}, i64 {offset}")

    def _loop(self, weights: list[str], first: str, runs: tuple[int, str], sums: list[str]) -> list[str]:
        """Write the loop over runs of one height, from `first` on in the table; return the sums."""
        v, w, (tall, count) = self.v, self.v.w, runs
        body, done = w.labels("slide_k", "slide_done")
        before = w.block
        v.branch(v.below(0, count), body, done)
        w.start(body)
        step, entry = Carried(w, "i64", "0", before), Carried(w, "ptr", first, before)
        running = [Carried(w, v.kind, value, before) for value in sums]
        shift = w.name(f"load i64, ptr {entry.name}")
        number = w.name(f"load i64, ptr {self._table(entry.name, 1)}")
        at = w.name(f"mul i64 {number}, %a_k")
        spread = [
            [v.spread(v.element(v.row(start, "%spacing", tap))) for tap in range(tall)]
            for start in (v.at(plane, at) for plane in weights)
        ]
        after = [carried.name for carried in running]
        self._run(spread, v.at("%x", shift), after)
        following = w.name(f"add i64 {step.name}, 1")
        step.close(following, body)
        entry.close(self._table(entry.name, 2), body)
        for carried, value in zip(running, after, strict=True):
            carried.close(value, body)
        v.branch(v.below(following, count), body, done)
        w.start(done)
        return [v.join(old, before, new, body) for old, new in zip(sums, after, strict=True)]

    def _run(self, spread: list[list[str]], plane: str, sums: list[str]) -> None:
        """Add the taps of one run to the sums, row by row of what they read."""
        v, tile, tall = self.v, self.tile, len(spread[0])
        for line in range(tile.rows + tall - 1):
            rows = range(max(0, line - tall + 1), min(line + 1, tile.rows))
            for n, place in enumerate(self._along(v.row(plane, "%x_row", line))):
                x = v.load(place)
                for p, row in itertools.product(range(tile.planes), rows):
                    at = (p * tile.rows + row) * tile.vectors + n
                    sums[at] = v.multiply_add(spread[p][line - row], x, sums[at])
