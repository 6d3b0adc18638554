"""PyTorch as most people run it: eagerly, but with the fused form of the optimizer."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from benchmarks.peers import Peer
from benchmarks.vocabulary import Values, Vocabulary
from benchmarks.workload import (
    Adam,
    Array,
    Forward,
    Gradient,
    Hessian,
    Minimum,
    Momentum,
    Role,
    Training,
    Workload,
)

__all__ = ["PEER", "TorchRunner"]

Tensor = torch.Tensor
Feed = dict[str, Tensor]
# Outputs of a convolution from which on channels lie last.
WIDE = 32


class _Words(Vocabulary):
    exp = staticmethod(torch.exp)
    tanh = staticmethod(torch.tanh)
    sigmoid = staticmethod(torch.sigmoid)
    relu = staticmethod(functional.relu)
    gelu = staticmethod(functional.gelu)
    matmul = staticmethod(torch.matmul)
    # PyTorch keeps the weight of a dense layer transposed.
    dense = staticmethod(functional.linear)
    conv2d = staticmethod(functional.conv2d)
    max_pool = staticmethod(functional.max_pool2d)
    mean = staticmethod(torch.mean)
    total = staticmethod(torch.sum)
    cross_entropy = staticmethod(functional.cross_entropy)
    binary_cross_entropy = staticmethod(functional.binary_cross_entropy_with_logits)

    def lstm(self, x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
        state = torch.zeros(1, x.shape[0], recurrent.shape[1])
        # PyTorch adds two biases.
        weights = (kernel, recurrent, bias, torch.zeros_like(bias))
        return torch.lstm(x, (state, state), weights, True, 1, 0.0, self.training, False, True)[0]

    def gru(
        self, x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor, recurrent_bias: Tensor
    ) -> Tensor:
        state = torch.zeros(1, x.shape[0], recurrent.shape[1])
        weights = (kernel, recurrent, bias, recurrent_bias)
        return torch.gru(x, state, weights, True, 1, 0.0, self.training, False, True)[0]

    def iterate(
        self, step: Callable[[Tensor], Tensor], state: Tensor, count: int, every: int | None = None
    ) -> Tensor:
        def run(steps: int, h: Tensor) -> Tensor:
            for _ in range(steps):
                h = step(h)
            return h

        if every is None:
            return run(count, state)
        for first in range(0, count, every):
            steps = min(every, count - first)
            state = checkpoint(run, steps, state, use_reentrant=False, preserve_rng_state=False)
        return state

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        heads = (t.unsqueeze(1) for t in (q, k, v))
        return functional.scaled_dot_product_attention(*heads).squeeze(1)

    def softmax(self, x: Tensor) -> Tensor:
        return functional.softmax(x, dim=-1)

    def layer_norm(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return functional.layer_norm(x, scale.shape, scale, shift)

    def batch_norm(self, x: Tensor, values: Values, name: str) -> Tensor:
        scale, shift, mean, var = (values[f"{name}.{part}"] for part in ("scale", "shift", "mean", "var"))
        return functional.batch_norm(x, mean, var, scale, shift, self.training)

    def flatten(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def rows(self, x: Tensor) -> Tensor:
        return x.flatten(0, -2)

    def embedding(self, table: Tensor, indices: Tensor) -> Tensor:
        return functional.embedding(indices, table)

    def mean_of_image(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class TorchRunner:
    """A workload in PyTorch, eagerly.

    Parameters
    ----------
    workload : Workload
        What to do.
    """

    def __init__(self, workload: Workload) -> None:
        if hasattr(os, "sched_getaffinity"):
            torch.set_num_threads(len(os.sched_getaffinity(0)))
        self.workload = workload
        self.layout = _layout(workload)
        self.first = {
            name: _tensor(array, workload.weights[name].role, self.layout)
            for name, array in workload.first_weights().items()
        }
        self.weights = {name: tensor.clone() for name, tensor in self.first.items()}
        if not isinstance(workload.task, Forward):
            for name in workload.trained:
                self.weights[name].requires_grad_()
        self.words = _Words(workload.training)
        self.body = self.prepared(functools.partial(workload.body, self.words))
        tasks = {
            Forward: self._forward,
            Gradient: self._differentiate,
            Training: self._train,
            Hessian: self._differentiate_twice,
            Minimum: self._search,
        }
        self.call = tasks[type(workload.task)]
        self.newton = self.whole(self._newton)
        self.second = self.whole(self._hessian)
        self.reset()

    def prepared(self, body: Callable[[Feed], Tensor]) -> Callable[[Feed], Tensor]:
        """Return what computes the body's value from the inputs."""
        return lambda feed: body(feed | self.weights)

    def whole(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Return a step that takes derivatives itself, which the body is part of."""
        return step

    def _forward(self, feed: Feed) -> list[Tensor]:
        with torch.inference_mode():
            return [self.body(feed)]

    def _differentiate(self, feed: Feed) -> list[Tensor]:
        task = self.workload.task
        assert isinstance(task, Gradient)
        value = self.body(feed) if task.value else self._kept(feed)
        operands = [(feed | self.weights)[name] for name in task.wrt]
        gradients = torch.autograd.grad(value, operands, feed["cotangent"], retain_graph=not task.value)
        return [value, *gradients] if task.value else list(gradients)

    def _kept(self, feed: Feed) -> Tensor:
        """Return the value, computed once: only its gradient is asked for again and again."""
        if self.kept is None:
            self.kept = self.body(feed)
        return self.kept

    def _train(self, feed: Feed) -> list[Tensor]:
        self.optimizer.zero_grad()
        loss = self.body(feed)
        loss.backward()
        self.optimizer.step()
        return [loss]

    def _loss_by(self, wrt: str, feed: Feed) -> Callable[[Tensor], Tensor]:
        return lambda w: self.workload.body(self.words, feed | self.weights | {wrt: w})

    def _hessian(self, w: Tensor, feed: Feed) -> Tensor:
        task = self.workload.task
        assert isinstance(task, Hessian)
        return torch.func.hessian(self._loss_by(task.wrt, feed))(w)

    def _differentiate_twice(self, feed: Feed) -> list[Tensor]:
        task = self.workload.task
        assert isinstance(task, Hessian)
        with torch.no_grad():
            return [self.second(self.first[task.wrt], feed)]

    def _newton(self, w: Tensor, feed: Feed) -> tuple[Tensor, Tensor]:
        """Return the next point and the gradient at this one; so few equations are solved directly."""
        task = self.workload.task
        assert isinstance(task, Minimum)
        loss = self._loss_by(task.wrt, feed)
        gradient = torch.func.grad(loss)(w)
        return w - torch.linalg.solve(torch.func.hessian(loss)(w), gradient), gradient

    def _search(self, feed: Feed) -> list[Tensor]:
        task = self.workload.task
        assert isinstance(task, Minimum)
        with torch.no_grad():
            w = self.first[task.wrt]
            for _ in range(task.steps):
                following, gradient = self.newton(w, feed)
                if gradient.abs().max() <= task.tolerance:
                    break
                w = following
        return [w]

    def prepare(self, feed: Mapping[str, Array]) -> Feed:
        """Return the inputs as tensors."""
        specs, task = self.workload.inputs, self.workload.task
        found = {name: _tensor(a, specs[name].role, self.layout) for name, a in feed.items()}
        self.kept: Tensor | None = None
        for name in task.wrt if isinstance(task, Gradient) else ():
            (found | self.weights)[name].requires_grad_()
        return found

    def reset(self) -> None:
        """Start over from the first weights."""
        task = self.workload.task
        if not isinstance(task, Training):
            return
        with torch.no_grad():
            for name, value in self.first.items():
                self.weights[name].copy_(value)
        self.optimizer = _optimizer(task.optimizer, [self.weights[name] for name in self.workload.trained])

    def step(self, feed: Feed) -> list[Tensor]:
        """Run once."""
        return self.call(feed)

    def arrays(self, results: list[Tensor]) -> list[Array]:
        """Return the results as arrays."""
        return [_array(r, role) for r, role in zip(results, self.workload.roles, strict=True)]

    def compilations(self) -> int:
        """Return 0: nothing is compiled."""
        return 0


def _layout(workload: Workload) -> torch.memory_format:
    """Return how images lie in memory.

    Measured on the networks and convolutions of this benchmark, channels last take a fifth less
    time where there are many; with few channels, and for gradients of weights alone, they take more.
    """
    task = workload.task
    shapes = [s.shape for s in (*workload.weights.values(), *workload.inputs.values()) if s.role == "conv"]
    wide = max((shape[0] for shape in shapes), default=0) >= WIDE
    weight_alone = isinstance(task, Gradient) and "x" not in task.wrt
    return torch.channels_last if wide and not weight_alone else torch.contiguous_format


def _tensor(array: Array, role: Role, layout: torch.memory_format) -> Tensor:
    tensor = torch.from_numpy(array.copy())
    if role in ("images", "conv"):
        return tensor.contiguous(memory_format=layout)
    return tensor.T.contiguous() if role == "dense" else tensor


def _array(tensor: Tensor, role: Role) -> Array:
    found = np.array(tensor.detach().numpy())
    return found.T if role == "dense" else found


def _optimizer(chosen: Adam | Momentum, weights: list[Tensor]) -> torch.optim.Optimizer:
    if isinstance(chosen, Adam):
        betas = (chosen.beta1, chosen.beta2)
        return torch.optim.Adam(weights, chosen.rate, betas, chosen.eps, fused=True)
    return torch.optim.SGD(weights, chosen.rate, chosen.momentum, fused=True)


def _build(workload: Workload, varies: bool) -> TorchRunner:
    return TorchRunner(workload)


PEER = Peer(_build)
