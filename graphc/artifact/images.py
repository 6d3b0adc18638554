"""Images as JSON: what runs, in numbers.

An image is read only from files whose native code is trusted, so it is read as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphc import dims, errors
from graphc.dims import Dim
from graphc.errors import Where
from graphc.feeds import DimCheck
from graphc.runtime.image import (
    Call,
    Facts,
    Failure,
    Fill,
    Image,
    LeafInfo,
    Loop,
    Port,
    Preparation,
    Room,
    Section,
    Slice,
    Step,
    Switch,
    Touch,
    Word,
)
from graphc.types import TensorType, as_dtype

__all__ = ["decode_image", "encode_image"]

Json = Any
# The first entry of a step says what it is.
_KINDS: Mapping[type, str] = {Call: "call", Loop: "loop", Switch: "switch"}


def encode_image(image: Image) -> Json:
    """Return an image as lists, objects, numbers and texts.

    Tuples become lists, in the order of their fields; symbolic dimensions become references to a table.
    """
    table = _Table()
    sections = [[[_step(s, table) for s in steps], table.plain(rooms)] for steps, rooms in image.sections]
    found = {name: table.plain(value) for name, value in image._asdict().items() if name != "sections"}
    return {**found, "sections": sections, "dims": table.rows}


def _step(step: Step, table: _Table) -> Json:
    return [_KINDS[type(step)], *table.plain(step)]


class _Table:
    """Writes plain values, collecting symbolic dimensions as it goes."""

    def __init__(self) -> None:
        self.rows: list[Json] = []
        self._numbers: dict[dims.SymbolicDim, int] = {}

    def plain(self, value: Any) -> Json:
        """Return a value as JSON; a dimension is a number, or an object with its number in the table."""
        if isinstance(value, dims.SymbolicDim):
            return {"dim": self._number(value)}
        if isinstance(value, TensorType):
            return [str(value.dtype), self.plain(value.shape)]
        if isinstance(value, Where):
            return [value.file, value.line]
        if isinstance(value, DimCheck):
            places = [self.plain(d) for d in (value.left, value.right)]
            return [*places, value.why, self.plain(value.where), value.error.__name__]
        if isinstance(value, tuple):
            return [self.plain(v) for v in value]
        return value

    def _number(self, dim: dims.SymbolicDim) -> int:
        if dim not in self._numbers:
            terms = [[coefficient, [self._atom(a) for a in atoms]] for atoms, coefficient in dim.terms]
            self._numbers[dim] = len(self.rows)
            self.rows.append(terms)
        return self._numbers[dim]

    def _atom(self, atom: dims.Atom) -> Json:
        return atom.text if atom.fn == "name" else [atom.fn, *map(self.plain, atom.args), atom.text]


def decode_image(data: Json) -> Image:
    """Return the image that `encode_image` has written."""
    read = _Reader(data["dims"])
    return Image(
        tuple(Port(name, read.type(type), Where(*where)) for name, type, where in data["inputs"]),
        tuple(map(read.type, data["outputs"])),
        tuple(map(read.check, data["checks"])),
        tuple(LeafInfo(variable, name, read.type(type)) for variable, name, type in data["leaves"]),
        tuple(data["updates"]),
        data["functions"],
        tuple(
            Section(tuple(map(read.step, steps)), tuple(map(read.room, rooms)))
            for steps, rooms in data["sections"]
        ),
        tuple(map(read.preparation, data["preparations"])),
        tuple(Failure(op, Where(*where)) for op, where in data["failures"]),
        read.facts(data["facts"]),
    )


class _Reader:
    """Reads what `_Table` has written."""

    def __init__(self, rows: Sequence[Json]) -> None:
        self._dims: list[Dim] = []
        for row in rows:
            terms = {tuple(map(self._atom, atoms)): coefficient for coefficient, atoms in row}
            self._dims.append(dims.SymbolicDim(terms))

    def _atom(self, data: Json) -> dims.Atom:
        if isinstance(data, str):
            return dims.Atom("name", (), data)
        fn, left, right, text = data
        return dims.Atom(fn, (self.dim(left), self.dim(right)), text)

    def dim(self, data: Json) -> Dim:
        """Return a dimension."""
        found: Dim = data if isinstance(data, int) else self._dims[data["dim"]]
        return found

    def type(self, data: Json) -> TensorType:
        """Return a tensor type."""
        dtype, shape = data
        return TensorType(tuple(map(self.dim, shape)), as_dtype(dtype))

    def check(self, data: Json) -> DimCheck:
        """Return an equality of dimensions; its error is one of graphc's."""
        left, right, why, where, error = data
        return DimCheck(self.dim(left), self.dim(right), why, Where(*where), getattr(errors, error))

    def word(self, data: Json) -> Word:
        """Return a word of an args block."""
        kind, section, number, dim, slices = data
        moves = tuple(Slice(at, self.dim(stride), flip) for at, stride, flip in slices)
        return Word(kind, section, number, self.dim(dim), moves)

    def words(self, data: Json) -> tuple[Word, ...]:
        """Return the words of an args block."""
        return tuple(map(self.word, data))

    def touches(self, data: Json) -> tuple[Touch, ...]:
        """Return what a step touches."""
        return tuple(
            Touch(name, section, room, written, self.dim(start), None if size is None else self.dim(size))
            for name, section, room, written, start, size in data
        )

    def call(self, data: Json) -> Call:
        """Return a call."""
        function, kernel, stage, words, units, work, touches, back = data
        sizes = self.dim(units), self.dim(work)
        return Call(function, kernel, stage, self.words(words), *sizes, self.touches(touches), back)

    def loop(self, data: Json) -> Loop:
        """Return a loop."""
        body, condition, most, given, number, flag, total, touches, back = data
        limit = None if most is None else self.dim(most)
        asked = None if given is None else self.word(given)
        cells = self.word(number), self.word(flag), self.word(total)
        return Loop(body, condition, limit, asked, *cells, self.touches(touches), back)

    def switch(self, data: Json) -> Switch:
        """Return a branch."""
        chosen, branches, touches, back = data
        return Switch(self.word(chosen), tuple(branches), self.touches(touches), back)

    def step(self, data: Json) -> Step:
        """Return a step of any kind."""
        kind, *rest = data
        readers: dict[str, Callable[[Json], Step]] = {
            "call": self.call,
            "loop": self.loop,
            "switch": self.switch,
        }
        return readers[kind](rest)

    def room(self, data: Json) -> Room:
        """Return a room."""
        first, last, size, private, nested, beside, label = data
        return Room(first, last, self.dim(size), private, tuple(nested), beside, label)

    def preparation(self, data: Json) -> Preparation:
        """Return a preparation."""
        call, fills, sizes, leaves, group = data
        filled = tuple(Fill(number, self.dim(size)) for number, size in fills)
        return Preparation(self.call(call), filled, tuple(map(self.dim, sizes)), tuple(leaves), group)

    def facts(self, data: Json) -> Facts:
        """Return what the memory report says."""
        temporaries, in_place, committed, reused, unshared = data
        words = tuple(temporaries), tuple(in_place), tuple(committed)
        return Facts(*words, reused, tuple(map(self.dim, unshared)))
