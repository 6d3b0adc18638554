"""Whole models saved: against ONNX Runtime, and against themselves when they are read back."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gx
from graphc.demo.lenet import lenet
from graphc.demo.tasks import TASKS

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime", reason="compared with another implementation")


def _lenet():
    x = gx.placeholder("x", ("n", 1, 8, 8))
    task = next(iter(TASKS.values()))
    return x, gx.softmax(lenet((1, 8, 8), 10, task, 3)(x), axis=1)


def _residual_block():
    x = gx.placeholder("x", ("n", 4, 6, 6))
    norm = gx.nn.BatchNorm(4)
    body = gx.nn.Sequential(gx.nn.Conv2d(4, 4, 3, padding=1, bias=False, seed=1), norm)
    return x, gx.relu(body(x) + x).mean(axis=(2, 3))


def _lstm():
    x = gx.placeholder("x", ("n", 5, 3))
    found, (h, c) = gx.nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True, seed=1)(x)
    return x, {"found": found, "state": gx.concat([h, c], axis=-1)}


def _transformer():
    x = gx.placeholder("x", ("n", "time", 8))
    first = gx.nn.LayerNorm(8)
    attention = gx.nn.MultiHeadAttention(8, 2, is_causal=True, seed=1)
    dense = gx.nn.Sequential(gx.nn.Dense(8, 16, activation=gx.gelu, seed=2), gx.nn.Dense(16, 8, seed=3))
    y = x + attention(first(x))
    return x, y + dense(gx.nn.LayerNorm(8)(y))


def _running_mean():
    x = gx.placeholder("x", ("n", 3))

    def step(carry, row):
        count, total = carry
        count, total = count + 1, total + row
        return (count, total), total / count

    (count, _), means = gx.scan(step, (gx.zeros(()), gx.zeros((3,))), x)
    return x, {"means": means, "count": count}


MODELS = {
    "LeNet": (_lenet, (1, 8, 8)),
    "residual block": (_residual_block, (4, 6, 6)),
    "LSTM": (_lstm, (5, 3)),
    "transformer block": (_transformer, (4, 8)),
    "scan": (_running_mean, (3,)),
}


@pytest.mark.parametrize("name", MODELS)
def test_whole_models(name, tmp_path):
    build, shape = MODELS[name]
    x, outputs = build()
    program, path = gx.compile(x, outputs), tmp_path / "model.onnx"
    gx.onnx.save(program, path)
    onnx.checker.check_model(str(path), full_check=True)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    read = gx.onnx.load(path)
    assert {v.name for v in read.variables} <= {i.name for i in onnx.load(path).graph.initializer}
    (placeholder,) = read.inputs.values()
    for size in (1, 3):
        data = np.random.default_rng(size).normal(size=(size, *shape)).astype("float32")
        found = program(data)
        expected = list(found.values()) if isinstance(found, dict) else [found]
        again = gx.evaluate(list(read.outputs.values()), {placeholder: data})
        for a, b, c in zip(expected, session.run(None, {"x": data}), again, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(c, a, rtol=1e-4, atol=1e-5)


def test_a_model_that_was_read_can_be_saved_again(tmp_path):
    x, outputs = _residual_block()
    gx.onnx.save((x, {"y": outputs}), tmp_path / "first.onnx")
    first = gx.onnx.load(tmp_path / "first.onnx")
    gx.onnx.save((list(first.inputs.values()), first.outputs), tmp_path / "second.onnx")
    second = gx.onnx.load(tmp_path / "second.onnx")
    data = np.ones((2, 4, 6, 6), "float32")
    found = [gx.evaluate(m.outputs["y"], {m.inputs["x"]: data}) for m in (first, second)]
    np.testing.assert_array_equal(*found)


def test_what_an_artifact_holds_can_be_saved(tmp_path):
    x = gx.placeholder("x", ("n", 2))
    gx.compile(x, {"y": x * 2}).save(tmp_path / "program.gxc")
    gx.onnx.save(gx.load(tmp_path / "program.gxc"), tmp_path / "model.onnx")
    assert list(gx.onnx.load(tmp_path / "model.onnx").outputs) == ["y"]
