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
from graphc.codegen.loops import KernelText, Scratch
from graphc.dims import Dim
from graphc.ir import Node
from graphc.lower.rules import Leaf
from graphc.lower.steps import Step, Storage
from graphc.memory import ALIGNMENT, Assignment, Block, aligned, byte_size, place
from graphc.types import DType

Array = np.ndarray[Any, Any]
# A value or working memory, whose address is passed; a size or the code of a check; "status".
Argument = Storage | Scratch | Dim | str


@dataclass(frozen=True)
class Launch:
    """One step ready to be planned: its kernel's address, and what each argument is.

    `arguments` has one entry per parameter; `step` is None for the copies that commit
    updates.  `address` is 0 for a callback.
    """

    step: Step | None
    address: int
    arguments: tuple[Argument, ...]


def arguments(
    text: KernelText, bound: Mapping[object, Storage], codes: Mapping[Node, int]
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
    """A program at one set of sizes.

    Attributes
    ----------
    words : ctypes array
        Tables and args blocks.
    segments : list
        In order: the address of a step table, or a `Launch` to call back.
    call_slots : list of list of int
        Positions of each input's address, then of each output's.
    outputs : list of (shape, dtype)
        What to allocate.
    arena_slots : list of (int, int)
        Positions of temporaries' addresses, with their offsets.
    arena_size : int
        Bytes of temporaries.
    """

    sizes: Mapping[str, int]
    words: ctypes.Array[ctypes.c_int64]
    segments: list[int | Launch]
    call_slots: list[list[int]]
    outputs: list[tuple[tuple[int, ...], DType]]
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


def build(layout: Layout, sizes: Mapping[str, int], status: int) -> Plan:
    """Lay out tables, args blocks and temporaries for the given sizes."""
    offsets, arena_size = place(_blocks(layout, sizes))
    segments = _split(layout.launches)
    tables = sum(2 + 2 * len(run) for run in segments if isinstance(run, list))
    total = tables + sum(len(launch.arguments) for launch in layout.launches)
    words = (ctypes.c_int64 * max(total, 1))()
    base = ctypes.addressof(words)
    writer = _Writer(layout, sizes, status, words, offsets)
    table, block = 0, tables
    done: list[int | Launch] = []
    for run in segments:
        if isinstance(run, Launch):
            done.append(run)
            continue
        words[table], words[table + 1] = len(run), status
        done.append(base + 8 * table)
        table += 2
        for launch in run:
            words[table], words[table + 1] = launch.address, base + 8 * block
            table += 2
            writer.arguments(launch, block)
            block += len(launch.arguments)
    specs = [(n.type.concrete(sizes), n.type.dtype) for n in layout.outputs]
    return Plan(
        dict(sizes),
        words,
        done,
        writer.input_slots + writer.output_slots,
        specs,
        writer.arena_slots,
        arena_size,
        offsets,
    )


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


def _blocks(layout: Layout, sizes: Mapping[str, int]) -> list[Block]:
    outputs = set(layout.output_storages)
    blocks = [
        Block(storage, first, last, dims.evaluate(byte_size(storage), sizes))
        for storage, (first, last) in layout.assignment.lifetimes.items()
        if storage not in outputs
    ]
    for i, launch in enumerate(layout.launches):
        blocks += [Block(s, i, i, _scratch_size(s, sizes)) for s in _scratches(launch)]
    return blocks


def _scratches(launch: Launch) -> list[Scratch]:
    return list(dict.fromkeys(a for a in launch.arguments if isinstance(a, Scratch)))


def _scratch_size(scratch: Scratch, sizes: Mapping[str, int]) -> int:
    return dims.evaluate(scratch.count, sizes) * scratch.dtype.itemsize


def unshared_size(layout: Layout, sizes: Mapping[str, int]) -> int:
    """Return the bytes that all temporaries and all kernels' working memory would take side by side."""
    elsewhere = {*layout.output_storages, *layout.assignment.in_place.values()}
    steps = (launch.step for launch in layout.launches if launch.step is not None)
    written = dict.fromkeys(s for step in steps for s in step.writes.values())
    found = [dims.evaluate(byte_size(s), sizes) for s in written if s not in elsewhere]
    found += [_scratch_size(s, sizes) for launch in layout.launches for s in _scratches(launch)]
    return sum(map(aligned, found))


class _Writer:
    """Fills args blocks, noting which words calls must rewrite."""

    def __init__(
        self,
        layout: Layout,
        sizes: Mapping[str, int],
        status: int,
        words: ctypes.Array[ctypes.c_int64],
        offsets: Mapping[object, int],
    ) -> None:
        self.layout = layout
        self.sizes = sizes
        self.status = status
        self.words = words
        self.offsets = offsets
        self.inputs = {Storage(n): k for k, n in enumerate(layout.inputs)}
        self.outputs = {s: k for k, s in enumerate(layout.output_storages)}
        self.input_slots: list[list[int]] = [[] for _ in layout.inputs]
        self.output_slots: list[list[int]] = [[] for _ in layout.outputs]
        self.arena_slots: list[tuple[int, int]] = []

    def arguments(self, launch: Launch, start: int) -> None:
        for slot, argument in enumerate(launch.arguments, start):
            if isinstance(argument, (Storage, Scratch)):
                self.pointer(argument, slot)
            elif isinstance(argument, str):
                self.words[slot] = self.status
            else:
                self.words[slot] = dims.evaluate(argument, self.sizes)

    def pointer(self, handle: Storage | Scratch, slot: int) -> None:
        lies = self.layout.assignment.resolve(handle) if isinstance(handle, Storage) else handle
        if lies in self.inputs:
            self.input_slots[self.inputs[lies]].append(slot)
        elif lies in self.outputs:
            self.output_slots[self.outputs[lies]].append(slot)
        elif isinstance(lies, Storage) and isinstance(lies.node.op.lowering, Leaf):
            self.words[slot] = lies.node.payload.array.ctypes.data
        else:
            self.arena_slots.append((slot, self.offsets[lies]))


def view(plan: Plan, arena: Arena, key: object, shape: tuple[int, ...], dtype: DType) -> Array:
    """Return a temporary as an array, for callbacks."""
    start = arena.base - arena.memory.ctypes.data + plan.offsets[key]
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return arena.memory[start : start + size].view(dtype).reshape(shape)
