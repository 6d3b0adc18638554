"""The benchmark of models in files, on models of no size: nothing is timed here."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks import onnx_models, peers, report, steps
from benchmarks.agreement import require_equal
from benchmarks.models import OPENERS, Case, Model, Operation, light
from benchmarks.models.host import Host
from benchmarks.models.opening import seconds_to_open
from benchmarks.vocabulary import UnsupportedError

SIZE = 9


class Local:
    """A host in this process, called as one in another."""

    def __init__(self, name: str) -> None:
        self.host = Host(name)

    def call(self, method: str, *arguments: object) -> object:
        return getattr(self.host, method)(*arguments)


def small_model():
    """Return a model with every operation of the networks that are measured, in opset 9 as these are."""
    rng = np.random.default_rng(0)
    stored = []

    def weight(name, *shape, low=-0.5, high=0.5):
        array = rng.uniform(low, high, shape).astype("float32")
        stored.append(numpy_helper.from_array(array, name))
        return name

    def shape(name, *sizes):
        stored.append(numpy_helper.from_array(np.array(sizes, "int64"), name))
        return name

    statistics = [weight(n, 8, low=0.5, high=1.0) for n in ("scale", "shift", "mean", "variance")]
    node = helper.make_node
    nodes = [
        node(
            "Conv", ["x", weight("k", 8, 3, 3, 3), weight("b", 8)], ["c"], kernel_shape=[3, 3], pads=[1] * 4
        ),
        node("BatchNormalization", ["c", *statistics], ["n"], epsilon=1e-4),
        node("Relu", ["n"], ["r"]),
        node("LRN", ["r"], ["l"], size=3, alpha=0.1, beta=0.5, bias=2.0),
        node("MaxPool", ["l"], ["m"], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
        node("Conv", ["m", weight("g", 8, 2, 1, 1)], ["d"], kernel_shape=[1, 1], group=4),
        node("Reshape", ["d", shape("apart", 0, 2, 4, 4, 4)], ["d5"]),
        node("Transpose", ["d5"], ["t5"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["t5", shape("joined", 0, 8, 4, 4)], ["t"]),
        node("Relu", ["t"], ["tr"]),
        node("Concat", ["t", "tr", "m"], ["j"], axis=1),
        node("Unsqueeze", [weight("w", 24)], ["w3"], axes=[1, 2]),
        node("Mul", ["j", "w3"], ["jw"]),
        node("Add", ["jw", "w3"], ["ja"]),
        node("AveragePool", ["ja"], ["a"], kernel_shape=[3, 3], pads=[1] * 4),
        node("Sum", ["a", "ja", "j"], ["s"]),
        node("AveragePool", ["s"], ["p"], kernel_shape=[5, 5], pads=[0, 0, 1, 1]),
        node("GlobalAveragePool", ["s"], ["q"]),
        node("Add", ["p", "q"], ["f4"]),
        node("Reshape", ["f4", shape("flat", 0, -1)], ["f"]),
        node("Dropout", ["f"], ["o"], ratio=0.5),
        node("Gemm", ["o", weight("v", 5, 24), weight("e", 5)], ["h"], transB=1),
        node("Softmax", ["h"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])
    graph = helper.make_graph(nodes, "g", [x], [y], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=8)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    case, model = Case(tmp_path_factory.mktemp("small")), small_model()
    feed = np.random.default_rng(1).normal(size=(2, 3, SIZE, SIZE)).astype("float32")
    case.write(model.SerializeToString(), feed, light.data_of(model))
    return case


def needs(*names: str) -> None:
    for name in names:
        if not peers.installed(name):
            pytest.skip(f"{name} is not installed")


# What frameworks warn of is theirs.
@pytest.mark.filterwarnings("ignore")
def test_models_are_opened_compared_and_timed(case, tmp_path):
    served = {name: Local(name) for name in OPENERS if peers.installed(name)}
    line = onnx_models.timed(served, case, str(tmp_path), 2)
    assert not line.failures and not line.disagreements and not line.absent
    assert {name: len(t.rounds) for name, t in line.timings.items()} == dict.fromkeys(served, 2)
    assert all(host.host.runner is None for host in served.values())


def test_whoever_differs_is_not_timed(case, tmp_path):
    class Wrong(Local):
        def call(self, method, *arguments):
            found = super().call(method, *arguments)
            return [2 * a for a in found] if method == "results" else found

    served = {"graphc": Local("graphc"), "onnxruntime": Wrong("graphc")}
    line = onnx_models.timed(served, case, str(tmp_path), 1)
    assert list(line.disagreements) == ["onnxruntime"] and list(line.timings) == ["graphc"]


@pytest.mark.filterwarnings("ignore")
def test_torch_computes_the_same_in_all_layouts(case, tmp_path):
    needs("torch")
    from benchmarks.models import torch_model

    expected = Host("graphc").opened(case, case.feed, str(tmp_path))()
    model = case.read()
    assert {op.kind for op in model.operations} == set(torch_model.FUNCTIONS)
    for layout in torch_model.LAYOUTS:
        interpreter = torch_model._Interpreter(model, case.feed, layout)
        for _ in range(2):
            require_equal(str(layout), interpreter(), "graphc", expected, 1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "attributes", "complaint"),
    [
        ("Erf", {}, "Erf is not written"),
        ("Conv", {"kernel_shape": [3, 3], "pads": [0, 0, 1, 1]}, "at one end"),
        ("Gemm", {"alpha": 2.0}, "scaled"),
    ],
)
def test_what_torch_is_not_told_is_refused(kind, attributes, complaint):
    needs("torch")
    from benchmarks.models import torch_model

    model = Model([Operation(kind, ["x"], ["y"], attributes)], {}, "x", ["y"])
    with pytest.raises(UnsupportedError, match=complaint):
        torch_model._Interpreter(model, np.zeros((1, 3, 4, 4), "float32"), torch_model.LAYOUTS[0])


@pytest.mark.filterwarnings("ignore")
def test_an_exported_encoder_agrees_with_its_module(tmp_path, monkeypatch):
    needs("torch")
    pytest.importorskip("onnxscript", reason="torch.onnx.export needs it")
    from benchmarks.models import encoder

    for name, size in {"LAYERS": 1, "WIDTH": 8, "HEADS": 2, "FORWARD": 12, "TOKENS": 5}.items():
        monkeypatch.setattr(encoder, name, size)
    encoder.export("3", str(tmp_path))
    case = Case(tmp_path)
    assert case.feed.shape == (3, 5, 8)
    found, module = (Host(name).opened(case, case.feed, str(tmp_path))() for name in ("graphc", "torch"))
    require_equal("graphc", found, "torch", module, 1e-4)


@pytest.mark.filterwarnings("ignore")
def test_an_exporter_that_lacks_a_package_says_so(tmp_path, monkeypatch):
    needs("torch")
    from benchmarks.models import encoder

    monkeypatch.setattr(encoder, "NEEDED", ("onnx", "no_such_package"))
    with pytest.raises(UnsupportedError, match="needs no_such_package"):
        encoder.export("1", str(tmp_path))


def test_networks_get_weights_and_a_batch(tmp_path):
    light._write("squeezenet", "3", str(tmp_path))
    case = Case(tmp_path)
    model = case.read()
    assert case.feed.shape == (3, 3, 224, 224) and case.onnx.stat().st_size > 4 << 20
    assert {"Conv", "Concat", "Softmax"} <= {op.kind for op in model.operations}
    spread = [w.std() * np.prod(w.shape[1:]) ** 0.5 for w in model.weights.values() if w.ndim == 4]
    np.testing.assert_allclose(spread, 2**0.5, rtol=0.1)


def test_opening_is_timed_in_a_process_of_its_own(case, tmp_path):
    assert 0 < seconds_to_open(sys.executable, "graphc", case, str(tmp_path)) < 60
    assert any(tmp_path.iterdir())


def test_without_torch_the_encoder_is_left_out():
    pythons = {"graphc": sys.executable, "onnxruntime": sys.executable}
    with pytest.raises(UnsupportedError, match="not installed"):
        onnx_models.measure(pythons, {}, onnx_models.ENCODER, 1, 1)


def test_the_section_shows_and_keeps_what_was_measured(monkeypatch, capsys):
    def measure(pythons, served, name, batch, rounds):
        if name == "absent":
            raise UnsupportedError("nobody exports it")
        timings = {peer: steps.Timing(((k * 1e-3,),) * 2) for k, peer in enumerate(pythons, 1)}
        line = steps.Line(timings, failures={"torch": "out of memory"})
        return onnx_models.Figures(line, 3.0, 0.5, 0.25)

    monkeypatch.setattr(onnx_models, "MODELS", ("small", "absent"))
    monkeypatch.setattr(onnx_models, "BATCHES", (8,))
    monkeypatch.setattr(onnx_models, "measure", measure)
    monkeypatch.setattr(report, "Remote", lambda *given: type("Closing", (), {"close": lambda self: None})())
    pythons = dict.fromkeys(("graphc", "jax", "onnxruntime"), sys.executable)
    run = report.Report(report.Options([], [], pythons, [], 6, None, False))
    run.run_onnx()
    printed = capsys.readouterr().out
    assert "absent, batch 8: left out: nobody exports it" in printed
    assert "small, batch 8: failed: torch, eager: out of memory" in printed
    row = next(line for line in printed.splitlines() if line.strip().startswith("small  "))
    assert "|".join(row.split()) == "small|8|1|ms|2|ms|2.00|-|-|3|s|500|ms|250|ms"
    (figures,) = json.loads(json.dumps(run.figures["onnx"]))
    assert (figures["model"], figures["batch"], figures["cold"]) == ("small", 8, 3.0)
    assert figures["seconds"] == {"graphc": [[1e-3]] * 2, "onnxruntime": [[2e-3]] * 2}
    assert not run.failed
