"""graphc: the step is compiled ahead of time."""

from __future__ import annotations

from typing import Any

import graphc as gx
from benchmarks.peers import Peer
from benchmarks.workloads import Conv, Dense, Layer, MaxPool, Workload
from graphc.runtime.object_cache import set_cache_dir

__all__ = ["PEER", "first_loss"]

_ACTIVATIONS = {"relu": gx.relu, "tanh": gx.tanh, None: None}


def _layer(layer: Layer) -> gx.nn.Layer:
    if isinstance(layer, Dense):
        return gx.nn.Dense(layer.inputs, layer.outputs, _ACTIVATIONS[layer.activation])
    if isinstance(layer, Conv):
        activation = _ACTIVATIONS[layer.activation]
        return gx.nn.Conv2d(
            layer.inputs, layer.outputs, layer.window, padding=layer.padding, activation=activation
        )
    return gx.nn.MaxPool2d(layer.window) if isinstance(layer, MaxPool) else gx.nn.Flatten()


def _define(workload: Workload) -> tuple[gx.Tensor, gx.Tensor, gx.Tensor]:
    """Return the placeholders and the loss."""
    layers = [_layer(layer) for layer in workload.layers]
    weighted = [layer for layer in layers if isinstance(layer, (gx.nn.Dense, gx.nn.Conv2d))]
    for layer, (weight, bias) in zip(weighted, workload.weights(), strict=True):
        layer.weight.value = weight
        if layer.bias is not None:
            layer.bias.value = bias
    x = gx.placeholder("x", shape=("batch", *workload.example))
    h = gx.nn.Sequential(*layers)(x)
    if workload.loss == "binary":
        y = gx.placeholder("y", shape=("batch", 1))
        return x, y, (gx.softplus(h) - y * h).mean()
    y = gx.placeholder("y", shape=("batch",), dtype="int64")
    return x, y, gx.nn.softmax_cross_entropy(h, y).mean()


class _Trainer:
    def __init__(self, workload: Workload) -> None:
        x, y, loss = _define(workload)
        updates = gx.optim.Adam(workload.learning_rate).minimize(loss)
        self.program = gx.compile([x, y], loss, updates=updates)
        self.first = [(variable, variable.value) for variable in updates]
        self.batch = workload.data()

    def reset(self) -> None:
        for variable, value in self.first:
            variable.value = value

    def step(self) -> Any:
        return self.program(*self.batch)


def first_loss(workload: Workload) -> float:
    """Return the loss before the first step, by the NumPy interpreter."""
    x, y, loss = _define(workload)
    return float(gx.evaluate(loss, dict(zip((x, y), workload.data(), strict=True))))


PEER = Peer("graphc", _Trainer, set_cache_dir)
