"""Names for parts of a model, by which every view groups its nodes.

A scope is part of the place that a node carries (`Where.scope`).  Nodes made by gradients, fusion and
rewriting inherit the place of the node that they derive from, and with it the scope.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["SEPARATOR", "current_scope", "enter"]

SEPARATOR = "/"
_current: ContextVar[str] = ContextVar("graphc_scope", default="")


def current_scope() -> str:
    """Return the scope of nodes that are made now: names joined by slashes, empty outside of any."""
    return _current.get()


@contextmanager
def enter(name: str) -> Iterator[None]:
    """Let nodes belong to the scope `name` within the current one."""
    outer = _current.get()
    token = _current.set(f"{outer}{SEPARATOR}{name}" if outer else name)
    try:
        yield
    finally:
        _current.reset(token)
