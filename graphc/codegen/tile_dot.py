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
from typing import Any

from llvmlite import ir

from graphc.codegen.tile_vectors import I64, Vectors

_NAME = re.compile(r"dot_(f32|f64)_(\d+)x(\d+)x(\d+)_(full|edge)")
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
def intrinsic(name: str) -> Any:
    """Return the Numba intrinsic of a dot tile by its name, or None if it names none."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    dtype, rows, cols, lanes, form = match.groups()
    return _make(DotTile(dtype, int(rows), int(cols), int(lanes)), form == "edge")


def _make(tile: DotTile, edge: bool) -> Any:
    # Deferred: a process with warm caches never imports Numba.
    from numba.core import types
    from numba.extending import intrinsic as numba_intrinsic

    pointer, integer = types.CPointer(types.float32 if tile.dtype == "f32" else types.float64), types.int64

    def generate(context: Any, builder: Any, signature: Any, arguments: list[Any]) -> Any:
        _Writer(builder, tile, edge, arguments).write()
        return context.get_dummy_value()

    def operation(
        typing_context: Any,
        a: Any,
        a_row: Any,
        b: Any,
        b_col: Any,
        c: Any,
        c_row: Any,
        c_col: Any,
        k: Any,
        rows: Any,
        cols: Any,
        add: Any,
    ) -> Any:
        operands = (pointer, integer, pointer, integer, pointer, integer, integer)
        return types.void(*operands, integer, integer, integer, integer), generate

    return numba_intrinsic(operation)


class _Writer:
    """Emits the body of one dot tile at the builder's position."""

    def __init__(self, builder: Any, tile: DotTile, edge: bool, arguments: list[Any]) -> None:
        self.b = builder
        self.tile = tile
        self.edge = edge
        self.vectors = Vectors(builder, tile.dtype, tile.lanes)
        (self.a, self.a_row, self.bp, self.b_col, self.c, self.c_row, self.c_col) = arguments[:7]
        (self.k, self.rows, self.cols, self.add) = arguments[7:]

    def write(self) -> None:
        b, tile = self.b, self.tile
        rows = [b.gep(self.a, [b.mul(self.a_row, self._clamp(m, self.rows))]) for m in range(tile.rows)]
        cols = [b.gep(self.bp, [b.mul(self.b_col, self._clamp(n, self.cols))]) for n in range(tile.cols)]
        found = [self.vectors.total(s) for s in self._sums(rows, cols)]
        places = [(m, n) for m in range(tile.rows) for n in range(tile.cols)]
        for (m, n), value in zip(places, found, strict=True):
            self._put(m, n, value)

    def _clamp(self, position: int, limit: Any) -> Any:
        """Return a position, or the last valid one: what is there is computed and thrown away."""
        wanted = ir.Constant(I64, position)
        if not self.edge or position == 0:
            return wanted
        last = self.b.sub(limit, ir.Constant(I64, 1))
        return self.b.select(self.b.icmp_signed("<", wanted, limit), wanted, last)

    # -- the loops along k
    def _sums(self, rows: list[Any], cols: list[Any]) -> list[Any]:
        """Return a vector of partial sums per element of the block."""
        b, lanes = self.b, self.tile.lanes
        count = self.tile.rows * self.tile.cols
        unroll = -(-_INDEPENDENT // count)
        whole = b.and_(self.k, ir.Constant(I64, -lanes))
        start = ir.Constant(I64, 0)
        running = [self.vectors.zero] * count
        if unroll > 1:
            many = ir.Constant(I64, unroll * lanes)
            start = b.mul(b.sdiv(self.k, many), many)
            running = self._loop(rows, cols, ir.Constant(I64, 0), start, [self.vectors.zero] * count * unroll)
            running = [self._merged(running[i::count]) for i in range(count)]
        running = self._loop(rows, cols, start, whole, running)
        return self._rest(rows, cols, whole, running)

    def _merged(self, parts: list[Any]) -> Any:
        return functools.reduce(self.b.fadd, parts)

    def _loop(self, rows: list[Any], cols: list[Any], start: Any, end: Any, initial: list[Any]) -> list[Any]:
        """Add the products of whole vectors from `start` to `end`."""
        b, lanes = self.b, self.tile.lanes
        steps = len(initial) // (len(rows) * len(cols))
        before = b.block
        body, done = b.append_basic_block("dot_k"), b.append_basic_block("dot_done")
        b.cbranch(b.icmp_signed("<", start, end), body, done)
        b.position_at_end(body)
        at = b.phi(I64)
        at.add_incoming(start, before)
        running = [b.phi(self.vectors.kind) for _ in initial]
        after: list[Any] = []
        for u in range(steps):
            place = b.add(at, ir.Constant(I64, u * lanes))
            part = running[u * len(initial) // steps : (u + 1) * len(initial) // steps]
            after += self._step(rows, cols, functools.partial(self._load, place), part)
        following = b.add(at, ir.Constant(I64, steps * lanes))
        at.add_incoming(following, body)
        for phi, value, first in zip(running, after, initial, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(value, body)
        b.cbranch(b.icmp_signed("<", following, end), body, done)
        b.position_at_end(done)
        return [self._join(first, before, value, body) for first, value in zip(initial, after, strict=True)]

    def _load(self, place: Any, pointer: Any) -> Any:
        return self.vectors.load(self.b.gep(pointer, [place]))

    def _rest(self, rows: list[Any], cols: list[Any], start: Any, running: list[Any]) -> list[Any]:
        """Add the products behind the last whole vector."""
        b = self.b
        before = b.block
        body, done = b.append_basic_block("dot_rest"), b.append_basic_block("dot_end")
        left = b.sub(self.k, start)
        b.cbranch(b.icmp_signed(">", left, ir.Constant(I64, 0)), body, done)
        b.position_at_end(body)
        after = self._step(rows, cols, lambda p: self.vectors.load_first(b.gep(p, [start]), left), running)
        b.branch(done)
        b.position_at_end(done)
        return [self._join(first, before, value, body) for first, value in zip(running, after, strict=True)]

    def _step(
        self, rows: list[Any], cols: list[Any], load: Callable[[Any], Any], running: list[Any]
    ) -> list[Any]:
        right = [load(p) for p in cols]
        after = []
        for m, row in enumerate(rows):
            left = load(row)
            for n in range(len(cols)):
                after.append(self.vectors.multiply_add(left, right[n], running[m * len(cols) + n]))
        return after

    def _join(self, first: Any, first_block: Any, second: Any, second_block: Any) -> Any:
        phi = self.b.phi(self.vectors.kind)
        phi.add_incoming(first, first_block)
        phi.add_incoming(second, second_block)
        return phi

    # -- results
    def _put(self, m: int, n: int, value: Any) -> None:
        if not self.edge or (m, n) == (0, 0):
            self._store(m, n, value)
            return
        inside = self.b.and_(
            self.b.icmp_signed("<", ir.Constant(I64, m), self.rows),
            self.b.icmp_signed("<", ir.Constant(I64, n), self.cols),
        )
        with self.b.if_then(inside):
            self._store(m, n, value)

    def _store(self, m: int, n: int, value: Any) -> None:
        b = self.b
        down, right = b.mul(self.c_row, ir.Constant(I64, m)), b.mul(self.c_col, ir.Constant(I64, n))
        place = b.gep(self.c, [b.add(down, right)])
        adding = b.icmp_signed("!=", self.add, ir.Constant(I64, 0))
        before = b.block
        with b.if_then(adding):
            loaded = b.load(place)
            loaded.align = self.vectors.size
            total = b.fadd(loaded, value)
            inside = b.block
        joined = b.phi(self.vectors.scalar)
        joined.add_incoming(value, before)
        joined.add_incoming(total, inside)
        b.store(joined, place).align = self.vectors.size
