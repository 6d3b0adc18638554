"""What all schedules of a contraction share: loops over groups of axes, packing of lhs, results."""

from __future__ import annotations

from collections.abc import Mapping

from graphc import dims
from graphc.codegen import parts, scalar
from graphc.codegen import tile as tiles
from graphc.codegen.emitter import Emitter, Scratch
from graphc.codegen.loops import store_offset
from graphc.dims import Dim, Shape
from graphc.lower import expr
from graphc.lower.affine import Strided, strided
from graphc.lower.contraction import ContractionRegion
from graphc.lower.expr import Expr
from graphc.lower.region import reindex, walk
from graphc.lower.rules import Index


class Loops:
    """Loops over the groups of axes of a contraction, and the names of their variables."""

    def __init__(self, emitter: Emitter, region: ContractionRegion) -> None:
        self.emitter = emitter
        self.region = region

    def open(self, variables: Index, extents: Shape) -> int:
        """Open a loop per axis that has more than one element; returns how many."""
        count = 0
        for variable, extent in zip(variables, extents, strict=True):
            if variable.kind == "index":
                name = self.emitter.fresh("i")
                self.emitter.open(f"for {name} in range({self.emitter.size(extent)}):", [variable])
                self.emitter.name(variable, name)
                count += 1
        return count

    def close(self, count: int) -> None:
        """End `count` loops."""
        for _ in range(count):
            self.emitter.close()

    def flat(self, variables: Index, extents: Shape) -> str:
        """Return the flattened position of a group as text."""
        text = ""
        for variable, extent in zip(variables, extents, strict=True):
            if variable.kind != "index":
                continue
            term = self.emitter.operand(variable)
            text = term if not text else f"({text}) * {self.emitter.size(extent)} + {term}"
        return text or "0"

    def unravel(self, name: str, variables: Index, extents: Shape) -> None:
        """Name the variables of a group by dividing its flattened position `name`."""
        live = [(v, d) for v, d in zip(variables, extents, strict=True) if v.kind == "index"]
        parts.unravel(self.emitter, name, [v for v, _ in live], [d for _, d in live])

    def open_batch(self, start: str, count: str) -> str:
        """Open a loop over `count` indices of the batch from `start` on; return the number among them."""
        emitter, region = self.emitter, self.region
        unit, number = emitter.fresh("j"), emitter.fresh("u")
        emitter.open(f"for {unit} in range({count}):", live(region.batch))
        emitter.line(f"{number} = {start} + {unit}")
        self.unravel(number, region.batch, region.shape.batch)
        return unit

    def result_axes(self) -> dict[Expr, Expr]:
        """Return each axis variable of the result in terms of the groups' variables."""
        region, spec = self.region, self.region.shape
        shape = region.node.type.shape
        groups = (*region.batch, *region.rows, *region.cols)
        at = reindex(groups, (*spec.batch, *spec.rows, *spec.cols), shape)
        return {expr.index(f"i{a}"): e for a, e in enumerate(at)}

    def name_axes(self, axes: Mapping[Expr, Expr]) -> None:
        """Name the result's axis variables in the innermost scope."""
        for axis, e in axes.items():
            self.emitter.name(axis, self.emitter.text(e))

    def store_results(self, total: str, place: str) -> None:
        """Apply the epilogue to the sum in variable `total` and store all results at offset `place`."""
        emitter, region = self.emitter, self.region
        emitter.name(expr.local(region.node, region.node.type.dtype), total)
        values = [emitter.text(s.value) for s in region.stores]
        for store, text in zip(region.stores, values, strict=True):
            buffer = emitter.buffers["out", store.node]
            at = store_offset(emitter, store) if store.part else place
            emitter.line(f"{buffer.name}[{at}] = {scalar.stored(text, buffer.dtype)}")


class TiledLoops(Loops):
    """Loops around a register tile, with lhs in place or packed into panels."""

    def __init__(self, emitter: Emitter, region: ContractionRegion, cols: int | None, width: int) -> None:
        super().__init__(emitter, region)
        self.short = scalar.SHORT[region.dtype]
        self.m, self.n, self.k = region.extent("rows"), region.extent("cols"), region.extent("inner")
        self.tile = tiles.choose(self.short, static(self.m), cols, width)

    def pack_lhs(self, shared: bool = False) -> None:
        """Copy lhs into panels of the tile's height, each ordered by inner position.

        Shared panels serve all blocks, each of which packs its part of them.
        """
        emitter, region, spec = self.emitter, self.region, self.region.shape
        rows = self.tile.rows
        panels = dims.floordiv(self.m + (rows - 1), rows)
        count = panels * self.k * rows
        self.panels = Scratch(count, region.dtype, shared)
        self.lhs_panel = emitter.buffer(self.panels, (count,), region.dtype).name
        first, last = emitter.part(emitter.size(self.m), rows) if shared else ("0", emitter.size(self.m))
        m = emitter.fresh("m")
        emitter.open(f"for {m} in range({first}, {last}):")
        self.unravel(m, region.rows, spec.rows)
        start = emitter.fresh("o")
        emitter.line(f"{start} = ({m} // {rows}) * {emitter.size(self.k * rows)} + {m} % {rows}")
        loops = self.open(region.inner, spec.inner)
        text = emitter.text(region.lhs)
        emitter.line(f"{self.lhs_panel}[{start} + ({self.flat(region.inner, spec.inner)}) * {rows}] = {text}")
        self.close(loops)
        emitter.close()


def strided_in(
    e: Expr, variables: Index, extents: Shape, inner: Index, inner_extents: Shape
) -> Strided | None:
    """Return the strides of an operand that walks both its own and the inner axes evenly."""
    found = strided(e)
    if found is None or found.flat(variables, extents) is None:
        return None
    return None if found.flat(inner, inner_extents) is None else found


def static(d: Dim) -> int | None:
    """Return a dimension that is known now, else None."""
    return d if isinstance(d, int) else None


def live(variables: Index) -> list[Expr]:
    """Return the variables that a loop gives values to: those of axes longer than 1."""
    return [v for v in variables if v.kind == "index"]


def mentions(e: Expr, variables: Index) -> bool:
    """Tell whether an expression depends on any of the variables."""
    wanted = set(live(variables))
    return any(x in wanted for x in walk([e]))
