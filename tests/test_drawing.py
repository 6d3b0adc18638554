"""Drawings: what is shown of a graph, where it stands, and how it shows in notebooks."""

from __future__ import annotations

import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.errors import MissingDependencyError, Where
from graphc.inspection.drawing import Drawing, layout
from graphc.inspection.views import Box, Edge, Part, View, view
from graphc.ir import Graph, Node
from graphc.trace import trace

SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Scoped(Where):
    """A place within a scope."""

    scope: str = ""


def scoped(graph: Graph, scopes: dict[str, str]) -> Graph:
    """Return a graph whose nodes stand in scopes, by their op."""
    image: dict[Node, Node] = {}
    for node in graph.nodes:
        scope = scopes.get(node.op.name, "")
        where = Scoped(node.where.file, node.where.line, scope)
        image[node] = replace(node.with_inputs(tuple(image[i] for i in node.inputs)), where=where)
    return Graph(tuple(image[i] for i in graph.inputs), tuple(image[o] for o in graph.outputs))


@pytest.fixture(scope="module")
def program() -> gx.Program:
    x = gx.placeholder("x", shape=("b", 8))
    w = gx.variable(np.zeros((8, 4), "float32"), name="w")
    scores = x @ w + 1
    loss = gx.sum(gx.softmax(scores) * np.ones(4, "float32"))
    return gx.compile(x, [loss, scores.reshape(-1, 2, 2)], updates={w: w - 0.1 * gx.grad(loss, w)})


def boxes(found: View, kind: str) -> list[Box]:
    return [b for b in found.boxes if b.kind == kind]


# ----------------------------------------------------------------------- views
def test_every_kind_of_node_has_its_box(program: gx.Program) -> None:
    found = view(program.stages[0].graph)
    assert [b.label for b in boxes(found, "input")] == [("x", "float32[b, 8]")]
    assert [b.label for b in boxes(found, "variable")] == [("w", "float32[8, 4]")]
    assert {b.label[0] for b in boxes(found, "product")} == {"matmul"}
    assert [b.label[0] for b in boxes(found, "output")] == ["output 0", "output 1", "new w"]
    assert "reshape" in {b.label[0] for b in boxes(found, "view")}
    assert [b.label[0] for b in boxes(found, "constant")] == ["[1.0, 1.0, 1.0, 1.0]"]


def test_scalar_constants_stand_in_the_label_of_what_reads_them(program: gx.Program) -> None:
    labels = {b.label[0] for b in view(program.stages[0].graph).boxes}
    assert {"add 1.0", "multiply 0.1"} <= labels


def test_a_fused_node_is_one_box_whose_inside_is_a_view(program: gx.Program) -> None:
    fused = boxes(view(program.graph), "fused")
    assert fused and not any(b.label[0] == "item" for b in view(program.graph).boxes)
    inside = view(fused[0].nodes[0].subgraphs[0])
    assert {b.label[0].split()[0] for b in inside.boxes} >= set(fused[0].label[:2])


def test_scopes_are_boxes_to_look_into() -> None:
    x = gx.placeholder("x", shape=("n",))
    graph, _ = trace([x], gx.tanh(gx.exp(gx.sin(x))))
    graph = scoped(graph, {"sin": "encoder", "exp": "encoder/first", "tanh": "head"})
    whole = view(graph)
    assert [(b.kind, b.label[0]) for b in whole.boxes] == [
        ("input", "x"),
        ("scope", "encoder"),
        ("scope", "head"),
        ("output", "output 0"),
    ]
    assert [(e.source, e.target) for e in whole.edges] == [
        ("n0", "scope encoder"),
        ("scope encoder", "scope head"),
        ("scope head", "output 0"),
    ]
    encoder = boxes(whole, "scope")[0]
    assert encoder.label[1] == "2 nodes" and encoder.part == Part("encoder")
    inside = view(graph, Part("encoder"))
    assert [(b.kind, b.label[0]) for b in inside.boxes] == [
        ("outside", "x"),
        ("op", "sin"),
        ("scope", "first"),
        ("outside", "tanh"),
    ]


def test_gradients_of_a_scope_are_a_box_of_their_own() -> None:
    x = gx.placeholder("x", shape=())
    graph, _ = trace([x], gx.grad(gx.exp(gx.sin(x)), x))
    names = dict.fromkeys(("sin", "exp", "cos", "multiply"), "layer")
    found = view(scoped(graph, names))
    assert [b.label[0] for b in boxes(found, "scope")] == ["layer", "gradient of layer"]
    layout(found)


# --------------------------------------------------------------------- layouts
def overlapping(drawing: Drawing) -> list[tuple[str, str]]:
    found = []
    for k, a in enumerate(drawing.boxes):
        for b in drawing.boxes[k + 1 :]:
            apart = abs(a.x - b.x) >= (a.width + b.width) / 2 or abs(a.y - b.y) >= (a.height + b.height) / 2
            found += [] if apart else [(a.key, b.key)]
    return found


@pytest.mark.parametrize("at", [0, -1])
def test_no_boxes_overlap_and_operands_stand_above(program: gx.Program, at: int) -> None:
    drawing = layout(view(program.stages[at].graph))
    assert not overlapping(drawing)
    place = {b.key: b for b in drawing.boxes}
    for route in drawing.routes:
        assert place[route.source].y < place[route.target].y
        assert [y for _, y in route.points] == sorted(y for _, y in route.points)
    for box in drawing.boxes:
        assert box.width / 2 <= box.x <= drawing.width - box.width / 2
        assert box.height / 2 <= box.y <= drawing.height - box.height / 2


def test_no_edge_runs_through_a_box(program: gx.Program) -> None:
    drawing = layout(view(program.graph))
    for route in drawing.routes:
        for x, y in route.points[1:-1]:
            inside = [
                b.key
                for b in drawing.boxes
                if abs(b.x - x) < b.width / 2 and abs(b.y - y) < b.height / 2 and b.key != route.source
            ]
            assert not inside


def test_edges_that_lead_back_are_drawn() -> None:
    boxes = tuple(Box(key, "scope", (key,)) for key in "abc")
    drawing = layout(View(boxes, (Edge("a", "b"), Edge("b", "c"), Edge("c", "a"))))
    back = drawing.routes[2]
    assert back.points[0][1] > back.points[-1][1]


def test_an_empty_view_and_boxes_without_edges_have_drawings() -> None:
    assert layout(View((), ())).boxes == ()
    alone = layout(View(tuple(Box(str(k), "op", ("x",)) for k in range(3)), ()))
    assert not overlapping(alone)


def test_large_graphs_are_laid_out_in_seconds() -> None:
    """A forward chain of blocks, and a backward chain that reads it from its end."""
    count = 1250
    keys = [f"{kind}{k}" for kind in "wf" for k in range(count)] + [
        f"{kind}{k}" for k in range(count) for kind in "bu"
    ]
    edges = [Edge(f"f{k - 1}", f"f{k}") for k in range(1, count)]
    edges += [Edge(f"b{k - 1}", f"b{k}") for k in range(1, count)]
    edges += [Edge(f"w{k}", f"f{k}") for k in range(count)]
    edges += [Edge(f"f{count - 1 - k}", f"b{k}") for k in range(count)]
    edges += [Edge(f"b{k}", f"u{k}") for k in range(count)]
    seen = View(tuple(Box(key, "op", (key, "float32[n]")) for key in keys), tuple(edges))
    start = time.perf_counter()
    drawing = layout(seen)
    # It takes half a second on an idle core.
    assert time.perf_counter() - start < 15
    assert len(drawing.boxes) == 5000
    assert any(r.far for r in drawing.routes) and not all(r.far for r in drawing.routes)


def test_a_drawing_is_data(program: gx.Program) -> None:
    drawing = layout(view(program.graph))
    data = drawing.to_dict()
    assert data["boxes"][0]["key"] == drawing.boxes[0].key
    assert set(data) == {"width", "height", "boxes", "routes"}
    assert layout(view(program.graph)) == drawing


# ------------------------------------------------------------------------- svg
def test_svg_is_well_formed_and_complete(program: gx.Program) -> None:
    root = ElementTree.fromstring(program.to_svg())
    keys = [g.attrib["data-key"] for g in root.iter(f"{SVG}g")]
    assert keys == [b.key for b in view(program.graph).boxes]
    assert sum(1 for _ in root.findall(f"{SVG}path")) == len(view(program.graph).edges)
    assert any("test_drawing.py" in (t.text or "") for t in root.iter(f"{SVG}title"))


def test_names_are_escaped_in_svg() -> None:
    x = gx.placeholder("a<b>&c", shape=("n",))
    text = trace([x], gx.exp(x))[0].to_svg()
    assert "a&lt;b&gt;&amp;c" in text
    ElementTree.fromstring(text)


# ------------------------------------------------------------------- notebooks
def shown(program: gx.Program) -> dict[str, Any]:
    return {
        "graph": program.graph,
        "program": program,
        "stage": next(s for s in program.stages if s.name == "fuse"),
        "kernel": program.kernels[0],
        "tensor": gx.exp(gx.placeholder("x", shape=("n",))),
    }


@pytest.mark.parametrize("what", ["graph", "program", "stage", "kernel", "tensor"])
def test_everything_shows_in_notebooks(program: gx.Program, what: str) -> None:
    page = shown(program)[what]._repr_html_()
    ElementTree.fromstring(f"<div>{page}</div>")
    expected = {
        "graph": "<svg",
        "program": "kernels:",
        "stage": "<td>fuse 3 nodes</td>",
        "kernel": "def kernel(",
        "tensor": "exp: float32[n]",
    }
    assert expected[what] in page
    if what != "kernel":
        assert shown(program)[what]._repr_svg_().startswith("<svg")


def test_without_igraph_text_is_shown_and_the_reason(
    program: gx.Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "igraph", None)
    with pytest.raises(MissingDependencyError, match="igraph is not installed") as caught:
        program.to_svg()
    assert caught.value.expected == 'pip install "graphc[report]"'
    page = program.graph._repr_html_()
    assert "not drawn: drawing a graph: the package igraph is not installed" in page
    assert "<pre>graph(%0: float32[b, 8] &#x27;x&#x27;)" in page
    assert program._repr_svg_() is None


def test_a_maze_is_not_drawn() -> None:
    x = gx.placeholder("x", shape=("n",))
    many = x
    for _ in range(400):
        many = gx.tanh(many)
    page = trace([x], many)[0]._repr_html_()
    assert "not drawn: 402 boxes" in page and "<pre>" in page and "<svg" not in page
