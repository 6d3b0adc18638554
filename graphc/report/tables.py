"""Tables that the parts of a report point into: names, source lines, nodes."""

from __future__ import annotations

import linecache
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from graphc.errors import UNKNOWN, Where
from graphc.ir import Node, topological
from graphc.lower.rules import Contract, Control, Expand, Leaf
from graphc.printing import constant_text

__all__ = ["Names", "Nodes", "Places", "kind_of"]


class Names:
    """Strings by number: each is stored once.

    Examples
    --------
    >>> names = Names()
    >>> names.number("add"), names.number("exp"), names.number("add"), names.rows
    (0, 1, 0, ['add', 'exp'])
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a string."""
        return self._numbers.setdefault(text, len(self._numbers))

    @property
    def rows(self) -> list[str]:
        """All strings, in order of their numbers."""
        return list(self._numbers)


class Places:
    """The user's lines by number, with their text.

    Files go by the shortest ends of their paths that tell them apart: a report may be passed on.
    """

    def __init__(self) -> None:
        self._numbers: dict[Where, int] = {}

    def number(self, where: Where) -> int:
        """Return the number of a line; -1 where none is known."""
        if where is UNKNOWN or not where.line:
            return -1
        return self._numbers.setdefault(where, len(self._numbers))

    @property
    def rows(self) -> list[list[Any]]:
        """For every line, its file, its number in the file, its text and its scope."""
        names = short_names({w.file for w in self._numbers})
        return [
            [names[w.file], w.line, linecache.getline(w.file, w.line).strip(), w.scope] for w in self._numbers
        ]


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Return for every path its shortest end that no other one has.

    Examples
    --------
    >>> short_names(["/a/train.py", "/a/net.py", "/b/net.py"])
    {'/a/train.py': 'train.py', '/a/net.py': 'a/net.py', '/b/net.py': 'b/net.py'}
    """
    parts = {path: PurePath(path).parts for path in paths}
    ends: dict[str, str] = {}
    for path, own in parts.items():
        others = [p for other, p in parts.items() if other != path]
        unique = (k for k in range(1, len(own)) if all(p[-k:] != own[-k:] for p in others))
        ends[path] = "/".join(own[-next(unique, len(own)) :])
    return ends


# What colours a node: the first lowering rule that fits, else an element-by-element operation.
_KINDS: tuple[tuple[type, str], ...] = (
    (Contract, "contraction"),
    (Control, "control"),
    (Expand, "composite"),
)


def kind_of(node: Node) -> str:
    """Return which sort of node it is, for colours and the legend."""
    if isinstance(node.op.lowering, Leaf):
        return node.op.name
    if node.op.name == "fused":
        return "fused"
    return next((kind for rule, kind in _KINDS if isinstance(node.op.lowering, rule)), "operation")


class Nodes:
    """The nodes of all stages by number, each with what the page shows of it."""

    def __init__(self) -> None:
        self._numbers: dict[Node, int] = {}
        self._rows: list[list[Any]] = []
        self.names = Names()
        self.places = Places()

    def number(self, node: Node) -> int:
        """Return the number of a node, which is added with what it depends on if it is new."""
        if node not in self._numbers:
            for each in topological([node], self._numbers):
                self._numbers[each] = len(self._rows)
                self._rows.append(self._row(each))
        return self._numbers[node]

    def _row(self, node: Node) -> list[Any]:
        text = constant_text(node.payload) if node.op.name == "constant" else str(node.attrs)
        return [
            self.names.number(node.op.name),
            self.names.number(kind_of(node)),
            self.names.number(str(node.type)),
            self.places.number(node.where),
            node.name or "",
            text,
            [self._numbers[i] for i in node.inputs],
        ]

    @property
    def rows(self) -> list[list[Any]]:
        """Op, kind and type as numbers of names; line; name; attributes or value; operands."""
        return self._rows
