"""JAX: the whole step under one `jax.jit`, old weights donated, images with channels last."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.peers import Peer
from benchmarks.vocabulary import Values, Vocabulary
from benchmarks.workload import (
    Adam,
    Array,
    Gradient,
    Hessian,
    Minimum,
    Momentum,
    Role,
    Spec,
    Training,
    Workload,
)

__all__ = ["PEER"]

Tensor = jax.Array
State = Any
# XLA convolves fastest on CPUs with channels last.
_TO_JAX = {"images": (0, 2, 3, 1), "conv": (2, 3, 1, 0)}
_FROM_JAX = {"images": (0, 3, 1, 2), "conv": (3, 2, 0, 1)}


class _Words(Vocabulary):
    exp = staticmethod(jnp.exp)
    tanh = staticmethod(jnp.tanh)
    sigmoid = staticmethod(jax.nn.sigmoid)
    relu = staticmethod(jax.nn.relu)
    matmul = staticmethod(jnp.matmul)
    softmax = staticmethod(jax.nn.softmax)
    mean = staticmethod(jnp.mean)
    total = staticmethod(jnp.sum)

    def gelu(self, x: Tensor) -> Tensor:
        return jax.nn.gelu(x, approximate=False)

    def dense(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return x @ weight + bias

    def conv2d(
        self, x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0
    ) -> Tensor:
        layout, around = ("NHWC", "HWIO", "NHWC"), [(padding, padding)] * 2
        y = lax.conv_general_dilated(x, weight, (stride, stride), around, dimension_numbers=layout)
        return y if bias is None else y + bias

    def lstm(self, x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
        inputs = jnp.swapaxes(x @ kernel + bias, 0, 1)
        state = jnp.zeros((x.shape[0], recurrent.shape[0]))

        def cell(carry: tuple[Tensor, Tensor], now: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
            h, c = carry
            i, j, g, o = jnp.split(now + h @ recurrent, 4, axis=-1)
            c = jax.nn.sigmoid(j) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        return jnp.swapaxes(lax.scan(cell, (state, state), inputs)[1], 0, 1)

    def gru(
        self, x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor, recurrent_bias: Tensor
    ) -> Tensor:
        inputs = jnp.swapaxes(x @ kernel + bias, 0, 1)

        def cell(h: Tensor, now: Tensor) -> tuple[Tensor, Tensor]:
            r, u, n = jnp.split(now, 3, axis=-1)
            hr, hu, hn = jnp.split(h @ recurrent + recurrent_bias, 3, axis=-1)
            u = jax.nn.sigmoid(u + hu)
            h = u * h + (1 - u) * jnp.tanh(n + jax.nn.sigmoid(r + hr) * hn)
            return h, h

        state = jnp.zeros((x.shape[0], recurrent.shape[0]))
        return jnp.swapaxes(lax.scan(cell, state, inputs)[1], 0, 1)

    def iterate(
        self, step: Callable[[Tensor], Tensor], state: Tensor, count: int, every: int | None = None
    ) -> Tensor:
        def run(steps: int, h: Tensor) -> Tensor:
            if steps == 1:
                return step(h)
            return lax.scan(lambda h, _: (step(h), None), h, length=steps)[0]

        if every is None:
            return run(count, state)
        # A loop's body needs no protection from being merged with what comes after the loop.
        chunk = jax.checkpoint(functools.partial(run, every), prevent_cse=False)
        chunks, rest = divmod(count, every)
        state = lax.scan(lambda h, _: (chunk(h), None), state, length=chunks)[0]
        return jax.checkpoint(functools.partial(run, rest))(state) if rest else state

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = q @ jnp.swapaxes(k, 1, 2) * q.shape[-1] ** -0.5
        return jax.nn.softmax(scores) @ v

    def layer_norm(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return jax.nn.standardize(x, axis=-1, epsilon=1e-5) * scale + shift

    def batch_norm(self, x: Tensor, values: Values, name: str) -> Tensor:
        scale, shift, mean, var = (values[f"{name}.{part}"] for part in ("scale", "shift", "mean", "var"))
        if self.training:
            old, axes = (mean, var), (0, 1, 2)
            mean, var = jnp.mean(x, axes), jnp.var(x, axes)
            for part, before, now in zip(("mean", "var"), old, (mean, var), strict=True):
                self.moved[f"{name}.{part}"] = 0.9 * before + 0.1 * lax.stop_gradient(now)
        factor = scale * lax.rsqrt(var + 1e-5)
        return x * factor + (shift - mean * factor)

    def flatten(self, x: Tensor) -> Tensor:
        # Channels first, so that the next weight means the same in all frameworks.
        return x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)

    def rows(self, x: Tensor) -> Tensor:
        return x.reshape(-1, x.shape[-1])

    def embedding(self, table: Tensor, indices: Tensor) -> Tensor:
        return table[indices]

    def max_pool(self, x: Tensor, window: int, stride: int, padding: int = 0) -> Tensor:
        sizes, steps = (1, window, window, 1), (1, stride, stride, 1)
        around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
        return lax.reduce_window(x, -jnp.inf, lax.max, sizes, steps, around)

    def mean_of_image(self, x: Tensor) -> Tensor:
        return jnp.mean(x, (1, 2))

    def cross_entropy(self, scores: Tensor, labels: Tensor) -> Tensor:
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], axis=1))

    def binary_cross_entropy(self, scores: Tensor, targets: Tensor) -> Tensor:
        return jnp.mean(jax.nn.softplus(scores) - targets * scores)


# ------------------------------------------------------------------- optimizers
def _adam(chosen: Adam, weights: Values, gradients: Values, state: State) -> tuple[Values, State]:
    m, v, number = state
    b1, b2 = chosen.beta1, chosen.beta2
    number = number + 1
    m = jax.tree.map(lambda a, g: b1 * a + (1 - b1) * g, m, gradients)
    v = jax.tree.map(lambda a, g: b2 * a + (1 - b2) * g * g, v, gradients)
    rate, root = chosen.rate / (1 - b1**number), jnp.sqrt(1 - b2**number)
    new = jax.tree.map(lambda w, a, b: w - rate * a / (jnp.sqrt(b) / root + chosen.eps), weights, m, v)
    return new, (m, v, number)


def _momentum(chosen: Momentum, weights: Values, gradients: Values, state: State) -> tuple[Values, State]:
    v = jax.tree.map(lambda a, g: chosen.momentum * a + g, state, gradients)
    return jax.tree.map(lambda w, a: w - chosen.rate * a, weights, v), v


def _first_state(chosen: Adam | Momentum, weights: Values) -> State:
    def zeros() -> Values:
        return jax.tree.map(jnp.zeros_like, weights)

    return (zeros(), zeros(), jnp.float32(0)) if isinstance(chosen, Adam) else zeros()


# ------------------------------------------------------------------------ steps
def _forward(workload: Workload) -> Callable[[Values, Values], Any]:
    return lambda weights, feed: [workload.body(_Words(), {**weights, **feed})]


def _gradient(workload: Workload, task: Gradient) -> Callable[[Values, Values], Any]:
    def call(weights: Values, feed: Values) -> list[Tensor]:
        values = {**weights, **feed}

        def of(*operands: Tensor) -> Tensor:
            return workload.body(_Words(), {**values, **dict(zip(task.wrt, operands, strict=True))})

        value, pullback = jax.vjp(of, *(values[name] for name in task.wrt))
        gradients = pullback(feed["cotangent"])
        return [value, *gradients] if task.value else list(gradients)

    return call


def _training(workload: Workload, task: Training) -> Callable[[State, Values], Any]:
    def loss_of(trained: Values, other: Values, feed: Values) -> tuple[Tensor, Values]:
        words = _Words(training=True)
        loss = workload.body(words, {**trained, **other, **feed})
        return loss, {**other, **words.moved}

    def call(state: State, feed: Values) -> Any:
        trained, other, slots = state
        (loss, other), gradients = jax.value_and_grad(loss_of, has_aux=True)(trained, other, feed)
        chosen = task.optimizer
        if isinstance(chosen, Adam):
            trained, slots = _adam(chosen, trained, gradients, slots)
        else:
            trained, slots = _momentum(chosen, trained, gradients, slots)
        return (trained, other, slots), [loss]

    return call


def _hessian(workload: Workload, task: Hessian) -> Callable[[Values, Values], Any]:
    def call(weights: Values, feed: Values) -> list[Tensor]:
        return [jax.hessian(_loss_by(workload, task.wrt, weights, feed))(weights[task.wrt])]

    return call


def _minimum(workload: Workload, task: Minimum) -> Callable[[Values, Values], Any]:
    """Return Newton's method with equations solved by conjugate gradients, as accurately as graphc's."""

    def call(weights: Values, feed: Values) -> list[Tensor]:
        gradient = jax.grad(_loss_by(workload, task.wrt, weights, feed))

        def goes_on(state: State) -> Tensor:
            _, g, step = state
            return (jnp.max(jnp.abs(g)) > task.tolerance) & (step < task.steps)

        def body(state: State) -> State:
            w, g, step = state
            forcing = jnp.minimum(0.5, jnp.sqrt(jnp.linalg.norm(g)))
            _, product = jax.linearize(gradient, w)
            direction, _ = jax.scipy.sparse.linalg.cg(product, -g, tol=forcing, maxiter=w.size)
            return w + direction, gradient(w + direction), step + 1

        w = weights[task.wrt]
        return [lax.while_loop(goes_on, body, (w, gradient(w), 0))[0]]

    return call


def _loss_by(workload: Workload, wrt: str, weights: Values, feed: Values) -> Callable[[Tensor], Tensor]:
    return lambda w: workload.body(_Words(), {**weights, **feed, wrt: w})


class _Runner:
    def __init__(self, workload: Workload, varies: bool) -> None:
        self.workload = workload
        task = workload.task
        if isinstance(task, Training):
            self.compiled = jax.jit(_training(workload, task), donate_argnums=0)
        elif isinstance(task, Gradient):
            self.compiled = jax.jit(_gradient(workload, task))
        elif isinstance(task, Hessian):
            self.compiled = jax.jit(_hessian(workload, task))
        elif isinstance(task, Minimum):
            self.compiled = jax.jit(_minimum(workload, task))
        else:
            self.compiled = jax.jit(_forward(workload))
        self.reset()

    def prepare(self, feed: Mapping[str, Array]) -> Values:
        return _laid_out(feed, self.workload.inputs)

    def reset(self) -> None:
        workload, task = self.workload, self.workload.task
        weights = _laid_out(workload.first_weights(), workload.weights)
        if not isinstance(task, Training):
            self.state = weights
            return
        trained = {name: weights.pop(name) for name in workload.trained}
        self.state = (trained, weights, _first_state(task.optimizer, trained))

    def step(self, feed: Values) -> Any:
        found = self.compiled(self.state, feed)
        if self.workload.training:
            self.state, found = found
        return jax.block_until_ready(found)

    def arrays(self, results: list[Tensor]) -> list[Array]:
        return [_array(r, role) for r, role in zip(results, self.workload.roles, strict=True)]

    def compilations(self) -> int:
        return int(self.compiled._cache_size())


def _laid_out(arrays: Mapping[str, Array], specs: Mapping[str, Spec]) -> dict[str, Tensor]:
    return {n: jnp.array(a.transpose(_TO_JAX.get(specs[n].role, range(a.ndim)))) for n, a in arrays.items()}


def _array(tensor: Tensor, role: Role) -> Array:
    found = np.asarray(tensor)
    return found.transpose(_FROM_JAX.get(role, range(found.ndim)))


def _keep_compiled_in(directory: str) -> None:
    jax.config.update("jax_compilation_cache_dir", directory)
    # By default it keeps only what took long to compile.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


PEER = Peer(_Runner, _keep_compiled_in)
