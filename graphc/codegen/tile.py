"""The register tile: the inner loop of every contraction, as LLVM vector IR.

``tile_f32_8x3_full(a, a_row, a_k, b, b_k, c, c_row, k, rows, cols, add)`` computes an
8 x (3 * width) block ``c (+)= a @ b``: accumulators stay in vector registers over the whole
`k` loop, each step loads three vectors of `b` and broadcasts eight elements of `a`.  The
``edge`` form reads only `rows` rows and `cols` columns, by clamped addresses and masks.

Strides are in elements; `b` and `c` are contiguous along columns; `a` has any strides.
In the ``indirect`` forms `b_k` points to the offset of each step's row of `b`: a convolution
walks its input so, with nothing packed.
The scheme is the outer-product micro-kernel of Goto and van de Geijn, "Anatomy of
High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

_NAME = re.compile(r"tile_(f32|f64)_(\d+)x(\d+)x(\d+)_(full|edge)(_indirect)?")
_I64 = ir.IntType(64)
_I32 = ir.IntType(32)


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
        """Return the tile's name in kernel code: ``full`` or ``edge``, also with ``_indirect``."""
        return f"tile_{self.dtype}_{self.rows}x{self.vectors}x{self.lanes}_{form}"


@functools.cache
def intrinsic(name: str) -> Any:
    """Return the Numba intrinsic of a tile by its name, or None if it names no tile."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    dtype, rows, vectors, lanes, form, indirect = match.groups()
    return _make(Tile(dtype, int(rows), int(vectors), int(lanes)), form == "edge", indirect is not None)


def _make(tile: Tile, edge: bool, indirect: bool) -> Any:
    # Deferred: a process with warm caches never imports Numba.
    from numba.core import types
    from numba.extending import intrinsic as numba_intrinsic

    element = types.float32 if tile.dtype == "f32" else types.float64
    pointer, integer = types.CPointer(element), types.int64

    def generate(context: Any, builder: Any, signature: Any, arguments: list[Any]) -> Any:
        _Writer(builder, tile, edge, indirect, arguments).write()
        return context.get_dummy_value()

    def operation(
        typing_context: Any,
        a: Any,
        a_row: Any,
        a_k: Any,
        b: Any,
        b_k: Any,
        c: Any,
        c_row: Any,
        k: Any,
        rows: Any,
        cols: Any,
        add: Any,
    ) -> Any:
        rows_of_b = types.CPointer(types.int64) if indirect else integer
        signature = types.void(
            pointer,
            integer,
            integer,
            pointer,
            rows_of_b,
            pointer,
            integer,
            integer,
            integer,
            integer,
            integer,
        )
        return signature, generate

    return numba_intrinsic(operation)


class _Writer:
    """Emits the body of one tile at the builder's position."""

    def __init__(self, builder: Any, tile: Tile, edge: bool, indirect: bool, arguments: list[Any]) -> None:
        self.b = builder
        self.tile = tile
        self.edge = edge
        self.indirect = indirect
        (self.a, self.a_row, self.a_k, self.bp, self.b_k, self.c, self.c_row) = arguments[:7]
        (self.k, self.rows, self.cols, self.add) = arguments[7:]
        self.scalar = ir.FloatType() if tile.dtype == "f32" else ir.DoubleType()
        self.vector = ir.VectorType(self.scalar, tile.lanes)
        self.size = 4 if tile.dtype == "f32" else 8

    def write(self) -> None:
        b, tile = self.b, self.tile
        self.masks = [self._mask(v) for v in range(tile.vectors)] if self.edge else []
        rows_a = [b.gep(self.a, [b.mul(self.a_row, self._row(m))]) for m in range(tile.rows)]
        rows_c = [b.gep(self.c, [b.mul(self.c_row, self._row(m))]) for m in range(tile.rows)]
        zero = ir.Constant(self.vector, [0.0] * tile.lanes)
        finished = self._loop(rows_a, [zero] * (tile.rows * tile.vectors))
        self._store(rows_c, self._added(rows_c, finished))

    def _row(self, m: int) -> Any:
        """Return row `m`, or the last valid one: a clamped row is computed and thrown away."""
        row = ir.Constant(_I64, m)
        if not self.edge or m == 0:
            return row
        last = self.b.sub(self.rows, ir.Constant(_I64, 1))
        return self.b.select(self.b.icmp_signed("<", row, self.rows), row, last)

    def _mask(self, v: int) -> Any:
        lanes = self.tile.lanes
        numbers = ir.Constant(ir.VectorType(_I64, lanes), [v * lanes + i for i in range(lanes)])
        return self.b.icmp_signed("<", numbers, self._splat(self.cols, _I64))

    def _splat(self, value: Any, element: Any) -> Any:
        kind = ir.VectorType(element, self.tile.lanes)
        undefined = ir.Constant(kind, ir.Undefined)
        one = self.b.insert_element(undefined, value, ir.Constant(_I32, 0))
        zeros = ir.Constant(ir.VectorType(_I32, self.tile.lanes), [0] * self.tile.lanes)
        return self.b.shuffle_vector(one, undefined, zeros)

    def _pointer(self, base: Any, v: int) -> Any:
        at = self.b.gep(base, [ir.Constant(_I64, v * self.tile.lanes)])
        return self.b.bitcast(at, self.vector.as_pointer())

    def _load(self, base: Any, v: int) -> Any:
        pointer = self._pointer(base, v)
        if not self.edge:
            loaded = self.b.load(pointer)
            loaded.align = self.size
            return loaded
        zero = ir.Constant(self.vector, [0.0] * self.tile.lanes)
        kinds = [pointer.type, _I32, self.masks[v].type, self.vector]
        fn = self._declare("load", ir.FunctionType(self.vector, kinds))
        return self.b.call(fn, [pointer, ir.Constant(_I32, self.size), self.masks[v], zero])

    def _write(self, value: Any, base: Any, v: int) -> None:
        pointer = self._pointer(base, v)
        if not self.edge:
            self.b.store(value, pointer).align = self.size
            return
        kinds = [self.vector, pointer.type, _I32, self.masks[v].type]
        fn = self._declare("store", ir.FunctionType(ir.VoidType(), kinds))
        self.b.call(fn, [value, pointer, ir.Constant(_I32, self.size), self.masks[v]])

    def _declare(self, verb: str, kind: Any) -> Any:
        suffix = f"v{self.tile.lanes}{self.tile.dtype}.p0"
        name = f"llvm.masked.{verb}.{suffix}"
        found = self.b.module.globals.get(name)
        return found if found is not None else ir.Function(self.b.module, kind, name)

    def _added(self, rows_c: list[Any], found: list[Any]) -> list[Any]:
        """Return what this call found, plus what `c` holds when adding.

        Adding here and not to the accumulators' start makes a long sum a sum of partial
        sums, whose rounding errors grow with the number of calls instead of elements.
        """
        b = self.b
        before = b.block
        load, end = b.append_basic_block("tile_add"), b.append_basic_block("tile_end")
        b.cbranch(b.icmp_signed("!=", self.add, ir.Constant(_I64, 0)), load, end)
        b.position_at_end(load)
        places = [(row, v) for row in rows_c for v in range(self.tile.vectors)]
        sums = [b.fadd(self._load(row, v), x) for (row, v), x in zip(places, found, strict=True)]
        b.branch(end)
        b.position_at_end(end)
        return [self._join(x, before, total, load) for x, total in zip(found, sums, strict=True)]

    def _loop(self, rows_a: list[Any], start: list[Any]) -> list[Any]:
        b, tile = self.b, self.tile
        before = b.block
        body, done = b.append_basic_block("tile_k"), b.append_basic_block("tile_done")
        enter = b.icmp_signed(">", self.k, ir.Constant(_I64, 0))
        b.cbranch(enter, body, done)
        b.position_at_end(body)
        step, at_b, at_a = b.phi(_I64), b.phi(self.bp.type), b.phi(_I64)
        step.add_incoming(ir.Constant(_I64, 0), before)
        at_b.add_incoming(self.bp, before)
        at_a.add_incoming(ir.Constant(_I64, 0), before)
        running = [b.phi(self.vector) for _ in start]
        for phi, value in zip(running, start, strict=True):
            phi.add_incoming(value, before)
        row_of_b = at_b
        if self.indirect:
            row_of_b = b.gep(self.bp, [b.load(b.gep(self.b_k, [step]))])
        columns = [self._load(row_of_b, v) for v in range(tile.vectors)]
        fma = self._fma()
        after = []
        for m in range(tile.rows):
            element = b.load(b.gep(rows_a[m], [at_a]))
            element.align = self.size
            spread = self._splat(element, self.scalar)
            for v in range(tile.vectors):
                after.append(b.call(fma, [spread, columns[v], running[m * tile.vectors + v]]))
        following = b.add(step, ir.Constant(_I64, 1))
        step.add_incoming(following, body)
        at_b.add_incoming(at_b if self.indirect else b.gep(at_b, [self.b_k]), body)
        at_a.add_incoming(b.add(at_a, self.a_k), body)
        for phi, value in zip(running, after, strict=True):
            phi.add_incoming(value, body)
        b.cbranch(b.icmp_signed("<", following, self.k), body, done)
        b.position_at_end(done)
        return [self._join(s, before, x, body) for s, x in zip(start, after, strict=True)]

    def _join(self, first: Any, first_block: Any, second: Any, second_block: Any) -> Any:
        phi = self.b.phi(self.vector)
        phi.add_incoming(first, first_block)
        phi.add_incoming(second, second_block)
        return phi

    def _fma(self) -> Any:
        # fmuladd, not fma: on a host without FMA it is a multiplication and an addition.
        name = f"llvm.fmuladd.v{self.tile.lanes}{self.tile.dtype}"
        found = self.b.module.globals.get(name)
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        return found if found is not None else ir.Function(self.b.module, kind, name)

    def _store(self, rows_c: list[Any], values: list[Any]) -> None:
        b, vectors = self.b, self.tile.vectors
        for m, row in enumerate(rows_c):
            if self.edge and m > 0:
                inside = b.icmp_signed("<", ir.Constant(_I64, m), self.rows)
                with b.if_then(inside):
                    self._store_row(row, values[m * vectors : (m + 1) * vectors])
            else:
                self._store_row(row, values[m * vectors : (m + 1) * vectors])

    def _store_row(self, row: Any, values: list[Any]) -> None:
        for v, value in enumerate(values):
            self._write(value, row, v)


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
