"""The arena over time: which buffer lies where, from which step to which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from graphc import dims
from graphc.costs import NAMED
from graphc.placement import Block, aligned, place
from graphc.runtime import team
from graphc.runtime.image import Call, Image, Loop, Room, Section, Step

if TYPE_CHECKING:
    from graphc.runtime.program import Program

__all__ = ["ArenaView", "Buffer", "arena_of"]


@dataclass(frozen=True)
class Buffer:
    """Bytes of the arena that hold one thing for some steps.

    Attributes
    ----------
    label, kind : str
        What it holds: a ``value``, ``working memory`` of the threads, or that of ``nested`` steps.
    start, size : int
        Offset and bytes.
    first, last : int
        The first and the last step that need it.
    """

    label: str
    kind: str
    start: int
    size: int
    first: int
    last: int


@dataclass(frozen=True)
class ArenaView:
    """The arena at one set of sizes, for one number of threads.

    Attributes
    ----------
    sizes : mapping of str to int
        Of the named dimensions.
    assumed : bool
        Whether the sizes are those of no call so far.
    threads : int
        How many have working memory of their own.
    steps : tuple of str
        Names of what runs, in order.
    buffers : tuple of Buffer
        What lies in the arena.
    size, unshared : int
        Bytes of the arena, and of everything side by side.
    """

    sizes: Mapping[str, int]
    assumed: bool
    threads: int
    steps: tuple[str, ...]
    buffers: tuple[Buffer, ...]
    size: int
    unshared: int

    @property
    def data(self) -> dict[str, Any]:
        """As the page reads it."""
        rows = [list(asdict(b).values()) for b in self.buffers]
        return {**vars(self), "buffers": rows}


def arena_of(program: Program) -> ArenaView:
    """Return the arena of a program at the sizes of its latest call, or at assumed ones before any.

    Parameters
    ----------
    program : Program
        What to describe.

    Returns
    -------
    ArenaView

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> x = gx.placeholder("x", shape=("n",))
    >>> program = gx.compile(x, gx.softmax(gx.cumulative_sum(x), axis=0))
    >>> _ = program(np.ones(100, "float32"))
    >>> view = arena_of(program)
    >>> dict(view.sizes), view.size == program.memory.arena
    ({'n': 100}, True)
    """
    known, names = program.specializations, program.graph.dim_names
    sizes = known[-1] if known else dict.fromkeys(names, NAMED)
    image: Image = program._image
    placing = _Placing(image.sections, sizes, team.count)
    section = image.sections[0]
    blocks = placing.blocks(0)
    offsets, size = place(blocks)
    buffers = [
        Buffer(r.label, _kind(r), offsets[k], b.size, r.first, r.last)
        for k, (r, b) in enumerate(zip(section.rooms, blocks, strict=True))
    ]
    steps = tuple(_name(program, step) for step in section.steps)
    # What the image counts is for one thread, and without the counters of loops; rooms hold several values.
    counted = sum(aligned(dims.evaluate(d, sizes)) for d in image.facts.unshared) + placing.more
    unshared = max(counted, placing.side_by_side)
    assumed = not known and bool(names)
    return ArenaView(dict(sizes), assumed, team.count, steps, tuple(buffers), size, unshared)


@dataclass(frozen=True)
class _Placing:
    """Gives rooms their bytes, as plans do."""

    sections: Sequence[Section]
    sizes: Mapping[str, int]
    threads: int

    def blocks(self, section: int) -> list[Block]:
        """Return what a section needs room for."""
        rooms = self.sections[section].rooms
        return [Block(k, r.first, r.last, self.size(r)) for k, r in enumerate(rooms)]

    def size(self, room: Room) -> int:
        """Return the bytes of a room."""
        if not room.nested:
            return dims.evaluate(room.size, self.sizes) * (self.threads if room.private else 1)
        inner = [aligned(place(self.blocks(n))[1]) for n in room.nested]
        return sum(inner) if room.side_by_side else max(inner)

    @property
    def side_by_side(self) -> int:
        """The bytes of all rooms, but for those that hold others."""
        return sum(aligned(self.size(r)) for s in self.sections for r in s.rooms if not r.nested)

    @property
    def more(self) -> int:
        """The bytes of working memory that threads need beside the first one."""
        rooms = [r for section in self.sections for r in section.rooms if r.private]
        return (self.threads - 1) * sum(aligned(dims.evaluate(r.size, self.sizes)) for r in rooms)


def _kind(room: Room) -> str:
    if room.nested:
        return "nested"
    return "working memory" if room.private else "value"


def _name(program: Program, step: Step) -> str:
    if isinstance(step, Call):
        return program.kernels[step.kernel].name
    return "loop" if isinstance(step, Loop) else "branch"
