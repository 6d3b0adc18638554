"""Counter-based random numbers: Threefry-2x32 with 20 rounds.

Every random number is a pure function of (seed, counter, stream, position), so results do
not depend on the number of threads, on fusion or on the order of evaluation.  The cipher
is from Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC'11).

A draw takes two nodes.  `random_key` mixes the generator's state with the draw's stream
number into a two-word key, once; another op enciphers each position under that key, see
`graphc.ops.random_words` and `graphc.ops.rejection`.  `random_fold` mixes a number into a key,
so that each iteration of a loop has a key of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Shape
from graphc.errors import DTypeError, ShapeError
from graphc.lower import expr
from graphc.lower.expr import Expr, call
from graphc.lower.rules import Index, Map, Site
from graphc.ops.batching import batch_by
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import INT32, INT64, TensorType

__all__: list[str] = []

Array = np.ndarray[Any, Any]
Words = tuple[Expr, Expr]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_ROUND_GROUPS = 5
_LOW = np.uint64(0xFFFFFFFF)


# ------------------------------------------------------------- the cipher, twice
def threefry(key: tuple[Array, Array], counter: tuple[Array, Array]) -> tuple[Array, Array]:
    """Encipher two-word counters under two-word keys; all words are uint32 arrays that broadcast."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(_PARITY))
    x, y = counter[0] + schedule[0], counter[1] + schedule[1]
    for group in range(_ROUND_GROUPS):
        for rotation in _ROTATIONS[group % 2]:
            x = x + y
            y = ((y << np.uint32(rotation)) | (y >> np.uint32(32 - rotation))) ^ x
        x = x + schedule[(group + 1) % 3]
        y = y + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


def threefry_expr(key: Words, counter: Words) -> Words:
    """Return what `threefry` does, as scalar expressions of int32."""
    # int32 wraps like uint32 does, and one lane of a vector register holds one word.
    schedule = (key[0], key[1], _xor(_xor(key[0], key[1]), _word(_PARITY)))
    x, y = counter[0] + schedule[0], counter[1] + schedule[1]
    for group in range(_ROUND_GROUPS):
        for rotation in _ROTATIONS[group % 2]:
            x = x + y
            y = _xor(_rotate(y, rotation), x)
        x = x + schedule[(group + 1) % 3]
        y = y + schedule[(group + 2) % 3] + _word(group + 1)
    return x, y


def _rotate(word: Expr, by: int) -> Expr:
    return call("bitor", call("shl", word, _word(by)), shift_right(word, 32 - by))


def shift_right(word: Expr, by: int) -> Expr:
    """Return the upper bits of a word."""
    # `shr` keeps the sign, as int32 does; the mask makes it a logical shift.
    return call("bitand", call("shr", word, _word(by)), _word((1 << (32 - by)) - 1))


def _xor(a: Expr, b: Expr) -> Expr:
    return call("bitxor", a, b)


def _word(value: int) -> Expr:
    """Return a constant of 32 bits."""
    return expr.const(value - 2**32 if value >= 2**31 else value, INT32)


def split(value: Array) -> tuple[Array, Array]:
    """Return the two words of each number, the lower one first."""
    wide = value.astype(np.uint64)
    return (wide & _LOW).astype(np.uint32), (wide >> np.uint64(32)).astype(np.uint32)


def split_expr(value: Expr) -> Words:
    """Return what `split` does, as scalar expressions."""
    high = expr.const(0, INT64) if value.kind == "const" else call("shr", value, expr.const(32, INT64))
    return expr.cast(value, INT32), expr.cast(high, INT32)


def key_words(site: Site, operand: int, index: Index = ()) -> Words:
    """Return the two words of an operand that is a key, or at an index of a stack of keys."""
    first, second = (site.read(operand, (*index, expr.index_const(i))) for i in range(2))
    return expr.cast(first, INT32), expr.cast(second, INT32)


def key_and_position(site: Site, index: Index) -> tuple[Words, Words]:
    """Return what an element of a draw is enciphered from: the key of its row, and its position there."""
    rows = site.inputs[0].ndim - 1
    return key_words(site, 0, index[:rows]), _position(site.type.shape[rows:], index[rows:])


def _position(shape: Shape, index: Index) -> Words:
    """Return the number of an element in row-major order, as two words."""
    flat = expr.ZERO
    for size, i in zip(shape, index, strict=True):
        flat = flat * expr.size(size) + i
    count = dims.product(shape)
    if isinstance(count, int) and count <= 2**32:
        return expr.cast(flat, INT32), _word(0)
    return split_expr(flat)


# ---------------------------------------------------------------- key of a draw
def random_key(state: TensorLike, stream: TensorLike) -> Tensor:
    """Return the key of one draw, as int32[2].

    Parameters
    ----------
    state : array_like
        int64[2]: the seed, and how often programs have drawn from it.
    stream : array_like
        int64[2]: number of the draw, as two words of 32 bits; draws of one generator differ in it.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.threefry import random_key
    >>> random_key(gx.constant([0, 0]), stream=[1, 0])
    <Tensor int32[2]>
    """
    return RANDOM_KEY(as_tensor(state), as_tensor(stream))


# The stream is an operand, not a parameter, and no scalar: all keys share one kernel.
def _key_rule(ctx: Infer, state: TensorType, stream: TensorType) -> TensorType:
    ctx.dtype_in(state.dtype, (INT64,), "state")
    ctx.dtype_in(stream.dtype, (INT64,), "stream")
    if state.shape != (2,):
        ctx.shape_error("bad state", "int64[2]: seed and counter", state)
    if stream.shape != (2,):
        ctx.shape_error("bad stream", "int64[2]: two words", stream)
    return TensorType((2,), INT32)


def _key_numpy(state: Array, stream: Array) -> Array:
    seed, counter = split(state[:1]), split(state[1:])
    step = threefry(seed, counter)
    return np.concatenate(threefry(step, (split(stream[:1])[0], split(stream[1:])[0]))).view(np.int32)


def _key_lower(site: Site, index: Index) -> Expr:
    seed = split_expr(site.read(0, (expr.ZERO,)))
    counter = split_expr(site.read(0, (expr.index_const(1),)))
    stream = key_words(site, 1)
    words = threefry_expr(threefry_expr(seed, counter), stream)
    return expr.where(index[0].eq(0), *words)


def check_key(ctx: Infer, key: TensorType, shape: Shape) -> None:
    """Require that an operand is a key, or a stack of keys along the first axes of `shape`."""
    ctx.dtype_in(key.dtype, (INT32,), "key")
    if key.shape[-1:] != (2,) or key.ndim > len(shape) + 1:
        ctx.shape_error("bad key", "int32[2], or a stack of these", key)
    for rows, size in zip(key.shape[:-1], shape, strict=False):
        ctx.same(rows, size, "keys and draws differ in the number of rows")


def no_gradient(g: Tensor, out: Tensor, *inputs: Tensor, **attrs: Any) -> Gradients:
    """Return the gradient of what is drawn from a key alone."""
    return [None] * len(inputs)


def _key_samples() -> Iterable[Sample]:
    for seed, counter, stream in ((0, 0, 0), (-1, 2**40 + 3, 7), (2**62, -5, 2**35 + 2**31)):
        words = np.array([stream % 2**32, stream >> 32])
        yield Sample((np.array([seed, counter]), words), differentiable=False)


RANDOM_KEY = Op(
    "random_key",
    _key_rule,
    _key_numpy,
    Map(_key_lower),
    gradient=no_gradient,
    api=random_key,
    samples=_key_samples,
    errors=lambda: (
        ErrorSample(lambda: random_key(np.zeros(3, np.int64), [0, 0]), ShapeError, "bad state"),
        ErrorSample(lambda: random_key(np.zeros(2, np.int64), [0]), ShapeError, "bad stream"),
        ErrorSample(lambda: random_key(np.zeros(2), [0, 0]), DTypeError, "state"),
        ErrorSample(lambda: random_key(np.zeros(2, np.int64), [0.0, 0.0]), DTypeError, "stream"),
    ),
    dtypes=(INT64,),
    # Far above any use: the key is computed once, never inside the loop over positions.
    cost=300,
)


# ------------------------------------------------------------- keys in a loop
def random_fold(key: TensorLike, number: TensorLike) -> Tensor:
    """Return another key, as different numbers give other ones: the key of one iteration of a loop.

    Parameters
    ----------
    key : array_like
        int32[2], from `random_key`.
    number : array_like
        An int64 scalar, or a stack of these for a stack of keys.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.threefry import random_fold, random_key
    >>> random_fold(random_key(gx.constant([0, 0]), stream=[0, 0]), 3)
    <Tensor int32[2]>
    """
    return RANDOM_FOLD(as_tensor(key), as_tensor(number))


def _fold_rule(ctx: Infer, key: TensorType, number: TensorType) -> TensorType:
    ctx.dtype_in(number.dtype, (INT64,), "number")
    check_key(ctx, key, number.shape)
    ctx.rank(number, key.ndim - 1, "number")
    return key


def _fold_numpy(key: Array, number: Array) -> Array:
    words = key.view(np.uint32)
    return np.stack(threefry((words[..., 0], words[..., 1]), split(number)), -1).view(np.int32)


def _fold_lower(site: Site, index: Index) -> Expr:
    row = index[:-1]
    words = threefry_expr(key_words(site, 0, row), split_expr(site.read(1, row)))
    return expr.where(index[-1].eq(0), *words)


def _fold_samples() -> Iterable[Sample]:
    for number in (0, 1, -1, 2**40 + 5):
        yield Sample((np.array([3, -4], np.int32), np.array(number)), differentiable=False)
    stack = np.array([[3, -4], [5, 6], [3, -4]], np.int32)
    yield Sample((stack, np.array([0, 1, 2**40])), differentiable=False)


RANDOM_FOLD = Op(
    "random_fold",
    _fold_rule,
    _fold_numpy,
    Map(_fold_lower),
    gradient=no_gradient,
    batch=batch_by(),
    api=random_fold,
    samples=_fold_samples,
    errors=lambda: (
        ErrorSample(lambda: random_fold(np.zeros(3, np.int32), 0), ShapeError, "bad key"),
        ErrorSample(lambda: random_fold(np.zeros(2, np.int32), 0.5), DTypeError, "number"),
        ErrorSample(lambda: random_fold(np.zeros(2, np.int32), [0]), ShapeError, "number"),
    ),
    dtypes=(INT32,),
    cost=200,
)
