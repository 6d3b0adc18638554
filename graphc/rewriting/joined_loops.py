"""One loop that does what several did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphc.control.bodies import replaced
from graphc.control.loop import Loop, items
from graphc.effects import MUTED
from graphc.ir import Graph, Node, topological
from graphc.rewriting.rebuild import Replacement, replace_nodes
from graphc.tensor import Tensor

__all__ = ["independent", "join_loops"]


@dataclass(frozen=True)
class _Union:
    """The parts of several loops, each once: what a placeholder of a body stands for, or what follows it."""

    captures: Mapping[Node, Node]
    carries: Mapping[Node, tuple[Node, Node]]
    slices: Mapping[Node, tuple[Node, bool]]
    stacks: tuple[tuple[Node, bool], ...]


def independent(nodes: Sequence[Node]) -> bool:
    """Tell whether none of some nodes depends on another one."""
    group = set(nodes)
    return not any(n in group for node in nodes for n in topological(node.inputs))


def join_loops(graph: Graph, nodes: Sequence[Node]) -> Graph | None:
    """Return the graph with one loop in place of several over the same range.

    Parameters
    ----------
    graph : Graph
        What to rewrite.
    nodes : sequence of Node
        Loops of the same length, count and condition that do not depend on each other.

    Returns
    -------
    Graph or None
        None if a placeholder of their bodies stands for different values in two of them.
    """
    loops = [_counted_alike(Loop.of(n), Loop.of(nodes[0])) for n in nodes]
    union = _union(loops)
    if union is None:
        return None
    first = loops[0]
    build = _once(first, union, nodes[0])
    needs = (*(() if first.count is None else (first.count,)), *_operands(union))
    carried = {formal: k for k, formal in enumerate(union.carries)}
    stacked = {pair: len(carried) + k for k, pair in enumerate(union.stacks)}
    places: dict[tuple[Node, int], int] = {}
    for node, loop in zip(nodes, loops, strict=True):
        own = [*(carried[c] for c in loop.carries)]
        own += [stacked[pair] for pair in zip(loop.ys, loop.y_flips, strict=True)]
        own.append(len(carried) + len(stacked))
        places |= {(node, k): place for k, place in enumerate(own)}
    users = [u for node in nodes for u in graph.users[node]]
    # Operands are found by position, since one may stand for several.
    return replace_nodes(
        graph, {u: _result(needs, build, places[u.inputs[0], u.attrs["index"]]) for u in users}
    )


def _result(
    needs: tuple[Node, ...], build: Callable[[Sequence[Tensor]], list[Tensor]], place: int
) -> Replacement:
    return Replacement(needs, lambda images: build(images)[place])


def _counted_alike(loop: Loop, first: Loop) -> Loop:
    """Return a loop whose body counts its iterations by the placeholder of the first one's."""
    if loop.iteration is first.iteration:
        return loop
    at = loop.body.inputs.index(loop.iteration)
    inputs = (*loop.body.inputs[:at], first.iteration, *loop.body.inputs[at + 1 :])
    outputs = tuple(replaced(loop.body.outputs, {loop.iteration: first.iteration}))
    return replace(loop, body=Graph(inputs, outputs, (), loop.body.checks))


def _union(loops: Iterable[Loop]) -> _Union | None:
    captures: dict[Node, Node] = {}
    carries: dict[Node, tuple[Node, Node]] = {}
    slices: dict[Node, tuple[Node, bool]] = {}
    stacks: dict[tuple[Node, bool], None] = {}
    for loop in loops:
        parts: list[tuple[dict[Node, Any], Iterable[tuple[Node, Any]]]] = [
            (captures, zip(loop.formals, loop.captures, strict=True)),
            (carries, zip(loop.carries, zip(loop.inits, loop.following, strict=True), strict=True)),
            (slices, zip(loop.slices, zip(loop.xs, loop.x_flips, strict=True), strict=True)),
        ]
        for known, pairs in parts:
            if not all(_agree(known, formal, value) for formal, value in pairs):
                return None
        stacks |= dict.fromkeys(zip(loop.ys, loop.y_flips, strict=True))
    kinds = [*captures, *carries, *slices]
    return _Union(captures, carries, slices, tuple(stacks)) if len(set(kinds)) == len(kinds) else None


def _agree(known: dict[Node, Any], formal: Node, value: Any) -> bool:
    """Note what a placeholder stands for; return whether that fits what is known."""
    before = known.setdefault(formal, value)
    if _is_muted(before):
        known[formal] = value
    return before == value or _is_muted(before) or _is_muted(value)


def _is_muted(value: Any) -> bool:
    """Tell whether a carried value begins with the token that lets a loop run without effects."""
    return isinstance(value, tuple) and value[0] is MUTED


def _operands(union: _Union) -> tuple[Node, ...]:
    inits = (init for init, _ in union.carries.values())
    return (*union.captures.values(), *inits, *(x for x, _ in union.slices.values()))


def _once(first: Loop, union: _Union, place: Node) -> Callable[[Sequence[Tensor]], list[Tensor]]:
    """Return a function from images of the operands to the results of the joined loop, made only once."""
    made: list[list[Tensor]] = []
    formals = (*union.captures, first.iteration, *union.carries)
    outputs = (*(following for _, following in union.carries.values()), *(y for y, _ in union.stacks))
    body = Graph((*formals, *union.slices), outputs, (), first.body.checks)
    condition = first.condition
    if condition is not None:
        condition = Graph(formals, condition.outputs, (), condition.checks)
    flips = (*(flip for _, flip in union.slices.values()), *(flip for _, flip in union.stacks))

    def build(images: Sequence[Tensor]) -> list[Tensor]:
        if made:
            return made[0]
        nodes = [t.node for t in images]
        count = nodes.pop(0) if first.count is not None else None
        captured, carried = len(union.captures), len(union.captures) + len(union.carries)
        joined = replace(
            first,
            body=body,
            condition=condition,
            captures=tuple(nodes[:captured]),
            inits=tuple(nodes[captured:carried]),
            xs=tuple(nodes[carried:]),
            flip=flips,
            count=count,
        )
        made.append(items(joined.node(place.where, place.name)))
        return made[0]

    return build
