"""Direct convolution: the tile walks the input itself, through a table of offsets.

The columns of a convolution are output positions.  Flattened with the *input's* row pitch
they lie contiguously in the input for every kernel position, so no patch is ever copied:
step `k` of the tile reads its row of rhs at ``base + offset[k]``.  The price is a few
columns between the rows that belong to no output; they are computed and dropped.
Padding is added once per image, by a copy with a margin of zeros.

The offset table is the indirection of Dukhan, "The Indirect Convolution Algorithm",
arXiv:1907.02129 (2019), with offsets in place of pointers.
"""

from __future__ import annotations

import math

from graphc import dims
from graphc.codegen.contraction_loops import TiledLoops, live, mentions, static, strided_in
from graphc.codegen.emitter import Emitter, Scratch
from graphc.codegen.loops import Stage, preparation
from graphc.codegen.scalar import SHORT
from graphc.codegen.tile import choose
from graphc.codegen.walks import Axis, Scheme, Walk
from graphc.dims import Dim, Shape
from graphc.lower import expr
from graphc.lower.contraction import ContractionRegion
from graphc.lower.expr import Expr
from graphc.lower.rewrite import substitute
from graphc.types import INT64

# Inner steps between two visits of a tile: their rows of rhs stay in the L1 cache.
CHUNK = 256
# Elements of unfinished sums, which should stay in the L2 cache.
SUMS = 1 << 15
# Computed columns per useful one, at most.
WASTE = 1.7
# Into how many slices the rows of one image are cut, for threads to share.
SLICES = 8
# Cycles of the tile per cycle of a full pipeline: sums pass through memory once more.
OVERHEAD = 1.1
# Cycles of an element, a row and an image that is copied, or of results that are stored.
ELEMENT, ROW, PLANE = 0.2, 8.0, 60.0
# Assumed for sizes that are symbolic.
TYPICAL = 256


def find(region: ContractionRegion, walk: Walk) -> Walk | None:
    """Return the walk of a contraction's right operand, None where another schedule serves better."""
    spec = region.shape
    if not all(isinstance(d, int) and d > 0 for d in spec.inner) or len(live(region.inner)) < 2:
        return None
    if not live(region.cols):
        return None
    if strided_in(region.rhs, region.cols, spec.cols, region.inner, spec.inner) is not None:
        return None
    if any(axis.divisor > 1 for axis in walk.axes):
        return None
    return walk if _contiguous(region, walk) else None


def _contiguous(region: ContractionRegion, walk: Walk) -> bool:
    """Tell whether the last column axis walks the last input axis in steps of 1, without much waste."""
    columns = live(region.cols)
    for place, variable in enumerate(reversed(columns[-2:]), 1):
        holders = [a for a, axis in enumerate(walk.axes) if variable in axis.factors]
        if holders != [len(walk.axes) - place] or walk.axes[holders[0]].factors[variable] != 1:
            return False
    if len(columns) < 2:
        return True
    sizes = dict(zip(region.cols, region.shape.cols, strict=True))
    pitch = walk.axes[-1].extent if walk.padded else walk.load.data.type.shape[-1]
    useful = sizes[columns[-1]]
    static = isinstance(pitch, int) and isinstance(useful, int)
    return not static or int(str(pitch)) <= WASTE * int(str(useful))


def scheme(region: ContractionRegion, walk: Walk, images: int, width: int, *, packed: bool) -> Scheme:
    """Describe the schedule, with an estimate of its cost for each of so many images.

    Where weights are `packed` for many calls, that costs nothing.
    """
    spec, columns = region.shape, live(region.cols)
    m, n, k = (static(region.extent(g)) or TYPICAL for g in ("rows", "cols", "inner"))
    tile = choose(SHORT[region.dtype], static(region.extent("rows")), None, width)
    length = spec.cols[region.cols.index(columns[-1])]
    pitch = walk.axes[-1].extent if walk.padded else walk.load.data.type.shape[-1]
    waste = OVERHEAD
    if len(columns) > 1 and isinstance(length, int) and isinstance(pitch, int):
        waste *= pitch / max(1, length)
    across = -(-m // tile.rows) * tile.rows / m
    # Packing transposed weights takes about two cycles for an element.
    lhs = strided_in(region.lhs, region.rows, spec.rows, region.inner, spec.inner)
    packed = packed and not mentions(region.lhs, region.batch)
    packing = 0.0 if lhs is not None or packed else 4 * tile.lanes / max(1, n * images)
    total = m * n * k / (2 * tile.lanes) * (waste * across + packing) + _moving(region, walk, length)
    return Scheme("walk", tile.rows, tile.cols, round(total))


def _moving(region: ContractionRegion, walk: Walk, length: Dim) -> float:
    """Estimate what copying one image with its margin and storing its results costs."""
    results = (static(region.extent("rows")) or TYPICAL) * (static(region.extent("cols")) or TYPICAL)
    cycles = PLANE + results * (ELEMENT + ROW / (static(length) or TYPICAL))
    if not walk.padded:
        return cycles
    pitch = static(walk.axes[-1].extent) or TYPICAL
    copied = math.prod(static(axis.extent) or TYPICAL for axis in walk.axes)
    return cycles + copied * (ELEMENT + ROW / pitch)


class Direct(TiledLoops):
    """Writes the schedule."""

    def __init__(self, emitter: Emitter, region: ContractionRegion, walk: Walk, width: int) -> None:
        super().__init__(emitter, region, None, width)
        self.walk = walk
        self.columns = live(region.cols)
        sizes = dict(zip(region.cols, region.shape.cols, strict=True))
        self.length = sizes[self.columns[-1]]
        self.count: Dim = sizes[self.columns[-2]] if len(self.columns) > 1 else 1
        self.outer = self.columns[:-2]
        self.outer_sizes: Shape = tuple(sizes[v] for v in self.outer)
        self.shape: Shape = (
            tuple(a.extent for a in walk.axes) if walk.padded else tuple(walk.load.data.type.shape)
        )
        self.lhs = strided_in(region.lhs, region.rows, region.shape.rows, region.inner, region.shape.inner)

    @property
    def pitch(self) -> Dim:
        """Distance of two rows of columns in the input."""
        return self.shape[-1] if len(self.columns) > 1 else self.length

    def stride(self, axis: int) -> Dim:
        """Return the distance of neighbours along an axis of the walked memory."""
        return dims.product(self.shape[axis + 1 :])

    def write(self, work: Dim) -> list[Stage]:
        """Write the whole kernel; return its stages."""
        emitter, region, spec = self.emitter, self.region, self.region.shape
        hoisted = self.lhs is None and not mentions(region.lhs, region.batch)
        panels = dims.floordiv(self.m + (self.tile.rows - 1), self.tile.rows)
        slices = max(1, min(SLICES, panels)) if isinstance(panels, int) else 1
        units = region.extent("batch") * slices
        emitter.params.setdefault("stage", "int64")
        emitter.open("if stage == 0:", conditional=True)
        table = self.fill_offsets()
        emitter.close()
        stages = [preparation(emitter, 1, self.k, None, (table,))]
        if hoisted:
            emitter.open("if stage == 1:", conditional=True)
            self.pack_lhs(shared=True)
            emitter.close()
            work_packing = self.m * self.k
            stages.append(preparation(emitter, panels, work_packing, region.lhs, (self.panels,)))
        emitter.open(f"if stage == {len(stages)}:", conditional=True)
        first, last = emitter.part(emitter.size(units))
        image = emitter.fresh("u")
        end = f"({last} + {slices - 1}) // {slices}"
        emitter.open(f"for {image} in range({first} // {slices}, {end}):", live(region.batch))
        self.unravel(image, region.batch, spec.batch)
        self.name_slice(image, (first, last), panels, slices)
        if self.lhs is None and not hoisted:
            self.pack_lhs()
        self.source = self.copy_padded() if self.walk.padded else emitter.buffers[self.walk.load.data].name
        opened = self.open(tuple(self.outer), self.outer_sizes)
        self.blocks()
        self.close(opened + 2)
        return [*stages, Stage(units, work)]

    def name_slice(self, image: str, part: tuple[str, str], panels: Dim, slices: int) -> None:
        """Name the rows of the current image that belong to this block: whole panels of the tile."""
        emitter, rows = self.emitter, self.tile.rows
        first, last = part
        self.low, self.high = emitter.fresh("m"), emitter.fresh("m")
        low, high = f"max({first} - {image} * {slices}, 0)", f"min({last} - {image} * {slices}, {slices})"
        count = emitter.size(panels)
        emitter.line(f"{self.low} = {low} * {count} // {slices} * {rows}")
        emitter.line(f"{self.high} = min({high} * {count} // {slices} * {rows}, {emitter.size(self.m)})")

    def fill_offsets(self) -> Scratch:
        """Tabulate where each inner step reads, relative to the first; return the table."""
        emitter, region, spec = self.emitter, self.region, self.region.shape
        table = Scratch(self.k, INT64, shared=True)
        self.offsets = emitter.buffer(table, (self.k,), INT64).name
        opened = self.open(region.inner, spec.inner)
        steps = {v: self.step(v) for v in live(region.inner)}
        terms = [f"{emitter.operand(v)} * {emitter.size(s)}" for v, s in steps.items() if s != 0]
        emitter.line(f"{self.offsets}[{self.flat(region.inner, spec.inner)}] = {' + '.join(terms) or '0'}")
        self.close(opened)
        return table

    def step(self, variable: Expr) -> Dim:
        """Return how far one step of a variable moves in the walked memory."""
        total: Dim = 0
        for a, axis in enumerate(self.walk.axes):
            total = total + self.stride(a) * axis.factors.get(variable, 0)
        return total

    def copy_padded(self) -> str:
        """Copy the part of the input that one image reads, with zeros where it reads outside."""
        emitter, walk = self.emitter, self.walk
        source = emitter.buffers[walk.load.data]
        count = dims.product(self.shape)
        name = emitter.buffer(Scratch(count, self.region.dtype), (count,), self.region.dtype).name
        lows = [self.lowest(axis) for axis in walk.axes]
        *around, last = range(len(walk.axes))
        position: list[str] = []
        place = "0"
        tests: list[str] = []
        for a in around:
            index, inside = self.padded_index(a, lows[a], source.shape[a])
            position.append(inside[0])
            tests += inside[1]
            place = index if place == "0" else f"({place}) * {emitter.size(self.shape[a])} + {index}"
        start, row = emitter.fresh("o"), emitter.fresh("o")
        emitter.line(f"{start} = ({place}) * {emitter.size(self.shape[last])}")
        extent, limit = emitter.size(self.shape[last]), emitter.size(source.shape[last])
        x = emitter.fresh("i")
        if tests or walk.padded:
            emitter.open(f"for {x} in range({extent}):")
            emitter.line(f"{name}[{start} + {x}] = {self.short}(0.0)")
            emitter.close()
        flat = "0"
        for a, text in zip(around, position, strict=True):
            flat = text if flat == "0" else f"({flat}) * {emitter.size(source.shape[a])} + {text}"
        emitter.open(f"if {' and '.join(tests) or 'True'}:", conditional=True)
        emitter.line(f"{row} = ({flat}) * {limit} + {lows[last]}")
        first, end = emitter.fresh("x"), emitter.fresh("x")
        emitter.line(f"{first} = max(0, -({lows[last]}))")
        emitter.line(f"{end} = min({extent}, {limit} - ({lows[last]}))")
        emitter.open(f"for {x} in range({first}, {end}):")
        emitter.line(f"{name}[{start} + {x}] = {source.name}[{row} + {x}]")
        self.close(2 + len(around))
        return name

    def padded_index(self, a: int, low: str, limit: Dim) -> tuple[str, tuple[str, list[str]]]:
        """Open the loop over one axis of the copy; return its index, the source's, and its tests."""
        emitter = self.emitter
        index, at = emitter.fresh("i"), emitter.fresh("x")
        emitter.open(f"for {index} in range({emitter.size(self.shape[a])}):")
        emitter.line(f"{at} = {index} + {low}")
        inside = self.shape[a] == 1
        return index, (at, [] if inside else [f"{at} >= 0", f"{at} < {emitter.size(limit)}"])

    def lowest(self, axis: Axis) -> str:
        """Return the smallest index read on an axis in the current image, as text."""
        batch = self.emitter.text(axis.batch)
        return f"({batch} + {self.emitter.size(axis.low)})"

    def base(self) -> str:
        """Return the offset of the first column at the first inner step, as text."""
        emitter = self.emitter
        text = "0"
        for a, axis in enumerate(self.walk.axes):
            at = emitter.size(axis.start)
            if not self.walk.padded:
                at = f"({self.lowest(axis)} + {at})"
            outer = "".join(
                f" + {emitter.operand(v)} * {f}" for v, f in axis.factors.items() if v in self.outer
            )
            text = f"({text}) * {emitter.size(self.shape[a])} + ({at}{outer})"
        return text

    def blocks(self) -> None:
        """Loop over blocks of rows of columns whose unfinished sums fit the cache."""
        emitter = self.emitter
        m, pitch, count = (emitter.size(d) for d in (self.m, self.pitch, self.count))
        base = emitter.fresh("o")
        emitter.line(f"{base} = {self.base()}")
        needed = dims.maximum(SUMS, self.m * self.length)
        sums = emitter.buffer(Scratch(needed, self.region.dtype), (needed,), self.region.dtype).name
        block, first, taken, width = (emitter.fresh(p) for p in "qyrv")
        emitter.line(f"{block} = max(1, {SUMS} // max(1, {m} * {pitch}))")
        emitter.open(f"for {first} in range(0, {count}, {block}):")
        emitter.line(f"{taken} = min({block}, {count} - {first})")
        emitter.line(f"{width} = ({taken} - 1) * {pitch} + {emitter.size(self.length)}")
        self.tiles(sums, f"{base} + {first} * {pitch}", width)
        self.results(sums, first, taken, width)
        emitter.close()

    def tiles(self, sums: str, base: str, width: str) -> None:
        """Compute all columns of a block, useful or not, by the tile."""
        emitter, rows, cols = self.emitter, self.tile.rows, self.tile.cols
        k, strip, w, m, h = (emitter.fresh(p) for p in "fnwmh")
        taken = emitter.fresh("c")
        emitter.open(f"for {k} in range(0, {emitter.size(self.k)}, {CHUNK}):")
        emitter.line(f"{taken} = min({CHUNK}, {emitter.size(self.k)} - {k})")
        emitter.open(f"for {strip} in range(0, {width}, {cols}):")
        emitter.line(f"{w} = min({cols}, {width} - {strip})")
        emitter.open(f"for {m} in range({self.low}, {self.high}, {rows}):")
        emitter.line(f"{h} = min({rows}, {emitter.size(self.m)} - {m})")
        a, a_row, a_k = self.lhs_at(m, k)
        call = f"({a}, {a_row}, {a_k}, addr({self.source}, {base} + {strip}), addr({self.offsets}, {k}), "
        call += f"addr({sums}, {m} * {width} + {strip}), {width}, {taken}, {h}, {w}, {k})"
        emitter.line(f"if {h} == {rows} and {w} == {cols}:")
        emitter.line(f"    {self.tile.name('full')}_indirect{call}")
        emitter.line("else:")
        emitter.line(f"    {self.tile.name('edge')}_indirect{call}")
        self.close(3)

    def lhs_at(self, m: str, k: str) -> tuple[str, str, str]:
        """Return pointer, row stride and inner stride of lhs at row `m` and inner step `k`."""
        emitter, region, spec, rows = self.emitter, self.region, self.region.shape, self.tile.rows
        if self.lhs is None:
            panel = f"({m} // {rows}) * {emitter.size(self.k * rows)} + {k} * {rows}"
            return f"addr({self.lhs_panel}, {panel})", "1", str(rows)
        zeros = dict.fromkeys((*live(region.rows), *live(region.inner)), expr.ZERO)
        position = tuple(substitute(p, zeros) for p in self.lhs.load.args)
        for p in position:
            emitter.text(p)
        buffer = emitter.buffers[self.lhs.load.data]
        a_row = emitter.size(self.lhs.flat(region.rows, spec.rows) or 0)
        a_k = emitter.size(self.lhs.flat(region.inner, spec.inner) or 0)
        start = f"{emitter.offset(buffer, position)} + {m} * {a_row} + {k} * {a_k}"
        return f"addr({buffer.name}, {start})", a_row, a_k

    def results(self, sums: str, first: str, taken: str, width: str) -> None:
        """Apply the epilogue to the useful columns of a finished block."""
        emitter, region, spec = self.emitter, self.region, self.region.shape
        axes = self.result_axes()
        cols = {axis: e for axis, e in axes.items() if mentions(e, region.cols)}
        rows = {axis: e for axis, e in axes.items() if axis not in cols}
        m, y, x = (emitter.fresh(p) for p in "myx")
        emitter.open(f"for {m} in range({self.low}, {self.high}):", [*live(region.rows), *rows])
        self.unravel(m, region.rows, spec.rows)
        self.name_axes(rows)
        emitter.open(f"for {y} in range({taken}):", self.columns[-2:-1])
        row = emitter.fresh("x")
        emitter.line(f"{row} = {first} + {y}")
        if len(self.columns) > 1:
            emitter.name(self.columns[-2], row)
        start, place = emitter.fresh("o"), emitter.fresh("o")
        image = self.flat(region.batch, spec.batch)
        outer = self.flat(tuple(self.outer), self.outer_sizes)
        line = f"({outer}) * {emitter.size(self.count)} + {row}"
        emitter.line(
            f"{place} = (({image}) * {emitter.size(self.m)} + {m}) * {emitter.size(self.n)}"
            f" + ({line}) * {emitter.size(self.length)}"
        )
        emitter.line(f"{start} = {m} * {width} + {y} * {emitter.size(self.pitch)}")
        emitter.open(f"for {x} in range({emitter.size(self.length)}):", [self.columns[-1], *cols])
        emitter.name(self.columns[-1], x)
        self.name_axes(cols)
        total = emitter.fresh("t")
        emitter.line(f"{total} = {sums}[{start} + {x}]")
        self.store_results(total, f"{place} + {x}")
        self.close(3)
