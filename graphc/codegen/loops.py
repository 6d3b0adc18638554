"""Regions as Python loop nests.

Two schedules.  *Rows*: the innermost axis of the space is reduced (softmax over classes,
batch-norm statistics in NCHW); each row is finished before the next begins, its values
stay in registers or L1.  *Lanes*: the innermost axis is kept (a bias gradient sums over
the batch); a strip of neighbouring columns is accumulated side by side, so that memory is
read in its own order and the inner loop still vectorizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from graphc import dims
from graphc.codegen import scalar
from graphc.codegen.emitter import Emitter, initial, step
from graphc.dims import Dim, Shape
from graphc.ir import Node
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.region import Reduction, Region, Store, walk
from graphc.types import FLOAT32, FLOAT64, DType

# Elements summed in the value's own precision before they join the float64 total.
BLOCK = 1024
# Neighbouring columns accumulated together: two to four cache lines a row.
LANES = 64


@dataclass(frozen=True, eq=False)
class Scratch:
    """Working memory of one kernel: a handle for loads, with its size and dtype."""

    count: Dim
    dtype: DType


@dataclass(frozen=True)
class KernelText:
    """A generated kernel.

    Attributes
    ----------
    params : tuple of (str, str)
        Names and kinds in argument order.
    code : str
        ``def kernel(...)``.
    pointers : dict
        For each pointer parameter, the node or `Scratch` whose memory it is.
    sizes : dict
        For each size parameter, its dimension.
    checks : tuple of Node
        Nodes whose run-time checks the kernel performs, in the order of its code parameters.
    """

    params: tuple[tuple[str, str], ...]
    code: str
    pointers: Mapping[str, object]
    sizes: Mapping[str, Dim]
    checks: tuple[Node, ...]


def finish(emitter: Emitter) -> KernelText:
    """Collect the finished kernel from its emitter."""
    code = emitter.finish()
    pointers: dict[str, object] = {}
    for handle, buffer in emitter.buffers.items():
        # Where memory is shared, the first handle names it.
        pointers.setdefault(buffer.name, handle)
    sizes = {name: d for d, name in emitter.sizes.items()}
    return KernelText(tuple(emitter.params.items()), code, pointers, sizes, tuple(emitter.messages))


def generate(region: Region, aliases: Mapping[object, object]) -> KernelText:
    """Write the kernel of a region.

    Parameters
    ----------
    region : Region
        What to compute.
    aliases : mapping
        Handles that lie in the memory of another handle (see `Assignment.aliases`).
    """
    emitter = Emitter()
    values = [r.body for r in region.reductions] + [s.value for s in region.stores]
    declare(emitter, values, region.stores, aliases)
    if not region.reduced:
        _write_map(emitter, region)
    elif len(region.space) - 1 in region.reduced:
        _Rows(emitter, region).write()
    else:
        _Lanes(emitter, region).write()
    return finish(emitter)


def declare(
    emitter: Emitter, values: Sequence[Expr], stores: Sequence[Store], aliases: Mapping[object, Any]
) -> None:
    """Make the pointer parameters of everything that is read or written."""
    wanted: list[tuple[object, Node]] = [(e.data, e.data) for e in walk(values) if e.kind == "load"]
    wanted += [(("out", s.node), s.node) for s in stores]
    for handle, node in wanted:
        owner = aliases.get(handle)
        if owner is not None:
            source: Node = owner[1] if isinstance(owner, tuple) else owner
            emitter.buffer(owner, source.type.shape, source.type.dtype)
        emitter.buffer(handle, node.type.shape, node.type.dtype, share=owner)


def store_lines(emitter: Emitter, stores: Sequence[Store]) -> None:
    """Write results to their buffers, all values before the first store: a result may lie in an operand."""
    lines: list[str] = []
    for store in stores:
        buffer = emitter.buffers["out", store.node]
        value = emitter.text(store.value)
        text = f"u8({value})" if str(buffer.dtype) == "bool" else value
        lines.append(f"{buffer.name}[{emitter.offset(buffer, _emitted(emitter, store.position))}] = {text}")
    for line in lines:
        emitter.line(line)


def _emitted(emitter: Emitter, position: Sequence[Expr]) -> Sequence[Expr]:
    for e in position:
        if e.kind != "index":
            emitter.text(e)
    return position


# ------------------------------------------------------------------------ maps
def _write_map(emitter: Emitter, region: Region) -> None:
    groups = collapse(region, [list(range(len(region.space)))])[0]
    _open_loops(emitter, region, groups)
    store_lines(emitter, region.stores)
    _close_loops(emitter, len(groups))


Group = tuple[int, ...]


def collapse(region: Region, runs: Sequence[Sequence[int]]) -> list[list[Group]]:
    """Join neighbouring axes that every access walks together, so that inner loops are long.

    `runs` lists axes that stand in one nest; only neighbours within a run are joined.
    """
    accesses = [e.args for e in walk(_values(region)) if e.kind == "load"]
    accesses += [s.position for s in region.stores]
    shapes = [e.data.type.shape for e in walk(_values(region)) if e.kind == "load"]
    shapes += [s.node.type.shape for s in region.stores]
    loose = _loose_indices(region)
    result: list[list[Group]] = []
    for run in runs:
        groups: list[Group] = []
        for axis in run:
            before = groups[-1][-1] if groups else -2
            if before == axis - 1 and _joinable(region, before, accesses, shapes, loose):
                groups[-1] = (*groups[-1], axis)
            else:
                groups.append((axis,))
        result.append(groups)
    return result


def _values(region: Region) -> list[Expr]:
    return [r.body for r in region.reductions] + [s.value for s in region.stores]


def _loose_indices(region: Region) -> set[Expr]:
    """Return loop variables that are used otherwise than as a whole position of a load."""
    used: set[Expr] = set()
    for e in walk(_values(region)):
        inner = e.args
        if e.kind == "load":
            inner = tuple(a for arg in e.args if arg.kind != "index" for a in walk([arg]))
        used |= {a for a in inner if a.kind == "index"}
    return used


def _joinable(
    region: Region,
    axis: int,
    accesses: Sequence[Sequence[Expr]],
    shapes: Sequence[Shape],
    loose: set[Expr],
) -> bool:
    first, second = region.indices[axis], region.indices[axis + 1]
    if first in loose or second in loose:
        return False
    for position, shape in zip(accesses, shapes, strict=True):
        places = [k for k, e in enumerate(position) if e is first or e is second]
        if not places:
            continue
        adjacent = len(places) == 2 and places[1] == places[0] + 1
        in_order = adjacent and position[places[0]] is first and position[places[1]] is second
        if not in_order or shape[places[1]] != region.space[axis + 1]:
            return False
    return True


def _open_loops(emitter: Emitter, region: Region, groups: Sequence[Group]) -> None:
    for group in groups:
        extent = dims.product(tuple(region.space[a] for a in group))
        variable = join(emitter, region, group)
        name = emitter.fresh("i")
        emitter.open(f"for {name} in range({emitter.size(extent)}):", _variables(region, group, variable))
        emitter.name(variable, name)


def _variables(region: Region, group: Group, joined: Expr) -> list[Expr]:
    return [joined, *(region.indices[a] for a in group)]


def join(emitter: Emitter, region: Region, group: Group) -> Expr:
    """Return the loop variable of a group of axes, and let offsets use it for the whole group."""
    joined = region.indices[group[0]]
    for axis in group[1:]:
        step_ = expr.index(f"{joined.data}_{axis}")
        emitter.merged[joined, region.indices[axis]] = step_
        joined = step_
    return joined


def _close_loops(emitter: Emitter, count: int) -> None:
    for _ in range(count):
        emitter.close()


# ------------------------------------------------------------------------ rows
def wide(kind: str, dtype: DType) -> DType:
    """Return the dtype in which a reduction keeps its total: float32 sums are kept in float64."""
    return FLOAT64 if dtype == FLOAT32 and kind in ("sum", "prod") else dtype


def _body_dtype(r: Reduction) -> DType:
    return r.body.dtype if r.kind.startswith("arg") else r.node.type.dtype


class _Rows:
    """Schedule for regions whose innermost axis is reduced."""

    def __init__(self, emitter: Emitter, region: Region) -> None:
        self.emitter = emitter
        self.region = region
        outer = [a for a in range(len(region.space)) if a not in region.reduced]
        self.outer, self.inner = collapse(region, [outer, sorted(region.reduced)])
        self.saved: dict[Expr, Scratch] = {}

    def write(self) -> None:
        emitter, region = self.emitter, self.region
        _open_loops(emitter, region, self.outer)
        kept = kept_values(region)
        for phase in range(region.phases):
            self.phase(phase, kept)
        store_lines(emitter, [s for s in region.stores if s.phase is None])
        _close_loops(emitter, len(self.outer))

    def phase(self, phase: int, kept: Mapping[Expr, int]) -> None:
        emitter, region = self.emitter, self.region
        reductions = [r for r in region.reductions if r.phase == phase]
        stores = [s for s in region.stores if s.phase == phase]
        saves = [e for e, first in kept.items() if first == phase]
        totals = [_Total(emitter, r) for r in reductions]
        for total in totals:
            total.start()
        self.loops(totals, stores, saves)
        for total in totals:
            emitter.name(expr.local(total.reduction.node, total.reduction.node.type.dtype), total.result())
        self.reuse(saves, stores)

    def loops(self, totals: Sequence[_Total], stores: Sequence[Store], saves: Sequence[Expr]) -> None:
        emitter, region = self.emitter, self.region
        *around, last = self.inner
        _open_loops(emitter, region, around)
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
        emitter.open(f"for {name} in range({span}):", _variables(region, last, variable))
        emitter.name(variable, name)
        for total in totals:
            total.add(self.flat() if total.arg else "0")
        for e in saves:
            self.save(e)
        store_lines(emitter, stores)
        emitter.close()
        for total in totals:
            total.finish_part()
        _close_loops(emitter, len(around) + int(blocked))

    def flat(self) -> str:
        """Return the position within the reduced axes as text."""
        text = ""
        for group in self.inner:
            extent = dims.product(tuple(self.region.space[a] for a in group))
            term = self.emitter.operand(self._joined(group))
            text = term if not text else f"({text}) * {self.emitter.size(extent)} + {term}"
        return text

    def _joined(self, group: Group) -> Expr:
        joined = self.region.indices[group[0]]
        for axis in group[1:]:
            joined = self.emitter.merged[joined, self.region.indices[axis]]
        return joined

    def save(self, e: Expr) -> None:
        """Keep a value for later phases, in working memory as long as the reduced axes."""
        space = self.region.space
        count = dims.product(tuple(space[a] for a in sorted(self.region.reduced)))
        scratch = Scratch(count, e.dtype)
        buffer = self.emitter.buffer(scratch, (count,), e.dtype)
        self.saved[e] = scratch
        text = self.emitter.text(e)
        value = f"u8({text})" if str(e.dtype) == "bool" else text
        self.emitter.line(f"{buffer.name}[{self.flat()}] = {value}")

    def reuse(self, saves: Sequence[Expr], stores: Sequence[Store]) -> None:
        """From the next phase on, read what this one stored or kept."""
        for store in stores:
            if store.value.kind not in ("load", "const", "local"):
                handle = ("out", store.node)
                self.emitter.replaced[store.value] = expr.load(handle, store.position, store.value.dtype)
        for e in saves:
            if e in self.emitter.replaced:
                continue
            axes = sorted(self.region.reduced)
            flat = expr.ZERO
            for a in axes:
                flat = flat * expr.size(self.region.space[a]) + self.region.indices[a]
            self.emitter.replaced[e] = expr.load(self.saved[e], (flat,), e.dtype)


class _Total:
    """One reduction of a phase: a wide total, and in float32 sums a partial sum per block."""

    def __init__(self, emitter: Emitter, reduction: Reduction) -> None:
        self.emitter = emitter
        self.reduction = reduction
        self.dtype = _body_dtype(reduction)
        self.wide = wide(reduction.kind, self.dtype)
        self.arg = reduction.kind.startswith("arg")
        self.blocked = reduction.kind == "sum" and self.dtype.kind == "f"
        self.total = emitter.fresh("a")
        self.part = emitter.fresh("s") if self.blocked else self.total
        self.position = emitter.fresh("k") if self.arg else ""

    def start(self) -> None:
        start = initial(self.reduction.kind, self.dtype)
        kept = self.wide if self.blocked or self.wide != self.dtype else self.dtype
        self.emitter.line(f"{self.total} = {scalar.literal(start, kept)}")
        if self.arg:
            self.emitter.line(f"{self.position} = 0")

    def start_part(self) -> None:
        if self.blocked:
            self.emitter.line(f"{self.part} = {scalar.literal(0, self.dtype)}")

    def add(self, flat: str) -> None:
        text = self.emitter.text(self.reduction.body)
        dtype = self.dtype if self.blocked else self.wide
        if dtype != self.dtype:
            text = scalar.convert(text, self.dtype, dtype)
        for line in step(self.reduction.kind, dtype, self.part, self.position, text, flat):
            self.emitter.line(line)

    def finish_part(self) -> None:
        if self.blocked:
            self.emitter.line(f"{self.total} = {self.total} + {scalar.SHORT[str(self.wide)]}({self.part})")

    def result(self) -> str:
        """Return the finished value's name, in the node's own dtype."""
        if self.arg:
            return self.position
        if self.wide == self.dtype:
            return self.total
        name = self.emitter.fresh("r")
        self.emitter.line(f"{name} = {scalar.SHORT[str(self.dtype)]}({self.total})")
        return name


def kept_values(region: Region) -> dict[Expr, int]:
    """Return values that later phases need again and that are better kept than recomputed.

    These are values that cost a division or more, and those that a maximum or minimum has
    seen: recomputing ``x`` in ``exp(x - max(x))`` could differ from the maximum's ``x`` by
    one rounding, and exp turns that into an overflow.
    """
    inner = frozenset(region.indices[a] for a in region.reduced)
    by_phase: dict[int, list[Expr]] = {}
    for r in region.reductions:
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


# ----------------------------------------------------------------------- lanes
class _Lanes:
    """Schedule for regions whose innermost axis is kept while outer ones are reduced."""

    def __init__(self, emitter: Emitter, region: Region) -> None:
        self.emitter = emitter
        self.region = region
        last = len(region.space) - 1
        outer = [a for a in range(last) if a not in region.reduced]
        self.outer, self.inner = collapse(region, [outer, sorted(region.reduced)])
        self.lane_axis = last

    def write(self) -> None:
        emitter, region = self.emitter, self.region
        _open_loops(emitter, region, self.outer)
        n = emitter.size(region.space[self.lane_axis])
        self.strip = emitter.fresh("b")
        emitter.open(f"for {self.strip} in range(0, {n}, {LANES}):")
        self.width = emitter.fresh("w")
        emitter.line(f"{self.width} = min({LANES}, {n} - {self.strip})")
        for phase in range(region.phases):
            self.phase(phase)
        rows = [s for s in region.stores if s.phase is None]
        if rows:
            self.lane_loop([partial(store_lines, emitter, rows)])
        emitter.close()
        _close_loops(emitter, len(self.outer))

    def lane_loop(self, body: Sequence[Callable[[], None]]) -> None:
        """Write a loop over the columns of the strip around what the parts of `body` write."""
        emitter = self.emitter
        lane = emitter.fresh("j")
        index = self.region.indices[self.lane_axis]
        emitter.open(f"for {lane} in range({self.width}):", [index])
        emitter.name(_LANE, lane)
        column = emitter.fresh("i")
        emitter.line(f"{column} = {self.strip} + {lane}")
        emitter.name(index, column)
        for write in body:
            write()
        emitter.close()

    def phase(self, phase: int) -> None:
        emitter, region = self.emitter, self.region
        totals = [_LaneTotal(emitter, r) for r in region.reductions if r.phase == phase]
        stores = [s for s in region.stores if s.phase == phase]
        if totals:
            self.lane_loop([t.start for t in totals])
        _open_loops(emitter, region, self.inner)

        def body() -> None:
            for total in totals:
                total.add(self.flat() if total.arg else "0")
            store_lines(emitter, stores)

        self.lane_loop([body])
        _close_loops(emitter, len(self.inner))
        for total in totals:
            node = total.reduction.node
            emitter.replaced[expr.local(node, node.type.dtype)] = total.value()

    def flat(self) -> str:
        """Return the position within the reduced axes as text."""
        text = ""
        for group in self.inner:
            joined = self.region.indices[group[0]]
            for axis in group[1:]:
                joined = self.emitter.merged[joined, self.region.indices[axis]]
            extent = dims.product(tuple(self.region.space[a] for a in group))
            term = self.emitter.operand(joined)
            text = term if not text else f"({text}) * {self.emitter.size(extent)} + {term}"
        return text


_LANE = expr.index("lane")


class _LaneTotal:
    """One reduction over a strip: an accumulator per column, in working memory."""

    def __init__(self, emitter: Emitter, reduction: Reduction) -> None:
        self.emitter = emitter
        self.reduction = reduction
        self.dtype = _body_dtype(reduction)
        self.wide = wide(reduction.kind, self.dtype)
        self.arg = reduction.kind.startswith("arg")
        self.scratch = Scratch(LANES, self.wide)
        self.buffer = emitter.buffer(self.scratch, (LANES,), self.wide)
        self.positions = Scratch(LANES, reduction.node.type.dtype)
        self.where = emitter.buffer(self.positions, (LANES,), reduction.node.type.dtype) if self.arg else None

    def _cell(self) -> str:
        return f"{self.buffer.name}[{self.emitter.operand(_LANE)}]"

    def _where(self) -> str:
        return f"{self.where.name}[{self.emitter.operand(_LANE)}]" if self.where is not None else ""

    def start(self) -> None:
        start = scalar.literal(initial(self.reduction.kind, self.dtype), self.wide)
        self.emitter.line(f"{self._cell()} = {self._stored(start)}")
        if self.arg:
            self.emitter.line(f"{self._where()} = 0")

    def _stored(self, text: str) -> str:
        return f"u8({text})" if str(self.wide) == "bool" else text

    def add(self, flat: str) -> None:
        emitter = self.emitter
        text = emitter.text(self.reduction.body)
        if self.dtype != self.wide:
            text = scalar.convert(text, self.dtype, self.wide)
        value, position = emitter.fresh("a"), emitter.fresh("k")
        cell = self._cell()
        emitter.line(f"{value} = ({cell} != 0)" if str(self.wide) == "bool" else f"{value} = {cell}")
        if self.arg:
            emitter.line(f"{position} = {self._where()}")
        for line in step(self.reduction.kind, self.wide, value, position, text, flat):
            emitter.line(line)
        emitter.line(f"{cell} = {self._stored(value)}")
        if self.arg:
            emitter.line(f"{self._where()} = {position}")

    def value(self) -> Expr:
        """Return the expression that reads the finished value back in a later lane loop."""
        source = self.positions if self.arg else self.scratch
        return expr.cast(expr.load(source, (_LANE,), source.dtype), self.reduction.node.type.dtype)
