"""What is trained: networks as data, so that every framework builds the same one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["WORKLOADS", "Conv", "Dense", "Flatten", "Layer", "MaxPool", "Workload", "features"]

Array = np.ndarray[Any, Any]
Activation = Literal["relu", "tanh"] | None


@dataclass(frozen=True)
class Dense:
    """``activation(x @ weight + bias)``; the weight is (inputs, outputs)."""

    inputs: int
    outputs: int
    activation: Activation = None

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return (self.inputs, self.outputs)


@dataclass(frozen=True)
class Conv:
    """``activation(convolution + bias)``, square windows; the weight is (outputs, inputs, height, width)."""

    inputs: int
    outputs: int
    window: int
    padding: int
    activation: Activation = None

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return (self.outputs, self.inputs, self.window, self.window)


@dataclass(frozen=True)
class MaxPool:
    """Maximum over squares that do not overlap."""

    window: int


@dataclass(frozen=True)
class Flatten:
    """All axes but the first become one; channels first, then rows, then columns."""


Layer = Dense | Conv | MaxPool | Flatten


@dataclass(frozen=True)
class Workload:
    """One training step: a forward and a backward pass and an update by Adam.

    Attributes
    ----------
    title : str
        Shown above the table.
    layers : tuple of Layer
        The network.
    example : tuple of int
        Shape of one example.
    batch : int
        Examples in a step.
    loss : {"cross entropy", "binary"}
        Softmax cross entropy over ten classes, or logistic loss of one output; the mean over
        the batch.
    learning_rate : float
        Of Adam; its other parameters are 0.9, 0.999 and 1e-8 everywhere.
    """

    title: str
    layers: tuple[Layer, ...]
    example: tuple[int, ...]
    batch: int
    loss: Literal["cross entropy", "binary"] = "cross entropy"
    learning_rate: float = 1e-3

    def weights(self) -> list[tuple[Array, Array]]:
        """Return the first weight and bias of every layer that has them, the same at every call."""
        rng = np.random.default_rng(0)
        found = []
        for layer in self.layers:
            if isinstance(layer, (Dense, Conv)):
                bound = 1 / math.sqrt(features(layer))
                shapes = (layer.weight_shape, (layer.outputs,))
                weight, bias = (rng.uniform(-bound, bound, s).astype(np.float32) for s in shapes)
                found.append((weight, bias))
        return found

    def data(self) -> tuple[Array, Array]:
        """Return the batch: random examples and random labels, the same at every call."""
        rng = np.random.default_rng(1)
        x = rng.normal(size=(self.batch, *self.example)).astype(np.float32)
        if self.loss == "binary":
            return x, rng.integers(0, 2, (self.batch, 1)).astype(np.float32)
        return x, rng.integers(0, 10, self.batch)


def features(layer: Dense | Conv) -> int:
    """Return how many values each output of a layer depends on."""
    return layer.inputs if isinstance(layer, Dense) else layer.inputs * layer.window**2


WORKLOADS = {
    "mlp": Workload(
        "MLP 784-512-512-10, batch 128",
        (Dense(784, 512, "relu"), Dense(512, 512, "relu"), Dense(512, 10)),
        (784,),
        128,
    ),
    "lenet": Workload(
        "LeNet-5 on 1x28x28, batch 64",
        (
            Conv(1, 6, 5, 2, "relu"),
            MaxPool(2),
            Conv(6, 16, 5, 0, "relu"),
            MaxPool(2),
            Flatten(),
            Dense(400, 120, "relu"),
            Dense(120, 84, "relu"),
            Dense(84, 10),
        ),
        (1, 28, 28),
        64,
    ),
    "tiny": Workload(
        "net 2-16-16-1, batch 32",
        (Dense(2, 16, "tanh"), Dense(16, 16, "tanh"), Dense(16, 1)),
        (2,),
        32,
        "binary",
    ),
}
