"""Draws that take one enciphering an element: raw words, and uniform numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphc.dims import Shape
from graphc.errors import DTypeError, ShapeError
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Index, Map, Site
from graphc.ops.attributes import DTYPE, SHAPE, at_least
from graphc.ops.batching import batch_by, sized
from graphc.ops.op import ErrorSample, Infer, Op, Sample
from graphc.ops.threefry import (
    check_key,
    key_and_position,
    no_gradient,
    shift_right,
    split,
    threefry,
    threefry_expr,
)
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import FLOAT32, FLOAT64, FLOATS, INT32, DType, TensorType, as_dtype

__all__: list[str] = []

Array = np.ndarray[Any, Any]


# ---------------------------------------------------------------------- raw words
def random_words(key: TensorLike, shape: Shape) -> tuple[Tensor, Tensor]:
    """Return 64 random bits for each element, as two int32 tensors.

    A kernel that uses both enciphers each position once.

    Parameters
    ----------
    key : array_like
        int32[2], from `graphc.ops.threefry.random_key`; a stack of these draws each row by one.
    shape : tuple of int or dimension
        Sizes of the results, beginning with those of the stack.

    Returns
    -------
    first, second : Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.random_words import random_words
    >>> gx.evaluate(random_words(gx.constant([0, 0], "int32"), (1,)))
    (array([1797259609], dtype=int32), array([-1715843330], dtype=int32))
    """
    operand, sizes = as_tensor(key), tuple(shape)
    return RANDOM_WORD(operand, shape=sizes, word=0), RANDOM_WORD(operand, shape=sizes, word=1)


def _word_rule(ctx: Infer, key: TensorType, shape: Shape, word: int) -> TensorType:
    check_key(ctx, key, shape)
    return TensorType(shape, INT32)


def _word_numpy(key: Array, shape: tuple[int, ...], word: int) -> Array:
    return words_numpy(key, shape)[word].view(np.int32).reshape(shape)


def words_numpy(key: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Return two uint32 words for each position of each row, one row for each key."""
    words = key.view(np.uint32).reshape(-1, 2)
    positions = np.arange(np.prod(shape[key.ndim - 1 :], dtype=np.int64))
    return threefry((words[:, :1], words[:, 1:]), split(positions))


def _word_lower(site: Site, index: Index) -> Expr:
    return threefry_expr(*key_and_position(site, index))[site.attrs["word"]]


def _word_samples() -> Iterable[Sample]:
    key = np.array([0x13198A2E, 0x03707344], np.int32)
    for shape in ((2, 3), (), (0, 3), (1,), (7,)):
        yield Sample((key,), {"shape": shape}, differentiable=False)
    yield Sample((np.stack([key, key + 1]),), {"shape": (2, 3)}, differentiable=False)


RANDOM_WORD = Op(
    "random_word",
    _word_rule,
    _word_numpy,
    Map(_word_lower),
    attributes={"shape": SHAPE, "word": at_least(0, 1)},
    gradient=no_gradient,
    batch=batch_by(shape=sized),
    api=random_words,
    samples=_word_samples,
    errors=lambda: (
        ErrorSample(lambda: random_words(np.zeros(3, np.int32), (2,)), ShapeError, "bad key"),
        ErrorSample(lambda: random_words(np.zeros(2), (2,)), DTypeError, "key"),
    ),
    dtypes=(INT32,),
    cost=100,
)


# ---------------------------------------------------------------- uniform numbers
def random_uniform(key: TensorLike, shape: Shape, dtype: object = "float32") -> Tensor:
    """Return numbers uniform in [0, 1) from a key: 24 random bits in float32, 53 in float64.

    Parameters
    ----------
    key : array_like
        int32[2], from `random_key`.
    shape : tuple of int or dimension
        Sizes of the result.
    dtype : dtype, default float32
        float32 or float64.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.random_words import random_uniform
    >>> from graphc.ops.threefry import random_key
    >>> gx.evaluate(random_uniform(random_key(gx.constant([0, 0]), stream=[0, 0]), (3,), "float64")).round(3)
    array([0.159, 0.39 , 0.361])
    """
    return RANDOM_UNIFORM(as_tensor(key), shape=tuple(shape), dtype=as_dtype(dtype))


def _uniform_rule(ctx: Infer, key: TensorType, shape: Shape, dtype: DType) -> TensorType:
    check_key(ctx, key, shape)
    ctx.dtype_in(dtype, FLOATS, "result")
    return TensorType(shape, dtype)


def _uniform_numpy(key: Array, shape: tuple[int, ...], dtype: DType) -> Array:
    x, y = words_numpy(key, shape)
    if dtype == FLOAT32:
        return ((x >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)).reshape(shape)
    high, low = (x >> np.uint32(5)).astype(np.float64), (y >> np.uint32(6)).astype(np.float64)
    return ((high * 2.0**26 + low) * 2.0**-53).reshape(shape)


def _uniform_lower(site: Site, index: Index) -> Expr:
    x, y = threefry_expr(*key_and_position(site, index))
    if site.type.dtype == FLOAT32:
        return expr.cast(shift_right(x, 8), FLOAT32) * 2.0**-24
    high, low = expr.cast(shift_right(x, 5), FLOAT64), expr.cast(shift_right(y, 6), FLOAT64)
    return (high * 2.0**26 + low) * 2.0**-53


def _uniform_samples() -> Iterable[Sample]:
    key = np.array([123456789, -987654321], np.int32)
    for shape in ((), (0, 3), (1,), (7,), (2, 3, 5)):
        for dtype in ("float32", "float64"):
            yield Sample((key,), {"shape": shape, "dtype": dtype}, differentiable=False)
    yield Sample((np.stack([key, key + 1]),), {"shape": (2, 3, 1)}, differentiable=False)


RANDOM_UNIFORM = Op(
    "random_uniform",
    _uniform_rule,
    _uniform_numpy,
    Map(_uniform_lower),
    attributes={"shape": SHAPE, "dtype": DTYPE},
    gradient=no_gradient,
    batch=batch_by(shape=sized),
    api=random_uniform,
    samples=_uniform_samples,
    errors=lambda: (
        ErrorSample(lambda: random_uniform(np.zeros(3, np.int32), (2,)), ShapeError, "bad key"),
        ErrorSample(lambda: random_uniform(np.zeros(2), (2,)), DTypeError, "key"),
        ErrorSample(lambda: random_uniform(np.zeros(2, np.int32), (2,), "int64"), DTypeError, "result"),
    ),
    dtypes=(INT32,),
    cost=120,
)
