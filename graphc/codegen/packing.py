"""Copies of operands into panels, in the order in which a tile reads them.

A panel of rhs holds a chunk of the inner axes for one strip of columns, one row per inner
step.  A panel of lhs holds the tile's rows side by side, for all of the inner axes.
"""

from __future__ import annotations

from graphc import dims
from graphc.codegen import tile_copy, tile_transpose
from graphc.codegen.contraction_loops import Loops, live, mentions
from graphc.codegen.emitter import Emitter, Scratch
from graphc.codegen.scalar import SHORT
from graphc.dims import Dim
from graphc.lower import expr
from graphc.lower.affine import Strided, Window, window
from graphc.lower.contraction import ContractionRegion
from graphc.lower.expr import Expr
from graphc.lower.rewrite import substitute
from graphc.types import INT64

# Column axes at least this long are packed in contiguous runs, shorter ones element by element.
SHORTEST_RUN = 64
# Elements between two panels of lhs; how many are filled in one go, and how many inner steps are read side by
# side, whose rows may all lie in one set of the L1 cache.
STAGGER, TOGETHER, SIDE_BY_SIDE = 16, 64, 8


class Panels(Loops):
    """Packs the operands of a contraction.

    A subclass says which strip of columns it is at: `strip`, `strip_width`.
    """

    def __init__(
        self, emitter: Emitter, region: ContractionRegion, split: int, chunk: int, rows: int, cols: int
    ) -> None:
        super().__init__(emitter, region)
        spec = region.shape
        self.split, self.chunk = split, chunk
        self.rest = dims.product(spec.inner[split + 1 :])
        self.rows, self.cols = rows, cols
        self.short = SHORT[region.dtype]
        self.m, self.n, self.k = region.extent("rows"), region.extent("cols"), region.extent("inner")
        last = spec.cols[-1] if spec.cols else 1
        self.runs = not isinstance(last, int) or last >= SHORTEST_RUN
        self.tables: dict[Expr, str] = {}
        self.strip = self.strip_width = ""

    # -- lhs
    def pack_lhs(self, first: str, last: str, panel: str) -> None:
        """Copy rows `first` to `last` of lhs into panels of the tile's height."""
        emitter, region, spec, rows = self.emitter, self.region, self.region.shape, self.rows
        m = emitter.fresh("m")
        emitter.open(f"for {m} in range({first}, {last}):", live(region.rows))
        self.unravel(m, region.rows, spec.rows)
        start = emitter.fresh("o")
        emitter.line(f"{start} = ({m} // {rows}) * {emitter.size(self.lhs_pitch)} + {m} % {rows}")
        loops = self.open(region.inner, spec.inner)
        text = emitter.text(region.lhs)
        emitter.line(f"{panel}[{start} + ({self.flat(region.inner, spec.inner)}) * {rows}] = {text}")
        self.close(loops + 1)

    @property
    def lhs_pitch(self) -> Dim:
        """Distance of two panels of lhs: more than they take, so that they do not collide in a cache."""
        return self.k * self.rows + STAGGER

    @property
    def lhs_size(self) -> Dim:
        """Elements of all panels of lhs for one index of the batch."""
        return dims.floordiv(self.m + (self.rows - 1), self.rows) * self.lhs_pitch

    def lhs_panels(self, count: Dim, *, shared: bool) -> Scratch:
        """Return the memory for all panels of lhs, for so many indices of the batch."""
        panels = Scratch(count * self.lhs_size, self.region.dtype, shared)
        self.emitter.buffer(panels, (panels.count,), panels.dtype)
        return panels

    def copy_lhs(self, lhs: Strided, batches: Dim, panel: str) -> Dim:
        """Copy this block's part of lhs, whose rows are neighbours in memory, into panels.

        Returns into how many blocks that can be cut.
        """
        emitter, region, spec, rows = self.emitter, self.region, self.region.shape, self.rows
        each = TOGETHER * rows
        groups = dims.floordiv(self.m + (each - 1), each)
        first, last = emitter.part(emitter.size(batches * groups))
        unit, low, whole, left, place, block, taken, q, p, r = (emitter.fresh(x) for x in "umwlobcqgr")
        emitter.open(f"for {unit} in range({first}, {last}):", live(region.batch))
        if batches != 1:
            self.unravel(f"({unit} // {emitter.size(groups)})", region.batch, spec.batch)
        emitter.line(f"{low} = {unit} % {emitter.size(groups)} * {each}")
        emitter.line(f"{whole} = min({each}, {emitter.size(self.m)} - {low}) // {rows}")
        emitter.line(f"{left} = min({each}, {emitter.size(self.m)} - {low}) - {whole} * {rows}")
        around, sizes = region.inner[: self.split], spec.inner[: self.split]
        opened = self.open(around, sizes)
        name, at = self.origin(lhs, region.rows, "0")
        steps = spec.inner[self.split] * self.rest
        step = lhs.flat(region.inner[self.split :], spec.inner[self.split :]) or 0
        start = f"({self.flat(around, sizes)}) * {emitter.size(steps)}"
        pitch, size = emitter.size(self.lhs_pitch), emitter.size(self.lhs_size)
        emitter.line(f"{place} = {unit} // {emitter.size(groups)} * {size} + {low} // {rows} * {pitch}")
        end = emitter.size(steps)
        emitter.open(f"for {block} in range(0, {end}, {SIDE_BY_SIDE}):")
        emitter.line(f"{taken} = min({SIDE_BY_SIDE}, {end} - {block})")
        source = f"{at} + {low} + {block} * {emitter.size(step)}"
        target = f"{place} + ({start} + {block}) * {rows}"
        emitter.open(f"for {p} in range({whole}):")
        from_, to = f"addr({name}, {source} + {p} * {rows})", f"addr({panel}, {target} + {p} * {pitch})"
        copy = tile_copy.name(self.short, rows)
        emitter.line(f"{copy}({from_}, {emitter.size(step)}, {to}, {rows}, {taken})")
        emitter.close()
        emitter.open(f"for {q} in range({taken}):")
        emitter.open(f"for {r} in range({left}):")
        to = f"{panel}[{target} + {whole} * {pitch} + {q} * {rows} + {r}]"
        emitter.line(f"{to} = {name}[{source} + {whole} * {rows} + {q} * {emitter.size(step)} + {r}]")
        self.close(2)
        self.close(opened + 2)
        return batches * groups

    # -- rhs
    def pack_rhs(self, first: str, last: str, panel: str) -> None:
        """Copy strips `first` to `last` of rhs into panels of the tile's width, each for all inner steps."""
        emitter, region, spec, cols = self.emitter, self.region, self.region.shape, self.cols
        strip, lane, n, row = (emitter.fresh(p) for p in "sjno")
        emitter.open(f"for {strip} in range({first}, {last}):")
        loops = self.open(region.inner, spec.inner)
        inner = self.flat(region.inner, spec.inner)
        emitter.line(f"{row} = ({strip} * {emitter.size(self.k)} + {inner}) * {cols}")
        width = f"min({cols}, {emitter.size(self.n)} - {strip} * {cols})"
        emitter.open(f"for {lane} in range({width}):", live(region.cols))
        emitter.line(f"{n} = {strip} * {cols} + {lane}")
        self.unravel(n, region.cols, spec.cols)
        emitter.line(f"{panel}[{row} + {lane}] = {emitter.text(region.rhs)}")
        self.close(loops + 2)

    def rhs_panels(self) -> Scratch:
        """Return the memory for all panels of rhs."""
        count: Dim = dims.floordiv(self.n + (self.cols - 1), self.cols) * self.k * self.cols
        panels = Scratch(count, self.region.dtype, shared=True)
        self.emitter.buffer(panels, (count,), panels.dtype)
        return panels

    def rhs_panel(self, *, pitched: bool = False) -> str:
        """Return the memory for one strip of one chunk of rhs; `pitched` if its columns lie at `pitch`."""
        steps, dtype = self.chunk * self.rest, self.region.dtype
        if not pitched and isinstance(self.k, int) and isinstance(steps, int):
            steps = min(steps, max(self.k, 1))
        count = steps * self.cols
        return self.emitter.buffer(Scratch(count, dtype), (count,), dtype).name

    @property
    def pitch(self) -> str:
        """Distance of two columns in a panel of columns one behind the other."""
        return self.emitter.size(self.chunk * self.rest)

    def copy(self, panel: str, source: tuple[str, str], step: str, count: str) -> None:
        """Pack `count` rows that lie in memory, `step` elements apart from `source` on."""
        emitter = self.emitter
        row, lane = emitter.fresh("q"), emitter.fresh("j")
        name, at = source
        emitter.open(f"for {row} in range({count}):")
        emitter.open(f"for {lane} in range({self.strip_width}):")
        emitter.line(f"{panel}[{row} * {self.cols} + {lane}] = {name}[{at} + {row} * {step} + {lane}]")
        self.close(2)

    def transpose(self, panel: str, source: tuple[str, str], step: str, count: str, lanes: int) -> None:
        """Pack `count` steps of columns that lie in memory along the inner axes, `step` elements apart."""
        emitter, cols = self.emitter, self.cols
        name, at = source
        whole_j, whole_q, j, q = (emitter.fresh(p) for p in "wwjq")
        emitter.line(f"{whole_j} = {self.strip_width} // {lanes} * {lanes}")
        emitter.line(f"{whole_q} = {count} // {lanes} * {lanes}")
        block = tile_transpose.name(self.short, lanes)
        emitter.open(f"for {j} in range(0, {whole_j}, {lanes}):")
        emitter.open(f"for {q} in range(0, {whole_q}, {lanes}):")
        origin = f"addr({name}, {at} + {j} * {step} + {q})"
        emitter.line(f"{block}({origin}, {step}, addr({panel}, {q} * {cols} + {j}), {cols})")
        self.close(2)
        # The last steps of all columns, then the last columns: loops as long as possible inside.
        emitter.open(f"for {q} in range({whole_q}, {count}):")
        emitter.open(f"for {j} in range({self.strip_width}):")
        emitter.line(f"{panel}[{q} * {cols} + {j}] = {name}[{at} + {j} * {step} + {q}]")
        self.close(2)
        emitter.open(f"for {j} in range({whole_j}, {self.strip_width}):")
        emitter.open(f"for {q} in range({whole_q}):")
        emitter.line(f"{panel}[{q} * {cols} + {j}] = {name}[{at} + {j} * {step} + {q}]")
        self.close(2)

    def across(self, panel: str, source: tuple[str, str], steps: tuple[str, str], count: str) -> None:
        """Pack columns one behind the other, each along `count` inner steps, for dot tiles."""
        emitter = self.emitter
        name, at = source
        j, q = emitter.fresh("j"), emitter.fresh("q")
        own, inner = steps
        emitter.open(f"for {q} in range({count}):")
        emitter.open(f"for {j} in range({self.strip_width}):")
        target = f"{panel}[{j} * {self.pitch} + {q}]"
        emitter.line(f"{target} = {name}[{at} + {j} * {own} + {q} * {inner}]")
        self.close(2)

    def gather(self, panel: str, first: str, taken: str) -> None:
        """Pack a chunk of rhs by its index expression."""
        emitter, region, spec = self.emitter, self.region, self.region.shape
        axis, rest = region.inner[self.split], region.inner[self.split + 1 :]
        row = emitter.fresh("q")
        opened = 0
        if axis.kind == "index":
            emitter.open(f"for {row} in range({taken}):", [axis])
            name = emitter.fresh("x")
            emitter.line(f"{name} = {first} + {row}")
            emitter.name(axis, name)
            opened = 1
        opened += self.open(rest, spec.inner[self.split + 1 :])
        inside = self.flat(rest, spec.inner[self.split + 1 :])
        at = f"({row}) * {emitter.size(self.rest)} + {inside}" if axis.kind == "index" else inside
        start = emitter.fresh("o")
        emitter.line(f"{start} = ({at}) * {self.cols}")
        if self.runs:
            self._in_runs(panel, start)
        else:
            self._by_columns(panel, start)
        self.close(opened)

    def _by_columns(self, panel: str, start: str) -> None:
        """Pack one inner position column by column, each column's axes read from tables."""
        emitter, region = self.emitter, self.region
        lane = emitter.fresh("j")
        emitter.open(f"for {lane} in range({self.strip_width}):", live(region.cols))
        self._name_columns(lane)
        emitter.line(f"{panel}[{start} + {lane}] = {emitter.text(region.rhs)}")
        emitter.close()

    def _in_runs(self, panel: str, start: str) -> None:
        """Pack one inner position in runs along the last column axis, where memory is contiguous."""
        emitter, region, spec = self.emitter, self.region, self.region.shape
        length = emitter.size(spec.cols[-1])
        run, begin, low, high = (emitter.fresh(p) for p in "rbxx")
        last = f"({self.strip} + {self.strip_width} + {length} - 1) // {length}"
        emitter.open(f"for {run} in range({self.strip} // {length}, {last}):", live(region.cols[:-1]))
        self.unravel(run, region.cols[:-1], spec.cols[:-1])
        emitter.line(f"{begin} = {run} * {length} - {self.strip}")
        emitter.line(f"{low} = max(0, -{begin})")
        emitter.line(f"{high} = min({length}, {self.strip_width} - {begin})")
        axes = live(region.cols[-1:])
        inside = window(region.rhs, axes[0]) if axes else None
        opened = 0
        if inside is not None and inside.outside.kind == "const":
            opened = self._narrow(inside, panel, f"{start} + {begin}", (low, high))
        inner = emitter.fresh("i")
        emitter.open(f"for {inner} in range({low}, {high}):", axes)
        for variable in axes:
            emitter.name(variable, inner)
        value = inside.inside if opened and inside is not None else region.rhs
        emitter.line(f"{panel}[{start} + {begin} + {inner}] = {emitter.text(value)}")
        self.close(opened + 2)

    def _narrow(self, inside: Window, panel: str, start: str, span: tuple[str, str]) -> int:
        """Fill the run with the guard's other value and shrink it to where the guard holds.

        The inner loop then has no branch, and vectorizes.
        """
        emitter, (low, high) = self.emitter, span
        fill = emitter.fresh("i")
        emitter.open(f"for {fill} in range({low}, {high}):")
        emitter.line(f"{panel}[{start} + {fill}] = {emitter.text(inside.outside)}")
        emitter.close()
        for bound in inside.lower:
            emitter.line(f"{low} = max({low}, {emitter.text(bound)})")
        for bound in inside.upper:
            emitter.line(f"{high} = min({high}, {emitter.text(bound)})")
        tests = [emitter.text(c) for c in inside.conditions] or ["True"]
        emitter.open(f"if {' and '.join(tests)}:", conditional=True)
        return 1

    def column_tables(self) -> None:
        """Divide the strip's flattened columns into their axes once, not once per inner element."""
        emitter, region, spec = self.emitter, self.region, self.region.shape
        axes = live(region.cols)
        if self.runs or len(axes) < 2:
            return
        lane = emitter.fresh("j")
        emitter.open(f"for {lane} in range({self.strip_width}):", axes)
        name = emitter.fresh("x")
        emitter.line(f"{name} = {self.strip} + {lane}")
        self.unravel(name, region.cols, spec.cols)
        for variable in axes:
            table = self.tables.get(variable)
            if table is None:
                table = emitter.buffer(Scratch(self.cols, INT64), (self.cols,), INT64).name
                self.tables[variable] = table
            emitter.line(f"{table}[{lane}] = {emitter.operand(variable)}")
        emitter.close()

    def _name_columns(self, lane: str) -> None:
        """Name the column variables at position `lane` of the strip."""
        emitter = self.emitter
        for variable in self.region.cols:
            if variable.kind != "index":
                continue
            table = self.tables.get(variable)
            name = emitter.fresh("x")
            emitter.line(f"{name} = {table}[{lane}]" if table else f"{name} = {self.strip} + {lane}")
            emitter.name(variable, name)

    # -- addresses
    def origin(self, operand: Strided, own: tuple[Expr, ...], first: str) -> tuple[str, str]:
        """Return buffer and offset of an operand with its own axes at 0 and the chunk at its start."""
        emitter, region = self.emitter, self.region
        axis = region.inner[self.split]
        begin = expr.index("chunk")
        emitter.name(begin, first)
        zeros = {v: expr.ZERO for v in (*own, *region.inner[self.split + 1 :]) if v.kind == "index"}
        start = {**zeros, axis: begin} if axis.kind == "index" else zeros
        position = tuple(substitute(p, start) for p in operand.load.args)
        for p in position:
            emitter.text(p)
        buffer = emitter.buffers[operand.load.data]
        return buffer.name, emitter.offset(buffer, position)

    def depends_on_batch(self) -> bool:
        """Tell whether lhs differs within the batch."""
        return mentions(self.region.lhs, self.region.batch)
