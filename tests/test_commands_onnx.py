"""Models of ONNX on the command line."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from graphc import cli

pytest.importorskip("onnx")

MODEL = """\
import numpy as np
import graphc as gx

w = gx.variable(np.float32([[1, 2], [3, 4], [5, 6]]), name="w")

def predict():
    x = gx.placeholder("x", shape=("batch", 3))
    return x, {"scores": x @ w, "mean": gx.mean(x)}

def train():
    x = gx.placeholder("x", shape=("batch", 3))
    error = gx.mean((x @ w) ** 2)
    return x, error, {w: w - gx.grad(error, w)}

def special():
    x = gx.placeholder("x", shape=(3,))
    return x, gx.lgamma(x)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a module and the model that was made of it."""
    where = tmp_path_factory.mktemp("models")
    (where / "described.py").write_text(MODEL)
    np.save(where / "x.npy", np.float32([[1, 0, 0], [0, 1, 0]]))
    line = ["onnx", "export", f"{where}/described.py:predict", "-o", f"{where}/predict.onnx"]
    assert cli.main(line) == 0
    yield where
    sys.modules.pop("_graphc_target", None)


def report(capsys, *words):
    assert cli.main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("words", [["run"], ["onnx", "run"]])
def test_run_takes_models(capsys, folder, words):
    assert cli.main([*words, f"{folder}/predict.onnx", "--input", f"x={folder}/x.npy"]) == 0
    first, second, _ = capsys.readouterr().out.splitlines()
    assert first == "scores  float32[2, 2]  [[1.0, 2.0], [3.0, 4.0]]"
    assert second.startswith("mean")


@pytest.mark.parametrize("words", [["compile"], ["onnx", "compile"]])
def test_compile_makes_an_artifact_of_a_model(capsys, folder, tmp_path, words):
    out = tmp_path / "predict.gxc"
    assert cli.main([*words, f"{folder}/predict.onnx", "-o", str(out)]) == 0
    capsys.readouterr()
    found = report(capsys, "run", out, "--input", f"x={folder}/x.npy")
    assert list(found["outputs"]) == ["scores", "mean"]


def test_inspect_describes_a_model(capsys, folder):
    found = report(capsys, "onnx", "inspect", folder / "predict.onnx")
    assert found["inputs"] == {"x": "float32[batch, 3]"}
    assert found["outputs"] == {"scores": "float32[batch, 2]", "mean": "float32[]"}
    assert found["weights"] == {"w": "float32[3, 2]"}
    assert found["operator_sets"] == {"ai.onnx": 21}
    assert found["operators"]["MatMul"] == 1
    assert cli.main(["onnx", "inspect", f"{folder}/predict.onnx"]) == 0
    assert "  w  float32[3, 2]\n" in capsys.readouterr().out


def test_export_of_a_program_that_updates_variables(capsys, folder, tmp_path):
    line = ["onnx", "export", f"{folder}/described.py:train", "-o", f"{tmp_path}/train.onnx"]
    assert cli.main(line) == 1
    message = capsys.readouterr().err
    assert "updates variables, such as 'w'" in message
    assert "described.py:13" in message
    found = report(capsys, *line, "--leave-out-updates", "--opset", "18")
    assert found["bytes"] == (tmp_path / "train.onnx").stat().st_size


def test_what_cannot_be_exported_is_named_with_its_line(capsys, folder, tmp_path):
    line = ["onnx", "export", f"{folder}/described.py:special", "-o", f"{tmp_path}/special.onnx"]
    assert cli.main(line) == 1
    message = capsys.readouterr().err
    assert "lgamma at" in message
    assert "described.py:17" in message
    assert "Traceback" not in message
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_model_is_one_message(capsys, tmp_path):
    (tmp_path / "damaged.onnx").write_bytes(b"no model")
    for words in (["run"], ["onnx", "inspect"], ["inspect"]):
        assert cli.main([*words, f"{tmp_path}/damaged.onnx"]) == 1
        assert "damaged.onnx: no model of ONNX" in capsys.readouterr().err
