"""The report in a real browser: what a person clicks, types and sees."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import graphc as gx
from tests.chromium import Browser, chromium

RIGHT, LEFT, DOWN, ENTER, ESCAPE = "\ue014", "\ue012", "\ue015", "\ue007", "\ue00c"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def browser(folder: Path) -> Iterator[Browser]:
    with chromium(folder / "profile") as found:
        yield found


@pytest.fixture(autouse=True)
def silence(browser: Browser) -> Iterator[None]:
    """Every test ends without a word on the console and without a request."""
    yield
    assert browser.complaints() == []


@pytest.fixture(scope="module")
def program() -> gx.Program:
    """A step of training: a dense layer, a loop, a product."""
    x = gx.placeholder("x", shape=("n", 8))
    w = gx.variable(np.eye(8, dtype="float32"), name="w")
    hidden = gx.relu(x @ w + 1.0)
    with gx.scope("recurrent"):
        total, _ = gx.scan(lambda carry, row: (gx.tanh(carry @ w + row), row.sum()), gx.zeros((8,)), hidden)
        total = gx.tanh(total) * 2.0
    loss = (total * gx.softmax(total, axis=0)).sum() + hidden.mean()
    step = gx.compile(x, loss, updates=gx.optim.SGD(0.1).minimize(loss), name="small & <bold>")
    step(np.ones((4, 8), "float32"))
    return step


@pytest.fixture(scope="module")
def report(folder: Path, program: gx.Program) -> Path:
    path = folder / "small.html"
    program.report(path)
    return path


def number_of(program: gx.Program, name: str) -> int:
    return next(k for k, stage in enumerate(program.stages) if stage.name == name)


def test_the_overview_says_what_was_compiled(browser: Browser, report: Path, program: gx.Program) -> None:
    browser.open(report)
    assert browser.one("#name").text == "small & <bold>"
    assert "x: float32[n, 8]" in browser.one(".signature").text
    kernels = next(card for card in browser.all(".card") if "KERNELS" in card.text)
    assert str(len(program.kernels)) in kernels.text
    assert any("hidden = gx.relu(x @ w + 1.0)" in row.text for row in browser.all("tbody tr"))


def test_every_view_opens_from_the_tabs_and_by_number(browser: Browser, report: Path) -> None:
    browser.open(report)
    tabs = browser.all("#tabs button")
    for number, tab in enumerate(tabs, 1):
        tab.click()
        assert tab.get_attribute("aria-selected") == "true"
        clicked = browser.texts("main")
        browser.press("1", str(number))
        assert tab.get_attribute("aria-selected") == "true"
        assert browser.texts("main") == clicked


def test_arrow_keys_step_through_the_stages_that_changed_something(
    browser: Browser, report: Path, program: gx.Program
) -> None:
    browser.open(report, "tab=stages")
    names = [browser.one('.list [aria-current="true"] .title').text]
    changed = [s.name for s in program.stages[1:] if s.changed]
    for _ in changed:
        before = browser.place
        browser.press(RIGHT)
        browser.wait(lambda before=before: browser.place != before)
        names.append(browser.one('.list [aria-current="true"] .title').text)
    assert names == [program.stages[0].name, *changed]
    browser.press(LEFT)
    assert browser.one('.list [aria-current="true"] .title').text == changed[-2]


def test_a_pass_shows_its_rules_with_the_line_and_its_text(
    browser: Browser, report: Path, program: gx.Program
) -> None:
    number = next(k for k, stage in enumerate(program.stages) if stage.rewrites)
    browser.open(report, f"tab=stages&stage={number}")
    rewrite = program.stages[number].rewrites[0]
    shown = browser.one(".rule", rewrite.rule).text
    assert "test_report_page.py:" in shown
    assert "gx." in shown


def test_fates_are_coloured_before_and_after_a_pass(
    browser: Browser, report: Path, program: gx.Program
) -> None:
    browser.open(report, f"tab=stages&stage={number_of(program, 'fuse')}&side=before")
    chip = browser.one("button.chip", "fused")
    chip.click()
    browser.one("h3", "WHERE IT CAME FROM AND WENT")
    chosen = browser.one(".box.chosen").get_attribute("class")
    assert "f-fused" in chosen
    browser.press("b")
    browser.wait(lambda: "side=before" not in browser.place)
    assert browser.one(".box.chosen")


def test_a_chosen_node_is_followed_from_stage_to_stage_into_its_kernel(
    browser: Browser, report: Path, program: gx.Program
) -> None:
    browser.open(report, "tab=stages")
    browser.click_box("relu")
    trail = browser.one(".trail").text
    assert "fuse" in trail
    assert "runs in" in trail
    assert "hidden = gx.relu(x @ w + 1.0)" in browser.one(".quote").text
    for _ in program.stages:
        browser.press(RIGHT)
    assert browser.one(".side.right h2").text.startswith("relu")
    assert browser.texts(".trail li")[0].startswith("traced")
    browser.one(".trail li", "runs in").find_element("css selector", "button").click()
    assert "relu" in browser.one(".kernel h2").text


def test_loops_and_fused_kernels_open_and_the_trail_leads_back(
    browser: Browser, report: Path, program: gx.Program
) -> None:
    browser.open(report, "tab=stages")
    browser.open_box("recurrent")
    browser.open_box("loop")
    assert browser.one(".crumbs b").text == "loop: body"
    browser.click_box("tanh")
    browser.press("u")
    browser.wait(lambda: browser.one(".crumbs b").text != "loop: body")
    browser.open(report, f"tab=stages&stage={number_of(program, 'fuse')}")
    fused = next(t for t in browser.texts(".box.k-fused .first") if "relu" in t)
    browser.open_box(fused)
    browser.wait(lambda: "relu" in browser.texts(".box .first"))
    browser.one(".crumbs button").click()
    browser.wait(lambda: fused in browser.texts(".box .first"))


def test_the_drawing_works_without_a_mouse(browser: Browser, report: Path) -> None:
    browser.open(report, "tab=stages")
    browser.js("document.querySelector('.box[tabindex=\"0\"]').focus()")
    visited = set()
    for _ in range(6):
        browser.press(DOWN)
        visited.add(browser.js("return document.activeElement.querySelector('.first').textContent"))
    assert len(visited) > 2
    assert browser.one(".side.right h2")
    scale = browser.js("return document.querySelector('.sheet > g').getAttribute('transform')")
    browser.press("+")
    assert scale != browser.js("return document.querySelector('.sheet > g').getAttribute('transform')")
    browser.press(ESCAPE)
    browser.wait(lambda: "node=" not in browser.place)


def test_a_kernel_shows_graph_python_llvm_and_assembly(
    browser: Browser, report: Path, program: gx.Program
) -> None:
    number = next(k for k, kernel in enumerate(program.kernels) if "matmul" in kernel.name)
    kernel = program.kernels[number]
    browser.open(report, f"tab=kernels&kernel={number}")
    assert browser.one(".kernel h2").text == kernel.name
    assert "matmul" in browser.texts(".box .first")[0] + browser.texts(".box .first")[-1] or browser.box(
        "matmul"
    )
    for title, text in (("Python", kernel.source), ("LLVM IR", kernel.llvm), ("Assembly", kernel.asm)):
        browser.one(".kernel .choice button", title).click()
        browser.wait(lambda text=text: "".join(browser.texts(".block > pre:last-child"))[:80] == text[:80])
        shown = "\n".join(browser.texts(".block > pre:last-child"))
        assert shown == text.rstrip("\n")
        assert browser.one(".listing span")
    browser.one(".kernel .choice button", "Your lines").click()
    assert "x @ w" in browser.one("tbody").text


def test_forward_and_backward_stand_side_by_side(browser: Browser, report: Path) -> None:
    browser.open(report, "tab=gradients")
    forward, backward = browser.all(".pair .pane")
    assert "forward" in forward.text
    assert "backward" in backward.text
    browser.click_box("relu")
    mates = browser.wait(lambda: backward.find_elements("css selector", ".box.mate"))
    titles = [m.find_element("css selector", ".first").text for m in mates]
    assert any(t.startswith("where") for t in titles)
    mates[0].click()
    browser.wait(lambda: forward.find_elements("css selector", ".box.mate"))
    browser.open(report, "tab=gradients")
    browser.click_box("recurrent")
    marked = browser.all(".pane:nth-child(2) .box.mate")
    assert "recurrent" in [m.find_element("css selector", ".first").text for m in marked]


def test_the_arena_shows_what_lies_where_at_a_step(
    browser: Browser, report: Path, program: gx.Program
) -> None:
    browser.open(report, "tab=memory")
    assert "n = 4" in browser.one(".page").text
    rows = [row.text for row in browser.all("[aria-label=Buffers] tbody tr")]
    assert len(browser.all(".buffer")) == len(rows)
    assert (
        f"{program.memory.arena}" in browser.one(".page").text.replace(",", "")
        or program.memory.arena >= 1024
    )
    browser.press(RIGHT)
    assert "Step 1:" in browser.one("[aria-live]").text
    browser.one("[aria-label=Buffers] tbody button").click()
    assert "at offset" in browser.one("[aria-live]").text
    assert len(browser.all(".buffer.chosen")) == 1


def test_what_was_left_undone_has_a_reason(browser: Browser, report: Path) -> None:
    browser.open(report, "tab=undone")
    shown = browser.one(".page").text
    for title in ("Not fused", "Not rewritten", "Not vectorized", "Not parallelized"):
        assert title in shown
    assert "too little to cut" in shown
    assert "recurrent" in browser.texts("[aria-label='not fused'] td:nth-last-child(2)")


def test_without_a_measurement_the_page_says_how_to_get_one(browser: Browser, report: Path) -> None:
    browser.open(report, "tab=profile")
    assert "program.profile(" in browser.one(".page").text


def test_a_measurement_becomes_a_roofline_and_a_table_that_leads_to_kernels(
    browser: Browser, folder: Path, program: gx.Program
) -> None:
    path = folder / "measured.html"
    profile = program.profile(np.ones((4, 8), "float32"), repeat=3)
    program.report(path, profile=profile)
    browser.open(path, "tab=profile")
    assert not [text for text in browser.texts(".card") if "NaN" in text or "undefined" in text]
    computed = [s for s in profile.steps if s.is_leaf and s.flops_per_second]
    assert len(browser.all(".spot")) == len(computed) > 3
    assert any("GFLOP/s" in text for text in browser.texts(".chart .title"))
    first = "[aria-label='Measured kernels'] tbody td:first-child"
    # The longest first, until a click on a column's title sorts by it.
    longest = sorted((s for s in profile.steps if s.is_leaf), key=lambda s: -s.elapsed)
    assert browser.texts(first) == [step.name for step in longest]
    browser.one("th button", "kernel").click()
    assert browser.texts(first) == sorted(step.name for step in longest)
    browser.one("th button", "time").click()
    browser.one("[aria-label='Measured kernels'] tbody button").click()
    assert browser.one(".kernel h2").text == longest[0].name
    assert browser.one('.list [aria-current="true"] .count').text.endswith(("ns", "µs", "ms"))


def test_search_finds_nodes_lines_kernels_and_rules(browser: Browser, report: Path) -> None:
    browser.open(report, "tab=stages")
    browser.press("/")
    browser.press("relu hidden")
    assert browser.one("#hits .hit", "test_report_page.py").text.startswith("node")
    browser.press(ENTER)
    browser.wait(lambda: "node=" in browser.place)
    assert browser.one(".box.chosen")
    browser.press("/")
    browser.press("equal nodes")
    assert browser.one("#hits .hit", "equal nodes")
    browser.press(ESCAPE)
    browser.press("/")
    browser.press("no such thing")
    assert "Nothing found" in browser.one("#hits").text


def test_back_leads_to_where_one_was(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.one("#tabs button", "Memory").click()
    browser.one("#tabs button", "Kernels").click()
    browser.driver.back()
    browser.wait(lambda: browser.all(".chart"))
    assert browser.one('#tabs [aria-selected="true"]').text == "Memory"


def test_light_and_dark(browser: Browser, report: Path) -> None:
    browser.open(report)
    ground = "return getComputedStyle(document.body).backgroundColor"
    first = browser.js(ground)
    browser.one("#theme").click()
    assert browser.js(ground) != first


def test_the_documentations_picture_can_be_taken(browser: Browser, tmp_path: Path) -> None:
    from docs import photograph_report

    photograph_report.main(tmp_path)
    header = (tmp_path / "report.png").read_bytes()[:24]
    assert struct.unpack(">II", header[16:24]) == (photograph_report.WIDTH, photograph_report.HEIGHT)


def test_help_lists_the_keys(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.press("?")
    assert "search" in browser.one("dialog[open]").text


def test_five_thousand_nodes_open_and_are_searched_quickly(browser: Browser, tmp_path: Path) -> None:
    # One test, so that only one process builds the graph.
    h = x = gx.placeholder("x", shape=("n",))
    for _ in range(2500):
        h = gx.sin(h) + h
    deep = tmp_path / "deep.html"
    gx.compile(x, h, name="deep").report(deep)
    assert deep.stat().st_size < 2_000_000
    started = time.monotonic()
    browser.open(deep, "tab=stages")
    assert time.monotonic() - started < 5
    # Never all at once: a few parts, and few nodes in each.
    assert 1 < len(browser.all(".box")) < 100
    browser.open_box("part 1 of 36")
    browser.wait(lambda: len(browser.texts(".crumbs button")) == 1)
    assert 1 < len(browser.all(".box")) < 100

    search = (
        "const at = performance.now(); const field = document.getElementById('search');"
        "field.value = arguments[0]; field.dispatchEvent(new Event('input')); return performance.now() - at"
    )
    browser.press("/")
    assert browser.js(search, "sin float32") < 500
    assert len(browser.all("#hits .hit")) > 10
    assert browser.js(search, "nothing has this name") < 500
    browser.js(search, "sin float32")
    browser.press(DOWN, DOWN, ENTER)
    browser.wait(lambda: "node=" in browser.place)
    assert browser.one(".box.chosen")
    assert len(browser.texts(".crumbs button")) > 0
