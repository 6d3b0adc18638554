"""Layouts: what all plans of a program have in common, worked out once.

A plan is made for every new set of sizes, while a user waits for the first call with them.  So
everything that does not depend on sizes is decided here: which argument is an input, an output, a
variable or a temporary, what needs room in the arena and how long, what each launch touches.

A program's block has a layout, and so has every block nested in it: each has a piece of the
arena for itself, within a room of the block around it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from graphc.blocks import Block, Piece
from graphc.codegen.emitter import Scratch
from graphc.codegen.loops import SOLE, KernelText, Stage
from graphc.control.loop import Loop
from graphc.dims import Dim
from graphc.errors import PassError
from graphc.ir import Node
from graphc.lower.rules import Leaf
from graphc.lower.steps import Part, Step, Storage, storage_of
from graphc.memory import byte_size

__all__ = ["Launch", "Layout", "Room", "Touch", "Word"]


@dataclass(frozen=True, eq=False)
class Cell:
    """A word of a loop's own: the number of the iteration, or whether to go on."""

    what: str


# A value or working memory, whose address is passed; a size or the code of a check; "status".
Argument = Storage | Part | Scratch | Cell | Dim | str
Key = Storage | Scratch | Cell | int
"""What has room in an arena; an integer stands for the blocks nested in the step of that position."""
STATUS = "status"


@dataclass(frozen=True)
class Outside:
    """A value that lies in the block around: all of it, or one slice for each iteration.

    Attributes
    ----------
    handle : Storage or Cell
        Where, in terms of that block.
    stride : Dim or None
        Bytes from one slice to the next; None for all of it.
    flip : bool
        Whether slices are taken from the last to the first.
    """

    handle: Storage | Cell
    stride: Dim | None = None
    flip: bool = False


@dataclass(frozen=True, eq=False)
class Launch:
    """One step ready to be planned.

    Attributes
    ----------
    layout : Layout
        In whose terms its arguments are: the one that it stands in, or one nested in that.
    step : Step or None
        None for the copies around steps.
    function : int
        The number of the function that it calls; 0 for a loop or a branch.
    kernel : int
        The number of its kernel, and `number` that of the kernel's stage.
    arguments : tuple
        One for each parameter.
    writes : tuple of Storage
        What it changes.
    stage : Stage
        How it may be cut.
    sources : tuple of Storage or None
        What it depends on besides sizes, if it only prepares other stages.
    position : int
        The step that it belongs to, counted in the layout that it stands in.
    nested : tuple of Layout
        The blocks that a loop or branch runs.
    cells : tuple of Cell
        A loop's counter and the answer of its condition.
    is_callback : bool
        Whether it calls back into Python, which only the calling thread may do.
    """

    layout: Layout
    step: Step | None
    function: int
    kernel: int
    arguments: tuple[Argument, ...]
    writes: tuple[Storage, ...]
    position: int
    stage: Stage = SOLE
    sources: tuple[Storage, ...] | None = None
    nested: tuple[Layout, ...] = ()
    cells: tuple[Cell, ...] = ()
    is_callback: bool = False
    number: int = 0

    @property
    def node(self) -> Node:
        """The node of a loop or branch."""
        if self.step is None:
            raise PassError("a copy has no node")
        return self.step.node

    @property
    def calls_back(self) -> bool:
        """Whether it, or anything nested in it, calls back into Python."""
        return self.is_callback or any(inner.calls_back for n in self.nested for inner in n.launches)

    @property
    def scratches(self) -> list[Scratch]:
        """Working memory of the kernel."""
        return list(dict.fromkeys(a for a in self.arguments if isinstance(a, Scratch)))


@dataclass(frozen=True)
class Room:
    """A request for arena memory: for what, from which launch to which, how many bytes.

    `private` memory is needed once per thread; that for `nested` blocks is as large as their
    arenas, side by side or one upon the other.
    """

    key: Key
    first: int
    last: int
    size: Dim = 0
    private: bool = False
    nested: tuple[Layout, ...] = ()
    side_by_side: bool = False


Kind = Literal["arena", "call", "kept", "leaf", "size", "status"]


@dataclass(frozen=True)
class Sliced:
    """That an address moves with the iterations of a loop: by so many bytes each.

    `within` is the layout of the loop's body.
    """

    within: Layout
    stride: Dim
    flip: bool


@dataclass(frozen=True)
class Word:
    """What one word of an args block holds.

    An arena's layout and key, the number of an input or output of the call, working memory that
    keeps its contents from call to call, the node of a leaf, a dimension, or the address of the
    status word; addresses are so many bytes further on.  An address that moves with a loop has
    `slices`, the innermost loop's last.
    """

    kind: Kind
    data: object
    offset: Dim = 0
    slices: tuple[Sliced, ...] = ()


@dataclass(frozen=True)
class Touch:
    """Memory that a launch reads or writes: a temporary, or anything else by name.

    Of a temporary it may be `size` bytes from `start` on only.
    """

    key: object
    layout: Layout | None
    written: bool
    start: Dim = 0
    size: Dim | None = None


@dataclass(frozen=True)
class Build:
    """What layouts of one program share.

    Attributes
    ----------
    function : callable
        The numbers of a piece's function and kernel; for a callback, also its arguments.
    codes : mapping of Node to int
        By which the status word names the run-time check that failed.
    """

    function: Callable[[Piece], tuple[int, int, tuple[Argument, ...]]]
    codes: Mapping[Node, int]


class Layout:
    """What the plans of a program, or of a block nested in it, have in common.

    Parameters
    ----------
    block : Block
        What runs.
    build : Build
        Numbers and codes.
    calls : mapping of Storage to int, optional
        Numbers of the memories that calls bring: inputs first, then outputs.
    outer : Layout, optional
        The layout around it.
    outside : mapping of Storage to Outside, optional
        What lies there.
    """

    def __init__(
        self,
        block: Block,
        build: Build,
        calls: Mapping[Storage, int] | None = None,
        outer: Layout | None = None,
        outside: Mapping[Storage, Outside] | None = None,
    ) -> None:
        self.block = block
        self.assignment = block.assignment
        self.calls = calls or {}
        self.outer = outer
        self.outside = outside or {}
        # What stays in place for as long as the block runs, although few launches use it.
        self.pinned: set[Key] = set()
        # Working memory that lies outside the arena and keeps its contents from call to call.
        self.kept: set[Scratch] = set()
        self.launches: tuple[Launch, ...] = tuple(self._launches(build))

    # -- what runs
    def _launches(self, build: Build) -> Iterator[Launch]:
        for piece in self.block.pieces:
            if piece.kernel is None:
                yield from self._control(piece, build)
                continue
            text, (function, kernel, given) = piece.kernel.text, build.function(piece)
            launch = Launch(self, piece.step, function, kernel, given, piece.writes, piece.position)
            if text is None:
                yield replace(launch, is_callback=True)
                continue
            for k, stage in enumerate(text.stages):
                given = arguments(text, piece.bindings, build.codes, k)
                sources = _sources(piece, stage)
                yield replace(launch, arguments=given, stage=stage, sources=sources, number=k)

    def _control(self, piece: Piece, build: Build) -> Iterator[Launch]:
        step = piece.step
        if step is None:
            return
        launch = Launch(self, step, 0, 0, (), piece.writes, piece.position)
        if step.node.op.name != "loop":
            yield replace(launch, nested=tuple(self._branch(step.node, b, build) for b in piece.blocks))
            return
        cells = (Cell("iteration"), Cell("condition"))
        loop = Loop.of(step.node)
        nested = [self._body(step.node, loop, piece.blocks[0], build, cells[0])]
        nested += [self._condition(step.node, loop, b, build, cells) for b in piece.blocks[1:]]
        changing = {Storage(step.node, k) for k in range(len(loop.inits))}
        for inner in nested:
            yield from (replace(h, position=piece.position) for h in inner._hoisted(changing))
        yield replace(launch, nested=tuple(nested), cells=cells)

    def _branch(self, node: Node, block: Block, build: Build) -> Layout:
        given = zip(block.graph.inputs, node.inputs[1:], strict=True)
        outside = {Storage(formal): Outside(storage_of(outer)) for formal, outer in given}
        for k, output in enumerate(block.graph.outputs):
            outside[block.assignment.resolve(storage_of(output))] = Outside(Storage(node, k))
        return Layout(block, build, outer=self, outside=outside)

    def _given(self, node: Node, loop: Loop, block: Block, number: Cell) -> dict[Storage, Outside]:
        """Return where what a body or condition is given lies, apart from slices."""
        formals = block.graph.inputs
        captured, carried = len(loop.captures), len(loop.inits)
        pairs = zip(formals[:captured], loop.captures, strict=True)
        found = {Storage(formal): Outside(storage_of(outer)) for formal, outer in pairs}
        found[Storage(formals[captured])] = Outside(number)
        carries = formals[captured + 1 : captured + 1 + carried]
        return found | {Storage(f): Outside(Storage(node, k)) for k, f in enumerate(carries)}

    def _condition(
        self, node: Node, loop: Loop, block: Block, build: Build, cells: tuple[Cell, Cell]
    ) -> Layout:
        outside = self._given(node, loop, block, cells[0])
        outside[block.assignment.resolve(storage_of(block.graph.outputs[0]))] = Outside(cells[1])
        return Layout(block, build, outer=self, outside=outside)

    def _body(self, node: Node, loop: Loop, block: Block, build: Build, number: Cell) -> Layout:
        outside = self._given(node, loop, block, number)
        for formal, array, flip in zip(loop.slices, loop.xs, loop.x_flips, strict=True):
            outside[Storage(formal)] = Outside(storage_of(array), byte_size(Storage(formal)), flip)
        for k, (output, flip) in enumerate(zip(block.graph.outputs, loop.y_flips, strict=True)):
            storage = storage_of(output)
            stack = Outside(Storage(node, len(loop.inits) + k), byte_size(storage), flip)
            outside[block.assignment.resolve(storage)] = stack
        return Layout(block, build, outer=self, outside=outside)

    def _hoisted(self, changing: Collection[Storage]) -> list[Launch]:
        """Take out what gives the same in every iteration: stages that prepare what does not change."""
        found = [launch for launch in self.launches if self._is_constant(launch, changing)]
        for launch in found:
            self.pinned.update(launch.scratches if launch.layout is self else [launch.position])
        self.launches = tuple(launch for launch in self.launches if launch not in found)
        return found

    def _is_constant(self, launch: Launch, changing: Collection[Storage]) -> bool:
        """Tell whether a launch gives the same in every iteration of the loop whose body this is."""
        if launch.sources is None:
            return False
        return all(self._keeps(launch.layout, s, changing) for s in launch.sources)

    def _keeps(self, layout: Layout, storage: Storage, changing: Collection[Storage]) -> bool:
        """Tell whether a value that is known to `layout` keeps its value while this block's loop runs."""
        lies = layout.assignment.resolve(storage)
        place = layout.outside.get(lies)
        if place is None:
            # A constant, or a value that an iteration computes.
            return isinstance(lies.node.op.lowering, Leaf)
        if place.stride is not None or not isinstance(place.handle, Storage) or layout.outer is None:
            return False
        return (
            place.handle not in changing
            if layout is self
            else self._keeps(layout.outer, place.handle, changing)
        )

    # -- memory
    @cached_property
    def rooms(self) -> tuple[Room, ...]:
        """What needs room in the arena."""
        begins: dict[int, int] = {}
        ends: dict[int, int] = {}
        scratches: dict[Scratch, int] = {}
        found: list[Room] = []
        for i, launch in enumerate(self.launches):
            begins.setdefault(launch.position, i)
            ends[launch.position] = i
            if launch.layout is self:
                scratches.update(dict.fromkeys(launch.scratches, launch.position))
        scratches.update({s: -1 for s in self.pinned if isinstance(s, Scratch)})
        scratches = {s: at for s, at in scratches.items() if s not in self.kept}
        final = max(len(self.launches) - 1, 0)
        begins[-1], ends[-1] = 0, final
        for storage, (first, last) in self.assignment.lifetimes.items():
            if storage not in self.calls and storage not in self.outside:
                found.append(Room(storage, begins.get(first, 0), ends.get(last, final), byte_size(storage)))
        found += [Room(s, begins[at], ends[at], scratch_size(s), not s.shared) for s, at in scratches.items()]
        for launch in self.launches:
            if not launch.nested:
                continue
            at = -1 if launch.position in self.pinned else launch.position
            span = begins[at], ends[at]
            found += [Room(c, *span, 8) for c in launch.cells]
            beside = bool(launch.cells)
            found.append(Room(launch.position, *span, nested=launch.nested, side_by_side=beside))
        return tuple(found)

    def word(self, argument: Argument) -> Word:
        """Return what holds an argument of a launch whose terms these are."""
        if isinstance(argument, str):
            return Word("status", argument)
        if isinstance(argument, Part):
            word = self.word(argument.storage)
            offset = argument.offset * argument.storage.type.dtype.itemsize
            return replace(word, offset=word.offset + offset)
        if isinstance(argument, Scratch) and argument in self.kept:
            return Word("kept", argument)
        if isinstance(argument, (Scratch, Cell)):
            return Word("arena", (self, argument))
        if not isinstance(argument, Storage):
            return Word("size", argument)
        lies = self.assignment.resolve(argument)
        if lies in self.assignment.parts:
            return self.word(self.assignment.parts[lies])
        if lies in self.calls:
            return Word("call", self.calls[lies])
        if lies in self.outside and self.outer is not None:
            place = self.outside[lies]
            word = self.outer.word(place.handle)
            if place.stride is None:
                return word
            return replace(word, slices=(*word.slices, Sliced(self, place.stride, place.flip)))
        if isinstance(lies.node.op.lowering, Leaf):
            return Word("leaf", lies.node)
        return Word("arena", (self, lies))

    # -- what launches touch
    def touches(self, launch: Launch) -> list[Touch]:
        """Return what a launch touches that stands here, in the terms of this layout and those around."""
        found = list(launch.layout._touches(launch))
        for inner in launch.nested:
            for each in inner.launches:
                found += inner.touches(each)
        # Memory of nested blocks counts as one.
        return list(dict.fromkeys(self._surfaced(t, launch) for t in found))

    def _surfaced(self, touch: Touch, launch: Launch) -> Touch:
        layout = touch.layout
        while layout is not None and layout is not self:
            if layout.outer is self:
                return Touch(launch.position, self, True)
            layout = layout.outer
        return touch

    def _touches(self, launch: Launch) -> Iterator[Touch]:
        written = {self.assignment.resolve(s) for s in launch.writes}
        handles = [a.storage if isinstance(a, Part) else a for a in launch.arguments]
        if launch.sources is not None:
            handles = [*launch.sources, *launch.stage.fills]
        if launch.nested and launch.step is not None:
            handles += [*launch.step.reads.values(), *launch.step.writes.values(), *launch.cells]
        for handle in dict.fromkeys(h for h in handles if isinstance(h, (Storage, Scratch, Cell))):
            if handle in self.kept:
                continue
            lies = self.assignment.resolve(handle) if isinstance(handle, Storage) else handle
            yield from self._touch(lies, not isinstance(lies, Storage) or lies in written)
        if STATUS in launch.arguments and launch.sources is None:
            yield Touch(STATUS, None, True)

    def _touch(self, lies: Storage | Scratch | Cell, written: bool) -> Iterator[Touch]:
        if isinstance(lies, Storage) and lies in self.assignment.parts:
            part = self.assignment.parts[lies]
            if part.storage in self.outside:
                yield from self._touch(part.storage, written)
                return
            start = part.offset * part.storage.type.dtype.itemsize
            owner = None if part.storage in self.calls else self
            yield Touch(part.storage, owner, written, start, byte_size(lies))
            return
        place = self.outside.get(lies) if isinstance(lies, Storage) else None
        if place is not None and self.outer is not None:
            handle = place.handle
            outer = self.outer.assignment.resolve(handle) if isinstance(handle, Storage) else handle
            yield from self.outer._touch(outer, written)
            return
        leaf = isinstance(lies, Storage) and isinstance(lies.node.op.lowering, Leaf)
        yield Touch(lies, None if leaf or lies in self.calls else self, written)
        if leaf and written:
            # No variable changes before all checks of earlier steps have passed.
            yield Touch(STATUS, None, False)


def arguments(
    text: KernelText, bound: Mapping[object, Storage | Part], codes: Mapping[Node, int], stage: int
) -> tuple[Argument, ...]:
    """Return what each parameter of a kernel is bound to: see `Argument`."""
    found: list[Argument] = []
    # What other stages have prepared of an operand is read in its place.
    prepared = {handle for s in text.stages for handle in s.source or ()}
    for name, _ in text.params:
        if name in text.pointers:
            handle = text.pointers[name]
            if handle in prepared and name not in text.mentioned[stage]:
                found.append(0)
            else:
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


def _sources(piece: Piece, stage: Stage) -> tuple[Storage, ...] | None:
    """Return the values that a stage depends on, if it only prepares others."""
    if stage.source is None:
        return None
    bound = [piece.bindings[handle] for handle in stage.source]
    return tuple(b.storage if isinstance(b, Part) else b for b in bound)


def scratch_size(scratch: Scratch) -> Dim:
    """Return the size of working memory in bytes, that of one thread if each has its own."""
    return scratch.pitch * scratch.dtype.itemsize
