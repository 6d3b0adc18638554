"""Plans: a program bound to one set of sizes.

A plan is a block of int64 words: step tables for the native runner and one args block per
kernel.  Everything in it is fixed except the addresses of inputs and outputs, which every
call writes into their slots, and the arena, whose base moves when it grows.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphc import dims
from graphc.control.loop import Loop
from graphc.dims import Dim
from graphc.errors import PassError
from graphc.lower.steps import Storage, storage_of
from graphc.memory import ALIGNMENT, Block, aligned, place
from graphc.runtime import control_llvm, runner, team
from graphc.runtime import schedule as scheduling
from graphc.runtime.control_llvm import SLICE_WORDS
from graphc.runtime.layout import STATUS, Launch, Layout, Room, Touch, Word
from graphc.runtime.prepared import Prepared
from graphc.runtime.schedule import Span, Task, Unit
from graphc.types import DType

Array = np.ndarray[Any, Any]
# Bytes from which on memory is taken from the system page by page.
LARGE = 1 << 18
# Words of a loop's args block before its slices: see `control_llvm`.
_LOOP_WORDS = 9
# As many iterations as a loop without a bound may have.
_ENDLESS = (1 << 63) - 1
# What words of a launch that need not run at every call hold; and what holds the place of anything else.
_LASTING = ("kept", "leaf", "size")
_UNUSED = Word("size", 0)
# How many iterations to expect of a loop whose number is known only when it runs.
_GUESSED_ROUNDS = 16


class Arena:
    """The temporaries' memory, shared by all plans of a program; grows, never shrinks."""

    def __init__(self) -> None:
        self.memory: Array = np.empty(0, np.uint8)
        self.base = 0

    def reserve(self, size: int) -> None:
        """Make room for `size` bytes; addresses handed out before are void if it grows."""
        if size + ALIGNMENT <= self.memory.nbytes:
            return
        self.memory = np.empty(size + ALIGNMENT, np.uint8)
        address: int = self.memory.ctypes.data
        self.base = -(-address // ALIGNMENT) * ALIGNMENT


@dataclass
class Plan:
    """A program at one set of sizes, for one number of threads.

    Attributes
    ----------
    words : ctypes array
        Tables and args blocks.
    table : int
        Address of the step table for the calling thread alone.
    shared : int
        Address of the step table for the team; 0 if there is nothing to gain from it.
    call_slots : list of (int, int)
        Positions that hold the address of an input or an output, and its number: inputs come first.
    inner_slots : list of (int, int, int)
        Positions that hold an address within one: its number, and how many bytes behind its start.
    outputs : list of (shape, dtype)
        What to allocate.
    extents : list of int
        Bytes of each input, then of each output.
    large : tuple of int
        Outputs whose memory is worth keeping for the next call.
    arena_slots : list of (int, int)
        Positions of temporaries' addresses, with their offsets.
    arena_size : int
        Bytes of temporaries.
    prepared : list of Prepared
        What is kept from call to call.
    preparing : list of (Prepared, int, int)
        What of it may have to be filled, with the tables that do so, like `table` and `shared`.
    changes : int
        How many changes of variables it has seen.
    """

    sizes: Mapping[str, int]
    threads: int
    words: ctypes.Array[ctypes.c_int64]
    table: int
    shared: int
    call_slots: list[tuple[int, int]]
    inner_slots: list[tuple[int, int, int]]
    outputs: list[tuple[tuple[int, ...], DType]]
    extents: list[int]
    large: tuple[int, ...]
    arena_slots: list[tuple[int, int]]
    arena_size: int
    prepared: list[Prepared]
    preparing: list[tuple[Prepared, int, int]]
    changes: int = -1
    base: int = 0

    def rebase(self, base: int) -> None:
        """Point all temporaries into the arena at `base`."""
        words = self.words
        for slot, offset in self.arena_slots:
            words[slot] = base + offset
        self.base = base


def build(
    layout: Layout, sizes: Mapping[str, int], status: int, threads: int, prepared: Sequence[Prepared]
) -> Plan:
    """Lay out tables, args blocks and temporaries for the given sizes and number of threads.

    `prepared` is what is kept from call to call at these sizes.
    """
    writer = _Writer(layout, sizes, status, threads, prepared)
    tables = writer.tables(layout)
    preparing = [(p, writer.preparation(p.launch)) for p in prepared if p.stale or p.variables]
    words = (ctypes.c_int64 * len(writer.words))(*writer.words)
    base = ctypes.addressof(words)
    for slot, position in writer.own_slots:
        words[slot] = base + 8 * position
    graph = layout.block.graph
    extents = [writer.evaluate(n.type.size) * n.type.dtype.itemsize for n in (*graph.inputs, *graph.outputs)]
    return Plan(
        dict(sizes),
        threads,
        words,
        *tables.addresses(base),
        writer.call_slots,
        writer.inner_slots,
        [(n.type.concrete(sizes), n.type.dtype) for n in graph.outputs],
        extents,
        tuple(k for k in range(len(graph.outputs)) if extents[len(graph.inputs) + k] >= LARGE),
        writer.arena_slots,
        writer.arena_size,
        list(prepared),
        [(p, *found.addresses(base)) for p, found in preparing],
    )


_Entry = tuple[int, int]
"""A step of a table: the address of a function, and the position of its args block."""


@dataclass(frozen=True)
class _Tables:
    """What a layout runs: positions of the tables for one thread and for the team, and nanoseconds."""

    table: int
    shared: int | None
    work: int

    def addresses(self, base: int) -> tuple[int, int]:
        """Return their addresses, given that of the words; 0 if there is no table for the team."""
        return base + 8 * self.table, 0 if self.shared is None else base + 8 * self.shared


def _forms(inner: Sequence[_Tables]) -> list[list[int]]:
    """Return the tables of nested blocks for one thread, and for the team if one of them has such a form."""
    alone = [t.table for t in inner]
    together = [t.table if t.shared is None else t.shared for t in inner]
    return [alone] if alone == together else [alone, together]


@dataclass
class _Place:
    """Where a layout's memory lies: its bytes, offsets and ends within it, and where it begins."""

    size: int
    offsets: Mapping[object, int]
    ends: Mapping[object, int]
    base: int = 0


@dataclass(frozen=True)
class _Moving:
    """A word that a loop rewrites in every iteration: what it is at slice 0, and by how much it moves."""

    slot: int
    base: Word
    stride: Dim
    flip: bool


class _Writer:
    """Writes tables and args blocks, noting which words calls must rewrite."""

    def __init__(
        self,
        layout: Layout,
        sizes: Mapping[str, int],
        status: int,
        threads: int,
        prepared: Sequence[Prepared],
    ) -> None:
        self.sizes = sizes
        self.kept = {scratch: address for p in prepared for scratch, address in p.addresses.items()}
        self.status = status
        self.threads = threads
        self.known: dict[Dim, int] = {}
        self.places: dict[Layout, _Place] = {}
        self.arena_size = self.place(layout)
        self.settle(layout, 0)
        self.words: list[int] = []
        self.call_slots: list[tuple[int, int]] = []
        self.inner_slots: list[tuple[int, int, int]] = []
        self.arena_slots: list[tuple[int, int]] = []
        # Words that hold the address of another word: its position.
        self.own_slots: list[tuple[int, int]] = []
        # For the body of each loop, the words that move with its iterations.
        self.moving: dict[Layout, list[_Moving]] = {}

    def evaluate(self, d: Dim) -> int:
        """Return the value of a dimension; each is worked out once."""
        if isinstance(d, int):
            return d
        if d not in self.known:
            self.known[d] = dims.evaluate(d, self.sizes)
        return self.known[d]

    # -- the arena
    def place(self, layout: Layout) -> int:
        """Place what a layout needs room for, nested blocks first; return how many bytes that takes."""
        blocks = [Block(r.key, r.first, r.last, self.room(r)) for r in layout.rooms]
        offsets, size = place(blocks)
        self.places[layout] = _Place(size, offsets, {b.key: offsets[b.key] + b.size for b in blocks})
        return size

    def room(self, room: Room) -> int:
        """Return the bytes of a room."""
        if room.nested:
            sizes = [aligned(self.place(n)) for n in room.nested]
            return sum(sizes) if room.side_by_side else max(sizes)
        return self.evaluate(room.size) * (self.threads if room.private else 1)

    def settle(self, layout: Layout, base: int) -> None:
        """Fix where in the arena a layout's memory begins, and that of the blocks nested in it."""
        found = self.places[layout]
        found.base = base
        for room in layout.rooms:
            start = base + found.offsets[room.key]
            for nested in room.nested:
                self.settle(nested, start)
                start += aligned(self.places[nested].size) if room.side_by_side else 0

    # -- tables
    def tables(self, layout: Layout) -> _Tables:
        """Write what a layout runs, as a table for one thread and as one for the team."""
        steps: list[_Entry] = []
        shared: list[_Entry] = []
        waiting: list[Task] = []
        work = 0
        for launch in layout.launches:
            alone, together, cost = self.launch(layout, launch)
            work += cost
            steps.append(alone)
            if self.threads == 1:
                continue
            if together is None and not launch.calls_back:
                waiting.append(self.task(layout, launch, alone, cost))
                continue
            shared += [*self.jobs(waiting), together or alone]
            waiting = []
        shared += self.jobs(waiting)
        table = self.table(steps)
        # What is the same for the team as for one thread needs no table of its own.
        return _Tables(table, None if shared == steps or self.threads == 1 else self.table(shared), work)

    def launch(self, layout: Layout, launch: Launch) -> tuple[_Entry, _Entry | None, int]:
        """Write the args block of a launch that stands in a layout.

        Return it, its form for the team if it has one, and its work.
        """
        if launch.nested:
            return self.loop(launch) if launch.cells else self.branch(launch)
        block = [launch.layout.word(a) for a in launch.arguments]
        args = self.arguments(block, layout)
        return (launch.address, args), None, self.evaluate(launch.stage.work)

    def preparation(self, launch: Launch) -> _Tables:
        """Write what a launch runs that need not run at every call; it uses nothing of the arena."""
        words = map(launch.layout.word, launch.arguments)
        args = self.arguments([w if w.kind in _LASTING else _UNUSED for w in words], None)
        units, work = self.evaluate(launch.stage.units), self.evaluate(launch.stage.work)
        steps = [(launch.address, args)]
        shared = self.jobs([Task(*steps[0], units, work, ())]) if self.threads > 1 else steps
        return _Tables(self.table(steps), None if shared == steps else self.table(shared), work)

    def loop(self, launch: Launch) -> tuple[_Entry, _Entry | None, int]:
        """Write a loop's tables and args blocks."""
        layout, body = launch.layout, launch.nested[0]
        node = launch.step.node if launch.step is not None else None
        if node is None:
            raise PassError("a loop has no node")
        parts = Loop.of(node)
        inner = [self.tables(n) for n in launch.nested]
        most = _ENDLESS if parts.length is None else self.evaluate(parts.length)
        given = Word("size", 0) if parts.count is None else layout.word(storage_of(parts.count))
        number, flag = (layout.word(c) for c in launch.cells)
        steps = layout.word(Storage(node, len(parts.carries) + len(parts.ys)))
        # The words that move are the same in both forms.
        moving = self.moving.pop(body, [])
        entries: list[_Entry] = []
        for form in _forms(inner):
            condition = form[1] if len(form) > 1 else None
            start = len(self.words)
            self.words += [0] * (_LOOP_WORDS + SLICE_WORDS * len(moving))
            self.put(start, Word("status", STATUS))
            self.own_slots.append((start + 1, form[0]))
            self.put(start + 2, Word("size", most))
            self.put(start + 3, given)
            if condition is not None:
                self.own_slots.append((start + 4, condition))
            self.put(start + 5, flag)
            self.put(start + 6, number)
            self.put(start + 7, steps)
            self.put(start + 8, Word("size", len(moving)))
            for k, move in enumerate(moving):
                at = start + _LOOP_WORDS + SLICE_WORDS * k
                self.own_slots.append((at, move.slot))
                self.put(at + 1, move.base)
                self.put(at + 2, Word("size", self.evaluate(move.stride)))
                self.put(at + 3, Word("size", int(move.flip)))
            entries.append((control_llvm.loop(), start))
        rounds = most if parts.count is None and parts.condition is None else min(most, _GUESSED_ROUNDS)
        return entries[0], entries[1] if len(entries) > 1 else None, rounds * sum(t.work for t in inner)

    def branch(self, launch: Launch) -> tuple[_Entry, _Entry | None, int]:
        """Write a branch's tables and args blocks."""
        if launch.step is None:
            raise PassError("a branch has no node")
        index = launch.layout.word(storage_of(launch.step.node.inputs[0]))
        inner = [self.tables(n) for n in launch.nested]
        entries: list[_Entry] = []
        for form in _forms(inner):
            start = len(self.words)
            self.words += [0] * (3 + len(form))
            self.put(start, Word("status", STATUS))
            self.put(start + 1, index)
            self.put(start + 2, Word("size", len(form)))
            self.own_slots += [(start + 3 + k, table) for k, table in enumerate(form)]
            entries.append((control_llvm.switch(), start))
        return entries[0], entries[1] if len(entries) > 1 else None, max(t.work for t in inner)

    def jobs(self, tasks: Sequence[Task]) -> list[_Entry]:
        """Return tasks as one step for the team, or one by one if sharing them is not worth it."""
        units = scheduling.schedule(tasks, self.threads) if tasks else None
        return [(t.kernel, t.args) for t in tasks] if units is None else [self.job(units)]

    def table(self, steps: Sequence[_Entry]) -> int:
        """Write a step table of kernels' addresses and positions of args blocks."""
        start = len(self.words)
        self.words += [len(steps), self.status]
        for kernel, args in steps:
            self.own_slots.append((len(self.words) + 1, args))
            self.words += [kernel, 0]
        return start

    def job(self, units: Sequence[Unit]) -> _Entry:
        """Write the units of a job; several tasks of one unit become a table of their own."""
        entries = []
        for unit in units:
            task = unit.tasks[0]
            kernel, args = task.kernel, task.args
            if len(unit.tasks) > 1:
                kernel, args = runner.address(), self.table([(t.kernel, t.args) for t in unit.tasks])
            entries.append((kernel, args, unit.blocks, unit.first, unit.required))
        start = len(self.words)
        for kernel, args, *rest in entries:
            self.own_slots.append((len(self.words) + 1, args))
            self.words += [kernel, 0, *rest]
        tickets = len(self.words)
        for number, unit in enumerate(units):
            self.words += [number] * unit.blocks
        total, at = len(self.words) - tickets, len(self.words)
        self.words += [ctypes.addressof(team.CELL), 0, 0, self.status, total, self.threads]
        self.own_slots += [(at + 1, start), (at + 2, tickets)]
        return team.sharer(), at

    # -- args blocks
    def arguments(self, block: Sequence[Word], layout: Layout | None) -> int:
        """Write an args block; return its position.

        Words move with the loops around the layout in which the launch stands, not with those that it
        was taken out of.
        """
        around: list[Layout] = []
        while layout is not None:
            around.append(layout)
            layout = layout.outer
        start = len(self.words)
        self.words += [0] * len(block)
        for slot, word in enumerate(block, start):
            slices = tuple([s for s in word.slices if s.within in around])
            self.put(slot, word if slices == word.slices else replace(word, slices=slices))
        return start

    def put(self, slot: int, word: Word) -> None:
        """Write what a word holds, as far as it is known before the call."""
        if word.slices:
            last = word.slices[-1]
            move = _Moving(slot, replace(word, slices=word.slices[:-1]), last.stride, last.flip)
            self.moving.setdefault(last.within, []).append(move)
            return
        data: Any = word.data
        offset = self.evaluate(word.offset)
        if word.kind == "arena":
            layout, key = data
            found = self.places[layout]
            self.arena_slots.append((slot, found.base + found.offsets[key] + offset))
        elif word.kind == "call" and offset:
            self.inner_slots.append((slot, data, offset))
        elif word.kind == "call":
            self.call_slots.append((slot, data))
        elif word.kind == "kept":
            self.words[slot] = self.kept[data]
        elif word.kind == "size":
            self.words[slot] = self.evaluate(data)
        else:
            self.words[slot] = self.status if word.kind == "status" else int(data) + offset

    def task(self, layout: Layout, launch: Launch, entry: _Entry, work: int) -> Task:
        """Describe a launch for the scheduler."""
        units = 1 if launch.nested else self.evaluate(launch.stage.units)
        return Task(*entry, units, work, tuple(map(self.span, layout.touches(launch))))

    def span(self, touch: Touch) -> Span:
        """Return the memory that a launch touches, with its place in the arena."""
        if touch.layout is None:
            return Span(touch.key, 0, 1, touch.written)
        found = self.places[touch.layout]
        key: Any = touch.key
        start, end = found.base + found.offsets[key], found.base + found.ends[key]
        if touch.size is not None:
            start += self.evaluate(touch.start)
            end = start + self.evaluate(touch.size)
        return Span("arena", start, end, touch.written)
