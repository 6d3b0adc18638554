"""graphc: the step is compiled ahead of time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import graphc as gx
from benchmarks.peers import Peer
from benchmarks.vocabulary import Values, Vocabulary
from benchmarks.workload import Adam, Array, Forward, Gradient, Hessian, Minimum, Spec, Training, Workload
from graphc.runtime import kernels
from graphc.runtime.object_cache import set_cache_dir

__all__ = ["PEER", "reference"]

Tensor = gx.Tensor


class _Words(Vocabulary):
    exp = staticmethod(gx.exp)
    tanh = staticmethod(gx.tanh)
    sigmoid = staticmethod(gx.sigmoid)
    relu = staticmethod(gx.relu)
    gelu = staticmethod(gx.gelu)
    matmul = staticmethod(gx.matmul)
    softmax = staticmethod(gx.softmax)
    layer_norm = staticmethod(gx.layer_norm)
    max_pool = staticmethod(gx.max_pool2d)
    mean = staticmethod(gx.mean)
    total = staticmethod(gx.sum)

    def dense(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return x @ weight + bias

    def conv2d(
        self, x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0
    ) -> Tensor:
        y = gx.conv2d(x, weight, stride, padding)
        return y if bias is None else y + bias.reshape((1, -1, 1, 1))

    def lstm(self, x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
        state = gx.zeros((x.shape[0], recurrent.shape[0]))

        def cell(carry: tuple[Tensor, Tensor], now: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
            h, c = carry
            i, j, g, o = gx.split(now @ kernel + h @ recurrent + bias, 4, axis=-1)
            c = gx.sigmoid(j) * c + gx.sigmoid(i) * gx.tanh(g)
            h = gx.sigmoid(o) * gx.tanh(c)
            return (h, c), h

        return gx.swapaxes(gx.scan(cell, (state, state), gx.swapaxes(x, 0, 1))[1], 0, 1)

    def gru(
        self, x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor, recurrent_bias: Tensor
    ) -> Tensor:
        def cell(h: Tensor, now: Tensor) -> tuple[Tensor, Tensor]:
            r, u, n = gx.split(now @ kernel + bias, 3, axis=-1)
            hr, hu, hn = gx.split(h @ recurrent + recurrent_bias, 3, axis=-1)
            u = gx.sigmoid(u + hu)
            h = u * h + (1 - u) * gx.tanh(n + gx.sigmoid(r + hr) * hn)
            return h, h

        state = gx.zeros((x.shape[0], recurrent.shape[0]))
        return gx.swapaxes(gx.scan(cell, state, gx.swapaxes(x, 0, 1))[1], 0, 1)

    def iterate(
        self, step: Callable[[Tensor], Tensor], state: Tensor, count: int, every: int | None = None
    ) -> Tensor:
        kept: Literal["all", "none"] | int = "all" if every is None else "none" if every == 1 else every
        return gx.scan(lambda h, _: (step(h), None), state, length=count, residuals=kept)[0]

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = q @ gx.matrix_transpose(k) * q.shape[-1] ** -0.5
        return gx.softmax(scores) @ v

    def batch_norm(self, x: Tensor, values: Values, name: str) -> Tensor:
        scale, shift, *running = (values[f"{name}.{part}"] for part in ("scale", "shift", "mean", "var"))
        if not self.training:
            return gx.batch_norm(x, *running, scale, shift)
        y, *batch = gx.batch_norm_training(x, scale, shift)
        for variable, value in zip(running, batch, strict=True):
            y = gx.with_update(y, variable, 0.9 * variable + 0.1 * value)
        return y

    def flatten(self, x: Tensor) -> Tensor:
        return gx.nn.Flatten()(x)

    def rows(self, x: Tensor) -> Tensor:
        return x.reshape((-1, x.shape[-1]))

    def embedding(self, table: Tensor, indices: Tensor) -> Tensor:
        return gx.take(table, indices, axis=0)

    def mean_of_image(self, x: Tensor) -> Tensor:
        return x.mean(axis=(2, 3))

    def cross_entropy(self, scores: Tensor, labels: Tensor) -> Tensor:
        return gx.nn.softmax_cross_entropy(scores, labels).mean()

    def binary_cross_entropy(self, scores: Tensor, targets: Tensor) -> Tensor:
        return (gx.softplus(scores) - targets * scores).mean()


class _Graph:
    """The workload as a graph: placeholders, variables, results."""

    def __init__(self, workload: Workload, varies: bool) -> None:
        self.inputs = {name: _placeholder(name, spec, varies) for name, spec in workload.inputs.items()}
        self.weights = {name: _weight(workload, name, a) for name, a in workload.first_weights().items()}
        values = self.inputs | self.weights
        self.value = workload.body(_Words(workload.training), values)
        self.results = _results(workload, self.value, values)


def _placeholder(name: str, spec: Spec, varies: bool) -> Tensor:
    shape = ("batch", *spec.shape[1:]) if varies else spec.shape
    return gx.placeholder(name, shape=shape, dtype=spec.dtype)


def _weight(workload: Workload, name: str, array: Array) -> Tensor:
    if isinstance(workload.task, Forward):
        return gx.constant(array)
    return gx.variable(array, name=name, trainable=workload.weights[name].trained)


def _results(workload: Workload, value: Tensor, values: Values) -> list[Tensor]:
    task = workload.task
    if isinstance(task, Hessian):
        return [gx.hessian(value, values[task.wrt])]
    if isinstance(task, Minimum):
        method = gx.optim.NewtonCG(max_iterations=task.steps, tolerance=task.tolerance)
        return list(method.minimize(value, [values[task.wrt]]).minimum.x)
    if not isinstance(task, Gradient):
        return [value]
    gradients = gx.grad((value * values["cotangent"]).sum(), [values[name] for name in task.wrt])
    return [value, *gradients] if task.value else list(gradients)


class _Runner:
    def __init__(self, workload: Workload, varies: bool) -> None:
        graph, updates = _Graph(workload, varies), None
        if isinstance(workload.task, Training):
            updates = _optimizer(workload.task).minimize(graph.value)
        self.program = gx.compile(list(graph.inputs.values()), graph.results, updates=updates)
        held = dict.fromkeys((*graph.weights.values(), *(updates or ())))
        self.first = [(v, v.value) for v in held if isinstance(v, gx.Variable)]
        self.kernels = kernels.compilations()

    def prepare(self, feed: Mapping[str, Array]) -> list[Array]:
        return list(feed.values())

    def reset(self) -> None:
        for variable, value in self.first:
            variable.value = value

    def step(self, feed: list[Array]) -> Any:
        return self.program(*feed)

    def arrays(self, results: list[Array]) -> list[Array]:
        return list(results)

    def compilations(self) -> int:
        # The program, and any kernel since.
        return 1 + kernels.compilations() - self.kernels


def _optimizer(task: Training) -> gx.optim.Optimizer:
    chosen = task.optimizer
    if isinstance(chosen, Adam):
        return gx.optim.Adam(chosen.rate, chosen.beta1, chosen.beta2, chosen.eps)
    return gx.optim.Momentum(chosen.rate, chosen.momentum)


def reference(workload: Workload) -> list[Array]:
    """Return the results of the first step by the NumPy interpreter."""
    graph, feed = _Graph(workload, False), workload.feed()
    return [gx.evaluate(r, {graph.inputs[n]: a for n, a in feed.items()}) for r in graph.results]


PEER = Peer(_Runner, set_cache_dir)
