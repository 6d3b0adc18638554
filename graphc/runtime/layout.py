"""Layouts: what all plans of a program have in common, worked out once.

A plan is made for every new set of sizes, while a user waits for the first call with them.  So
everything that does not depend on sizes is decided here: which argument is an input, an output, a
variable or a temporary, what needs room in the arena and how long, what each launch touches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from graphc import dims
from graphc.codegen.emitter import Scratch
from graphc.codegen.loops import SOLE, KernelText, Stage
from graphc.dims import Dim
from graphc.ir import Node
from graphc.lower.rules import Leaf
from graphc.lower.steps import Part, Step, Storage
from graphc.memory import Assignment, aligned, byte_size

# A value or working memory, whose address is passed; a size or the code of a check; "status".
Argument = Storage | Part | Scratch | Dim | str
Kind = Literal["arena", "call", "leaf", "size", "status"]


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

    @property
    def scratches(self) -> list[Scratch]:
        """Working memory of the kernel."""
        return list(dict.fromkeys(a for a in self.arguments if isinstance(a, Scratch)))


def arguments(
    text: KernelText, bound: Mapping[object, Storage | Part], codes: Mapping[Node, int], stage: int
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
class Room:
    """A request for arena memory: for what, from which launch to which, how many bytes.

    `private` memory is needed once per thread.
    """

    key: object
    first: int
    last: int
    size: Dim
    private: bool = False


@dataclass(frozen=True)
class Word:
    """What one word of an args block holds.

    An arena key, the number of an input or output of the call, the address of a leaf, a
    dimension, or the address of the status word; addresses are so many bytes further on.
    """

    kind: Kind
    data: object
    offset: Dim = 0


@dataclass(frozen=True)
class Touch:
    """Memory that a launch reads or writes: a temporary, or anything else by name.

    Of a temporary it may be `size` bytes from `start` on only.
    """

    key: object
    in_arena: bool
    written: bool
    start: Dim = 0
    size: Dim | None = None


STATUS = "status"


@dataclass(frozen=True)
class Layout:
    """What the plans of a program have in common."""

    launches: tuple[Launch, ...]
    assignment: Assignment
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    output_storages: tuple[Storage, ...]

    @cached_property
    def calls(self) -> Mapping[object, int]:
        """Numbers of the memories that calls bring: inputs first, then outputs."""
        found: dict[object, int] = {Storage(n): k for k, n in enumerate(self.inputs)}
        count = len(found)
        # An output that is given twice has one memory for each.
        found.update({s: count + k for k, s in enumerate(self.output_storages) if s not in found})
        return found

    @cached_property
    def runs(self) -> tuple[tuple[int, ...] | Launch, ...]:
        """The launches as native runs, by position, and callbacks."""
        found: list[list[int] | Launch] = []
        for i, launch in enumerate(self.launches):
            last = found[-1] if found else None
            if not launch.address:
                found.append(launch)
            elif isinstance(last, list):
                last.append(i)
            else:
                found.append([i])
        return tuple(run if isinstance(run, Launch) else tuple(run) for run in found)

    @cached_property
    def rooms(self) -> tuple[Room, ...]:
        """What needs room in the arena."""
        outputs = set(self.output_storages)
        begins: dict[int, int] = {}
        ends: dict[int, int] = {}
        scratches: dict[Scratch, int] = {}
        for i, launch in enumerate(self.launches):
            begins.setdefault(launch.position, i)
            ends[launch.position] = i
            scratches.update(dict.fromkeys(launch.scratches, launch.position))
        final = len(self.launches) - 1
        found = [
            Room(storage, begins[first], ends.get(last, final), byte_size(storage))
            for storage, (first, last) in self.assignment.lifetimes.items()
            if storage not in outputs
        ]
        found += [Room(s, begins[at], ends[at], _bytes(s), not s.shared) for s, at in scratches.items()]
        return tuple(found)

    @cached_property
    def words(self) -> tuple[tuple[Word, ...], ...]:
        """The args block of every launch."""
        return tuple(tuple(map(self._word, launch.arguments)) for launch in self.launches)

    def _word(self, argument: Argument) -> Word:
        if isinstance(argument, str):
            return Word("status", argument)
        if isinstance(argument, Part):
            word = self._word(argument.storage)
            offset = argument.offset * argument.storage.type.dtype.itemsize
            return replace(word, offset=word.offset + offset)
        if not isinstance(argument, (Storage, Scratch)):
            return Word("size", argument)
        lies = self._resolve(argument)
        if isinstance(lies, Storage) and lies in self.assignment.parts:
            return self._word(self.assignment.parts[lies])
        if lies in self.calls:
            return Word("call", self.calls[lies])
        if isinstance(lies, Storage) and isinstance(lies.node.op.lowering, Leaf):
            return Word("leaf", lies.node.payload.array.ctypes.data)
        return Word("arena", lies)

    def _resolve(self, handle: Storage | Scratch) -> Storage | Scratch:
        return self.assignment.resolve(handle) if isinstance(handle, Storage) else handle

    @cached_property
    def touches(self) -> tuple[tuple[Touch, ...], ...]:
        """What every launch touches."""
        return tuple(tuple(self._touches(launch)) for launch in self.launches)

    def _touches(self, launch: Launch) -> Iterator[Touch]:
        step = launch.step
        # The copies that commit updates have no step: let them count as writing all they touch.
        written = None if step is None else {self._resolve(s) for s in step.writes.values()}
        whole = (a.storage if isinstance(a, Part) else a for a in launch.arguments)
        for handle in dict.fromkeys(a for a in whole if isinstance(a, (Storage, Scratch))):
            lies = self._resolve(handle)
            writes = isinstance(lies, Scratch) or written is None or lies in written
            leaf = isinstance(lies, Storage) and isinstance(lies.node.op.lowering, Leaf)
            if isinstance(lies, Storage) and lies in self.assignment.parts:
                yield self._part(self.assignment.parts[lies], lies, writes)
                continue
            yield Touch(lies, not leaf and lies not in self.calls, writes)
            if leaf and writes:
                # No variable changes before all checks of earlier steps have passed.
                yield Touch(STATUS, False, False)
        if STATUS in launch.arguments:
            yield Touch(STATUS, False, True)

    def _part(self, part: Part, own: Storage, written: bool) -> Touch:
        """Return what a value touches of the one in which it lies."""
        whole = part.storage
        start = part.offset * whole.type.dtype.itemsize
        return Touch(whole, whole not in self.calls, written, start, byte_size(own))

    def unshared_size(self, sizes: Mapping[str, int]) -> int:
        """Return the bytes that all temporaries and working memory would take side by side."""
        elsewhere = {*self.output_storages, *self.assignment.in_place.values(), *self.assignment.parts}
        steps = (launch.step for launch in self.launches if launch.step is not None)
        written = dict.fromkeys(s for step in steps for s in step.writes.values())
        found = [byte_size(s) for s in written if s not in elsewhere]
        found += [_bytes(s) for launch in self.launches for s in launch.scratches]
        return sum(aligned(dims.evaluate(size, sizes)) for size in found)


def _bytes(scratch: Scratch) -> Dim:
    return scratch.pitch * scratch.dtype.itemsize
