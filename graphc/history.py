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
    followers : dict of Node to list of Node
        What took a node's place, each time that it was rebuilt or replaced.
    subjects : dict of Node to Node
        For a new node, the one whose replacement it is a part of.
    """

    followers: dict[Node, list[Node]] = field(default_factory=dict, repr=False)
    subjects: dict[Node, Node] = field(default_factory=dict, repr=False)

    def add(self, node: Node) -> None:
        """Note a new node."""
        subject = _subject.get()
        if subject is not None:
            self.subjects[node] = subject

    def follow(self, old: Node, new: Node) -> None:
        """Note that a node takes the place of another one."""
        self.followers.setdefault(old, []).append(new)


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
        history.follow(old, new)


def follow_all(new: Mapping[Node, Node]) -> None:
    """Note what took the place of nodes; those that stand for themselves are left out."""
    history = _history.get()
    if history is None:
        return
    for old, image in new.items():
        if old is not image:
            history.follow(old, image)
