"""Which nodes stand in one box: those of one call within a scope of the user's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from graphc.ir import Node
from graphc.lower.rules import Item

__all__ = ["calls", "scope_of", "whole"]

# What follows the name of a scope for the gradients of what stands in it.
GRADIENT = " (gradient)"


def whole(node: Node) -> Node:
    """Return the node of several results whose item a node is; any other node as it is."""
    while isinstance(node.op.lowering, Item):
        node = node.inputs[0]
    return node


def scope_of(node: Node) -> tuple[str, ...]:
    """Return the names of the user's scopes around a node, the outermost first."""
    scope = node.where.scope
    return tuple(scope.split("/")) if scope else ()


def calls(nodes: Sequence[Node], depth: int, phases: Mapping[Node, str]) -> list[tuple[str, list[Node]]]:
    """Group nodes by the name of the scope at a depth, each call by itself.

    Layers are called again and again, and many in a scope of the same name.  What depends on the
    results of one call, by way of something else, is another call: one box for both would read
    what it computes.

    Parameters
    ----------
    nodes : sequence of Node
        In topological order.
    depth : int
        How many scopes all of them have in common.
    phases : mapping of Node to str
        Gradients stand in the scope of what they are the gradient of, and are groups of their own.

    Returns
    -------
    list of (str, list of Node)
        Titles and members; a node that stands in no further scope is alone, without a title.
    """
    groups: list[tuple[str, list[Node]]] = []
    # For each node its group, and as bits those other groups on which it depends.
    group: dict[Node, int] = {}
    above: dict[Node, int] = {}
    latest: dict[str, int] = {}
    for node in nodes:
        title = _title(node, depth, phases)
        operands = [o for o in map(whole, node.inputs) if o in group]
        own = latest.get(title, -1) if title else -1
        if own < 0 or any(above[o] >> own & 1 for o in operands):
            own = len(groups)
            groups.append((title, []))
        latest[title] = own
        groups[own][1].append(node)
        group[node] = own
        above[node] = 0
        for o in operands:
            above[node] |= above[o] | (0 if group[o] == own else 1 << group[o])
    return _numbered(groups)


def _title(node: Node, depth: int, phases: Mapping[Node, str]) -> str:
    scope = scope_of(node)
    if len(scope) <= depth:
        return ""
    return scope[depth] + (GRADIENT if phases.get(node) == "gradients" else "")


def _numbered(groups: Sequence[tuple[str, list[Node]]]) -> list[tuple[str, list[Node]]]:
    """Return groups with different titles: those of several calls are numbered."""
    often = Counter(title for title, members in groups if len(members) > 1)
    seen = Counter[str]()
    found: list[tuple[str, list[Node]]] = []
    for title, members in groups:
        several = often[title] > 1 and len(members) > 1
        seen[title] += several
        found.append((f"{title} {seen[title]}" if several and title else title, members))
    return found
