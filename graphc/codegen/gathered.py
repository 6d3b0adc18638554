"""Convolutions by gathering tiles: positions of images times channels, nothing unrolled in memory.

A block of positions, addressed through two small tables of offsets, is multiplied with packed
panels of weights.  Any stride and dilation costs the same, no position is computed in vain,
and a block may span several small images::

    pack weights
    copy images with their padding        a stage of its own, if they are few
    for each group of images:
        copy them here, if they are many
        for each block of positions:
            for each strip of channels:
                for each chunk of inner steps:
                    tiles
                epilogue

The adjoint of a strided convolution splits positions into classes by their remainder: each
reads its own taps only.
"""

from __future__ import annotations

from graphc import dims
from graphc.codegen import joined, tile_ahead
from graphc.codegen.contraction_loops import live, mentions
from graphc.codegen.emitter import Emitter, Scratch
from graphc.codegen.gather_operands import Operands
from graphc.codegen.gather_plan import BLOCK, Blocks, Plan, even
from graphc.codegen.loops import Stage, preparation
from graphc.dims import Dim
from graphc.lower.contraction import ContractionRegion
from graphc.lower.expr import Expr

# Elements of the copies of all images, up to which they are made before anything is computed: every image is
# copied once, where each block that reads it would make a copy of its own.  Of many images, few blocks share
# one, and their copies should stay in the L2 cache.
SHARED = 1 << 20
# Elements that are copied in a nanosecond.
_COPIED = 8
# Elements of a panel that stays in the L1 cache, and how many rows before its use an image is asked for then.
SMALL, ONWARD = 1 << 12, 128
# Elements between two columns of sums beyond their rows, so that columns do not collide in a cache set.
STAGGER = 16


class Gathered(Operands):
    """Convolutions and their adjoints with respect to images."""

    def __init__(self, emitter: Emitter, region: ContractionRegion, plan: Plan, blocks: Blocks) -> None:
        super().__init__(emitter, region, plan, blocks)
        spec = region.shape
        pairs = [(v, d) for v, d in zip(region.batch, spec.batch, strict=True) if v is not plan.image]
        self.batch = tuple(v for v, _ in pairs if v.kind == "index")
        self.batch_sizes = tuple(d for v, d in pairs if v.kind == "index")
        known = [(v, d) for v, d in pairs if v.kind == "index" and mentions(region.lhs, (v,))]
        self.packed = tuple(v for v, _ in known)
        self.packed_sizes = tuple(d for _, d in known)
        around, sizes = self.without_image(len(region.inner) - self.run()[0])
        self.around = tuple(live(around))
        self.around_sizes = tuple(d for v, d in zip(around, sizes, strict=True) if v.kind == "index")
        self.axes_of_rows, self.axes_of_cols, as_one = self.name_columns()
        self.flat_columns = as_one and self.phases == 1
        cols = live(region.cols)
        extents = dict(zip(region.cols, spec.cols, strict=True))
        self.last, self.lines = cols[-1], tuple(cols[:-1])
        self.length = int(str(extents[self.last]))
        self.line_sizes = tuple(extents[v] for v in self.lines)
        # Blocks are cut between positions, or between lines of them if the epilogue walks lines.
        unit = 1 if self.flat_columns else -(-self.length // plan.phases.get(self.last, 1))
        self.lines_of_block = even(-(-self.most_rows // unit), max(1, BLOCK // unit))
        if unit == 1:
            self.lines_of_block += -self.lines_of_block % self.tile.rows
        block = min(self.lines_of_block * unit, self.most_rows)
        self.sum_pitch = -(-block // self.tile.rows) * self.tile.rows + STAGGER
        self.blocks = -(-self.most_rows // (self.lines_of_block * unit))

    def write(self, work: Dim) -> list[Stage]:
        """Write the kernel's body; return its stages."""
        emitter, dtype = self.emitter, self.region.dtype
        emitter.params.setdefault("stage", "int64")
        self.make_tables()
        size = dims.product(self.packed_sizes) * (self.strips * self.k * self.tile.cols)
        panels = Scratch(size, dtype, True)
        self.panels = emitter.buffer(panels, (size,), dtype).name
        pieces = dims.product(self.packed_sizes)
        pieces = pieces * (dims.product(self.around_sizes) if self.around else self.strips)
        emitter.open("if stage == 0:", conditional=True)
        self.fill_rows()
        self.fill_steps()
        self.fill_places()
        emitter.close()
        tables = preparation(emitter, 1, self.phases * self.most_rows + 2 * self.k, None, self.tables)
        emitter.open("if stage == 1:", conditional=True)
        self.pack(emitter.size(pieces))
        emitter.close()
        packing = preparation(emitter, pieces, size, self.region.lhs, (panels,))
        copying = self.copy_all()
        units = self.outer * (self.phases * self.blocks * self.strips)
        emitter.open(f"if stage == {2 + len(copying)}:", conditional=True)
        self.compute(emitter.size(units))
        emitter.close()
        return [tables, packing, *copying, Stage(units, work)]

    # -- copies that all blocks share
    @property
    def outer(self) -> Dim:
        """How many groups of images there are, counted for each index of the batch apart from them."""
        return dims.product(self.batch_sizes) * self.groups

    @property
    def most_shared(self) -> int:
        """Groups of images, up to which all of them are copied beforehand."""
        return SHARED // self.copied if self.plan.copies else 0

    def copy_all(self) -> list[Stage]:
        """Write the stage that copies all images with their padding, if there may be few enough."""
        emitter, outer, most = self.emitter, self.outer, self.most_shared
        if not most or (isinstance(outer, int) and outer > most):
            return []
        size = dims.minimum(outer, most) * self.copied
        memory = Scratch(size, self.region.dtype, True)
        self.all_copies = emitter.buffer(memory, (size,), self.region.dtype).name
        around = self.plan.axes()[:-1]
        lines = self.plan.extent(around[0][0]) if around else 1
        # None where there are too many.
        units = outer * lines * dims.maximum(0, dims.minimum(1, most + 1 - outer))
        emitter.open("if stage == 2:", conditional=True)
        first, last = emitter.part(emitter.size(units))
        unit, number, line, place = (emitter.fresh(p) for p in "uuio")
        emitter.open(f"for {unit} in range({first}, {last}):", self.batch)
        emitter.line(f"{number} = {unit} // {lines}")
        emitter.line(f"{line} = {unit} % {lines}")
        emitter.line(f"{place} = {number} * {self.copied}")
        group = self.split_outer(number)
        self.copy_images(group, self.count_images(group), (self.all_copies, place), line if around else None)
        self.close(2)
        return [Stage(units, dims.floordiv(units * (self.copied // lines), _COPIED))]

    def split_outer(self, outer: str) -> str:
        """Name the variables of the batch from the number of a group; return its number among its images'."""
        emitter = self.emitter
        group, number = emitter.fresh("g"), emitter.fresh("u")
        emitter.line(f"{group} = {outer} % {emitter.size(self.groups)}")
        emitter.line(f"{number} = {outer} // {emitter.size(self.groups)}")
        self.unravel(number, self.batch, self.batch_sizes)
        return group

    def find_images(self, outer: str, group: str) -> tuple[str, str, str]:
        """Return how many images a group has, and buffer and offset of the first, copied here or before."""
        emitter, most = self.emitter, self.most_shared
        if not most or (isinstance(self.outer, int) and self.outer > most):
            return self.place_images(group)
        place = f"{outer} * {self.copied}"
        if isinstance(self.outer, int):
            return self.count_images(group), self.all_copies, place
        count, source = self.count_images(group), emitter.fresh("a")
        emitter.open(f"if {emitter.size(self.outer)} > {most}:", conditional=True)
        own = self.images_buffer()
        self.copy_images(group, count, (own, "0"), None)
        emitter.line(f"{source} = addr({own}, 0)")
        emitter.close()
        emitter.open("else:", conditional=True)
        emitter.line(f"{source} = addr({self.all_copies}, {place})")
        emitter.close()
        return count, source, "0"

    def make_tables(self) -> None:
        """Name the tables of rows and steps, and of where each step of the weights goes in a panel."""
        super().make_tables()
        self.places = self.table(self.k)

    def fill_places(self) -> None:
        """Tabulate where each step of the weights goes in a panel."""

        def note(number: str, residues: dict[Expr, str]) -> None:
            at = self.flat(*self.without_image(len(self.region.inner)))
            self.emitter.line(f"{self.places}[{at}] = {number} * {self.tile.cols}")

        self.each_step(note, False)

    def pack(self, units: str) -> None:
        """Pack the weights."""
        emitter, cols, places = self.emitter, self.tile.cols, self.places
        first, last = emitter.part(units)
        unit, strip, base, number = (emitter.fresh(p) for p in "usou")
        emitter.open(f"for {unit} in range({first}, {last}):", (*self.packed, *self.around))
        if self.around:
            # Run by run, as the weights lie in memory, each into all strips.
            self.unravel(unit, (*self.packed, *self.around), (*self.packed_sizes, *self.around_sizes))
            emitter.open(f"for {strip} in range({self.strips}):")
        else:
            emitter.line(f"{strip} = {unit} % {self.strips}")
            emitter.line(f"{number} = {unit} // {self.strips}")
            self.unravel(number, self.packed, self.packed_sizes)
        batch = self.flat(self.packed, self.packed_sizes)
        emitter.line(f"{base} = (({batch}) * {self.strips} + {strip}) * {self.k * cols}")
        self.pack_run(strip, f"addr({self.panels}, {base}", f"addr({places}, 0", None)
        self.close(2 if self.around else 1)

    def compute(self, units: str) -> None:
        """Compute this call's share of blocks of positions times strips of channels."""
        emitter, per_group = self.emitter, self.phases * self.blocks * self.strips
        self.edge = self.table(self.tile.rows, shared=False)
        count = self.tile.cols * self.sum_pitch
        dtype = self.region.dtype
        self.sums = emitter.buffer(Scratch(count, dtype), (count,), dtype).name
        first, last = emitter.part(units)
        outer, outer_last = emitter.fresh("u"), emitter.fresh("u")
        emitter.line(f"{outer_last} = ({last} + {per_group - 1}) // {per_group}")
        emitter.open(f"for {outer} in range({first} // {per_group}, {outer_last}):", self.batch)
        group = self.split_outer(outer)
        images, source, base = self.find_images(outer, group)
        low, high, unit = (emitter.fresh(p) for p in "xxu")
        emitter.line(f"{low} = max({first} - {outer} * {per_group}, 0)")
        emitter.line(f"{high} = min({last} - {outer} * {per_group}, {per_group})")
        emitter.open(f"for {unit} in range({low}, {high}):")
        self.one_block(unit, group, images, (source, base))
        emitter.close()
        emitter.close()

    def one_block(self, unit: str, group: str, images: str, source: tuple[str, str]) -> None:
        """Compute one block of positions for one strip of channels."""
        emitter = self.emitter
        strip, phase, start, taken, rows = (emitter.fresh(p) for p in "srqcn")
        emitter.line(f"{strip} = {unit} % {self.strips}")
        emitter.line(f"{phase} = {unit} // {self.strips * self.blocks}")
        residues = self.residues(phase)
        sizes = dict(zip(self.region.cols, self.region.shape.cols, strict=True))
        counts = [self.positions(v, sizes[v], residues) for v in live(self.region.cols)]
        emitter.line(f"{rows} = {' * '.join([images, *counts])}")
        whole = str(self.lines_of_block) if self.flat_columns else f"{self.lines_of_block} * {counts[-1]}"
        emitter.line(f"{start} = {unit} // {self.strips} % {self.blocks} * {whole}")
        # In classes with fewer positions the last blocks may be short or empty.
        emitter.line(f"{taken} = min({whole}, {rows} - {start})")
        emitter.open(f"if {taken} > 0:", conditional=True)
        table = emitter.fresh("q")
        emitter.line(f"{table} = {phase} * {self.most_rows} + {start}")
        self.name_image(group, "0")
        self.tiles(strip, phase, (table, start, taken), source)
        if self.flat_columns:
            self.results_in_row(strip, group, start, taken)
        else:
            self.results_in_lines(strip, group, (start, taken), residues, counts)
        emitter.close()

    def claim_results(self, strip: str, start: str, r: str, last: str) -> None:
        """Have the lines that a tile's results will be written to brought near while it is computed.

        A block writes short pieces of many planes, which no processor foresees.  Each tile asks for as many
        lines as it fills: a line takes the rows of several tiles, each of which asks for some of the planes.
        """
        emitter, tile = self.emitter, self.tile
        if not self.flat_columns or (self.plan.image is not None and self.images > 1):
            return
        for store in self.region.stores:
            if store.part:
                continue
            buffer = emitter.buffers["out", store.node]
            tiles = max(1, tile_ahead.LINE // (buffer.dtype.itemsize * tile.rows))
            count = tile.cols // tiles
            channel, place = emitter.fresh("c"), emitter.fresh("o")
            emitter.open(f"if {last}:", conditional=True)
            emitter.line(f"{channel} = {strip} * {tile.cols} + {r} // {tile.rows} % {tiles} * {count}")
            emitter.line(f"{place} = {self.line_start(channel)} + {start} + {r}")
            claim = tile_ahead.claim(str(buffer.dtype), count)
            emitter.line(f"{claim}(addr({buffer.name}, {place}), {self.n})")
            emitter.close()

    def tiles(self, strip: str, phase: str, rows: tuple[str, str, str], source: tuple[str, str]) -> None:
        """Compute the sums of one block, chunk after chunk of the inner steps."""
        emitter, tile, (table, start, taken) = self.emitter, self.tile, rows
        first, steps, panel = (emitter.fresh(p) for p in "fko")
        emitter.line(f"{first} = {f'{self.firsts}[{phase}]' if self.phases > 1 else 0}")
        end = f"{self.firsts}[{phase} + 1] - {first}" if self.phases > 1 else str(self.k)
        emitter.line(f"{steps} = {end}")
        packed = self.flat(self.packed, self.packed_sizes)
        emitter.line(f"{panel} = ((({packed}) * {self.strips} + {strip}) * {self.k} + {first}) * {tile.cols}")
        k, length, r, at = (emitter.fresh(p) for p in "kcra")
        # A class without inner steps is all zeros, which one empty chunk stores.
        emitter.open(f"for {k} in range(0, max({steps}, 1), {self.chunk}):")
        emitter.line(f"{length} = min({self.chunk}, {steps} - {k})")
        emitter.open(f"for {r} in range(0, {taken}, {tile.rows}):")
        self.row_pointer(at, table, r, taken)
        self.claim_results(strip, start, r, f"{k} + {self.chunk} >= {steps}")
        call = f"(addr({source[0]}, {source[1]}), {at}, addr({self.steps}, {first} + {k}), "
        call += f"addr({self.panels}, {panel} + {k} * {tile.cols}), addr({self.sums}, {r}), "
        call += f"{self.sum_pitch}, {length}, {k}"
        form, ahead = self.fetch_ahead(table, r, length)
        emitter.line(f"{tile.name}_{form}{call}, {ahead})" if form else f"{tile.name}{call})")
        self.close(2)

    def fetch_ahead(self, table: str, r: str, length: str) -> tuple[str, str]:
        """Return what a tile asks for with each step, and how much further on that lies.

        Every tile asks for one line a step of the panel behind its own chunk, which is multiplied next.
        Where few steps make the panel small, images that no copy has brought near are worth more.
        Classes of positions have short panels each, and are a fifth slower if they fetch ahead.
        """
        tile = self.tile
        if self.phases > 1:
            return "", ""
        if not self.plan.copies and self.k * tile.cols <= SMALL:
            last = self.phases * self.most_rows - 1
            return "onward", f"{self.rows}[min({table} + {r} + {ONWARD}, {last})]"
        panel, number = f"{length} * {tile.cols}", f"{r} // {tile.rows}"
        return "ahead", tile_ahead.next_line(panel, number, tile.cols, self.region.dtype.itemsize)

    def row_pointer(self, at: str, table: str, r: str, taken: str) -> None:
        """Name the offsets of a tile's rows; where it reaches beyond the last, that one repeats."""
        emitter, rows = self.emitter, self.tile.rows
        emitter.line(f"{at} = addr({self.rows}, {table} + {r})")
        emitter.open(f"if {r} + {rows} > {taken}:", conditional=True)
        i = emitter.fresh("i")
        emitter.open(f"for {i} in range({rows}):")
        emitter.line(f"{self.edge}[{i}] = {self.rows}[{table} + min({r} + {i}, {taken} - 1)]")
        emitter.close()
        emitter.line(f"{at} = addr({self.edge}, 0)")
        emitter.close()

    # -- results
    def open_channels(self, strip: str) -> tuple[str, str]:
        """Open a loop over the channels of a strip; return the names of lane and channel."""
        emitter, cols = self.emitter, self.tile.cols
        lane, m = emitter.fresh("j"), emitter.fresh("m")
        limit = f"min({cols}, {self.m} - {strip} * {cols})" if self.m % cols else str(cols)
        emitter.open(f"for {lane} in range({limit}):", [*live(self.region.rows), *self.axes_of_rows])
        emitter.line(f"{m} = {strip} * {cols} + {lane}")
        self.unravel(m, self.region.rows, self.region.shape.rows)
        self.name_axes(self.axes_of_rows)
        return lane, m

    def name_image(self, group: str, image: str) -> None:
        """Name the number of an image."""
        if self.plan.image is not None:
            name = self.emitter.fresh("x")
            self.emitter.line(f"{name} = {group} * {self.images} + {image}")
            self.emitter.name(self.plan.image, name)

    def line_start(self, m: str) -> str:
        """Return the offset of a channel of the current image in the results, as text."""
        image = self.flat(self.region.batch, self.region.shape.batch)
        return f"(({image}) * {self.m} + {m}) * {self.n}"

    def results_in_row(self, strip: str, group: str, start: str, taken: str) -> None:
        """Apply the epilogue to a block, image by image, its positions as one axis."""
        emitter, n = self.emitter, self.n
        image, low, high, base, place = (emitter.fresh(p) for p in "ixxoo")
        images = f"{start} // {n}, ({start} + {taken} - 1) // {n} + 1" if self.plan.image is not None else "1"
        emitter.open(f"for {image} in range({images}):", self._image())
        self.name_image(group, image)
        emitter.line(f"{low} = max({start} - {image} * {n}, 0)")
        emitter.line(f"{high} = min({start} + {taken} - {image} * {n}, {n})")
        lane, m = self.open_channels(strip)
        emitter.line(f"{base} = {lane} * {self.sum_pitch} + {image} * {n} - {start}")
        emitter.line(f"{place} = {self.line_start(m)}")
        q, total = emitter.fresh("q"), emitter.fresh("t")
        emitter.open(f"for {q} in range({low}, {high}):", [*self.axes_of_cols])
        joined.join(emitter, self.axes_of_cols, q)
        emitter.line(f"{total} = {self.sums}[{base} + {q}]")
        self.store_results(total, f"{place} + {q}")
        self.close(3)

    def results_in_lines(
        self, strip: str, group: str, block: tuple[str, str], residues: dict[Expr, str], counts: list[str]
    ) -> None:
        """Apply the epilogue to a block line by line, at the positions of its class."""
        emitter, (start, taken), phases = self.emitter, block, self.plan.phases
        line, length, number = (emitter.fresh(p) for p in "ycu")
        emitter.line(f"{length} = {counts[-1]}")
        first = f"{start} // {length}"
        emitter.open(f"for {line} in range({taken} // {length}):", [*self._image(), *self.lines])
        emitter.line(f"{number} = {first} + {line}")
        for variable, count in list(zip(self.lines, counts, strict=False))[::-1]:
            at = emitter.fresh("x")
            step = f" * {phases[variable]} + {residues[variable]}" if variable in phases else ""
            emitter.line(f"{at} = {number} % {count}{step}")
            emitter.line(f"{number} = {number} // {count}")
            emitter.name(variable, at)
        self.name_image(group, number)
        lane, m = self.open_channels(strip)
        base, place, x, at, total = (emitter.fresh(p) for p in "ooxxt")
        emitter.line(f"{base} = {lane} * {self.sum_pitch} + {line} * {length}")
        lines = self.flat(self.lines, self.line_sizes)
        emitter.line(f"{place} = {self.line_start(m)} + ({lines}) * {self.length}")
        emitter.open(f"for {x} in range({length}):", [self.last, *self.axes_of_cols])
        divisor = phases.get(self.last)
        emitter.line(f"{at} = {x}" + (f" * {divisor} + {residues[self.last]}" if divisor else ""))
        emitter.name(self.last, at)
        self.name_axes(self.axes_of_cols)
        emitter.line(f"{total} = {self.sums}[{base} + {x}]")
        self.store_results(total, f"{place} + {at}")
        self.close(3)

    def _image(self) -> list[Expr]:
        return [] if self.plan.image is None else [self.plan.image]
