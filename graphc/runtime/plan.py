"""Plans: a program bound to one set of sizes.

A plan is a block of int64 words: step tables for the native runner and one args block per
kernel.  Everything in it is fixed except the addresses of inputs and outputs, which every
call writes into their slots, and the arena, whose base moves when it grows.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import dims
from graphc.codegen.emitter import Scratch
from graphc.codegen.loops import SOLE, KernelText, Stage
from graphc.dims import Dim
from graphc.ir import Node
from graphc.lower.rules import Leaf
from graphc.lower.steps import Step, Storage
from graphc.memory import ALIGNMENT, Assignment, Block, aligned, byte_size, place
from graphc.runtime import runner
from graphc.runtime import schedule as scheduling
from graphc.runtime.schedule import Span, Task, Unit
from graphc.runtime.team import Job
from graphc.types import DType

Array = np.ndarray[Any, Any]
# A value or working memory, whose address is passed; a size or the code of a check; "status".
Argument = Storage | Scratch | Dim | str


@dataclass(frozen=True)
class Launch:
    """One step ready to be planned: its kernel's address, and what each argument is.

    `arguments` has one entry per parameter; `step` is None for the copies that commit
    updates.  `address` is 0 for a callback.  `position` counts the program's kernels: those
    of several stages are launched as often.
    """

    step: Step | None
    address: int
    arguments: tuple[Argument, ...]
    stage: Stage = SOLE
    position: int = 0


def arguments(
    text: KernelText, bound: Mapping[object, Storage], codes: Mapping[Node, int], stage: int
) -> tuple[Argument, ...]:
    """Return what each parameter of a kernel is bound to: see `Argument`."""
    found: list[Argument] = []
    for name, _ in text.params:
        if name in text.pointers:
            handle = text.pointers[name]
            found.append(handle if isinstance(handle, Scratch) else bound[handle])
        elif name in text.sizes:
            found.append(text.sizes[name])
        elif name == "status":
            found.append("status")
        elif name == "stage":
            found.append(stage)
        else:
            found.append(codes[text.checks[int(name.removeprefix("code"))]])
    return tuple(found)


@dataclass(frozen=True)
class Layout:
    """What the plans of a program have in common."""

    launches: tuple[Launch, ...]
    assignment: Assignment
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    output_storages: tuple[Storage, ...]


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
    outputs : list of (shape, dtype)
        What to allocate.
    extents : list of int
        Bytes of each input, then of each output.
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
    outputs: list[tuple[tuple[int, ...], DType]]
    extents: list[int]
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
    blocks = _blocks(layout, sizes, threads)
    offsets, arena_size = place(blocks)
    lengths = {block.key: block.size for block in blocks}
    writer = _Writer(layout, sizes, status, offsets, lengths)
    parts = [run if isinstance(run, Launch) else writer.run(run, threads) for run in _split(layout.launches)]
    specs = [(n.type.concrete(sizes), n.type.dtype) for n in layout.outputs]
    words = (ctypes.c_int64 * max(len(writer.words), 1))(*writer.words)
    base = ctypes.addressof(words)
    for slot, position in writer.own_slots:
        words[slot] = base + 8 * position
    return Plan(
        dict(sizes),
        threads,
        words,
        [part if isinstance(part, Launch) else _moved(part, base) for part in parts],
        writer.call_slots,
        specs,
        [
            dims.evaluate(n.type.size, sizes) * n.type.dtype.itemsize
            for n in (*layout.inputs, *layout.outputs)
        ],
        writer.arena_slots,
        arena_size,
        offsets,
    )


def _moved(part: int | Job, base: int) -> int | Job:
    """Return the addresses of what lies at these positions of the words."""
    if isinstance(part, int):
        return base + 8 * part
    return Job(base + 8 * part.table, base + 8 * part.units, base + 8 * part.tickets, part.total)


def _split(launches: Sequence[Launch]) -> list[list[Launch] | Launch]:
    """Cut the launches into native runs and callbacks."""
    runs: list[list[Launch] | Launch] = []
    for launch in launches:
        if not launch.address:
            runs.append(launch)
            continue
        if not runs or isinstance(runs[-1], Launch):
            runs.append([])
        last = runs[-1]
        if isinstance(last, list):
            last.append(launch)
    return runs


def _blocks(layout: Layout, sizes: Mapping[str, int], threads: int) -> list[Block]:
    """Return what needs room in the arena, and from which launch to which."""
    outputs = set(layout.output_storages)
    begins: dict[int, int] = {}
    ends: dict[int, int] = {}
    for i, launch in enumerate(layout.launches):
        begins.setdefault(launch.position, i)
        ends[launch.position] = i
    last_launch = len(layout.launches) - 1
    blocks = [
        Block(
            storage,
            begins[first],
            ends.get(last, last_launch),
            dims.evaluate(byte_size(storage), sizes),
        )
        for storage, (first, last) in layout.assignment.lifetimes.items()
        if storage not in outputs
    ]
    found: dict[Scratch, int] = {}
    for launch in layout.launches:
        found.update(dict.fromkeys(_scratches(launch), launch.position))
    blocks += [
        Block(s, begins[at], ends[at], _scratch_size(s, sizes) * (1 if s.shared else threads))
        for s, at in found.items()
    ]
    return blocks


def _scratches(launch: Launch) -> list[Scratch]:
    return list(dict.fromkeys(a for a in launch.arguments if isinstance(a, Scratch)))


def _scratch_size(scratch: Scratch, sizes: Mapping[str, int]) -> int:
    return dims.evaluate(scratch.pitch, sizes) * scratch.dtype.itemsize


def unshared_size(layout: Layout, sizes: Mapping[str, int]) -> int:
    """Return the bytes that all temporaries and all kernels' working memory would take side by side."""
    elsewhere = {*layout.output_storages, *layout.assignment.in_place.values()}
    steps = (launch.step for launch in layout.launches if launch.step is not None)
    written = dict.fromkeys(s for step in steps for s in step.writes.values())
    found = [dims.evaluate(byte_size(s), sizes) for s in written if s not in elsewhere]
    found += [_scratch_size(s, sizes) for launch in layout.launches for s in _scratches(launch)]
    return sum(map(aligned, found))


class _Writer:
    """Writes tables and args blocks, noting which words calls must rewrite."""

    def __init__(
        self,
        layout: Layout,
        sizes: Mapping[str, int],
        status: int,
        offsets: Mapping[object, int],
        lengths: Mapping[object, int],
    ) -> None:
        self.layout = layout
        self.sizes = sizes
        self.status = status
        self.words: list[int] = []
        self.offsets = offsets
        self.lengths = lengths
        self.inputs = {Storage(n): k for k, n in enumerate(layout.inputs)}
        self.outputs = {s: k for k, s in enumerate(layout.output_storages)}
        self.call_slots: list[tuple[int, int]] = []
        self.arena_slots: list[tuple[int, int]] = []
        # Words that hold the address of another word: its position.
        self.own_slots: list[tuple[int, int]] = []

    def run(self, launches: Sequence[Launch], threads: int) -> int | Job:
        """Write a run of native steps; return the position of its table, or how to share it."""
        blocks = [self.arguments(launch) for launch in launches]
        table = self.table([(launch.address, at) for launch, at in zip(launches, blocks, strict=True)])
        if threads == 1:
            return table
        tasks = [self.task(launch, at) for launch, at in zip(launches, blocks, strict=True)]
        units = scheduling.schedule(tasks, threads)
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

    def arguments(self, launch: Launch) -> int:
        """Write an args block; return its position."""
        start = len(self.words)
        for slot, argument in enumerate(launch.arguments, start):
            self.words.append(self.word(argument, slot))
        return start

    def word(self, argument: Argument, slot: int) -> int:
        """Return what an args block holds, as far as it is known before the call."""
        if isinstance(argument, (Storage, Scratch)):
            return self.pointer(argument, slot)
        return self.status if isinstance(argument, str) else dims.evaluate(argument, self.sizes)

    def pointer(self, handle: Storage | Scratch, slot: int) -> int:
        lies = self.resolve(handle)
        if lies in self.inputs:
            self.call_slots.append((slot, self.inputs[lies]))
        elif lies in self.outputs:
            self.call_slots.append((slot, len(self.inputs) + self.outputs[lies]))
        elif isinstance(lies, Storage) and isinstance(lies.node.op.lowering, Leaf):
            address: int = lies.node.payload.array.ctypes.data
            return address
        else:
            self.arena_slots.append((slot, self.offsets[lies]))
        return 0

    def resolve(self, handle: Storage | Scratch) -> Storage | Scratch:
        return self.layout.assignment.resolve(handle) if isinstance(handle, Storage) else handle

    def task(self, launch: Launch, args: int) -> Task:
        """Describe a launch for the scheduler."""
        stage = launch.stage
        units, work = dims.evaluate(stage.units, self.sizes), dims.evaluate(stage.work, self.sizes)
        return Task(launch.address, args, units, work, tuple(self.spans(launch)))

    def spans(self, launch: Launch) -> Iterator[Span]:
        """Yield the memory that a launch touches."""
        step = launch.step
        # The copies that commit updates have no step: let them count as writing all they touch.
        written = None if step is None else {self.resolve(s) for s in step.writes.values()}
        for handle in dict.fromkeys(a for a in launch.arguments if isinstance(a, (Storage, Scratch))):
            lies = self.resolve(handle)
            writes = isinstance(lies, Scratch) or written is None or lies in written
            if lies in self.offsets and lies not in self.outputs:
                start = self.offsets[lies]
                yield Span("arena", start, start + self.lengths[lies], writes)
                continue
            yield Span(lies, 0, 1, writes)
            if writes and isinstance(lies, Storage) and lies not in self.outputs:
                # No variable changes before all checks of earlier steps have passed.
                yield Span("status", 0, 1, False)
        if "status" in launch.arguments:
            yield Span("status", 0, 1, True)


def view(plan: Plan, arena: Arena, key: object, shape: tuple[int, ...], dtype: DType) -> Array:
    """Return a temporary as an array, for callbacks."""
    start = arena.base - arena.memory.ctypes.data + plan.offsets[key]
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return arena.memory[start : start + size].view(dtype).reshape(shape)
