"""Sums over images by gathering tiles: the gradient of a convolution with respect to weights.

Rows of the tile are taps of channels of the images, its columns channels of the result's
gradient, which is packed chunk by chunk.  The result itself holds the unfinished sums::

    for each group of images:
        copy images with their padding
        for each strip of channels:
            for each chunk of positions:
                pack the result's gradient
                for each tile of weights:
                    weights += images @ gradient
    epilogue
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc import dims
from graphc.codegen import joined
from graphc.codegen.contraction_loops import live
from graphc.codegen.emitter import Emitter, Scratch
from graphc.codegen.gather_operands import Operands
from graphc.codegen.gather_plan import Blocks, Plan
from graphc.codegen.loops import Stage, preparation
from graphc.codegen.problem import holds_sum
from graphc.dims import Dim
from graphc.lower import expr
from graphc.lower.contraction import ContractionRegion

# Units of work that threads share, at least: strips, or ranges of their columns if there are fewer.
UNITS = 4


class Summed(Operands):
    """Sums over images: the gradient of a convolution with respect to weights."""

    def __init__(
        self,
        emitter: Emitter,
        region: ContractionRegion,
        plan: Plan,
        blocks: Blocks,
        aliases: Mapping[object, object],
    ) -> None:
        super().__init__(emitter, region, plan, blocks)
        self.batch = tuple(live(region.batch))
        self.batch_sizes = tuple(
            d for v, d in zip(region.batch, region.shape.batch, strict=True) if v.kind == "index"
        )
        # A range of columns packs the gradient once more, so there are few.
        ranges = max(1, UNITS // self.strips)
        self.range = -(-self.n // (ranges * self.tile.rows)) * self.tile.rows
        self.ranges = -(-self.n // self.range)
        self.home = next((s for s in region.stores if holds_sum(s, region, aliases)), None)

    def write(self, work: Dim) -> list[Stage]:
        """Write the kernel's body; return its stages."""
        emitter = self.emitter
        emitter.params.setdefault("stage", "int64")
        self.make_tables()
        emitter.open("if stage == 0:", conditional=True)
        self.fill_rows()
        self.fill_steps()
        self.fill_places()
        emitter.close()
        tables = preparation(emitter, 1, self.n + 2 * self.chunk, None, self.tables)
        emitter.open("else:", conditional=True)
        units = dims.product(self.batch_sizes) * (1 if self.batch else self.strips * self.ranges)
        self.allocate()
        first, last = emitter.part(emitter.size(units))
        if self.batch:
            number = emitter.fresh("u")
            emitter.open(f"for {number} in range({first}, {last}):", self.batch)
            self.unravel(number, self.batch, self.batch_sizes)
            self.sum_images("0", str(self.strips * self.ranges))
            emitter.close()
        else:
            self.sum_images(first, last)
        emitter.close()
        return [tables, Stage(units, work)]

    def make_tables(self) -> None:
        """Name the tables of rows and steps, and of where each step goes in a panel."""
        super().make_tables()
        self.places = self.table(self.chunk)

    def fill_places(self) -> None:
        """Tabulate where each step of a chunk goes in a panel."""
        emitter, q = self.emitter, self.emitter.fresh("q")
        emitter.open(f"for {q} in range({self.chunk}):")
        emitter.line(f"{self.places}[{q}] = {q} * {self.tile.cols}")
        emitter.close()

    def allocate(self) -> None:
        """Name the working memory: panels, edges, and sums if no result holds them."""
        emitter, tile, dtype = self.emitter, self.tile, self.region.dtype
        self.edge = self.table(tile.rows, shared=False)
        sizes = {"panel": self.chunk * tile.cols, "corner": tile.cols * tile.rows}
        if self.home is None:
            sizes["sums"] = self.m * self.n
        memory = {
            name: emitter.buffer(Scratch(size, dtype, name == "sums" and not self.batch), (size,), dtype).name
            for name, size in sizes.items()
        }
        self.panel, self.corner = memory["panel"], memory["corner"]
        self.sums = memory["sums"] if self.home is None else emitter.buffers["out", self.home.node].name

    def sum_images(self, first: str, last: str) -> None:
        """Compute strips of the result from unit `first` to `last`, each in ranges of its columns."""
        emitter, ranges = self.emitter, self.ranges
        self.base = emitter.fresh("o")
        position = f"({self.flat(self.batch, self.batch_sizes)}) * {self.m * self.n}"
        emitter.line(f"{self.base} = {position if self.home is not None else 0}")
        group = emitter.fresh("g")
        # Without images there is one group of none, which stores zeros.
        emitter.open(f"for {group} in range(max({emitter.size(self.groups)}, 1)):")
        count, source, origin = self.place_images(group)
        strip = emitter.fresh("s")
        emitter.open(f"for {strip} in range({first} // {ranges}, ({last} + {ranges - 1}) // {ranges}):")
        low, high = self.columns(strip, first, last)
        start, taken = emitter.fresh("f"), emitter.fresh("c")
        emitter.open(f"for {start} in range(0, max({count} * {self.k}, 1), {self.chunk}):")
        emitter.line(f"{taken} = min({self.chunk}, {count} * {self.k} - {start})")
        self.pack(group, count, strip, (start, taken))
        add = emitter.fresh("u")
        emitter.line(f"{add} = {group} + {start}")
        r = emitter.fresh("r")
        emitter.open(f"for {r} in range({low}, {high}, {self.tile.rows}):")
        self.one_tile(strip, (r, high), f"addr({source}, {origin}), ", (start, taken, add))
        self.close(4)
        self.results(position, first, last)

    def columns(self, strip: str, first: str, last: str) -> tuple[str, str]:
        """Name the columns of a strip that the units from `first` to `last` compute."""
        emitter, ranges, low, high = (
            self.emitter,
            self.ranges,
            self.emitter.fresh("x"),
            self.emitter.fresh("x"),
        )
        emitter.line(f"{low} = max({first} - {strip} * {ranges}, 0) * {self.range}")
        emitter.line(f"{high} = min(min({last} - {strip} * {ranges}, {ranges}) * {self.range}, {self.n})")
        return low, high

    def pack(self, group: str, count: str, strip: str, chunk: tuple[str, str]) -> None:
        """Pack a chunk of lhs for one strip: several whole images, or a part of one."""
        emitter, (first, taken) = self.emitter, chunk
        image, name = emitter.fresh("i"), emitter.fresh("x")
        variables = [] if self.plan.image is None else [self.plan.image]
        emitter.open(f"for {image} in range({count}):", variables)
        emitter.line(f"{name} = {group} * {self.images} + {image}")
        if self.plan.image is not None:
            emitter.name(self.plan.image, name)
        places, panel = f"addr({self.places}, {image} * {self.k}", f"addr({self.panel}, 0"
        if self.chunk < self.k:
            self.pack_strip(strip, panel, f"{places} - {first}", (first, f"{first} + {taken}"))
        else:
            self.pack_strip(strip, panel, places)
        emitter.close()

    def one_tile(self, strip: str, rows: tuple[str, str], images: str, chunk: tuple[str, str, str]) -> None:
        """Add one tile's sums over a chunk to the result."""
        emitter, tile, (r, high), (first, taken, add) = self.emitter, self.tile, rows, chunk
        at, i, height, width = (emitter.fresh(p) for p in "aihw")
        emitter.line(f"{height} = min({tile.rows}, {high} - {r})")
        emitter.line(f"{width} = min({tile.cols}, {self.m} - {strip} * {tile.cols})")
        place = emitter.fresh("o")
        emitter.line(f"{place} = {self.base} + {strip} * {tile.cols} * {self.n} + {r}")
        emitter.line(f"{at} = addr({self.rows}, {r})")
        call = f"addr({self.steps}, {first}), addr({self.panel}, 0), "
        emitter.open(f"if {height} == {tile.rows} and {width} == {tile.cols}:", conditional=True)
        whole = f"addr({self.sums}, {place}), {self.n}, {taken}, {add}"
        emitter.line(f"{tile.name}({images}{at}, {call}{whole})")
        emitter.close()
        emitter.open("else:", conditional=True)
        emitter.open(f"for {i} in range({tile.rows}):")
        emitter.line(f"{self.edge}[{i}] = {self.rows}[{r} + min({i}, {height} - 1)]")
        emitter.close()
        corner = f"addr({self.corner}, 0), {tile.rows}, {taken}, 0"
        emitter.line(f"{tile.name}({images}addr({self.edge}, 0), {call}{corner})")
        self.add_corner(place, (height, width), add)
        emitter.close()

    def add_corner(self, place: str, size: tuple[str, str], add: str) -> None:
        """Add the part of a tile that lies within the result."""
        emitter, (height, width) = self.emitter, size
        j, i, at, before = (emitter.fresh(p) for p in "jiot")
        emitter.open(f"for {j} in range({width}):")
        emitter.open(f"for {i} in range({height}):")
        emitter.line(f"{at} = {place} + {j} * {self.n} + {i}")
        emitter.line(f"{before} = {self.sums}[{at}] if {add} > 0 else {self.short}(0.0)")
        emitter.line(f"{self.sums}[{at}] = {self.corner}[{j} * {self.tile.rows} + {i}] + {before}")
        self.close(2)

    def results(self, position: str, first: str, last: str) -> None:
        """Apply the epilogue to the finished units."""
        emitter, region = self.emitter, self.region
        local = expr.local(region.node, region.node.type.dtype)
        if self.home is not None and len(region.stores) == 1 and region.stores[0].value is local:
            return
        rows, cols, as_one = self.name_columns()
        strip, m, q, place, total = (emitter.fresh(p) for p in "smqot")
        ranges, width = self.ranges, self.tile.cols
        emitter.open(f"for {strip} in range({first} // {ranges}, ({last} + {ranges - 1}) // {ranges}):")
        low, high = self.columns(strip, first, last)
        end = f"min({self.m}, ({strip} + 1) * {width})"
        emitter.open(f"for {m} in range({strip} * {width}, {end}):", [*live(region.rows), *rows])
        self.unravel(m, region.rows, region.shape.rows)
        self.name_axes(rows)
        emitter.open(f"for {q} in range({low}, {high}):", [*live(region.cols), *cols])
        if as_one:
            joined.join(emitter, cols, q)
        else:
            self.unravel(q, region.cols, region.shape.cols)
            self.name_axes(cols)
        emitter.line(f"{place} = {m} * {self.n} + {q}")
        emitter.line(f"{total} = {self.sums}[{self.base} + {place}]")
        self.store_results(total, f"{position} + {place}")
        self.close(3)
