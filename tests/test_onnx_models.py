"""The real models that ONNX brings along, and what importing leaves of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import graphc as gx

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NAMES = sorted(p.stem for p in LIGHT.glob("light_*.onnx"))


def with_random_weights(name):
    """Return a model whose weights differ: as stored, all elements of one are equal to save space."""
    model = onnx.load(LIGHT / f"{name}.onnx")
    rng = np.random.default_rng(7)
    shapes = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = shapes[node.input[0]]
        scale = 1 / np.sqrt(max(np.prod(shape[1:]), 1))
        # Positive, since some of them are variances.
        values = (
            (0.5 + rng.random(shape))
            * scale
            * rng.choice([1.0, 1.0] if len(shape) == 1 else [-1.0, 1.0], shape)
        )
        model.graph.initializer.append(numpy_helper.from_array(values.astype("float32"), node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_light_models_import(name):
    model = gx.onnx.load(LIGHT / f"{name}.onnx")
    (found,) = model.outputs.values()
    expected = onnx.load_tensor(LIGHT / f"{name}_output_0.pb")
    assert list(found.shape) == list(expected.dims)


@pytest.mark.parametrize("name", ["light_squeezenet", "light_shufflenet"])
def test_light_models_agree_with_onnx_runtime(name):
    runtime = pytest.importorskip("onnxruntime", reason="compared with another implementation")
    made = with_random_weights(name)
    model = gx.onnx.load(made, weights="constants")
    (data,) = model.inputs.values()
    x = np.random.default_rng(0).normal(size=[n for n in data.shape]).astype("float32")
    (found,) = model.compile()(x).values()
    session = runtime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {data.name: x})
    assert expected.std() > 1e-5  # otherwise the comparison says nothing
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
