"""Forward-mode differentiation of loops and branches: tangents run along with the values.

A loop's tangent carries the values once more, so that the loop needs no bound and keeps nothing;
as it has the same body, the two loops become one when compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphc.control import bodies
from graphc.control.loop import Loop, items
from graphc.control.sequence import muted
from graphc.ir import Graph, Node
from graphc.ops import zeros_like
from graphc.tensor import Tensor
from graphc.types import is_float

__all__ = ["tangent"]

Tangents = Sequence[Tensor | None]


def tangent(tangents: Tangents, node: Node) -> list[Tensor | None]:
    """Return how each result of a loop moves, None for those that do not.

    Parameters
    ----------
    tangents : sequence of Tensor or None
        How each operand moves.
    node : Node
        The loop.
    """
    # Deferred: forward mode is written in terms of ops.
    from graphc.forward_mode import push_forward

    loop = Loop.of(node)
    along = list(tangents[0 if loop.count is None else 1 :])
    first, last = len(loop.captures), len(loop.captures) + len(loop.inits)
    captures, inits, xs = along[:first], along[first:last], along[last:]
    fixed = [_formals(loop.formals, captures), _formals(loop.slices, xs)]
    moving = {k for k, t in enumerate(inits) if t is not None}
    while True:
        carried = {k: _formal(loop.carries[k]) for k in sorted(moving)}
        seeds = [(n, Tensor(f)) for pairs in fixed for n, f in pairs]
        seeds += [(loop.carries[k], Tensor(f)) for k, f in carried.items()]
        with bodies.reopened(loop.body):
            found = push_forward(seeds, loop.body.outputs)
        more = {k for k, t in enumerate(found[: len(loop.inits)]) if t is not None and _floats(loop, k)}
        if more <= moving:
            break
        # What did not move at first is set in motion by the others.
        moving |= more
    return _with_tangents(loop, node, (captures, inits, xs), fixed, carried, found)


def _formal(node: Node) -> Node:
    return bodies.formal(node.type, "tangent", node.where)


def _formals(nodes: Sequence[Node], along: Tangents) -> list[tuple[Node, Node]]:
    return [(n, _formal(n)) for n, t in zip(nodes, along, strict=True) if t is not None]


def _floats(loop: Loop, k: int) -> bool:
    return is_float(loop.carries[k].type.dtype)


def _or_zeros(tangent: Tensor | None, like: Node) -> Tensor:
    return zeros_like(Tensor(like)) if tangent is None else tangent


def _with_tangents(
    loop: Loop,
    node: Node,
    along: tuple[Tangents, Tangents, Tangents],
    fixed: Sequence[Sequence[tuple[Node, Node]]],
    carried: dict[int, Node],
    found: Tangents,
) -> list[Tensor | None]:
    """Return the results of the loop that carries the tangents of `carried` along."""
    captures, inits, xs = along
    count = len(loop.inits)
    stacks = [k for k in range(len(loop.ys)) if found[count + k] is not None]
    outs = [t for t in found[count:] if t is not None]
    ends = [_or_zeros(found[k], loop.carries[k]) for k in carried]
    starts = [_or_zeros(inits[k], loop.inits[k]) for k in carried]
    formals = (*loop.formals, *(f for _, f in fixed[0]))
    states = (*loop.carries, *carried.values())
    body = Graph(
        (*formals, loop.iteration, *states, *loop.slices, *(f for _, f in fixed[1])),
        (*loop.following, *(t.node for t in ends), *loop.ys, *(t.node for t in outs)),
    )
    condition = loop.condition
    if condition is not None:
        condition = Graph((*formals, loop.iteration, *states), condition.outputs)
    moving_xs = [(t.node, flip) for t, flip in zip(xs, loop.x_flips, strict=True) if t is not None]
    new = replace(
        loop,
        body=body,
        condition=condition,
        captures=(*loop.captures, *(t.node for t in captures if t is not None)),
        inits=(*loop.inits, *(t.node for t in starts)),
        xs=(*loop.xs, *(x for x, _ in moving_xs)),
        flip=(*loop.x_flips, *(f for _, f in moving_xs), *loop.y_flips, *(loop.y_flips[k] for k in stacks)),
    )
    results = items(muted(new.node(node.where, node.name)))
    moved: list[Tensor | None] = [None] * (count + len(loop.ys) + 1)
    for i, k in enumerate(carried):
        moved[k] = results[count + i]
    first = count + len(carried) + len(loop.ys)
    for i, k in enumerate(stacks):
        moved[count + k] = results[first + i]
    return moved
