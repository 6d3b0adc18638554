"""Totals: the schedule for reductions of whole arrays, which have no rows to share among threads.

A loss summed over a batch, the norm of all gradients: the array is cut at places that depend on
its size alone, each piece is summed into a slot of its own, and the slots are summed in order.
The result has the same bits for any number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import dims
from graphc.codegen import scalar
from graphc.codegen.emitter import Emitter, Scratch, initial, step
from graphc.codegen.loops import Stage, close_loops, collapse, join, loop_variables, store_lines
from graphc.codegen.parts import extent_of, grain_of, open_joined, units_of, work
from graphc.codegen.rows import BLOCK, Total, kept_values
from graphc.dims import Dim
from graphc.lower import expr
from graphc.lower.region import Reduction, Region

# Elements of a piece, a multiple of BLOCK.
PIECE = 8 * BLOCK


def suits(region: Region) -> bool:
    """Tell whether a region reduces one whole array that may be large."""
    rows = any(a not in region.reduced and d != 1 for a, d in enumerate(region.space))
    size = dims.product(region.space)
    if rows or (isinstance(size, int) and size <= PIECE):
        return False
    # Positions would have to be compared along with values; kept values belong to one thread.
    return not any(r.kind.startswith("arg") for r in region.reductions) and not kept_values(region)


class Totals:
    """Schedule for regions that reduce all axes: a stage for each phase, and one for the results."""

    def __init__(self, emitter: Emitter, region: Region) -> None:
        self.emitter = emitter
        self.region = region
        self.groups = collapse(region, [list(range(len(region.space)))])[0]
        self.slots: dict[Reduction, Scratch] = {}
        last = extent_of(region, self.groups[-1])
        around = [extent_of(region, g) for g in self.groups[:-1]]
        self.length = last
        self.pieces: Dim = dims.product(tuple(around)) if around else units_of(last, PIECE)
        self.grain = grain_of(last) if around else 1

    def write(self) -> list[Stage]:
        """Write the kernel's body; return its stages."""
        emitter, region = self.emitter, self.region
        emitter.params["stage"] = "int64"
        for phase in range(region.phases):
            emitter.open(f"if stage == {phase}:", conditional=True)
            self.recall(phase)
            self.phase(phase)
            emitter.close()
        emitter.open(f"if stage == {region.phases}:", conditional=True)
        self.recall(region.phases)
        store_lines(emitter, [s for s in region.stores if s.phase is None])
        emitter.close()
        return [*map(self.stage, range(region.phases)), Stage(1, self.pieces)]

    def stage(self, phase: int) -> Stage:
        """Describe the stage of a phase."""
        region = self.region
        values = [r.body for r in region.reductions if r.phase == phase]
        values += [s.value for s in region.stores if s.phase == phase]
        return Stage(units_of(self.pieces, self.grain), work(dims.product(region.space), values))

    def recall(self, phase: int) -> None:
        """Sum up the slots of all earlier phases; every block does, in the same order."""
        emitter = self.emitter
        for reduction in (r for r in self.region.reductions if r.phase < phase):
            slots = self.slots[reduction]
            total, k = emitter.fresh("a"), emitter.fresh("k")
            start = initial(reduction.kind, slots.dtype)
            emitter.line(f"{total} = {scalar.literal(start, slots.dtype)}")
            emitter.open(f"for {k} in range({emitter.size(self.pieces)}):")
            name = emitter.buffers[slots].name
            value = f"({name}[{k}] != 0)" if str(slots.dtype) == "bool" else f"{name}[{k}]"
            for line in step(reduction.kind, slots.dtype, total, "", value, "0"):
                emitter.line(line)
            emitter.close()
            dtype = reduction.node.type.dtype
            result = emitter.fresh("r")
            emitter.line(f"{result} = {scalar.convert(total, slots.dtype, dtype)}")
            emitter.name(expr.local(reduction.node, dtype), result)

    def phase(self, phase: int) -> None:
        """Write one trip through the array, piece by piece."""
        emitter, region = self.emitter, self.region
        totals = [Total(emitter, r) for r in region.reductions if r.phase == phase]
        first, last = emitter.part(emitter.size(self.pieces), self.grain)
        piece = emitter.fresh("c")
        if len(self.groups) > 1:
            open_joined(emitter, region, self.groups[:-1], first, last, piece)
            begin, end = "0", emitter.size(self.length)
        else:
            emitter.open(f"for {piece} in range({first}, {last}):")
            begin, end = f"{piece} * {PIECE}", emitter.fresh("e")
            emitter.line(f"{end} = min({emitter.size(self.length)}, {begin} + {PIECE})")
        for total in totals:
            total.start()
        self.sums(totals, phase, begin, end)
        for total in totals:
            self.put(total, piece)
        emitter.close()

    def sums(self, totals: Sequence[Total], phase: int, begin: str, end: str) -> None:
        """Write the loops over one piece."""
        emitter, region, group = self.emitter, self.region, self.groups[-1]
        block = emitter.fresh("b")
        emitter.open(f"for {block} in range({begin}, {end}, {BLOCK}):")
        for total in totals:
            total.start_part()
        variable = join(emitter, region, group)
        name = emitter.fresh("i")
        header = f"for {name} in range({block}, min({block} + {BLOCK}, {end})):"
        emitter.open(header, loop_variables(region, group, variable))
        emitter.name(variable, name)
        for total in totals:
            total.add("0")
        store_lines(emitter, [s for s in region.stores if s.phase == phase])
        emitter.close()
        for total in totals:
            total.finish_part()
        close_loops(emitter, 1)

    def put(self, total: Total, piece: str) -> None:
        """Store the sum of a piece into its slot."""
        scratch = Scratch(self.pieces, total.wide, shared=True)
        self.slots[total.reduction] = scratch
        buffer = self.emitter.buffer(scratch, (self.pieces,), total.wide)
        self.emitter.line(f"{buffer.name}[{piece}] = {scalar.stored(total.total, total.wide)}")
