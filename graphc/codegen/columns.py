"""Columns: the schedule for rows with sums across the rows beside them.

The gradient of layer norm writes the operand's gradient row by row while it sums up those of
scale and shift: a second trip through memory is saved.  Rows are cut into pieces at places that
depend on their number alone; each piece has sums of its own, which a second stage adds up in
order.  The result has the same bits for any number of threads.
"""

from __future__ import annotations

from graphc import dims
from graphc.codegen import scalar
from graphc.codegen.emitter import Emitter, Scratch
from graphc.codegen.lanes import LANES
from graphc.codegen.loops import (
    Stage,
    body_dtype,
    close_loops,
    flat_position,
    join,
    loop_variables,
    store_lines,
    wide,
)
from graphc.codegen.parts import extent_of, open_joined, unravel, work
from graphc.codegen.rows import Rows
from graphc.dims import Dim
from graphc.lower import expr
from graphc.lower.region import Reduction, Region

# Rows that are summed up in float32 before they join the float64 totals.
PIECE = 32


class Columns(Rows):
    """Schedule for rows with column sums: a stage for the rows, and one for the sums."""

    def __init__(self, emitter: Emitter, region: Region) -> None:
        super().__init__(emitter, region)
        self.rows: Dim = dims.product(tuple(extent_of(region, g) for g in self.outer))
        self.width: Dim = dims.product(tuple(extent_of(region, g) for g in self.inner))
        self.pieces: Dim = dims.floordiv(self.rows + (PIECE - 1), PIECE)
        self.sums = [_ColumnSum(emitter, r, self.pieces, self.width) for r in region.columns]
        self.base = ""

    def write(self) -> list[Stage]:
        """Write the kernel's body; return its stages."""
        emitter, region = self.emitter, self.region
        emitter.params["stage"] = "int64"
        emitter.open("if stage == 0:", conditional=True)
        self.write_rows()
        emitter.close()
        emitter.open("if stage == 1:", conditional=True)
        strips = self.write_columns()
        emitter.close()
        adding = self.pieces * self.width * len(self.sums)
        return [
            Stage(self.pieces, work(dims.product(region.space), region.values)),
            Stage(strips, work(adding, [])),
        ]

    def write_rows(self) -> None:
        """Write the loops over this block's pieces and their rows."""
        emitter = self.emitter
        first, last = emitter.part(emitter.size(self.pieces))
        piece, self.base, end, lane = (emitter.fresh(p) for p in "cbej")
        emitter.open(f"for {piece} in range({first}, {last}):")
        emitter.line(f"{self.base} = {piece} * {emitter.size(self.width)}")
        emitter.open(f"for {lane} in range({emitter.size(self.width)}):")
        for column in self.sums:
            emitter.line(f"{column.part(self.base, lane)} = {scalar.literal(0, column.dtype)}")
        emitter.close()
        emitter.line(f"{end} = min({emitter.size(self.rows)}, {piece} * {PIECE} + {PIECE})")
        open_joined(emitter, self.region, self.outer, f"{piece} * {PIECE}", end)
        self.row()
        close_loops(emitter, 2)

    def read_ahead(self) -> None:
        """Leave the caches to the sums: reading ahead beside them does not pay."""

    def beside(self, phase: int) -> None:
        """Add to the column sums of this phase."""
        for column in self.sums:
            if column.reduction.phase == phase:
                cell = column.part(self.base, flat_position(self.emitter, self.region, self.inner))
                self.emitter.line(f"{cell} = {cell} + {self.emitter.text(column.reduction.body)}")

    def write_columns(self) -> Dim:
        """Write the sums over all pieces and what depends on them; return the number of strips."""
        emitter = self.emitter
        strips: Dim = dims.floordiv(self.width + (LANES - 1), LANES)
        first, last = emitter.part(emitter.size(strips))
        strip, begin, count, piece, base, lane = (emitter.fresh(p) for p in "sbncbj")
        emitter.open(f"for {strip} in range({first}, {last}):")
        emitter.line(f"{begin} = {strip} * {LANES}")
        emitter.line(f"{count} = min({LANES}, {emitter.size(self.width)} - {begin})")
        emitter.open(f"for {lane} in range({count}):")
        for column in self.sums:
            emitter.line(f"{column.total(lane)} = {scalar.literal(0, column.wide)}")
        emitter.close()
        emitter.open(f"for {piece} in range({emitter.size(self.pieces)}):")
        emitter.line(f"{base} = {piece} * {emitter.size(self.width)} + {begin}")
        emitter.open(f"for {lane} in range({count}):")
        for column in self.sums:
            part = scalar.convert(column.part(base, lane), column.dtype, column.wide)
            emitter.line(f"{column.total(lane)} = {column.total(lane)} + {part}")
        close_loops(emitter, 2)
        self.store_columns(begin, count)
        emitter.close()
        return strips

    def store_columns(self, begin: str, count: str) -> None:
        """Write a loop over the columns of a strip around the values that depend on their sums."""
        emitter, region = self.emitter, self.region
        joined = [join(emitter, region, g) for g in self.inner]
        defined = [e for g, j in zip(self.inner, joined, strict=True) for e in loop_variables(region, g, j)]
        lane, position = emitter.fresh("j"), emitter.fresh("i")
        locals_ = [expr.local(c.reduction.node, c.reduction.node.type.dtype) for c in self.sums]
        emitter.open(f"for {lane} in range({count}):", [*defined, *locals_])
        emitter.line(f"{position} = {begin} + {lane}")
        unravel(emitter, position, joined, [extent_of(region, g) for g in self.inner])
        for column, local in zip(self.sums, locals_, strict=True):
            name = emitter.fresh("r")
            emitter.line(f"{name} = {scalar.convert(column.total(lane), column.wide, column.dtype)}")
            emitter.name(local, name)
        store_lines(emitter, [s for s in region.stores if s.column])
        emitter.close()


class _ColumnSum:
    """One sum across the rows: a part for each piece, and a strip of totals."""

    def __init__(self, emitter: Emitter, reduction: Reduction, pieces: Dim, width: Dim) -> None:
        self.reduction = reduction
        self.dtype = body_dtype(reduction)
        self.wide = wide(reduction.kind, self.dtype)
        parts = Scratch(pieces * width, self.dtype, shared=True)
        self._parts = emitter.buffer(parts, (pieces, width), self.dtype)
        self._totals = emitter.buffer(Scratch(LANES, self.wide), (LANES,), self.wide)

    def part(self, base: str, lane: str) -> str:
        """Return the cell of a piece, which begins at `base`."""
        return f"{self._parts.name}[{base} + {lane}]"

    def total(self, lane: str) -> str:
        """Return the cell of a strip's total."""
        return f"{self._totals.name}[{lane}]"
