"""Images: what a program is at run time, as plain data.

An image says everything that running needs, with numbers in the place of objects: no graph, no
kernel text, no compiler.  A compiled program makes its plans from one, and an artifact is one on
disk, beside the machine code that it numbers.

Memory is named by where it lies: in a room of a section of the arena, in what a call brings, in a
leaf (a constant or variable), or in what is kept from call to call.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from graphc.dims import Dim
from graphc.errors import Where
from graphc.feeds import DimCheck
from graphc.types import TensorType

__all__ = [
    "Call",
    "Facts",
    "Failure",
    "Fill",
    "Image",
    "LeafInfo",
    "Loop",
    "Port",
    "Preparation",
    "Room",
    "Section",
    "Slice",
    "Step",
    "Switch",
    "Touch",
    "Word",
]

Kind = Literal["arena", "call", "kept", "leaf", "size", "status"]


class Slice(NamedTuple):
    """That an address moves by so many bytes with each iteration of the loop whose body `section` is."""

    section: int
    stride: Dim
    flip: bool


class Word(NamedTuple):
    """What one word of an args block holds.

    Attributes
    ----------
    kind : str
        A room's address, that of an input or output of the call, of memory that is kept, or of a leaf;
        a size; or the address of the status word.
    section, number : int
        Which; inputs come before outputs.
    dim : Dim
        The size; for an address, how many bytes further on it is.
    slices : tuple of Slice
        The loops with which an address moves, the innermost last.
    """

    kind: Kind
    section: int = 0
    number: int = 0
    dim: Dim = 0
    slices: tuple[Slice, ...] = ()


class Touch(NamedTuple):
    """Memory that a step reads or writes: `size` bytes of a room from `start` on, or anything by name."""

    name: str
    section: int = 0
    room: int = 0
    written: bool = False
    start: Dim = 0
    size: Dim | None = None


class Call(NamedTuple):
    """A step that calls a function.

    Attributes
    ----------
    function : int
        Its number.
    kernel, stage : int
        Which of the program's kernels it is, and which stage of that.
    words : tuple of Word
        Its arguments.
    units, work : Dim
        Into how many blocks it can be cut, and the nanoseconds that it takes about.
    touches : tuple of Touch
        What it reads and writes.
    calls_back : bool
        Whether it calls back into Python, which only the calling thread may do.
    """

    function: int
    kernel: int
    stage: int
    words: tuple[Word, ...]
    units: Dim
    work: Dim
    touches: tuple[Touch, ...] = ()
    calls_back: bool = False


class Loop(NamedTuple):
    """A step that runs a section again and again.

    Attributes
    ----------
    body : int
        The section.
    condition : int or None
        The section that says whether to go on.
    most : Dim or None
        How many iterations there are at most.
    given : Word or None
        Where the number of iterations lies, if it is known only when the step runs.
    number, flag, total : Word
        Where to put the number of the iteration, where the condition's answer lies, where to put how many
        there were.
    """

    body: int
    condition: int | None
    most: Dim | None
    given: Word | None
    number: Word
    flag: Word
    total: Word
    touches: tuple[Touch, ...] = ()
    calls_back: bool = False


class Switch(NamedTuple):
    """A step that runs one of several sections."""

    chosen: Word
    branches: tuple[int, ...]
    touches: tuple[Touch, ...] = ()
    calls_back: bool = False


Step = Call | Loop | Switch


class Room(NamedTuple):
    """A request for arena memory: from which step to which, how many bytes, and what lies there.

    `private` memory is needed once per thread; that for `nested` sections is as large as their arenas,
    side by side or one upon the other.
    """

    first: int
    last: int
    size: Dim
    private: bool = False
    nested: tuple[int, ...] = ()
    side_by_side: bool = False
    label: str = ""


class Section(NamedTuple):
    """A list of steps with an arena of its own."""

    steps: tuple[Step, ...]
    rooms: tuple[Room, ...]


class Fill(NamedTuple):
    """Memory that is kept from call to call: its number and its bytes."""

    number: int
    size: Dim


class Preparation(NamedTuple):
    """A call that need not be made again while the leaves that it reads stay.

    Attributes
    ----------
    call : Call
        Its words are addresses of leaves and of memory that is kept, and sizes.
    fills : tuple of Fill
        What it fills.
    sizes : tuple of Dim
        The sizes that it depends on.
    leaves : tuple of int
        What it reads.
    group : int
        Calls of one group prepare one kernel, in order.
    """

    call: Call
    fills: tuple[Fill, ...]
    sizes: tuple[Dim, ...]
    leaves: tuple[int, ...]
    group: int


class Port(NamedTuple):
    """An input: the name by which it is fed, its type, and the line that declares it."""

    name: str
    type: TensorType
    where: Where


class LeafInfo(NamedTuple):
    """A constant or a variable: which of them, its name and type."""

    variable: bool
    name: str
    type: TensorType


class Failure(NamedTuple):
    """A run-time check: the operation that fails and the line that asked for it."""

    op: str
    where: Where


class Facts(NamedTuple):
    """How memory is used, as far as no size decides it.

    Attributes
    ----------
    temporaries, in_place, committed : tuple of str
        Values in the arena; variables updated in place; variables updated by a copy.
    reused : int
        Results that took over an operand's memory.
    unshared : tuple of Dim
        Bytes of every temporary and of all working memory.
    """

    temporaries: tuple[str, ...]
    in_place: tuple[str, ...]
    committed: tuple[str, ...]
    reused: int
    unshared: tuple[Dim, ...]


class Image(NamedTuple):
    """A program at run time.

    Attributes
    ----------
    inputs : tuple of Port
        What a call takes.
    outputs : tuple of TensorType
        What it returns.
    checks : tuple of DimCheck
        Equalities of dimensions to verify at a call.
    leaves : tuple of LeafInfo
        What it reads besides.
    updates : tuple of int
        The leaves that it changes.
    functions : int
        How many functions its calls number.
    sections : tuple of Section
        The first is the program's own.
    preparations : tuple of Preparation
        What is done once for many calls, in order.
    failures : tuple of Failure
        By the status word, which is one more than the position.
    facts : Facts
        For the memory report.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[TensorType, ...]
    checks: tuple[DimCheck, ...]
    leaves: tuple[LeafInfo, ...]
    updates: tuple[int, ...]
    functions: int
    sections: tuple[Section, ...]
    preparations: tuple[Preparation, ...]
    failures: tuple[Failure, ...]
    facts: Facts

    @property
    def kernels(self) -> int:
        """How many kernels there are."""
        steps = [step for section in self.sections for step in section.steps if isinstance(step, Call)]
        return len({call.kernel for call in (*steps, *(p.call for p in self.preparations))})
