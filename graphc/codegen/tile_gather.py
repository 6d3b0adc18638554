"""Register tiles that gather their rows: the inner loops of convolutions, as LLVM vector IR.

``gather_f32_8x2x16(a, rows, steps, b, c, c_pitch, k, add)`` multiplies eight rows of `a`, whose
elements lie at ``rows[m] + steps[i]``, with a packed panel `b` of 32 columns, over `k` steps.
It stores the transpose, ``c[column * c_pitch + m]``: rows are positions of an image, columns are
channels, and channels are the outer axis of the result.  ``gather_f32_8x2x16_ahead`` takes one more
argument, a distance: with each step it asks for the line of `b` so many elements further on;
``gather_f32_8x2x16_onward`` does that for `a`, at the offset of a row that will be read later.

``turn_f32_16_full(x, x_pitch, y, places, rows, count)`` packs such panels: it writes column `j`
of a block of `rows` x `count` elements to ``y + places[j]``, rows beyond `rows` as zeros.
Both transpose by perfect shuffles: each rotates the bits of an element's position by one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from graphc.codegen.tile_vectors import Carried, Vectors
from graphc.frontend.types import I64, Pointer, Scalar
from graphc.frontend.writer import Function

_GATHER = re.compile(r"gather_(f32|f64)_(\d+)x(\d+)x(\d+)(?:_(ahead|onward))?")
_TURN = re.compile(r"turn_(f32|f64)_(\d+)_(full|edge)")
_GATHER_PARAMETERS = ("a", "rows", "steps", "b", "c", "c_pitch", "k", "add", "ahead")
_TURN_PARAMETERS = ("x", "x_pitch", "y", "places", "rows", "count")
_BYTES = {"f32": 4, "f64": 8}


@dataclass(frozen=True)
class GatherTile:
    """Shape of a gathering tile: rows (a power of two), vectors of columns, lanes per vector."""

    dtype: str
    rows: int
    vectors: int
    lanes: int

    @property
    def cols(self) -> int:
        """Columns of the tile."""
        return self.vectors * self.lanes

    @property
    def name(self) -> str:
        """The tile's name in kernel code."""
        return f"gather_{self.dtype}_{self.rows}x{self.vectors}x{self.lanes}"

    def turn(self, form: str) -> str:
        """Return the name of the packing of panels: ``full`` blocks or those at an ``edge``."""
        return f"turn_{self.dtype}_{self.lanes}_{form}"


def choose(dtype: str, cols: int, width: int) -> GatherTile:
    """Return the tile for `cols` columns and registers of `width` bytes.

    Eight independent accumulators hide the latency of a multiplication and addition; two
    vectors of columns make two of them out of each element loaded.
    """
    lanes = width // _BYTES[dtype]
    vectors = 2 if cols > lanes else 1
    # 512-bit registers are 32, others 16.
    return GatherTile(dtype, 8 if width == 64 or vectors == 1 else 4, vectors, lanes)


@functools.cache
def function(name: str) -> Function | None:
    """Return the gathering or packing tile of this name as a function of LLVM IR, or None.

    Examples
    --------
    >>> [str(kind) for kind in function("turn_f32_8_edge").parameters]
    ['f32*', 'i64', 'f32*', 'i64*', 'i64', 'i64']
    """
    gather, turn = _GATHER.fullmatch(name), _TURN.fullmatch(name)
    if gather is not None:
        dtype, *sizes, ahead = gather.groups()
        return _Gather(GatherTile(dtype, *map(int, sizes)), ahead).write(name)
    if turn is not None:
        dtype, lanes, form = turn.groups()
        return _Turn(dtype, int(lanes), form == "edge").write(name)
    return None


def _transposed(v: Vectors, rows: Sequence[str]) -> list[str]:
    """Return the elements of `rows` column by column: as many perfect shuffles as halvings of them."""
    half = len(rows) // 2
    low = [i // 2 + (i % 2) * v.lanes for i in range(v.lanes)]
    high = [i + v.lanes // 2 for i in low]
    values = list(rows)
    for _ in range(len(rows).bit_length() - 1):
        pairs = zip(values[:half], values[half:], strict=True)
        values = [v.shuffle(x, y, lanes) for x, y in pairs for lanes in (low, high)]
    return values


class _Gather:
    """Writes the function of one gathering tile."""

    def __init__(self, tile: GatherTile, ahead: str | None) -> None:
        self.ahead = ahead
        self.v = Vectors(tile.dtype, tile.lanes)
        self.w = self.v.w
        self.tile = tile
        # Rows of a column that one vector holds after transposing.
        self.piece = min(tile.rows, tile.lanes)
        self.kind = f"<{self.piece} x {self.v.scalar.llvm}>"

    def write(self, name: str) -> Function:
        """Return the finished function."""
        v, w = self.v, self.w
        columns = list(self._columns(self._sums()))
        adding, setting, end = w.labels("gather_add", "gather_set", "gather_end")
        v.branch(v.below(0, "%add"), adding, setting)
        for label, add in ((adding, True), (setting, False)):
            w.start(label)
            self._put(columns, add=add)
            w.jump(end)
        w.start(end)
        v.vacate()
        element, table = Pointer(v.scalar), Pointer(I64)
        numbers: list[Scalar | Pointer] = [I64] * (4 if self.ahead else 3)
        kinds = [element, table, table, element, element, *numbers]
        return v.function(name, dict(zip(_GATHER_PARAMETERS, kinds, strict=False)))

    def _sums(self) -> list[str]:
        """Return the sums over all steps, row by row."""
        v, w, tile = self.v, self.w, self.tile
        places = [w.name(f"getelementptr i64, ptr %rows, i64 {m}") for m in range(tile.rows)]
        offsets = [w.name(f"load i64, ptr {place}") for place in places]
        before = w.block
        body, done = w.labels("gather_k", "gather_done")
        v.branch(v.below(0, "%k"), body, done)
        w.start(body)
        step = Carried(w, "i64", "0", before)
        row = Carried(w, "ptr", "%b", before)
        running = [Carried(w, v.kind, "zeroinitializer", before) for _ in range(tile.rows * tile.vectors)]
        place = w.name(f"getelementptr i64, ptr %steps, i64 {step.name}")
        at = v.at("%a", w.name(f"load i64, ptr {place}"))
        if self.ahead:
            w.prefetch(v.at(row.name if self.ahead == "ahead" else at, "%ahead"), level=2)
        columns = [v.load(v.at(row.name, n * tile.lanes)) for n in range(tile.vectors)]
        after: list[str] = []
        for m, offset in enumerate(offsets):
            spread = v.spread(v.element(v.at(at, offset)))
            for n, column in enumerate(columns):
                after.append(v.multiply_add(spread, column, running[m * tile.vectors + n].name))
        following = w.name(f"add i64 {step.name}, 1")
        step.close(following, body)
        row.close(v.at(row.name, tile.cols), body)
        for carried, value in zip(running, after, strict=True):
            carried.close(value, body)
        v.branch(v.below(following, "%k"), body, done)
        w.start(done)
        return [v.join("zeroinitializer", before, value, body) for value in after]

    def _columns(self, sums: list[str]) -> Iterator[list[str]]:
        """Yield each column of the tile as the vectors that hold its rows."""
        tile, lanes = self.tile, self.tile.lanes
        for n in range(tile.vectors):
            turned = _transposed(self.v, sums[n :: tile.vectors])
            for column in range(lanes):
                starts = range(column * tile.rows, (column + 1) * tile.rows, self.piece)
                yield [self._cut(turned[s // lanes], s % lanes) for s in starts]

    def _cut(self, vector: str, start: int) -> str:
        if self.piece == self.tile.lanes:
            return vector
        return self.v.shuffle(vector, vector, range(start, start + self.piece))

    def _put(self, columns: list[list[str]], *, add: bool) -> None:
        """Store all columns, or add them to what is there."""
        v, w, size = self.v, self.w, self.v.size
        for number, pieces in enumerate(columns):
            row = v.row("%c", "%c_pitch", number)
            for k, piece in enumerate(pieces):
                place = v.at(row, k * self.piece)
                total = piece
                if add:
                    old = w.name(f"load {self.kind}, ptr {place}, align {size}")
                    total = w.name(f"fadd {self.kind} {old}, {piece}")
                w.run(f"store {self.kind} {total}, ptr {place}, align {size}")


class _Turn:
    """Writes the function of one packing tile: a square block is loaded, transposed and stored."""

    def __init__(self, dtype: str, lanes: int, edge: bool) -> None:
        self.v = Vectors(dtype, lanes)
        self.w = self.v.w
        self.edge = edge

    def write(self, name: str) -> Function:
        """Return the finished function."""
        v, w = self.v, self.w
        rows = [self._row(i) for i in range(v.lanes)]
        for j, column in enumerate(_transposed(v, rows)):
            if not self.edge:
                self._put(j, column)
                continue
            inside, after = w.labels("turn_put", "turn_next")
            v.branch(v.below(j, "%count"), inside, after)
            w.start(inside)
            self._put(j, column)
            w.jump(after)
            w.start(after)
        element = Pointer(v.scalar)
        kinds = (element, I64, element, Pointer(I64), I64, I64)
        return v.function(name, dict(zip(_TURN_PARAMETERS, kinds, strict=True)))

    def _put(self, j: int, column: str) -> None:
        place = self.w.name(f"getelementptr i64, ptr %places, i64 {j}")
        self.v.store(column, self.v.at("%y", self.w.name(f"load i64, ptr {place}")))

    def _row(self, i: int) -> str:
        """Load one row of the block: nothing beyond its columns, and zeros for a row beyond the last."""
        v, w = self.v, self.w
        pointer = v.row("%x", "%x_pitch", i)
        if not self.edge:
            return v.load(pointer)
        wanted = w.name(f"select i1 {v.below(i, '%rows')}, i64 %count, i64 0")
        return v.load_where(v.mask(wanted), pointer)
