"""Matrix products in blocks around a tile.

The result is cut into blocks of rows and columns, which threads share::

    pack rhs                              a stage of its own, if it lasts from call to call
    pack lhs                              another, where `choice` says so or it is not evenly strided
    for each block of the result:
        for each chunk of the inner axes:
            for each strip of columns:
                pack rhs                  where `choice` says so, unless it is packed already
                for each group of rows:
                    tile                  sums (+)= lhs @ rhs, in registers
                    epilogue              bias, activation, residual, while the tile is in the L1 cache

`choice` says which tile, and which of both operands is the left one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from graphc import dims
from graphc.codegen import choice, joined, sweep, tile_ahead
from graphc.codegen.choice import Blocks, Candidate, Choice
from graphc.codegen.contraction_loops import Loops, live, mentions, static
from graphc.codegen.emitter import Emitter, Scratch
from graphc.codegen.loops import Stage, preparation
from graphc.codegen.packing import Panels
from graphc.codegen.parts import digit
from graphc.codegen.problem import chunk_of, describe, holds_sum, operands, split_axis, turned
from graphc.codegen.tile import Tile
from graphc.codegen.tile_dot import DotTile
from graphc.dims import Dim, Shape
from graphc.lower import expr
from graphc.lower.affine import Strided
from graphc.lower.contraction import ContractionRegion
from graphc.lower.expr import Expr
from graphc.lower.rules import Index

# Picoseconds of a cycle.
_CYCLE = 300
# Forms of a tile by whether it has all of its rows, and whole vectors.
_FORMS = {(True, True): "full", (True, False): "last", (False, True): "short", (False, False): "corner"}


class Product(Panels):
    """Writes the schedule that the cost model chose."""

    def __init__(
        self,
        emitter: Emitter,
        region: ContractionRegion,
        aliases: Mapping[object, object],
        width: int,
        lasting: Collection[object],
    ) -> None:
        problem = describe(region, aliases, width, lasting)
        self.choice: Choice[Candidate] = choice.choose(problem)
        best: Candidate = self.choice.best
        self.best = best
        self.original = region
        self.turned = turned(region) if best.swapped else region
        split = split_axis(self.turned.shape.inner)
        steps = chunk_of(self.turned, split, choice.chunk(problem, best))
        super().__init__(emitter, self.turned, split, steps, best.rows, best.cols)
        self.lhs, self.rhs = operands(self.turned)
        self.blocks = choice.blocks(problem, best, static(region.extent("batch")))
        if self.lhs is None and self.depends_on_batch():
            # All rows of lhs are packed once per index of the batch.
            self.blocks = Blocks(0, 0)
        # A copy of lhs holds panels for each index of the batch that tells them apart.
        apart = self.best.copies_lhs and self.depends_on_batch()
        self.batches: Dim = region.extent("batch") if apart else 1
        self.once = self._fits_one_chunk()
        home = next((s for s in region.stores if holds_sum(s, region, aliases)), None)
        self.home = home if not best.swapped or self.m == 1 else None
        local = expr.local(region.node, region.node.type.dtype)
        self.plain = self.home is not None and len(region.stores) == 1 and region.stores[0].value is local

    def _fits_one_chunk(self) -> bool:
        before = dims.product(self.region.shape.inner[: self.split])
        extent = self.region.shape.inner[self.split]
        return before == 1 and isinstance(extent, int) and extent <= self.chunk

    # -- stages
    def write(self) -> list[Stage]:
        """Write the whole kernel; return its stages."""
        emitter = self.emitter
        units = self._units()
        around = self.original.extent("batch")
        work = dims.floordiv(around * self._cycles() * _CYCLE, 1000)
        preparing = [self._pack_rhs] if self.best.packing == "once" else []
        if self.best.copies_lhs or (self.lhs is None and not self.depends_on_batch()):
            preparing.append(self._pack_lhs)
        self.shared = ""
        if not preparing:
            self._compute(units)
            return [Stage(units, work)]
        emitter.params.setdefault("stage", "int64")
        stages: list[Stage] = []
        for number, write in enumerate(preparing):
            emitter.open(f"if stage == {number}:", conditional=True)
            stages.append(write())
            emitter.close()
        emitter.open(f"if stage == {len(stages)}:", conditional=True)
        self._compute(units)
        emitter.close()
        return [*stages, Stage(units, work)]

    def _pack_lhs(self) -> Stage:
        """Write the stage that packs lhs into panels that all blocks share."""
        emitter, memory = self.emitter, self.lhs_panels(self.batches, shared=True)
        self.shared = emitter.buffers[memory].name
        count = self.batches * self.m * self.k
        if self.lhs is not None:
            units = self.copy_lhs(self.lhs, self.batches, self.shared)
            return preparation(emitter, units, dims.floordiv(count, 5), self.region.lhs, (memory,))
        first, last = emitter.part(emitter.size(self.m), self.rows)
        self.pack_lhs(first, last, self.shared)
        panels = dims.floordiv(self.m + (self.rows - 1), self.rows)
        return preparation(emitter, panels, count, self.region.lhs, (memory,))

    def _pack_rhs(self) -> Stage:
        """Write the stage that packs rhs, for all blocks and calls."""
        emitter, memory = self.emitter, self.rhs_panels()
        strips = dims.floordiv(self.n + (self.cols - 1), self.cols)
        first, last = emitter.part(emitter.size(strips))
        self.kept = emitter.buffers[memory].name
        self.pack_rhs(first, last, self.kept)
        return preparation(emitter, strips, self.n * self.k, self.region.rhs, (memory,))

    def _cycles(self) -> Dim:
        """Return the estimate, scaled to sizes that were not known when it was made."""
        total: Dim = self.best.cycles
        for extent, assumed in (
            (self.m, choice.TYPICAL),
            (self.n, choice.TYPICAL),
            (self.k, choice.TYPICAL_INNER),
        ):
            if not isinstance(extent, int):
                total = dims.floordiv(total * extent, assumed)
        return total

    def _count(self, extent: Dim, size: int) -> Dim:
        return dims.floordiv(extent + (size - 1), size) if size else 1

    def _units(self) -> Dim:
        around = self.original.extent("batch")
        return around * self._count(self.m, self.blocks.rows) * self._count(self.n, self.blocks.cols)

    # -- the loops around the tile
    def _compute(self, units: Dim) -> None:
        emitter, region, spec = self.emitter, self.region, self.region.shape
        self._prepare()
        first, last = emitter.part(emitter.size(units))
        unit = emitter.fresh("u")
        emitter.open(f"for {unit} in range({first}, {last}):", live(region.batch))
        down, across = self._count(self.m, self.blocks.rows), self._count(self.n, self.blocks.cols)
        image = self._divided(unit, down * across)
        self.unravel(image, region.batch, spec.batch)
        self.base = emitter.fresh("o")
        position = self.flat(region.batch, spec.batch)
        emitter.line(f"{self.base} = ({position}) * {emitter.size(self.m * self.n)}")
        self.row_span = self._span(self._divided(unit, across, down), self.m, self.blocks.rows)
        self.col_span = self._span(self._divided(unit, 1, across), self.n, self.blocks.cols)
        self.panel = self.shared
        if self.lhs is None and not self.shared:
            self.panel = emitter.buffers[self.lhs_panels(1, shared=False)].name
            self.pack_lhs("0", emitter.size(self.m), self.panel)
        self._chunks()
        emitter.close()

    def _divided(self, unit: str, stride: Dim, extent: Dim | None = None) -> str:
        """Return one digit of a unit's number, written in mixed radix."""
        if extent == 1:
            return "0"
        text = unit if stride == 1 else f"{unit} // {self.emitter.size(stride)}"
        if extent is not None:
            text = digit(self.emitter, text, extent)
        name = self.emitter.fresh("x")
        self.emitter.line(f"{name} = {text}")
        return name

    def _span(self, number: str, extent: Dim, size: int) -> tuple[str, str]:
        """Return the bounds of a block along one axis."""
        total = self.emitter.size(extent)
        if not size or (isinstance(extent, int) and extent <= size):
            return "0", total
        first, last = self.emitter.fresh("lo"), self.emitter.fresh("hi")
        self.emitter.line(f"{first} = {number} * {size}")
        self.emitter.line(f"{last} = min({total}, {first} + {size})")
        return first, last

    def _prepare(self) -> None:
        """Choose where unfinished sums live: in a result, or in working memory."""
        emitter, dtype = self.emitter, self.region.dtype
        if self.home is not None and (self.plain or not self.once):
            self.sums = emitter.buffers["out", self.home.node].name
            self.in_place = True
            return
        self.in_place = False
        width = dims.floordiv(self.n + (self.cols - 1), self.cols) * self.cols
        block = (self.blocks.rows or self.m, self.blocks.cols or width)
        rows, cols = (self.rows, self.cols) if self.once else block
        self.sum_row: Dim = cols
        self.sums = emitter.buffer(Scratch(rows * cols, dtype), (rows * cols,), dtype).name

    def _sum_at(self, m: str, strip: str) -> tuple[str, str]:
        """Return the offset of the tile's sums, and the distance of their rows."""
        if self.in_place:
            pitch = self.emitter.size(self.n)
            return f"{self.base} + {m} * {pitch} + {strip}", pitch
        pitch = self.emitter.size(self.sum_row)
        if self.once:
            return "0", pitch
        return f"({m} - {self.row_span[0]}) * {pitch} + {strip} - {self.col_span[0]}", pitch

    def _chunks(self) -> None:
        emitter, region, spec = self.emitter, self.region, self.region.shape
        around, outer = region.inner[: self.split], spec.inner[: self.split]
        axis, extent = region.inner[self.split], spec.inner[self.split]
        size = emitter.size(extent)
        opened = 0
        positions: list[tuple[str, str]] = []
        for variable, count in zip(around, outer, strict=True):
            if variable.kind == "index":
                name = emitter.fresh("i")
                # An empty axis still takes one turn, which stores sums of nothing.
                emitter.open(f"for {name} in range(max(1, {emitter.size(count)})):", [variable])
                emitter.name(variable, name)
                positions.append((name, emitter.size(count)))
                opened += 1
        defines = [axis] if axis.kind == "index" else []
        first, taken, add = emitter.fresh("f"), emitter.fresh("c"), emitter.fresh("a")
        emitter.open(f"for {first} in range(0, max(1, {size}), {self.chunk}):", defines)
        empty = " or ".join(f"{emitter.size(d)} == 0" for d in spec.inner if not isinstance(d, int) or d == 0)
        left = f"min({self.chunk}, {size} - {first})"
        emitter.line(f"{taken} = 0 if {empty} else {left}" if empty else f"{taken} = {left}")
        started = " or ".join(f"{p} > 0" for p in (first, *(name for name, _ in positions)))
        emitter.line(f"{add} = 0" if self.once else f"{add} = 1 if {started} else 0")
        ends = [f"{first} + {self.chunk} >= {size}", *(f"{name} + 1 >= {n}" for name, n in positions)]
        self.last = "" if self.once else " and ".join(ends)
        self._strips(first, taken, add)
        self.close(opened + 1)

    def _strips(self, first: str, taken: str, add: str) -> None:
        emitter, cols = self.emitter, self.cols
        low, high = self.col_span
        steps = emitter.fresh("l")
        emitter.line(f"{steps} = {taken} * {emitter.size(self.rest)}")
        self.strip = emitter.fresh("n")
        emitter.open(f"for {self.strip} in range({low}, {high}, {cols}):")
        self.strip_width = self._width(high, self.strip, self.n, cols)
        b, b_step = self._rhs(first, taken, steps)
        rows = self.rows
        m = emitter.fresh("m")
        emitter.open(f"for {m} in range({self.row_span[0]}, {self.row_span[1]}, {rows}):")
        height = self._width(self.row_span[1], m, self.m, rows)
        a, a_row, a_k = self._lhs(m, first)
        at, pitch = self._sum_at(m, self.strip)
        c = f"addr({self.sums}, {at})"
        if self.best.form == "sweep":
            extent = (steps, self.strip_width)
            sweep.write(emitter, self.short, (a, a_k), (b, b_step), c, extent, add)
        else:
            sizes = f"{steps}, {height}, {self.strip_width}, {add}"
            strides = f"1, {sizes}" if self.best.form == "dot" else sizes
            left = a_row if self.best.form == "dot" else f"{a_row}, {a_k}"
            ahead = f", {self._ahead(m)}" if self.looks_ahead else ""
            self._calls(f"({a}, {left}, {b}, {b_step}, {c}, {pitch}, {strides}{ahead})", height)
        self._epilogue(m, height)
        self.close(2)

    @property
    def looks_ahead(self) -> bool:
        """Whether tiles ask for what is multiplied next, the panel behind theirs: where several share one."""
        m = static(self.m)
        return self.best.packing == "once" and self.best.form == "tile" and (m is None or m > self.rows)

    def _ahead(self, m: str) -> str:
        """Return how much further on the line lies that a tile asks for with each step of its panel."""
        panel, number = f"{self.emitter.size(self.k)} * {self.cols}", f"{m} // {self.rows}"
        return tile_ahead.next_line(panel, number, self.cols, self.region.dtype.itemsize)

    def _width(self, end: str, start: str, extent: Dim, tile: int) -> str:
        """Name how much of a tile is left from `start` to `end`."""
        if isinstance(extent, int) and extent % tile == 0:
            return str(tile)
        name = self.emitter.fresh("w")
        self.emitter.line(f"{name} = min({tile}, {end} - {start})")
        return name

    def _calls(self, call: str, height: str) -> None:
        """Call the tile of the right size."""
        emitter = self.emitter
        downs = self._variants(self.m, self.rows, height)
        acrosses = self._variants(self.n, self.cols, self.strip_width)
        for k, (across, width, whole) in enumerate(acrosses):
            self._branch(across, k, len(acrosses))
            for j, (down, rows, full) in enumerate(downs):
                self._branch(down, j, len(downs))
                emitter.line(f"{self._tile((rows, full), (width, whole))}{call}")
                self._unbranch(len(downs))
            self._unbranch(len(acrosses))

    def _branch(self, test: str, position: int, count: int) -> None:
        if count > 1:
            self.emitter.open(f"if {test}:" if position == 0 else "else:", conditional=True)

    def _unbranch(self, count: int) -> None:
        if count > 1:
            self.emitter.close()

    def _variants(self, extent: Dim, tile: int, size: str) -> list[tuple[str, int, bool]]:
        """Return the sizes a tile has along an axis: a condition, the size, whether all of it counts."""
        test = f"{size} == {tile}"
        if not isinstance(extent, int):
            return [(test, tile, True), ("", tile, False)]
        rest = extent % tile
        found = [(test, tile, True)] if extent >= tile else []
        return [*found, ("", rest, True)] if rest or not found else found

    def _tile(self, down: tuple[int, bool], across: tuple[int, bool]) -> str:
        """Return the name of a tile of a size along each axis, which may be the largest that is possible."""
        lanes, short, (rows, all_rows), (cols, all_cols) = self.best.lanes, self.short, down, across
        if self.best.form == "dot":
            form = "full" if all_rows and all_cols else "edge"
            return DotTile(short, max(rows, 1), max(cols, 1), lanes).name(form)
        form = _FORMS[all_rows, cols % lanes == 0] if all_cols else "edge"
        tile = Tile(short, max(rows, 1), max(1, -(-cols // lanes)), lanes)
        return tile.name(form + "_ahead" * self.looks_ahead)

    # -- operands
    def _begin(self, first: str) -> str:
        """Return the number of the first inner step of the current chunk, as text."""
        emitter, inner = self.emitter, self.region.shape.inner
        before = self.flat(self.region.inner[: self.split], inner[: self.split])
        return f"(({before}) * {emitter.size(inner[self.split])} + {first}) * {emitter.size(self.rest)}"

    def _lhs(self, m: str, first: str) -> tuple[str, str, str]:
        """Return pointer, row stride and inner stride of lhs at row `m` of the current chunk."""
        emitter, region, spec = self.emitter, self.region, self.region.shape
        rows = self.rows
        if self.lhs is None or self.best.copies_lhs:
            panel = f"({m} // {rows}) * {emitter.size(self.lhs_pitch)}"
            if self.batches != 1:
                panel += f" + ({self.flat(region.batch, spec.batch)}) * {emitter.size(self.lhs_size)}"
            return f"addr({self.panel}, {panel} + ({self._begin(first)}) * {rows})", "1", str(rows)
        a_row, a_k = self._steps(self.lhs, region.rows, spec.rows)
        name, at = self.origin(self.lhs, region.rows, first)
        return f"addr({name}, {at} + {m} * {a_row})", a_row, a_k

    def _rhs(self, first: str, taken: str, steps: str) -> tuple[str, str]:
        """Return pointer and step of rhs at the current strip and chunk, packing it where that pays."""
        region, spec = self.region, self.region.shape
        packing, form = self.best.packing, self.best.form
        if self.rhs is None:
            panel = self.rhs_panel()
            self.column_tables()
            self.gather(panel, first, taken)
            return f"addr({panel}, 0)", str(self.cols)
        if packing == "once":
            at = f"({self.strip} // {self.cols}) * {self.emitter.size(self.k)} + {self._begin(first)}"
            return f"addr({self.kept}, ({at}) * {self.cols})", str(self.cols)
        own, inner = self._steps(self.rhs, region.cols, spec.cols)
        name, at = self.origin(self.rhs, region.cols, first)
        start = f"{at} + {self.strip} * {own}"
        if not packing:
            return f"addr({name}, {start})", own if form == "dot" else inner
        panel = self.rhs_panel(pitched=form == "dot")
        place = self.emitter.fresh("o")
        self.emitter.line(f"{place} = {start}")
        if form == "dot":
            self.across(panel, (name, place), (own, inner), steps)
            return f"addr({panel}, 0)", self.pitch
        if packing == "copy":
            self.copy(panel, (name, place), inner, steps)
        elif packing == "transpose":
            self.transpose(panel, (name, place), own, steps, self.best.lanes)
        else:
            self.column_tables()
            self.gather(panel, first, taken)
        return f"addr({panel}, 0)", str(self.cols)

    def _steps(self, operand: Strided, variables: Index, extents: Shape) -> tuple[str, str]:
        """Return the strides of an operand along its own and the inner axes, as text."""
        inner = operand.flat(self.region.inner[self.split :], self.region.shape.inner[self.split :])
        own = operand.flat(variables, extents)
        return self.emitter.size(own or 0), self.emitter.size(inner or 0)

    # -- epilogue
    def _epilogue(self, m: str, height: str) -> None:
        """Apply what is fused behind the contraction to a finished tile."""
        if self.plain:
            return
        emitter, region, spec = self.emitter, self.region, self.region.shape
        if self.last:
            emitter.open(f"if {self.last}:", conditional=True)
        axes = Loops(emitter, self.original).result_axes()
        cols = {axis: e for axis, e in axes.items() if mentions(e, region.cols)}
        rows = {axis: e for axis, e in axes.items() if axis not in cols}
        at, pitch = self._sum_at(m, self.strip)
        r, row = emitter.fresh("r"), emitter.fresh("x")
        emitter.open(f"for {r} in range({height}):", [*live(region.rows), *rows])
        emitter.line(f"{row} = {m} + {r}")
        self.unravel(row, region.rows, spec.rows)
        self.name_axes(rows)
        sums = emitter.fresh("o")
        emitter.line(f"{sums} = {at} + {r} * {pitch}")
        place = self._placer(row)
        test = f"{self.strip_width} == {self.cols}"
        if self.strip_width != str(self.cols):
            emitter.open(f"if {test}:", conditional=True)
            self._finish_row(str(self.cols), sums, place, cols)
            emitter.close()
            emitter.open("else:", conditional=True)
        self._finish_row(self.strip_width, sums, place, cols)
        self.close((self.strip_width != str(self.cols)) + 1 + bool(self.last))

    def _placer(self, row: str) -> Callable[[str], str]:
        """Return how the position of a result follows from its column."""
        if self.best.swapped:
            pitch = self.emitter.size(self.m)
            return lambda column: f"{self.base} + {column} * {pitch} + {row}"
        start = self.emitter.fresh("o")
        self.emitter.line(f"{start} = {self.base} + {row} * {self.emitter.size(self.n)}")
        return lambda column: f"{start} + {column}"

    def _finish_row(
        self, count: str, sums: str, place: Callable[[str], str], cols: Mapping[Expr, Expr]
    ) -> None:
        """Compute the results of one row of a tile from its sums."""
        emitter, region, spec = self.emitter, self.region, self.region.shape
        j, column, total = emitter.fresh("j"), emitter.fresh("x"), emitter.fresh("t")
        emitter.open(f"for {j} in range({count}):", [*live(region.cols), *cols])
        emitter.line(f"{column} = {self.strip} + {j}")
        if cols and joined.suits(region, cols):
            joined.join(emitter, cols, column)
        else:
            self.unravel(column, region.cols, spec.cols)
            self.name_axes(cols)
        emitter.line(f"{total} = {self.sums}[{sums} + {j}]")
        self.store_results(total, place(column))
        emitter.close()
