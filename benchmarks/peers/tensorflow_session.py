"""TensorFlow as it was in its first version: a graph, built once, and a session that runs it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.peers import Peer
from benchmarks.vocabulary import UnsupportedError, Values, Vocabulary
from benchmarks.workload import (
    Adam,
    Array,
    Forward,
    Gradient,
    Hessian,
    Minimum,
    Role,
    Spec,
    Training,
    Workload,
)

__all__ = ["PEER"]

v1 = tf.compat.v1
Tensor = Any
# Its CPU kernels know images with channels last only.
_TO_TF = {"images": (0, 2, 3, 1), "conv": (2, 3, 1, 0)}
_FROM_TF = {"images": (0, 3, 1, 2), "conv": (3, 2, 0, 1)}


class _Words(Vocabulary):
    exp = staticmethod(tf.exp)
    tanh = staticmethod(tf.tanh)
    sigmoid = staticmethod(tf.sigmoid)
    relu = staticmethod(tf.nn.relu)
    gelu = staticmethod(tf.nn.gelu)
    matmul = staticmethod(tf.matmul)
    softmax = staticmethod(tf.nn.softmax)
    embedding = staticmethod(tf.nn.embedding_lookup)
    mean = staticmethod(tf.reduce_mean)
    total = staticmethod(tf.reduce_sum)

    def dense(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        # The session's product of a matrix with every matrix of a batch is slower than one product.
        product = tf.matmul(tf.reshape(x, (-1, weight.shape[0])), weight)
        return tf.reshape(tf.nn.bias_add(product, bias), (-1, *x.shape[1:-1], weight.shape[1]))

    def conv2d(
        self, x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0
    ) -> Tensor:
        y = tf.nn.conv2d(x, weight, stride, _around(padding))
        return y if bias is None else tf.nn.bias_add(y, bias)

    def lstm(self, x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
        batch, steps, _ = x.shape
        hidden = recurrent.shape[0]
        state, none = tf.zeros((batch, hidden)), tf.zeros(hidden)
        found = tf.raw_ops.BlockLSTM(
            seq_len_max=steps,
            x=tf.transpose(x, (1, 0, 2)),
            cs_prev=state,
            h_prev=state,
            w=_candidate_second(tf.concat((kernel, recurrent), 0)),
            wci=none,
            wcf=none,
            wco=none,
            b=_candidate_second(bias),
            forget_bias=0.0,
        )
        return tf.transpose(found.h, (1, 0, 2))

    def iterate(
        self, step: Callable[[Tensor], Tensor], state: Tensor, count: int, every: int | None = None
    ) -> Tensor:
        if every is not None:
            raise UnsupportedError("keeps everything for the gradients of its loops")
        start = (tf.constant(0), state)
        return tf.while_loop(
            lambda t, _: t < count, lambda t, h: (t + 1, step(h)), start, maximum_iterations=count
        )[1]

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = tf.matmul(q, k, transpose_b=True) * q.shape[-1] ** -0.5
        return tf.matmul(tf.nn.softmax(scores), v)

    def layer_norm(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        mean, var = tf.nn.moments(x, -1, keepdims=True)
        return tf.nn.batch_normalization(x, mean, var, shift, scale, 1e-5)

    def batch_norm(self, x: Tensor, values: Values, name: str) -> Tensor:
        scale, shift, *running = (values[f"{name}.{part}"] for part in ("scale", "shift", "mean", "var"))
        if not self.training:
            return v1.nn.fused_batch_norm(x, scale, shift, *running, 1e-5, is_training=False)[0]
        y, *batch = v1.nn.fused_batch_norm(x, scale, shift, epsilon=1e-5)
        for part, old, new in zip(("mean", "var"), running, batch, strict=True):
            self.moved[f"{name}.{part}"] = old.assign(0.9 * old + 0.1 * new)
        return y

    def flatten(self, x: Tensor) -> Tensor:
        # Channels first, so that the next weight means the same in all frameworks.
        return tf.reshape(tf.transpose(x, (0, 3, 1, 2)), (-1, int(np.prod(x.shape[1:]))))

    def rows(self, x: Tensor) -> Tensor:
        return tf.reshape(x, (-1, x.shape[-1]))

    def max_pool(self, x: Tensor, window: int, stride: int, padding: int = 0) -> Tensor:
        return tf.nn.max_pool2d(x, window, stride, _around(padding))

    def mean_of_image(self, x: Tensor) -> Tensor:
        return tf.reduce_mean(x, (1, 2))

    def cross_entropy(self, scores: Tensor, labels: Tensor) -> Tensor:
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores))

    def binary_cross_entropy(self, scores: Tensor, targets: Tensor) -> Tensor:
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, scores))


def _around(padding: int) -> list[list[int]]:
    return [[0, 0], [padding, padding], [padding, padding], [0, 0]]


def _candidate_second(weight: Tensor) -> Tensor:
    """Exchange the columns of the forget gate and the candidate: the fused cell wants them so."""
    i, f, g, o = tf.split(weight, 4, axis=-1)
    return tf.concat((i, g, f, o), -1)


class _Runner:
    def __init__(self, workload: Workload, varies: bool) -> None:
        self.workload = workload
        graph = tf.Graph()
        with graph.as_default():
            fetches, inputs = self._build(workload, varies)
            start = v1.global_variables_initializer()
        settings = v1.ConfigProto()
        if hasattr(os, "sched_getaffinity"):
            settings.intra_op_parallelism_threads = len(os.sched_getaffinity(0))
        self.session = v1.Session(graph=graph, config=settings)
        self.start = self.session.make_callable(start)
        self.call = self.session.make_callable(fetches, inputs)
        self.reset()

    def _build(self, workload: Workload, varies: bool) -> tuple[list[Tensor], list[Tensor]]:
        inputs = {name: _placeholder(name, spec, varies) for name, spec in workload.inputs.items()}
        weights = {
            name: _weight(workload, name, _laid_out(array, workload.weights[name].role))
            for name, array in workload.first_weights().items()
        }
        values, words = inputs | weights, _Words(workload.training)
        value = workload.body(words, values)
        task, found = workload.task, list(inputs.values())
        if isinstance(task, (Hessian, Minimum)):
            raise UnsupportedError("second derivatives row by row only")
        if isinstance(task, Gradient):
            gradients = tf.gradients(value, [values[name] for name in task.wrt], values["cotangent"])
            return ([value, *gradients] if task.value else gradients), found
        if isinstance(task, Training):
            step = _minimize(task, value, [weights[name] for name in workload.trained])
            with tf.control_dependencies([step, *words.moved.values()]):
                return [tf.identity(value)], found
        return [value], found

    def prepare(self, feed: Mapping[str, Array]) -> list[Array]:
        specs = self.workload.inputs
        return [np.asarray(_laid_out(a, specs[name].role), order="C") for name, a in feed.items()]

    def reset(self) -> None:
        self.start()

    def step(self, feed: list[Array]) -> Any:
        return self.call(*feed)

    def arrays(self, results: list[Array]) -> list[Array]:
        pairs = zip(results, self.workload.roles, strict=True)
        return [np.transpose(r, _FROM_TF.get(role, range(np.ndim(r)))) for r, role in pairs]

    def compilations(self) -> int:
        return 1


def _laid_out(array: Array, role: Role) -> Array:
    return array.transpose(_TO_TF.get(role, range(array.ndim)))


def _placeholder(name: str, spec: Spec, varies: bool) -> Tensor:
    shape: list[int | None] = [spec.shape[axis] for axis in _TO_TF.get(spec.role, range(len(spec.shape)))]
    return v1.placeholder(spec.dtype, [None, *shape[1:]] if varies else shape, name)


def _weight(workload: Workload, name: str, array: Array) -> Tensor:
    if isinstance(workload.task, Forward):
        return tf.constant(array)
    return v1.Variable(array, trainable=workload.weights[name].trained, use_resource=True)


def _minimize(task: Training, loss: Tensor, trained: list[Tensor]) -> Tensor:
    chosen = task.optimizer
    if not isinstance(chosen, Adam):
        return v1.train.MomentumOptimizer(chosen.rate, chosen.momentum).minimize(loss, var_list=trained)
    finished = v1.Variable(0, trainable=False, dtype="int64", use_resource=True)
    number = tf.cast(finished + 1, "float32")
    # TensorFlow adds it to the square root before correcting the bias, the others afterwards.
    eps = chosen.eps * tf.sqrt(1.0 - chosen.beta2**number)
    adam = v1.train.AdamOptimizer(chosen.rate, chosen.beta1, chosen.beta2, eps)
    return adam.minimize(loss, finished, trained)


PEER = Peer(_Runner)
