"""PyTensor, the successor of Theano, in its Numba mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.link.numba import cache

from benchmarks.peers import Peer
from benchmarks.vocabulary import UnsupportedError, Values, Vocabulary
from benchmarks.workload import Adam, Array, Gradient, Hessian, Minimum, Momentum, Spec, Training, Workload

__all__ = ["PEER"]

# As a variable of PyTensor; it declares no more.
Tensor = Any
Updates = dict[Tensor, Tensor]
_FLOAT = np.float32


class _Words(Vocabulary):
    lacks = "no {name} in its Numba mode"
    exp = staticmethod(pt.exp)
    tanh = staticmethod(pt.tanh)
    sigmoid = staticmethod(pt.sigmoid)
    total = staticmethod(pt.sum)
    mean = staticmethod(pt.mean)

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b

    def relu(self, x: Tensor) -> Tensor:
        return pt.maximum(x, _FLOAT(0))

    def gelu(self, x: Tensor) -> Tensor:
        return x * (_FLOAT(0.5) + _FLOAT(0.5) * pt.erf(x * _FLOAT(2**-0.5)))

    def dense(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return pt.dot(x, weight) + bias

    def lstm(self, x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
        inputs = (pt.dot(x, kernel) + bias).transpose(1, 0, 2)
        hidden = recurrent.shape[0]
        state = pt.zeros((x.shape[0], hidden), dtype="float32")

        def cell(now: Tensor, h: Tensor, c: Tensor, recurrent: Tensor) -> list[Tensor]:
            gates = now + pt.dot(h, recurrent)
            i, j, g, o = (gates[:, k * hidden : (k + 1) * hidden] for k in range(4))
            c = pt.sigmoid(j) * c + pt.sigmoid(i) * pt.tanh(g)
            return [pt.sigmoid(o) * pt.tanh(c), c]

        (states, _) = pytensor.scan(cell, [inputs], [state, state], [recurrent], return_updates=False)
        return states.transpose(1, 0, 2)

    def gru(
        self, x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor, recurrent_bias: Tensor
    ) -> Tensor:
        inputs = (pt.dot(x, kernel) + bias).transpose(1, 0, 2)
        hidden = recurrent.shape[0]
        state = pt.zeros((x.shape[0], hidden), dtype="float32")

        def cell(now: Tensor, h: Tensor, recurrent: Tensor, recurrent_bias: Tensor) -> Tensor:
            gates = pt.dot(h, recurrent) + recurrent_bias
            r, u, n = (now[:, k * hidden : (k + 1) * hidden] for k in range(3))
            hr, hu, hn = (gates[:, k * hidden : (k + 1) * hidden] for k in range(3))
            u = pt.sigmoid(u + hu)
            return u * h + (_FLOAT(1) - u) * pt.tanh(n + pt.sigmoid(r + hr) * hn)

        weights = [recurrent, recurrent_bias]
        return pytensor.scan(cell, [inputs], [state], weights, return_updates=False).transpose(1, 0, 2)

    def iterate(
        self, step: Callable[[Tensor], Tensor], state: Tensor, count: int, every: int | None = None
    ) -> Tensor:
        if every is not None:
            raise UnsupportedError("keeps everything for the gradients of its loops")
        return pytensor.scan(step, outputs_info=[state], n_steps=count, return_updates=False)[-1]

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = pt.matmul(q, k.transpose(0, 2, 1)) * _FLOAT(k.type.shape[-1] ** -0.5)
        return pt.matmul(self.softmax(scores), v)

    def softmax(self, x: Tensor) -> Tensor:
        return pt.special.softmax(x, axis=-1)

    def layer_norm(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        centred = x - pt.mean(x, axis=-1, keepdims=True)
        variance = pt.mean(pt.sqr(centred), axis=-1, keepdims=True)
        return centred / pt.sqrt(variance + _FLOAT(1e-5)) * scale + shift

    def rows(self, x: Tensor) -> Tensor:
        return x.reshape((-1, x.shape[-1]))

    def embedding(self, table: Tensor, indices: Tensor) -> Tensor:
        return table[indices]

    def cross_entropy(self, scores: Tensor, labels: Tensor) -> Tensor:
        logs = pt.special.log_softmax(scores, axis=-1)
        return -pt.mean(logs[pt.arange(labels.shape[0]), labels])

    def binary_cross_entropy(self, scores: Tensor, targets: Tensor) -> Tensor:
        return pt.mean(pt.softplus(scores) - targets * scores)


# ------------------------------------------------------------------- optimizers
def _zeros_like(weight: Tensor) -> Tensor:
    return pytensor.shared(np.zeros_like(weight.get_value(borrow=True)), shape=weight.type.shape)


def _adam(chosen: Adam, gradients: Mapping[Tensor, Tensor]) -> Updates:
    finished = pytensor.shared(_FLOAT(0))
    number = finished + _FLOAT(1)
    b1, b2, eps = map(_FLOAT, (chosen.beta1, chosen.beta2, chosen.eps))
    rate = _FLOAT(chosen.rate) / (_FLOAT(1) - b1**number)
    root = pt.sqrt(_FLOAT(1) - b2**number)
    updates: Updates = {finished: number}
    for weight, gradient in gradients.items():
        m, v = _zeros_like(weight), _zeros_like(weight)
        updates[m] = b1 * m + (_FLOAT(1) - b1) * gradient
        updates[v] = b2 * v + (_FLOAT(1) - b2) * gradient * gradient
        updates[weight] = weight - rate * updates[m] / (pt.sqrt(updates[v]) / root + eps)
    return updates


def _momentum(chosen: Momentum, gradients: Mapping[Tensor, Tensor]) -> Updates:
    updates: Updates = {}
    for weight, gradient in gradients.items():
        v = _zeros_like(weight)
        updates[v] = _FLOAT(chosen.momentum) * v + gradient
        updates[weight] = weight - _FLOAT(chosen.rate) * updates[v]
    return updates


def _updates(task: Training, gradients: Mapping[Tensor, Tensor]) -> Updates:
    chosen = task.optimizer
    return _adam(chosen, gradients) if isinstance(chosen, Adam) else _momentum(chosen, gradients)


# ------------------------------------------------------------------------ steps
def _input(name: str, spec: Spec, varies: bool) -> Tensor:
    return pt.tensor(name, dtype=spec.dtype, shape=(None, *spec.shape[1:]) if varies else spec.shape)


def _results(workload: Workload, value: Tensor, values: Values) -> tuple[list[Tensor], Updates]:
    """Return what the function returns, and the variables that it changes."""
    task = workload.task
    if isinstance(task, (Hessian, Minimum)):
        raise UnsupportedError("second derivatives row by row only")
    if isinstance(task, Gradient):
        operands = [values[name] for name in task.wrt]
        gradients = pytensor.grad(None, operands, known_grads={value: values["cotangent"]})
        return ([value, *gradients] if task.value else list(gradients)), {}
    if isinstance(task, Training):
        trained = [values[name] for name in workload.trained]
        return [value], _updates(task, dict(zip(trained, pytensor.grad(value, trained), strict=True)))
    return [value], {}


class _Runner:
    def __init__(self, workload: Workload, varies: bool) -> None:
        inputs = {name: _input(name, spec, varies) for name, spec in workload.inputs.items()}
        first = workload.first_weights()
        weights = {name: pytensor.shared(a, name, shape=a.shape) for name, a in first.items()}
        values = inputs | weights
        settings = {"mode": "NUMBA", "on_unused_input": "ignore"}
        # Python's numbers take this type, too.
        with pytensor.config.change_flags(floatX="float32"):
            value = workload.body(_Words(workload.training), values)
            results, updates = _results(workload, value, values)
            self.call = pytensor.function(list(inputs.values()), results, updates=updates, **settings)
        held = dict.fromkeys((*weights.values(), *updates))
        self.first = [(variable, variable.get_value()) for variable in held]
        # The inputs are of the right types already.
        self.call.trust_input = True

    def prepare(self, feed: Mapping[str, Array]) -> list[Array]:
        return list(feed.values())

    def reset(self) -> None:
        for variable, value in self.first:
            variable.set_value(value)

    def step(self, feed: list[Array]) -> Any:
        return self.call(*feed)

    def arrays(self, results: list[Any]) -> list[Array]:
        return [np.asarray(result) for result in results]

    def compilations(self) -> int:
        return 1


def _keep_compiled_in(directory: str) -> None:
    # It reads its settings when it is imported, and offers no other way to change this one.
    cache.NUMBA_CACHE_PATH = Path(directory)


PEER = Peer(_Runner, _keep_compiled_in)
