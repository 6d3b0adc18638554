"""`Program.profile`: every step is timed, and nothing else changes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cutting import everything_cut

import graphc as gx
from graphc.errors import ArgumentError, CheckError, FeedError, GraphError
from graphc.inspection import machine
from graphc.inspection.machine import Machine
from graphc.inspection.profile import Profile, ProfiledStep, Span
from graphc.runtime import recorder
from graphc.runtime.probe_llvm import probe
from graphc.runtime.rehearsal import rehearsed

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(4)
MACHINE = Machine(2, {"float32": 4e11, "float64": 2e11}, ((16_384, 2e11), (1 << 26, 5e10)))


@pytest.fixture(autouse=True)
def known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring the machine takes a second; one test does."""
    monkeypatch.setattr(machine, "measure", lambda threads: replace(MACHINE, threads=threads))


def _values(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def trained() -> tuple[gx.Program, gx.Variable, Array]:
    """A step of training with several kernels: the program, a weight, a feed."""
    w = gx.variable(_values(6, 5), name="w")
    x = gx.placeholder("x", ("rows", 6))
    loss = (gx.softmax(x @ w, axis=1) ** 2).mean()
    return gx.compile(x, loss, updates={w: w - 0.1 * gx.grad(loss, [w])[0]}), w, _values(7, 6)


@pytest.fixture(scope="module")
def scanned() -> gx.Program:
    """A loop whose body has kernels of its own, behind a kernel outside of it."""
    rows, start = gx.placeholder("rows", ("n", 4, 4)), gx.placeholder("start", (4, 4))

    def body(carry: gx.Tensor, row: gx.Tensor) -> tuple[gx.Tensor, gx.Tensor]:
        following = gx.tanh(carry @ row)
        return following, following.sum()

    last, sums = gx.scan(body, gx.softmax(start, axis=1), rows)
    return gx.compile([rows, start], [last, sums])


def _leaves(profile: Profile) -> list[ProfiledStep]:
    return [step for step in profile.steps if step.is_leaf]


# ------------------------------------------------------------------ what it says
def test_every_kernel_is_timed_once(trained: tuple[gx.Program, gx.Variable, Array]) -> None:
    program, _, feed = trained
    profile = program.profile(feed, repeat=5)
    assert [s.kernel for s in profile.steps] == list(range(len(program.kernels)))
    assert [s.name for s in profile.steps] == [k.name for k in program.kernels]
    assert all(s.executions == 1 and s.threads == 1 and s.inside is None for s in profile.steps)
    assert all(0 < s.least <= s.mean * (1 + 1e-9) for s in profile.steps)
    assert all(s.elapsed == pytest.approx(s.seconds) for s in profile.steps)
    assert all("test_profile.py:" in place for s in profile.steps for place in s.where)
    assert (profile.calls, profile.sizes, profile.dropped) == (5, {"rows": 7}, 0)


def test_times_add_up_to_the_call(trained: tuple[gx.Program, gx.Variable, Array]) -> None:
    program, _, feed = trained
    profile = program.profile(feed)
    working = sum(s.elapsed for s in profile.steps)
    parts = working - profile.overlap + profile.between + profile.around
    assert parts == pytest.approx(profile.seconds, rel=1e-6)
    assert min(profile.between, profile.around) >= 0 and profile.overlap == pytest.approx(0, abs=1e-9)
    assert profile.fastest <= profile.seconds and profile.overhead < 100
    assert all(-1e-6 <= s.begin <= s.end <= profile.seconds + 1e-6 for s in profile.spans)
    assert [s.step for s in profile.spans] == sorted(s.step for s in profile.spans)


def test_work_and_roof_belong_to_one_call() -> None:
    x = gx.placeholder("x", ("n", "n"))
    (step,) = gx.compile(x, gx.relu(x @ x)).profile(_values(16, 16), repeat=1).steps
    assert (step.flops, step.read, step.written) == ({"float32": 2 * 16**3 + 256}, 1024, 1024)
    assert step.roof == pytest.approx(max(8448 / 4e11, 2048 / 2e11))
    assert step.flops_per_second == 8448 / step.elapsed
    assert step.bytes_per_second == 2048 / step.elapsed
    assert step.share_of_roof == pytest.approx(step.roof / step.elapsed)


def test_several_stages_are_one_step() -> None:
    x = gx.placeholder("x", ("n",))
    profile = gx.compile(x, (x * x).sum()).profile(np.ones(1 << 17, np.float32), repeat=2)
    (step,) = profile.steps
    assert step.executions == 1 and {s.stage for s in profile.spans} == {0, 1}


def test_callbacks_are_timed_and_called() -> None:
    calls = []
    op = gx.custom_op("mine", lambda t: t, lambda v: (calls.append(1), v + 1)[1])
    x = gx.placeholder("x", (3,))
    profile = gx.compile(x, op(x * 2)).profile(np.ones(3, np.float32), repeat=1)
    (callback,) = (s for s in profile.steps if s.kind == "callback")
    assert callback.name == "mine" and callback.executions == 1 and callback.roof is None and len(calls) > 1


# ------------------------------------------------------------- loops and branches
def test_steps_in_loops_are_counted(scanned: gx.Program) -> None:
    profile = scanned.profile(_values(9, 4, 4), _values(4, 4), repeat=2)
    (loop,) = (k for k, s in enumerate(profile.steps) if s.kind == "loop")
    inner = [s for s in profile.steps if s.inside == loop]
    assert inner and all(s.executions == 9 and s.is_leaf for s in inner)
    assert profile.steps[loop].executions == 1 and profile.steps[loop].kernel is None
    assert sum(s.elapsed for s in inner) <= profile.steps[loop].elapsed
    (product,) = (s for s in inner if "matmul" in s.name)
    assert product.flops is not None and product.flops["float32"] > 9 * 2 * 4**3
    assert set(profile.steps[loop].where) >= set(product.where)
    assert {s.inside for s in profile.steps} == {None, loop}


def test_long_loops_take_bounded_memory(scanned: gx.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "SPANS", 64)
    monkeypatch.setattr(recorder, "FEWEST", 8)
    profile = scanned.profile(_values(500, 4, 4), _values(4, 4), repeat=1)
    assert {s.executions for s in profile.steps if s.inside is not None} == {500}
    assert len(profile.spans) <= 64 + 8 * len(profile.steps) and profile.dropped > 500
    assert "spans were counted and not kept" in profile.table()
    assert profile.between >= 0 and profile.overlap >= 0


def test_branches_not_taken_do_not_run() -> None:
    x, which = gx.placeholder("x", (8, 8)), gx.placeholder("which", (), "bool")
    chosen = gx.cond(which, lambda v: gx.softmax(v, axis=1), lambda v: v @ v, x)
    program = gx.compile([x, which], chosen)
    for taken in (True, False):
        profile = program.profile(_values(8, 8), taken, repeat=1)
        ran = {s.name: s.executions for s in _leaves(profile)}
        (product,) = (n for name, n in ran.items() if "matmul" in name)
        (softmax,) = (n for name, n in ran.items() if "exp" in name)
        assert (softmax, product) == ((1, 0) if taken else (0, 1))
        assert [s.executions for s in profile.steps if s.kind == "branch"] == [1]


# ---------------------------------------------------------------------- threads
def test_blocks_of_several_threads_are_all_there() -> None:
    x = gx.placeholder("x", ("n", 32))
    program = gx.compile(x, [gx.softmax(x, axis=1), x.sum(axis=0)])
    feed = _values(512, 32)
    with everything_cut(2):
        profile = program.profile(feed, repeat=20)
    assert profile.threads == 2
    for number, step in enumerate(profile.steps):
        assert step.executions == 1 and step.threads in (1, 2)
        for stage in {s.stage for s in profile.spans if s.step == number}:
            blocks = [s.block for s in profile.spans if (s.step, s.stage) == (number, stage)]
            assert sorted(blocks) == list(range(len(blocks)))
        assert step.elapsed <= step.seconds * 1.0001 + profile.seconds
    assert max(s.block for s in profile.spans) > 0


def test_loops_run_by_helpers_are_timed_too(scanned: gx.Program) -> None:
    feeds = _values(6, 4, 4), _values(4, 4)
    expected = scanned(*feeds)
    with everything_cut(2):
        profile = scanned.profile(*feeds, repeat=3)
        found = scanned(*feeds)
    assert {s.executions for s in profile.steps if s.inside is not None} == {6}
    assert [s.executions for s in profile.steps if s.kind == "loop"] == [1]
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_threads_call_the_program_meanwhile(scanned: gx.Program) -> None:
    feeds, longer = (_values(6, 4, 4), _values(4, 4)), (_values(40, 4, 4), _values(4, 4))
    expected, done, wrong = scanned(*longer), threading.Event(), []

    def call() -> None:
        while not done.is_set():
            wrong.extend(k for k, a in enumerate(scanned(*longer)) if a.tobytes() != expected[k].tobytes())

    other = threading.Thread(target=call)
    other.start()
    profiles = [scanned.profile(*feeds, repeat=2) for _ in range(5)]
    done.set()
    other.join()
    assert not wrong
    assert {s.executions for p in profiles for s in p.steps if s.inside is not None} == {6}


def test_loaded_programs_can_be_profiled(
    trained: tuple[gx.Program, gx.Variable, Array], tmp_path: Path
) -> None:
    program, _, feed = trained
    program.save(tmp_path / "step.gxc")
    loaded = gx.load(tmp_path / "step.gxc", trust=True)
    found, expected = loaded.profile(feed, repeat=1), program.profile(feed, repeat=1)
    assert [(s.name, s.where, s.flops) for s in found.steps] == [
        (s.name, s.where, s.flops) for s in expected.steps
    ]


# ------------------------------------------------------------- what it leaves alone
def test_variables_keep_their_values(trained: tuple[gx.Program, gx.Variable, Array]) -> None:
    program, w, feed = trained
    before = w.value.copy()
    program.profile(feed, repeat=3)
    np.testing.assert_array_equal(w.value, before)
    loss = program(feed)
    after = w.value.copy()
    assert (after != before).any()
    w.assign(before)
    np.testing.assert_array_equal(program(feed), loss)
    np.testing.assert_array_equal(w.value, after)


def test_programs_hear_that_a_variable_has_its_former_value() -> None:
    weights = gx.variable(_values(24, 8, 3, 3), name="weights")
    x = gx.placeholder("x", ("n", 8, 9, 9))
    out = gx.conv2d(x, weights, stride=2, padding=1)
    # Keeps packed weights, which the other program changes.
    predict, train = gx.compile(x, out), gx.compile(x, out.sum(), updates={weights: weights * 2})
    feed = _values(2, 8, 9, 9)
    expected = predict(feed)
    assert predict.memory.kept
    train.profile(feed, repeat=2)
    np.testing.assert_array_equal(predict(feed), expected)


def test_ordinary_plans_have_no_probes(trained: tuple[gx.Program, gx.Variable, Array]) -> None:
    program, _, feed = trained
    program(feed)
    plans = dict(program._plans)
    program.profile(feed, repeat=1)
    assert program._plans == plans and all(program._plans[key] is plan for key, plan in plans.items())
    assert all(probe() not in list(plan.words) for plan in plans.values())


def test_timed_calls_compute_the_same() -> None:
    seen: list[Array] = []
    op = gx.custom_op("seen", lambda t: t, lambda v: (seen.append(v.copy()), v)[1])
    x = gx.placeholder("x", ("n", 8))
    program = gx.compile(x, op(gx.softmax(x @ x.T, axis=1) @ x))
    feed = _values(33, 8)
    program.profile(feed, repeat=2)
    assert len(seen) >= 5 and all(a.tobytes() == seen[0].tobytes() for a in seen)


def test_a_failing_check_is_raised_and_leaves_all_as_it_was() -> None:
    v = gx.variable(np.ones(2, np.float32), name="v")
    i = gx.placeholder("i", ("n",), "int64")
    program = gx.compile(i, gx.take(v, i), updates={v: v + 1})
    with pytest.raises(CheckError, match="out of range"):
        program.profile(np.array([0, 7]))
    np.testing.assert_array_equal(v.value, 1)
    np.testing.assert_array_equal(program(np.array([1])), 1)


def test_feeds_are_checked() -> None:
    x = gx.placeholder("x", (4,))
    program = gx.compile(x, x + 1, name="adds")
    with pytest.raises(FeedError, match="adds: feed of placeholder 'x' does not fit"):
        program.profile(np.ones(3, np.float32))
    with pytest.raises(FeedError, match="unknown input 'y'"):
        program.profile(y=np.ones(4, np.float32))
    assert program.profile(x=[1, 2, 3, 4], repeat=1).calls == 1


@pytest.mark.parametrize("repeat", [0, -1, 2.0, True, "3"])
def test_repeat_is_checked(repeat: Any) -> None:
    x = gx.placeholder("x", (4,))
    with pytest.raises(ArgumentError, match="profile: not a number of calls"):
        gx.compile(x, x + 1).profile(np.ones(4, np.float32), repeat=repeat)


def test_threads_must_not_change_meanwhile() -> None:
    x = gx.placeholder("x", (4,))
    program = gx.compile(x, x + 1, name="adds")
    before = gx.get_num_threads()

    try:
        with (
            pytest.raises(GraphError, match="adds: the number of threads changed meanwhile"),
            rehearsed(program, (np.ones(4, np.float32),)) as subject,
        ):
            gx.set_num_threads(before + 1)
            subject.run(subject.timed)
    finally:
        gx.set_num_threads(before)


# ------------------------------------------------------------------ how it is shown
@pytest.fixture
def shown() -> Iterator[Profile]:
    """A profile with round numbers."""
    kernels = [
        ProfiledStep(
            *("matmul_relu", "kernel", ("net.py:12", "net.py:3"), 0, None, 1, 2, 60e-6, 110e-6, 1e-4, 9e-5),
            *({"float32": 12_000_000}, 30_000, 30_000, 30e-6),
            scopes=("encoder", "optimizer"),
        ),
        ProfiledStep("loop", "loop", ("net.py:7",), None, None, 1, 1, 25e-6, 25e-6, 25e-6, 25e-6),
        ProfiledStep("sort<a>", "kernel", ("net.py:7",), 1, 1, 8, 1, 20e-6, 20e-6, 2e-5, 2e-5, None, 800),
        ProfiledStep("never", "kernel", ("net.py:8",), 2, None, 0, 0, 0.0, 0.0, 0.0, 0.0, {}, 0, 0, 0.0),
    ]
    spans = (Span(0, 0, 0, 0, 5e-6, 65e-6), Span(0, 0, 1, 1, 6e-6, 56e-6), Span(1, 0, 0, 0, 66e-6, 91e-6))
    yield Profile(
        *("step", {"batch": 64}, 2, 9, 100e-6, 75e-6, 60e-6, 14e-6, 7e-6, 1e-6),
        *(tuple(kernels), spans, 3, MACHINE),
    )


def test_table(shown: Profile, golden: Any) -> None:
    golden("profile_table", shown.table())
    assert str(shown) == shown.table()


def test_html_escapes_names(shown: Profile) -> None:
    text = shown._repr_html_()
    assert "sort&lt;a&gt;" in text and "sort<a>" not in text
    assert text.count("<tr>") == 1 + 2 + 4 and "never" not in text


def test_json_has_everything(shown: Profile) -> None:
    found = json.loads(shown.to_json())
    assert found == json.loads(json.dumps(shown.as_dict()))
    assert found["steps"][0]["flops_per_second"] == pytest.approx(2e11)
    assert found["steps"][0]["share_of_roof"] == pytest.approx(0.5)
    assert found["steps"][2]["flops"] is None and found["steps"][3]["share_of_roof"] is None
    assert found["spans"][1] == [0, 0, 1, 1, 6e-6, 56e-6] and found["overhead"] == pytest.approx(1.25)


def test_chrome_trace(shown: Profile, tmp_path: Path) -> None:
    shown.to_chrome_trace(tmp_path / "trace.json")
    found = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))
    slices = [e for e in found["traceEvents"] if e["ph"] == "X"]
    assert [(e["name"], e["tid"]) for e in slices] == [
        ("call of step", 0),
        ("matmul_relu", 0),
        ("matmul_relu", 1),
        ("loop", 0),
    ]
    assert slices[2]["ts"] == pytest.approx(6.0) and slices[2]["dur"] == pytest.approx(50.0)
    names = {(e["name"], e["tid"]): e["args"]["name"] for e in found["traceEvents"] if e["ph"] == "M"}
    assert names["thread_name", 0] == "calling thread" and names["thread_name", 1] == "helper 1"


def test_the_machine_can_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(machine, "RUNGS", (1 << 14, 1 << 17))
    found = machine.measure.__wrapped__(1)
    assert found.flops["float32"] > found.flops["float64"] * 1.2 > 1e8
    assert found.seconds({"float32": 1e9}, 0) == pytest.approx(1e9 / found.flops["float32"])
