"""Recurrent operators of ONNX with every option, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

import graphc as gx
from graphc.errors import OnnxImportError

TIME, BATCH, SIZE, HIDDEN = 4, 3, 5, 2
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}


def operands(kind, both, optional):
    """Return operands by name; those that are not among `optional` are left out."""
    rng = np.random.default_rng(11)
    d, rows = 1 + both, GATES[kind] * HIDDEN
    shapes = {
        "X": (TIME, BATCH, SIZE),
        "W": (d, rows, SIZE),
        "R": (d, rows, HIDDEN),
        "B": (d, 2 * rows),
        "sequence_lens": (BATCH,),
        "initial_h": (d, BATCH, HIDDEN),
        **({"initial_c": (d, BATCH, HIDDEN), "P": (d, 3 * HIDDEN)} if kind == "LSTM" else {}),
    }
    found = {n: rng.normal(size=s).astype("float32") for n, s in shapes.items()}
    found["sequence_lens"] = np.array([4, 1, 3], "int32")
    return {n: a if n in (*"XWR", *optional) else None for n, a in found.items()}


def model_of(kind, arrays, attributes):
    inputs = [n if a is not None else "" for n, a in arrays.items()]
    outputs = ["Y", "Y_h", "Y_c"][: 3 if kind == "LSTM" else 2]
    node = helper.make_node(kind, inputs, outputs, hidden_size=HIDDEN, **attributes)
    given = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in arrays.items()
        if a is not None
    ]
    made = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    graph = helper.make_graph([node], "g", given, made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


ALL = ("B", "sequence_lens", "initial_h", "initial_c", "P")
WITH_ALPHA = ["LeakyRelu", "Elu", "ThresholdedRelu"]
CASES = [
    ("RNN", (), {}),
    ("RNN", ALL, {"direction": "reverse", "clip": 0.3}),
    ("RNN", ALL, {"direction": "bidirectional", "activations": ["Relu", "Softsign"]}),
    (
        "RNN",
        ("B",),
        {
            "direction": "bidirectional",
            "activations": ["Affine", "HardSigmoid"],
            "activation_alpha": [0.5, 0.3],
            "activation_beta": [0.1, 0.4],
        },
    ),
    ("GRU", ("initial_h",), {"direction": "reverse"}),
    ("GRU", ALL, {"direction": "bidirectional", "linear_before_reset": 1}),
    ("GRU", ALL, {"linear_before_reset": 0, "clip": 0.5, "activations": ["HardSigmoid", "Softplus"]}),
    ("LSTM", ("B", "initial_c"), {}),
    ("LSTM", ALL, {"direction": "bidirectional"}),
    ("LSTM", ALL, {"direction": "reverse", "input_forget": 1}),
    # ONNX Runtime does not clip what the cell gives to its last activation; it stays small here.
    ("LSTM", ("B", "sequence_lens", "P"), {"direction": "reverse", "input_forget": 1, "clip": 0.4}),
    (
        "LSTM",
        ("P",),
        {
            "activations": ["Sigmoid", "ScaledTanh", "LeakyRelu"],
            "activation_alpha": [0.7, 0.2],
            "activation_beta": [1.3],
        },
    ),
]


@pytest.mark.parametrize(("kind", "optional", "attributes"), CASES)
def test_every_option_agrees_with_onnx_runtime(kind, optional, attributes):
    runtime = pytest.importorskip("onnxruntime", reason="compared with another implementation")
    arrays = operands(kind, attributes.get("direction") == "bidirectional", optional)
    made = model_of(kind, arrays, attributes)
    model = gx.onnx.load(made)
    feeds = {n: a for n, a in arrays.items() if a is not None}
    found = gx.evaluate(model.outputs, {model.inputs[n]: a for n, a in feeds.items()})
    session = runtime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    for name, expected in zip(found, session.run(None, feeds), strict=True):
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)


def test_parameters_go_to_the_activations_that_take_them():
    """Tanh takes none; the first alpha is the next one's."""
    arrays = operands("GRU", False, ("B",))
    both = {"activations": ["Elu", "LeakyRelu"], "activation_alpha": [0.5, 0.3]}
    one = {"activations": ["Tanh", "LeakyRelu"], "activation_alpha": [0.3]}

    def last(attributes):
        model = gx.onnx.load(model_of("GRU", arrays, attributes))
        return gx.evaluate(model.outputs["Y_h"], {model.inputs[n]: arrays[n] for n in model.inputs})

    assert not np.allclose(last(both), last(one))
    defaults = {"activations": ["Elu", "LeakyRelu"], "activation_alpha": [1.0, 0.01]}
    assert np.array_equal(last({"activations": ["elu", "leakyrelu"]}), last(defaults))


def test_batches_may_come_first():
    arrays = operands("LSTM", True, ALL)
    first = {n: arrays[n] for n in arrays}
    first |= {n: np.swapaxes(arrays[n], 0, 1) for n in ("X", "initial_h", "initial_c")}
    results = []
    for given, layout in ((arrays, 0), (first, 1)):
        model = gx.onnx.load(model_of("LSTM", given, {"direction": "bidirectional", "layout": layout}))
        results.append(gx.evaluate(model.outputs, {t: given[n] for n, t in model.inputs.items()}))
    time_first, batch_first = results
    assert np.array_equal(batch_first["Y"], np.transpose(time_first["Y"], (2, 0, 1, 3)))
    for name in ("Y_h", "Y_c"):
        assert np.array_equal(batch_first[name], np.swapaxes(time_first[name], 0, 1))


def test_time_and_batch_may_have_names():
    arrays = operands("GRU", False, ("B",))
    made = model_of("GRU", arrays, {})
    for dim, name in zip(made.graph.input[0].type.tensor_type.shape.dim, ("time", "batch"), strict=False):
        dim.dim_param = name
    model = gx.onnx.load(made)
    assert str(model.outputs["Y"].type) == "float32[time, 1, batch, 2]"
    feeds = {model.inputs[n]: arrays[n] for n in ("W", "R", "B")}
    for size in ((1, 2), (0, 3)):
        found = gx.evaluate(model.outputs, {**feeds, model.inputs["X"]: np.ones((*size, SIZE), "float32")})
        assert found["Y"].shape == (size[0], 1, size[1], HIDDEN)


@pytest.mark.parametrize(
    ("attributes", "complaint"),
    [
        ({"activations": ["Tanh", "Unheard"]}, "unknown activation"),
        ({"activations": ["Tanh"]}, "expected 2 names"),
        ({"direction": "sideways"}, "unknown value"),
        ({"direction": "bidirectional"}, "the weights do not fit"),
    ],
)
def test_faulty_attributes_are_refused(attributes, complaint):
    with pytest.raises(OnnxImportError, match=complaint):
        gx.onnx.load(model_of("GRU", operands("GRU", False, ()), attributes))
