"""Which schedule computes a contraction: candidates with estimated costs, the cheapest first.

The estimates count cycles of one core that multiplies and adds two vectors and loads two
vectors a cycle, as cores with wide vectors do.  They need to rank schedules, not to predict
times.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, Protocol, TypeVar

# Vector registers that a tile may fill, by vector width in bytes.
REGISTERS = {64: 32, 32: 16, 16: 16}
# Rows and columns assumed where the number is symbolic: a small training batch.
TYPICAL = 64
# Inner steps assumed where the number is symbolic.
TYPICAL_INNER = 256
# Steps of the inner axes from one visit of a tile's sums to the next: where a panel of so many fits well in
# the L2 cache, elsewhere, and for dot tiles, which read longer runs.
LONG_CHUNK, CHUNK, DOT_CHUNK = 1024, 512, 4096

# Cycles per element of copying an operand into panels: in runs, in pieces as short as the tile is high, by
# transposition, by index.
_COPY, _PANELS, _TRANSPOSE, _GATHER = 0.12, 0.5, 0.5, 2.5
# Cycles per element of the passes over finished sums; where they are stored across rows.
_EPILOGUE, _SCATTER = 0.15, 4.0
# Cycles from one multiply-add to the next that needs its result.
_LATENCY = 4
# Bytes of operands beyond which they come from outside the L2 cache, at so many bytes a cycle.
_FAR, _BANDWIDTH = 1 << 18, 32
# Bytes a cycle at which results go there.
_WRITING = 24
# Bytes that a jump to the next run costs in time.
_JUMP = 256
# Cycles that a dot tile waits for each vector that it loads, if it reads at most so many bytes: the next tile
# finds what it shares with this one in the L1 cache, or does not.
_DOT_LINES = ((1 << 14, 0.1), (3 << 13, 0.4), (3 << 14, 0.6), (1 << 62, 1.2))
# Part of the arithmetic that memory-bound schedules do not hide behind their loads.
_VISIBLE = 0.25
# Vectors in a row of a tile: with few rows, long runs of memory count.
_VECTORS = (1, 2, 3, 4, 6, 8, 12, 16)
# Bytes between rows that make them compete for the same cache sets.
_CONFLICT = 2048
# Bytes of an operand from which on packing it once is worth its memory: less lies in the L1 cache anyway.
_KEPT = 1 << 14
# Rows or columns of the result that must share a panel for a copy against such conflicts to pay.
_SHARING = 192
# Bytes of a row of the widest panel that is packed in long chunks.
_NARROW = 256
# Cycles per inner step that a row or a vector of a tile costs beside its arithmetic; what a row costs on top
# if lhs streams in from outside the L2 cache; and what the loop costs.
_LINE, _FAR_ROW, _LOOP = 0.04, 0.06, 0.3
# Rows and columns that a dot tile reads side by side: all may lie in one set of the L1 cache.
_STREAMS = 8
# Bytes of a page of memory, across which processors do not read ahead: the strip of a sweep.  Bytes of a row
# below which a wide tile is as fast.
_PAGE, _LEAST_SWEEP = 4096, 8192
# Inner steps beyond which sums of a sweep, added up one after the other, would lose accuracy.
_LONGEST_SWEEP = 1 << 14
# Cycles of a sweep for each vector of the matrix.
_SWEEP = 0.75
# Inner steps below which writing the result is most of the work.
_FEW_STEPS = 16


@dataclass(frozen=True)
class Operand:
    """How an operand lies in memory.

    Attributes
    ----------
    even : bool
        Whether both its own and the inner axes are walked in even steps.
    own, inner : int or None
        These steps, in elements; None where they are symbolic.
    lasting : bool
        Whether it stays the same from call to call, and within the batch, so that it can be packed once.
    """

    even: bool
    own: int | None = None
    inner: int | None = None
    lasting: bool = False

    @property
    def along_inner(self) -> bool:
        """Whether neighbours on the inner axes are neighbours in memory."""
        return self.even and self.inner == 1


@dataclass(frozen=True)
class Problem:
    """A contraction as the cost model sees it.

    Attributes
    ----------
    dtype : str
        ``f32`` or ``f64``.
    rows, cols, inner : int or None
        Sizes; None where they are symbolic.
    lhs, rhs : Operand
        How the operands lie in memory.
    width : int
        Bytes of a vector register.
    epilogue : bool
        Whether something is computed from the finished sums.
    """

    dtype: str
    rows: int | None
    cols: int | None
    inner: int | None
    lhs: Operand
    rhs: Operand
    width: int
    epilogue: bool = False

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return 4 if self.dtype == "f32" else 8

    @property
    def lanes(self) -> int:
        """Elements of a vector register."""
        return self.width // self.itemsize

    @property
    def swapped(self) -> Problem:
        """The same contraction computing the transposed result."""
        return Problem(
            self.dtype, self.cols, self.rows, self.inner, self.rhs, self.lhs, self.width, self.epilogue
        )


@dataclass(frozen=True)
class Candidate:
    """A schedule.

    Attributes
    ----------
    form : str
        ``tile`` (outer products of a column and a row), ``dot`` (sums along the inner axes) or
        ``sweep`` (rows of rhs from end to end).
    swapped : bool
        Whether the transposed result is computed, and stored across.
    rows, cols : int
        Shape of the tile, in elements.
    lanes : int
        Elements of a vector.
    packing : str
        How rhs gets into panels: ``copy``, ``transpose``, ``gather``, or empty if it is read in place;
        ``once`` if all of it is packed before the first call.
    copies_lhs : bool
        Whether lhs, though evenly strided, is copied into panels as well.
    cycles : int
        Estimated cost for each element of the batch.
    """

    form: str
    swapped: bool
    rows: int
    cols: int
    lanes: int
    packing: str
    copies_lhs: bool
    cycles: int

    def __str__(self) -> str:
        """Describe the schedule in a few words."""
        words = [f"{self.form} {self.rows}x{self.cols}"]
        words += ["transposed"] if self.swapped else []
        words += [f"rhs by {self.packing}"] if self.packing else []
        words += ["lhs by copy"] if self.copies_lhs else []
        return ", ".join(words)


class Schedule(Protocol):
    """What a choice is made among: prints as a few words, and has an estimated cost."""

    @property
    def cycles(self) -> int:
        """Estimated cycles of one core."""


S = TypeVar("S", bound=Schedule)


@dataclass(frozen=True)
class Choice(Generic[S]):
    """What could compute a kernel, from the cheapest schedule to the most expensive.

    Examples
    --------
    >>> matrix, vector = Operand(True, 1024, 1), Operand(True, 1, 1)
    >>> problem = Problem("f32", 1024, 1, 1024, matrix, vector, 64)
    >>> choose(problem).best.form
    'dot'
    """

    candidates: tuple[S, ...]

    @property
    def best(self) -> S:
        """The schedule that is used."""
        return self.candidates[0]

    def lines(self) -> list[str]:
        """Return one line per candidate, with its estimated cycles."""
        return [f"{c.cycles:>12,} cycles  {c}" for c in self.candidates]

    def __str__(self) -> str:
        """Describe the schedule that is used."""
        return str(self.best)


@lru_cache(maxsize=4096)
def choose(problem: Problem) -> Choice[Candidate]:
    """Rank the schedules of a contraction: the best tile of every form and orientation."""
    found = [_cheapest(tiles(problem, swapped=False)), *sweeps(problem, swapped=False)]
    if problem.lhs.even and problem.rhs.even:
        found.append(_cheapest(tiles(problem.swapped, swapped=True)))
        found += sweeps(problem.swapped, swapped=True)
    dots = list(dot_tiles(problem))
    found += [_cheapest(dots)] if dots else []
    return Choice(tuple(sorted(found, key=lambda c: c.cycles)))


def _cheapest(candidates: Iterable[Candidate]) -> Candidate:
    return min(candidates, key=lambda c: c.cycles)


# ------------------------------------------------------------------ outer-product tiles
def tiles(problem: Problem, *, swapped: bool) -> Iterator[Candidate]:
    """Yield a candidate for every shape of register tile."""
    lanes, registers = problem.lanes, REGISTERS.get(problem.width, 16)
    ways, copies = [_packing(problem)], _copies_lhs(problem)
    if problem.rhs.lasting and problem.lhs.even and _worth_keeping(problem):
        ways.insert(0, "once")
    for packing, rows, vectors in itertools.product(ways, range(1, registers - 1), _VECTORS):
        # One register broadcasts, the others hold a row of rhs, unless it is used only once.
        fits = rows * vectors + (vectors if rows > 1 else 0) + 1 <= registers
        if fits and _sensible(problem, rows, vectors):
            cycles = _tile_cycles(problem, rows, vectors, packing, swapped=swapped)
            yield Candidate("tile", swapped, rows, vectors * lanes, lanes, packing, copies, round(cycles))


def _worth_keeping(problem: Problem) -> bool:
    """Tell whether rhs is large enough to be packed once."""
    cols, inner = problem.cols or TYPICAL, problem.inner or TYPICAL_INNER
    return cols * inner * problem.itemsize >= _KEPT


def _sensible(problem: Problem, rows: int, vectors: int) -> bool:
    """Tell whether a tile is no larger than the result, and not wider than memory has use for."""
    thin = problem.rows is not None and problem.rows <= 4
    short = problem.inner is not None and problem.inner < _FEW_STEPS
    widest = 16 if thin or short else 4
    tall = problem.rows is not None and rows > max(problem.rows, 1)
    wide = problem.cols is not None and (vectors - 1) * problem.lanes >= max(problem.cols, 1)
    return not (tall or wide or vectors > widest or rows > 16)


def _packing(problem: Problem) -> str:
    rhs, size = problem.rhs, problem.itemsize
    if not rhs.even:
        return "gather"
    cols, inner = problem.cols or TYPICAL, problem.inner or TYPICAL_INNER
    if rhs.own == 1 or cols == 1:
        far = cols * inner * size > 2 * _FAR
        return "copy" if far and _collides(rhs, size) and (problem.rows or TYPICAL) >= _SHARING else ""
    return "transpose" if rhs.along_inner else "gather"


def _collides(operand: Operand, size: int) -> bool:
    """Tell whether steps along the inner axes compete for the same cache sets."""
    return operand.inner is not None and operand.inner * size % _CONFLICT == 0


def _copies_lhs(problem: Problem) -> bool:
    """Tell whether lhs lies across the rows, with steps along the inner axes that collide in the caches."""
    lhs, size = problem.lhs, problem.itemsize
    if lhs.own != 1 or not _collides(lhs, size):
        return False
    rows, inner = problem.rows or TYPICAL, problem.inner or TYPICAL_INNER
    return rows * inner * size > 2 * _FAR and (problem.cols or TYPICAL) >= _SHARING


_PACKING = {"": 0.0, "once": 0.0, "copy": _COPY, "transpose": _TRANSPOSE, "gather": _GATHER}


def _tile_cycles(problem: Problem, rows: int, vectors: int, packing: str, *, swapped: bool) -> float:
    m, n, k = problem.rows, problem.cols, problem.inner or TYPICAL_INNER
    heights = _pieces(m, rows, 1)
    widths = _pieces(n, vectors, problem.lanes)
    row = _FAR_ROW if (m or TYPICAL) * k * problem.itemsize > 2 * _FAR else 0.0
    chunks = -(-k // _longest(vectors * problem.width))
    total = 0.0
    for (height, down), (width, across) in itertools.product(heights, widths):
        total += down * across * (k * (_step(height, width) + row * height) + chunks * (16 + height * width))
    m, n = m or TYPICAL, n or TYPICAL
    size = problem.itemsize
    if packing in ("", "once") and n * k * size > _FAR:
        run = min(vectors * problem.lanes, n) * size
        passes = -(-m // rows) if k * run > _FAR and not packing else 1
        # Panels lie in memory in the order in which they are read.
        jumps = 1 + _JUMP / run if not packing else 1
        total = max(total, passes * n * k * size * jumps / _BANDWIDTH + _VISIBLE * total)
    if m * n * size > _FAR:
        run = min(vectors * problem.lanes, n) * size
        total = max(total, m * n * size * (run + _JUMP) / (run * _WRITING) + _VISIBLE * total)
    across_rows = swapped and m > 1
    finish = (_EPILOGUE if problem.epilogue else 0.0) + (_SCATTER if across_rows else 0.0)
    lhs = 0.0 if problem.lhs.even else _GATHER * m * k
    lhs += _PANELS * m * k if _copies_lhs(problem) else 0.0
    return total + m * n * finish + n * k * _PACKING[packing] + lhs


def _pieces(extent: int | None, tile: int, unit: int) -> list[tuple[int, float]]:
    """Return the sizes of tiles along an axis in units, and how often each occurs."""
    if extent is None:
        # The last tile is computed whole, and half of it in vain on average.
        return [(tile, TYPICAL / (tile * unit) + 0.5)]
    whole, rest = divmod(extent, tile * unit)
    pieces = [(tile, whole), (-(-rest // unit), 1 if rest else 0)]
    return [(size, count) for size, count in pieces if count]


def _step(rows: int, vectors: int) -> float:
    """Estimate cycles per inner step of one tile."""
    arithmetic, loads = rows * vectors / 2, (rows + vectors) / 2
    return max(arithmetic, loads, _LATENCY) + _LINE * (rows + vectors) + _LOOP


def chunk(problem: Problem, best: Candidate) -> int:
    """Return how many inner steps a tile takes at most from one visit of its sums to the next."""
    if best.form == "dot":
        return DOT_CHUNK
    return _longest(best.cols * problem.itemsize)


def _longest(run: int) -> int:
    return CHUNK if run > _NARROW else LONG_CHUNK


# ------------------------------------------------------------------ dot tiles
def dot_tiles(problem: Problem) -> Iterator[Candidate]:
    """Yield a candidate for every shape of dot tile, where the operands lie along the inner axes."""
    if not problem.lhs.along_inner or not problem.rhs.even:
        return
    packing = "" if problem.rhs.along_inner else "gather"
    registers = REGISTERS.get(problem.width, 16)
    for rows, cols in itertools.product(range(1, 9), range(1, 6)):
        tall = problem.rows is not None and rows > max(problem.rows, 1)
        wide = problem.cols is not None and cols > max(problem.cols, 1)
        fits = rows * cols + cols + 1 <= registers and rows + cols <= _STREAMS
        if fits and not (tall or wide):
            cycles = _dot_cycles(problem, rows, cols, packing)
            yield Candidate("dot", False, rows, cols, problem.lanes, packing, False, round(cycles))


def _dot_line(read: int) -> float:
    """Return cycles for each vector that a dot tile loads, when a tile reads so many bytes in all."""
    return next(cost for most, cost in _DOT_LINES if read <= most)


def _dot_cycles(problem: Problem, rows: int, cols: int, packing: str) -> float:
    k, size = problem.inner or TYPICAL_INNER, problem.itemsize
    chunks = -(-k // DOT_CHUNK)
    total = 0.0
    for (height, down), (width, across) in itertools.product(
        _pieces(problem.rows, rows, 1), _pieces(problem.cols, cols, 1)
    ):
        # Small tiles are unrolled along the inner axes, so that latency never shows.
        step = max(height * width, height + width) / 2 + 0.3
        step += _dot_line((rows + cols) * k * size) * (height + width)
        total += down * across * (-(-k // problem.lanes) * step + chunks * (25 + 4 * height * width))
    m, n = problem.rows or TYPICAL, problem.cols or TYPICAL
    if (m + n) * k * size > _FAR:
        total = max(total, (m + n) * k * size / _BANDWIDTH * 1.15 + _VISIBLE * total)
    return total + n * k * _PACKING[packing] + m * n * (_EPILOGUE if problem.epilogue else 0.0)


# ------------------------------------------------------------------ sweeps
def sweeps(problem: Problem, *, swapped: bool) -> Iterator[Candidate]:
    """Yield the sweep for one row times a matrix whose rows are contiguous."""
    n, k, size = problem.cols, problem.inner, problem.itemsize
    if problem.rows != 1 or n is None or k is None or not problem.lhs.even:
        return
    if problem.rhs.own != 1 or n * size < _LEAST_SWEEP or k > _LONGEST_SWEEP:
        return
    strip = _PAGE // size
    arithmetic = n * k / problem.lanes * _SWEEP
    memory = n * k * size * (_PAGE + _JUMP) / (_PAGE * _BANDWIDTH) if n * k * size > _FAR else 0.0
    total = max(arithmetic, memory + _VISIBLE * arithmetic)
    total += n * (_EPILOGUE if problem.epilogue else 0.0)
    yield Candidate("sweep", swapped, 1, strip, problem.lanes, "", False, round(total))


# ------------------------------------------------------------------ blocks for threads
@dataclass(frozen=True)
class Blocks:
    """Rows and columns of the result that one block computes: multiples of the tile's."""

    rows: int
    cols: int


# Rows and columns of a block at most.  The more rows, the more tiles share a packed panel of rhs, while lhs
# streams by from the L3 cache.
_BLOCK_ROWS, _BLOCK_COLS = 1032, 256
# More blocks than these gain nothing.
_ENOUGH = 16
# Cycles that a block must last to be worth its start; the first few of a small product, unless each of them
# would pack the same again.
_LEAST_CYCLES, _LEAST_OF_FEW = 60_000, 15_000
_FEW = 4


def blocks(problem: Problem, best: Candidate, batch: int | None) -> Blocks:
    """Cut the result into blocks: few enough to share panels, many enough to share among threads."""
    m, n = (problem.cols, problem.rows) if best.swapped else (problem.rows, problem.cols)
    rows = _even(m, _BLOCK_ROWS, best.rows)
    cols = _even(n, _BLOCK_COLS, best.cols)
    around = batch or 1
    in_place = best.packing in ("", "once")
    while True:
        count = around * -(-(m or TYPICAL) // rows) * -(-(n or TYPICAL) // cols)
        small = count < _FEW and (in_place or cols > best.cols)
        least = _LEAST_OF_FEW if small else _LEAST_CYCLES
        if count >= _ENOUGH or best.cycles * around / count < 2 * least:
            return Blocks(rows, cols)
        if cols > best.cols:
            cols = _up(cols // 2, best.cols)
        elif rows > best.rows:
            rows = _up(rows // 2, best.rows)
        else:
            return Blocks(rows, cols)


def _even(extent: int | None, most: int, grain: int) -> int:
    """Return the length of evenly long blocks of at most about `most`, a multiple of `grain`."""
    if extent is None or extent == 0:
        return max(grain, most // 2 // grain * grain)
    return _up(-(-extent // -(-extent // most)), grain)


def _up(value: int, grain: int) -> int:
    return -(-value // grain) * grain
