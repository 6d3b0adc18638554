"""What a loop computes from its slices alone is computed for all of them at once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from graphc.control import bodies
from graphc.control.bodies import replaced
from graphc.control.loop import Loop, items
from graphc.ir import Graph, Node
from graphc.lower.rules import Contract
from graphc.pipeline import record
from graphc.rewriting.loops import replace_controls
from graphc.tensor import Tensor
from graphc.vectorization import Rows

__all__ = ["HoistLoopInputs"]


@dataclass(frozen=True)
class HoistLoopInputs:
    """Move products that need no carried value out of loops.

    ``scan(h, x: f(h @ u + x @ w)) over xs  -->  scan(h, z: f(h @ u + z)) over xs @ w``

    Many thin products become a large one; what depends on no slice is computed once.  A loop that is to
    compute its iterations again, rather than keep what they computed, keeps what depends on slices inside.
    """

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph whose loops compute no such products."""
        return replace_controls(graph, _hoisted)


def _hoisted(node: Node, read: Collection[int]) -> dict[int, Node]:
    if node.op.name != "loop":
        return {}
    loop = Loop.of(node)
    if loop.rounds is None:
        # Iterations that do not take place must not be computed.
        return {}
    frontier = _frontier(loop)
    if not frontier:
        return {}
    record("products of a loop's slices --> one product outside", node)
    rows = Rows(loop.rounds)
    rows.images |= {f: Tensor(x) for f, x in zip(loop.slices, loop.xs, strict=True)}
    rows.images |= {f: Tensor(n) for f, n in zip(loop.formals, loop.captures, strict=True)}
    rows.follow(frontier)
    image: dict[Node, Node] = {}
    captures: list[tuple[Node, Node]] = []
    slices: list[tuple[Node, Node, bool]] = []
    for value, backwards in frontier.items():
        image[value] = bodies.formal(value.type, value.name or value.op.name, value.where)
        outside = rows.image(value).node
        if rows.is_batched(value):
            slices.append((image[value], outside, backwards))
        else:
            captures.append((image[value], outside))
    body = Graph(
        (
            *loop.formals,
            *(f for f, _ in captures),
            loop.iteration,
            *loop.carries,
            *loop.slices,
            *(f for f, _, _ in slices),
        ),
        tuple(replaced(loop.body.outputs, image)),
        (),
        loop.body.checks,
    )
    new = replace(
        loop,
        body=body,
        captures=(*loop.captures, *(n for _, n in captures)),
        xs=(*loop.xs, *(n for _, n, _ in slices)),
        flip=(*loop.x_flips, *(f for _, _, f in slices), *loop.y_flips),
    )
    return dict(enumerate(t.node for t in items(new.node(node.where, node.name))))


def _frontier(loop: Loop) -> dict[Node, bool]:
    """Return the values to compute outside, and whether the slices they need are walked backwards."""
    flips = {f: {flip} for f, flip in zip(loop.slices, loop.x_flips, strict=True)}
    bound = {*loop.carries, loop.iteration, *(loop.slices if loop.recompute else ())}
    heavy: set[Node] = set()
    for node in loop.body.nodes:
        flips.setdefault(node, set()).update(f for i in node.inputs for f in flips[i])
        if any(i in bound for i in node.inputs) or len(flips[node]) > 1:
            bound.add(node)
        elif isinstance(node.op.lowering, Contract) or any(i in heavy for i in node.inputs):
            heavy.add(node)
    read = {i for n in loop.body.nodes if n not in heavy for i in n.inputs} | set(loop.body.outputs)
    return {n: True in flips[n] for n in loop.body.nodes if n in heavy and n in read}
