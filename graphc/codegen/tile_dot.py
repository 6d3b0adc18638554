"""The dot tile: sums of products along contiguous inner axes, as LLVM vector IR.

``dot_f32_6x4x16_full(a, a_row, b, b_col, c, c_row, c_col, k, rows, cols, add)`` computes
the 6 x 4 block ``c (+)= a @ b`` where the rows of `a` and the columns of `b` are contiguous:
accumulators are vectors along `k`, added up at the end.  Nothing needs to be transposed, and
memory is read in long runs, which is all that counts in products of a matrix with a vector
or with a few.  The ``edge`` form computes `rows` rows and `cols` columns, by clamped
addresses.  Strides are in elements.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass

from graphc.codegen.tile_vectors import Carried, Vectors
from graphc.frontend.types import I64, Pointer
from graphc.frontend.writer import Function

_NAME = re.compile(r"dot_(f32|f64)_(\d+)x(\d+)x(\d+)_(full|edge)")
_PARAMETERS = ("a", "a_row", "b", "b_col", "c", "c_row", "c_col", "k", "rows", "cols", "add")
# Independent accumulators that hide the latency of a multiply-add.
_INDEPENDENT = 8


@dataclass(frozen=True)
class DotTile:
    """Shape of a dot tile: rows, columns, lanes per vector."""

    dtype: str
    rows: int
    cols: int
    lanes: int

    def name(self, form: str) -> str:
        """Return the tile's name in kernel code: ``full`` or ``edge``."""
        return f"dot_{self.dtype}_{self.rows}x{self.cols}x{self.lanes}_{form}"


@functools.cache
def function(name: str) -> Function | None:
    """Return the dot tile of this name as a function of LLVM IR, or None if it names none.

    Examples
    --------
    >>> function("dot_f32_1x1x8_full").symbol
    'dot_f32_1x1x8_full'
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    dtype, rows, cols, lanes, form = match.groups()
    return _Tile(DotTile(dtype, int(rows), int(cols), int(lanes)), form == "edge").write(name)


class _Tile:
    """Writes the function of one dot tile."""

    def __init__(self, tile: DotTile, edge: bool) -> None:
        self.v = Vectors(tile.dtype, tile.lanes)
        self.w = self.v.w
        self.tile = tile
        self.edge = edge

    def write(self, name: str) -> Function:
        """Return the finished function."""
        v, tile = self.v, self.tile
        rows = [v.row("%a", "%a_row", self._clamp(m, "%rows")) for m in range(tile.rows)]
        cols = [v.row("%b", "%b_col", self._clamp(n, "%cols")) for n in range(tile.cols)]
        found = [v.total(s) for s in self._sums(rows, cols)]
        places = [(m, n) for m in range(tile.rows) for n in range(tile.cols)]
        for (m, n), value in zip(places, found, strict=True):
            self._put(m, n, value)
        v.vacate()
        element = Pointer(v.scalar)
        return v.function(name, dict.fromkeys(_PARAMETERS, I64) | dict.fromkeys("abc", element))

    def _clamp(self, position: int, limit: str) -> int | str:
        """Return a position, or the last valid one: what is there is computed and thrown away."""
        return self.v.clamped(position, limit) if self.edge and position > 0 else position

    # -- the loops along k
    def _sums(self, rows: list[str], cols: list[str]) -> list[str]:
        """Return a vector of partial sums per element of the block."""
        w, lanes = self.w, self.tile.lanes
        count = self.tile.rows * self.tile.cols
        unroll = -(-_INDEPENDENT // count)
        whole = w.name(f"and i64 %k, {-lanes}")
        start = "0"
        running = ["zeroinitializer"] * count
        if unroll > 1:
            many = unroll * lanes
            start = w.name(f"mul i64 {w.name(f'sdiv i64 %k, {many}')}, {many}")
            running = self._loop(rows, cols, "0", start, ["zeroinitializer"] * count * unroll)
            running = [functools.reduce(self.v.add, running[i::count]) for i in range(count)]
        running = self._loop(rows, cols, start, whole, running)
        return self._rest(rows, cols, whole, running)

    def _loop(self, rows: list[str], cols: list[str], start: str, end: str, initial: list[str]) -> list[str]:
        """Add the products of whole vectors from `start` to `end`."""
        v, w, lanes = self.v, self.w, self.tile.lanes
        count = len(rows) * len(cols)
        before = w.block
        body, done = w.labels("dot_k", "dot_done")
        v.branch(v.below(start, end), body, done)
        w.start(body)
        at = Carried(w, "i64", start, before)
        running = [Carried(w, v.kind, first, before) for first in initial]
        after: list[str] = []
        for step, first in enumerate(range(0, len(initial), count)):
            place = w.name(f"add i64 {at.name}, {step * lanes}")
            part = [carried.name for carried in running[first : first + count]]
            after += self._step(rows, cols, functools.partial(self._load, place), part)
        following = w.name(f"add i64 {at.name}, {len(initial) // count * lanes}")
        at.close(following, body)
        for carried, value in zip(running, after, strict=True):
            carried.close(value, body)
        v.branch(v.below(following, end), body, done)
        w.start(done)
        return [v.join(first, before, value, body) for first, value in zip(initial, after, strict=True)]

    def _load(self, place: str, pointer: str) -> str:
        return self.v.load(self.v.at(pointer, place))

    def _rest(self, rows: list[str], cols: list[str], start: str, running: list[str]) -> list[str]:
        """Add the products behind the last whole vector."""
        v, w = self.v, self.w
        before = w.block
        body, done = w.labels("dot_rest", "dot_end")
        left = w.name(f"sub i64 %k, {start}")
        v.branch(v.below(0, left), body, done)
        w.start(body)
        mask = v.mask(left)
        after = self._step(rows, cols, lambda p: v.load_where(mask, v.at(p, start)), running)
        w.jump(done)
        w.start(done)
        return [v.join(first, before, value, body) for first, value in zip(running, after, strict=True)]

    def _step(
        self, rows: list[str], cols: list[str], load: Callable[[str], str], running: list[str]
    ) -> list[str]:
        right = [load(p) for p in cols]
        after = []
        for m, row in enumerate(rows):
            left = load(row)
            for n in range(len(cols)):
                after.append(self.v.multiply_add(left, right[n], running[m * len(cols) + n]))
        return after

    # -- results
    def _put(self, m: int, n: int, value: str) -> None:
        v, w = self.v, self.w
        if not self.edge or (m, n) == (0, 0):
            self._store(m, n, value)
            return
        inside = w.name(f"and i1 {v.below(m, '%rows')}, {v.below(n, '%cols')}")
        store, after = w.labels("dot_put", "dot_next")
        v.branch(inside, store, after)
        w.start(store)
        self._store(m, n, value)
        w.jump(after)
        w.start(after)

    def _store(self, m: int, n: int, value: str) -> None:
        v, w = self.v, self.w
        place = v.row(v.row("%c", "%c_row", m), "%c_col", n)
        before = w.block
        add, write = w.labels("dot_add", "dot_write")
        v.branch(w.name("icmp ne i64 %add, 0"), add, write)
        w.start(add)
        total = w.name(f"fadd {v.scalar.llvm} {v.element(place)}, {value}")
        w.jump(write)
        w.start(write)
        joined = w.name(f"phi {v.scalar.llvm} [ {value}, %{before} ], [ {total}, %{add} ]")
        w.run(f"store {v.scalar.llvm} {joined}, ptr {place}, align {v.size}")
