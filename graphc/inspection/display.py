"""How graphs, programs, stages, kernels and tensors show in notebooks.

Pictures need igraph.  Without it, or where a picture would be too large to be of use, the text is shown
and a line says so.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from graphc.errors import MissingDependencyError
from graphc.inspection.drawing import layout
from graphc.inspection.svg import to_svg
from graphc.inspection.views import view
from graphc.ir import Graph, Node, topological

if TYPE_CHECKING:
    from graphc.pipeline import Rewrite, Stage
    from graphc.runtime.kernel import Kernel
    from graphc.runtime.program import Program
    from graphc.tensor import Tensor

__all__ = [
    "graph_html",
    "kernel_html",
    "picture",
    "program_html",
    "stage_html",
    "tensor_html",
    "tensor_picture",
]

# Boxes beyond which a picture is a maze, and lines beyond which text is.
MOST_BOXES, MOST_LINES = 300, 400


def picture(graph: Graph) -> str | None:
    """Return a graph as SVG; None if it is too large, or igraph is not installed."""
    drawn, _ = _picture(graph)
    return drawn or None


def _picture(graph: Graph) -> tuple[str, str]:
    """Return a graph as SVG; or nothing, and why."""
    seen = view(graph)
    if len(seen.boxes) > MOST_BOXES:
        return "", f"not drawn: {len(seen.boxes)} boxes; use gx.scope to group them, and to_svg() to draw all"
    try:
        return to_svg(layout(seen)), ""
    except MissingDependencyError as error:
        return "", f"not drawn: {error.what}; {error.expected}"


# ------------------------------------------------------------------------ pages
def graph_html(graph: Graph) -> str:
    """Return a graph as its picture, with its text folded away; as text where there is no picture."""
    return "".join(_graph(graph))


def _graph(graph: Graph) -> Iterator[str]:
    drawn, why = _picture(graph)
    if drawn:
        yield f'<div style="overflow:auto;max-height:40em">{drawn}</div>'
        yield _folded("text", str(graph))
    else:
        yield f"<p>{html.escape(why)}</p>"
        yield _text(str(graph))


def program_html(program: Program) -> str:
    """Return a program as text, and its optimized graph."""
    return _text(str(program)) + graph_html(program.graph)


def stage_html(stage: Stage) -> str:
    """Return a stage as a table of what its pass did, and its graph."""
    title = (
        f"<b>{html.escape(stage.name)}</b>: {stage.nodes_before} to {stage.nodes} nodes, "
        f"{stage.kernels_before} to {stage.kernels} kernels, {stage.seconds * 1e3:.1f} ms"
    )
    rows = [*_rewrites("done", stage.rewrites), *_rewrites("declined", stage.declined)]
    return f"<p>{title}</p>" + _table(("", "rule", "line", "estimate"), rows) + graph_html(stage.graph)


def _rewrites(what: str, found: Iterable[Rewrite]) -> Iterator[tuple[str, ...]]:
    return ((what, r.rule, str(r.where), r.note) for r in found)


def kernel_html(kernel: Kernel) -> str:
    """Return a kernel as a table of the operations that run in it, and its source."""
    rows = [(n.op.name, str(n.type), str(n.where), _stored(kernel, n)) for n in kernel.nodes]
    table = _table(("operation", "type", "line", ""), rows)
    parts = {"Python": kernel.source, "LLVM IR": kernel.llvm, "assembly": kernel.asm}
    folded = (_folded(name, text) for name, text in parts.items() if text)
    return f"<p><b>{html.escape(kernel.name)}</b></p>{table}{''.join(folded)}"


def _stored(kernel: Kernel, node: Node) -> str:
    return "stored" if node in kernel.results else ""


def tensor_html(tensor: Tensor) -> str:
    """Return a tensor in a line: what it is and where it was made."""
    node = tensor.node
    name = f" {node.name!r}" if node.name else ""
    return (
        f"<code>{html.escape(f'{node.op.name}{name}: {node.type}')}</code> at {html.escape(str(node.where))}"
    )


def tensor_picture(tensor: Tensor) -> str | None:
    """Return all that a tensor depends on as SVG; None if that is too much, or igraph is not installed."""
    known = topological([tensor.node])
    inputs = tuple(n for n in known if n.op.name == "placeholder")
    return picture(Graph(inputs, (tensor.node,)))


# ----------------------------------------------------------------------- pieces
def _text(text: str) -> str:
    lines = text.splitlines()
    more = f"\n... and {len(lines) - MOST_LINES} more lines" if len(lines) > MOST_LINES else ""
    return f"<pre>{html.escape(chr(10).join(lines[:MOST_LINES]) + more)}</pre>"


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{html.escape(title)}</summary>{_text(text)}</details>"


def _table(titles: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    body = [*rows]
    if not body:
        return ""
    head = "".join(f"<th>{html.escape(t)}</th>" for t in titles)
    lines = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in body[:MOST_LINES])
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
