"""The register tile: the inner loop of every contraction, as LLVM vector IR.

``tile_f32_8x3_full(a, a_row, a_k, b, b_k, c, c_row, k, rows, cols, add)`` computes an
8 x (3 * width) block ``c (+)= a @ b``: accumulators stay in vector registers over the whole
`k` loop, each step loads three vectors of `b` and broadcasts eight elements of `a`.  The
``edge`` form reads only `rows` rows and `cols` columns, by clamped addresses and masks.  Others do so
for rows alone (``short``), for the last vector of each alone (``last``), or for these two (``corner``):
from memory, masked loads are slow.

Strides are in elements; `b` and `c` are contiguous along columns; `a` has any strides.
In the ``ahead`` forms each step asks for the line of `b` that lies `ahead` elements further on.
In the ``indirect`` forms `b_k` points to the offset of each step's row of `b`: a convolution
walks its input so, with nothing packed.
The scheme is the outer-product micro-kernel of Goto and van de Geijn, "Anatomy of
High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from graphc.codegen.tile_vectors import Carried, Vectors
from graphc.frontend.types import I64, Pointer
from graphc.frontend.writer import Function

_NAME = re.compile(r"tile_(f32|f64)_(\d+)x(\d+)x(\d+)_(full|last|short|corner|edge)(_indirect)?(_ahead)?")
_PARAMETERS = ("a", "a_row", "a_k", "b", "b_k", "c", "c_row", "k", "rows", "cols", "add", "ahead")
# What the loop over `k` carries beside the accumulators: step, row of b, offset in a row of a.
_INDUCTION = (("i64", "0"), ("ptr", "%b"), ("i64", "0"))


@dataclass(frozen=True)
class Tile:
    """Shape of a register tile: rows, vectors per row, lanes per vector."""

    dtype: str
    rows: int
    vectors: int
    lanes: int

    @property
    def cols(self) -> int:
        """Columns of a full tile."""
        return self.vectors * self.lanes

    def name(self, form: str) -> str:
        """Return the name in kernel code: by the form of its edges, with ``_indirect`` or ``_ahead``."""
        return f"tile_{self.dtype}_{self.rows}x{self.vectors}x{self.lanes}_{form}"


@functools.cache
def function(name: str) -> Function | None:
    """Return the tile of this name as a function of LLVM IR, or None if it names no tile.

    Examples
    --------
    >>> tile = function("tile_f32_2x1x8_full")
    >>> [str(kind) for kind in tile.parameters][:4]
    ['f32*', 'i64', 'i64', 'f32*']
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    dtype, rows, vectors, lanes, form, indirect, ahead = match.groups()
    tile = Tile(dtype, int(rows), int(vectors), int(lanes))
    return _Tile(tile, form, indirect is not None, ahead is not None).write(name)


class _Tile:
    """Writes the function of one tile."""

    def __init__(self, tile: Tile, form: str, indirect: bool, ahead: bool) -> None:
        self.v = Vectors(tile.dtype, tile.lanes)
        self.w = self.v.w
        self.tile = tile
        # Vectors that are not masked, and whether rows beyond the first may be missing.
        self.unmasked = tile.vectors - {"last": 1, "corner": 1, "edge": tile.vectors}.get(form, 0)
        self.short = form in ("short", "corner", "edge")
        self.indirect = indirect
        self.ahead = ahead

    def write(self, name: str) -> Function:
        """Return the finished function."""
        v, tile = self.v, self.tile
        masked = range(self.unmasked, tile.vectors)
        self.masks = {n: v.mask("%cols", n * tile.lanes) for n in masked}
        rows_a = [v.row("%a", "%a_row", self._row(m)) for m in range(tile.rows)]
        rows_c = [v.row("%c", "%c_row", self._row(m)) for m in range(tile.rows)]
        self._store(rows_c, self._added(rows_c, self._loop(rows_a)))
        v.vacate()
        element = Pointer(v.scalar)
        kinds = {"a": element, "b": element, "c": element, "b_k": Pointer(I64) if self.indirect else I64}
        parameters = _PARAMETERS if self.ahead else _PARAMETERS[:-1]
        return v.function(name, {parameter: kinds.get(parameter, I64) for parameter in parameters})

    def _row(self, m: int) -> int | str:
        """Return row `m`, or the last valid one: a clamped row is computed and thrown away."""
        return self.v.clamped(m, "%rows") if self.short and m > 0 else m

    def _load(self, base: str, n: int) -> str:
        pointer = self.v.at(base, n * self.tile.lanes)
        return self.v.load_where(self.masks[n], pointer) if n in self.masks else self.v.load(pointer)

    def _write(self, value: str, base: str, n: int) -> None:
        pointer = self.v.at(base, n * self.tile.lanes)
        if n in self.masks:
            self.v.store_where(self.masks[n], value, pointer)
        else:
            self.v.store(value, pointer)

    def _added(self, rows_c: list[str], found: list[str]) -> list[str]:
        """Return what this call found, plus what `c` holds when adding.

        Adding here and not to the accumulators' start makes a long sum a sum of partial
        sums, whose rounding errors grow with the number of calls instead of elements.
        """
        v, w = self.v, self.w
        before = w.block
        load, end = w.labels("tile_add", "tile_end")
        v.branch(w.name("icmp ne i64 %add, 0"), load, end)
        w.start(load)
        held = [self._load(row, n) for row in rows_c for n in range(self.tile.vectors)]
        sums = [v.add(old, x) for old, x in zip(held, found, strict=True)]
        w.jump(end)
        w.start(end)
        return [v.join(x, before, total, load) for x, total in zip(found, sums, strict=True)]

    def _loop(self, rows_a: list[str]) -> list[str]:
        """Write the loop over the inner axis; return the accumulators."""
        v, w, tile = self.v, self.w, self.tile
        body, done = w.labels("tile_k", "tile_done")
        before = w.block
        v.branch(v.below(0, "%k"), body, done)
        w.start(body)
        step, at_b, at_a = (Carried(w, kind, first, before) for kind, first in _INDUCTION)
        count = tile.rows * tile.vectors
        running = [Carried(w, v.kind, "zeroinitializer", before) for _ in range(count)]
        row_of_b = self._row_of_b(step, at_b)
        if self.ahead:
            w.prefetch(v.at(row_of_b, "%ahead"), level=2)
        columns = [self._load(row_of_b, n) for n in range(tile.vectors)]
        after: list[str] = []
        for m, row in enumerate(rows_a):
            spread = v.spread(v.element(v.at(row, at_a.name)))
            for n, column in enumerate(columns):
                after.append(v.multiply_add(spread, column, running[m * tile.vectors + n].name))
        following = w.name(f"add i64 {step.name}, 1")
        step.close(following, body)
        at_b.close(at_b.name if self.indirect else v.at(at_b.name, "%b_k"), body)
        at_a.close(w.name(f"add i64 {at_a.name}, %a_k"), body)
        for carried, value in zip(running, after, strict=True):
            carried.close(value, body)
        v.branch(v.below(following, "%k"), body, done)
        w.start(done)
        return [v.join("zeroinitializer", before, value, body) for value in after]

    def _row_of_b(self, step: Carried, at_b: Carried) -> str:
        if not self.indirect:
            return at_b.name
        place = self.w.name(f"getelementptr i64, ptr %b_k, i64 {step.name}")
        return self.v.at("%b", self.w.name(f"load i64, ptr {place}"))

    def _store(self, rows_c: list[str], values: list[str]) -> None:
        v, w, vectors = self.v, self.w, self.tile.vectors
        for m, row in enumerate(rows_c):
            of_row = values[m * vectors : (m + 1) * vectors]
            if not self.short or m == 0:
                self._store_row(row, of_row)
                continue
            store, after = w.labels("tile_row", "tile_next")
            v.branch(v.below(m, "%rows"), store, after)
            w.start(store)
            self._store_row(row, of_row)
            w.jump(after)
            w.start(after)

    def _store_row(self, row: str, values: list[str]) -> None:
        for n, value in enumerate(values):
            self._write(value, row, n)


# Vector registers that a tile may fill with accumulators, by vector width in bytes.
_REGISTERS = {64: 32, 32: 16, 16: 16}
# Rows assumed where the number is symbolic: a small training batch.
_TYPICAL = 64


def choose(dtype: str, rows: int | None, cols: int | None, width: int) -> Tile:
    """Return the tile that wastes least on a `rows` x `cols` result.

    Parameters
    ----------
    dtype : str
        ``f32`` or ``f64``.
    rows, cols : int or None
        Size of the result; None where it is symbolic.
    width : int
        Bytes of the host's vector registers.
    """
    lanes = width // (4 if dtype == "f32" else 8)
    registers = _REGISTERS.get(width, 16)
    m, n = rows or _TYPICAL, cols or 8 * lanes
    best: tuple[float, Tile] | None = None
    for vectors in range(1, 5):
        for height in range(1, 15):
            # One register broadcasts, the others hold a row of b.
            if height * vectors + vectors + 1 > registers:
                continue
            cost = _cost(m, n, height, vectors, lanes)
            if best is None or cost < best[0]:
                best = (cost, Tile(dtype, height, vectors, lanes))
    if best is None:
        return Tile(dtype, 1, 1, lanes)
    return best[1]


def _cost(m: int, n: int, height: int, vectors: int, lanes: int) -> float:
    """Estimate cycles per step of k: the larger of multiply-add and load throughput."""
    across, down = -(-n // (vectors * lanes)), -(-m // height)
    arithmetic, loads = height * vectors / 2, (height + vectors) / 2
    # Fewer than eight independent accumulators leave the multiply-add latency exposed.
    latency = max(0.0, (8 - height * vectors) / 2)
    return across * down * (max(arithmetic, loads) + latency + 0.5)
