"""Drops what nothing reads from loops and branches, and moves in what is as good inside."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from graphc.control.bodies import replaced
from graphc.control.branches import branch_node
from graphc.control.loop import Loop, items
from graphc.ir import Graph, Node, topological
from graphc.lower.rules import Control, Expand, Leaf
from graphc.pipeline import record
from graphc.rewriting.loops import replace_controls

__all__ = ["PruneBodies"]


@dataclass(frozen=True)
class PruneBodies:
    """Drop results, carried values and operands of loops and branches that nothing reads.

    ``h, c = scan(...); h only  -->  c is carried only if h needs it``

    What an iteration carries on unchanged becomes an operand, a constant operand moves inside,
    and a branch whose index is a constant becomes the branch taken.
    """

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph whose loops and branches have no idle parts."""
        return replace_controls(graph, _pruned)


def _pruned(node: Node, read: Collection[int]) -> dict[int, Node]:
    """Return the results of the node without idle parts; nothing if it has none."""
    return _pruned_loop(node, read) if node.op.name == "loop" else _pruned_branch(node, read)


# ----------------------------------------------------------------------- loops
def _pruned_loop(node: Node, read: Collection[int]) -> dict[int, Node]:
    """Return the results of the loop without idle parts; nothing if it has none."""
    loop = Loop.of(node)
    carried = len(loop.inits)
    fixed = {k for k, (a, b) in enumerate(zip(loop.carries, loop.following, strict=True)) if a is b}
    stacks = list(zip(loop.ys, loop.y_flips, strict=True))
    first = {k: stacks.index(stack) for k, stack in enumerate(stacks) if carried + k in read}
    ys = sorted(set(first.values()))
    needed = _needed_carries(loop, read, ys) - fixed
    carries = [k for k in range(carried) if k in needed]
    # An unchanged carried value is an operand; constant operands stand inside.
    given = dict(zip(loop.formals, loop.captures, strict=True))
    given |= {loop.carries[k]: loop.inits[k] for k in fixed}
    roots = [*(loop.following[k] for k in carries), *(loop.ys[k] for k in ys)]
    flags = [] if loop.condition is None else list(loop.condition.outputs)
    used = set(topological([*roots, *flags]))
    image = _settled(given, used)
    formals, captures = _distinct({f: n for f, n in given.items() if f in used and f not in image}, image)
    taken = [(f, x, flip) for f, x, flip in zip(loop.slices, loop.xs, loop.x_flips, strict=True) if f in used]
    slices, xs, x_flips = _distinct_slices(taken, image)
    smaller = (len(carries), len(ys), len(captures), len(xs)) != (
        carried,
        len(loop.ys),
        len(loop.captures),
        len(loop.xs),
    )
    if not smaller:
        return {}
    record("idle parts of a loop --> none", node)
    outputs = tuple(replaced(roots, image))
    kept = tuple(loop.carries[k] for k in carries)
    body = Graph((*formals, loop.iteration, *kept, *slices), outputs, (), loop.body.checks)
    condition = None
    if loop.condition is not None:
        flag = tuple(replaced(flags, image))
        condition = Graph((*formals, loop.iteration, *kept), flag, (), loop.condition.checks)
    new = replace(
        loop,
        body=body,
        condition=condition,
        inits=tuple(loop.inits[k] for k in carries),
        captures=captures,
        xs=xs,
        flip=(*x_flips, *(loop.y_flips[k] for k in ys)),
    )
    results = items(new.node(node.where, node.name))
    found = {k: loop.inits[k] for k in fixed}
    found |= {k: results[i].node for i, k in enumerate(carries)}
    found |= {carried + k: results[len(carries) + ys.index(i)].node for k, i in first.items()}
    found[carried + len(loop.ys)] = results[-1].node
    return found


def _needed_carries(loop: Loop, read: Collection[int], ys: Sequence[int]) -> set[int]:
    """Return the carried values whose last one is read, and those that these and the stacks need."""
    needed = {k for k in range(len(loop.inits)) if k in read}
    position = {c: k for k, c in enumerate(loop.carries)}
    waiting = [*(loop.following[k] for k in needed), *(loop.ys[k] for k in ys)]
    waiting += [] if loop.condition is None else loop.condition.outputs
    while waiting:
        found = {position[n] for n in topological(waiting) if n in position} - needed
        needed |= found
        waiting = [loop.following[k] for k in found]
    return needed


def _distinct_slices(
    taken: Iterable[tuple[Node, Node, bool]], image: dict[Node, Node]
) -> tuple[tuple[Node, ...], tuple[Node, ...], tuple[bool, ...]]:
    """Return slices once each; `image` gets those that are taken twice."""
    first: dict[tuple[Node, bool], Node] = {}
    for formal, array, flip in taken:
        kept = first.setdefault((array, flip), formal)
        if kept is not formal:
            image[formal] = kept
    return tuple(first.values()), tuple(x for x, _ in first), tuple(flip for _, flip in first)


# -------------------------------------------------------------------- operands
def _settled(given: Mapping[Node, Node], used: Collection[Node]) -> dict[Node, Node]:
    """Return the operands that need not be given: constants, and values that cost nothing to make."""
    return {f: n for f, n in given.items() if f in used and _stands_alone(n)}


def _stands_alone(node: Node) -> bool:
    made = not isinstance(node.op.lowering, (Leaf, Expand, Control))
    return not node.inputs and (node.op.name == "constant" or made)


def _distinct(
    given: Mapping[Node, Node], image: dict[Node, Node]
) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """Return formal inputs and operands, each operand once; `image` gets the inputs of others."""
    first: dict[Node, Node] = {}
    for formal, operand in given.items():
        kept = first.setdefault(operand, formal)
        if kept is not formal:
            image[formal] = kept
    return tuple(first.values()), tuple(first)


# -------------------------------------------------------------------- branches
def _pruned_branch(node: Node, read: Collection[int]) -> dict[int, Node]:
    """Return the results of the branch without idle parts; nothing if it has none."""
    index, *captures = node.inputs
    graphs: tuple[Graph, ...] = node.payload
    if index.op.name == "constant":
        chosen = graphs[min(max(int(index.payload.array), 0), len(graphs) - 1)]
        record("branch of a constant index --> the one taken", node)
        given = dict(zip(chosen.inputs, captures, strict=True))
        return dict(enumerate(replaced(chosen.outputs, given)))
    kept = [k for k in range(len(graphs[0].outputs)) if k in read]
    if not kept:
        return {}
    rows = [[g.outputs[k] for k in kept] for g in graphs]
    used = set(topological([n for row in rows for n in row]))
    image: dict[Node, Node] = {}
    needed: dict[Node, list[Node]] = {}
    for k, operand in enumerate(captures):
        formals = [g.inputs[k] for g in graphs]
        if not any(f in used for f in formals):
            continue
        if _stands_alone(operand):
            image |= dict.fromkeys(formals, operand)
        elif operand in needed:
            image |= {f: first for f, first in zip(formals, needed[operand], strict=True) if f is not first}
        else:
            needed[operand] = formals
    if len(kept) == len(graphs[0].outputs) and len(needed) == len(captures):
        return {}
    record("idle parts of a branch --> none", node)
    bodies = [
        Graph(tuple(f[i] for f in needed.values()), tuple(replaced(row, image)), (), g.checks)
        for i, (row, g) in enumerate(zip(rows, graphs, strict=True))
    ]
    results = items(branch_node(node.attrs["what"], index, tuple(needed), bodies, node.where))
    return {k: results[i].node for i, k in enumerate(kept)}
