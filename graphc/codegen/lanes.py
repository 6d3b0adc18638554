"""Lanes: the schedule for regions whose innermost axis is kept while outer ones are reduced.

A bias gradient sums over the batch: a strip of neighbouring columns is accumulated side by
side, so that memory is read in its own order and the inner loop still vectorizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from graphc import dims
from graphc.codegen import scalar
from graphc.codegen.emitter import Emitter, Scratch, initial, step
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
from graphc.lower.region import Reduction, Region

# Neighbouring columns accumulated together: two to four cache lines a row.
LANES = 64
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
        open_loops(emitter, region, self.inner)

        def body() -> None:
            for total in totals:
                total.add(flat_position(self.emitter, self.region, self.inner) if total.arg else "0")
            store_lines(emitter, stores)

        self.lane_loop([body])
        close_loops(emitter, len(self.inner))
        for total in totals:
            node = total.reduction.node
            emitter.replaced[expr.local(node, node.type.dtype)] = total.value()


class LaneTotal:
    """One reduction over a strip: an accumulator per column, in working memory."""

    def __init__(self, emitter: Emitter, reduction: Reduction) -> None:
        self.emitter = emitter
        self.reduction = reduction
        self.dtype = body_dtype(reduction)
        self.wide = wide(reduction.kind, self.dtype)
        self.arg = reduction.kind.startswith("arg")
        self.scratch = Scratch(LANES, self.wide)
        self.buffer = emitter.buffer(self.scratch, (LANES,), self.wide)
        self.positions = Scratch(LANES, reduction.node.type.dtype)
        self.where = emitter.buffer(self.positions, (LANES,), reduction.node.type.dtype) if self.arg else None

    def _cell(self) -> str:
        return f"{self.buffer.name}[{self.emitter.operand(_LANE)}]"

    def _where(self) -> str:
        return f"{self.where.name}[{self.emitter.operand(_LANE)}]" if self.where is not None else ""

    def start(self) -> None:
        """Write the initialization."""
        start = scalar.literal(initial(self.reduction.kind, self.dtype), self.wide)
        self.emitter.line(f"{self._cell()} = {scalar.stored(start, self.wide)}")
        if self.arg:
            self.emitter.line(f"{self._where()} = 0")

    def add(self, flat: str) -> None:
        """Write the step that takes in one element, at flat position `flat`."""
        emitter = self.emitter
        text = emitter.text(self.reduction.body)
        if self.dtype != self.wide:
            text = scalar.convert(text, self.dtype, self.wide)
        value, position = emitter.fresh("a"), emitter.fresh("k")
        cell = self._cell()
        emitter.line(f"{value} = ({cell} != 0)" if str(self.wide) == "bool" else f"{value} = {cell}")
        if self.arg:
            emitter.line(f"{position} = {self._where()}")
        for line in step(self.reduction.kind, self.wide, value, position, text, flat):
            emitter.line(line)
        emitter.line(f"{cell} = {scalar.stored(value, self.wide)}")
        if self.arg:
            emitter.line(f"{self._where()} = {position}")

    def value(self) -> Expr:
        """Return the expression that reads the finished value back in a later lane loop."""
        source = self.positions if self.arg else self.scratch
        return expr.cast(expr.load(source, (_LANE,), source.dtype), self.reduction.node.type.dtype)
