"""Drawings as SVG: a picture that stands on its own, in notebooks, pages and files."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from itertools import pairwise

from graphc.inspection.drawing import LINE, MARGIN, Drawing, DrawnBox, Point, Route, layout
from graphc.inspection.views import WHOLE, Part, view
from graphc.ir import Graph

__all__ = ["STYLE", "graph_to_svg", "to_svg"]

# Fill and line of each kind of box: told apart by colour, and by shape or line where colour fails.
_COLOURS = {
    "input": ("#e6f2e6", "#4a8f4a"),
    "variable": ("#fff3d6", "#b8860b"),
    "constant": ("#f2f2f2", "#999999"),
    "op": ("#eef3fb", "#5b7db1"),
    "product": ("#dbe6fa", "#2f5aa8"),
    "view": ("#ffffff", "#b0b0b0"),
    "fused": ("#f3e9fb", "#8a4fbf"),
    "control": ("#fde9e3", "#c8603a"),
    "scope": ("#e9f6f6", "#2f8f8f"),
    "outside": ("#ffffff", "#bbbbbb"),
    "output": ("#e6f2e6", "#2e6b2e"),
}
_ROUND = {"input": 10, "output": 10, "variable": 3, "op": 3, "product": 3}
_DASHED = frozenset({"outside", "view"})
STYLE = (
    "text{font:11px ui-monospace,monospace;fill:#222;text-anchor:middle}"
    "path{fill:none;stroke:#8a8a8a;stroke-width:1}"
    "path.far{stroke-dasharray:2 4;opacity:.5}"
    "rect{stroke-width:1.2}"
    "rect.dashed{stroke-dasharray:4 3}"
)


def graph_to_svg(graph: Graph, scope: str = "") -> str:
    """Draw a graph.

    Parameters
    ----------
    graph : Graph
        What to draw.
    scope : str
        Only what stands in this scope.  Scopes are one box each.

    Returns
    -------
    str

    Raises
    ------
    MissingDependencyError
        If igraph is not installed: ``pip install "graphc[report]"``.
    """
    return to_svg(layout(view(graph, Part(scope) if scope else WHOLE)))


def to_svg(drawing: Drawing) -> str:
    """Return a drawing as an SVG element.

    Parameters
    ----------
    drawing : Drawing
        Made by `graphc.inspection.drawing.layout`.

    Returns
    -------
    str
    """
    size = f"{drawing.width:g}", f"{drawing.height:g}"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="graphc" width="{size[0]}" height="{size[1]}" '
        f'viewBox="0 0 {size[0]} {size[1]}">'
    )
    scoped = STYLE.replace("}", "}\n").strip().splitlines()
    style = f"<style>{' '.join(f'svg.graphc {rule}' for rule in scoped)}</style>"
    marker = (
        '<defs><marker id="graphc-arrow" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" '
        'markerHeight="6" orient="auto"><polygon points="0,0 6,3 0,6" fill="#8a8a8a"/></marker></defs>'
    )
    body = [*map(_edge, drawing.routes), *(line for box in drawing.boxes for line in _box(box))]
    return "\n".join([head, style, marker, *body, "</svg>"])


def _edge(route: Route) -> str:
    kind = ' class="far"' if route.far else ""
    return f'<path{kind} d="{_curve(route.points)}" marker-end="url(#graphc-arrow)"/>'


def _curve(points: Sequence[Point]) -> str:
    """Return a smooth line that leaves and enters layers straight down, or up."""
    parts = [f"M{points[0][0]:g},{points[0][1]:g}"]
    for (x, y), (u, v) in pairwise(points):
        middle = (y + v) / 2
        parts.append(f"C{x:g},{middle:g} {u:g},{middle:g} {u:g},{v:g}")
    return "".join(parts)


def _box(box: DrawnBox) -> Iterator[str]:
    fill, line = _COLOURS[box.kind]
    left, top = box.x - box.width / 2, box.y - box.height / 2
    dashed = ' class="dashed"' if box.kind in _DASHED else ""
    yield f'<g data-key="{html.escape(box.key)}">'
    if box.note:
        yield f"<title>{html.escape(box.note)}</title>"
    yield (
        f'<rect{dashed} x="{left:.1f}" y="{top:.1f}" width="{box.width:g}" height="{box.height:g}" '
        f'rx="{_ROUND.get(box.kind, 0)}" fill="{fill}" stroke="{line}"/>'
    )
    if box.kind in ("fused", "control", "scope"):
        # A second line: there is something inside.
        yield (
            f'<rect x="{left + 2.5:.1f}" y="{top + 2.5:.1f}" width="{box.width - 5:g}" '
            f'height="{box.height - 5:g}" fill="none" stroke="{line}" opacity=".5"/>'
        )
    for number, text in enumerate(box.label):
        y = top + MARGIN / 2 + LINE * (number + 0.75)
        yield f'<text x="{box.x:g}" y="{y:.1f}">{html.escape(text)}</text>'
    yield "</g>"
