"""Scaled dot-product attention, and what all kinds of attention share: masks, weights, noise."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence

from graphc.errors import DTypeError, ShapeError, caller
from graphc.nn.dropout import checked_rate
from graphc.nn.dropout import dropout as drop
from graphc.ops import arange, expand_dims, masked_softmax, matrix_transpose, rsqrt, softmax
from graphc.ops.counting import size_tensor
from graphc.ops.elementwise import number
from graphc.ops.statistics import as_float
from graphc.random import Generator
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import BOOL, is_float

__all__ = ["scaled_dot_product_attention"]


def scaled_dot_product_attention(
    q: TensorLike,
    k: TensorLike,
    v: TensorLike,
    mask: TensorLike | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
    generator: Generator | None = None,
) -> Tensor:
    """Average values by how well their keys fit a query: ``softmax(q @ k.T * scale) @ v``.

    Follows Vaswani et al., "Attention Is All You Need", 2017.

    Parameters
    ----------
    q : array_like, shape (..., queries, features)
        What is looked for.
    k : array_like, shape (..., keys, features)
        What is compared with it.
    v : array_like, shape (..., keys, values)
        What is averaged.
    mask : array_like, optional
        Broadcasts to the shape of the scores, (..., queries, keys).  If it is bool, True
        where a query may attend to a key; a query without any gets zeros.  If it is
        floating, it is added to the scores.
    is_causal : bool, default False
        Query `i` attends to the keys 0 to `i` only.
    scale : float, optional
        Factor of the scores; by default ``1 / sqrt(features)``.
    dropout : float, default 0
        Rate at which weights are dropped.
    generator : graphc.random.Generator, optional
        Source of the noise.

    Returns
    -------
    Tensor
        Of shape (..., queries, values).

    Raises
    ------
    ShapeError
        If the operands do not fit each other.
    DTypeError
        If the mask is neither bool nor floating.
    ArgumentError
        If `dropout` is outside [0, 1) or `scale` is not a number.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 8, "time", 64))
    >>> gx.scaled_dot_product_attention(x, x, x, is_causal=True)
    <Tensor float32[batch, 8, time, 64]>
    """
    owner = "scaled_dot_product_attention"
    queries, keys, values = (_matrices(owner, name, t) for name, t in (("q", q), ("k", k), ("v", v)))
    factor = _default_scale(queries) if scale is None else number(owner, "scale", scale)
    scores = queries @ matrix_transpose(keys) * factor
    bias, allowed = read_mask(owner, mask)
    weights = shares(scores, bias, [*allowed, *causal(scores, is_causal)])
    return drop(weights, checked_rate(owner, dropout), generator=generator) @ values


def _matrices(owner: str, name: str, x: TensorLike) -> Tensor:
    t = as_float(x)
    if t.ndim < 2:
        raise ShapeError(
            f"{owner}: {name} of a wrong rank",
            expected="2 or more dimensions",
            given=str(t.type),
            where=caller(),
        )
    return t


def _default_scale(queries: Tensor) -> Tensor | float:
    features = queries.shape[-1]
    if isinstance(features, int):
        return 1.0 / math.sqrt(max(features, 1))
    return rsqrt(size_tensor(features, queries.dtype))


def read_mask(owner: str, mask: TensorLike | None) -> tuple[Tensor | None, list[Tensor]]:
    """Return what a mask adds to the scores, and what it allows."""
    if mask is None:
        return None, []
    t = as_tensor(mask)
    if t.dtype == BOOL:
        return None, [t]
    if is_float(t.dtype):
        return t, []
    raise DTypeError(
        f"{owner}: mask has an unsupported dtype",
        expected="bool, or a floating dtype to add",
        given=str(t.type),
        where=caller(),
    )


def causal(scores: Tensor, wanted: bool) -> list[Tensor]:
    """Return what allows each query the keys up to its own position, if that is wanted."""
    if not wanted:
        return []
    queries, keys = scores.shape[-2:]
    return [expand_dims(arange(queries), 1) >= arange(keys)]


def shares(scores: Tensor, bias: Tensor | None, allowed: Sequence[Tensor]) -> Tensor:
    """Return the weight of every key; all of `allowed` must allow it."""
    biased = scores if bias is None else scores + bias.astype(scores.dtype)
    return masked_softmax(biased, functools.reduce(operator.and_, allowed)) if allowed else softmax(biased)
