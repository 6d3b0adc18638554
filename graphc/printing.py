"""Graphs and programs as text, graphs as Graphviz DOT.

The text is one typed assignment a line, numbered at print time, so that equal graphs
print equally whatever built them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import UNKNOWN
from graphc.ir import Graph, Node
from graphc.lower.rules import Leaf
from graphc.scopes import SEPARATOR
from graphc.wording import few

if TYPE_CHECKING:
    from graphc.pipeline import Stage
    from graphc.runtime.kernel import Kernel
    from graphc.runtime.program import Program

_INDENT = "    "
# Constants up to this many elements are shown in full.
_SHOWN_ELEMENTS = 4


def graph_to_text(graph: Graph, *, places: bool = True) -> str:
    """Return a graph as typed assignments, after a header of what it reads and changes.

    Parameters
    ----------
    graph : Graph
        What to print.
    places : bool
        Whether every line ends with the user's file and line.

    Returns
    -------
    str

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ir import Graph
    >>> x = gx.placeholder("x", shape=("n",))
    >>> print(graph_to_text(Graph((x.node,), ((x * 2).node,)), places=False))
    graph(%0: float32[n] 'x') {
      constants:
        %1: float32[] = 2.0
      %2: float32[n] = multiply(%0, %1)
      return %2
    }
    """
    return "\n".join(_graph_lines(graph, "graph", places))


def _graph_lines(graph: Graph, title: str, places: bool) -> Iterator[str]:
    number = _numbering(graph)
    fed = ", ".join(f"{number[n]}: {n.type} {n.name!r}" for n in graph.inputs)
    yield f"{title}({fed}) {{"
    yield from _table("variables", (_variable_line(n, number, places) for n in graph.variables))
    yield from _table("constants", (_constant_line(n, number, places) for n in graph.constants))
    for node in graph.nodes:
        if not isinstance(node.op.lowering, Leaf):
            yield from _node_lines(node, number, places)
    yield from _table("updates", (f"{number[var]} <- {number[new]}" for var, new in graph.updates))
    yield from _table("effects", (number[n] for n in graph.effects))
    yield from _table("checks", dict.fromkeys(f"{c.left} == {c.right}" for c in graph.checks))
    yield f"  return {', '.join(number[n] for n in graph.outputs)}"
    yield "}"


def _numbering(graph: Graph) -> dict[Node, str]:
    """Assign numbers: to inputs first, then variables and constants, then the rest in order."""
    leaves = (*graph.inputs, *graph.variables, *graph.constants)
    ordered = dict.fromkeys((*leaves, *graph.nodes))
    return {node: f"%{i}" for i, node in enumerate(ordered)}


def _table(title: str, lines: Iterable[str]) -> Iterator[str]:
    rows = list(lines)
    if rows:
        yield f"  {title}:"
        yield from (f"    {row}" for row in rows)


def _variable_line(node: Node, number: dict[Node, str], places: bool) -> str:
    return f"{number[node]}: {node.type} {node.name!r}{_place(node, places)}"


def _constant_line(node: Node, number: dict[Node, str], places: bool) -> str:
    label = f" {node.name!r}" if node.name else ""
    return f"{number[node]}: {node.type} = {constant_text(node.payload)}{label}{_place(node, places)}"


def constant_text(data: Any) -> str:
    """Return a constant's data: its elements, or how many there are and what tells them from others."""
    array: np.ndarray[Any, Any] = data.array
    if array.size <= _SHOWN_ELEMENTS:
        return repr(array.tolist())
    return f"<{array.size} elements, digest {data.digest[:8]}>"


def _node_lines(node: Node, number: dict[Node, str], places: bool) -> Iterator[str]:
    operands = ", ".join(number[i] for i in node.inputs)
    attrs = str(node.attrs)
    call = f"{node.op.name}({', '.join(part for part in (operands, attrs) if part)})"
    yield f"  {number[node]}: {node.type} = {call}{_comment(node, places)}"
    for title, graph in _titled(node):
        yield from (_INDENT + line for line in _graph_lines(graph, title, places))


def _titled(node: Node) -> Iterator[tuple[str, Graph]]:
    """Return the sub-graphs of a node, each with what it is to the node."""
    if not isinstance(node.payload, tuple):
        yield from (("where", g) for g in node.subgraphs)
    elif node.op.name == "loop":
        yield from zip(("body", "condition"), node.subgraphs, strict=False)
    else:
        yield from ((f"branch {k}", g) for k, g in enumerate(node.subgraphs))


def _comment(node: Node, places: bool) -> str:
    parts = [str(node.where)] if places and node.where is not UNKNOWN else []
    parts += [node.name] if node.name else []
    parts += [f"in {node.where.scope}"] if places and node.where.scope else []
    return f"  # {' '.join(parts)}" if parts else ""


def _place(node: Node, places: bool) -> str:
    if not places or node.where is UNKNOWN:
        return ""
    return f"  # {node.where} in {node.where.scope}" if node.where.scope else f"  # {node.where}"


# --------------------------------------------------------------------- programs
def program_to_text(program: Program) -> str:
    """Return what was compiled: signature, passes, kernels and memory.

    Parameters
    ----------
    program : Program
        What to describe.

    Returns
    -------
    str
    """
    graph = program.graph
    fed = ", ".join(f"{n.name}: {n.type}" for n in graph.inputs)
    made = ", ".join(str(n.type) for n in graph.outputs) or "nothing"
    lines = [f"program {program.name}({fed}) -> {made}"]
    if graph.updates:
        lines.append(f"  updates {few([f'{var.name}: {var.type}' for var, _ in graph.updates])}")
    lines += _section("passes", _columns(_stage_rows(program.stages), "<>>>>"))
    lines += _section("kernels", _columns(map(_kernel_row, program.kernels), "<<<"))
    chosen = [(k.name, str(k.choice)) for k in program.kernels if k.choice is not None]
    if chosen:
        lines += _section("schedules", _columns(chosen, "<<"))
    lines += _section("memory", str(program.memory).splitlines())
    return "\n".join(lines)


def _section(title: str, lines: Iterable[str]) -> list[str]:
    return [f"{title}:", *(f"  {line}" for line in lines)]


def _columns(rows: Iterable[Sequence[str]], sides: str) -> list[str]:
    """Return rows as lines, each column as wide as its widest cell."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    cells = (zip(row, sides, widths, strict=True) for row in table)
    return ["  ".join(f"{text:{side}{width}}" for text, side, width in row).rstrip() for row in cells]


def _stage_rows(stages: Sequence[Stage]) -> Iterator[Sequence[str]]:
    yield "", "nodes", "kernels", "ms", "rewrites"
    for s in stages:
        counts = _change(s.nodes_before, s.nodes), _change(s.kernels_before, s.kernels)
        yield s.name, *counts, f"{s.seconds * 1e3:.1f}", str(len(s.rewrites) or "")
    first, last = stages[0], stages[-1]
    counts = _change(first.nodes_before, last.nodes), _change(first.kernels_before, last.kernels)
    rewrites = sum(len(s.rewrites) for s in stages)
    yield "together", *counts, f"{sum(s.seconds for s in stages) * 1e3:.1f}", str(rewrites or "")


def _change(before: int, after: int) -> str:
    return str(after) if before == after else f"{before} -> {after}"


def _kernel_row(kernel: Kernel) -> Sequence[str]:
    return kernel.name, few([str(n.type) for n in kernel.results], 2), f"# {_lines(kernel.nodes)}"


def _lines(nodes: Iterable[Node]) -> str:
    """Return the places of nodes, the line numbers of one file after its name, and their scopes."""
    files: dict[str, dict[int, None]] = {}
    scopes: dict[str, None] = {}
    for node in nodes:
        if node.where is not UNKNOWN:
            name, _, line = str(node.where).rpartition(":")
            files.setdefault(name, {})[int(line)] = None
            scopes.setdefault(node.where.scope)
    places = ", ".join(f"{name}:{','.join(map(str, sorted(found)))}" for name, found in files.items())
    named = [scope for scope in scopes if scope]
    return f"{places} in {few(named, 3)}" if named else places


# ------------------------------------------------------------------------- dot
_SHAPES = {"placeholder": "ellipse", "variable": "cylinder", "constant": "plaintext", "fused": "box3d"}


def graph_to_dot(graph: Graph, *, places: bool = True) -> str:
    r"""Return a graph in Graphviz DOT, fused nodes as boxes that list their sub-graph.

    Parameters
    ----------
    graph : Graph
        What to draw.
    places : bool
        Whether every node carries the user's file and line, as a tooltip.

    Returns
    -------
    str

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ir import Graph
    >>> x = gx.placeholder("x", shape=("n",))
    >>> print(graph_to_dot(Graph((x.node,), ((-x).node,)), places=False))
    digraph graphc {
      node [fontname="monospace"];
      n0 [shape=ellipse, label="x\nfloat32[n]"];
      n1 [shape=box, label="negative\nfloat32[n]"];
      n0 -> n1;
      out0 [shape=plaintext, label="output 0"];
      n1 -> out0;
    }
    """
    number = {node: f"n{text[1:]}" for node, text in _numbering(graph).items()}
    lines = ["digraph graphc {", '  node [fontname="monospace"];']
    lines += _clusters([(n.where.scope, _dot_node(n, key, places)) for n, key in number.items()])
    for node, key in number.items():
        lines += [] if node.where.scope else [f"  {_dot_node(node, key, places)}"]
        # Behind all clusters: an edge within one would draw what it leads to into it.
        lines += [f"  {number[operand]} -> {key};" for operand in node.inputs]
    for i, node in enumerate(graph.outputs):
        lines += [f'  out{i} [shape=plaintext, label="output {i}"];', f"  {number[node]} -> out{i};"]
    for var, value in graph.updates:
        lines.append(f'  {number[value]} -> {number[var]} [style=dashed, label="update"];')
    for i, node in enumerate(graph.effects):
        lines += [f'  effect{i} [shape=plaintext, label="effects"];', f"  {number[node]} -> effect{i};"]
    return "\n".join([*lines, "}"])


def _dot_node(node: Node, key: str, places: bool) -> str:
    shape = _SHAPES.get(node.op.name, "box")
    tip = f', tooltip="{_escape(_lines(_members(node)))}"' if places else ""
    return f'{key} [shape={shape}, label="{_escape(_dot_label(node))}"{tip}];'


def _clusters(scoped: Sequence[tuple[str, str]], outer: str = "", indent: str = "  ") -> Iterator[str]:
    """Yield a box for every scope within `outer`, with its nodes and the scopes within it."""
    inner: dict[str, list[tuple[str, str]]] = {}
    for scope, line in scoped:
        if scope != outer:
            name = scope[len(outer) :].lstrip(SEPARATOR).partition(SEPARATOR)[0]
            inner.setdefault(name, []).append((scope, line))
    for name, found in inner.items():
        path = f"{outer}{SEPARATOR}{name}" if outer else name
        yield f'{indent}subgraph "cluster_{_escape(path)}" {{'
        yield f'{indent}  label="{_escape(name)}";'
        yield from (f"{indent}  {line}" for scope, line in found if scope == path)
        yield from _clusters(found, path, indent + "  ")
        yield f"{indent}}}"


def _members(node: Node) -> Iterable[Node]:
    """Return the node, or the nodes of its sub-graphs."""
    return [n for g in node.subgraphs for n in g.nodes] or (node,)


def _dot_label(node: Node) -> str:
    if node.op.name == "constant":
        return f"{constant_text(node.payload)}\n{node.type}"
    if node.subgraphs:
        steps = (n for g in node.subgraphs for n in g.nodes if not isinstance(n.op.lowering, Leaf))
        return "\n".join([node.op.name, *(n.op.name for n in steps), str(node.type)])
    attrs = f" {node.attrs}" if node.attrs else ""
    return f"{node.name if isinstance(node.op.lowering, Leaf) else node.op.name}{attrs}\n{node.type}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
