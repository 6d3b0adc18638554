"""Sums per tap: the gradient of a depthwise convolution with respect to weights.

Where channels do not mix, a weight's gradient is the product of one channel of the result's
gradient with the image, shifted by the weight's tap, summed over positions and images.  The
sums of all taps stay in registers while both planes are read once::

    for each group of channels:
        for each image:
            for each channel:
                copy the plane of the image with its padding, in classes if there is a stride
                sums of all taps += gradient * shifted plane
        epilogue

With stride `s` neighbouring windows read positions `s` apart.  The copy holds these side by
side: position `p` of an axis lies in class ``p % s`` at ``p // s``, so that every tap reads
its class from some element on, without a gap.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from graphc import dims
from graphc.codegen import gather_plan, tile_taps
from graphc.codegen.contraction_loops import Loops, live
from graphc.codegen.emitter import Emitter, Scratch
from graphc.codegen.loops import Stage
from graphc.codegen.scalar import SHORT
from graphc.codegen.taps_plan import SHARED, Plan, extent
from graphc.codegen.walks import Axis
from graphc.dims import Dim
from graphc.lower import expr
from graphc.lower.affine import Strided, strided
from graphc.lower.contraction import ContractionRegion
from graphc.lower.expr import Expr
from graphc.lower.rewrite import substitute

# Positions whose products are summed up before they join the sums of earlier ones.
SUMMED = 1 << 13
# Bytes of the planes of a group of channels, at least, and channels of a group, at most: neighbours
# are read in one run, and copies are read some time after they were written.
RUN, GROUP = 4096, 16


class Taps(Loops):
    """Writes the schedule."""

    def __init__(self, emitter: Emitter, region: ContractionRegion, plan: Plan, width: int) -> None:
        super().__init__(emitter, region)
        self.plan = plan
        self.short = SHORT[region.dtype]
        self.lanes = width // region.dtype.itemsize
        self.m, self.n = (int(str(region.extent(g))) for g in ("rows", "cols"))
        self.most = tile_taps.most(width)
        self.source = plan.walk.load.data
        self.extents = {v: extent(region, v) for v in plan.steps}
        self.classes, self.places = self.layout()
        self.height = plan.steps[-2] if len(plan.steps) > 1 else expr.ZERO
        self.lhs = self.plain_lhs()
        self.together = self.channels_together()

    def layout(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return the distances of classes and of places within a class, for every axis."""
        plan = self.plan
        classes = dict.fromkeys(plan.strides, 0)
        places: dict[int, int] = {}
        pitch = 1
        for a in reversed(plan.strides):
            places[a] = pitch
            whole = int(str(self.source.type.shape[a]))
            pitch *= -(-plan.extent(a) // plan.strides[a]) if plan.copies else whole
        for a in reversed(plan.strides):
            classes[a] = pitch
            pitch *= plan.strides[a]
        return classes, places

    def plain_lhs(self) -> Strided | None:
        """Return lhs if its lines lie in memory as they are read."""
        found = strided(self.region.lhs)
        return found if found is not None and found.strides.get(self.plan.steps[-1]) == 1 else None

    def channels_together(self) -> int:
        """Return how many channels are computed side by side: their planes are neighbours in memory."""
        plane = math.prod(self.extents.values()) * self.region.dtype.itemsize
        groups = self.region.extent("batch")
        most = max(1, groups // (2 * SHARED)) if isinstance(groups, int) else GROUP
        return max(1, min(GROUP, most, -(-RUN // plane)))

    def write(self, work: Dim) -> list[Stage]:
        """Write the kernel's body; return its stages."""
        emitter, region = self.emitter, self.region
        groups, together = region.extent("batch"), self.together
        self.allocate()
        first, last = emitter.part(emitter.size(groups), together)
        start, count = emitter.fresh("u"), emitter.fresh("c")
        emitter.open(f"for {start} in range({first}, {last}, {together}):")
        emitter.line(f"{count} = min({together}, {last} - {start})")
        self.clear(self.sums, f"{count} * {self.m * self.n * self.lanes}")
        image = emitter.fresh("x")
        if self.plan.image is not None:
            total = gather_plan.image_count(region, self.plan.image)
            emitter.open(f"for {image} in range({emitter.size(total)}):", [self.plan.image])
            emitter.name(self.plan.image, image)
        if self.plan.copies:
            self.copy_plane(self.open_batch(start, count), image)
            self.close(1)
        self.add_plane(self.open_batch(start, count), image)
        self.close(1 + (self.plan.image is not None))
        self.results(self.open_batch(start, count))
        self.close(2)
        return [Stage(dims.floordiv(groups + (together - 1), together), work)]

    def allocate(self) -> None:
        """Name the working memory: sums, and copies where needed, whose margins are zero from the start."""
        emitter, dtype, plan = self.emitter, self.region.dtype, self.plan
        size = self.together * self.m * self.n * self.lanes
        self.sums = emitter.buffer(Scratch(size, dtype), (size,), dtype).name
        if plan.copies:
            size = self.together * plan.copied
            self.copy = emitter.buffer(Scratch(size, dtype), (size,), dtype).name
            self.clear(self.copy, str(size))
        if self.lhs is None:
            plane = math.prod(self.extents[v] for v in plan.steps[-2:])
            self.gradient = emitter.buffer(Scratch(plane, dtype), (plane,), dtype).name

    def clear(self, name: str, count: str) -> None:
        """Fill memory with zeros."""
        i = self.emitter.fresh("i")
        self.emitter.open(f"for {i} in range({count}):")
        self.emitter.line(f"{name}[{i}] = {self.short}(0.0)")
        self.emitter.close()

    # -- the images
    def add_plane(self, channel: str, image: str) -> None:
        """Add the products of one image to the sums of one channel."""
        emitter, region, plan = self.emitter, self.region, self.plan
        origin = f"{channel} * {plan.copied}" if plan.copies else self.in_place(image)
        m, base = emitter.fresh("m"), emitter.fresh("o")
        emitter.open(f"for {m} in range({self.m}):", live(region.rows))
        self.unravel(m, region.rows, region.shape.rows)
        emitter.line(f"{base} = ({channel} * {self.m} + {m}) * {self.n * self.lanes}")
        around = plan.steps[:-2]
        opened = self.open(around, tuple(self.extents[v] for v in around))
        terms = [origin, *(f"{emitter.operand(v)} * {self.places[self.axis_of(v)]}" for v in around)]
        self.add_products(base, " + ".join(terms))
        self.close(opened + 1)

    def axis_of(self, variable: Expr) -> int:
        """Return the axis along which an inner variable moves."""
        return next(a for a, axis in self.plan.axes() if variable in axis.factors)

    def in_place(self, image: str) -> str:
        """Return where the current image begins, as text."""
        emitter, at = self.emitter, "0"
        shape = emitter.buffers[self.source].shape
        for a in range(len(self.plan.walk.axes)):
            place = image if a == self.plan.image_axis else self.lowest(a)
            at = place if at == "0" else f"({at}) * {emitter.size(shape[a])} + {place}"
        return at

    def copy_plane(self, channel: str, image: str) -> None:
        """Copy what one channel reads of the current image, class by class, but for the margins."""
        emitter, plan, opened = self.emitter, self.plan, 0
        shape = emitter.buffers[self.source].shape
        at: dict[int, str] = {} if plan.image_axis is None else {plan.image_axis: image}
        terms = [f"{channel} * {plan.copied}"]
        *around, (last, _) = plan.axes()
        for a, axis in around:
            low, high = self.inside(a, axis)
            index, stride = emitter.fresh("i"), plan.strides[a]
            emitter.open(f"for {index} in range({low}, {high}):")
            opened += 1
            at[a] = f"({index} + {self.lowest(a)})"
            of_class = f"{index} % {stride} * {self.classes[a]} + {index} // {stride} * {self.places[a]}"
            terms.append(of_class if stride > 1 else f"{index} * {self.places[a]}")
        at[last] = self.lowest(last)
        flat = "0"
        for a in range(len(plan.walk.axes)):
            flat = at[a] if flat == "0" else f"({flat}) * {emitter.size(shape[a])} + {at[a]}"
        target, row = emitter.fresh("o"), emitter.fresh("o")
        emitter.line(f"{target} = {' + '.join(terms)}")
        emitter.line(f"{row} = {flat}")
        self.copy_row(last, target, f"{emitter.buffers[self.source].name}[{row} + {{at}}]")
        self.close(opened)

    def copy_row(self, last: int, target: str, source: str) -> None:
        """Copy one row of an image, class by class."""
        emitter, stride = self.emitter, self.plan.strides[last]
        low, high = self.inside(last, self.plan.walk.axes[last])
        for remainder in range(stride):
            first, end = (-(-(x - remainder) // stride) for x in (low, high))
            x = emitter.fresh("x")
            emitter.open(f"for {x} in range({first}, {end}):")
            place = f"{target} + {remainder * self.classes[last]} + {x}"
            emitter.line(f"{self.copy}[{place}] = {source.format(at=f'{x} * {stride} + {remainder}')}")
            emitter.close()

    def lowest(self, a: int) -> str:
        """Return the smallest index read on an axis in the current channel, as text."""
        axis = self.plan.walk.axes[a]
        return f"({self.emitter.text(axis.batch)} + {axis.low})"

    def inside(self, a: int, axis: Axis) -> tuple[int, int]:
        """Return from where to where the indices read on an axis lie within it."""
        extent = self.plan.extent(a)
        if axis.batch is not expr.ZERO:
            # A group of channels is never cut.
            return 0, extent
        low, size = int(str(axis.low)), int(str(self.source.type.shape[a]))
        first = min(extent, max(0, -low))
        return first, max(first, min(extent, size - low))

    # -- sums
    def add_products(self, base: str, origin: str) -> None:
        """Add the products of a plane to the sums of its taps, a part of the plane at a time."""
        emitter, plan = self.emitter, self.plan
        g, g_row = self.lines()
        length = self.extents[plan.steps[-1]]
        height = self.extents.get(self.height, 1)
        x_row = self.places[self.axis_of(self.height)] if self.height in self.extents else 0
        x = emitter.fresh("o")
        emitter.line(f"{x} = {origin}")
        wide, high = min(length, SUMMED), max(1, SUMMED // length)
        y, w = emitter.fresh("y"), emitter.fresh("w")
        emitter.open(f"for {y} in range(0, {height}, {high}):")
        emitter.open(f"for {w} in range(0, {length}, {wide}):")
        size = f"min({high}, {height} - {y}), min({wide}, {length} - {w})"
        for first, shifts in self.shifts():
            call = tile_taps.name(self.short, len(shifts), self.lanes)
            planes = f"{g} + {y} * {g_row} + {w}), {g_row}, "
            planes += f"addr({self.source_name}, {x} + {y} * {x_row} + {w}), {x_row}"
            sums = f"addr({self.sums}, {base} + {first * self.lanes})"
            emitter.line(f"{call}({planes}, {sums}, {size}, {', '.join(map(str, shifts))})")
        self.close(2)

    @property
    def source_name(self) -> str:
        """Where planes are read: the copy, or the images themselves."""
        return self.copy if self.plan.copies else self.emitter.buffers[self.source].name

    def shifts(self) -> Iterator[tuple[int, list[int]]]:
        """Yield groups of as many taps as one call takes: the first one's number, and how far each shifts."""
        sizes = [range(int(str(d))) for d in self.region.shape.cols]
        found = []
        for position in itertools.product(*sizes):
            values = dict(zip(self.region.cols, position, strict=True))
            found.append(sum(self.shift(a, axis, values) for a, axis in self.plan.axes()))
        count = -(-len(found) // self.most)
        each = -(-len(found) // count)
        for first in range(0, len(found), each):
            yield first, found[first : first + each]

    def shift(self, a: int, axis: Axis, values: dict[Expr, int]) -> int:
        """Return how far a tap lies along an axis."""
        moved = sum(axis.factors.get(v, 0) * value for v, value in values.items())
        index, stride = int(str(axis.start)) + moved, self.plan.strides[a]
        return index % stride * self.classes[a] + index // stride * self.places[a]

    def lines(self) -> tuple[str, int]:
        """Return where the current plane of lhs begins, as an open call of ``addr``, and its pitch."""
        emitter, steps, length = self.emitter, self.plan.steps, self.extents[self.plan.steps[-1]]
        if self.lhs is not None:
            zeros = dict.fromkeys(steps[-2:], expr.ZERO)
            position = tuple(substitute(p, zeros) for p in self.lhs.load.args)
            for p in position:
                emitter.text(p)
            buffer = emitter.buffers[self.lhs.load.data]
            return f"addr({buffer.name}, {emitter.offset(buffer, position)}", self.line_pitch(self.lhs)
        opened = self.open(steps[-2:], tuple(self.extents[v] for v in steps[-2:]))
        place = self.flat(steps[-2:], tuple(self.extents[v] for v in steps[-2:]))
        value = emitter.text(self.region.lhs)
        emitter.line(f"{self.gradient}[{place}] = {value}")
        self.close(opened)
        return f"addr({self.gradient}, 0", length

    def line_pitch(self, lhs: Strided) -> int:
        """Return the distance of two lines of lhs."""
        return int(str(lhs.strides.get(self.height, 0)))

    # -- results
    def results(self, channel: str) -> None:
        """Add up the lanes of finished sums, apply the epilogue and store the results of a channel."""
        emitter, region = self.emitter, self.region
        axes = self.result_axes()
        m, t, lane, total, place = (emitter.fresh(p) for p in "mqlto")
        emitter.open(f"for {m} in range({self.m}):", live(region.rows))
        self.unravel(m, region.rows, region.shape.rows)
        emitter.open(f"for {t} in range({self.n}):", [*live(region.cols), *axes])
        self.unravel(t, region.cols, region.shape.cols)
        self.name_axes(axes)
        emitter.line(f"{place} = (({channel}) * {self.m} + {m}) * {self.n} + {t}")
        emitter.line(f"{total} = {self.short}(0.0)")
        emitter.open(f"for {lane} in range({self.lanes}):")
        emitter.line(f"{total} = {total} + {self.sums}[{place} * {self.lanes} + {lane}]")
        emitter.close()
        group = self.flat(region.batch, region.shape.batch)
        self.store_results(total, f"(({group}) * {self.m} + {m}) * {self.n} + {t}")
        self.close(2)
