"""From a layout, which speaks of nodes and storages, to an image, which speaks of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphc.codegen.emitter import Scratch
from graphc.control.loop import Loop
from graphc.dims import Dim
from graphc.ir import Graph, Node
from graphc.lower.rules import Leaf
from graphc.lower.steps import Storage, storage_of
from graphc.memory import Assignment, byte_size
from graphc.runtime import image
from graphc.runtime.image import Facts, Failure, Fill, Image, LeafInfo, Port, Preparation, Section
from graphc.runtime.layout import Cell, Key, Launch, Layout, Room, Touch, Word, scratch_size

__all__ = ["image_of"]

# Words of a launch that need not run at every call hold these kinds of things, or nothing.
_LASTING = ("kept", "leaf", "size")
_UNUSED = image.Word("size")


def image_of(layout: Layout, functions: int, checks: Sequence[Node]) -> tuple[Image, tuple[Any, ...]]:
    """Return a program's image, and the payloads of its leaves in the order in which it numbers them.

    Parameters
    ----------
    layout : Layout
        Of the whole program.  Launches that need not run at every call are taken out of it.
    functions : int
        How many functions its launches number.
    checks : sequence of Node
        By the code that names each in the status word, less one.
    """
    graph = layout.block.graph
    launches = _take(layout)
    writer = _Imager(layout)
    sections = tuple(map(writer.section, writer.numbers))
    preparations = tuple(writer.preparation(launch, launches) for launch in launches)
    updates = tuple(writer.leaf(variable) for variable, _ in graph.updates)
    found = Image(
        tuple(Port(str(n.name), n.type, n.where) for n in graph.inputs),
        tuple(n.type for n in graph.outputs),
        graph.checks,
        tuple(LeafInfo(n.op.name == "variable", n.name or "", n.type) for n in writer.leaves),
        updates,
        functions,
        sections,
        preparations,
        tuple(Failure(n.op.name, n.where) for n in checks),
        _facts(layout),
    )
    return found, tuple(n.payload for n in writer.leaves)


# -- launches that need not run at every call
def _take(layout: Layout) -> list[Launch]:
    """Take out of a layout, and of those nested in it, what reads constants and lasting variables only."""
    found = [launch for launch in layout.launches if launch.sources is not None and None not in _read(launch)]
    taken = frozenset(found)
    layout.launches = tuple(launch for launch in layout.launches if launch not in taken)
    for launch in found:
        launch.layout.kept.update(launch.stage.fills)
    for launch in layout.launches:
        for inner in launch.nested:
            found += _take(inner)
    return found


def _read(launch: Launch) -> list[Node | None]:
    """Return the constants and variables that a launch depends on, None for anything that may change."""
    return [_lasting(launch.layout, storage) for storage in launch.sources or ()]


def _lasting(layout: Layout, storage: Storage) -> Node | None:
    """Return the constant, or the variable that the program does not update, in which a value lies."""
    lies = layout.assignment.resolve(storage)
    if layout.outer is None:
        return lies.node if layout.assignment.lasting(lies) else None
    place = layout.outside.get(lies)
    if place is None:
        return _lasting(layout.outer, lies) if isinstance(lies.node.op.lowering, Leaf) else None
    if place.stride is not None or not isinstance(place.handle, Storage):
        return None
    return _lasting(layout.outer, place.handle)


class _Imager:
    """Numbers sections, rooms, leaves and memory that is kept."""

    def __init__(self, layout: Layout) -> None:
        self.top = layout
        self.numbers: dict[Layout, int] = {}
        for each in _all(layout):
            self.numbers[each] = len(self.numbers)
        self.rooms: dict[Layout, dict[Key, int]] = {
            each: {room.key: k for k, room in enumerate(each.rooms)} for each in self.numbers
        }
        self.leaves: dict[Node, int] = {}
        self.kept: dict[Scratch, int] = {}

    def leaf(self, node: Node) -> int:
        """Return the number of a constant or variable."""
        return self.leaves.setdefault(node, len(self.leaves))

    def keep(self, scratch: Scratch) -> int:
        """Return the number of memory that is kept."""
        return self.kept.setdefault(scratch, len(self.kept))

    # -- sections
    def section(self, layout: Layout) -> Section:
        """Return what a layout runs and what needs room meanwhile."""
        steps = tuple(self.step(layout, launch) for launch in layout.launches)
        return Section(steps, tuple(map(self.room, layout.rooms)))

    def room(self, room: Room) -> image.Room:
        """Return a room with numbers for what is nested in it."""
        nested = tuple(self.numbers[n] for n in room.nested)
        label = _label(room.key)
        return image.Room(room.first, room.last, room.size, room.private, nested, room.side_by_side, label)

    def step(self, layout: Layout, launch: Launch) -> image.Step:
        """Return a launch that stands in a layout."""
        touches = tuple(map(self.touch, layout.touches(launch)))
        if launch.nested:
            write = self.loop if launch.cells else self.switch
            return write(launch)._replace(touches=touches, calls_back=launch.calls_back)
        around = set(_outward(layout))
        words = tuple(self.word(launch.layout.word(a), around) for a in launch.arguments)
        return self.call(launch, words)._replace(touches=touches, calls_back=launch.calls_back)

    def call(self, launch: Launch, words: tuple[image.Word, ...]) -> image.Call:
        """Return the call of a kernel or callback."""
        stage = launch.stage
        return image.Call(launch.function, launch.kernel, launch.number, words, stage.units, stage.work)

    def loop(self, launch: Launch) -> image.Loop:
        """Return a loop; its own words move with the loops around it."""
        parts, at = Loop.of(launch.node), launch.layout
        inner = [self.numbers[n] for n in launch.nested]
        number, flag = (self.word(at.word(c)) for c in launch.cells)
        count = self.word(at.word(Storage(launch.node, len(parts.carries) + len(parts.ys))))
        given = None if parts.count is None else self.word(at.word(storage_of(parts.count)))
        condition = inner[1] if len(inner) > 1 else None
        return image.Loop(inner[0], condition, parts.length, given, number, flag, count)

    def switch(self, launch: Launch) -> image.Switch:
        """Return a branch."""
        index = self.word(launch.layout.word(storage_of(launch.node.inputs[0])))
        return image.Switch(index, tuple(self.numbers[n] for n in launch.nested))

    # -- words
    def word(self, word: Word, around: set[Layout] | None = None) -> image.Word:
        """Return a word with numbers for what it names; it moves with the loops `around` only."""
        slices = tuple(
            image.Slice(self.numbers[s.within], s.stride, s.flip)
            for s in word.slices
            if around is None or s.within in around
        )
        section, number, dim = self._lies(word)
        return image.Word(word.kind, section, number, dim, slices)

    def _lies(self, word: Word) -> tuple[int, int, Dim]:
        data: Any = word.data
        if word.kind == "size":
            return 0, 0, data
        if word.kind == "arena":
            layout, key = data
            return self.numbers[layout], self.rooms[layout][key], word.offset
        if word.kind == "status":
            return 0, 0, 0
        if word.kind == "call":
            return 0, data, word.offset
        return 0, self.leaf(data) if word.kind == "leaf" else self.keep(data), word.offset

    def touch(self, touch: Touch) -> image.Touch:
        """Return what a launch touches, by number or name."""
        if touch.layout is None:
            return image.Touch(self._name(touch.key), written=touch.written)
        key: Any = touch.key
        section, room = self.numbers[touch.layout], self.rooms[touch.layout][key]
        return image.Touch("arena", section, room, touch.written, touch.start, touch.size)

    def _name(self, key: object) -> str:
        if not isinstance(key, Storage):
            return str(key)
        number = self.top.calls.get(key)
        return f"leaf {self.leaf(key.node)}" if number is None else f"call {number}"

    # -- what is done once for many calls
    def preparation(self, launch: Launch, all: Sequence[Launch]) -> Preparation:
        """Return a launch that was taken out of its layout."""
        found = [launch.layout.word(a) for a in launch.arguments]
        words = tuple(self.word(w, set()) if w.kind in _LASTING else _UNUSED for w in found)
        fills = tuple(Fill(self.keep(s), scratch_size(s)) for s in launch.stage.fills)
        leaves = tuple(self.leaf(n) for n in _read(launch) if n is not None)
        group = next(k for k, other in enumerate(all) if other.step is launch.step)
        return Preparation(self.call(launch, words), fills, launch.stage.sizes, leaves, group)


def _all(layout: Layout) -> Iterator[Layout]:
    """Return a layout and all that are nested in it."""
    yield layout
    for launch in layout.launches:
        for inner in launch.nested:
            yield from _all(inner)


def _outward(layout: Layout | None) -> Iterator[Layout]:
    """Return a layout and those around it."""
    while layout is not None:
        yield layout
        layout = layout.outer


# -- words for people
def _facts(layout: Layout) -> Facts:
    assignment: Assignment = layout.assignment
    temporaries = [s for s in assignment.lifetimes if s not in layout.calls]
    return Facts(
        tuple(map(_described, temporaries)),
        tuple(str(v.name) for v in assignment.in_place),
        tuple(str(v.name) for v, _ in assignment.committed),
        len(assignment.home) - len(assignment.in_place),
        tuple(_unshared(layout)),
    )


def _unshared(layout: Layout) -> Iterator[Dim]:
    """Return the bytes of every temporary and of all working memory, nested ones included."""
    assignment: Assignment = layout.assignment
    elsewhere: Mapping[Any, None] = dict.fromkeys(
        [*layout.calls, *layout.outside, *assignment.in_place.values(), *assignment.parts]
    )
    written = dict.fromkeys(s for launch in layout.launches for s in launch.writes)
    yield from (byte_size(s) for s in written if s not in elsewhere)
    for launch in layout.launches:
        yield from (scratch_size(s) for s in launch.scratches if s not in launch.layout.kept)
        for inner in launch.nested:
            yield from _unshared(inner)


def _label(key: Key) -> str:
    if isinstance(key, Storage):
        return _described(key)
    if isinstance(key, Scratch):
        return f"working memory: {key.dtype}[{key.count}]"
    return key.what if isinstance(key, Cell) else "loop or branch"


def _described(storage: Storage) -> str:
    node = storage.node
    inner = node.payload.outputs[storage.item] if isinstance(node.payload, Graph) else node
    return f"{inner.op.name}: {inner.type}  {inner.where}"
