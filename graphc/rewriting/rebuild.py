"""Replacing many nodes at once, where a replacement may need nodes that stand later in the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from graphc.errors import PassError
from graphc.ir import Graph, Node
from graphc.ops.op import inherit_place
from graphc.rewriting.driver import with_new_checks
from graphc.tensor import Tensor

__all__ = ["Replacement", "replace_nodes"]


@dataclass(frozen=True)
class Replacement:
    """What stands for a node: a function of the images of other nodes.

    Attributes
    ----------
    needs : tuple of Node
        Nodes of the graph that it is built from; none of them may depend on the node.
    build : callable
        Takes their images as Tensors and returns the new value, of the node's type.
    """

    needs: tuple[Node, ...]
    build: Callable[[Sequence[Tensor]], Tensor]


def replace_nodes(graph: Graph, replacements: Mapping[Node, Replacement]) -> Graph:
    """Return the graph with nodes replaced, everything that reads them rebuilt.

    Raises
    ------
    PassError
        If a replacement needs what depends on it, or has another type than what it replaces.
    """
    image: dict[Node, Node] = {}
    for root in graph.nodes:
        _settle(root, replacements, image)
    changed = {old: new for old, new in image.items() if old is not new}
    return with_new_checks(graph, graph.rewired(changed))


def _settle(root: Node, replacements: Mapping[Node, Replacement], image: dict[Node, Node]) -> None:
    stack = [root]
    waiting: set[Node] = set()
    while stack:
        node = stack[-1]
        if node in image:
            stack.pop()
            continue
        replacement = replacements.get(node)
        needs = node.inputs if replacement is None else replacement.needs
        missing = [n for n in needs if n not in image]
        if not missing:
            image[node] = _built(node, replacement, image)
            waiting.discard(node)
            continue
        waiting.add(node)
        if not waiting.isdisjoint(missing):
            raise PassError("rewriting: a replacement needs what depends on it", where=node.where)
        stack.extend(reversed(missing))


def _built(node: Node, replacement: Replacement | None, image: Mapping[Node, Node]) -> Node:
    if replacement is None:
        return node.with_inputs(tuple(image[i] for i in node.inputs))
    with inherit_place(node):
        result = replacement.build([Tensor(image[n]) for n in replacement.needs]).node
    if result.type != node.type:
        raise PassError(
            f"rewriting: the replacement of {node.op.name} has another type",
            expected=str(node.type),
            given=str(result.type),
            where=node.where,
        )
    return result
