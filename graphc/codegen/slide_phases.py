"""Sliding planes whose positions fall into classes: adjoints of strided convolutions, class by class.

With stride `s`, position `p` of the input was read by windows through those taps alone that leave the
remainder ``p % s``.  The positions of one remainder make a plane of their own, which is a convolution of
stride 1 with these taps.  Rows of all classes are then joined into rows of results::

    for each image and group of channels:
        copy the planes of the gradient with their padding
        pack the weights, class by class
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

    def allocate(self) -> None:
        """Name the working memory: that of all schedules, sums of every class, and weights in their order."""
        super().allocate()
        self.parts = self.memory(self.down * self.across * self.m * self.part)
        self.panel = self.memory(self.m * self.k)

    # -- operands
    def tables(self) -> list[Scratch]:
        """Name the tables: of shifts, of where each step went, and of where the steps of a class begin."""
        emitter, shifts = self.emitter, super().tables()
        more = [Scratch(count, INT64, shared=True) for count in (self.k, self.plan.classes + 1)]
        self.places, self.firsts = (emitter.buffer(t, (t.count,), INT64).name for t in more)
        return [*shifts, *more]

    def fill_steps(self) -> None:
        """Tabulate how far each step of a sum shifts the planes, class by class."""
        emitter, region, axes = self.emitter, self.region, self.plan.walk.axes
        number, kind = emitter.fresh("q"), emitter.fresh("c")
        emitter.line(f"{number} = 0")
        emitter.line(f"{kind} = 0")
        remainders: dict[Expr, str] = {}
        for variable, phase in zip(self.columns, self.plan.phases, strict=True):
            remainders[variable] = emitter.fresh("r")
            emitter.open(f"for {remainders[variable]} in range({phase}):")
        emitter.line(f"{self.firsts}[{kind}] = {number}")
        opened = self.open(region.inner, region.shape.inner)
        moved = {a: self.moved(axis, remainders) for a, axis in enumerate(axes) if axis.factors}
        tests = [f"({text}) % {axes[a].divisor} == 0" for a, text in moved.items() if axes[a].divisor > 1]
        emitter.open(f"if {' and '.join(tests)}:", conditional=True)
        terms = [
            self.layout.place_text(a, f"({text}) // {axes[a].divisor} - {axes[a].low}")
            for a, text in moved.items()
        ]
        emitter.line(f"{self.shifts}[{number}] = {' + '.join(terms)}")
        emitter.line(f"{self.places}[{self.flat(region.inner, region.shape.inner)}] = {number}")
        emitter.line(f"{number} = {number} + 1")
        self.close(opened + 1)
        emitter.line(f"{kind} = {kind} + 1")
        self.close(len(remainders))
        emitter.line(f"{self.firsts}[{kind}] = {number}")

    def moved(self, axis: Axis, remainders: dict[Expr, str]) -> str:
        """Return what is read on an axis, before it is divided, by the first position of a class."""
        terms = [str(axis.constant)]
        terms += [
            f"{remainders[v]} * {f}" for v, f in axis.factors.items() if axis.divisor > 1 and v in remainders
        ]
        inner = [(v, f) for v, f in axis.factors.items() if v in self.region.inner]
        return " + ".join([*terms, *(f"{self.emitter.operand(v)} * {f}" for v, f in inner)])

    def weights(self) -> tuple[str, str, str]:
        """Pack the weights of this unit; return where they begin, and the strides of rows and of steps."""
        emitter, region, spec = self.emitter, self.region, self.region.shape
        opened = self.open((*region.rows, *region.inner), (*spec.rows, *spec.inner))
        step = f"{self.places}[{self.flat(region.inner, spec.inner)}]"
        place = f"({self.flat(region.rows, spec.rows)}) * {self.k} + {step}"
        value = emitter.text(region.lhs)
        emitter.line(f"{self.panel}[{place}] = {value}")
        self.close(opened)
        return f"addr({self.panel}, 0", str(self.k), "1"

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
        emitter, classes, (start, row, step) = self.emitter, self.down * self.across, weights
        kind, low, count = (emitter.fresh(p) for p in "cqq")
        emitter.open(f"for {kind} in range({classes}):")
        number = f"({self.around}) * {classes} + {kind}"
        emitter.line(f"{low} = {self.firsts}[{number}]")
        emitter.line(f"{count} = {self.firsts}[{number} + 1] - {low}")
        parts = f"addr({self.parts}, {kind} * {self.m * self.part}"
        self.add_up(base, first, (f"{start} + {low}", row, step), (low, count), (parts, self.part))
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
