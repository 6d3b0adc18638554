"""Plans: a program bound to one set of sizes.

A plan is a block of int64 words: step tables for the native runner and one args block per
kernel.  Everything in it is fixed except the addresses of inputs and outputs, which every
call writes into their slots, and the arena, whose base moves when it grows.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.placement import ALIGNMENT, Block, aligned, place
from graphc.runtime import control_llvm, probe_llvm, runner, team
from graphc.runtime import schedule as scheduling
from graphc.runtime.control_llvm import SLICE_WORDS
from graphc.runtime.image import Call, Image, Loop, Room, Step, Switch, Touch, Word
from graphc.runtime.prepared import Prepared
from graphc.runtime.recorder import Probes
from graphc.runtime.schedule import Span, Task, Unit
from graphc.types import DType

Array = np.ndarray[Any, Any]
# Bytes from which on memory is taken from the system page by page.
LARGE = 1 << 18
# Words of a loop's args block before its slices: see `control_llvm`.
LOOP_WORDS = 9
# As many iterations as a loop without a bound may have.
ENDLESS = (1 << 63) - 1
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


@dataclass(frozen=True)
class Linked:
    """An image in this process: the addresses of what it numbers.

    Attributes
    ----------
    image : Image
        What runs.
    functions, leaves : sequence of int
        Addresses of functions, and of the memory of leaves.
    status : int
        That of the status word.
    """

    image: Image
    functions: Sequence[int]
    leaves: Sequence[int]
    status: int


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
    linked: Linked,
    sizes: Mapping[str, int],
    threads: int,
    prepared: Sequence[Prepared],
    probes: Probes | None = None,
) -> Plan:
    """Lay out tables, args blocks and temporaries for the given sizes and number of threads.

    `prepared` is what is kept from call to call at these sizes.  With `probes`, every step is timed.
    """
    writer = _Writer(linked, sizes, threads, prepared, probes)
    tables = writer.tables(0)
    preparing = [(p, writer.preparation(p.call)) for p in prepared if p.stale or p.variables]
    words = (ctypes.c_int64 * len(writer.words))(*writer.words)
    base = ctypes.addressof(words)
    for slot, position in writer.own_slots:
        words[slot] = base + 8 * position
    if probes is not None:
        probes.connect(words, threads)
    inputs, outputs = [port.type for port in linked.image.inputs], linked.image.outputs
    extents = [writer.evaluate(type.size) * type.dtype.itemsize for type in (*inputs, *outputs)]
    return Plan(
        dict(sizes),
        threads,
        words,
        *tables.addresses(base),
        writer.call_slots,
        writer.inner_slots,
        [(type.concrete(sizes), type.dtype) for type in outputs],
        extents,
        tuple(k for k in range(len(outputs)) if extents[len(inputs) + k] >= LARGE),
        writer.arena_slots,
        writer.arena_size,
        list(prepared),
        [(p, *found.addresses(base)) for p, found in preparing],
    )


_Entry = tuple[int, int]
"""A step of a table: the address of a function, and the position of its args block."""


@dataclass(frozen=True)
class _Tables:
    """What a section runs: positions of the tables for one thread and for the team, and nanoseconds."""

    table: int
    shared: int | None
    work: int

    def addresses(self, base: int) -> tuple[int, int]:
        """Return their addresses, given that of the words; 0 if there is no table for the team."""
        return base + 8 * self.table, 0 if self.shared is None else base + 8 * self.shared


def _forms(inner: Sequence[_Tables]) -> list[list[int]]:
    """Return the tables of nested sections for one thread, and for the team if one has such a form."""
    alone = [t.table for t in inner]
    together = [t.table if t.shared is None else t.shared for t in inner]
    return [alone] if alone == together else [alone, together]


@dataclass
class _Place:
    """Where a section's memory lies: its bytes, offsets of its rooms and their ends, and where it begins."""

    size: int
    offsets: Sequence[int]
    ends: Sequence[int]
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
        linked: Linked,
        sizes: Mapping[str, int],
        threads: int,
        prepared: Sequence[Prepared],
        probes: Probes | None,
    ) -> None:
        self.sections = linked.image.sections
        self.linked = linked
        self.sizes = sizes
        self.threads = threads
        self.probes = probes
        self.kept = {number: address for p in prepared for number, address in p.addresses.items()}
        self.known: dict[Dim, int] = {}
        self.places: dict[int, _Place] = {}
        self.arena_size = self.place(0)
        self.settle(0, 0)
        self.words: list[int] = []
        self.call_slots: list[tuple[int, int]] = []
        self.inner_slots: list[tuple[int, int, int]] = []
        self.arena_slots: list[tuple[int, int]] = []
        # Words that hold the address of another word: its position.
        self.own_slots: list[tuple[int, int]] = []
        # For the body of each loop, the words that move with its iterations.
        self.moving: dict[int, list[_Moving]] = {}

    def evaluate(self, d: Dim) -> int:
        """Return the value of a dimension; each is worked out once."""
        if isinstance(d, int):
            return d
        if d not in self.known:
            self.known[d] = dims.evaluate(d, self.sizes)
        return self.known[d]

    # -- the arena
    def place(self, section: int) -> int:
        """Place what a section needs room for, nested ones first; return how many bytes that takes."""
        rooms = self.sections[section].rooms
        blocks = [Block(k, r.first, r.last, self.room(r)) for k, r in enumerate(rooms)]
        found, size = place(blocks)
        offsets = [found[b.key] for b in blocks]
        ends = [start + b.size for start, b in zip(offsets, blocks, strict=True)]
        self.places[section] = _Place(size, offsets, ends)
        return size

    def room(self, room: Room) -> int:
        """Return the bytes of a room."""
        if room.nested:
            sizes = [aligned(self.place(n)) for n in room.nested]
            return sum(sizes) if room.side_by_side else max(sizes)
        return self.evaluate(room.size) * (self.threads if room.private else 1)

    def settle(self, section: int, base: int) -> None:
        """Fix where in the arena a section's memory begins, and that of the ones nested in it."""
        found = self.places[section]
        found.base = base
        for room, offset in zip(self.sections[section].rooms, found.offsets, strict=True):
            start = base + offset
            for nested in room.nested:
                self.settle(nested, start)
                start += aligned(self.places[nested].size) if room.side_by_side else 0

    # -- tables
    def tables(self, section: int) -> _Tables:
        """Write what a section runs, as a table for one thread and as one for the team."""
        steps: list[_Entry] = []
        shared: list[_Entry] = []
        waiting: list[Task] = []
        work = 0
        for position, step in enumerate(self.sections[section].steps):
            alone, together, cost = self.step(step)
            if self.probes is not None:
                number = self.probes.number(section, position)
                alone = self.probed(number, alone)
                together = None if together is None else self.probed(number, together)
            work += cost
            steps.append(alone)
            if self.threads == 1:
                continue
            if together is None and not step.calls_back:
                waiting.append(self.task(step, alone, cost))
                continue
            shared += [*self.jobs(waiting), together or alone]
            waiting = []
        shared += self.jobs(waiting)
        table = self.table(steps)
        # What is the same for the team as for one thread needs no table of its own.
        return _Tables(table, None if shared == steps or self.threads == 1 else self.table(shared), work)

    def step(self, step: Step) -> tuple[_Entry, _Entry | None, int]:
        """Write the args block of a step; return it, its form for the team if it has one, and its work."""
        if isinstance(step, Loop):
            return self.loop(step)
        if isinstance(step, Switch):
            return self.switch(step)
        return self.entry(step), None, self.evaluate(step.work)

    def entry(self, call: Call) -> _Entry:
        """Write the args block of a call."""
        start = len(self.words)
        self.words += [0] * len(call.words)
        for slot, word in enumerate(call.words, start):
            self.put(slot, word)
        return self.linked.functions[call.function], start

    def probed(self, number: int, entry: _Entry) -> _Entry:
        """Write a step that times another."""
        start = len(self.words)
        self.words += [entry[0], 0, number, 0]
        self.own_slots.append((start + 1, entry[1]))
        if self.probes is not None:
            self.probes.slots.append(start + 3)
        return probe_llvm.probe(), start

    def preparation(self, call: Call) -> _Tables:
        """Write a call that need not be made every time; it uses nothing of the arena."""
        entry = self.entry(call)
        units, work = self.evaluate(call.units), self.evaluate(call.work)
        shared = self.jobs([Task(*entry, units, work, ())]) if self.threads > 1 else [entry]
        return _Tables(self.table([entry]), None if shared == [entry] else self.table(shared), work)

    def loop(self, loop: Loop) -> tuple[_Entry, _Entry | None, int]:
        """Write a loop's tables and args blocks."""
        nested = [loop.body] if loop.condition is None else [loop.body, loop.condition]
        inner = [self.tables(n) for n in nested]
        most = ENDLESS if loop.most is None else self.evaluate(loop.most)
        # The words that move are the same in both forms.
        moving = self.moving.pop(loop.body, [])
        entries: list[_Entry] = []
        for form in _forms(inner):
            start = len(self.words)
            self.words += [0] * (LOOP_WORDS + SLICE_WORDS * len(moving))
            self.words[start] = self.linked.status
            self.own_slots.append((start + 1, form[0]))
            self.words[start + 2] = most
            if loop.given is not None:
                self.put(start + 3, loop.given)
            self.own_slots += [(start + 4, condition) for condition in form[1:]]
            self.put(start + 5, loop.flag)
            self.put(start + 6, loop.number)
            self.put(start + 7, loop.total)
            self.words[start + 8] = len(moving)
            for k, move in enumerate(moving):
                at = start + LOOP_WORDS + SLICE_WORDS * k
                self.own_slots.append((at, move.slot))
                self.put(at + 1, move.base)
                self.words[at + 2] = self.evaluate(move.stride)
                self.words[at + 3] = int(move.flip)
            entries.append((control_llvm.loop(), start))
        certain = loop.given is None and loop.condition is None
        rounds = most if certain else min(most, _GUESSED_ROUNDS)
        return entries[0], entries[1] if len(entries) > 1 else None, rounds * sum(t.work for t in inner)

    def switch(self, switch: Switch) -> tuple[_Entry, _Entry | None, int]:
        """Write a branch's tables and args blocks."""
        inner = [self.tables(n) for n in switch.branches]
        entries: list[_Entry] = []
        for form in _forms(inner):
            start = len(self.words)
            self.words += [self.linked.status, 0, len(form), *[0] * len(form)]
            self.put(start + 1, switch.chosen)
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
        self.words += [len(steps), self.linked.status]
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
        self.words += [ctypes.addressof(team.CELL), 0, 0, self.linked.status, total, self.threads]
        self.own_slots += [(at + 1, start), (at + 2, tickets)]
        return team.sharer(), at

    # -- words
    def put(self, slot: int, word: Word) -> None:
        """Write what a word holds, as far as it is known before the call."""
        if word.slices:
            last = word.slices[-1]
            move = _Moving(slot, word._replace(slices=word.slices[:-1]), last.stride, last.flip)
            self.moving.setdefault(last.section, []).append(move)
            return
        kind, number, value = word.kind, word.number, self.evaluate(word.dim)
        if kind == "arena":
            found = self.places[word.section]
            self.arena_slots.append((slot, found.base + found.offsets[number] + value))
        elif kind == "call" and value:
            self.inner_slots.append((slot, number, value))
        elif kind == "call":
            self.call_slots.append((slot, number))
        elif kind == "kept":
            self.words[slot] = self.kept[number] + value
        elif kind == "leaf":
            self.words[slot] = self.linked.leaves[number] + value
        else:
            self.words[slot] = self.linked.status if kind == "status" else value

    def task(self, step: Step, entry: _Entry, work: int) -> Task:
        """Describe a step for the scheduler."""
        units = self.evaluate(step.units) if isinstance(step, Call) else 1
        return Task(*entry, units, work, tuple(map(self.span, step.touches)))

    def span(self, touch: Touch) -> Span:
        """Return the memory that a step touches, with its place in the arena."""
        if touch.name != "arena":
            return Span(touch.name, 0, 1, touch.written)
        found = self.places[touch.section]
        start, end = found.base + found.offsets[touch.room], found.base + found.ends[touch.room]
        if touch.size is not None:
            start += self.evaluate(touch.start)
            end = start + self.evaluate(touch.size)
        return Span("arena", start, end, touch.written)
