"""What is noted while nodes are made: which ones, which became which, and on whose behalf.

A pass returns a new graph and is entitled to forget how it got there.  The three places that
every pass goes through remember for it: rebuilding a node over other operands
(`Node.with_inputs`), replacing nodes in a graph (`Graph.rewired`), and building a replacement
on behalf of a node (`graphc.ops.op.inherit_place`).  `graphc.inspection.provenance` reads the notes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from graphc.ir import Node

__all__ = [
    "History",
    "current_source",
    "differentiating",
    "follow",
    "follow_all",
    "note_made",
    "on_behalf_of",
    "recorded_nodes",
    "recording",
]


class _Recorder(Protocol):
    def add(self, node: Node, /) -> object: ...


@dataclass(eq=False)
class History:
    """What became of nodes while a pass ran.

    Attributes
    ----------
    old, new : list of Node
        Side by side a node and what took its place, each time that it was rebuilt or replaced.
    made, behalf : list of Node
        Side by side a new node, and the one whose replacement it is a part of.
    """

    # Noting must cost next to nothing: every compilation does it, and few are looked into.  Lists of nodes,
    # not of pairs, since each pair would be one more object for the garbage collector to look at.
    old: list[Node] = field(default_factory=list, repr=False)
    new: list[Node] = field(default_factory=list, repr=False)
    made: list[Node] = field(default_factory=list, repr=False)
    behalf: list[Node] = field(default_factory=list, repr=False)

    @cached_property
    def followers(self) -> Mapping[Node, list[Node]]:
        """What took the place of each node; nodes that stand for themselves are left out."""
        found: dict[Node, list[Node]] = {}
        for old, new in zip(self.old, self.new, strict=True):
            if old is not new:
                found.setdefault(old, []).append(new)
        return found

    @cached_property
    def subjects(self) -> Mapping[Node, Node]:
        """For a new node, the one whose replacement it is a part of."""
        return dict(zip(self.made, self.behalf, strict=True))

    def add(self, node: Node) -> None:
        """Note a new node."""
        subject = _subject.get()
        if subject is not None:
            self.made.append(node)
            self.behalf.append(subject)


_recorders: ContextVar[tuple[_Recorder, ...]] = ContextVar("graphc_recorders", default=())
_history: ContextVar[History | None] = ContextVar("graphc_history", default=None)
_subject: ContextVar[Node | None] = ContextVar("graphc_subject", default=None)
_source: ContextVar[Node | None] = ContextVar("graphc_source", default=None)


@contextmanager
def recorded_nodes() -> Iterator[set[Node]]:
    """Collect the nodes that are made meanwhile: what belongs to a branch that may not run."""
    made: set[Node] = set()
    with _told_to(made):
        yield made


@contextmanager
def recording() -> Iterator[History]:
    """Collect what becomes of nodes meanwhile."""
    history = History()
    token = _history.set(history)
    try:
        with _told_to(history):
            yield history
    finally:
        _history.reset(token)


@contextmanager
def _told_to(recorder: _Recorder) -> Iterator[None]:
    token = _recorders.set((*_recorders.get(), recorder))
    try:
        yield
    finally:
        _recorders.reset(token)


@contextmanager
def on_behalf_of(node: Node | None) -> Iterator[None]:
    """Let new nodes count as parts of what replaces `node`."""
    token = _subject.set(node)
    try:
        yield
    finally:
        _subject.reset(token)


@contextmanager
def differentiating(node: Node) -> Iterator[None]:
    """Let new nodes belong to the derivative of `node`: it is their `Node.source`."""
    token = _source.set(node)
    try:
        yield
    finally:
        _source.reset(token)


def current_source() -> Node | None:
    """Return the node whose derivative is being built."""
    return _source.get()


def note_made(node: Node) -> None:
    """Tell everyone who collects nodes of a new one."""
    for recorder in _recorders.get():
        recorder.add(node)


def follow(old: Node, new: Node) -> None:
    """Note that a node takes the place of another one."""
    history = _history.get()
    if history is not None:
        history.old.append(old)
        history.new.append(new)


def follow_all(new: Mapping[Node, Node]) -> None:
    """Note what took the place of nodes."""
    history = _history.get()
    if history is not None:
        history.old.extend(new.keys())
        history.new.extend(new.values())
