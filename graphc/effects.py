"""What happens besides computing values: prints and checks whose result nothing reads.

An effect leads from a *ticket*, a placeholder, to a *token*, a scalar that its op hands on.  It is recorded
when it is made.  When a body or a program is made of what was recorded, the effects are put in order: the
token of each takes the place of the next one's ticket (`graphc.control.sequence`).  From then on the
order is ordinary dependency, which no pass breaks, and the last token is among the results of the body, or
among the roots of the graph.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np

from graphc.errors import UNKNOWN, GraphError, Where
from graphc.ir import Attrs, Node, topological
from graphc.leaves import PLACEHOLDER, constant_node
from graphc.tensor import Tensor
from graphc.types import INT64, TensorType

__all__ = [
    "MUTED",
    "START",
    "TOKEN",
    "Effect",
    "collected",
    "concerned_rows",
    "is_ticket",
    "only_rows",
    "perform",
    "silence",
    "silent",
    "ticket",
    "waiting",
]

TOKEN = TensorType((), INT64)
START = constant_node(np.array(0), "start", UNKNOWN)
"""What the first effect of a program begins with."""
MUTED = constant_node(np.array(-1), "muted", UNKNOWN)
"""The token of a computation that a gradient repeats: its effects have happened already."""
_TICKET = object()
_numbers = itertools.count()
_lock = threading.Lock()


@dataclass(frozen=True, eq=False)
class Effect:
    """Something that happens, between a ticket and a token.

    Attributes
    ----------
    ticket : Node
        The placeholder that what happened before takes the place of.
    token : Node
        Depends on the ticket, through whatever happens.
    reads : frozenset of Node
        The placeholders and variables that it depends on; not determined within bodies.
    number : int
        Effects happen in the order of these.
    """

    ticket: Node
    token: Node
    reads: frozenset[Node]
    number: int


_collecting: ContextVar[list[Effect] | None] = ContextVar("graphc_effects", default=None)


@contextmanager
def collected() -> Iterator[list[Effect]]:
    """Collect the effects that are made meanwhile: those of a body."""
    made: list[Effect] = []
    reset = _collecting.set(made)
    try:
        yield made
    finally:
        _collecting.reset(reset)


def ticket(where: Where) -> Node:
    """Return a placeholder for what happened before."""
    return Node(PLACEHOLDER, (), Attrs(), TOKEN, "ticket", where, _TICKET)


def perform(what: str, where: Where, first: Node, token: Node) -> None:
    """Record an effect, for the body that is being traced or for the programs that it concerns.

    Parameters
    ----------
    what : str
        The function that the user called, for messages.
    where : Where
        The user's line.
    first, token : Node
        The ticket, and what depends on it.

    Raises
    ------
    GraphError
        If no program could ever tell that it is concerned.
    """
    body = _collecting.get()
    if body is not None:
        body.append(Effect(first, token, frozenset(), next(_numbers)))
        return
    leaves = [n for n in topological([token]) if _is_source(n)]
    strange = next((n for n in leaves if n.op is PLACEHOLDER and n.payload is not None), None)
    if not leaves or strange is not None:
        raise GraphError(
            f"{what}: no program would do it",
            expected="operands that depend on a placeholder or a variable of the program",
            given="constants" if strange is None else f"{strange.name!r}, a value of a loop or branch",
            where=where,
        )
    # One leaf is enough to be found by: a program is concerned if it reads all of them.
    with _lock:
        known = leaves[0].effects or []
        known.append(Effect(first, token, frozenset(leaves), next(_numbers)))
        object.__setattr__(leaves[0], "effects", known)


def waiting(nodes: Iterable[Node]) -> list[Effect]:
    """Return the effects that read no placeholder and no variable that these nodes do not read, in order."""
    leaves = set(filter(_is_source, nodes))
    found = {e: None for n in leaves for e in n.effects or () if e.reads <= leaves}
    return sorted(found, key=lambda e: e.number)


def _is_source(node: Node) -> bool:
    return node.op.name in ("placeholder", "variable") and not is_ticket(node)


def is_ticket(node: Node) -> bool:
    """Tell whether a node stands for what happened before an effect."""
    return node.payload is _TICKET


# ------------------------------------------------------------------- when they run
_silent: ContextVar[bool] = ContextVar("graphc_silent", default=False)


@contextmanager
def silence() -> Iterator[None]:
    """Let the interpreter compute values without effects: what failed is computed again to explain it."""
    reset = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(reset)


def silent(token: object) -> bool:
    """Tell whether an effect that is given `token` must not happen."""
    return _silent.get() or bool(np.asarray(token) < 0)


# ------------------------------------------------------------------ for many rows at once
_rows: ContextVar[Tensor | None] = ContextVar("graphc_effect_rows", default=None)


def concerned_rows() -> Tensor | None:
    """Return which rows effects concern that are batched now; None for all of them."""
    return _rows.get()


@contextmanager
def only_rows(mask: Tensor) -> Iterator[None]:
    """Let effects that are batched meanwhile concern some rows: those that take a branch or iterate on."""
    outer = _rows.get()
    reset = _rows.set(mask if outer is None else outer & mask)
    try:
        yield
    finally:
        _rows.reset(reset)
