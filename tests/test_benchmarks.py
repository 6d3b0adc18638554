"""The benchmarks' own machinery, on workloads of no size: nothing is timed here."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
from collections.abc import Callable

import numpy as np
import pytest

import graphc as gx
from benchmarks import __main__ as command
from benchmarks import (
    compile_scaling,
    counting,
    loop_lengths,
    memory,
    peers,
    recomputation,
    report,
    sections,
    server,
    startup,
    steps,
    varying,
)
from benchmarks.agreement import DisagreementError, require_close, require_equal
from benchmarks.children import FailedError
from benchmarks.host import Host
from benchmarks.peers import graphc_compiled
from benchmarks.tables import Table
from benchmarks.vocabulary import UnsupportedError, Vocabulary
from benchmarks.workload import Forward, Momentum, Training, Workload
from benchmarks.workloads import (
    FAMILIES,
    WORKLOADS,
    convolutions,
    curvature,
    elementwise,
    loops,
    networks,
    products,
    resnet,
    rows,
    select,
    sequence,
    vae,
)
from graphc.inspection import machine as peaks

SMALL = {
    "elementwise": elementwise.workload(5, 7),
    **rows.workloads(6, 5),
    "mlp": networks.perceptron("MLP", (7, 6, 5, 4), 3),
    "lenet": WORKLOADS["lenet"].resized(2),
    "lstm": sequence.language_model(sequence.LSTM, 2, 3, 7, 4, 5),
    "gru": sequence.language_model(sequence.GRU, 2, 3, 7, 4, 5),
    "attention": sequence.attention_block(2, 3, 4),
    "vae": vae.autoencoder(3, 6, 5, 2),
    "logistic": loops.recurrence("map", loops.logistic, "xr", (), 7),
    "logistic_array": loops.recurrence("map", loops.logistic, "xr", (1,), 7),
    "squashed": loops.recurrence("map", loops.squashed, "xab", (), 7),
    **loops.equation(3, 4, 7, {"ode": None, "ode_states": 1, "ode_every_3": 3}),
    "repeated_layer": loops.repeated_layer(4, 7),
    "resnet_1": resnet.inference(1, 32, ((4, 1), (6, 2)), 3),
    "resnet_training": resnet.training(3, 8, ((4, 1), (6, 2)), 3),
    "product": products.product(5),
    "hessian": curvature.hessian(7, 3),
    "newton": curvature.newton(20, 3),
    **convolutions.workloads("conv", convolutions.Shape(3, 7, 4, 3, 2), 2),
}
RECURRENCES = ("logistic", "logistic_array", "squashed", "squashed_array")


class Local:
    """A host in this process, called as one in another."""

    def __init__(self, name: str) -> None:
        self.host = Host(name)

    def call(self, method: str, *arguments: object) -> object:
        return getattr(self.host, method)(*arguments)


class Fake:
    """A framework that answers what it is told to."""

    def __init__(self, **answers: object) -> None:
        self.answers = {"build": None, "calibrate": None, "turn": (1.0, 2.0), "drop": None, **answers}

    def call(self, method: str, *arguments: object) -> object:
        answer = self.answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put small workloads in the place of those of the same names."""
    for name, workload in SMALL.items():
        monkeypatch.setitem(WORKLOADS, name, workload)


def results(value: float) -> list[list[np.ndarray]]:
    return [[np.full(3, value, np.float32)]] * 2


# ------------------------------------------------------------------- workloads
@pytest.mark.parametrize("name", SMALL)
def test_graphc_computes_what_the_interpreter_does(name: str) -> None:
    workload = SMALL[name]
    runner = graphc_compiled.PEER.build(workload, False)
    found = runner.arrays(runner.step(runner.prepare(workload.feed())))
    require_equal(name, found, "the interpreter", graphc_compiled.reference(workload), workload.tolerance)


@pytest.mark.parametrize("name", [name for name, workload in SMALL.items() if workload.training])
def test_a_runner_starts_over(name: str) -> None:
    workload = SMALL[name]
    runner = graphc_compiled.PEER.build(workload, False)
    feed = runner.prepare(workload.feed())
    losses = [float(runner.step(feed)[0]) for _ in range(3)]
    assert len(set(losses)) == 3
    runner.reset()
    assert [float(runner.step(feed)[0]) for _ in range(3)] == losses


def test_graphc_compiles_once_for_all_batches(small: None) -> None:
    first, again, compilations = Host("graphc").varying("mlp", [3, 1, 2])
    assert (len(first), len(again), compilations) == (3, 3, 1)


def test_workloads_draw_the_same_at_every_call_and_other_values_by_name() -> None:
    workload = WORKLOADS["tiny"]
    once, twice = workload.first_weights(), workload.first_weights()
    assert all((once[name] == twice[name]).all() for name in once)
    assert not (once["1.bias"] == once["2.bias"]).any()
    assert {name: a.dtype for name, a in SMALL["mlp"].feed().items()} == {"x": "float32", "y": "int64"}


def test_select_takes_families_and_keeps_the_order() -> None:
    assert select(["resnet", "tiny"]) == ["tiny", *FAMILIES["resnet"]]
    assert select(list(FAMILIES)) == list(WORKLOADS)


def test_a_word_that_a_peer_lacks_is_unsupported() -> None:
    words = [name for name in vars(Vocabulary) if not name.startswith("_")]
    for name in words:
        method = getattr(Vocabulary(), name)
        if callable(method):
            arguments = method.__func__.__code__.co_argcount - 1 - len(method.__func__.__defaults__ or ())
            with pytest.raises(UnsupportedError, match="no "):
                method(*range(arguments))


# -------------------------------------------------------------------- counting
def test_flops_of_a_dense_net_count_both_gradients_but_not_the_input_s() -> None:
    sizes, batch = (7, 6, 5, 4), 3
    pairs = list(itertools.pairwise(sizes))
    forward = sum(2 * batch * a * b for a, b in pairs)
    cost = counting.cost_of(networks.perceptron("MLP", sizes, batch))
    assert cost.flops == 3 * forward - 2 * batch * 7 * 6
    held = 4 * sum(a * b + b for a, b in pairs)
    # Adam reads and writes three arrays of the weights' size.
    assert cost.nbytes == 6 * held + 4 * batch * 7 + 8 * batch


def test_momentum_moves_less_memory_than_adam() -> None:
    adam = SMALL["mlp"]
    momentum = dataclasses.replace(adam, task=Training(Momentum()))
    assert counting.cost_of(momentum).nbytes < counting.cost_of(adam).nbytes


def test_a_gradient_alone_does_not_cost_the_value() -> None:
    forward, image, weight = (
        counting.cost_of(SMALL[f"conv_{kind}"]) for kind in ("forward", "image", "weight")
    )
    assert forward.flops == image.flops == weight.flops == 2 * (2 * 4 * 4 * 4) * (3 * 3 * 3)


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_has_a_cost(name: str) -> None:
    cost = counting.cost_of(WORKLOADS[name])
    assert cost.nbytes > 0
    uncounted = {*FAMILIES["elementwise"], *FAMILIES["rows"], *curvature.WORKLOADS, *RECURRENCES}
    assert (cost.flops > 0) == (name not in uncounted)


def test_flops_of_a_loop_are_those_of_its_iterations() -> None:
    forward = 7 * 4 * (2 * 3 * 4 * 4)
    assert counting.cost_of(dataclasses.replace(SMALL["ode"], task=Forward())).flops == forward
    # Two more products of the same size, as every state but the first depends on the matrix.
    assert counting.cost_of(SMALL["ode"]).flops == 3 * forward


def test_published_numbers_of_multiplications() -> None:
    # 1.8e9 multiplications for ResNet-18 on 224x224, in He et al. (2016), table 1.
    assert counting.cost_of(WORKLOADS["resnet_1"]).flops == pytest.approx(2 * 1.8e9, rel=0.02)


# ------------------------------------------------------------------- agreement
def test_agreement_takes_rounding_and_nothing_else() -> None:
    require_close("a", 1.0, "b", 1.00001)
    require_equal("a", [np.float32([1e-9, 100])], "b", [np.float32([0, 100])], 1e-4)
    for value in (1.1, float("nan")):
        with pytest.raises(DisagreementError, match="a: loss"):
            require_close("a", value, "b", 1.0)
        with pytest.raises(DisagreementError, match="result 0"):
            require_equal("a", [np.float32([value])], "b", [np.float32([1])], 1e-4)
    with pytest.raises(DisagreementError, match="is \\[1\\], b: \\[2\\]"):
        require_equal("a", [np.zeros(1)], "b", [np.zeros(2)], 1e-4)


# ----------------------------------------------------------------------- steps
def test_run_checks_and_times(small: None) -> None:
    line = steps.run("mlp", WORKLOADS["mlp"], {"graphc": Local("graphc")}, 2)
    assert not line.failures and not line.disagreements
    assert len(line.timings["graphc"].rounds) == 2
    assert 0 < line.timings["graphc"].fastest <= line.timings["graphc"].median


def test_whoever_differs_or_fails_is_left_out_and_named() -> None:
    big = WORKLOADS["product_2048"]
    served = {
        "graphc": Fake(results=results(1.0)),
        "torch": Fake(results=results(1.00001), turn=(2.0, 4.0)),
        "jax": Fake(results=results(2.0)),
        "pytensor": Fake(build=UnsupportedError("no product")),
        "tensorflow": Fake(results=FailedError("out of memory")),
        "onnxruntime": Fake(results=results(1.0), turn=FailedError("crash")),
    }
    line = steps.run("product_2048", big, served, 3)
    assert list(line.timings) == ["graphc", "torch"]
    assert line.timings["torch"].ratios(line.timings["graphc"]) == [2.0, 2.0, 2.0]
    assert line.absent == {"pytensor": "no product"}
    assert line.failures == {"tensorflow": "out of memory", "onnxruntime": "crash"}
    assert list(line.disagreements) == ["jax"]


def test_the_interpreter_is_asked_when_that_is_quick() -> None:
    wrong = Fake(results=results(1.0), reference=[np.zeros(3)])
    line = steps.run("mlp", SMALL["mlp"], {"graphc": wrong}, 1)
    assert list(line.disagreements) == ["graphc"] and not line.timings


def test_all_take_turns_and_each_is_first_in_some_round() -> None:
    asked: list[str] = []

    class Noting(Fake):
        def call(self, method: str, *arguments: object) -> object:
            if method == "turn":
                asked.append(self.answers["name"])
            return super().call(method, *arguments)

    served = {name: Noting(name=name, results=results(1.0)) for name in "abc"}
    steps.run("product_2048", WORKLOADS["product_2048"], served, 3)
    assert asked == list("abcbcacab")


# --------------------------------------------------------------------- servers
def test_a_server_answers_and_survives_what_fails() -> None:
    remote = server.Remote("graphc")
    try:
        with pytest.raises(FailedError, match="KeyError"):
            remote.call("build", "no such workload")
        remote.call("build", "tiny")
        found = remote.call("results")
        assert len(found) == 5 and found[0][0].shape == ()
    finally:
        remote.close()


def test_a_server_that_ends_begins_anew() -> None:
    remote = server.Remote("graphc")
    try:
        remote.call("drop")
        remote.process.kill()
        with pytest.raises(FailedError, match="ended with"):
            remote.call("drop")
        assert remote.call("drop") is None
    finally:
        remote.close()


def test_a_server_that_never_starts_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    remote = server.Remote("no such framework")
    with pytest.raises(FailedError, match="no such framework"):
        remote.call("drop")
    with pytest.raises(UnsupportedError, match="does not start"):
        remote.call("drop")
    remote.close()


# ---------------------------------------------------------------------- tables
def test_tables_name_the_absent_and_show_ratios() -> None:
    line = steps.Line(
        {"graphc": steps.Timing(((1e-3,), (1e-3,))), "torch": steps.Timing(((2e-3,), (2e-3,)))},
        absent={"onnxruntime": "inference only"},
    )
    table = sections.family_table("networks", {"mlp": line})
    assert [row[:5] for row in table.rows] == [
        ("MLP 784-512-512-10, batch 128", "graphc", "1 ms", "1 ms", ""),
        ("", "torch, eager", "2 ms", "2 ms", "2.00"),
    ]
    assert table.notes == ["ONNX Runtime: inference only (mlp)"]
    assert sections.summary({"mlp": line}).rows == [("MLP 784-512-512-10, batch 128", "1 ms", "2.00", "2.00")]


def test_markdown_and_text_carry_the_notes() -> None:
    table = Table("t", ("a", "b", "c"), [("1", "2", "3")], left=2, notes=["who is absent"])
    assert table.markdown().splitlines()[3:] == ["|---|---|---:|", "| 1 | 2 | 3 |", "", "who is absent"]
    assert table.text().splitlines()[-1] == "  who is absent"


# ---------------------------------------------------------------------- machine
def test_peaks_are_plausible() -> None:
    assert 1e8 < peaks.flops_per_second(1) < 1e13
    assert peaks.copy_seconds(1 << 20, 1) > 0


# --------------------------------------------------------------------- children
def test_a_start_is_cold_then_warm(small: None) -> None:
    found, absent = startup.measure({"graphc": sys.executable, "onnxruntime": sys.executable}, "tiny", 1)
    assert {kind: len(starts) for kind, starts in found["graphc"].items()} == {"cold": 1, "warm": 1}
    assert list(absent) == ["onnxruntime"]


def test_memory_is_measured_of_workloads_that_exist() -> None:
    assert {*report.STARTED, *report.HELD} <= set(WORKLOADS)


@pytest.mark.skipif(not memory.available(), reason="needs /proc")
def test_memory_of_a_step() -> None:
    found = memory.measure(sys.executable, "graphc", "tiny")
    assert 0 < found.own < found.peak


# --------------------------------------------------------------------- lengths
def _answering(seconds: dict[int, float], **wrong: float) -> Callable[[str, str, int], dict[str, object]]:
    def ask(python: str, name: str, length: int) -> dict[str, object]:
        if name == "pytensor":
            raise UnsupportedError("does not start")
        workload = loops.repeated_layer(loop_lengths.WIDTH, length)
        values = [a + wrong.get(name, 0.0) for a in graphc_compiled.reference(workload)]
        return {"seconds": seconds[length], "values": [a.tolist() for a in values]}

    return ask


def test_lengths_are_compared_with_the_shortest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lengths, "_ask", _answering({2: 0.5, 6: 0.75}))
    asked = dict.fromkeys(("graphc", "torch", "jax", "pytensor"), sys.executable)
    found, absent = loop_lengths.measure(asked, (2, 6), 2)
    assert found["graphc"].seconds == {2: [0.5, 0.5], 6: [0.75, 0.75]} and found["graphc"].factor == 1.5
    assert list(found) == ["graphc", "jax"] and absent == {"pytensor": "does not start"}
    assert loop_lengths.table_of(found).rows[1] == ("jax.jit", "500 ms", "750 ms", "1.50")


@pytest.mark.parametrize(("wrong", "other"), [("graphc", "the interpreter"), ("jax", "graphc")])
def test_lengths_of_loops_that_differ_are_not_reported(
    monkeypatch: pytest.MonkeyPatch, wrong: str, other: str
) -> None:
    monkeypatch.setattr(loop_lengths, "_ask", _answering({2: 0.5, 6: 0.75}, **{wrong: 0.1}))
    asked = dict.fromkeys(("graphc", "jax"), sys.executable)
    with pytest.raises(DisagreementError, match=wrong):
        loop_lengths.measure(asked, (2, 6) if wrong == "graphc" else (6, 2), 1)


def test_a_loop_is_compiled_in_a_process_of_its_own() -> None:
    found, absent = loop_lengths.measure({"graphc": sys.executable}, (2, 3), 1)
    assert not absent and all(samples[0] > 0 for samples in found["graphc"].seconds.values())


@pytest.mark.parametrize(("longest", "code"), [(0.75, 0), (1.25, 1)])
def test_a_loop_whose_length_matters_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path, longest: float, code: int
) -> None:
    grown = loop_lengths.Grown({10: [0.5], 1000: [longest]})
    monkeypatch.setattr(loop_lengths, "measure", lambda *arguments: ({"graphc": grown}, {}))
    monkeypatch.setattr(peers, "installed", lambda name, python: name == "graphc")
    written = tmp_path / "figures.json"
    assert command.main(["--sections", "lengths", "--json", str(written)]) == code
    assert json.loads(written.read_text())["lengths"] == {"graphc": {"10": [0.5], "1000": [longest]}}


# ----------------------------------------------------------------- command line
def test_the_command_prints_tables_and_writes_figures(
    small: None, tmp_path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "Remote", lambda name, python, host: _closing(name))
    monkeypatch.setattr(varying, "BATCHES", 3)
    monkeypatch.setattr(peers, "installed", lambda name, python: name == "graphc")
    arguments = ["--sections", "steps", "varying", "--workloads", "mlp", "vae", "--peers", "torch"]
    assert command.main([*arguments, "--repeat", "1", "--json", str(tmp_path / "figures.json")]) == 0
    printed = capsys.readouterr().out
    assert "torch: not installed, left out" in printed
    assert "x graphc" in printed and "compilations" in printed and "Summary" in printed
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert set(figures["steps"]) == {"mlp", "vae"} and figures["varying"]["graphc"]["compilations"] == 1
    assert figures["machine"]["graphc"] == gx.__version__


def _closing(name: str) -> Local:
    local = Local(name)
    local.close = lambda: None
    return local


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repeat", "0"], "at least one round"),
        (["--python", "nobody=python"], "is not PEER=FILE"),
        (["--python", "torch=/no/such/file"], "is no program"),
        (["--threads", "100000"], "--threads"),
    ],
)
def test_bad_options(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert message in capsys.readouterr().err


# The others are compiled in the blink of an eye.
COMPILED = {"torch_compile": ("mlp",), "pytensor": ("mlp", "softmax_gradient")}


# What frameworks warn of is theirs.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [n for n in peers.PEERS if n != "graphc"])
def test_peers_agree_with_graphc(name: str) -> None:
    if not peers.installed(name):
        pytest.skip(f"{name} is not installed")
    peer = peers.load(name)
    taken = 0
    for key in COMPILED.get(name, SMALL):
        try:
            _require_same_steps(key, SMALL[key], peer)
            taken += 1
        except UnsupportedError:
            continue
    assert taken


def _require_same_steps(name: str, workload: Workload, peer: peers.Peer) -> None:
    found = []
    for chosen in (peer, graphc_compiled.PEER):
        runner = chosen.build(workload, False)
        feed = runner.prepare(workload.feed())
        found.append([runner.arrays(runner.step(feed)) for _ in range(3 if workload.training else 1)])
    for values, expected in zip(*found, strict=True):
        require_equal(name, values, "graphc", expected, 1e-3)


# --------------------------------------------------------------- recomputation
def test_recomputation_saves_memory_and_changes_no_loss(capsys: pytest.CaptureFixture[str]) -> None:
    net = recomputation.Net(layers=16)
    rows = recomputation.measure(net, [4], [0.5], 1)
    plain, saved, budget = rows.values()
    assert saved.arena < plain.arena * 0.8 and budget.arena < plain.arena * 0.8
    assert saved.kernels > plain.kernels < budget.kernels
    np.testing.assert_allclose(budget.losses, plain.losses, rtol=1e-5)
    text = recomputation.table_of(net, rows).text()
    assert "checkpoint every 4 layers" in text and "MiB" in text


# --------------------------------------------------------------------- scaling
def test_every_stage_of_compiling_is_timed() -> None:
    growths = compile_scaling.measure(compile_scaling.GRAPHS["wide"], [20, 40], 1)
    assert {"verify", "fuse", "lower", "write kernels", "total"} <= {g.stage for g in growths}
    assert all(len(g.seconds) == 2 and min(g.seconds) >= 0 for g in growths)
