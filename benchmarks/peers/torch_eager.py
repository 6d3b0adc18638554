"""PyTorch as most people run it: eagerly, but with the fused form of Adam."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn

from benchmarks.peers import Peer
from benchmarks.workloads import Conv, Dense, Layer, MaxPool, Workload

__all__ = ["PEER"]

_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


def _modules(layer: Layer) -> list[nn.Module]:
    if isinstance(layer, MaxPool):
        return [nn.MaxPool2d(layer.window)]
    if isinstance(layer, Dense):
        found: list[nn.Module] = [nn.Linear(layer.inputs, layer.outputs)]
    elif isinstance(layer, Conv):
        found = [nn.Conv2d(layer.inputs, layer.outputs, layer.window, padding=layer.padding)]
    else:
        return [nn.Flatten()]
    return found if layer.activation is None else [*found, _ACTIVATIONS[layer.activation]()]


class _Trainer:
    def __init__(self, workload: Workload) -> None:
        if hasattr(os, "sched_getaffinity"):
            torch.set_num_threads(len(os.sched_getaffinity(0)))
        self.workload = workload
        self.model = nn.Sequential(*(module for layer in workload.layers for module in _modules(layer)))
        self.x, self.y = map(torch.from_numpy, workload.data())
        binary = workload.loss == "binary"
        self.loss = nn.BCEWithLogitsLoss() if binary else nn.CrossEntropyLoss()
        self.first = [torch.from_numpy(a) for pair in workload.weights() for a in pair]
        self.reset()

    def reset(self) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.model.parameters(), self.first, strict=True):
                # A linear layer keeps its weight transposed.
                parameter.copy_(value.T if value.ndim == 2 else value)
        self.optimizer = torch.optim.Adam(self.model.parameters(), self.workload.learning_rate, fused=True)

    def step(self) -> Any:
        self.optimizer.zero_grad()
        loss = self.loss(self.model(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


PEER = Peer("torch, eager", _Trainer, lambda directory: None)
