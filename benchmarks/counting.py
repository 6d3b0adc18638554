"""What a workload costs at least: a vocabulary of shapes that counts instead of computing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.vocabulary import Values, Vocabulary
from benchmarks.workload import Gradient, Hessian, Minimum, Training, Workload

__all__ = ["Cost", "cost_of"]

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Cost:
    """Least work of one call.

    Attributes
    ----------
    flops : int
        Multiplications and additions in products of matrices and in convolutions, forward and
        backward; nothing else is counted, and nothing at all of second derivatives.
    nbytes : int
        Inputs, weights and the optimizer's state read once, results and new state written once.
    """

    flops: int
    nbytes: int


@dataclass(frozen=True)
class _Sized:
    """A tensor without values: its shape, and whether its gradient is wanted."""

    shape: tuple[int, ...]
    tracked: bool

    def _with(self, other: Any) -> _Sized:
        if not isinstance(other, _Sized):
            return self
        shape = np.broadcast_shapes(self.shape, other.shape)
        return _Sized(shape, self.tracked or other.tracked)

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = _with

    def __neg__(self) -> _Sized:
        return self


class _Counter(Vocabulary):
    """Adds up the contractions; `forward` tells whether the value itself has to be computed."""

    def __init__(self, forward: bool) -> None:
        super().__init__()
        self.forward, self.flops = forward, 0

    def _book(self, flops: int, *operands: _Sized) -> bool:
        """Count a contraction and its gradients: each costs as much as the contraction."""
        tracked = sum(operand.tracked for operand in operands)
        self.flops += flops * (self.forward + tracked)
        return tracked > 0

    def _same(self, x: _Sized) -> _Sized:
        return x

    exp = tanh = sigmoid = relu = gelu = softmax = _same

    def matmul(self, a: _Sized, b: _Sized) -> _Sized:
        columns = b.shape[-1:] if len(b.shape) > 1 else ()
        flops = 2 * math.prod(a.shape) * math.prod(columns)
        return _Sized((*a.shape[:-1], *columns), self._book(flops, a, b))

    def dense(self, x: _Sized, weight: _Sized, bias: _Sized) -> _Sized:
        return self.matmul(x, weight)

    def conv2d(
        self, x: _Sized, weight: _Sized, bias: _Sized | None = None, stride: int = 1, padding: int = 0
    ) -> _Sized:
        outputs, window = weight.shape[0], weight.shape[-1]
        space = [(size + 2 * padding - window) // stride + 1 for size in x.shape[2:]]
        shape = (x.shape[0], outputs, *space)
        flops = 2 * math.prod(shape) * math.prod(weight.shape[1:])
        return _Sized(shape, self._book(flops, x, weight))

    def lstm(self, x: _Sized, kernel: _Sized, recurrent: _Sized, bias: _Sized) -> _Sized:
        batch, steps, _ = x.shape
        hidden = recurrent.shape[0]
        self.matmul(x, kernel)
        state = _Sized((batch, steps, hidden), x.tracked or kernel.tracked or recurrent.tracked)
        self.matmul(state, recurrent)
        return state

    def gru(
        self, x: _Sized, kernel: _Sized, recurrent: _Sized, bias: _Sized, recurrent_bias: _Sized
    ) -> _Sized:
        return self.lstm(x, kernel, recurrent, bias)

    def iterate(
        self, step: Callable[[_Sized], _Sized], state: _Sized, count: int, every: int | None = None
    ) -> _Sized:
        # Whether a state depends on what is differentiated is known after one iteration.
        before, state = self.flops, step(state)
        self.flops = before
        state = step(state)
        self.flops = before + count * (self.flops - before)
        return state

    def attention(self, q: _Sized, k: _Sized, v: _Sized) -> _Sized:
        batch, tokens, width = k.shape
        scores = self.matmul(q, _Sized((batch, width, tokens), k.tracked))
        return self.matmul(scores, v)

    def layer_norm(self, x: _Sized, scale: _Sized, shift: _Sized) -> _Sized:
        return x._with(scale)._with(shift)

    def batch_norm(self, x: _Sized, values: Values, name: str) -> _Sized:
        return _Sized(x.shape, x.tracked or values[f"{name}.scale"].tracked)

    def flatten(self, x: _Sized) -> _Sized:
        return _Sized((x.shape[0], math.prod(x.shape[1:])), x.tracked)

    def rows(self, x: _Sized) -> _Sized:
        return _Sized((math.prod(x.shape[:-1]), x.shape[-1]), x.tracked)

    def embedding(self, table: _Sized, indices: _Sized) -> _Sized:
        return _Sized((*indices.shape, table.shape[1]), table.tracked)

    def max_pool(self, x: _Sized, window: int, stride: int, padding: int = 0) -> _Sized:
        space = ((size + 2 * padding - window) // stride + 1 for size in x.shape[2:])
        return _Sized((*x.shape[:2], *space), x.tracked)

    def mean_of_image(self, x: _Sized) -> _Sized:
        return _Sized(x.shape[:2], x.tracked)

    def mean(self, x: _Sized) -> _Sized:
        return _Sized((), x.tracked)

    total = mean

    def cross_entropy(self, scores: _Sized, labels: _Sized) -> _Sized:
        return _Sized((), scores.tracked)

    def binary_cross_entropy(self, scores: _Sized, targets: _Sized) -> _Sized:
        return self.mean(scores)


def _tracked(workload: Workload) -> set[str]:
    if isinstance(workload.task, Training):
        return set(workload.trained)
    return set(workload.task.wrt) if isinstance(workload.task, Gradient) else set()


def cost_of(workload: Workload) -> Cost:
    """Return the least work of one call.

    Examples
    --------
    >>> from benchmarks.workloads.products import product
    >>> cost_of(product(64))
    Cost(flops=524288, nbytes=49152)
    """
    task, tracked = workload.task, _tracked(workload)
    specs = {**workload.inputs, **workload.weights}
    if isinstance(task, (Hessian, Minimum)):
        size = math.prod(specs[task.wrt].shape)
        results = FLOAT_BYTES * (size * size if isinstance(task, Hessian) else size)
        return Cost(0, sum(spec.nbytes for spec in specs.values()) + results)
    counter = _Counter(forward=not isinstance(task, Gradient) or task.value)
    result = workload.body(counter, {n: _Sized(s.shape, n in tracked) for n, s in specs.items()})
    nbytes = sum(spec.nbytes for spec in specs.values())
    if isinstance(task, Training):
        # What is trained is read, which is counted already, and written; so is the optimizer's state.
        held = sum(workload.weights[name].nbytes for name in tracked)
        return Cost(counter.flops, nbytes + held * (2 * task.optimizer.state - 1))
    if isinstance(task, Gradient):
        nbytes += sum(specs[name].nbytes for name in task.wrt)
    if not isinstance(task, Gradient) or task.value:
        nbytes += FLOAT_BYTES * math.prod(result.shape)
    return Cost(counter.flops, nbytes)
