"""Rows: the schedule for regions whose innermost axis is reduced.

Softmax over classes, batch-norm statistics in NCHW: each row is finished before the next
begins, its values stay in registers or L1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc import dims
from graphc.codegen import scalar, tile_ahead
from graphc.codegen.emitter import Emitter, Scratch, initial, step
from graphc.codegen.loops import (
    Stage,
    body_dtype,
    close_loops,
    collapse,
    flat_position,
    join,
    loop_variables,
    open_loops,
    store_lines,
    wide,
)
from graphc.codegen.parts import open_parts, work
from graphc.lower import expr
from graphc.lower.affine import strided
from graphc.lower.expr import Expr
from graphc.lower.region import Reduction, Region, Store, walk
from graphc.lower.rewrite import substitute

# Elements summed in the value's own precision before they join the float64 total.
BLOCK = 1024
# Bytes of a row that is asked for in advance, at most: in longer ones processors read ahead by themselves.
AHEAD = 1 << 14


class Rows:
    """Schedule for regions whose innermost axis is reduced."""

    def __init__(self, emitter: Emitter, region: Region) -> None:
        self.emitter = emitter
        self.region = region
        outer = [a for a in range(len(region.space)) if a not in region.reduced]
        self.outer, self.inner = collapse(region, [outer, sorted(region.reduced)])
        self.saved: dict[Expr, Scratch] = {}

    def write(self) -> list[Stage]:
        """Write the kernel's body; return its stages."""
        emitter, region = self.emitter, self.region
        reduced = tuple(region.space[a] for a in region.reduced)
        units, opened = open_parts(emitter, region, self.outer, vector=False, inside=dims.product(reduced))
        self.row()
        close_loops(emitter, opened)
        return [Stage(units, work(dims.product(region.space), region.values))]

    def row(self) -> None:
        """Write one row: its phases, then its own values."""
        kept = kept_values(self.region)
        for phase in range(self.region.phases):
            self.phase(phase, kept)
            if phase == 0 and self.region.phases > 1:
                self.read_ahead()
        store_lines(self.emitter, [s for s in self.region.stores if s.phase is None and not s.column])

    def phase(self, phase: int, kept: Mapping[Expr, int]) -> None:
        """Write one trip through the reduced axes."""
        emitter, region = self.emitter, self.region
        reductions = [r for r in region.reductions if r.phase == phase]
        stores = [s for s in region.stores if s.phase == phase]
        saves = [e for e, first in kept.items() if first == phase]
        totals = [Total(emitter, r) for r in reductions]
        for total in totals:
            total.start()
        self.loops(totals, stores, saves, phase)
        for total in totals:
            emitter.name(expr.local(total.reduction.node, total.reduction.node.type.dtype), total.result())
        self.reuse(saves, stores)

    def read_ahead(self) -> None:
        """Ask for the next row, which then comes while the later phases compute this one."""
        emitter, region = self.emitter, self.region
        inner = tuple(region.indices[a] for a in sorted(region.reduced))
        sizes = tuple(region.space[a] for a in sorted(region.reduced))
        rows = [region.indices[a] for group in self.outer for a in group]
        length = dims.product(sizes)
        for e in dict.fromkeys(x for x in walk(region.values) if x.kind == "load"):
            found = strided(e)
            step = found.strides.get(rows[-1], 0) if found is not None and rows else 0
            most = AHEAD // e.dtype.itemsize
            long = isinstance(length, int) and length > most
            if found is None or step == 0 or long or found.flat(inner, sizes) != 1:
                continue
            buffer = emitter.buffers[e.data]
            first = tuple(substitute(p, dict.fromkeys(inner, expr.ZERO)) for p in e.args)
            for p in first:
                if p.kind != "index":
                    emitter.text(p)
            place = f"addr({buffer.name}, {emitter.offset(buffer, first)} + {emitter.size(step)})"
            count = str(length) if isinstance(length, int) else f"min({emitter.size(length)}, {most})"
            ahead = tile_ahead.name(str(buffer.dtype))
            emitter.line(f"{ahead}({place}, {count})")

    def beside(self, phase: int) -> None:
        """Write what else the inner loop of a phase does; nothing here."""

    def loops(
        self, totals: Sequence[Total], stores: Sequence[Store], saves: Sequence[Expr], phase: int
    ) -> None:
        """Write the loops of a phase: what they sum up, store and keep for later phases."""
        emitter, region = self.emitter, self.region
        *around, last = self.inner
        open_loops(emitter, region, around)
        extent = dims.product(tuple(region.space[a] for a in last))
        blocked = any(t.blocked for t in totals) and not (isinstance(extent, int) and extent <= BLOCK)
        n = emitter.size(extent)
        begin = "0"
        if blocked:
            begin = emitter.fresh("b")
            emitter.open(f"for {begin} in range(0, {n}, {BLOCK}):")
        for total in totals:
            total.start_part()
        variable = join(emitter, region, last)
        name = emitter.fresh("i")
        span = f"{begin}, min({begin} + {BLOCK}, {n})" if blocked else n
        emitter.open(f"for {name} in range({span}):", loop_variables(region, last, variable))
        emitter.name(variable, name)
        for total in totals:
            total.add(flat_position(self.emitter, self.region, self.inner) if total.arg else "0")
        for e in saves:
            self.save(e)
        self.beside(phase)
        store_lines(emitter, stores)
        emitter.close()
        for total in totals:
            total.finish_part()
        close_loops(emitter, len(around) + int(blocked))

    def save(self, e: Expr) -> None:
        """Keep a value for later phases, in working memory as long as the reduced axes."""
        shape = tuple(self.region.space[a] for a in sorted(self.region.reduced))
        scratch = Scratch(dims.product(shape), e.dtype)
        buffer = self.emitter.buffer(scratch, shape, e.dtype)
        self.saved[e] = scratch
        value = scalar.stored(self.emitter.text(e), e.dtype)
        self.emitter.line(f"{buffer.name}[{flat_position(self.emitter, self.region, self.inner)}] = {value}")

    def reuse(self, saves: Sequence[Expr], stores: Sequence[Store]) -> None:
        """From the next phase on, read what this one stored or kept."""
        inner = frozenset(self.region.indices[a] for a in self.region.reduced)
        for store in stores:
            # A broadcast row value is stored in the loop, yet also used outside of it.
            if store.value.kind not in ("load", "const", "local") and _varies(store.value, inner, {}):
                handle = ("out", store.node)
                self.emitter.replaced[store.value] = expr.load(handle, store.position, store.value.dtype)
        for e in saves:
            if e in self.emitter.replaced:
                continue
            # By its index, not a flat position: `offset` knows which axes share a loop.
            at = tuple(self.region.indices[a] for a in sorted(self.region.reduced))
            self.emitter.replaced[e] = expr.load(self.saved[e], at, e.dtype)


class Total:
    """One reduction of a phase: a wide total, and in float32 sums a partial sum per block."""

    def __init__(self, emitter: Emitter, reduction: Reduction) -> None:
        self.emitter = emitter
        self.reduction = reduction
        self.dtype = body_dtype(reduction)
        self.wide = wide(reduction.kind, self.dtype)
        self.arg = reduction.kind.startswith("arg")
        self.blocked = reduction.kind == "sum" and self.dtype.kind == "f"
        self.total = emitter.fresh("a")
        self.part = emitter.fresh("s") if self.blocked else self.total
        self.position = emitter.fresh("k") if self.arg else ""

    def start(self) -> None:
        """Write the initialization."""
        start = initial(self.reduction.kind, self.dtype)
        self.emitter.line(f"{self.total} = {scalar.literal(start, self.wide)}")
        if self.arg:
            self.emitter.line(f"{self.position} = 0")

    def start_part(self) -> None:
        """Write what precedes a block."""
        if self.blocked:
            self.emitter.line(f"{self.part} = {scalar.literal(0, self.dtype)}")

    def add(self, flat: str) -> None:
        """Write the step that takes in one element, at flat position `flat`."""
        text = self.emitter.text(self.reduction.body)
        dtype = self.dtype if self.blocked else self.wide
        if dtype != self.dtype:
            text = scalar.convert(text, self.dtype, dtype)
        for line in step(self.reduction.kind, dtype, self.part, self.position, text, flat):
            self.emitter.line(line)

    def finish_part(self) -> None:
        """Write what follows a block."""
        if self.blocked:
            self.emitter.line(f"{self.total} = {self.total} + {scalar.SHORT[self.wide]}({self.part})")

    def result(self) -> str:
        """Return the finished value's name, in the node's own dtype."""
        if self.arg:
            return self.position
        if self.wide == self.dtype:
            return self.total
        name = self.emitter.fresh("r")
        self.emitter.line(f"{name} = {scalar.SHORT[self.dtype]}({self.total})")
        return name


def kept_values(region: Region) -> dict[Expr, int]:
    """Return values that later phases need again and that are better kept than recomputed.

    These are values that cost a division or more, and those that a maximum or minimum has
    seen: recomputing ``x`` in ``exp(x - max(x))`` could differ from the maximum's ``x`` by
    one rounding, and exp turns that into an overflow.
    """
    inner = frozenset(region.indices[a] for a in region.reduced)
    by_phase: dict[int, list[Expr]] = {}
    for r in (*region.reductions, *region.columns):
        by_phase.setdefault(r.phase, []).append(r.body)
    for s in region.stores:
        if s.phase is not None:
            by_phase.setdefault(s.phase, []).append(s.value)
    first_seen: dict[Expr, int] = {}
    shared: dict[Expr, int] = {}
    for phase in sorted(by_phase):
        for e in walk(by_phase[phase]):
            if first_seen.setdefault(e, phase) < phase:
                shared.setdefault(e, first_seen[e])
    compared = {r.body for r in region.reductions if r.kind in ("max", "min", "argmax", "argmin")}
    varies: dict[Expr, bool] = {}
    worth: dict[Expr, int] = {}
    for e, phase in shared.items():
        simple = e.kind in ("load", "const", "index", "size", "local")
        if simple or not _varies(e, inner, varies):
            continue
        costly = e.kind in ("fold", "guard") or (e.kind == "call" and scalar.is_expensive(e.data))
        if costly or e in compared:
            worth[e] = phase
    return _outermost(worth)


def _varies(e: Expr, inner: frozenset[Expr], memo: dict[Expr, bool]) -> bool:
    for x in walk([e]):
        if x not in memo:
            memo[x] = x in inner or any(memo[a] for a in x.args)
    return memo[e]


def _outermost(worth: Mapping[Expr, int]) -> dict[Expr, int]:
    """Drop values that are only needed inside another kept value of the same phase."""
    covered: set[Expr] = set()
    for e, phase in worth.items():
        covered |= {x for x in walk(e.args) if worth.get(x) == phase and x is not e}
    return {e: p for e, p in worth.items() if e not in covered}
