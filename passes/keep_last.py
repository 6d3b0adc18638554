"""Of a stack whose last entry alone is read, loops keep that entry."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from graphc.control import bodies
from graphc.control.loop import Loop, items
from graphc.dims import Dim
from graphc.ir import Graph, Node
from graphc.ops import expand_dims, zeros
from graphc.ops.op import inherit_place
from graphc.pipeline import record
from graphc.rewriting.rebuild import Replacement, replace_nodes
from graphc.tensor import Tensor

__all__ = ["KeepLast"]


@dataclass(frozen=True)
class KeepLast:
    """Carry what is put out by every iteration, if only the last one's is read.

    ``_, ys = scan(...); ys[-1]  -->  y, _ = scan(...) that carries y``
    """

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph whose loops stack nothing of which only the end is read."""
        replacements: dict[Node, Replacement] = {}
        for node in graph.nodes:
            if node.op.name == "loop":
                replacements |= _kept(graph, node)
        return replace_nodes(graph, replacements) if replacements else graph


def _kept(graph: Graph, node: Node) -> dict[Node, Replacement]:
    loop = Loop.of(node)
    if loop.rounds is None:
        # Where the last iteration's entry lies is known only afterwards.
        return {}
    results = {u.attrs["index"]: u for u in graph.users[node]}
    carried = len(loop.inits)
    ends = {
        k: graph.users[results[carried + k]]
        for k in range(len(loop.ys))
        if carried + k in results and _is_end(graph, results[carried + k], loop.rounds, loop.y_flips[k])
    }
    if not ends:
        return {}
    record("stack of which the end is read --> carried value", node)
    build = _once(node, loop, ends)
    rest = [k for k in range(len(loop.ys)) if k not in ends]
    extra = {k: carried + i for i, k in enumerate(ends)}
    first = carried + len(ends)
    places = {k: k for k in range(carried)}
    places |= {carried + k: first + i for i, k in enumerate(rest)}
    places[carried + len(loop.ys)] = first + len(rest)
    found = {result: _at(node, build, places[k]) for k, result in results.items() if k - carried not in ends}
    found |= {u: _end(node, u, build, extra[k]) for k, users in ends.items() for u in users}
    return found


def _is_end(graph: Graph, stack: Node, length: Dim, flip: bool) -> bool:
    """Tell whether all that is read of a stack is the entry of the last iteration."""
    last: Dim = 0 if flip else length - 1
    users = graph.users[stack]
    if not users or stack in graph.roots or any(u.op.name != "slice" for u in users):
        return False
    return all(u.attrs["sizes"][0] == 1 and u.attrs["starts"][0] == last for u in users)


Build = Callable[[Sequence[Tensor]], list[Tensor]]


def _at(node: Node, build: Build, place: int) -> Replacement:
    return Replacement(node.inputs, lambda images: build(images)[place])


def _end(node: Node, user: Node, build: Build, place: int) -> Replacement:
    attrs = {**user.attrs, "starts": (0, *user.attrs["starts"][1:])}

    def end(images: Sequence[Tensor]) -> Tensor:
        entry = expand_dims(build(images)[place], 0)
        return entry if entry.type == user.type else user.op(entry, **attrs)

    return Replacement(node.inputs, end)


def _once(node: Node, loop: Loop, ends: Collection[int]) -> Build:
    """Return a function from images of the operands to the results of the new loop, made only once."""
    made: list[list[Tensor]] = []
    ys = [loop.ys[k] for k in ends]
    rest = [k for k in range(len(loop.ys)) if k not in ends]
    formals = [bodies.formal(y.type, y.name or y.op.name, y.where) for y in ys]
    at = len(loop.captures) + 1 + len(loop.inits)
    body = Graph(
        (*loop.body.inputs[:at], *formals, *loop.body.inputs[at:]),
        (*loop.following, *ys, *(loop.ys[k] for k in rest)),
        (),
        loop.body.checks,
    )

    def build(images: Sequence[Tensor]) -> list[Tensor]:
        if not made:
            moved = Loop.of(node.with_inputs(tuple(t.node for t in images)))
            with inherit_place(node):
                starts = tuple(zeros(y.type.shape, y.type.dtype).node for y in ys)
            flips = (*loop.x_flips, *(loop.y_flips[k] for k in rest))
            new = replace(moved, body=body, inits=(*moved.inits, *starts), flip=flips)
            made.append(items(new.node(node.where, node.name)))
        return made[0]

    return build
