"""Contractions as Python loops around the register tile.

For each batch index and each strip of columns, the loops run over chunks of the inner
axes and over blocks of rows::

    pack lhs (once)                       only where it is not evenly strided
    for each batch index:
        for each strip of columns:
            for each chunk of the inner axes:
                pack rhs chunk            only where its columns are not contiguous
                for each block of rows:
                    tile                  out (+)= lhs @ rhs, in registers
            epilogue of the strip         bias, activation, residual

Integer products and single-column results have no use for a tile and become plain sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc import dims
from graphc.codegen import direct
from graphc.codegen.contraction_loops import Loops, TiledLoops, live, mentions, static, strided_in
from graphc.codegen.emitter import Emitter, Scratch, step
from graphc.codegen.loops import KernelText, Stage, declare, finish, store_lines
from graphc.codegen.scalar import SHORT
from graphc.dims import Dim, Shape
from graphc.lower import expr
from graphc.lower.affine import Strided, Window, window
from graphc.lower.contraction import ContractionRegion
from graphc.lower.expr import Expr
from graphc.lower.region import Store
from graphc.lower.rewrite import substitute
from graphc.lower.rules import Index
from graphc.types import INT64, is_float

# Inner elements per chunk: a panel of rhs (chunk x strip) then stays in the L1 or L2 cache.
CHUNK = 512
# Column axes at least this long are packed in contiguous runs, shorter ones element by element.
SHORTEST_RUN = 64
# Assumed for one multiplication and addition.
PICOSECONDS = 15


def uses_tile(region: ContractionRegion) -> bool:
    """Tell whether the contraction is worth a register tile."""
    return is_float(region.dtype) and region.extent("cols") != 1


def generate(region: ContractionRegion, aliases: Mapping[object, object], width: int) -> KernelText:
    """Write the kernel of a contraction for vector registers of `width` bytes."""
    emitter = Emitter()
    values = [region.lhs, region.rhs, *(s.value for s in region.stores)]
    declare(emitter, values, region.stores, aliases)
    extents = (region.extent(g) for g in ("batch", "rows", "cols", "inner"))
    stages = [Stage(1, dims.floordiv(dims.product(tuple(extents)) * PICOSECONDS, 1000))]
    if not uses_tile(region):
        _Plain(emitter, region).write()
        return finish(emitter, stages)
    walked = direct.find(region)
    if walked is not None:
        direct.Direct(emitter, region, walked, width).write()
    else:
        _Tiled(emitter, region, aliases, width).write()
    return finish(emitter, stages)


class _Plain(Loops):
    """A sum per element: integers, and results of one column."""

    def write(self) -> None:
        region, emitter = self.region, self.emitter
        spec = region.shape
        count = self.open(region.batch, spec.batch) + self.open(region.rows, spec.rows)
        count += self.open(region.cols, spec.cols)
        total = emitter.fresh("a")
        short = SHORT[str(region.dtype)]
        emitter.line(f"{total} = {short}(0)")
        inner = self.open(region.inner, spec.inner)
        product = emitter.text(region.lhs * region.rhs)
        for line in step("sum", region.dtype, total, "", product, "0"):
            emitter.line(line)
        self.close(inner)
        emitter.name(expr.local(region.node, region.node.type.dtype), total)
        self.name_axes(self.result_axes())
        store_lines(emitter, region.stores)
        self.close(count)


class _Tiled(TiledLoops):
    """Blocks around a register tile."""

    def __init__(
        self, emitter: Emitter, region: ContractionRegion, aliases: Mapping[object, object], width: int
    ) -> None:
        super().__init__(emitter, region, static(region.extent("cols")), width)
        spec = region.shape
        self.split = _split(spec.inner)
        self.rest = dims.product(spec.inner[self.split + 1 :])
        self.chunk = _chunk(spec.inner[self.split], self.rest)
        self.lhs = self._direct(region.lhs, region.rows, spec.rows)
        self.rhs = self._direct(region.rhs, region.cols, spec.cols)
        if self.rhs is not None and self.rhs.flat(region.cols, spec.cols) != 1:
            self.rhs = None
        last = spec.cols[-1]
        self.runs = not isinstance(last, int) or last >= SHORTEST_RUN
        self.home = next((s for s in region.stores if self._holds_sum(s, aliases)), None)

    def _holds_sum(self, store: Store, aliases: Mapping[object, object]) -> bool:
        """Tell whether a result's memory may hold the unfinished sum: no operand may lie in it."""
        handle = ("out", store.node)
        free = handle not in aliases and handle not in aliases.values()
        return free and store.node.type.dtype == self.region.dtype

    def _direct(self, e: Expr, variables: Index, extents: Shape) -> Strided | None:
        inner, sizes = self.region.inner[self.split :], self.region.shape.inner[self.split :]
        return strided_in(e, variables, extents, inner, sizes)

    def write(self) -> None:
        region, emitter, spec = self.region, self.emitter, self.region.shape
        self.sum_buffer()
        hoisted = self.lhs is None and not mentions(region.lhs, region.batch)
        if hoisted:
            self.pack_lhs()
        batches = self.open(region.batch, spec.batch)
        if self.lhs is None and not hoisted:
            self.pack_lhs()
        base = emitter.fresh("o")
        position = self.flat(region.batch, spec.batch)
        emitter.line(f"{base} = ({position}) * {emitter.size(self.m * self.n)}")
        self.base = base
        self.strips()
        self.close(batches)

    def sum_buffer(self) -> None:
        """Choose where a strip's unfinished sums live: in a result, or in working memory."""
        emitter, dtype = self.emitter, self.region.dtype
        if self.home is not None:
            self.sums = emitter.buffers["out", self.home.node].name
            return
        count = self.m * self.tile.cols
        self.sums = emitter.buffer(Scratch(count, dtype), (count,), dtype).name

    @property
    def sum_pitch(self) -> str:
        """Distance of two rows of unfinished sums."""
        return str(self.tile.cols) if self.home is None else self.emitter.size(self.n)

    def sum_at(self, m: str, j: str) -> str:
        """Return the offset of the unfinished sum at row `m` and column `j` of the strip."""
        start = "0" if self.home is None else f"{self.base} + {self.strip}"
        return f"{start} + {m} * {self.sum_pitch} + {j}"

    # -- packing
    def pack_rhs(self, first: str, taken: str) -> None:
        """Copy a chunk of rhs into rows as long as the strip, padded with zeros."""
        emitter, region, spec = self.emitter, self.region, self.region.shape
        cols = self.tile.cols
        limit = self.chunk * self.rest * cols
        panel = emitter.buffer(Scratch(limit, region.dtype), (limit,), region.dtype).name
        self.rhs_panel = panel
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
        emitter.line(f"{start} = ({at}) * {cols}")
        if self.runs:
            self.pack_runs(panel, start)
        else:
            self.pack_columns(panel, start)
        if self.n != dims.floordiv(self.n, cols) * cols:
            lane = emitter.fresh("j")
            emitter.open(f"for {lane} in range({self.strip_width}, {cols}):")
            emitter.line(f"{panel}[{start} + {lane}] = {self.short}(0.0)")
            emitter.close()
        self.close(opened)

    def pack_columns(self, panel: str, start: str) -> None:
        """Pack one inner position column by column, each column's axes read from tables."""
        emitter, region = self.emitter, self.region
        lane = emitter.fresh("j")
        emitter.open(f"for {lane} in range({self.strip_width}):", live(region.cols))
        self.columns(lane)
        emitter.line(f"{panel}[{start} + {lane}] = {emitter.text(region.rhs)}")
        emitter.close()

    def pack_runs(self, panel: str, start: str) -> None:
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
            opened = self.narrow(inside, panel, f"{start} + {begin}", (low, high))
        inner = emitter.fresh("i")
        emitter.open(f"for {inner} in range({low}, {high}):", axes)
        for variable in axes:
            emitter.name(variable, inner)
        value = inside.inside if opened and inside is not None else region.rhs
        emitter.line(f"{panel}[{start} + {begin} + {inner}] = {emitter.text(value)}")
        self.close(opened + 2)

    def narrow(self, inside: Window, panel: str, start: str, span: tuple[str, str]) -> int:
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
        self.tables: dict[Expr, str] = {}
        if self.rhs is not None or self.runs or len(axes) < 2:
            return
        lane = emitter.fresh("j")
        emitter.open(f"for {lane} in range({self.strip_width}):", axes)
        name = emitter.fresh("x")
        emitter.line(f"{name} = {self.strip} + {lane}")
        self.unravel(name, region.cols, spec.cols)
        for variable in axes:
            table = emitter.buffer(Scratch(self.tile.cols, INT64), (self.tile.cols,), INT64).name
            self.tables[variable] = table
            emitter.line(f"{table}[{lane}] = {emitter.operand(variable)}")
        emitter.close()

    def columns(self, lane: str) -> None:
        """Name the column variables at position `lane` of the strip."""
        emitter = self.emitter
        for variable in self.region.cols:
            if variable.kind != "index":
                continue
            table = self.tables.get(variable)
            name = emitter.fresh("x")
            emitter.line(f"{name} = {table}[{lane}]" if table else f"{name} = {self.strip} + {lane}")
            emitter.name(variable, name)

    # -- the loops around the tile
    def strips(self) -> None:
        emitter, cols = self.emitter, self.tile.cols
        n = emitter.size(self.n)
        self.strip = emitter.fresh("n")
        emitter.open(f"for {self.strip} in range(0, {n}, {cols}):")
        self.strip_width = emitter.fresh("w")
        emitter.line(f"{self.strip_width} = min({cols}, {n} - {self.strip})")
        if self.k == 0 or not isinstance(self.k, int):
            self.clear()
        self.column_tables()
        self.chunks()
        self.epilogue()
        emitter.close()

    def clear(self) -> None:
        """Store zeros where the inner axes turn out empty: no tile would write the sum."""
        emitter = self.emitter
        emitter.open(f"if {emitter.size(self.k)} == 0:", conditional=True)
        m, j = emitter.fresh("m"), emitter.fresh("j")
        emitter.open(f"for {m} in range({emitter.size(self.m)}):")
        emitter.open(f"for {j} in range({self.strip_width}):")
        emitter.line(f"{self.sums}[{self.sum_at(m, j)}] = {self.short}(0.0)")
        emitter.close()
        emitter.close()
        emitter.close()

    def chunks(self) -> None:
        emitter, region, spec = self.emitter, self.region, self.region.shape
        around, outer = region.inner[: self.split], spec.inner[: self.split]
        opened = self.open(around, outer)
        axis, extent = region.inner[self.split], spec.inner[self.split]
        first, taken = emitter.fresh("f"), emitter.fresh("c")
        size, chunk = emitter.size(extent), self.chunk
        emitter.open(f"for {first} in range(0, {size}, {chunk}):", [axis] if axis.kind == "index" else [])
        emitter.line(f"{taken} = min({chunk}, {size} - {first})")
        if self.rhs is None:
            self.pack_rhs(first, taken)
        positions = [first, *(emitter.operand(v) for v in around if v.kind == "index")]
        started = " or ".join(f"{p} > 0" for p in positions)
        add = emitter.fresh("u")
        emitter.line(f"{add} = 1 if {started} else 0")
        self.blocks(first, taken, add)
        emitter.close()
        self.close(opened)

    def blocks(self, first: str, taken: str, add: str) -> None:
        emitter, rows = self.emitter, self.tile.rows
        m_text = emitter.size(self.m)
        inner = emitter.fresh("l")
        emitter.line(f"{inner} = {taken} * {emitter.size(self.rest)}")
        b, b_k = self.rhs_address(first)
        m = emitter.fresh("m")
        emitter.open(f"for {m} in range(0, {m_text}, {rows}):")
        height = emitter.fresh("h")
        emitter.line(f"{height} = min({rows}, {m_text} - {m})")
        a, a_row, a_k = self.lhs_address(m, first)
        c = f"addr({self.sums}, {self.sum_at(m, '0')})"
        call = f"({a}, {a_row}, {a_k}, {b}, {b_k}, {c}, {self.sum_pitch}, {inner}, "
        call += f"{height}, {self.strip_width}, {add})"
        full, edge = self.tile.name("full") + call, self.tile.name("edge") + call
        test = self.full_test(height)
        if test:
            emitter.line(f"if {test}:")
            emitter.line(f"    {full}")
            emitter.line("else:")
            emitter.line(f"    {edge}")
        else:
            emitter.line(full)
        emitter.close()

    def full_test(self, height: str) -> str:
        """Return the condition under which a whole tile fits; empty if it always does."""
        parts = []
        if not isinstance(self.m, int) or self.m % self.tile.rows:
            parts.append(f"{height} == {self.tile.rows}")
        if not isinstance(self.n, int) or self.n % self.tile.cols:
            parts.append(f"{self.strip_width} == {self.tile.cols}")
        return " and ".join(parts)

    def lhs_address(self, m: str, first: str) -> tuple[str, str, str]:
        """Return pointer, row stride and inner stride of lhs at row `m` of the current chunk."""
        emitter, region, spec = self.emitter, self.region, self.region.shape
        rows = self.tile.rows
        if self.lhs is None:
            before = self.flat(region.inner[: self.split], spec.inner[: self.split])
            split, rest = emitter.size(spec.inner[self.split]), emitter.size(self.rest)
            chunk = f"(({before}) * {split} + {first}) * {rest}"
            panel = f"({m} // {rows}) * {emitter.size(self.k * rows)}"
            return f"addr({self.lhs_panel}, {panel} + ({chunk}) * {rows})", "1", str(rows)
        row_stride = self.lhs.flat(region.rows, spec.rows)
        k_stride = self.lhs.flat(region.inner[self.split :], spec.inner[self.split :])
        base = self.origin(self.lhs, region.rows, first)
        a_row = emitter.size(row_stride if row_stride is not None else 0)
        a_k = emitter.size(k_stride if k_stride is not None else 0)
        return f"addr({base[0]}, {base[1]} + {m} * {a_row})", a_row, a_k

    def rhs_address(self, first: str) -> tuple[str, str]:
        """Return pointer and inner stride of rhs at the current strip and chunk."""
        emitter, region, spec = self.emitter, self.region, self.region.shape
        if self.rhs is None:
            return f"addr({self.rhs_panel}, 0)", str(self.tile.cols)
        k_stride = self.rhs.flat(region.inner[self.split :], spec.inner[self.split :])
        name, offset = self.origin(self.rhs, region.cols, first)
        return f"addr({name}, {offset} + {self.strip})", emitter.size(k_stride if k_stride is not None else 0)

    def origin(self, operand: Strided, own: Sequence[Expr], first: str) -> tuple[str, str]:
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

    # -- epilogue
    def epilogue(self) -> None:
        """Apply what is fused behind the contraction to the finished strip."""
        emitter, region, spec = self.emitter, self.region, self.region.shape
        local = expr.local(region.node, region.node.type.dtype)
        if self.home is not None and len(region.stores) == 1 and region.stores[0].value is local:
            return
        axes = self.result_axes()
        cols = {axis: e for axis, e in axes.items() if mentions(e, region.cols)}
        rows = {axis: e for axis, e in axes.items() if axis not in cols}
        m, j = emitter.fresh("m"), emitter.fresh("j")
        emitter.open(f"for {m} in range({emitter.size(self.m)}):", [*live(region.rows), *rows])
        self.unravel(m, region.rows, spec.rows)
        self.name_axes(rows)
        emitter.open(f"for {j} in range({self.strip_width}):", [*live(region.cols), *cols])
        flat = emitter.fresh("x")
        emitter.line(f"{flat} = {self.strip} + {j}")
        self.unravel(flat, region.cols, spec.cols)
        self.name_axes(cols)
        place = emitter.fresh("o")
        emitter.line(f"{place} = {self.base} + {m} * {emitter.size(self.n)} + {flat}")
        total = emitter.fresh("t")
        emitter.line(f"{total} = {self.sums}[{self.sum_at(m, j)}]")
        self.store_results(total, place)
        emitter.close()
        emitter.close()


def _chunk(extent: Dim, rest: Dim) -> int:
    """Return how many steps of the chunked axis make one chunk; chunks are evenly long."""
    if not isinstance(rest, int):
        return 1
    limit = max(1, CHUNK // max(rest, 1))
    if not isinstance(extent, int) or extent <= limit:
        return limit
    return -(-extent // -(-extent // limit))


def _split(inner: Shape) -> int:
    """Return the inner axis to cut into chunks: all after it fit in one, all before it are looped."""
    axis = len(inner) - 1
    rest: Dim = 1
    while axis > 0:
        wider = rest * inner[axis]
        if not isinstance(wider, int) or wider > CHUNK:
            break
        rest = wider
        axis -= 1
    return max(axis, 0)
