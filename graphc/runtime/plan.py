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
from graphc.memory import ALIGNMENT, Block, place
from graphc.runtime import runner
from graphc.runtime import schedule as scheduling
from graphc.runtime.layout import Launch, Layout, Touch, Word
from graphc.runtime.schedule import Span, Task, Unit
from graphc.runtime.team import Job
from graphc.types import DType

Array = np.ndarray[Any, Any]
# Bytes from which on memory is taken from the system page by page.
LARGE = 1 << 18


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
    segments : list
        In order: the address of a step table, steps to be shared, or a `Launch` to call back.
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
    """

    sizes: Mapping[str, int]
    threads: int
    words: ctypes.Array[ctypes.c_int64]
    segments: list[int | Job | Launch]
    call_slots: list[tuple[int, int]]
    inner_slots: list[tuple[int, int, int]]
    outputs: list[tuple[tuple[int, ...], DType]]
    extents: list[int]
    large: tuple[int, ...]
    arena_slots: list[tuple[int, int]]
    arena_size: int
    offsets: Mapping[object, int]
    base: int = 0

    def rebase(self, base: int) -> None:
        """Point all temporaries into the arena at `base`."""
        words = self.words
        for slot, offset in self.arena_slots:
            words[slot] = base + offset
        self.base = base


def build(layout: Layout, sizes: Mapping[str, int], status: int, threads: int) -> Plan:
    """Lay out tables, args blocks and temporaries for the given sizes and number of threads."""
    writer = _Writer(layout, sizes, status, threads)
    parts = [run if isinstance(run, Launch) else writer.run(run) for run in layout.runs]
    words = (ctypes.c_int64 * max(len(writer.words), 1))(*writer.words)
    base = ctypes.addressof(words)
    for slot, position in writer.own_slots:
        words[slot] = base + 8 * position
    results = range(len(layout.outputs))
    extents = [
        writer.evaluate(n.type.size) * n.type.dtype.itemsize for n in (*layout.inputs, *layout.outputs)
    ]
    return Plan(
        dict(sizes),
        threads,
        words,
        [part if isinstance(part, Launch) else _moved(part, base) for part in parts],
        writer.call_slots,
        writer.inner_slots,
        [(n.type.concrete(sizes), n.type.dtype) for n in layout.outputs],
        extents,
        tuple(k for k in results if extents[len(layout.inputs) + k] >= LARGE),
        writer.arena_slots,
        writer.arena_size,
        writer.offsets,
    )


def _moved(part: int | Job, base: int) -> int | Job:
    """Return the addresses of what lies at these positions of the words."""
    if isinstance(part, int):
        return base + 8 * part
    return Job(base + 8 * part.table, base + 8 * part.units, base + 8 * part.tickets, part.total)


class _Writer:
    """Writes tables and args blocks, noting which words calls must rewrite."""

    def __init__(self, layout: Layout, sizes: Mapping[str, int], status: int, threads: int) -> None:
        self.layout = layout
        self.sizes = sizes
        self.status = status
        self.threads = threads
        self.known: dict[Dim, int] = {}
        blocks = [
            Block(r.key, r.first, r.last, self.evaluate(r.size) * (threads if r.private else 1))
            for r in layout.rooms
        ]
        self.offsets, self.arena_size = place(blocks)
        self.ends = {b.key: self.offsets[b.key] + b.size for b in blocks}
        self.words: list[int] = []
        self.call_slots: list[tuple[int, int]] = []
        self.inner_slots: list[tuple[int, int, int]] = []
        self.arena_slots: list[tuple[int, int]] = []
        # Words that hold the address of another word: its position.
        self.own_slots: list[tuple[int, int]] = []

    def evaluate(self, d: Dim) -> int:
        """Return the value of a dimension; each is worked out once."""
        if isinstance(d, int):
            return d
        if d not in self.known:
            self.known[d] = dims.evaluate(d, self.sizes)
        return self.known[d]

    def run(self, launches: Sequence[int]) -> int | Job:
        """Write a run of native steps; return the position of its table, or how to share it."""
        blocks = [self.arguments(self.layout.words[i]) for i in launches]
        addresses = [self.layout.launches[i].address for i in launches]
        table = self.table(list(zip(addresses, blocks, strict=True)))
        if self.threads == 1:
            return table
        tasks = [self.task(i, at) for i, at in zip(launches, blocks, strict=True)]
        units = scheduling.schedule(tasks, self.threads)
        return table if units is None else self.job(table, units)

    def table(self, steps: Sequence[tuple[int, int]]) -> int:
        """Write a step table of kernels' addresses and positions of args blocks."""
        start = len(self.words)
        self.words += [len(steps), self.status]
        for kernel, args in steps:
            self.own_slots.append((len(self.words) + 1, args))
            self.words += [kernel, 0]
        return start

    def job(self, table: int, units: Sequence[Unit]) -> Job:
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
        return Job(table, start, tickets, len(self.words) - tickets)

    def arguments(self, block: Sequence[Word]) -> int:
        """Write an args block; return its position."""
        start = len(self.words)
        for slot, word in enumerate(block, start):
            self.words.append(self.word(word, slot))
        return start

    def word(self, word: Word, slot: int) -> int:
        """Return what a word holds, as far as it is known before the call."""
        data: Any = word.data
        offset = self.evaluate(word.offset)
        if word.kind == "arena":
            self.arena_slots.append((slot, self.offsets[data] + offset))
            return 0
        if word.kind == "call" and offset:
            self.inner_slots.append((slot, data, offset))
            return 0
        if word.kind == "call":
            self.call_slots.append((slot, data))
            return 0
        if word.kind == "size":
            return self.evaluate(data)
        return self.status if word.kind == "status" else int(data) + offset

    def task(self, i: int, args: int) -> Task:
        """Describe a launch for the scheduler."""
        launch = self.layout.launches[i]
        units, work = self.evaluate(launch.stage.units), self.evaluate(launch.stage.work)
        return Task(launch.address, args, units, work, tuple(map(self.span, self.layout.touches[i])))

    def span(self, touch: Touch) -> Span:
        """Return the memory that a launch touches, with its place in the arena."""
        if not touch.in_arena:
            return Span(touch.key, 0, 1, touch.written)
        start, end = self.offsets[touch.key], self.ends[touch.key]
        if touch.size is not None:
            start += self.evaluate(touch.start)
            end = start + self.evaluate(touch.size)
        return Span("arena", start, end, touch.written)


def view(plan: Plan, arena: Arena, key: object, shape: tuple[int, ...], dtype: DType) -> Array:
    """Return a temporary as an array, for callbacks."""
    start = arena.base - arena.memory.ctypes.data + plan.offsets[key]
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return arena.memory[start : start + size].view(dtype).reshape(shape)
