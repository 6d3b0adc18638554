"""Equal computations become one."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from graphc.ir import Graph, Node
from graphc.pipeline import record
from graphc.state import ConstantData

__all__ = ["MergeEqual"]

RULE = "equal nodes --> one"


@dataclass(frozen=True)
class MergeEqual:
    """Compute equal subexpressions once (common subexpression elimination).

    ``exp(x) * sum(exp(x))  -->  e = exp(x); e * sum(e)``

    Constants are equal by content, placeholders and variables only if they are the same.
    """

    name = "cse"

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph in which no two nodes compute the same."""
        first: dict[Hashable, Node] = {}
        image: dict[Node, Node] = {}
        number: dict[Node, int] = {}
        for node in graph.nodes:
            rebuilt = node.with_inputs(tuple(image[i] for i in node.inputs))
            kept = first.setdefault(_key(rebuilt, number), rebuilt)
            number.setdefault(kept, len(number))
            image[node] = kept
            if kept is not rebuilt:
                record(RULE, node)
        return graph.rewired({old: new for old, new in image.items() if old is not new})


class _Content:
    """A constant as a key: only those that look alike at a glance are read whole."""

    __slots__ = ("data",)

    def __init__(self, data: ConstantData) -> None:
        self.data = data

    def __hash__(self) -> int:
        return hash(self.data.sketch)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Content) and self.data.equals(other.data)


def _key(node: Node, number: dict[Node, int]) -> Hashable:
    """Return what equal nodes share; operands are named by their position among the kept ones."""
    if node.op.name == "constant":
        return _Content(node.payload)
    # Copies are made where results need memory of their own.
    if node.op.name in ("placeholder", "variable", "copy"):
        return (node.op.name, id(node))
    operands = [number[i] for i in node.inputs]
    ordered = tuple(sorted(operands) if node.op.commutative else operands)
    return (node.op.name, id(node.op), node.attrs, ordered, node.type, id(node.payload))
