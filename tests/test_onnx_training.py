"""Gradients and optimizers within ONNX models."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import parser

import graphc as gx
from graphc.errors import OnnxImportError

HEADER = '<ir_version: 10, opset_import: ["": 21, "ai.onnx.preview.training": 1]> '


def run(text, **feeds):
    model = gx.onnx.load(parser.parse_model(HEADER + text))
    given = {t: np.asarray(feeds[n], t.dtype) for n, t in model.inputs.items()}
    return gx.evaluate(model.outputs, given)


def test_gradients_are_taken_of_intermediate_values_and_twice():
    text = """g (float x, float w) => (float first, float second, float inner) {
        h = Mul(x, w)
        y = Mul(h, h)
        first = ai.onnx.preview.training.Gradient<xs = ["w"], zs = ["x"], y = "y">(w, x)
        second = ai.onnx.preview.training.Gradient<xs = ["w"], zs = ["x"], y = "first">(w, x)
        inner = ai.onnx.preview.training.Gradient<xs = ["h"], y = "y">(h)
    }"""
    found = run(text, x=3, w=2)
    assert [float(found[n]) for n in ("first", "second", "inner")] == [36.0, 18.0, 12.0]


def test_gradients_are_taken_at_the_operands():
    text = """g (float x, float other) => (float slope) {
        y = Exp(x)
        slope = ai.onnx.preview.training.Gradient<xs = ["x"], y = "y">(other)
    }"""
    np.testing.assert_allclose(run(text, x=5, other=1)["slope"], np.e, rtol=1e-6)


def test_results_that_nobody_wants_are_left_out():
    text = """g (float x, float w) => (float slope) {
        y = Mul(x, w)
        , slope = ai.onnx.preview.training.Gradient<xs = ["x", "w"], y = "y">(x, w)
    }"""
    assert run(text, x=3, w=2)["slope"] == 3.0


def test_a_model_trains_itself():
    """One step of gradient descent with momentum on a square."""
    text = """g (float rate, int64 t, float[n] w, float[n] v) => (float[n] w1, float[n] v1) {
        square = Mul(w, w)
        loss = ReduceSum<keepdims = 0>(square)
        slope = ai.onnx.preview.training.Gradient<xs = ["w"], y = "loss">(w)
        w1, v1 = ai.onnx.preview.training.Momentum<alpha = 0.5, beta = 0.25, mode = "standard",
            norm_coefficient = 0.0>(rate, t, w, slope, v)
    }"""
    w = np.array([1.0, -2.0], "float32")
    first = run(text, rate=0.1, t=0, w=w, v=0 * w)
    np.testing.assert_allclose(first["v1"], 2 * w)
    np.testing.assert_allclose(first["w1"], 0.8 * w)
    second = run(text, rate=0.1, t=1, w=first["w1"], v=first["v1"])
    np.testing.assert_allclose(second["v1"], 0.5 * first["v1"] + 0.25 * 2 * first["w1"], rtol=1e-6)


def test_adam_is_that_of_graphc():
    text = """g (float rate, int64 t, float[n] w, float[n] g, float[n] m, float[n] v)
        => (float[n] a, float[n] b, float[n] c) {
        a, b, c = ai.onnx.preview.training.Adam<epsilon = 0.0>(rate, t, w, g, m, v)
    }"""
    w = np.array([1.0, -2.0], "float32")
    variable, x = gx.variable(w, name="w"), gx.placeholder("x", (2,))
    step = gx.compile(x, updates=gx.optim.Adam(0.1, eps=0.0).minimize((variable * x).sum(), [variable]))
    state = {"w": w, "m": 0 * w, "v": 0 * w}
    for t in (1, 2, 3):
        g = np.array([0.3 * t, -1.0], "float32")
        found = run(text, rate=0.1, t=t, g=g, **state)
        state = dict(zip(("w", "m", "v"), (found[n] for n in "abc"), strict=True))
        step(g)
        np.testing.assert_allclose(state["w"], variable.value, rtol=1e-5)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('y = ai.onnx.preview.training.Gradient<xs = ["x"], y = "nothing">(x)', "'nothing' is used before"),
        (
            'z = Exp(x)\n y = ai.onnx.preview.training.Gradient<xs = ["x"], y = "z">(x, x)',
            "expected 1 for xs",
        ),
        (
            "t = Constant<value = int64 {0}>()\n y = ai.onnx.preview.training.Adagrad(x, t, x, x)",
            "expected 2 and 3 for each",
        ),
    ],
)
def test_faulty_uses_are_refused(line, complaint):
    model = parser.parse_model(HEADER + f"g (float x) => (float y) {{ {line} }}")
    with pytest.raises(OnnxImportError, match=complaint):
        gx.onnx.load(model)
