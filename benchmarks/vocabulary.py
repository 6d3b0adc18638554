"""What the workloads are written with: the operations that each framework says in its own best way.

A workload is written once, over a `Vocabulary`; every peer brings one of its own.  So all of them
compute the same, and each with whatever its users would take: a fused LSTM or attention where there
is one, images with channels last where those are faster.  Sums, differences, products and quotients
are written with Python's operators on the peer's own tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Tensor", "UnsupportedError", "Values", "Vocabulary"]

# A peer's own tensor.
Tensor = Any
# Inputs and weights by name.
Values = Mapping[str, Tensor]


class UnsupportedError(Exception):
    """A peer has no good way to do a workload; says why in a few words."""


class Vocabulary:
    """The operations of a peer; one that it lacks raises `UnsupportedError`.

    Parameters
    ----------
    training : bool
        Whether batch normalization takes the statistics of the batch.

    Attributes
    ----------
    moved : dict of str to tensor
        New running statistics by the name of the weight that holds them, for peers whose
        tensors do not change in place.
    """

    # What this peer says about the operations that it lacks.
    lacks: str = "no {name}"

    def __init__(self, training: bool = False) -> None:
        self.training = training
        self.moved: dict[str, Tensor] = {}

    def _missing(self, name: str) -> UnsupportedError:
        return UnsupportedError(self.lacks.format(name=name))

    # -- elementwise
    def exp(self, x: Tensor) -> Tensor:
        """Return e to the power of every element."""
        raise self._missing("exp")

    def tanh(self, x: Tensor) -> Tensor:
        """Return the hyperbolic tangent."""
        raise self._missing("tanh")

    def sigmoid(self, x: Tensor) -> Tensor:
        """Return ``1 / (1 + exp(-x))``."""
        raise self._missing("sigmoid")

    def relu(self, x: Tensor) -> Tensor:
        """Return the positive part."""
        raise self._missing("relu")

    def gelu(self, x: Tensor) -> Tensor:
        """Return ``x`` times the normal distribution function of it, without approximation."""
        raise self._missing("gelu")

    # -- contractions
    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply two matrices, or a matrix and a vector."""
        raise self._missing("matrix product")

    def dense(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return ``x @ weight + bias`` over the last axis; the weight is (inputs, outputs)."""
        raise self._missing("dense layer")

    def conv2d(
        self, x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0
    ) -> Tensor:
        """Convolve images with a weight of (outputs, inputs, height, width)."""
        raise self._missing("convolution")

    def lstm(self, x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
        """Run a long short-term memory over (batch, time, features), from a state of zeros.

        The weights' columns are the input gate, the forget gate, the candidate and the output
        gate; returns every hidden state, as (batch, time, hidden).
        """
        raise self._missing("LSTM")

    def gru(
        self, x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor, recurrent_bias: Tensor
    ) -> Tensor:
        """Run a gated recurrent unit over (batch, time, features), from a state of zeros.

        The weights' columns are the reset gate, the update gate and the candidate.  What is reset is
        the candidate's share of ``h @ recurrent + recurrent_bias``; the new state is
        ``update * h + (1 - update) * candidate``.  Returns every state, as (batch, time, hidden).
        """
        raise self._missing("GRU")

    def iterate(
        self, step: Callable[[Tensor], Tensor], state: Tensor, count: int, every: int | None = None
    ) -> Tensor:
        """Apply a function to a state again and again; return the last one.

        A gradient keeps what it needs of all iterations.  With `every`, it keeps the states before
        every so many iterations, and computes the rest of these again when it comes to them.
        """
        raise self._missing("loop")

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return ``softmax(q @ k.T / sqrt(width)) @ v`` of (batch, tokens, width)."""
        raise self._missing("attention")

    # -- normalization
    def softmax(self, x: Tensor) -> Tensor:
        """Bring the last axis to positive values with sum 1."""
        raise self._missing("softmax")

    def layer_norm(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Bring the last axis to mean 0 and variance 1 (plus 1e-5), then scale and shift."""
        raise self._missing("layer normalization")

    def batch_norm(self, x: Tensor, values: Values, name: str) -> Tensor:
        """Normalize images by channel with the weights ``name.scale``, ``.shift``, ``.mean``, ``.var``.

        While training, the statistics are the batch's, and the running ones keep nine tenths.
        """
        raise self._missing("batch normalization")

    # -- shapes
    def flatten(self, x: Tensor) -> Tensor:
        """Join all axes but the first; of images the channels come first, then rows, then columns."""
        raise self._missing("flatten")

    def rows(self, x: Tensor) -> Tensor:
        """Join all axes but the last."""
        raise self._missing("rows")

    def embedding(self, table: Tensor, indices: Tensor) -> Tensor:
        """Look up rows of a table."""
        raise self._missing("embedding")

    # -- reductions
    def max_pool(self, x: Tensor, window: int, stride: int, padding: int = 0) -> Tensor:
        """Take the maximum of every square of an image."""
        raise self._missing("pooling")

    def mean_of_image(self, x: Tensor) -> Tensor:
        """Return the mean of every channel, as (batch, channels)."""
        raise self._missing("pooling")

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean of all elements."""
        raise self._missing("mean")

    def total(self, x: Tensor) -> Tensor:
        """Return the sum of all elements."""
        raise self._missing("sum")

    def cross_entropy(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the mean of the softmax cross entropy of every row with its label."""
        raise self._missing("cross entropy")

    def binary_cross_entropy(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of ``log(1 + exp(scores)) - targets * scores`` over all elements."""
        raise self._missing("binary cross entropy")
