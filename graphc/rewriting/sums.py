"""Sums of several terms: trees of additions whose inner results nothing else reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

from graphc import ops
from graphc.ir import Graph, Node
from graphc.tensor import Tensor
from graphc.types import BOOL

__all__ = ["Sum", "added", "find_sums"]


@dataclass(frozen=True)
class Sum:
    """An addition that no other addition reads alone, and the terms that it adds up, in order."""

    root: Node
    terms: tuple[Node, ...]


def find_sums(graph: Graph) -> Iterator[Sum]:
    """Yield the sums of a graph, the last ones first; every addition belongs to one of them."""
    roots = set(graph.roots)
    inner: set[Node] = set()
    for node in reversed(graph.nodes):
        if _adds(node) and node not in inner:
            yield Sum(node, tuple(_terms(graph, roots, node, inner)))


def _adds(node: Node) -> bool:
    """Tell whether a node adds two values of its own type, neither of them broadcast."""
    same = all(i.type == node.type for i in node.inputs)
    return node.op.name == "add" and same and node.type.dtype != BOOL


def _terms(graph: Graph, roots: set[Node], root: Node, inner: set[Node]) -> Iterator[Node]:
    stack = list(reversed(root.inputs))
    while stack:
        node = stack.pop()
        if _adds(node) and is_private(graph, roots, node):
            inner.add(node)
            stack.extend(reversed(node.inputs))
        else:
            yield node


def is_private(graph: Graph, roots: set[Node], node: Node) -> bool:
    """Tell whether only one operand of one node reads a value."""
    return len(graph.users[node]) == 1 and node not in roots


def added(terms: Sequence[Tensor]) -> Tensor:
    """Return the sum of one or more terms of one type."""
    return reduce(ops.add, terms)
