"""Copies of images for gathering tiles: with a margin of zeros, or without what a stride skips."""

from __future__ import annotations

from graphc.codegen import scalar
from graphc.codegen.contraction_loops import Loops
from graphc.codegen.emitter import Emitter, Scratch
from graphc.codegen.gather_plan import Blocks, Plan, image_count
from graphc.codegen.walks import Axis
from graphc.dims import Dim, floordiv
from graphc.lower import expr
from graphc.lower.contraction import ContractionRegion


class Copies(Loops):
    """Where the images of a plan lie: in the operand, or in copies of groups of them."""

    def __init__(self, emitter: Emitter, region: ContractionRegion, plan: Plan, blocks: Blocks) -> None:
        super().__init__(emitter, region)
        self.plan, self.images = plan, blocks.images
        self.short = scalar.SHORT[region.dtype]
        self.count = image_count(region, plan.image)
        self.groups: Dim = floordiv(self.count + (self.images - 1), self.images)
        self.source = plan.walk.load.data
        self.pitches, self.image_pitch, self.copied = self.layout()

    def layout(self) -> tuple[dict[int, int], int, int]:
        """Return distances of neighbours along each axis and of images, and how many elements are copied.

        What the inner steps of one tile read lies together: in copies, images stand outermost,
        or behind the axis of channels if the steps run over images.
        """
        plan = self.plan
        numbers = [a for a, _ in plan.axes()]
        order: list[int | None] = list(numbers)
        extents: dict[int | None, int] = {a: plan.extent(a) for a in numbers}
        if plan.copies:
            order.insert(1 if plan.summed and order else 0, None)
            extents[None] = self.images
        else:
            shape = self.source.type.shape
            order = [None if a == plan.image_axis else a for a in range(len(shape))]
            extents = {a: int(str(shape[a])) for a in numbers}
            # Nothing depends on the number of images, along the outermost axis.
            extents[None] = 1
        pitch, found = 1, dict[int | None, int]()
        for a in reversed(order):
            found[a] = pitch
            pitch *= extents[a]
        return {a: found[a] for a in numbers}, found.get(None, 0), pitch

    def place_images(self, group: str) -> tuple[str, str, str]:
        """Return how many images a group has, and buffer and offset of the first, copied if that serves."""
        emitter, plan = self.emitter, self.plan
        count = self.count_images(group)
        if plan.copies:
            name = self.images_buffer()
            self.copy_images(group, count, (name, "0"), None)
            return count, name, "0"
        terms = [f"{group} * {self.images * self.image_pitch}"]
        terms += [f"{emitter.text(axis.batch)} * {self.pitches[a]}" for a, axis in plan.axes()]
        return count, emitter.buffers[self.source].name, " + ".join(terms)

    def count_images(self, group: str) -> str:
        """Name how many images a group has."""
        emitter = self.emitter
        count = emitter.fresh("g")
        emitter.line(f"{count} = min({self.images}, {emitter.size(self.count)} - {group} * {self.images})")
        return count

    def images_buffer(self) -> str:
        """Return the working memory that copies of images lie in."""
        dtype = self.region.dtype
        if not hasattr(self, "_copies"):
            self._copies = Scratch(self.copied, dtype)
        return self.emitter.buffer(self._copies, (self.copied,), dtype).name

    def copy_images(self, group: str, count: str, into: tuple[str, str], line: str | None) -> None:
        """Copy what a group of images reads of the operand, with zeros where it reads outside.

        The copy begins at an offset of a buffer, `into`; with `line`, only that index of its outermost axis
        is copied.
        """
        emitter, plan, (name, base) = self.emitter, self.plan, into
        source = emitter.buffers[self.source]
        lows = {a: f"({emitter.text(axis.batch)} + {emitter.size(axis.low)})" for a, axis in plan.axes()}
        image = emitter.fresh("i")
        opened = 1
        emitter.open(f"for {image} in range({count}):")
        at: dict[int, str] = {}
        if plan.image_axis is not None:
            at[plan.image_axis] = f"({group} * {self.images} + {image})"
        terms, tests = [base, f"{image} * {self.image_pitch}"], []
        *around, (last, last_axis) = plan.axes()
        for k, (a, axis) in enumerate(around):
            index, here = line if line is not None and k == 0 else emitter.fresh("i"), emitter.fresh("x")
            if index != line:
                emitter.open(f"for {index} in range({plan.extent(a)}):")
                opened += 1
            emitter.line(f"{here} = {index} * {plan.thinned.get(a, 1)} + {lows[a]}")
            at[a] = here
            terms.append(f"{index} * {self.pitches[a]}")
            if self.reaches_outside(a, axis):
                tests += [f"{here} >= 0", f"{here} < {emitter.size(source.shape[a])}"]
        start, row = emitter.fresh("o"), emitter.fresh("o")
        emitter.line(f"{start} = {' + '.join(terms)}")
        at[last] = lows[last]
        flat = "0"
        for a in range(len(plan.walk.axes)):
            flat = at[a] if flat == "0" else f"({flat}) * {emitter.size(source.shape[a])} + {at[a]}"
        emitter.line(f"{row} = {flat}")
        zero, extent, step = f"{self.short}(0.0)", str(plan.extent(last)), plan.thinned.get(last, 1)
        first, end = self._inside(last, last_axis, lows[last])
        if tests:
            # A row that lies outside altogether; the loops over all others have known lengths.
            emitter.open(f"if not ({' and '.join(tests)}):", conditional=True)
            self._put((name, start, last), ("0", extent), zero)
            emitter.close()
            emitter.open("else:", conditional=True)
            opened += 1
        self._put((name, start, last), ("0", first), zero)
        self._put((name, start, last), (first, end), f"{source.name}[{row} + {{x}} * {step}]")
        self._put((name, start, last), (end, extent), zero)
        self.close(opened)

    def _inside(self, a: int, axis: Axis, low: str) -> tuple[str, str]:
        """Return the bounds of what a copied row has of the operand, relative to its start."""
        emitter, limit = self.emitter, int(str(self.source.type.shape[a]))
        extent, step = self.plan.extent(a), self.plan.thinned.get(a, 1)
        if axis.batch is expr.ZERO:
            known = int(str(axis.low))
            start = min(extent, max(0, -(known // step)))
            return str(start), str(max(start, min(extent, -((known - limit) // step))))
        first, end = emitter.fresh("x"), emitter.fresh("x")
        emitter.line(f"{first} = min({extent}, max(0, -({low} // {step})))")
        emitter.line(f"{end} = max({first}, min({extent}, -(({low} - {limit}) // {step})))")
        return first, end

    def _put(self, row: tuple[str, str, int], span: tuple[str, str], value: str) -> None:
        """Write a value into part of a row; its text says ``{x}`` where it depends on the position."""
        (name, start, axis), (low, high) = row, span
        if low == high:
            return
        x, pitch = self.emitter.fresh("x"), self.pitches[axis]
        self.emitter.open(f"for {x} in range({low}, {high}):")
        place = x if pitch == 1 else f"{x} * {pitch}"
        self.emitter.line(f"{name}[{start} + {place}] = {value.format(x=x)}")
        self.emitter.close()

    def reaches_outside(self, a: int, axis: Axis) -> bool:
        """Tell whether an axis is read beyond its ends."""
        if axis.batch is not expr.ZERO:
            # A group of channels is never cut.
            return False
        size = int(str(self.source.type.shape[a]))
        low, extent = int(str(axis.low)), int(str(axis.extent))
        return low < 0 or low + extent > size
