"""Layers around one matrix: dense, embedding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.nn.dropout import checked_rate, drop_connect
from graphc.nn.initializers import Initializer
from graphc.nn.layer import Layer, positive
from graphc.random import Generator
from graphc.tensor import Tensor

__all__ = ["Dense", "DropConnect", "Embedding"]

Function = Callable[[Tensor], Tensor]
Seed = int | np.random.Generator | None


class Dense(Layer):
    """``activation(x @ weight + bias)`` over the last axis.

    Parameters
    ----------
    in_features, out_features : int
        Sizes of the last axis before and after.
    activation : callable, optional
        A function of a Tensor, for example `graphc.relu`.
    bias : bool, default True
        Whether to add a bias, which starts at zero.
    initializer : str or Initializer, default "xavier"
        First value of the weight; see `graphc.nn.initializers`.
    drop_connect : float, default 0
        Rate of `graphc.drop_connect` on the weight while training.
    seed : int or numpy Generator, optional
        Source of the first values.
    dtype : dtype, default float32
        float32 or float64.
    generator : graphc.random.Generator, optional
        Source of the dropped positions.
    name : str, optional
        Prefix of the variables' names.

    Attributes
    ----------
    weight : Variable
        Of shape (in_features, out_features).
    bias : Variable or None
        Of shape (out_features,).

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 784))
    >>> gx.nn.Dense(784, 10, seed=0)(x)
    <Tensor float32[batch, 10]>
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation: Function | None = None,
        bias: bool = True,
        initializer: str | Initializer = "xavier",
        drop_connect: float = 0.0,
        *,
        seed: Seed = None,
        dtype: object = "float32",
        generator: Generator | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        positive(type(self).__name__, in_features=in_features, out_features=out_features)
        self.weight = self.weight_variable("weight", (in_features, out_features), initializer, dtype, seed)
        self.bias = self.weight_variable("bias", (out_features,), "zeros", dtype) if bias else None
        self.activation = activation
        self.drop_connect = checked_rate(type(self).__name__, drop_connect)
        self.generator = generator

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Multiply, add, activate."""
        y = x @ drop_connect(self.weight, self.drop_connect, training, self.generator)
        y = y if self.bias is None else y + self.bias
        return y if self.activation is None else self.activation(y)


class DropConnect(Dense):
    """A dense layer whose weights are dropped while training (Wan et al., ICML 2013).

    Parameters
    ----------
    in_features, out_features : int
        Sizes of the last axis before and after.
    rate : float, default 0.5
        Probability of dropping a weight, in [0, 1).
    **options
        As in `Dense`.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 784))
    >>> gx.nn.DropConnect(784, 10, rate=0.5, seed=0)(x, training=True)
    <Tensor float32[batch, 10]>
    """

    def __init__(self, in_features: int, out_features: int, rate: float = 0.5, **options: Any) -> None:
        super().__init__(in_features, out_features, drop_connect=rate, **options)


class Embedding(Layer):
    """A table of vectors, looked up by integer indices.

    Parameters
    ----------
    count : int
        Number of vectors; an index outside fails the call with `IndexRangeError`.
    features : int
        Length of each.
    initializer : str or Initializer, optional
        First value of the table; by default normal with variance ``1 / features``.
    seed : int or numpy Generator, optional
        Source of the first values.
    dtype : dtype, default float32
        float32 or float64.
    name : str, optional
        Prefix of the variable's name.

    Attributes
    ----------
    weight : Variable
        Of shape (count, features).

    Examples
    --------
    >>> import graphc as gx
    >>> words = gx.placeholder("words", shape=("batch", 12), dtype="int64")
    >>> gx.nn.Embedding(1000, 64, seed=0)(words)
    <Tensor float32[batch, 12, 64]>
    """

    def __init__(
        self,
        count: int,
        features: int,
        initializer: str | Initializer | None = None,
        *,
        seed: Seed = None,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        positive("Embedding", count=count, features=features)
        chosen = RowNormal() if initializer is None else initializer
        self.weight = self.weight_variable("weight", (count, features), chosen, dtype, seed)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Look up the rows."""
        return self.weight.take(x, axis=0)


class RowNormal(Initializer):
    """Normal values whose rows have an expected squared length of 1."""

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        """Return the random values."""
        return rng.normal(0.0, shape[-1] ** -0.5, shape)
