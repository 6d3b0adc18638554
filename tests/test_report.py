"""What goes into a report: views of a size for people, fates of nodes, the arena, one safe file."""

from __future__ import annotations

import base64
import json
import re
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.errors import ArgumentError, MissingDependencyError
from graphc.inspection import Provenance
from graphc.ir import Graph, Node, topological
from graphc.report import hierarchy, tables, views
from graphc.report.arena import arena_of
from graphc.report.geometry import Geometries
from graphc.report.measured import measured_data
from graphc.report.packing import Pack
from graphc.report.phases import gradients, phases
from graphc.report.writer import page


@pytest.fixture(scope="module")
def program() -> gx.Program:
    x = gx.placeholder("x", shape=("n", 4))
    w = gx.variable(np.eye(4, dtype="float32"), name="w")
    hidden = gx.tanh(x @ w)
    loss = (hidden * gx.softmax(hidden, axis=1)).mean()
    # </script> in a line of the user's must not end the page's own.
    return gx.compile(x, loss + 0.0 * len("</script>"), updates={w: w - gx.grad(loss, [w])[0]}, name="<i>&")


@pytest.fixture(scope="module")
def written(program: gx.Program, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    program.report(path)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def content(written: str) -> Mapping[str, Any]:
    found = re.search(r'<script type="application/json" id="pack">(.*?)</script>', written, re.DOTALL)
    assert found is not None
    entries = json.loads(found.group(1))
    texts = {key: zlib.decompress(base64.b64decode(entry)).decode() for key, entry in entries.items()}
    return {key: text if re.fullmatch(r"t\d+", key) else json.loads(text) for key, text in texts.items()}


def chain(length: int) -> list[Node]:
    x = gx.placeholder("x", shape=("n",))
    h = x
    for _ in range(length):
        h = gx.sin(h)
    return topological([h.node])


# ------------------------------------------------------------------------- the file
def test_the_page_refers_to_nothing_outside(written: str) -> None:
    assert set(re.findall(r"https?://[^\s\"']+", written)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in written
    assert not re.search(r"<(link|script|img)[^>]+(src|href)=(?!\"data:)", written)


def test_names_and_lines_of_users_are_text(written: str, content: Mapping[str, Any]) -> None:
    assert "<title>&lt;i&gt;&amp;</title>" in written
    assert written.count("</script>") == 2
    assert any("</script>" in text for _, _, text, _ in content["nodes"]["places"])


def test_a_report_appears_complete_or_not_at_all(
    program: gx.Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(ArgumentError, match="this is no profile"):
        program.report(path, profile="fast")
    monkeypatch.setattr("graphc.report.page", lambda *_: "\ud800")
    with pytest.raises(UnicodeEncodeError):
        program.report(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_without_the_extra_the_error_says_what_to_install(
    program: gx.Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "igraph", None)
    with pytest.raises(MissingDependencyError, match=r"graphc\[report\]"):
        program.report(tmp_path / "report.html")


def test_a_program_without_kernels_has_a_report(tmp_path: Path) -> None:
    x = gx.placeholder("x", shape=("n",))
    gx.compile(x, x).report(tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_equal_texts_are_stored_once(content: Mapping[str, Any], program: gx.Program) -> None:
    texts = [text for key, text in content.items() if re.fullmatch(r"t\d+", key)]
    assert len(texts) == len(set(texts))
    for kernel, data in zip(program.kernels, content["program"]["kernels"], strict=True):
        assert [content[key] for key in data["texts"]] == [kernel.source, kernel.llvm, kernel.asm]


def test_the_title_is_escaped() -> None:
    assert "<title>a &lt; b</title>" in page("a < b", Pack())


# -------------------------------------------------------------------- stages and fates
def test_every_stage_has_its_rules_with_the_users_lines(
    content: Mapping[str, Any], program: gx.Program
) -> None:
    for stage, data in zip(program.stages, content["program"]["stages"], strict=True):
        assert data["name"] == stage.name
        assert sum(count for *_, count in data["rewrites"]) == len(stage.rewrites)
    places = [p for s in content["program"]["stages"] for _, p, _, _ in s["rewrites"] if p >= 0]
    texts = [content["nodes"]["places"][p] for p in places]
    assert all(file == "test_report.py" and "gx." in text for file, _, text, _ in texts)


def test_fates_lead_from_every_node_of_a_stage_to_nodes_of_the_next(content: Mapping[str, Any]) -> None:
    data = content["program"]
    members = [set(data["stageGraphs"][stage["graph"]]) for stage in data["stages"]]
    for k, fates in enumerate(data["fates"]):
        for node, fate in fates:
            targets = [fate] if isinstance(fate, int) else fate[2]
            assert node in members[k - 1]
            assert set(targets) <= members[k]
        untouched = members[k - 1] - {node for node, _ in fates} if k else set()
        assert untouched <= members[k]


def test_phases_part_forward_gradients_and_updates(program: gx.Program) -> None:
    provenance = Provenance(program)
    found = phases(provenance, gradients(provenance))
    traced = program.stages[0].graph
    assert found[traced.outputs[0]] == "forward"
    assert found[traced.updates[0][1]] == "updates"
    last = program.stages[-1].graph
    assert set(found) >= {n for stage in program.stages for n in stage.graph.nodes}
    assert {found[n] for n in last.nodes if n.op.name in ("fused", "matmul")} == {"forward", "updates"} | {
        found[n] for n in last.nodes if found[n] == "gradients"
    }


# ------------------------------------------------------------------------------ views
def test_every_call_in_a_scope_is_a_box_of_its_own() -> None:
    x = gx.placeholder("x", shape=("n", 4))
    w = gx.variable(np.eye(4, dtype="float32"))
    h = x
    for _ in range(3):
        with gx.scope("layer"):
            h = h @ w + 1.0
        h = gx.relu(h)
    root = hierarchy.tree(topological([h.node]), "net")
    assert [getattr(i, "title", "relu") for i in root.items] == [
        *("layer 1", "relu", "layer 2", "relu", "layer 3", "relu")
    ]


def test_scopes_within_scopes_open_one_after_the_other() -> None:
    x = gx.placeholder("x", shape=("n",))
    with gx.scope("encoder"):
        h = gx.exp(x)
        with gx.scope("block"):
            h = gx.sin(gx.cos(h))
    root = hierarchy.tree(topological([(h * h).node]), "net")
    (encoder, _) = root.items
    assert isinstance(encoder, hierarchy.Group)
    assert [getattr(i, "title", "exp") for i in encoder.items] == ["exp", "block"]


def test_boxes_stand_in_an_order_in_which_they_can_run() -> None:
    x = gx.placeholder("x", shape=("n",))
    with gx.scope("late"):
        early = gx.exp(x)
    middle = gx.sin(x)
    with gx.scope("late"):
        total = early + middle
    # The scope begins first, and can only be done when what stands outside is.
    root = hierarchy.tree(topological([total.node]), "net")
    assert [getattr(i, "title", "sin") for i in root.items] == ["sin", "late"]


def test_no_view_is_larger_than_a_person_can_look_at() -> None:
    nodes = chain(5000)
    drawn = views.Views(tables.Nodes(), Geometries())
    drawn.add(nodes, "deep", {})
    sizes = [len(view.boxes) for view in drawn.drawn.values()]
    assert max(sizes) <= hierarchy.MOST + 2 * views.EDGE
    found = [b.node for view in drawn.drawn.values() for b in view.boxes if b.kind == "operation"]
    assert len(found) == len(set(found)) == 5000


def test_parts_hold_every_node_once_and_in_order() -> None:
    nodes = chain(777)
    root = hierarchy.tree(nodes, "chain")
    assert list(root.nodes()) == nodes[1:]


def test_every_node_is_found_in_a_view(content: Mapping[str, Any]) -> None:
    data = content["program"]
    for stage in data["stages"]:
        graph = content[f"graph{stage['graph']}"]
        missing = set(data["stageGraphs"][stage["graph"]]) - set(map(int, graph["home"]))
        names = {content["nodes"]["names"][content["nodes"]["rows"][n][0]] for n in missing}
        # Constants that nothing but a shape reads, and variables that are only written.
        assert names <= {"constant", "variable"}


def test_what_comes_from_other_groups_leads_there() -> None:
    x = gx.placeholder("x", shape=("n",))
    ends = [x]
    for _ in range(200):
        ends.append(gx.sin(ends[-1]))
    total = ends[150] + ends[10]
    drawn = views.Views(tables.Nodes(), Geometries())
    drawn.add(topological([total.node]), "far", {})
    outside = [b for v in drawn.drawn.values() for b in v.boxes if b.kind == "outside"]
    assert outside
    assert all(b.opens[0] in drawn.drawn for b in outside)


def test_loops_and_fused_nodes_open(content: Mapping[str, Any], program: gx.Program) -> None:
    last = content["program"]["stages"][-1]["graph"]
    found = content[f"graph{last}"]["views"]
    boxes = [box for _, _, _, boxes, _, _ in found.values() for box in boxes]
    fused = [opens for _, kind, _, opens, _, _ in boxes if kind == "fused"]
    assert fused
    assert all(found[opens[0]][1] == "inside" for opens in fused)


def test_variables_are_named_where_they_are_read_and_updated(content: Mapping[str, Any]) -> None:
    boxes = [b for view in content["graph0"]["views"].values() for b in view[3]]
    assert any(reads == ["w"] for *_, reads, _ in boxes)
    assert any(updates == ["w"] for *_, updates in boxes)


def test_views_of_one_form_share_a_drawing() -> None:
    shared = Geometries()
    first = shared.number([(10, 10), (20, 10)], [(0, 1)])
    assert shared.number([(10, 10), (20, 10)], [(0, 1)]) == first
    assert shared.number([(10, 10), (30, 10)], [(0, 1)]) != first
    assert len(shared.rows) == 2


def test_boxes_do_not_overlap(content: Mapping[str, Any]) -> None:
    for _, _, places, _ in content["shapes"]:
        for k, (x, y, w, h) in enumerate(places):
            for u, v, s, t in places[:k]:
                assert x >= u + s or u >= x + w or y >= v + t or v >= y + h


def test_cuts_fall_where_little_crosses() -> None:
    assert hierarchy.cuts([0, 5, 5, 5, 5, 1, 5, 5, 5, 5, 0], 2) == [5]
    assert hierarchy.cuts([0, 5, 5, 5, 1, 5, 5, 5, 5, 5, 0], 2) == [4]


# ------------------------------------------------------------------------------ arena
def test_the_arena_is_that_of_the_plan(program: gx.Program) -> None:
    before = arena_of(program)
    assert before.assumed
    program(np.ones((7, 4), "float32"))
    found = arena_of(program)
    assert dict(found.sizes) == {"n": 7}
    assert not found.assumed
    assert found.size == program.memory.arena
    assert found.unshared >= program.memory.unshared
    assert len(found.steps) == len(program._image.sections[0].steps)


def test_buffers_never_overlap_in_space_and_time(program: gx.Program) -> None:
    buffers = arena_of(program).buffers
    for k, a in enumerate(buffers):
        for b in buffers[:k]:
            apart = a.last < b.first or b.last < a.first
            assert apart or a.start + a.size <= b.start or b.start + b.size <= a.start


def test_a_loop_is_one_buffer_with_what_it_needs_inside() -> None:
    x = gx.placeholder("x", shape=(5, 64))
    w = gx.variable(np.eye(64, dtype="float32"))
    carry, _ = gx.scan(lambda c, row: (gx.tanh(c @ w + gx.cumulative_sum(row)), row), gx.zeros((64,)), x)
    program = gx.compile(x, carry)
    program(np.ones((5, 64), "float32"))
    found = arena_of(program)
    assert found.size == program.memory.arena
    assert any(b.kind == "nested" for b in found.buffers)
    assert found.unshared >= found.size
    assert "loop" in found.steps


# --------------------------------------------------------------------------- profiles
def test_a_profile_comes_without_its_spans(program: gx.Program) -> None:
    profile = program.profile(np.ones((3, 4), "float32"), repeat=1)
    found = measured_data(program, profile)
    assert len(found["steps"]) == len(profile.steps)
    assert "spans" not in found


def test_the_profile_of_another_program_is_refused(program: gx.Program, tmp_path: Path) -> None:
    x = gx.placeholder("x", shape=(3,))
    other = gx.compile(x, gx.exp(x), name="other").profile(np.ones(3, "float32"), repeat=1)
    with pytest.raises(ArgumentError, match="that of another program"):
        program.report(tmp_path / "report.html", profile=other)
    assert not list(tmp_path.iterdir())


def test_short_names_tell_files_apart() -> None:
    found = tables.short_names(["/a/b/net.py", "/a/c/net.py", "/a/train.py", "<stdin>"])
    assert list(found.values()) == ["b/net.py", "c/net.py", "train.py", "<stdin>"]


def test_graphs_of_loops_are_drawn_too() -> None:
    x = gx.placeholder("x", shape=("n", 3))
    carry, _ = gx.scan(lambda c, row: (c + row, row), gx.zeros((3,)), x)
    drawn = views.Views(tables.Nodes(), Geometries())
    graph = Graph((x.node,), (carry.node,))
    drawn.add(graph.nodes, "loop", views.results_of(graph))
    assert [v.title for v in drawn.drawn.values()] == ["loop", "loop: body"]
