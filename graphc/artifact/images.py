"""Images as JSON: what runs, in numbers.

An image is read only from files whose native code is trusted, so it is read as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from graphc import errors
from graphc.artifact.values import ValueReader, ValueWriter
from graphc.dims import SymbolicDim
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
from graphc.types import TensorType

__all__ = ["decode_image", "encode_image"]

Json = Any
# The first entry of a step says what it is.
_KINDS: Mapping[type, str] = {Call: "call", Loop: "loop", Switch: "switch"}


def encode_image(image: Image) -> Json:
    """Return an image as pure data: tuples are lists, in the order of their fields."""
    values = ValueWriter()
    plain = partial(_plain, values)
    sections = [[[_step(s, plain) for s in steps], plain(rooms)] for steps, rooms in image.sections]
    found = {name: plain(value) for name, value in image._asdict().items() if name != "sections"}
    return {**found, "sections": sections, "tables": values.tables}


def _step(step: Step, plain: Callable[[Any], Json]) -> Json:
    return [_KINDS[type(step)], *plain(tuple(step))]


def _plain(values: ValueWriter, value: Any) -> Json:
    if isinstance(value, SymbolicDim):
        return values.dim(value)
    if isinstance(value, TensorType):
        return values.type(value)
    if isinstance(value, Where):
        return values.place(value)
    if isinstance(value, DimCheck):
        sides = [values.dim(value.left), values.dim(value.right)]
        return [*sides, value.why, values.place(value.where), value.error.__name__]
    if isinstance(value, tuple):
        return [_plain(values, v) for v in value]
    return value


def decode_image(data: Json) -> Image:
    """Return the image that `encode_image` has written."""
    read = _Reader(ValueReader(data["tables"]))
    types, places = read.values.type, read.values.place
    return Image(
        tuple(Port(name, types(type), places(where)) for name, type, where in data["inputs"]),
        tuple(map(types, data["outputs"])),
        tuple(map(read.check, data["checks"])),
        tuple(LeafInfo(variable, name, types(type)) for variable, name, type in data["leaves"]),
        tuple(data["updates"]),
        data["functions"],
        tuple(
            Section(tuple(map(read.step, steps)), tuple(map(read.room, rooms)))
            for steps, rooms in data["sections"]
        ),
        tuple(map(read.preparation, data["preparations"])),
        tuple(Failure(op, places(where)) for op, where in data["failures"]),
        read.facts(data["facts"]),
    )


class _Reader:
    """Reads the parts of an image."""

    def __init__(self, values: ValueReader) -> None:
        self.values = values
        # Offsets may be negative.
        self.dim = values.check_side

    def check(self, data: Json) -> DimCheck:
        """Return an equality of dimensions; its error is one of graphc's."""
        left, right, why, where, error = data
        place = self.values.place(where)
        return DimCheck(self.dim(left), self.dim(right), why, place, getattr(errors, error))

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
