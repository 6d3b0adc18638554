"""From a user's function to a sub-graph: what it computes, and what it captures from outside.

A body is traced by calling the function on placeholders.  What does not depend on them is
computed once, outside, and becomes an operand; so loop invariants never enter the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from graphc.effects import Effect, collected
from graphc.errors import UNKNOWN, GraphError, Where
from graphc.feeds import DimCheck
from graphc.history import follow, follow_all, recorded_nodes
from graphc.ir import Attrs, Graph, Moves, Node, topological
from graphc.leaves import PLACEHOLDER
from graphc.lower.rules import Leaf
from graphc.ops.op import inherit_place
from graphc.tensor import Tensor
from graphc.types import INT64, TensorType

__all__ = [
    "Body",
    "Scope",
    "call",
    "checks_of",
    "counter",
    "current_iterations",
    "enclose",
    "enclose_made",
    "formal",
    "open_scope",
    "rebuild",
    "refuse_strangers",
    "reopened",
    "replaced",
]


@dataclass(eq=False)
class Scope:
    """A body while its function runs, and afterwards the mark by which its values are known.

    Attributes
    ----------
    what : str
        The construct: "scan", "while_loop", ...
    where : Where
        The user's line that made it.
    iteration : Tensor, optional
        The loop's counter, an int64 scalar; branches have none.
    open : bool
        Whether its values may still be used: until its node is made.
    made : set of Node
        What was made while its functions ran.
    effects : list of Effect
        What the function that was called last prints and checks.
    """

    what: str
    where: Where
    iteration: Tensor | None = None
    open: bool = True
    made: set[Node] = field(default_factory=set, repr=False)
    effects: list[Effect] = field(default_factory=list, repr=False)


_scopes: ContextVar[tuple[Scope, ...]] = ContextVar("graphc_scopes", default=())


def current_iterations() -> tuple[Tensor, ...]:
    """Return the counters of the loops whose bodies are being traced, outermost first.

    A random draw folds them into its key, so that every iteration draws anew.
    """
    return tuple(s.iteration for s in _scopes.get() if s.iteration is not None)


@contextmanager
def open_scope(scope: Scope) -> Iterator[None]:
    """Let `scope` be the innermost one."""
    token = _scopes.set((*_scopes.get(), scope))
    try:
        yield
    finally:
        _scopes.reset(token)


@contextmanager
def reopened(body: Graph) -> Iterator[None]:
    """Let new nodes use the values of a finished body, whose gradient is being built."""
    closed = {n.payload for n in body.inputs if isinstance(n.payload, Scope) and not n.payload.open}
    for scope in closed:
        scope.open = True
    try:
        yield
    finally:
        for scope in closed:
            scope.open = False


def formal(type: TensorType, name: str, where: Where, scope: Scope | None = None) -> Node:
    """Return a placeholder for a value that a body is given."""
    return Node(PLACEHOLDER, (), Attrs(), type, name, where, scope)


def counter(where: Where, scope: Scope | None = None) -> Node:
    """Return a placeholder for the number of the iteration."""
    return formal(TensorType((), INT64), "iteration", where, scope)


def call(scope: Scope, fn: Callable[..., Any], *args: Any) -> Any:
    """Return what the user's function makes of the formal arguments."""
    with open_scope(scope), inherit_nothing(), recorded_nodes() as made, collected() as effects:
        found = fn(*args)
    scope.made |= made
    scope.effects = effects
    return found


@contextmanager
def inherit_nothing() -> Iterator[None]:
    """Let nodes of the body carry the user's own lines, also where a gradient is being built."""
    with inherit_place(UNKNOWN):
        yield


# ------------------------------------------------------------------- captures
@dataclass(frozen=True)
class Body:
    """Sub-graphs made of traced functions, over shared captures.

    Attributes
    ----------
    graphs : tuple of Graph
        Inputs are the captures' placeholders, then those given.
    captures : tuple of Node
        Values from outside, in the order of their placeholders.
    """

    graphs: tuple[Graph, ...]
    captures: tuple[Node, ...]


def enclose(parts: Sequence[tuple[Sequence[Node], Sequence[Node]]], scope: Scope) -> Body:
    """Make sub-graphs of pairs (formal inputs, outputs); what depends on no formal input stays outside.

    Raises
    ------
    GraphError
        If a body updates a variable by a value that depends on the loop.
    """
    own = [_dependent(inputs, outputs, scope) for inputs, outputs in parts]
    return _enclosed(parts, own, {}, scope)


def enclose_made(
    outputs: Sequence[Sequence[Node]],
    made: Sequence[Collection[Node]],
    known: Mapping[Node, Node],
    scope: Scope,
) -> Body:
    """Make sub-graphs of outputs, of all that was made while their functions ran.

    Parameters
    ----------
    outputs, made
        For each function, its results and the nodes that it made.
    known : mapping of Node to Node
        Values from outside that have formal inputs already.

    Raises
    ------
    GraphError
        If a body updates a variable by a value that depends on the formal inputs.
    """
    formals = tuple(known.values())
    pairs = zip(outputs, made, strict=True)
    own = [_kept(formals, results, nodes, scope) for results, nodes in pairs]
    return _enclosed([((), results) for results in outputs], own, known, scope)


def _enclosed(
    parts: Sequence[tuple[Sequence[Node], Sequence[Node]]],
    insides: Sequence[Collection[Node]],
    known: Mapping[Node, Node],
    scope: Scope,
) -> Body:
    captured: dict[Node, Node] = dict(known)
    for (_, outputs), own in zip(parts, insides, strict=True):
        for node in _frontier(outputs, own):
            if node not in captured:
                captured[node] = formal(node.type, node.name or node.op.name, node.where, scope)
        _refuse_updates(own, scope)
    formals = tuple(captured.values())
    graphs = [Graph((*formals, *inputs), tuple(replaced(outputs, captured))) for inputs, outputs in parts]
    return Body(tuple(graphs), tuple(captured))


def _is_generated(node: Node, scope: Scope) -> bool:
    """Tell whether a node made inside needs no operand: it is computed where it is used.

    Those from outside are operands like any other: a gradient may be asked with respect to them.
    """
    leaf = isinstance(node.op.lowering, Leaf) and node.op.name != "constant"
    return not node.inputs and not leaf and node in scope.made


def _dependent(inputs: Sequence[Node], outputs: Sequence[Node], scope: Scope) -> set[Node]:
    """Return the nodes that depend on a formal input, and those that need no operand at all."""
    found = set(inputs)
    for node in topological(outputs):
        operands = [i for i in node.inputs if not _is_generated(i, scope)]
        if _is_generated(node, scope) or any(i in found for i in operands):
            found.add(node)
    return found


def _kept(
    formals: Sequence[Node], outputs: Sequence[Node], made: Collection[Node], scope: Scope
) -> set[Node]:
    """Return the nodes that were made inside, without those that an update outside needs."""
    dependent = _dependent(formals, outputs, scope)
    order = topological(outputs)
    effects = [n for n in order if n.op.name == "with_update" and n in made and n not in dependent]
    outside = set(topological(effects))
    return {n for n in order if n in formals or (n in made and n not in outside)}


def _frontier(outputs: Sequence[Node], own: Collection[Node]) -> Iterable[Node]:
    """Return the values from outside that the inside reads, in order of first use."""
    found: dict[Node, None] = {}
    for node in topological(outputs):
        if node in own:
            found.update(dict.fromkeys(i for i in node.inputs if i not in own))
    found.update(dict.fromkeys(o for o in outputs if o not in own))
    return found


def refuse_strangers(captured: Iterable[Node], scope: Scope) -> None:
    """Raise if a captured value belongs to a body whose function has returned."""
    for node in topological(captured):
        owner = node.payload
        if isinstance(owner, Scope) and not owner.open and owner is not scope:
            raise GraphError(
                f"{scope.what}: {node.name!r} is a value of the {owner.what} at {owner.where}",
                expected="values of this body or of what stands around it; return it from that one to use it",
                given=f"{node.type} {node.name!r}",
                where=scope.where,
            )


def _refuse_updates(own: Iterable[Node], scope: Scope) -> None:
    for node in own:
        if node.op.name == "with_update":
            raise GraphError(
                f"{scope.what}: the body updates variable {node.inputs[1].name!r}",
                expected="a value that is carried, and an update outside of the body",
                given=f"with_update at {node.where}",
                where=scope.where,
            )


def replaced(outputs: Sequence[Node], image: Mapping[Node, Node]) -> list[Node]:
    """Return `outputs` with nodes replaced by their image, what depends on these rebuilt."""
    follow_all(image)
    return rebuild(outputs, dict(image))


def rebuild(outputs: Sequence[Node], new: dict[Node, Node]) -> list[Node]:
    """Return `outputs` as `replaced` does; `new` learns the images of all nodes on the way."""
    stack: list[Node] = list(reversed(outputs))
    while stack:
        node = stack[-1]
        if node in new:
            stack.pop()
            continue
        missing = [i for i in node.inputs if i not in new]
        if missing:
            stack.extend(reversed(missing))
            continue
        new[node] = _moved(node.with_inputs(tuple(new[i] for i in node.inputs)), new)
        stack.pop()
    return [new[o] for o in outputs]


def _moved(node: Node, image: Mapping[Node, Node]) -> Node:
    """Tell a node's own gradient what became of the nodes that it knows."""
    if not isinstance(node.payload, Moves):
        return node
    moved = replace(node, payload=Moves((*node.payload.images, image)))
    follow(node, moved)
    return moved


def checks_of(graphs: Iterable[Graph]) -> tuple[DimCheck, ...]:
    """Return what the nodes of bodies assume of sizes."""
    return tuple(dict.fromkeys(c for g in graphs for n in g.nodes for c in n.checks))
