"""Pictures, drawn with matplotlib (the extra ``demo``) and without a display."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphc.extras import require
from graphc.ir import Graph, Node
from graphc.lower.rules import Leaf

__all__ = ["graph_picture", "learning_curve"]

_LOSS, _ACCURACY = "tab:orange", "tab:blue"


def learning_curve(
    path: str | os.PathLike[str], losses: Sequence[float], accuracies: Sequence[float], title: str = ""
) -> None:
    """Draw training loss and held-out accuracy by epoch.

    Parameters
    ----------
    path : path-like
        File to write; its suffix chooses the format, for example ``.png`` or ``.svg``.
    losses, accuracies : sequence of float
        One value per epoch, accuracies as shares of one.
    title : str
        Above the picture.

    Raises
    ------
    MissingDependencyError
        Without matplotlib.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "curve.png"
    >>> learning_curve(path, losses=[1.2, 0.4, 0.2], accuracies=[0.7, 0.9, 0.95])
    >>> path.read_bytes()[1:4]
    b'PNG'
    """
    # Figure itself, not pyplot: no global state, no display, nothing to close.
    figure = require("matplotlib.figure", extra="demo", purpose="learning_curve").Figure
    picture = figure(figsize=(8, 3.5), layout="constrained")
    left, right = picture.subplots(1, 2)
    epochs = range(1, len(losses) + 1)
    _draw(left, epochs, losses, "training loss", _LOSS)
    left.set_yscale("log")
    _draw(right, epochs, [100 * share for share in accuracies], "held-out accuracy, %", _ACCURACY)
    right.annotate(f"{accuracies[-1]:.2%}", (epochs[-1], 100 * accuracies[-1]), (-4, -14), **_BELOW)
    picture.suptitle(title)
    picture.savefig(path, dpi=120)


# What `Axes.annotate` needs to put the last value under the end of the curve.
_BELOW: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "va": "top"}


def _draw(axes: Any, epochs: Sequence[int], values: Sequence[float], label: str, colour: str) -> None:
    axes.plot(epochs, values, color=colour, marker="o", markersize=3)
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)


# ----------------------------------------------------------------------- graphs
_FACES = {"placeholder": "#e8f0fe", "variable": "#e6f4ea", "constant": "#f1f3f4", "fused": "#feefc3"}
_FACE = "white"
_EDGE = "#5f6368"
_FONT = {"family": "monospace", "size": 8}
# Inches of a character and of a line of that font, with a little air.
_CHARACTER, _LINE = 0.072, 0.14
# Between boxes in characters and lines; above the graphs in lines; as a share of an edge's length.
_GAP, _TITLE, _BEND = 3, 2, 0.35
# Text that can be searched, and the same bytes for the same picture.
_SVG = {"svg.fonttype": "none", "svg.hashsalt": "graphc"}


def graph_picture(path: str | os.PathLike[str], graphs: Mapping[str, Graph]) -> None:
    """Draw graphs side by side, operands above the nodes that read them.

    A fused node shows the operations inside it, in a colour of its own.  Meant for graphs of
    a few dozen nodes; for larger ones, give the result of `Graph.to_dot` to Graphviz.

    Parameters
    ----------
    path : path-like
        File to write; its suffix chooses the format, for example ``.svg`` or ``.png``.
    graphs : mapping of str to Graph
        What to draw, by title.

    Raises
    ------
    MissingDependencyError
        Without matplotlib.

    Examples
    --------
    >>> import graphc as gx, pathlib, tempfile
    >>> x = gx.placeholder("x", shape=("n",))
    >>> program = gx.compile(x, gx.exp(-x))
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "graph.svg"
    >>> graph_picture(path, {"written": program.stages[0].graph, "compiled": program.graph})
    >>> "negative" in path.read_text()
    True
    """
    matplotlib = require("matplotlib", extra="demo", purpose="graph_picture")
    figure = require("matplotlib.figure", extra="demo", purpose="graph_picture").Figure
    layouts = [_layout(graph) for graph in graphs.values()]
    widths = [layout.width for layout in layouts]
    height = max(layout.height for layout in layouts)
    picture = figure(figsize=(_CHARACTER * sum(widths), _LINE * (height + _TITLE)))
    panels = picture.subplots(1, len(graphs), squeeze=False, width_ratios=widths)[0]
    picture.subplots_adjust(left=0, right=1, bottom=0, top=height / (height + _TITLE), wspace=0)
    for axes, title, layout in zip(panels, graphs, layouts, strict=True):
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
        axes.set_xlim(-layout.width / 2, layout.width / 2)
        axes.set_ylim(-height, 0)
        _draw_graph(axes, layout)
    undated = {"Date": None} if os.fspath(path).endswith(".svg") else {}
    with matplotlib.rc_context(_SVG):
        picture.savefig(path, dpi=120, metadata=undated)


@dataclass(frozen=True)
class _Layout:
    """Where nodes go: `places` in characters across and lines down, `rows` counted from the top."""

    places: dict[Node, tuple[float, float]]
    rows: dict[Node, int]
    width: float
    height: float


def _draw_graph(axes: Any, layout: _Layout) -> None:
    boxes = {}
    for node, (across, down) in layout.places.items():
        box = {"boxstyle": "round", "facecolor": _FACES.get(node.op.name, _FACE), "edgecolor": _EDGE}
        text = axes.text(across, -down, _label(node), ha="center", va="center", bbox=box, fontdict=_FONT)
        boxes[node] = text.get_bbox_patch()
    edges = dict.fromkeys((node, operand) for node in boxes for operand in node.inputs)
    for node, operand in edges:
        # An edge that passes rows swings around what stands in them.
        bend = 0.0 if layout.rows[node] == layout.rows[operand] + 1 else _BEND
        arrow = {"arrowstyle": "->", "color": _EDGE, "patchA": boxes[operand], "patchB": boxes[node]}
        ends = [(x, -y) for x, y in (layout.places[node], layout.places[operand])]
        axes.annotate("", *ends, arrowprops=arrow | {"connectionstyle": f"arc3,rad={bend}"})


def _label(node: Node) -> str:
    if isinstance(node.op.lowering, Leaf):
        return f"{node.name or node.op.name}\n{node.type}"
    if isinstance(node.payload, Graph):
        steps = [n.op.name for n in node.payload.nodes if not isinstance(n.op.lowering, Leaf)]
        return "\n".join(steps)
    return node.op.name


def _rows(graph: Graph) -> dict[Node, int]:
    """Return the row of every node: operations under their operands, leaves just above a reader."""
    row: dict[Node, int] = {}
    for node in graph.nodes:
        row[node] = max((row[operand] + 1 for operand in node.inputs), default=0)
    for node in graph.nodes:
        if isinstance(node.op.lowering, Leaf) and graph.users[node]:
            row[node] = min(row[user] for user in graph.users[node]) - 1
    return row


def _layout(graph: Graph) -> _Layout:
    """Place rows below each other, in each row the order of the operands above."""
    rows = _rows(graph)
    places: dict[Node, tuple[float, float]] = {}
    top, widest = 0.0, 0.0
    for row in sorted(set(rows.values())):
        members = [node for node in graph.nodes if rows[node] == row]
        members.sort(key=lambda node: _mean([places[operand][0] for operand in node.inputs]))
        labels = [_label(node).split("\n") for node in members]
        widths = [max(map(len, lines)) + _GAP for lines in labels]
        height = max(map(len, labels)) + _GAP
        left = -sum(widths) / 2
        for node, width in zip(members, widths, strict=True):
            places[node] = (left + width / 2, top + height / 2)
            left += width
        top, widest = top + height, max(widest, sum(widths))
    return _Layout(places, rows, widest + _GAP, top)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
