"""Contractions as Python loops: which schedule writes which.

Floating-point products run around a register tile: convolutions that gather their input in
`gathered` and `gathered_sums`, those that walk it in `direct`, `slides`, `slide_phases` and `taps`,
all others in `product`.  Products of integers, and many short inner products, become plain sums.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Protocol

from graphc import dims
from graphc.codegen import direct, gather_plan, slide_plan, taps_plan, walks
from graphc.codegen.choice import Choice
from graphc.codegen.contraction_loops import Loops, live
from graphc.codegen.emitter import Emitter, step
from graphc.codegen.gather_plan import Blocks
from graphc.codegen.gathered import Gathered
from graphc.codegen.gathered_sums import Summed
from graphc.codegen.loops import KernelText, Stage, declare, finish, store_lines
from graphc.codegen.problem import operands
from graphc.codegen.product import Product
from graphc.codegen.scalar import SHORT
from graphc.codegen.slide_phases import SlidesByClass
from graphc.codegen.slides import Slides
from graphc.codegen.taps import Taps
from graphc.codegen.walks import Scheme
from graphc.dims import Dim
from graphc.lower import expr
from graphc.lower.contraction import ContractionRegion
from graphc.lower.region import walk
from graphc.types import is_float

# Assumed for one multiplication and addition.
PICOSECONDS = 15
# Inner products shorter than this finish before a tile of one element would have started.
SHORT_SUM = 64


def uses_tile(region: ContractionRegion) -> bool:
    """Tell whether the contraction is worth a register tile."""
    if not is_float(region.dtype):
        return False
    rows, cols, inner = (region.extent(g) for g in ("rows", "cols", "inner"))
    if cols == 1 and None in operands(region):
        return False
    return not (rows == 1 and cols == 1 and isinstance(inner, int) and inner < SHORT_SUM)


def generate(
    region: ContractionRegion,
    aliases: Mapping[object, object],
    width: int,
    lasting: Collection[object] = frozenset(),
) -> KernelText:
    """Write the kernel of a contraction for vector registers of `width` bytes.

    What stages prepare of operands that are `lasting` serves many calls, and costs nothing therefore.
    """
    emitter = Emitter()
    values = [region.lhs, region.rhs, *(s.value for s in region.stores)]
    declare(emitter, values, region.stores, aliases)
    if not uses_tile(region):
        return finish(emitter, _Plain(emitter, region).write())
    extents = (region.extent(g) for g in ("batch", "rows", "cols", "inner"))
    work = dims.floordiv(dims.product(tuple(extents)) * PICOSECONDS, 1000)
    ways, is_walk = _ways(emitter, region, aliases, width, lasting)
    choice = Choice(tuple(sorted(ways, key=lambda s: s.cycles)))
    product = None if is_walk else Product(emitter, region, aliases, width, lasting)
    if product is not None and (not ways or product.choice.best.cycles <= choice.best.cycles):
        return finish(emitter, product.write(), product.choice)
    return finish(emitter, ways[choice.best]().write(work), choice)


class _Schedule(Protocol):
    """Writes a kernel."""

    def write(self, work: Dim) -> list[Stage]:
        """Write the kernel's body; return its stages."""


def _ways(
    emitter: Emitter,
    region: ContractionRegion,
    aliases: Mapping[object, object],
    width: int,
    lasting: Collection[object],
) -> tuple[dict[Scheme, Callable[[], _Schedule]], bool]:
    """Return the schedules that walk the right operand, and whether they always beat a product."""
    path = walks.find(region)
    if path is None:
        return {}, False
    walked, plan = direct.find(region, path), gather_plan.find(region, path)
    tapped, slid = taps_plan.find(region, path), slide_plan.find(region, path, width)
    # Packing weights that last from call to call costs nothing.
    packed = {e.data for e in walk([region.lhs]) if e.kind == "load"} <= set(lasting)
    ways: dict[Scheme, Callable[[], _Schedule]] = {}
    images = 1
    if plan is not None:
        images = gather_plan.images(region, plan)
        blocks = Blocks.of(region, plan, SHORT[region.dtype], width)
        kind = partial(Summed, aliases=aliases) if plan.summed else Gathered
        scheme = gather_plan.scheme(region, plan, blocks, packed=packed)
        ways[scheme] = partial(kind, emitter, region, plan, blocks)
    if walked is not None:
        scheme = direct.scheme(region, walked, images, width, packed=packed)
        ways[scheme] = partial(direct.Direct, emitter, region, walked, width)
    if tapped is not None:
        ways[taps_plan.scheme(region, tapped, width)] = partial(Taps, emitter, region, tapped, width)
    if slid is not None:
        sliding = SlidesByClass if slid.classes > 1 else Slides
        ways[slide_plan.scheme(region, slid)] = partial(sliding, emitter, region, slid)
    return ways, walked is not None or plan is not None


class _Plain(Loops):
    """A sum per element."""

    def write(self) -> list[Stage]:
        """Write the whole kernel; return its stages."""
        region, emitter = self.region, self.emitter
        spec = region.shape
        groups, extents = (*region.batch, *region.rows), (*spec.batch, *spec.rows)
        units = dims.product(extents)
        first, last = emitter.part(emitter.size(units))
        unit = emitter.fresh("u")
        emitter.open(f"for {unit} in range({first}, {last}):", live(groups))
        self.unravel(unit, groups, extents)
        count = 1 + self.open(region.cols, spec.cols)
        total = emitter.fresh("a")
        emitter.line(f"{total} = {SHORT[region.dtype]}(0)")
        inner = self.open(region.inner, spec.inner)
        product = emitter.text(region.lhs * region.rhs)
        for line in step("sum", region.dtype, total, "", product, "0"):
            emitter.line(line)
        self.close(inner)
        emitter.name(expr.local(region.node, region.node.type.dtype), total)
        self.name_axes(self.result_axes())
        store_lines(emitter, region.stores)
        self.close(count)
        work = units * region.extent("cols") * region.extent("inner")
        return [Stage(units, dims.floordiv(work * PICOSECONDS, 1000) * len(region.stores))]
