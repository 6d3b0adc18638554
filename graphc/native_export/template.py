"""Templates: the plans of a program for all sizes at once, for one thread.

The words of a plan, see `graphc.runtime.plan`, stand in the same order whatever the sizes are.  A
template says of each which address and which dimension it is the sum of.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from graphc.dims import Dim
from graphc.native_export import layout
from graphc.runtime.control_llvm import SLICE_WORDS
from graphc.runtime.image import Call, Image, Loop, Room, Step, Switch, Word
from graphc.runtime.plan import ENDLESS, LOOP_WORDS

__all__ = ["Base", "Numbering", "Template", "template"]

Base = int
"""Number of an address."""


@dataclass(frozen=True)
class Numbering:
    """How addresses are numbered.

    Attributes
    ----------
    functions, leaves, kept, rooms, calls : int
        How many there are.
    lasting : frozenset of int
        The numbers of kept memory that is data of the library.
    order : dict of (int, int) to int
        By section and room, the room's number.
    """

    functions: int
    leaves: int
    kept: int
    rooms: int
    calls: int
    lasting: frozenset[int]
    order: dict[tuple[int, int], int]

    @property
    def data(self) -> Base:
        """The first leaf; kept memory that is data follows the leaves."""
        # Behind the program's functions come those that run loops and branches.
        return layout.BASE_FUNCTIONS + self.functions + 2

    @property
    def room(self) -> Base:
        """The first room."""
        return self.data + self.leaves + self.kept

    @property
    def fill(self) -> Base:
        """The first kept memory that is filled for some sizes."""
        return self.room + self.rooms

    @property
    def call(self) -> Base:
        """The first input."""
        return self.fill + self.kept

    @property
    def count(self) -> int:
        """How many addresses there are."""
        return self.call + self.calls

    def base(self, word: Word) -> Base:
        """Return the address that a word is relative to."""
        if word.kind == "arena":
            return self.room + self.order[word.section, word.number]
        if word.kind == "kept":
            first = self.data + self.leaves if word.number in self.lasting else self.fill
            return first + word.number
        if word.kind == "leaf":
            return self.data + word.number
        if word.kind == "call":
            return self.call + word.number
        return layout.BASE_STATUS if word.kind == "status" else layout.BASE_ZERO


@dataclass(frozen=True)
class Template:
    """The plans of a program.

    Attributes
    ----------
    words : list of (int, Dim)
        What each word is the sum of: an address and a dimension.
    run, prepare : int
        Positions of the table of the program, and of the one that prepares what depends on sizes.
    slots : list of int
        Positions of the words that calls must rewrite.
    """

    words: list[tuple[Base, Dim]]
    run: int
    prepare: int
    slots: list[int]


def template(image: Image, numbering: Numbering) -> Template:
    """Return the template of a program whose addresses are numbered like this."""
    writer = _Writer(image, numbering)
    run = writer.tables(0)
    # What is data of the library is prepared already.
    calls = [p.call for p in image.preparations if not {f.number for f in p.fills} <= numbering.lasting]
    prepare = writer.table([writer.entry(call) for call in calls])
    last = numbering.call
    slots = [k for k, (base, _) in enumerate(writer.words) if base >= last]
    return Template(writer.words, run, prepare, slots)


_Entry = tuple[int, int]
"""A step of a table: the number of a function, and the position of its args block."""


@dataclass(frozen=True)
class _Moving:
    """A word that a loop rewrites in every iteration: what it is at slice 0, and by how much it moves."""

    slot: int
    base: Word
    stride: Dim
    flip: bool


@dataclass
class _Writer:
    """Writes what `graphc.runtime.plan` writes, in the same order."""

    image: Image
    numbering: Numbering
    words: list[tuple[Base, Dim]] = field(default_factory=list)
    moving: dict[int, list[_Moving]] = field(default_factory=dict)

    def tables(self, section: int) -> int:
        """Write what a section runs; return the position of its table."""
        return self.table([self.step(step) for step in self.image.sections[section].steps])

    def step(self, step: Step) -> _Entry:
        """Write the args block of a step."""
        if isinstance(step, Loop):
            return self.loop(step)
        return self.switch(step) if isinstance(step, Switch) else self.entry(step)

    def entry(self, call: Call) -> _Entry:
        """Write the args block of a call."""
        start = self.grow(len(call.words))
        for slot, word in enumerate(call.words, start):
            self.put(slot, word)
        return call.function, start

    def loop(self, loop: Loop) -> _Entry:
        """Write a loop's tables and args block."""
        body = self.tables(loop.body)
        condition = None if loop.condition is None else self.tables(loop.condition)
        moving = self.moving.pop(loop.body, [])
        start = self.grow(LOOP_WORDS + SLICE_WORDS * len(moving))
        self.words[start] = layout.BASE_STATUS, 0
        self.point(start + 1, body)
        self.words[start + 2] = layout.BASE_ZERO, ENDLESS if loop.most is None else loop.most
        if loop.given is not None:
            self.put(start + 3, loop.given)
        if condition is not None:
            self.point(start + 4, condition)
        self.put(start + 5, loop.flag)
        self.put(start + 6, loop.number)
        self.put(start + 7, loop.total)
        self.words[start + 8] = layout.BASE_ZERO, len(moving)
        for at, move in zip(range(start + LOOP_WORDS, len(self.words), SLICE_WORDS), moving, strict=True):
            self.point(at, move.slot)
            self.put(at + 1, move.base)
            self.words[at + 2] = layout.BASE_ZERO, move.stride
            self.words[at + 3] = layout.BASE_ZERO, int(move.flip)
        return self.image.functions, start

    def switch(self, switch: Switch) -> _Entry:
        """Write a branch's tables and args block."""
        inner = [self.tables(n) for n in switch.branches]
        start = self.grow(3 + len(inner))
        self.words[start] = layout.BASE_STATUS, 0
        self.put(start + 1, switch.chosen)
        self.words[start + 2] = layout.BASE_ZERO, len(inner)
        for k, table in enumerate(inner):
            self.point(start + 3 + k, table)
        return self.image.functions + 1, start

    def table(self, steps: Sequence[_Entry]) -> int:
        """Write a step table."""
        start = self.grow(2 + 2 * len(steps))
        self.words[start] = layout.BASE_ZERO, len(steps)
        self.words[start + 1] = layout.BASE_STATUS, 0
        for at, (function, args) in zip(range(start + 2, len(self.words), 2), steps, strict=True):
            self.words[at] = layout.BASE_FUNCTIONS + function, 0
            self.point(at + 1, args)
        return start

    # -- words
    def grow(self, count: int) -> int:
        """Append words that are 0; return the position of the first."""
        self.words += [(layout.BASE_ZERO, 0)] * count
        return len(self.words) - count

    def point(self, slot: int, position: int) -> None:
        """Let a word hold the address of another."""
        self.words[slot] = layout.BASE_SELF, 8 * position

    def put(self, slot: int, word: Word) -> None:
        """Write what a word holds, or leave it to the loop with which it moves."""
        if not word.slices:
            self.words[slot] = self.numbering.base(word), word.dim
            return
        last = word.slices[-1]
        move = _Moving(slot, word._replace(slices=word.slices[:-1]), last.stride, last.flip)
        self.moving.setdefault(last.section, []).append(move)


def ordered_rooms(image: Image) -> list[tuple[int, int, Room]]:
    """Return all rooms with their sections and numbers: section by section, those used first in front."""
    found = [(s, k, room) for s, section in enumerate(image.sections) for k, room in enumerate(section.rooms)]
    return sorted(found, key=lambda each: (each[0], each[2].first))


def numbering(image: Image, lasting: Collection[int]) -> Numbering:
    """Return how the addresses of a program are numbered, given which kept memory is data of the library."""
    order = {(section, room): k for k, (section, room, _) in enumerate(ordered_rooms(image))}
    kept = 1 + max((f.number for p in image.preparations for f in p.fills), default=-1)
    calls = len(image.inputs) + len(image.outputs)
    return Numbering(image.functions, len(image.leaves), kept, len(order), calls, frozenset(lasting), order)
