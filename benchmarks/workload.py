"""What a workload is: arrays, a function over a vocabulary, and what is to be done with it."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from benchmarks.vocabulary import Values, Vocabulary

__all__ = [
    "Adam",
    "Array",
    "Forward",
    "Gradient",
    "Hessian",
    "Minimum",
    "Momentum",
    "Role",
    "Spec",
    "Training",
    "Workload",
    "batch_norm",
    "below",
    "conv",
    "dense",
    "normal",
    "ones",
    "uniform",
    "zeros",
]

Array = np.ndarray[Any, Any]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
# What an array is, so that a peer can lay it out as it likes: images are (batch, channels, height,
# width), weights of convolutions (outputs, inputs, height, width), of dense layers (inputs, outputs).
Role = Literal["plain", "images", "conv", "dense"]
Body = Callable[[Vocabulary, Values], Any]


# ---------------------------------------------------------------------- values
def normal(scale: float = 1.0) -> Draw:
    """Return what draws normal values."""
    return lambda rng, shape: rng.normal(0.0, scale, shape)


def uniform(low: float, high: float) -> Draw:
    """Return what draws evenly from an interval."""
    return lambda rng, shape: rng.uniform(low, high, shape)


def below(limit: int) -> Draw:
    """Return what draws integers from 0 to below a limit."""
    return lambda rng, shape: rng.integers(0, limit, shape)


def zeros(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw nothing but zeros."""
    return np.zeros(shape)


def ones(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw nothing but ones."""
    return np.ones(shape)


# --------------------------------------------------------------------- arrays
@dataclass(frozen=True)
class Spec:
    """An input or a weight.

    Attributes
    ----------
    shape : tuple of int
        Of one that is fed, the first axis is the batch.
    draw : callable
        Its values from a random generator and the shape.
    role : Role
        What it is.
    dtype : {"float32", "int64"}
        Type of its elements.
    trained : bool
        Of a weight: whether the optimizer changes it.
    """

    shape: tuple[int, ...]
    draw: Draw = field(default_factory=normal)
    role: Role = "plain"
    dtype: Literal["float32", "int64"] = "float32"
    trained: bool = True

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def array(self, name: str) -> Array:
        """Return its values, which depend on nothing but its name and itself."""
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        return np.asarray(self.draw(rng, self.shape), self.dtype, order="C")


def dense(name: str, inputs: int, outputs: int) -> dict[str, Spec]:
    """Return the weight and the bias of a dense layer."""
    draw = uniform(-(inputs**-0.5), inputs**-0.5)
    return {
        f"{name}.weight": Spec((inputs, outputs), draw, "dense"),
        f"{name}.bias": Spec((outputs,), draw),
    }


def conv(name: str, inputs: int, outputs: int, window: int, bias: bool = True) -> dict[str, Spec]:
    """Return the weight, and the bias if there is one, of a convolution."""
    bound = (inputs * window**2) ** -0.5
    if bias:
        draw = uniform(-bound, bound)
        weight = Spec((outputs, inputs, window, window), draw, "conv")
        return {f"{name}.weight": weight, f"{name}.bias": Spec((outputs,), draw)}
    # Followed by a rectifier, these keep the variance of what passes through (He et al., 2015).
    return {f"{name}.weight": Spec((outputs, inputs, window, window), normal(2**0.5 * bound), "conv")}


def batch_norm(name: str, channels: int) -> dict[str, Spec]:
    """Return what a batch normalization scales and shifts by, and its running statistics."""
    return {
        f"{name}.scale": Spec((channels,), uniform(0.5, 1.0)),
        f"{name}.shift": Spec((channels,), normal(0.1)),
        f"{name}.mean": Spec((channels,), normal(0.1), trained=False),
        f"{name}.var": Spec((channels,), uniform(0.5, 1.5), trained=False),
    }


# ----------------------------------------------------------------------- tasks
@dataclass(frozen=True)
class Adam:
    """Kingma and Ba (ICLR 2015)."""

    rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    # Arrays of a weight's size that it reads and writes, the weight included.
    state: int = 3


@dataclass(frozen=True)
class Momentum:
    """``v = momentum * v + gradient; w = w - rate * v``."""

    rate: float = 0.01
    momentum: float = 0.9
    state: int = 2


@dataclass(frozen=True)
class Forward:
    """Compute the body's value; its weights never change again.

    Attributes
    ----------
    role : Role
        What the value is.
    """

    role: Role = "plain"


@dataclass(frozen=True)
class Gradient:
    """Compute gradients of the body's value, weighted with the input ``cotangent``.

    Attributes
    ----------
    wrt : tuple of str
        The inputs and weights to differentiate by.
    value : bool
        Whether the value is wanted, too, before the gradients.
    role : Role
        What the value, and so the cotangent, is.
    """

    wrt: tuple[str, ...]
    value: bool = True
    role: Role = "plain"


@dataclass(frozen=True)
class Training:
    """Take a step of an optimizer down the body's value, a loss; the loss is the result."""

    optimizer: Adam | Momentum = field(default_factory=Adam)


@dataclass(frozen=True)
class Hessian:
    """Compute all second derivatives of the body's value, a loss.

    Attributes
    ----------
    wrt : str
        The weight to differentiate by, a vector.
    """

    wrt: str


@dataclass(frozen=True)
class Minimum:
    """Find the minimum of the body's value by Newton's method, from the first weights at every call.

    Attributes
    ----------
    wrt : str
        The weight that moves, a vector; where it ends is the result.
    tolerance : float
        The largest element of the gradient at the end.
    steps : int
        The most steps.
    """

    wrt: str
    tolerance: float = 1e-6
    steps: int = 30


Task = Forward | Gradient | Training | Hessian | Minimum


# -------------------------------------------------------------------- workload
@dataclass(frozen=True)
class Workload:
    """One line of the benchmark.

    Attributes
    ----------
    title : str
        Shown in tables.
    body : callable
        Computes its value with a vocabulary from the inputs and weights by name.
    inputs, weights : mapping of str to Spec
        What is fed at every call, and what the framework holds.
    task : Task
        What is done with the body.
    tolerance : float
        Largest difference of two frameworks' results, relative to the largest element.
    """

    title: str
    body: Body
    inputs: Mapping[str, Spec]
    weights: Mapping[str, Spec] = field(default_factory=dict)
    task: Task = field(default_factory=Forward)
    tolerance: float = 1e-4

    @property
    def training(self) -> bool:
        """Whether a step changes the weights."""
        return isinstance(self.task, Training)

    @property
    def trained(self) -> list[str]:
        """Names of the weights that the optimizer changes."""
        return [name for name, spec in self.weights.items() if spec.trained]

    @property
    def roles(self) -> tuple[Role, ...]:
        """What the results are."""
        if isinstance(self.task, (Training, Hessian, Minimum)):
            return ("plain",)
        if isinstance(self.task, Forward):
            return (self.task.role,)
        specs = {**self.inputs, **self.weights}
        value = (self.task.role,) if self.task.value else ()
        return (*value, *(specs[name].role for name in self.task.wrt))

    def first_weights(self) -> dict[str, Array]:
        """Return the weights that all start from, the same at every call."""
        return {name: spec.array(name) for name, spec in self.weights.items()}

    def feed(self) -> dict[str, Array]:
        """Return values of the inputs, the same at every call."""
        return {name: spec.array(name) for name, spec in self.inputs.items()}

    def resized(self, batch: int) -> Workload:
        """Return the same with another size of the batch."""
        inputs = {n: replace(s, shape=(batch, *s.shape[1:])) for n, s in self.inputs.items()}
        return replace(self, inputs=inputs)
