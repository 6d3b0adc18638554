"""Loops with the same body become one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from graphc.control.loop import Loop, items
from graphc.ir import Graph, Node
from graphc.lower.rules import Item
from graphc.pipeline import record

__all__ = ["MergeLoops"]

RULE = "loops with the same body --> one"


@dataclass(frozen=True)
class MergeLoops:
    """Run a loop once for all that its iterations are asked for.

    ``scan(f, xs) and scan(f and what its gradient keeps, xs)  -->  the second``

    A gradient makes the forward loop once more, with more stacks.  Both have the same nodes for
    bodies, so this stands before any pass that rewrites them.
    """

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph in which every recurrence runs once."""
        groups: dict[Hashable, list[Node]] = {}
        for node in graph.nodes:
            if node.op.name == "loop":
                groups.setdefault(_key(node), []).append(node)
        groups = {key: group for key, group in groups.items() if len(group) > 1}
        if not groups:
            return graph
        first = {node: group[0] for group in groups.values() for node in group}
        image: dict[Node, Node] = {}
        results: dict[tuple[Node, int], Node] = {}
        for node in graph.nodes:
            if first.get(node) is node:
                results |= _joined(groups[_key(node)], image)
            elif node in first:
                record(RULE, node.where)
            source = node.inputs[0] if isinstance(node.op.lowering, Item) else None
            if source is not None and source in first:
                image[node] = results[source, node.attrs["index"]]
            else:
                image[node] = node.with_inputs(tuple(image[i] for i in node.inputs))
        return graph.rewired({old: new for old, new in image.items() if old is not new})


def _key(node: Node) -> Hashable:
    """Return what loops share that compute the same carried values."""
    loop = Loop.of(node)
    ends = None if loop.condition is None else tuple(map(id, loop.condition.outputs))
    nodes = (*loop.inputs, *loop.body.inputs, *loop.following)
    return (tuple(map(id, nodes)), len(loop.inputs), ends, loop.length, loop.x_flips)


def _joined(group: Sequence[Node], image: Mapping[Node, Node]) -> dict[tuple[Node, int], Node]:
    """Return the results of all loops of a group, as results of one."""
    loops = [Loop.of(node) for node in group]
    whole = loops[0]
    stacks = dict.fromkeys(pair for loop in loops for pair in zip(loop.ys, loop.y_flips, strict=True))
    checks = tuple(dict.fromkeys(c for loop in loops for c in loop.body.checks))
    body = Graph(whole.body.inputs, (*whole.following, *(y for y, _ in stacks)), (), checks)
    merged = replace(
        whole,
        body=body,
        inits=tuple(image[n] for n in whole.inits),
        xs=tuple(image[n] for n in whole.xs),
        captures=tuple(image[n] for n in whole.captures),
        flip=(*whole.x_flips, *(flip for _, flip in stacks)),
        count=None if whole.count is None else image[whole.count],
    )
    results = items(merged.node(group[0].where, group[0].name))
    carried = len(whole.inits)
    place = {pair: carried + k for k, pair in enumerate(stacks)}
    found: dict[tuple[Node, int], Node] = {}
    for node, loop in zip(group, loops, strict=True):
        found |= {(node, k): results[k].node for k in range(carried)}
        pairs = enumerate(zip(loop.ys, loop.y_flips, strict=True), carried)
        found |= {(node, k): results[place[pair]].node for k, pair in pairs}
        found[node, carried + len(loop.ys)] = results[-1].node
    return found
