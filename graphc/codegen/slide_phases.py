"""Sliding planes whose positions fall into classes: adjoints of strided convolutions, class by class.

With stride `s`, position `p` of the input was read by windows through those taps alone that leave the
remainder ``p % s``.  The positions of one remainder make a plane of their own, which is a convolution of
stride 1 with these taps.  Rows of all classes are then joined into rows of results::

    for each image and group of channels:
        copy the planes of the gradient with their padding
        for each block of rows:
            for each class:
                tiles                     sums of the class's own taps
            join                          rows of all classes
            epilogue
"""

from __future__ import annotations

from graphc.codegen import tile_classes
from graphc.codegen.emitter import Emitter, Scratch
from graphc.codegen.slide_plan import Plan
from graphc.codegen.slides import Slides
from graphc.codegen.walks import Axis
from graphc.lower.contraction import ContractionRegion
from graphc.lower.expr import Expr
from graphc.types import INT64


class SlidesByClass(Slides):
    """Writes the schedule."""

    def __init__(self, emitter: Emitter, region: ContractionRegion, plan: Plan) -> None:
        super().__init__(emitter, region, plan)
        self.across = plan.phases[-1]
        # Elements of a block of one class.
        self.part = self.block * self.row + self.slack
        self.around = "0"
        self.heights = len(plan.runs.groups)

    def allocate(self) -> None:
        """Name the working memory: that of all schedules, and the sums of every class."""
        super().allocate()
        self.parts = self.memory(self.down * self.across * self.m * self.part)

    # -- operands
    def tables(self) -> list[Scratch]:
        """Name the tables: of runs, and of where those of each class and height begin."""
        tables, count = super().tables(), self.plan.classes * self.heights + 1
        begins = Scratch(count, INT64, shared=True)
        self.begins = self.emitter.buffer(begins, (count,), INT64).name
        return [*tables, begins]

    def fill_steps(self) -> None:
        """Tabulate how far each run shifts the planes, and where its weights begin, class by class."""
        emitter, axes = self.emitter, self.plan.walk.axes
        number, group = emitter.fresh("q"), emitter.fresh("c")
        emitter.line(f"{number} = 0")
        emitter.line(f"{group} = 0")
        remainders: dict[Expr, str] = {}
        for variable, phase in zip(self.columns, self.plan.phases, strict=True):
            remainders[variable] = emitter.fresh("r")
            emitter.open(f"for {remainders[variable]} in range({phase}):")
        for tall, taps in self.plan.runs.groups:
            emitter.line(f"{self.begins}[{group}] = {number}")
            opened = self.open_runs(tall, taps)
            moved = {a: self.moved(axis, remainders) for a, axis in enumerate(axes) if axis.factors}
            tests = [f"({text}) % {axes[a].divisor} == 0" for a, text in moved.items() if axes[a].divisor > 1]
            emitter.open(f"if {' and '.join(tests)}:", conditional=True)
            terms = [
                self.layout.place_text(a, f"({text}) // {axes[a].divisor} - {axes[a].low}")
                for a, text in moved.items()
            ]
            self.note_run(number, " + ".join(terms))
            self.close(opened + 1)
            emitter.line(f"{group} = {group} + 1")
        self.close(len(remainders))
        emitter.line(f"{self.begins}[{group}] = {number}")

    def moved(self, axis: Axis, remainders: dict[Expr, str]) -> str:
        """Return what is read on an axis, before it is divided, by the first position of a class."""
        terms = [str(axis.constant)]
        terms += [
            f"{remainders[v]} * {f}" for v, f in axis.factors.items() if axis.divisor > 1 and v in remainders
        ]
        inner = [(v, f) for v, f in axis.factors.items() if v in self.region.inner]
        return " + ".join([*terms, *(f"{self.emitter.operand(v)} * {f}" for v, f in inner)])

    # -- sums
    def open_planes(self) -> tuple[int, str, str]:
        """Open loops over the axes of columns around planes, and note the class of the current planes."""
        variables, sizes = tuple(self.columns[:-2]), self.plan.lines[:-2]
        opened = self.open(variables, sizes)
        terms, self.around = list[str](), "0"
        for variable, phase in zip(variables, self.plan.phases[:-2], strict=True):
            name = self.emitter.operand(variable)
            terms.append(f"{name} // {phase} * {self.pitch(variable)}")
            self.around = f"({self.around}) * {phase} + {name} % {phase}"
        return opened, " + ".join(terms) or "0", self.flat(variables, sizes)

    def tiles(self, base: str, first: str, weights: tuple[str, str, str], unit: str) -> None:
        """Compute a block of rows of each plane: the sums of every class, then rows of all."""
        emitter, classes = self.emitter, self.down * self.across
        kind, group, low = (emitter.fresh(p) for p in "ccq")
        emitter.open(f"for {kind} in range({classes}):")
        emitter.line(f"{group} = (({self.around}) * {classes} + {kind}) * {self.heights}")
        emitter.line(f"{low} = {self.begins}[{group}]")
        counts = [
            f"{self.begins}[{group} + {n + 1}] - {self.begins}[{group} + {n}]" for n in range(self.heights)
        ]
        parts = f"addr({self.parts}, {kind} * {self.m * self.part}"
        self.add_up(base, first, weights, (f"{low} * 2", counts), (parts, self.part))
        emitter.close()
        self.join(unit)

    def join(self, unit: str) -> None:
        """Put the rows of all classes together."""
        emitter, down = self.emitter, self.down
        p, y, at = (emitter.fresh(p) for p in "myo")
        emitter.open(f"for {p} in range({self.m}):")
        emitter.open(f"for {y} in range({self.block * down}):")
        distance = self.m * self.part
        emitter.line(
            f"{at} = {y} % {down} * {self.across * distance} + {p} * {self.part} + {y} // {down} * {self.row}"
        )
        target = f"addr({self.sums}, ({unit} * {self.m} + {p}) * {self.plane} + {y} * {self.length})"
        starts = ", ".join(str(r * distance) for r in range(self.across))
        call = tile_classes.joining(self.tile.dtype, self.across, self.tile.lanes)
        emitter.line(f"{call}(addr({self.parts}, {at}), {target}, {self.length}, {starts})")
        self.close(2)
