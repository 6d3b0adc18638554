"""The operands of gathering tiles: tables of offsets, packed panels, results.

Element ``(row, step)`` of the images lies at ``rows[row] + steps[step]`` from their start: the
table of an indirect convolution (Dukhan, "The Indirect Convolution Algorithm",
arXiv:1907.02129, 2019) falls into a sum of two small ones, as every walk is linear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.codegen import joined
from graphc.codegen.contraction_loops import live, mentions, strided_in
from graphc.codegen.emitter import Emitter, Scratch
from graphc.codegen.gather_copies import Copies
from graphc.codegen.gather_plan import Blocks, Plan, steps_of_image
from graphc.codegen.walks import Axis
from graphc.dims import Dim
from graphc.lower import expr
from graphc.lower.contraction import ContractionRegion
from graphc.lower.expr import Expr
from graphc.lower.rewrite import substitute
from graphc.types import INT64


class Operands(Copies):
    """What the schedules around gathering tiles have in common."""

    def __init__(self, emitter: Emitter, region: ContractionRegion, plan: Plan, blocks: Blocks) -> None:
        super().__init__(emitter, region, plan, blocks)
        self.tile, self.chunk = blocks.tile, blocks.chunk
        self.m, self.n = (int(str(region.extent(g))) for g in ("rows", "cols"))
        self.k = steps_of_image(region, plan)
        self.divisors = list(plan.phases.values())
        self.phases = 1
        for divisor in self.divisors:
            self.phases *= divisor
        self.lhs = strided_in(region.lhs, region.rows, region.shape.rows, (), ())

    # -- classes of positions
    def open_phases(self) -> dict[Expr, str]:
        """Open a loop over each column variable's classes; return the names of the class numbers."""
        names = {}
        for variable, divisor in self.plan.phases.items():
            names[variable] = self.emitter.fresh("r")
            self.emitter.open(f"for {names[variable]} in range({divisor}):")
        return names

    def phase_number(self, residues: Sequence[str]) -> str:
        """Return the flattened number of a class."""
        text = "0"
        for residue, divisor in zip(residues, self.divisors, strict=True):
            text = residue if text == "0" else f"({text}) * {divisor} + {residue}"
        return text

    def residues(self, phase: str) -> dict[Expr, str]:
        """Name the class numbers of each column variable from the flattened number."""
        emitter, found, below = self.emitter, dict[Expr, str](), self.phases
        for variable, divisor in self.plan.phases.items():
            below //= divisor
            found[variable] = emitter.fresh("r")
            emitter.line(f"{found[variable]} = {phase} // {below} % {divisor}")
        return found

    def positions(self, variable: Expr, extent: Dim, residues: dict[Expr, str]) -> str:
        """Return how many positions of a column variable belong to a class."""
        divisor = self.plan.phases.get(variable)
        if divisor is None:
            return self.emitter.size(extent)
        return f"(({extent} - {residues[variable]} + {divisor - 1}) // {divisor})"

    # -- tables
    @property
    def most_rows(self) -> int:
        """Rows of one class in a group of images, at most, rounded up to whole tiles."""
        rows = 1 if self.plan.summed else self.images
        for variable, extent in zip(self.region.cols, self.region.shape.cols, strict=True):
            rows *= -(-int(str(extent)) // self.plan.phases.get(variable, 1))
        return -(-rows // self.tile.rows) * self.tile.rows

    def table(self, count: int, shared: bool = True) -> str:
        """Return a new table of offsets."""
        memory = Scratch(count, INT64, shared)
        if shared:
            self.tables.append(memory)
        return self.emitter.buffer(memory, (count,), INT64).name

    def make_tables(self) -> None:
        """Name the tables of rows and steps, and of where each class's steps begin."""
        self.tables: list[Scratch] = []
        self.rows = self.table(self.phases * self.most_rows)
        self.steps = self.table(self.k * (self.images if self.plan.summed else 1))
        self.firsts = self.table(self.phases + 1) if self.phases > 1 else ""

    def fill_rows(self) -> None:
        """Tabulate where each row reads its first step, class by class."""
        emitter, region = self.emitter, self.region
        residues = self.open_phases()
        position = emitter.fresh("q")
        emitter.line(f"{position} = ({self.phase_number(list(residues.values()))}) * {self.most_rows}")
        opened = len(residues)
        terms = []
        if not self.plan.summed and self.plan.image is not None:
            image = emitter.fresh("i")
            emitter.open(f"for {image} in range({self.images}):")
            terms.append(f"{image} * {self.image_pitch}")
            opened += 1
        for variable, extent in zip(region.cols, region.shape.cols, strict=True):
            if variable.kind != "index":
                continue
            name = emitter.fresh("i")
            emitter.open(f"for {name} in range({self.positions(variable, extent, residues)}):")
            terms.append(f"{name} * {self.stride(variable)}")
            opened += 1
        emitter.line(f"{self.rows}[{position}] = {' + '.join(terms) or '0'}")
        emitter.line(f"{position} = {position} + 1")
        self.close(opened)

    def stride(self, variable: Expr) -> int:
        """Return how far one step of a column variable, or of one within a class, moves in memory."""
        thinned = self.plan.thinned
        moved = ((a, axis.factors.get(variable, 0)) for a, axis in self.plan.axes())
        return sum(self.pitches[a] * (factor // thinned.get(a, 1)) for a, factor in moved)

    def each_step(self, body: Callable[[str, dict[Expr, str]], None], begin: bool) -> None:
        """Write loops over the inner steps in the order in which panels hold them.

        `body` writes what is done with a step from its number; `begin` says to note where
        each class begins.
        """
        emitter, region = self.emitter, self.region
        number = emitter.fresh("q")
        emitter.line(f"{number} = 0")
        residues = self.open_phases()
        if begin and self.phases > 1:
            emitter.line(f"{self.firsts}[{self.phase_number(list(residues.values()))}] = {number}")
        opened = len(residues)
        inner = [(v, d) for v, d in zip(region.inner, region.shape.inner, strict=True)]
        if self.plan.summed:
            name = emitter.fresh("i")
            emitter.open(f"for {name} in range({self.images}):")
            self.image_name = name
            opened += 1
        within = [(v, d) for v, d in inner if v is not self.plan.image]
        opened += self.open(tuple(v for v, _ in within), tuple(d for _, d in within))
        tests = [f"({text}) % {axis.divisor} == 0" for axis, text in self.numerators(residues)]
        if tests:
            emitter.open(f"if {' and '.join(tests)}:", conditional=True)
            opened += 1
        body(number, residues)
        emitter.line(f"{number} = {number} + 1")
        self.close(opened)
        if begin and self.phases > 1:
            emitter.line(f"{self.firsts}[{self.phases}] = {number}")

    def numerators(self, residues: dict[Expr, str]) -> list[tuple[Axis, str]]:
        """Return the divided axes, and what is divided at the first position of a class."""
        return [(axis, self.moved(axis, residues)) for _, axis in self.plan.axes() if axis.divisor > 1]

    def moved(self, axis: Axis, residues: dict[Expr, str]) -> str:
        """Return the index along an axis at the current inner step and the first position, as text."""
        terms = [str(axis.constant)]
        inner = live(self.region.inner)
        terms += [f"{residues[v]} * {f}" for v, f in axis.factors.items() if v in residues]
        terms += [f"{self.emitter.operand(v)} * {f}" for v, f in axis.factors.items() if v in inner]
        return " + ".join(terms)

    def fill_steps(self) -> None:
        """Tabulate how far each inner step lies from the first."""
        emitter, plan = self.emitter, self.plan

        def note(number: str, residues: dict[Expr, str]) -> None:
            terms = [f"{self.image_name} * {self.image_pitch}"] if self.plan.summed else []
            for a, axis in self.plan.axes():
                text = self.moved(axis, residues)
                text = text if axis.divisor == 1 else f"({text}) // {axis.divisor}"
                text = f"({text} - {axis.low})" if plan.copies else f"({text})"
                text = f"({text} // {plan.thinned[a]})" if a in plan.thinned else text
                terms.append(f"{text} * {self.pitches[a]}")
            emitter.line(f"{self.steps}[{number}] = {' + '.join(terms)}")

        self.each_step(note, True)

    # -- panels
    @property
    def strips(self) -> int:
        """Panels of lhs, each as wide as the tile."""
        return -(-self.m // self.tile.cols)

    def run(self) -> tuple[int, int]:
        """Return how many of the last inner axes lhs walks without a gap, and how many elements."""
        region, spec = self.region, self.region.shape
        taken, length = 0, 1
        if self.lhs is None:
            return taken, length
        for position in range(len(region.inner) - 1, -1, -1):
            if region.inner[position] is self.plan.image:
                break
            stride = self.lhs.flat(region.inner[position:], spec.inner[position:])
            if stride not in (0, 1) or (stride == 0 and live(region.inner[position:])):
                break
            taken, length = len(region.inner) - position, length * int(str(spec.inner[position]))
        return (taken, length) if length > 1 else (0, 1)

    def pack_strip(self, strip: str, panel: str, places: str, span: tuple[str, str] | None = None) -> None:
        """Pack one strip of lhs: all inner steps of one image, or those within a span.

        Step `q` goes to offset ``places[q]`` of the panel; `panel` and `places` are calls of
        ``addr`` that an offset is appended to.
        """
        around, sizes = self.without_image(len(self.region.inner) - self.run()[0])
        opened = self.open(around, sizes)
        self.pack_run(strip, panel, places, span)
        self.close(opened)

    def pack_run(self, strip: str, panel: str, places: str, span: tuple[str, str] | None) -> None:
        """Pack what lies together in one strip of lhs, at the current variables around it."""
        taken, length = self.run()
        around, sizes = self.without_image(len(self.region.inner) - taken)
        first = self.emitter.fresh("q")
        self.emitter.line(f"{first} = ({self.flat(around, sizes)}) * {length}")
        if taken and (span is None or not live(around)):
            self.pack_blocks(strip, panel, places, first, span or ("0", str(length)))
        else:
            self.pack_elements(strip, panel, places, first, taken, span)

    def without_image(self, split: int) -> tuple[tuple[Expr, ...], tuple[Dim, ...]]:
        """Return the inner variables before position `split`, and their extents, without that of images."""
        pairs = zip(self.region.inner[:split], self.region.shape.inner[:split], strict=True)
        kept = [(v, d) for v, d in pairs if v is not self.plan.image]
        return tuple(v for v, _ in kept), tuple(d for _, d in kept)

    def pack_blocks(self, strip: str, panel: str, places: str, first: str, span: tuple[str, str]) -> None:
        """Pack runs of lhs by transposing blocks in registers."""
        emitter, region, lanes, (low, high) = self.emitter, self.region, self.tile.lanes, span
        buffer, origin = self.lhs_origin(region.inner[len(region.inner) - self.run()[0] :])
        pitch = emitter.size(self.lhs.flat(region.rows, region.shape.rows) or 0) if self.lhs else "0"
        base, v, j, rows, count = (emitter.fresh(p) for p in "ovjhc")
        emitter.line(f"{base} = {origin} + {strip} * {self.tile.cols} * {pitch}")
        emitter.open(f"for {v} in range(0, {self.tile.cols}, {lanes}):")
        emitter.line(f"{rows} = min({lanes}, {self.m} - {strip} * {self.tile.cols} - {v})")
        emitter.open(f"for {j} in range({low}, {high}, {lanes}):")
        emitter.line(f"{count} = min({lanes}, {high} - {j})")
        call = f"(addr({buffer}, {base} + {v} * {pitch} + {j}), {pitch}, {panel} + {v}), "
        call += f"{places} + {first} + {j}), {rows}, {count})"
        emitter.line(f"if {rows} == {lanes} and {count} == {lanes}:")
        emitter.line(f"    {self.tile.turn('full')}{call}")
        emitter.line("else:")
        emitter.line(f"    {self.tile.turn('edge')}{call}")
        self.close(2)

    def lhs_origin(self, run: Sequence[Expr]) -> tuple[str, str]:
        """Return buffer and offset of lhs where its rows and the variables of a run are 0."""
        emitter, lhs = self.emitter, self.lhs
        if lhs is None:
            return "", "0"
        zeros = dict.fromkeys((*live(self.region.rows), *live(tuple(run))), expr.ZERO)
        position = tuple(substitute(p, zeros) for p in lhs.load.args)
        for p in position:
            emitter.text(p)
        buffer = emitter.buffers[lhs.load.data]
        return buffer.name, emitter.offset(buffer, position)

    def pack_elements(
        self, strip: str, panel: str, places: str, first: str, taken: int, span: tuple[str, str] | None
    ) -> None:
        """Pack lhs element by element, whatever its expression."""
        emitter, region, spec = self.emitter, self.region, self.region.shape
        split = len(region.inner) - taken
        opened = self.open(region.inner[split:], spec.inner[split:])
        lane, m, step, place = (emitter.fresh(p) for p in "jmqo")
        emitter.line(f"{step} = {first} + {self.flat(region.inner[split:], spec.inner[split:])}")
        if span is not None:
            emitter.open(f"if {step} >= {span[0]} and {step} < {span[1]}:", conditional=True)
            opened += 1
        emitter.open(f"for {lane} in range({self.tile.cols}):", live(region.rows))
        emitter.line(f"{m} = min({strip} * {self.tile.cols} + {lane}, {self.m - 1})")
        self.unravel(m, region.rows, spec.rows)
        emitter.line(f"{place} = {places} + {step})")
        value = emitter.text(region.lhs)
        emitter.line(f"{panel} + {lane})[{place}[0]] = {value}")
        self.close(opened + 1)

    # -- results
    def name_columns(self) -> tuple[dict[Expr, Expr], dict[Expr, Expr], bool]:
        """Return the result's axes along rows and columns, and whether columns can be counted as one."""
        axes = self.result_axes()
        cols = {axis: e for axis, e in axes.items() if mentions(e, self.region.cols)}
        rows = {axis: e for axis, e in axes.items() if axis not in cols}
        return rows, cols, joined.suits(self.region, cols)
