"""`gx.diff`: what differs between two graphs, by what they compute and not by how their nodes are numbered.

`graphc.inspection.matching` says which nodes correspond.  Those have one number in both graphs, and so equal
lines where they do the same; the lines of the first graph are then put beside those of the second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphc.errors import ArgumentError, caller
from graphc.inspection.matching import correspondence
from graphc.ir import Graph, Node
from graphc.lower.rules import Leaf
from graphc.printing import constant_text

if TYPE_CHECKING:
    from graphc.pipeline import Stage
    from graphc.runtime.program import Program

__all__ = ["Diff", "diff"]

# Equal lines that are shown around a change.
_CONTEXT = 2
_INDENT = "    "


@dataclass(frozen=True, repr=False)
class Diff:
    """The lines of a difference; empty, and false, if there is none.

    Attributes
    ----------
    lines : tuple of str
        Beginning with ``-`` for what only the first graph has, ``+`` for what only the second one has,
        and a blank for what is around it.
    """

    lines: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.lines)

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def __repr__(self) -> str:
        return str(self) or "<no difference>"


def diff(a: Graph | Program | Stage, b: Graph | Program | Stage) -> Diff:
    """Compare two graphs, node by node.

    Parameters
    ----------
    a, b : Graph, Program or Stage
        What to compare; of a program, the optimized graph.

    Returns
    -------
    Diff
        Print it; it is false if both compute the same in the same way.  Numbers of nodes, lines of the
        user's code and the order of independent nodes do not count.

    Raises
    ------
    ArgumentError
        If one of them is none of these.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("n",))
    >>> a, b = gx.compile(x, gx.exp(x) + 1), gx.compile(x, gx.exp(x) * 2)
    >>> bool(gx.diff(a.stages[0], a.stages[0]))
    False
    >>> print(gx.diff(a.stages[0], b.stages[0]))
      input x: float32[n]
      %1: float32[n] = exp(x)
    - %2: float32[n] = add(%1, 1.0)
    + %2: float32[n] = multiply(%1, 2.0)
      return %2
    """
    old, new = _graph(a), _graph(b)
    return Diff(tuple(_around_changes(list(_compared(old, new)))))


def _graph(given: object) -> Graph:
    found = given if isinstance(given, Graph) else getattr(given, "graph", None)
    if isinstance(found, Graph):
        return found
    raise ArgumentError(
        "diff: nothing to compare",
        expected="a Graph, a Program or a Stage",
        given=type(given).__name__,
        where=caller(),
    )


# ----------------------------------------------------------------------- lines
# A mark and a text: "-", "+" or a blank.
Line = tuple[str, str]


def _compared(old: Graph, new: Graph) -> Iterator[Line]:
    """Return the lines of both graphs in the order of the second; what only the first has, where it was."""
    image = correspondence(old, new)
    partner = {b: a for a, b in image.items()}
    name = _names(old, new, partner)
    removed = _removed(old, image)
    for node in new.nodes:
        before = partner.get(node)
        for gone in removed.pop(before, ()) if before is not None else ():
            yield from _marked("-", _node_lines(gone, name))
        if before is None:
            yield from _marked("+", _node_lines(node, name))
        else:
            yield from _pair(before, node, name)
    for gone in (n for nodes in removed.values() for n in nodes):
        yield from _marked("-", _node_lines(gone, name))
    yield from _changed(_updates(old, name), _updates(new, name))
    yield from _changed([_returned(old, name)], [_returned(new, name)])


def _names(old: Graph, new: Graph, partner: Mapping[Node, Node]) -> dict[Node, str]:
    """Return what stands for each node where it is read: partners have one name."""
    found: dict[Node, str] = {}
    alone = [n for n in old.nodes if n not in set(partner.values())]
    number = 0
    for node in (*new.nodes, *alone):
        if isinstance(node.op.lowering, Leaf):
            found[node] = constant_text(node.payload) if node.op.name == "constant" else str(node.name)
            continue
        number += 1
        found[node] = f"%{number}"
    for node, before in partner.items():
        found.setdefault(before, found[node])
        if isinstance(before.op.lowering, Leaf) and before.op.name == "constant":
            found[before] = constant_text(before.payload)
    return found


def _removed(old: Graph, image: Mapping[Node, Node]) -> dict[Node | None, list[Node]]:
    """Return the nodes without a partner, by the next one that has one."""
    found: dict[Node | None, list[Node]] = {}
    waiting: list[Node] = []
    for node in old.nodes:
        if node not in image:
            waiting.append(node)
        elif waiting:
            found[node], waiting = waiting, []
    return found | ({None: waiting} if waiting else {})


def _pair(old: Node, new: Node, name: Mapping[Node, str]) -> Iterator[Line]:
    """Return the lines of two nodes that correspond, those of their sub-graphs compared."""
    yield from _changed(_head(old, name), _head(new, name))
    if len(old.subgraphs) != len(new.subgraphs):
        yield from _changed(_inside(old), _inside(new))
        return
    for a, b in zip(old.subgraphs, new.subgraphs, strict=True):
        if a is not b:
            yield from ((mark, _INDENT + text) for mark, text in _compared(a, b))


def _changed(old: Sequence[str], new: Sequence[str]) -> Iterator[Line]:
    if old == new:
        yield from _marked(" ", new)
    else:
        yield from _marked("-", old)
        yield from _marked("+", new)


def _marked(mark: str, lines: Sequence[str]) -> Iterator[Line]:
    return ((mark, line) for line in lines)


# -------------------------------------------------------------- parts of a graph
_LEAVES = {"placeholder": "input", "variable": "variable"}


def _node_lines(node: Node, name: Mapping[Node, str]) -> list[str]:
    return [*_head(node, name), *_inside(node)]


def _head(node: Node, name: Mapping[Node, str]) -> list[str]:
    """Return a node as a line; constants have none, they are written where they are read."""
    if node.op.name in _LEAVES:
        return [f"{_LEAVES[node.op.name]} {node.name}: {node.type}"]
    if isinstance(node.op.lowering, Leaf):
        return []
    operands = [*(name[i] for i in node.inputs), *([str(node.attrs)] if node.attrs else [])]
    return [f"{name[node]}: {node.type} = {node.op.name}({', '.join(operands)})"]


def _inside(node: Node) -> list[str]:
    """Return the lines of a node's sub-graphs, numbered by themselves."""
    lines: list[str] = []
    for graph in node.subgraphs:
        name = _names(graph, graph, {})
        lines += [_INDENT + line for n in graph.nodes for line in _node_lines(n, name)]
        lines.append(_INDENT + _returned(graph, name))
    return lines


def _updates(graph: Graph, name: Mapping[Node, str]) -> list[str]:
    return [f"update {name[var]} <- {name[value]}" for var, value in graph.updates]


def _returned(graph: Graph, name: Mapping[Node, str]) -> str:
    return f"return {', '.join(name[n] for n in graph.outputs) or 'nothing'}"


# --------------------------------------------------------------------- selection
def _around_changes(lines: Sequence[Line]) -> Iterator[str]:
    """Return the changed lines and a few around each; dots where others are left out."""
    changed = [k for k, (mark, _) in enumerate(lines) if mark != " "]
    shown = sorted({k for c in changed for k in range(c - _CONTEXT, c + _CONTEXT + 1) if 0 <= k < len(lines)})
    last = shown[0] - 1 if shown else 0
    for k in shown:
        if k != last + 1:
            yield "  ..."
        mark, text = lines[k]
        yield f"{mark} {text}"
        last = k
