"""Quantized operators of ONNX, against ONNX Runtime and against what they are defined to be."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import graphc as gx
from graphc.errors import OnnxImportError


def model_of(name, arrays, outputs, **attributes):
    """Return a model of one node; operands that are None are left out."""
    inputs = {f"i{k}": a for k, a in enumerate(arrays) if a is not None}
    node = helper.make_node(
        name,
        [f"i{k}" if a is not None else "" for k, a in enumerate(arrays)],
        [f"o{k}" for k in range(len(outputs))],
        **attributes,
    )
    given = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in inputs.items()
    ]
    made = [
        helper.make_tensor_value_info(f"o{k}", helper.np_dtype_to_tensor_dtype(np.dtype(d)), None)
        for k, d in enumerate(outputs)
    ]
    graph = helper.make_graph([node], "g", given, made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), inputs


def interpreted(made, inputs):
    model = gx.onnx.load(made)
    found = gx.evaluate(model.outputs, {t: inputs[n] for n, t in model.inputs.items()})
    return list(found.values())


RNG = np.random.default_rng(2)


def numbers(*shape):
    return (RNG.normal(size=shape) * 3).astype("float32")


def stored(dtype, *shape):
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def scales(*shape):
    return RNG.uniform(0.01, 0.1, shape).astype("float32")


def zero(dtype):
    return np.array(7, dtype)


CASES = {
    "QuantizeLinear": ([numbers(3, 5), scales(5), stored("int8", 5)], ["int8"], {"axis": -1}),
    "QuantizeLinear wide": ([numbers(3, 5) * 1e6, scales(), zero("uint16")], ["uint16"], {}),
    "QuantizeLinear blocks": (
        [numbers(2, 7), scales(2, 3), None],
        ["int16"],
        {"block_size": 3, "output_dtype": 5},
    ),
    "DequantizeLinear": ([stored("int8", 3, 5), scales(3), stored("int8", 3)], ["float32"], {"axis": 0}),
    "DequantizeLinear int32": ([stored("int32", 4), scales(), None], ["float32"], {}),
    "DequantizeLinear blocks": (
        [stored("uint8", 7, 2), scales(4, 2), stored("uint8", 4, 2)],
        ["float32"],
        {"block_size": 2, "axis": 0},
    ),
    "DynamicQuantizeLinear": ([numbers(3, 4) + 20], ["uint8", "float32", "uint8"], {}),
    "MatMulInteger": (
        [stored("uint8", 3, 4), stored("int8", 4, 5), zero("uint8"), stored("int8", 5)],
        ["int32"],
        {},
    ),
    "ConvInteger": (
        [stored("uint8", 1, 2, 5, 5), stored("uint8", 3, 2, 3, 3), zero("uint8"), zero("uint8")],
        ["int32"],
        {"pads": [1, 1, 1, 1], "strides": [2, 1]},
    ),
    "QLinearMatMul": (
        [
            stored("uint8", 3, 4),
            scales(),
            zero("uint8"),
            stored("int8", 4, 5),
            scales(5),
            stored("int8", 5),
            np.float32(3),
            zero("uint8"),
        ],
        ["uint8"],
        {},
    ),
    "QLinearConv": (
        [
            stored("uint8", 2, 4, 6, 6),
            scales(),
            zero("uint8"),
            stored("int8", 6, 2, 3, 3),
            scales(6),
            np.zeros(6, "int8"),
            np.float32(9),
            zero("uint8"),
            stored("int32", 6) >> 16,
        ],
        ["uint8"],
        {"pads": [1, 0, 1, 2], "group": 2, "dilations": [1, 2]},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_quantized_operators_agree_with_onnx_runtime(name):
    runtime = pytest.importorskip("onnxruntime", reason="compared with another implementation")
    arrays, outputs, attributes = CASES[name]
    made, inputs = model_of(
        name.split()[0], [None if a is None else np.asarray(a) for a in arrays], outputs, **attributes
    )
    session = runtime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    carried = {n: a.astype("int32") if a.dtype == "uint16" else a for n, a in inputs.items()}
    for found, expected in zip(interpreted(made, carried), session.run(None, inputs), strict=True):
        assert len(np.unique(expected)) > 1 or expected.size == 1  # otherwise the comparison says nothing
        if expected.dtype == np.float32:
            np.testing.assert_allclose(found, expected, rtol=1e-6)
        else:
            assert np.array_equal(found, expected.astype(found.dtype))


def test_what_does_not_fit_saturates_and_ties_go_to_even():
    x = np.array([0.5, 1.5, -0.5, 126.6, 1e30, -1e30, np.inf, -np.inf], "float32")
    made, inputs = model_of("QuantizeLinear", [x, np.float32(1).reshape(()), np.array(1, "int8")], ["int8"])
    (found,) = interpreted(made, inputs)
    assert found.tolist() == [1, 3, 1, 127, 127, -128, 127, -128]
    model = gx.onnx.load(made)
    assert np.array_equal(model.compile()(**inputs)["o0"], found)


def test_zeros_can_be_quantized():
    made, inputs = model_of("DynamicQuantizeLinear", [np.zeros(3, "float32")], ["uint8", "float32", "uint8"])
    y, scale, point = interpreted(made, inputs)
    assert y.tolist() == [0, 0, 0]
    assert scale > 0
    assert point == 0


@pytest.mark.parametrize(
    ("arrays", "attributes", "complaint"),
    [
        ([numbers(3), scales(), zero("int8")], {"output_dtype": 2}, "two types for the result"),
        ([numbers(3), scales(3), stored("int8", 3)], {"axis": 1}, "axis out of range"),
        ([numbers(3), scales(2), stored("int8", 2)], {"axis": 0}, "QuantizeLinear of 'o0'"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(arrays, attributes, complaint):
    made, _ = model_of("QuantizeLinear", [np.asarray(a) for a in arrays], ["int8"], **attributes)
    with pytest.raises(OnnxImportError, match=complaint):
        gx.onnx.load(made)
