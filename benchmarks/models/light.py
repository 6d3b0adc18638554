"""Networks that come with the package onnx, which leaves their weights out; they get random ones here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test
from onnx import helper, numpy_helper

from benchmarks import children
from benchmarks.models import Case, Model, Operation
from benchmarks.workload import Array

__all__ = ["data_of"]


def _write(name: str, batch: str, folder: str) -> dict[str, Any]:
    """Be the child: write a network for a size of the batch."""
    (place,) = (Path(onnx.backend.test.__file__).parent / "data" / "light").glob(f"light_{name}.onnx")
    model, rng = onnx.load(place), np.random.default_rng(0)
    _fill(model.graph, rng)
    _keep_batch(model.graph)
    stored = {i.name for i in model.graph.initializer}
    (fed,) = (v for v in model.graph.input if v.name not in stored)
    for value in (fed, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = int(batch)
    del model.graph.value_info[:]
    shape = [d.dim_value for d in fed.type.tensor_type.shape.dim]
    feed = rng.normal(size=shape).astype("float32")
    Case(Path(folder)).write(model.SerializeToString(), feed, data_of(model))
    return {}


def _fill(graph: Any, rng: np.random.Generator) -> None:
    """Put random weights into the place of the constants that stand for them."""
    known = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    for node in [n for n in graph.node if n.op_type == "ConstantOfShape" and n.input[0] in known]:
        drawn = _drawn(rng, tuple(map(int, known[node.input[0]])))
        graph.initializer.append(numpy_helper.from_array(drawn, node.output[0]))
        graph.node.remove(node)


def _drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return weights that keep the variance of what passes through (He et al., 2015); scales near 1."""
    if len(shape) < 2:
        return rng.uniform(0.5, 1.0, shape).astype("float32")
    return (rng.normal(size=shape) * (2 / np.prod(shape[1:])) ** 0.5).astype("float32")


def _keep_batch(graph: Any) -> None:
    """Let shapes that say one image say as many as there are."""
    weights = {i.name for i in graph.initializer}
    shapes = {n.input[1] for n in graph.node if n.op_type == "Reshape" and n.input[0] not in weights}
    for shape in (i for i in graph.initializer if i.name in shapes):
        sizes = numpy_helper.to_array(shape).copy()
        sizes[:1] = np.where(sizes[:1] == 1, 0, sizes[:1])
        shape.CopyFrom(numpy_helper.from_array(sizes, shape.name))


def data_of(model: Any) -> Model:
    """Return a model with one input as data."""
    graph = model.graph
    weights = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    (fed,) = (v.name for v in graph.input if v.name not in weights)
    operations = [
        Operation(
            node.op_type,
            list(node.input),
            list(node.output),
            {a.name: helper.get_attribute_value(a) for a in node.attribute},
        )
        for node in graph.node
    ]
    return Model(operations, weights, fed, [value.name for value in graph.output])


if __name__ == "__main__":
    children.answer(_write)
