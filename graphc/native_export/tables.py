"""The tables of an exported library, as the bytes that stand in it: see `layout`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.errors import Where
from graphc.native_export import layout
from graphc.native_export.rows import Rows
from graphc.native_export.template import Numbering, Template, ordered_rooms
from graphc.placement import aligned
from graphc.runtime.cpu import Feature
from graphc.runtime.image import Image
from graphc.types import TensorType

__all__ = ["Data", "Tables", "size_names", "tables"]

_WORD = 8


@dataclass(frozen=True)
class Data:
    """What a library holds of leaves and of memory that is kept.

    Attributes
    ----------
    leaves, kept : mapping of int to bytes
        By number; what nothing reads is left out.
    changing : tuple of int
        The leaves that the program changes, and that each context has a copy of.
    """

    leaves: Mapping[int, bytes]
    kept: Mapping[int, bytes]
    changing: tuple[int, ...]


@dataclass(frozen=True)
class Tables:
    """What stands in a library.

    Attributes
    ----------
    pieces : list of bytes
        One after the other.
    scratch : int
        How many words `shapes` needs to work in.
    """

    pieces: list[bytes]
    scratch: int


def size_names(image: Image) -> list[str]:
    """Return the names of the sizes that a program depends on, in the order of its inputs."""
    found = (name for port in image.inputs for d in port.type.shape for name in sorted(dims.names(d)))
    return list(dict.fromkeys(found))


def tables(
    image: Image, numbering: Numbering, made: Template, data: Data, features: Mapping[str, Feature]
) -> Tables:
    """Return the tables of a program."""
    writer = _Writer(image, numbering, made, data, features)
    return Tables(writer.write(), writer.asked)


class _Writer:
    """Puts the tables together; lists that follow the head are noted with what the head says of them."""

    def __init__(
        self,
        image: Image,
        numbering: Numbering,
        made: Template,
        data: Data,
        features: Mapping[str, Feature],
    ) -> None:
        self.image = image
        self.numbering = numbering
        self.template = made
        self.data = data
        self.features = features
        self.rows = Rows(size_names(image))
        # What callers see is worked out first, and by itself where they ask for shapes.
        self.ports = [port.type for port in image.inputs] + list(image.outputs)
        self.shapes = [[self.rows.number(d) for d in (*t.shape, byte_size(t))] for t in self.ports]
        self.facts = self._facts()
        self.asked = len(self.rows.rows)
        self.head = [0] * layout.HEAD_WORDS
        self.lists: list[int] = []
        self.tail: list[bytes] = []
        self.context = layout.CONTEXT_HEAD

    def write(self) -> list[bytes]:
        """Return the pieces."""
        self._add_rooms()
        self._add_plan()
        self._add_ports()
        self._add_features()
        self._add_rows()
        self._add_texts()
        self._add_data()
        self._add_context()
        size = _WORD * (len(self.head) + len(self.lists))
        self.head[layout.T_TAIL] = aligned(size)
        return [np.array(self.head + self.lists, np.int64).tobytes(), _padding(size), *self.tail]

    # -- lists
    def _add(self, at: int, values: Iterable[int], count: int | None = None, of: int = 1) -> None:
        """Append a list whose position stands at `at` of the head, and its length in rows at `count`."""
        found = list(values)
        self.head[at] = layout.HEAD_WORDS + len(self.lists)
        self.lists += found
        if count is not None:
            self.head[count] = len(found) // of

    def _facts(self) -> list[tuple[int, int, str]]:
        """Return pairs of rows that must be equal, and what is wrong if they are not."""
        found: list[tuple[int, int, str]] = []
        zero = self.rows.number(0)
        for what, type in _named(self.image):
            for d in (d for d in type.shape if not isinstance(d, int)):
                row = self.rows.number(d)
                least = self.rows.apply(layout.MAXIMUM, row, zero)
                found.append((row, least, f"{what}: its dimension {d} is negative"))
        for check in self.image.checks:
            left, right = self.rows.number(check.left), self.rows.number(check.right)
            text = f"{check.why}: {check.left} and {check.right} are not equal{_place(check.where)}"
            found.append((left, right, text))
        return found

    def _add_rooms(self) -> None:
        number = self.rows.number
        nested: list[int] = []
        rows: list[int] = []
        ordered = ordered_rooms(self.image)
        for _, _, room in ordered:
            first = len(nested)
            nested += room.nested
            size = number(0 if room.nested else room.size)
            rows += [room.first, room.last, size, first, len(nested), int(room.side_by_side)]
        count = len(self.image.sections)
        starts = [sum(section < s for section, _, _ in ordered) for s in range(count + 1)]
        self.head[layout.T_SECTIONS] = count
        self._add(layout.T_SECTIONS_AT, starts)
        self._add(layout.T_ROOMS_AT, rows)
        self._add(layout.T_NESTED_AT, nested)
        sizes: list[Dim] = [0] * self.numbering.kept
        for fill in (f for p in self.image.preparations for f in p.fills):
            sizes[fill.number] = 0 if fill.number in self.numbering.lasting else fill.size
        self._add(layout.T_FILLS_AT, map(number, sizes), layout.T_FILLS)

    def _add_plan(self) -> None:
        made, head = self.template, self.head
        words = (value for base, dim in made.words for value in (base, self.rows.number(dim)))
        self._add(layout.T_WORDS_AT, words, layout.T_WORDS, 2)
        self._add(layout.T_SLOTS_AT, made.slots, layout.T_SLOTS)
        head[layout.T_RUN], head[layout.T_PREPARE] = made.run, made.prepare
        head[layout.T_FUNCTIONS] = self.numbering.functions + 2
        head[layout.T_BASE_DATA] = self.numbering.data
        head[layout.T_BASE_ROOMS] = self.numbering.room
        head[layout.T_BASE_FILLS] = self.numbering.fill
        head[layout.T_BASE_CALLS] = self.numbering.call
        head[layout.T_BASES] = self.numbering.count

    def _add_ports(self) -> None:
        self.head[layout.T_SIZES] = len(self.rows.names)
        self.head[layout.T_INPUTS] = len(self.image.inputs)
        self._add(layout.T_PORTS_AT, (rows[-1] for rows in self.shapes), layout.T_PORTS)
        self._add(layout.T_SHAPES_AT, (row for rows in self.shapes for row in rows), layout.T_SHAPES)
        pairs = (row for left, right, _ in self.facts for row in (left, right))
        self._add(layout.T_FACTS_AT, pairs, layout.T_FACTS, 2)

    def _add_features(self) -> None:
        values = (value for feature in self.features.values() for value in feature)
        self._add(layout.T_FEATURES_AT, values, layout.T_FEATURES, layout.FEATURE_WORDS)

    def _add_rows(self) -> None:
        """Append the dimensions, when all are known."""
        self.head[layout.T_ASKED] = self.asked
        self._add(
            layout.T_ROWS_AT, (v for row in self.rows.rows for v in row), layout.T_ROWS, layout.ROW_WORDS
        )

    def _add_context(self) -> None:
        """Fix where things lie in a context."""
        rooms, sections = self.numbering.rooms, len(self.image.sections)
        sizes = {
            layout.T_AT_SIZES: len(self.rows.names),
            layout.T_AT_ROWS: len(self.rows.rows),
            layout.T_AT_BASES: self.numbering.count,
            layout.T_AT_WORDS: len(self.template.words),
            layout.T_AT_ROOM_BYTES: rooms,
            layout.T_AT_OFFSETS: rooms,
            layout.T_AT_SECTION_BYTES: sections,
            layout.T_AT_SECTION_BASES: sections,
            layout.T_AT_ORDER: rooms,
            layout.T_AT_OPEN: rooms,
            # A room that opens leaves at most one gap more, and so does one that closes.
            layout.T_AT_GAPS: 2 * (2 * rooms + 1),
        }
        for at, size in sizes.items():
            self.head[at] = self.context
            self.context += size
        self.head[layout.T_CONTEXT_WORDS] = self.context

    # -- the tail: what is no list of words
    def _add_texts(self) -> None:
        kinds = messages(self.image, self.rows.names, self.facts, self.features)
        self._add(layout.T_MESSAGES_AT, [0, *accumulate(map(len, kinds))][:-1])
        texts = [text.encode() + b"\0" for kind in kinds for text in kind]
        self._add(layout.T_TEXTS_AT, [0, *accumulate(map(len, texts))][:-1])
        self._append(b"".join(texts))

    def _add_data(self) -> None:
        data, first = self.data, self.numbering.leaves
        rows = [[0, -1, 0] for _ in range(first + self.numbering.kept)]
        state = 0
        for number, content in {**data.leaves, **{first + k: v for k, v in data.kept.items()}}.items():
            rows[number] = [self._append(content), -1, len(content)]
            if number in data.changing:
                rows[number][layout.DATA_STATE] = state
                state += aligned(len(content))
        self._add(layout.T_DATA_AT, (v for row in rows for v in row), layout.T_DATA, layout.DATA_WORDS)
        self._add(layout.T_STATE_AT, data.changing, layout.T_STATE)
        self.head[layout.T_STATE_BYTES] = state

    def _append(self, content: bytes) -> int:
        """Append to the tail; return where it begins there."""
        at = sum(map(len, self.tail))
        self.tail += [content, _padding(len(content))]
        return at


def _padding(size: int) -> bytes:
    return bytes(aligned(size) - size)


def byte_size(type: TensorType) -> Dim:
    """Return the bytes of an array of this type."""
    return type.size * type.dtype.itemsize


def _place(where: Where) -> str:
    return f" ({where})"


def _named(image: Image) -> list[tuple[str, TensorType]]:
    """Return inputs and outputs with words for each."""
    inputs = [(f"input {port.name!r}", port.type) for port in image.inputs]
    return inputs + [(f"output {k}", type) for k, type in enumerate(image.outputs)]


def messages(
    image: Image,
    names: Iterable[str],
    facts: Sequence[tuple[int, int, str]],
    features: Iterable[str],
) -> list[list[str]]:
    """Return the texts of each kind of status, and the one for any other number."""
    kinds: dict[int, list[str]] = {
        layout.OK: ["no error"],
        layout.ARGUMENT: ["an argument is NULL", *(f"{what} is NULL" for what, _ in _named(image))],
        layout.MEMORY: ["out of memory"],
        layout.CPU: [f"this CPU lacks {feature}" for feature in features],
        layout.SIZES: [
            *(f"size {name!r} is negative" for name in names),
            "the sizes are too large",
            *(text for _, _, text in facts),
        ],
        layout.CHECK: [f"{f.op}: a run-time check failed{_place(f.where)}" for f in image.failures],
    }
    return [*(kinds[k] for k in range(layout.KINDS)), ["unknown status"]]
