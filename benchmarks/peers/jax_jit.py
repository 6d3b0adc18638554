"""JAX: the whole step under one `jax.jit`, old weights donated, images with channels last."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.peers import Peer
from benchmarks.workloads import Conv, Dense, Layer, MaxPool, Workload

__all__ = ["PEER"]

_ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, None: lambda h: h}
_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8


def _apply(layer: Layer, h: jax.Array, weights: tuple[jax.Array, jax.Array] | None) -> jax.Array:
    if isinstance(layer, MaxPool):
        window = (1, layer.window, layer.window, 1)
        return lax.reduce_window(h, -jnp.inf, lax.max, window, window, "VALID")
    if weights is None or not isinstance(layer, (Conv, Dense)):
        # Channels first, so that the next weight means the same in all frameworks.
        return h.transpose(0, 3, 1, 2).reshape(h.shape[0], -1)
    weight, bias = weights
    if isinstance(layer, Dense):
        return _ACTIVATIONS[layer.activation](h @ weight + bias)
    padding = [(layer.padding, layer.padding)] * 2
    h = lax.conv_general_dilated(h, weight, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return _ACTIVATIONS[layer.activation](h + bias)


def _loss(workload: Workload, weights: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    left = iter(weights)
    for layer in workload.layers:
        x = _apply(layer, x, next(left) if isinstance(layer, (Conv, Dense)) else None)
    if workload.loss == "binary":
        return jnp.mean(jax.nn.softplus(x) - y * x)
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], axis=1))


def _channels_last(array: Any) -> jax.Array:
    """Return a copy; of images and their weights, one with channels where XLA is fast on CPUs."""
    return jnp.array(array.transpose(2, 3, 1, 0) if array.ndim == 4 else array)


class _Trainer:
    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        x, y = workload.data()
        self.x, self.y = jnp.array(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x), jnp.array(y)
        self.compiled = jax.jit(self._step, donate_argnums=0)
        self.reset()

    def _step(self, state: Any, x: jax.Array, y: jax.Array) -> Any:
        weights, m, v, number = state
        loss, gradients = jax.value_and_grad(lambda w: _loss(self.workload, w, x, y))(weights)
        number = number + 1
        m = jax.tree.map(lambda a, g: _BETA1 * a + (1 - _BETA1) * g, m, gradients)
        v = jax.tree.map(lambda a, g: _BETA2 * a + (1 - _BETA2) * g * g, v, gradients)
        rate = self.workload.learning_rate / (1 - _BETA1**number)
        root = jnp.sqrt(1 - _BETA2**number)
        weights = jax.tree.map(lambda w, a, b: w - rate * a / (jnp.sqrt(b) / root + _EPS), weights, m, v)
        return (weights, m, v, number), loss

    def reset(self) -> None:
        weights = [tuple(map(_channels_last, pair)) for pair in self.workload.weights()]
        zeros = [jax.tree.map(jnp.zeros_like, weights) for _ in range(2)]
        self.state = (weights, *zeros, jnp.float32(0))

    def step(self) -> Any:
        self.state, loss = self.compiled(self.state, self.x, self.y)
        return loss.block_until_ready()


def _keep_compiled_in(directory: str) -> None:
    jax.config.update("jax_compilation_cache_dir", directory)
    # By default it keeps only what took long to compile.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


PEER = Peer("jax.jit", _Trainer, _keep_compiled_in)
