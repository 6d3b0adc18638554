"""What no later iteration needs is computed after the loop, for all iterations at once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from graphc.control.loop import Loop, items
from graphc.costs import elements
from graphc.ir import Graph, Node, topological
from graphc.lower.rules import Contract
from graphc.pipeline import record
from graphc.rewriting.loops import replace_controls
from graphc.tensor import Tensor
from graphc.vectorization import Rows

__all__ = ["HoistLoopOutputs"]


@dataclass(frozen=True)
class HoistLoopOutputs:
    """Stack the operands of products that only results need, and compute these outside.

    ``scan(h: f(h), h @ w)  -->  hs @ w over scan(h: f(h), h)``

    Attributes
    ----------
    most : int
        How many times the elements of the results may be stacked for them.
    """

    most: int = 4

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph whose loops compute no such products."""
        return replace_controls(graph, self._hoisted)

    def _hoisted(self, node: Node, read: Collection[int]) -> dict[int, Node]:
        if node.op.name != "loop":
            return {}
        loop = Loop.of(node)
        if loop.rounds is None:
            # What an iteration that does not take place would have put out is zero.
            return {}
        moved = _moved(loop)
        ys = {k for k, y in enumerate(loop.ys) if y in moved}
        if not ys:
            return {}
        operands = _operands(loop, ys, moved)
        if loop.iteration in operands or not _aligned(loop, operands, ys):
            return {}
        at_hand = {*moved, *loop.formals, *loop.slices}
        wanted = [n for n in operands if n not in at_hand and (n.inputs or n in loop.carries)]
        more = sum(elements(n.type.shape) for n in wanted if n not in loop.ys)
        if more > self.most * sum(elements(loop.ys[k].type.shape) for k in ys):
            return {}
        record("products that only a loop's results need --> outside", node)
        return _outside(node, loop, ys, wanted)


def _moved(loop: Loop) -> set[Node]:
    """Return the products, and what is made of them, on which no carried value depends."""
    needed = set(topological(loop.following))
    found: set[Node] = set()
    for node in loop.body.nodes:
        if node in needed:
            continue
        if isinstance(node.op.lowering, Contract) or any(i in found for i in node.inputs):
            found.add(node)
    return found


def _operands(loop: Loop, ys: Collection[int], moved: Collection[Node]) -> dict[Node, None]:
    """Return what the moved nodes behind some results read."""
    behind = topological([loop.ys[k] for k in ys])
    return dict.fromkeys(i for n in behind if n in moved for i in n.inputs)


def _aligned(loop: Loop, operands: Collection[Node], ys: Collection[int]) -> bool:
    """Tell whether slices are walked in the direction in which the results are stacked."""
    flips = {loop.y_flips[k] for k in ys}
    flips |= {f for s, f in zip(loop.slices, loop.x_flips, strict=True) if s in operands}
    return len(flips) == 1


def _outside(node: Node, loop: Loop, ys: Collection[int], wanted: Collection[Node]) -> dict[int, Node]:
    backwards = loop.y_flips[next(iter(ys))]
    kept = [k for k in range(len(loop.ys)) if k not in ys]
    present = {loop.ys[k]: i for i, k in enumerate(kept) if loop.y_flips[k] == backwards}
    stacked = [n for n in wanted if n not in present]
    outputs = (*loop.following, *(loop.ys[k] for k in kept), *stacked)
    flips = (*loop.x_flips, *(loop.y_flips[k] for k in kept), *(backwards for _ in stacked))
    body = Graph(loop.body.inputs, outputs, (), loop.body.checks)
    results = items(replace(loop, body=body, flip=flips).node(node.where, node.name))
    carried = len(loop.inits)
    place = present | {n: len(kept) + i for i, n in enumerate(stacked)}
    rows = Rows(loop.length or 0)
    rows.images |= {f: Tensor(x) for f, x in zip(loop.slices, loop.xs, strict=True)}
    rows.images |= {f: Tensor(n) for f, n in zip(loop.formals, loop.captures, strict=True)}
    rows.images |= {n: results[carried + place[n]] for n in wanted}
    rows.seen |= set(wanted)
    new = {k: results[k].node for k in range(carried)}
    new |= {carried + k: results[carried + i].node for i, k in enumerate(kept)}
    new |= {carried + k: rows.full_image(Tensor(loop.ys[k])).node for k in ys}
    new[carried + len(loop.ys)] = results[-1].node
    return new
