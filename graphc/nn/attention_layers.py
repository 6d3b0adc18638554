"""Layers of attention: several heads of scaled dot products, and additive scores."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError, caller
from graphc.nn.attention import causal, read_mask, shares
from graphc.nn.dense import Dense
from graphc.nn.dropout import checked_rate, dropout
from graphc.nn.initializers import Initializer
from graphc.nn.layer import Layer, positive
from graphc.ops import expand_dims, matrix_transpose, permute_dims, tanh
from graphc.random import Generator
from graphc.scopes import enter
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import BOOL

__all__ = ["AdditiveAttention", "MultiHeadAttention"]

Seed = int | np.random.Generator | None


class _Attention(Layer):
    """A layer from queries, keys and values to averages of the values."""

    score_axes: ClassVar[tuple[int, ...]]
    """Axes of the scores, (batch, ..., queries, keys), between the batch and the keys."""

    def __init__(
        self, is_causal: bool, dropout: float, generator: Generator | None, name: str | None
    ) -> None:
        super().__init__(name)
        self.is_causal = is_causal
        self.rate = checked_rate(type(self).__name__, dropout)
        self.generator = generator

    def __call__(
        self,
        x: TensorLike,
        training: bool = False,
        *,
        key: TensorLike | None = None,
        value: TensorLike | None = None,
        mask: TensorLike | None = None,
        key_padding_mask: TensorLike | None = None,
    ) -> Tensor:
        """Attend from queries to keys.

        Parameters
        ----------
        x : array_like, shape (batch, queries, features)
            Queries.
        training : bool, default False
            Whether to drop weights.
        key : array_like, shape (batch, keys, key_features), optional
            By default the queries.
        value : array_like, shape (batch, keys, value_features), optional
            By default the keys.
        mask : array_like, optional
            Broadcasts to the scores; bool, True where a query may attend
            to a key, or floating, to be added to the scores.
        key_padding_mask : array_like of bool, shape (batch, keys), optional
            True where a key is padding, to which no query attends.

        Returns
        -------
        Tensor
            Of shape (batch, queries, features).
        """
        queries = as_tensor(x)
        keys = queries if key is None else as_tensor(key)
        values = keys if value is None else as_tensor(value)
        with enter(self.scope_name):
            return self._attend(queries, keys, values, training, mask, key_padding_mask)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Attend from `x` to itself."""
        return self._attend(x, x, x, training)

    @abstractmethod
    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return how well each key fits each query."""

    @abstractmethod
    def average(self, weights: Tensor, values: Tensor) -> Tensor:
        """Return the layer's output for the weights of the values."""

    def _attend(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        training: bool,
        mask: TensorLike | None = None,
        key_padding_mask: TensorLike | None = None,
    ) -> Tensor:
        owner = type(self).__name__
        for role, t in (("query", queries), ("key", keys), ("value", values)):
            if t.ndim != 3:
                raise ShapeError(
                    f"{owner}: {role} of a wrong rank",
                    expected="3 dimensions (batch, sequence, features)",
                    given=str(t.type),
                    where=caller(),
                )
        scores = self.scores(queries, keys)
        bias, allowed = read_mask(owner, mask)
        if key_padding_mask is not None:
            allowed.append(expand_dims(~_padding(owner, key_padding_mask), self.score_axes))
        weights = shares(scores, bias, [*allowed, *causal(scores, self.is_causal)])
        return self.average(dropout(weights, self.rate, training, self.generator), values)


def _padding(owner: str, mask: TensorLike) -> Tensor:
    t = as_tensor(mask)
    if t.dtype == BOOL and t.ndim == 2:
        return t
    kind = DTypeError if t.dtype != BOOL else ShapeError
    raise kind(
        f"{owner}: bad key_padding_mask",
        expected="bool of shape (batch, keys)",
        given=str(t.type),
        where=caller(),
    )


class MultiHeadAttention(_Attention):
    """Scaled dot-product attention in several heads side by side (Vaswani et al., 2017).

    Called as ``layer(x)`` it attends to `x` itself, as ``layer(x, key=memory)`` to another
    sequence.  Scores are of shape (batch, heads, queries, keys); for masks, see the call.

    Parameters
    ----------
    features : int
        Size of the last axis of queries and of the result.
    heads : int
        Number of heads, a divisor of `features`.
    key_features, value_features : int, optional
        Size of the last axis of keys and of values; by default as for queries, and as for keys.
    is_causal : bool, default False
        Query `i` attends to the keys 0 to `i` only.
    dropout : float, default 0
        Rate at which weights are dropped while training.
    bias : bool, default True
        Whether the four dense layers add biases.
    initializer : str or Initializer, default "xavier"
        First value of the weights; see `graphc.nn.initializers`.
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
    query, key, value, output : Dense
        From the operands to the heads, which lie one after another, and from them to the result.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", "time", 64))
    >>> memory = gx.placeholder("memory", shape=("batch", 12, 32))
    >>> gx.nn.MultiHeadAttention(64, 8, is_causal=True, seed=0)(x)
    <Tensor float32[batch, time, 64]>
    >>> gx.nn.MultiHeadAttention(64, 8, key_features=32, seed=0)(x, key=memory)
    <Tensor float32[batch, time, 64]>
    """

    score_axes = (1, 2)

    def __init__(
        self,
        features: int,
        heads: int,
        key_features: int | None = None,
        value_features: int | None = None,
        is_causal: bool = False,
        dropout: float = 0.0,
        bias: bool = True,
        initializer: str | Initializer = "xavier",
        *,
        seed: Seed = None,
        dtype: object = "float32",
        generator: Generator | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(is_causal, dropout, generator, name)
        positive("MultiHeadAttention", features=features, heads=heads)
        if features % heads:
            raise ArgumentError(
                "MultiHeadAttention: bad heads",
                expected=f"a divisor of the number of features ({features})",
                given=repr(heads),
                where=caller(),
            )
        keys = features if key_features is None else key_features
        values = keys if value_features is None else value_features
        positive("MultiHeadAttention", key_features=keys, value_features=values)
        # One source for all four, or an int seed would give them the same values.
        rng = np.random.default_rng(seed)
        roles = {"query": features, "key": keys, "value": values, "output": features}
        self.query, self.key, self.value, self.output = (
            Dense(
                size,
                features,
                bias=bias,
                initializer=initializer,
                seed=rng,
                dtype=dtype,
                name=f"{self.name}.{role}",
            )
            for role, size in roles.items()
        )
        self.heads, self.width = heads, features // heads

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return the scaled products, head by head."""
        products = self._split(self.query(queries)) @ matrix_transpose(self._split(self.key(keys)))
        return products * (1.0 / math.sqrt(self.width))

    def average(self, weights: Tensor, values: Tensor) -> Tensor:
        """Return the heads' averages, joined and brought to the features of the result."""
        heads = permute_dims(weights @ self._split(self.value(values)), (0, 2, 1, 3))
        return self.output(heads.reshape((*heads.shape[:2], self.heads * self.width)))

    def _split(self, x: Tensor) -> Tensor:
        """Return (batch, sequence, features) as (batch, heads, sequence, features of a head)."""
        return permute_dims(x.reshape((*x.shape[:2], self.heads, self.width)), (0, 2, 1, 3))


class AdditiveAttention(_Attention):
    """Attention with the scores of a small network: ``score . tanh(query(x) + key(y))``.

    Follows Bahdanau, Cho and Bengio, "Neural Machine Translation by Jointly Learning to
    Align and Translate", 2015.  Scores are of shape (batch, queries, keys); for masks, see
    the call.  Keys are averaged unless the call gives values.

    Parameters
    ----------
    query_features, key_features : int
        Size of the last axis of queries and of keys.
    hidden : int
        Number of hidden units behind a score.
    is_causal : bool, default False
        Query `i` attends to the keys 0 to `i` only.
    dropout : float, default 0
        Rate at which weights are dropped while training.
    initializer : str or Initializer, default "xavier"
        First value of the weights; see `graphc.nn.initializers`.
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
    query, key : Dense
        From queries and keys to the hidden units; `query` has a bias.
    score : Variable
        Of shape (hidden,).

    Examples
    --------
    >>> import graphc as gx
    >>> state = gx.placeholder("state", shape=("batch", 1, 16))
    >>> memory = gx.placeholder("memory", shape=("batch", "time", 32))
    >>> gx.nn.AdditiveAttention(16, 32, hidden=24, seed=0)(state, key=memory)
    <Tensor float32[batch, 1, 32]>
    """

    score_axes = (1,)

    def __init__(
        self,
        query_features: int,
        key_features: int,
        hidden: int,
        is_causal: bool = False,
        dropout: float = 0.0,
        initializer: str | Initializer = "xavier",
        *,
        seed: Seed = None,
        dtype: object = "float32",
        generator: Generator | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(is_causal, dropout, generator, name)
        positive("AdditiveAttention", query_features=query_features, key_features=key_features, hidden=hidden)
        # One source for all, or an int seed would give them the same values.
        rng = np.random.default_rng(seed)
        self.query, self.key = (
            Dense(
                size,
                hidden,
                bias=role == "query",
                initializer=initializer,
                seed=rng,
                dtype=dtype,
                name=f"{self.name}.{role}",
            )
            for role, size in (("query", query_features), ("key", key_features))
        )
        self.score = self.weight_variable("score", (hidden,), initializer, dtype, rng)

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return the network's output for each query with each key."""
        hidden = tanh(expand_dims(self.query(queries), 2) + expand_dims(self.key(keys), 1))
        return (hidden * self.score).sum(axis=-1)

    def average(self, weights: Tensor, values: Tensor) -> Tensor:
        """Return the averages of the values."""
        return weights @ values
