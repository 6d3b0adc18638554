"""Lanes: the schedule for regions whose innermost axis is kept while outer ones are reduced.

A bias gradient sums over the batch: a strip of neighbouring columns is accumulated side by
side, so that memory is read in its own order and the inner loop still vectorizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from graphc import dims
from graphc.codegen import scalar
from graphc.codegen.emitter import Buffer, Emitter, Scratch, initial, step
from graphc.codegen.loops import (
    Stage,
    body_dtype,
    close_loops,
    collapse,
    flat_position,
    join,
    loop_variables,
    open_loops,
    store_lines,
    wide,
)
from graphc.codegen.parts import extent_of, grain_of, units_of, unravel, work
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.region import Reduction, Region, Store

# Neighbouring columns accumulated together: enough cache lines of a row for the hardware to fetch ahead,
# few enough for wide matrices to fall into parts.
LANES = 256
# Rows summed in float32 before they join the float64 totals.
ROWS = 64
# Position within a strip.
_LANE = expr.index("lane")
# Number of a strip.
_STRIP = expr.index("strip")


class Lanes:
    """Schedule for regions whose innermost axis is kept while outer ones are reduced."""

    def __init__(self, emitter: Emitter, region: Region) -> None:
        self.emitter = emitter
        self.region = region
        last = len(region.space) - 1
        outer = [a for a in range(last) if a not in region.reduced]
        self.outer, self.inner = collapse(region, [outer, sorted(region.reduced)])
        self.lane_axis = last

    def write(self) -> list[Stage]:
        """Write the kernel's body; return its stages."""
        emitter, region = self.emitter, self.region
        # The loop over a strip has no fixed length anyway: one kernel serves matrices of all sizes.
        emitter.generic = True
        extent = region.space[self.lane_axis]
        n = emitter.size(extent)
        strips = dims.floordiv(extent + (LANES - 1), LANES)
        extents = [*(extent_of(region, g) for g in self.outer), strips]
        units = dims.product(tuple(extents))
        joined = [join(emitter, region, g) for g in self.outer]
        defined = [e for g, j in zip(self.outer, joined, strict=True) for e in loop_variables(region, g, j)]
        grain = grain_of(dims.product((extent, *(region.space[a] for a in region.reduced))))
        first, last = emitter.part(emitter.size(units), grain)
        name = emitter.fresh("i")
        emitter.open(f"for {name} in range({first}, {last}):", [*defined, _STRIP])
        unravel(emitter, name, [*joined, _STRIP], extents)
        self.strip = emitter.fresh("b")
        emitter.line(f"{self.strip} = {emitter.operand(_STRIP)} * {LANES}")
        self.width = emitter.fresh("w")
        emitter.line(f"{self.width} = min({LANES}, {n} - {self.strip})")
        for phase in range(region.phases):
            self.phase(phase)
        rows = [s for s in region.stores if s.phase is None]
        if rows:
            self.lane_loop([partial(store_lines, emitter, rows)])
        emitter.close()
        values = [r.body for r in region.reductions] + [s.value for s in region.stores]
        return [Stage(units_of(units, grain), work(dims.product(region.space), values))]

    def lane_loop(self, body: Sequence[Callable[[], None]]) -> None:
        """Write a loop over the columns of the strip around what the parts of `body` write."""
        emitter = self.emitter
        lane = emitter.fresh("j")
        index = self.region.indices[self.lane_axis]
        emitter.open(f"for {lane} in range({self.width}):", [index])
        emitter.name(_LANE, lane)
        column = emitter.fresh("i")
        emitter.line(f"{column} = {self.strip} + {lane}")
        emitter.name(index, column)
        for write in body:
            write()
        emitter.close()

    def phase(self, phase: int) -> None:
        """Write one trip through the reduced axes, strip by strip."""
        emitter, region = self.emitter, self.region
        totals = [LaneTotal(emitter, r) for r in region.reductions if r.phase == phase]
        stores = [s for s in region.stores if s.phase == phase]
        if totals:
            self.lane_loop([t.start for t in totals])
        self.loops(totals, stores)
        for total in totals:
            node = total.reduction.node
            emitter.replaced[expr.local(node, node.type.dtype)] = total.value()

    def loops(self, totals: Sequence[LaneTotal], stores: Sequence[Store]) -> None:
        """Write the loops of a phase over the reduced axes and, within, the columns of the strip."""
        emitter, region = self.emitter, self.region
        *around, last = self.inner
        open_loops(emitter, region, around)
        blocked = [t for t in totals if t.blocked]
        extent = dims.product(tuple(region.space[a] for a in last))
        n = emitter.size(extent)
        begin = emitter.fresh("b")
        if blocked:
            emitter.open(f"for {begin} in range(0, {n}, {ROWS}):")
            self.lane_loop([t.start_part for t in blocked])
        variable = join(emitter, region, last)
        name = emitter.fresh("i")
        span = f"{begin}, min({begin} + {ROWS}, {n})" if blocked else n
        emitter.open(f"for {name} in range({span}):", loop_variables(region, last, variable))
        emitter.name(variable, name)

        def body() -> None:
            for total in totals:
                total.add(flat_position(emitter, region, self.inner) if total.arg else "0")
            store_lines(emitter, stores)

        self.lane_loop([body])
        emitter.close()
        if blocked:
            self.lane_loop([t.finish_part for t in blocked])
        close_loops(emitter, len(around) + int(bool(blocked)))


class LaneTotal:
    """One reduction over a strip: an accumulator per column, in working memory.

    float32 sums have two, of a block of rows and of all blocks.
    """

    def __init__(self, emitter: Emitter, reduction: Reduction) -> None:
        self.emitter = emitter
        self.reduction = reduction
        self.dtype = body_dtype(reduction)
        self.wide = wide(reduction.kind, self.dtype)
        self.arg = reduction.kind.startswith("arg")
        self.blocked = reduction.kind == "sum" and self.wide != self.dtype
        self.scratch = Scratch(LANES, self.wide)
        self.buffer = emitter.buffer(self.scratch, (LANES,), self.wide)
        self.part = (
            emitter.buffer(Scratch(LANES, self.dtype), (LANES,), self.dtype) if self.blocked else self.buffer
        )
        self.positions = Scratch(LANES, reduction.node.type.dtype)
        self.where = emitter.buffer(self.positions, (LANES,), reduction.node.type.dtype) if self.arg else None

    def _cell(self, buffer: Buffer) -> str:
        return f"{buffer.name}[{self.emitter.operand(_LANE)}]"

    def _where(self) -> str:
        return f"{self.where.name}[{self.emitter.operand(_LANE)}]" if self.where is not None else ""

    def start(self) -> None:
        """Write the initialization."""
        start = scalar.literal(initial(self.reduction.kind, self.dtype), self.wide)
        self.emitter.line(f"{self._cell(self.buffer)} = {scalar.stored(start, self.wide)}")
        if self.arg:
            self.emitter.line(f"{self._where()} = 0")

    def start_part(self) -> None:
        """Write what precedes a block of rows."""
        self.emitter.line(f"{self._cell(self.part)} = {scalar.literal(0, self.dtype)}")

    def finish_part(self) -> None:
        """Write what follows a block of rows."""
        cell, part = self._cell(self.buffer), self._cell(self.part)
        self.emitter.line(f"{cell} = {cell} + {scalar.convert(part, self.dtype, self.wide)}")

    def add(self, flat: str) -> None:
        """Write the step that takes in one element, at flat position `flat`."""
        emitter = self.emitter
        text = emitter.text(self.reduction.body)
        dtype = self.dtype if self.blocked else self.wide
        if dtype != self.dtype:
            text = scalar.convert(text, self.dtype, dtype)
        value, position = emitter.fresh("a"), emitter.fresh("k")
        cell = self._cell(self.part)
        emitter.line(f"{value} = ({cell} != 0)" if str(dtype) == "bool" else f"{value} = {cell}")
        if self.arg:
            emitter.line(f"{position} = {self._where()}")
        for line in step(self.reduction.kind, dtype, value, position, text, flat):
            emitter.line(line)
        emitter.line(f"{cell} = {scalar.stored(value, dtype)}")
        if self.arg:
            emitter.line(f"{self._where()} = {position}")

    def value(self) -> Expr:
        """Return the expression that reads the finished value back in a later lane loop."""
        source = self.positions if self.arg else self.scratch
        return expr.cast(expr.load(source, (_LANE,), source.dtype), self.reduction.node.type.dtype)
