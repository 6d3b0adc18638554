"""Sliding planes: convolutions with few channels in each group, such as depthwise ones.

A plane of results is the sum of one plane of the image for each tap, shifted by where the tap lies and
multiplied with its weight.  Parts of the plane stay in registers while all taps are added, in runs of taps
that read one row after the other (`slide_runs`)::

    for each image and group of channels, or several if they are small:
        copy the planes of the image with their padding, in classes if there is a stride
        for each block of rows:
            tiles                         sums of all taps
            epilogue                      along all positions of the block as one axis, where it lets them

With stride `s` neighbouring windows read positions `s` apart.  The copy holds these side by
side: position `p` of an axis lies in class ``p % s`` at ``p // s``, so that every tap reads
its class from some element on, without a gap.
"""

from __future__ import annotations

import math

from graphc import dims
from graphc.codegen import joined, tile_classes
from graphc.codegen.contraction_loops import Loops, live, mentions
from graphc.codegen.emitter import Emitter, Scratch
from graphc.codegen.loops import Stage, preparation
from graphc.codegen.slide_plan import SHARED, SUMS, Plan, planes_of, weights_in_place
from graphc.dims import Dim
from graphc.lower import expr
from graphc.lower.contraction import ContractionRegion
from graphc.lower.expr import Expr
from graphc.lower.rewrite import substitute
from graphc.types import INT64

# Images and groups that are computed together, at most, so that stores are over before they are loaded again.
TOGETHER = 16


class Slides(Loops):
    """Writes the schedule."""

    def __init__(self, emitter: Emitter, region: ContractionRegion, plan: Plan) -> None:
        super().__init__(emitter, region)
        self.plan, self.tile, self.layout = plan, plan.tile, plan.layout
        self.m, self.k = (int(str(region.extent(g))) for g in ("rows", "inner"))
        self.source = emitter.buffers[plan.walk.load.data]
        self.columns = live(region.cols)
        *_, self.height, self.length = (1, *plan.lines)
        self.n = math.prod(plan.lines)
        # Rows of results of a class each.
        *_, self.down, _ = (1, 1, *plan.phases)
        self.rows, self.row = planes_of(plan.lines, plan.phases)
        block = min(self.rows, max(self.tile.rows, SUMS // (self.m * self.length * self.down)))
        self.block = max(self.tile.rows, -(-self.rows // -(-self.rows // block)))
        # Short rows run over into the next one.
        self.slack = self.tile.lanes if self.row < self.tile.lanes else 0
        self.plane = self.block * self.down * self.length + self.slack
        self.together = self.units_together()

    def write(self, work: Dim) -> list[Stage]:
        """Write the kernel's body; return its stages."""
        emitter, region = self.emitter, self.region
        emitter.params.setdefault("stage", "int64")
        tables = self.tables()
        emitter.open("if stage == 0:", conditional=True)
        self.fill_steps()
        emitter.close()
        units, together = region.extent("batch"), self.together
        emitter.open("if stage == 1:", conditional=True)
        self.allocate()
        first, last = emitter.part(emitter.size(units), together)
        start, count = emitter.fresh("u"), emitter.fresh("c")
        emitter.open(f"for {start} in range({first}, {last}, {together}):")
        emitter.line(f"{count} = min({together}, {last} - {start})")
        if self.plan.copies:
            self.copy_planes(self.open_batch(start, count))
            emitter.close()
        self.sums_of_units(start, count)
        self.close(2)
        stages = [preparation(emitter, 1, self.k, None, tables)]
        return [*stages, Stage(dims.floordiv(units + (together - 1), together), work)]

    def units_together(self) -> int:
        """Return how many images' planes are copied, then added up, then stored.

        What was stored a moment ago, in other pieces than it is loaded in, is waited for.
        """
        if self.block < self.rows or len(self.columns) > 2:
            return 1
        groups = self.region.extent("batch")
        most = max(1, groups // (2 * SHARED)) if isinstance(groups, int) else TOGETHER
        return max(1, min(TOGETHER, most, SUMS // (self.layout.size + self.m * self.plane)))

    def sums_of_units(self, start: str, count: str) -> None:
        """Compute all results of some images and groups."""
        unit = self.open_batch(start, count)
        origin = f"{unit} * {self.layout.size}" if self.plan.copies else self.in_place()
        weights = self.weights()
        if self.together > 1:
            self.tiles(origin, "0", weights, unit)
            self.close(1)
            unit = self.open_batch(start, count)
            self.results("0", "0", "0", unit)
            self.close(1)
            return
        opened, place, done = self.open_planes()
        self.blocks(f"{origin} + {place}", weights, done)
        self.close(opened + 1)

    def allocate(self) -> None:
        """Name the working memory: sums, and copies where needed, whose margins are zero from the start."""
        emitter = self.emitter
        self.sums = self.memory(self.together * self.m * self.plane)
        self.source_name = self.source.name
        if self.plan.copies:
            size = self.together * self.layout.size + self.tile.lanes
            self.source_name = self.memory(size)
            i = emitter.fresh("i")
            emitter.open(f"for {i} in range({size}):")
            emitter.line(f"{self.source_name}[{i}] = {self.tile.dtype}(0.0)")
            emitter.close()
        if weights_in_place(self.region) is None:
            self.panel = self.memory(self.m * self.k)

    def memory(self, count: int) -> str:
        """Return the name of so many elements of working memory."""
        dtype = self.region.dtype
        return self.emitter.buffer(Scratch(count, dtype), (count,), dtype).name

    # -- operands
    def tables(self) -> list[Scratch]:
        """Name the tables that are filled beforehand; return their memory."""
        count = 2 * self.plan.runs.count
        steps = Scratch(count, INT64, shared=True)
        self.steps = self.emitter.buffer(steps, (count,), INT64).name
        return [steps]

    def fill_steps(self) -> None:
        """Tabulate how far each run shifts the planes, and where its weights begin."""
        emitter, region, axes = self.emitter, self.region, self.plan.walk.axes
        number = emitter.fresh("q")
        emitter.line(f"{number} = 0")
        for tall, taps in self.plan.runs.groups:
            opened = self.open_runs(tall, taps)
            terms: list[str] = []
            for a, axis in enumerate(axes):
                moved = [f"{emitter.operand(v)} * {f}" for v, f in axis.factors.items() if v in region.inner]
                if axis.factors:
                    terms.append(self.layout.place_text(a, " + ".join([str(axis.start), *moved])))
            self.note_run(number, " + ".join(terms))
            self.close(opened)

    def open_runs(self, tall: int, taps: range) -> int:
        """Open loops over runs of one height, at their topmost rows; return how many loops there are."""
        emitter, region, runs = self.emitter, self.region, self.plan.runs
        pairs = zip(region.inner, region.shape.inner, strict=True)
        others = [(v, d) for v, d in pairs if v is not runs.variable]
        opened = 0
        if runs.variable is not None:
            tap, first = emitter.fresh("i"), emitter.fresh("i")
            emitter.open(f"for {tap} in range({taps.start}, {taps.stop}):", [runs.variable])
            emitter.line(f"{first} = {tap} + {(tall - 1) * runs.period if runs.falls else 0}")
            emitter.name(runs.variable, first)
            opened = 1
        return opened + self.open(tuple(v for v, _ in others), tuple(d for _, d in others))

    def note_run(self, number: str, shift: str) -> None:
        """Tabulate the run at the current variables."""
        emitter, region = self.emitter, self.region
        emitter.line(f"{self.steps}[{number} * 2] = {shift}")
        emitter.line(f"{self.steps}[{number} * 2 + 1] = {self.flat(region.inner, region.shape.inner)}")
        emitter.line(f"{number} = {number} + 1")

    def in_place(self) -> str:
        """Return where the planes of this unit begin in the images, as text."""
        text = "0"
        for a, size in enumerate(self.source.shape):
            place = self.lowest(a)
            text = place if text == "0" else f"({text}) * {self.emitter.size(size)} + {place}"
        return text

    def lowest(self, a: int) -> str:
        """Return the smallest index read on an axis by this unit, as text."""
        axis = self.plan.walk.axes[a]
        return f"({self.emitter.text(axis.batch)} + {axis.low if axis.factors else axis.constant})"

    def weights(self) -> tuple[str, str, str]:
        """Return where the weights of this unit begin, and the strides of rows and of steps."""
        emitter, region, spec = self.emitter, self.region, self.region.shape
        found = weights_in_place(region)
        if found is not None:
            zeros = dict.fromkeys((*live(region.rows), *live(region.inner)), expr.ZERO)
            position = tuple(substitute(p, zeros) for p in found.load.args)
            for p in position:
                emitter.text(p)
            buffer, start = emitter.buffers[found.load.data], emitter.fresh("o")
            emitter.line(f"{start} = {emitter.offset(buffer, position)}")
            row, step = found.flat(region.rows, spec.rows) or 0, found.flat(region.inner, spec.inner) or 0
            return f"addr({buffer.name}, {start}", emitter.size(row), emitter.size(step)
        opened = self.open((*region.rows, *region.inner), (*spec.rows, *spec.inner))
        place = f"({self.flat(region.rows, spec.rows)}) * {self.k} + {self.flat(region.inner, spec.inner)}"
        value = emitter.text(region.lhs)
        emitter.line(f"{self.panel}[{place}] = {value}")
        self.close(opened)
        return f"addr({self.panel}, 0", str(self.k), "1"

    def copy_planes(self, unit: str) -> None:
        """Copy the planes that one unit reads, class by class, but for the margins."""
        emitter, layout, walk = self.emitter, self.layout, self.plan.walk
        *around, last = range(len(walk.axes))
        inside = [self.inside(a) for a in range(len(walk.axes))]
        if any(low >= high for low, high in inside):
            return
        target, flat, opened = f"{unit} * {layout.size}", "0", 0
        for a in around:
            low, high = inside[a]
            index = str(low)
            if high - low > 1:
                index = emitter.fresh("i")
                emitter.open(f"for {index} in range({low}, {high}):")
                opened += 1
            target += f" + {layout.place_text(a, index)}" if high - low > 1 or low else ""
            at = f"{index} + {self.lowest(a)}"
            flat = at if flat == "0" else f"({flat}) * {emitter.size(self.source.shape[a])} + {at}"
        low, high = inside[last]
        row, to = emitter.fresh("o"), emitter.fresh("o")
        flat = f"({flat}) * {emitter.size(self.source.shape[last])}" if around else "0"
        emitter.line(f"{row} = {flat} + {low} + {self.lowest(last)}")
        emitter.line(f"{to} = {target}")
        stride = layout.strides[last]
        firsts = ", ".join(str(layout.place(last, low + r)) for r in range(stride))
        copy = tile_classes.name(self.tile.dtype, stride, self.tile.lanes)
        pointers = f"addr({self.source.name}, {row}), addr({self.source_name}, {to})"
        emitter.line(f"{copy}({pointers}, {high - low}, {firsts})")
        self.close(opened)

    def inside(self, a: int) -> tuple[int, int]:
        """Return from where to where the indices read on an axis lie within it."""
        axis = self.plan.walk.axes[a]
        if not axis.factors:
            return 0, 1
        extent, low = int(str(axis.extent)), int(str(axis.low))
        if axis.batch is not expr.ZERO:
            # Such an axis is never read outside.
            return 0, extent
        size = int(str(self.source.shape[a]))
        first = min(extent, max(0, -low))
        return first, max(first, min(extent, size - low))

    # -- sums
    def open_planes(self) -> tuple[int, str, str]:
        """Open loops over the axes of columns around planes.

        Returns how many there are, where the planes begin, and how many planes of results are before.
        """
        variables = tuple(self.columns[:-2])
        sizes = self.plan.lines[:-2]
        opened = self.open(variables, sizes)
        terms = [f"{self.emitter.operand(v)} * {self.pitch(v)}" for v in variables]
        return opened, " + ".join(terms) or "0", self.flat(variables, sizes)

    def pitch(self, variable: Expr) -> int:
        """Return how far one step of a column variable moves in the planes."""
        return next(self.layout.places[a] for a, x in enumerate(self.plan.walk.axes) if variable in x.factors)

    def blocks(self, origin: str, weights: tuple[str, str, str], done: str) -> None:
        """Compute the planes of this unit, a block of rows at a time."""
        emitter = self.emitter
        first, at, base = emitter.fresh("y"), emitter.fresh("y"), emitter.fresh("o")
        emitter.line(f"{base} = {origin}")
        emitter.open(f"for {first} in range(0, {self.rows}, {self.block}):")
        # The last block, and the last tile along each axis, overlap those before and agree with them.
        emitter.line(f"{at} = min({first}, {self.rows - self.block})")
        self.tiles(base, at, weights, "0")
        rows = (first, at) if self.down == 1 else (f"{first} * {self.down}", f"{at} * {self.down}")
        self.results(*rows, done, "0")
        emitter.close()

    def tiles(self, base: str, first: str, weights: tuple[str, str, str], unit: str) -> None:
        """Compute a block of rows of each plane."""
        sums = f"addr({self.sums}, {unit} * {self.m * self.plane}"
        counts = [str(len(taps) * self.plan.runs.others) for _, taps in self.plan.runs.groups]
        self.add_up(base, first, weights, ("0", counts), (sums, self.plane))

    def add_up(
        self,
        base: str,
        first: str,
        weights: tuple[str, str, str],
        runs: tuple[str, list[str]],
        target: tuple[str, int],
    ) -> None:
        """Add up some runs of a block of rows of each plane.

        `runs` are where they begin in the table and the number of each height, `target` is a call of
        ``addr`` that an offset is appended to, and the distance of two planes there.
        """
        emitter, tile, width = self.emitter, self.tile, self.tile.vectors * self.tile.lanes
        p, y, x = (
            self.open_tiles(name, extent, size)
            for name, extent, size in zip(
                "myx", (self.m, self.block, self.row), (tile.planes, tile.rows, width), strict=True
            )
        )
        start, row, step = weights
        pitch = self.pitch(self.columns[-2]) if len(self.columns) > 1 else 0
        a = f"{start} + {p} * {row}), {row}, {step}"
        planes = f"addr({self.source_name}, {base} + ({first} + {y}) * {pitch} + {x}), {pitch}"
        sums = f"{target[0]} + {p} * {target[1]} + {y} * {self.row} + {x})"
        last = max(0, min(self.row, width) - tile.lanes)
        spacing = f"{step} * {self.plan.runs.apart}"
        sizes = ", ".join([str(target[1]), str(self.row), str(last), *runs[1]])
        emitter.line(f"{tile.name}({a}, {planes}, addr({self.steps}, {runs[0]}), {spacing}, {sums}, {sizes})")
        self.close(3)

    def open_tiles(self, prefix: str, extent: int, size: int) -> str:
        """Open the loop over the tiles along one axis; return where the current one begins."""
        emitter, name, at = self.emitter, self.emitter.fresh(prefix), self.emitter.fresh(prefix)
        emitter.open(f"for {name} in range(0, {extent}, {size}):")
        emitter.line(f"{at} = min({name}, {max(0, extent - size)})")
        return at

    # -- results
    def results(self, first: str, at: str, done: str, unit: str) -> None:
        """Apply the epilogue to the rows of a finished block from `first` on, and store their results."""
        emitter, region, spec = self.emitter, self.region, self.region.shape
        axes = self.result_axes()
        cols = {axis: e for axis, e in axes.items() if mentions(e, region.cols)}
        rows = {axis: e for axis, e in axes.items() if axis not in cols}
        taken, m, start, sums = (emitter.fresh(p) for p in "hmoo")
        emitter.line(f"{taken} = min({self.block * self.down}, {self.height} - {first})")
        emitter.open(f"for {m} in range({self.m}):", [*live(region.rows), *rows])
        self.unravel(m, region.rows, spec.rows)
        self.name_axes(rows)
        group = self.flat(region.batch, spec.batch)
        line = f"({done}) * {self.height} + {first}"
        emitter.line(f"{start} = (({group}) * {self.m} + {m}) * {self.n}")
        emitter.line(f"{sums} = ({unit} * {self.m} + {m}) * {self.plane} + ({first} - {at}) * {self.length}")
        if joined.suits(region, cols):
            self.store_joined(cols, (start, line), sums, taken)
        else:
            self.store_lines(cols, (start, line), sums, (first, taken))
        emitter.close()

    def store_joined(self, cols: dict[Expr, Expr], place: tuple[str, str], sums: str, taken: str) -> None:
        """Store rows of one plane, all of their positions as one axis."""
        emitter, (start, line) = self.emitter, place
        before, q, at, total = (emitter.fresh(p) for p in "oqxt")
        emitter.line(f"{before} = ({line}) * {self.length}")
        emitter.open(f"for {q} in range({taken} * {self.length}):", [*cols])
        emitter.line(f"{at} = {before} + {q}")
        joined.join(emitter, cols, at)
        emitter.line(f"{total} = {self.sums}[{sums} + {q}]")
        self.store_results(total, f"{start} + {at}")
        emitter.close()

    def store_lines(
        self, cols: dict[Expr, Expr], place: tuple[str, str], sums: str, rows: tuple[str, str]
    ) -> None:
        """Store rows of one plane line by line."""
        emitter, (start, line), (first, taken) = self.emitter, place, rows
        y, row, x, before, total = (emitter.fresh(p) for p in "yyxot")
        emitter.open(f"for {y} in range({taken}):", self.columns[-2:-1])
        emitter.line(f"{row} = {first} + {y}")
        if len(self.columns) > 1:
            emitter.name(self.columns[-2], row)
        emitter.line(f"{before} = {start} + ({line} + {y}) * {self.length}")
        emitter.open(f"for {x} in range({self.length}):", [self.columns[-1], *cols])
        emitter.name(self.columns[-1], x)
        self.name_axes(cols)
        emitter.line(f"{total} = {self.sums}[{sums} + {y} * {self.length} + {x}]")
        self.store_results(total, f"{before} + {x}")
        self.close(2)
