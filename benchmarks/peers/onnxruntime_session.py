"""ONNX Runtime: a model of standard operators, for inference."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.peers import Peer
from benchmarks.vocabulary import UnsupportedError, Values, Vocabulary
from benchmarks.workload import Array, Forward, Workload

__all__ = ["PEER", "model_of"]

OPSET = 20
IR_VERSION = 10
_TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


class _Value:
    """A name in the model; operators add nodes to it."""

    def __init__(self, model: _Model, name: str) -> None:
        self.model, self.name = model, name

    def _binary(self, kind: str, other: Any) -> _Value:
        return self.model.node(kind, self, other)

    def __add__(self, other: Any) -> _Value:
        return self._binary("Add", other)

    def __sub__(self, other: Any) -> _Value:
        return self._binary("Sub", other)

    def __mul__(self, other: Any) -> _Value:
        return self._binary("Mul", other)

    def __neg__(self) -> _Value:
        return self.model.node("Neg", self)


class _Model:
    """Nodes and stored arrays."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.stored: list[Any] = []

    def store(self, array: Array) -> _Value:
        name = f"stored{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(array, name))
        return _Value(self, name)

    def node(self, kind: str, *operands: Any, **attributes: Any) -> _Value:
        values = [o if isinstance(o, _Value) else self.store(np.float32(o)) for o in operands]
        result = f"value{len(self.nodes)}"
        names = [value.name for value in values]
        self.nodes.append(helper.make_node(kind, names, [result], **attributes))
        return _Value(self, result)


class _Words(Vocabulary):
    lacks = "here for inference only"

    def __init__(self, model: _Model) -> None:
        super().__init__()
        self.model = model

    def exp(self, x: _Value) -> _Value:
        return self.model.node("Exp", x)

    def tanh(self, x: _Value) -> _Value:
        return self.model.node("Tanh", x)

    def sigmoid(self, x: _Value) -> _Value:
        return self.model.node("Sigmoid", x)

    def relu(self, x: _Value) -> _Value:
        return self.model.node("Relu", x)

    def matmul(self, a: _Value, b: _Value) -> _Value:
        return self.model.node("MatMul", a, b)

    def dense(self, x: _Value, weight: _Value, bias: _Value) -> _Value:
        return self.model.node("Gemm", x, weight, bias)

    def conv2d(
        self, x: _Value, weight: _Value, bias: _Value | None = None, stride: int = 1, padding: int = 0
    ) -> _Value:
        operands = (x, weight) if bias is None else (x, weight, bias)
        return self.model.node("Conv", *operands, strides=[stride] * 2, pads=[padding] * 4)

    def iterate(
        self, step: Callable[[_Value], _Value], state: _Value, count: int, every: int | None = None
    ) -> _Value:
        raise UnsupportedError("loops are not written for it")

    def softmax(self, x: _Value) -> _Value:
        return self.model.node("Softmax", x, axis=-1)

    def layer_norm(self, x: _Value, scale: _Value, shift: _Value) -> _Value:
        return self.model.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-5)

    def batch_norm(self, x: _Value, values: Values, name: str) -> _Value:
        parts = (values[f"{name}.{part}"] for part in ("scale", "shift", "mean", "var"))
        return self.model.node("BatchNormalization", x, *parts, epsilon=1e-5)

    def flatten(self, x: _Value) -> _Value:
        return self.model.node("Flatten", x)

    def max_pool(self, x: _Value, window: int, stride: int, padding: int = 0) -> _Value:
        sizes = {"kernel_shape": [window] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
        return self.model.node("MaxPool", x, **sizes)

    def mean_of_image(self, x: _Value) -> _Value:
        return self.flatten(self.model.node("GlobalAveragePool", x))


class _Runner:
    def __init__(self, workload: Workload, varies: bool) -> None:
        if not isinstance(workload.task, Forward):
            raise UnsupportedError(_Words.lacks)
        settings = onnxruntime.SessionOptions()
        if hasattr(os, "sched_getaffinity"):
            settings.intra_op_num_threads = len(os.sched_getaffinity(0))
        model = model_of(workload)
        self.session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])

    def prepare(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        return dict(feed)

    def reset(self) -> None:
        """Do nothing: no step changes anything."""

    def step(self, feed: dict[str, Array]) -> Sequence[Array]:
        results: Sequence[Array] = self.session.run(None, feed)
        return results

    def arrays(self, results: Sequence[Array]) -> list[Array]:
        return list(results)

    def compilations(self) -> int:
        return 1


def model_of(workload: Workload) -> bytes:
    """Return the model of a workload, as a file holds it."""
    model = _Model()
    values = {name: _Value(model, name) for name in workload.inputs}
    values |= {name: model.store(array) for name, array in workload.first_weights().items()}
    result = workload.body(_Words(model), values)
    inputs = [
        helper.make_tensor_value_info(name, _TYPES[spec.dtype], spec.shape)
        for name, spec in workload.inputs.items()
    ]
    output = helper.make_tensor_value_info(result.name, TensorProto.FLOAT, None)
    graph = helper.make_graph(model.nodes, "workload", inputs, [output], model.stored)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    text: bytes = made.SerializeToString()
    return text


PEER = Peer(_Runner)
