"""Counter-based random numbers: Threefry-2x32 with 20 rounds.

Every random number is a pure function of (seed, counter, stream, position), so results do
not depend on the number of threads, on fusion or on the order of evaluation.  The cipher
is from Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC'11).

A draw takes two nodes.  `random_key` mixes the generator's state with the draw's stream
number into a two-word key, once; `random_uniform` enciphers each position under that key.
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
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import FLOAT32, FLOAT64, FLOATS, INT32, INT64, DType, TensorType, as_dtype

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


def _threefry_expr(key: Words, counter: Words) -> Words:
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
    return call("bitor", call("shl", word, _word(by)), _shift_right(word, 32 - by))


def _shift_right(word: Expr, by: int) -> Expr:
    # `shr` keeps the sign, as int32 does; the mask makes it a logical shift.
    return call("bitand", call("shr", word, _word(by)), _word((1 << (32 - by)) - 1))


def _xor(a: Expr, b: Expr) -> Expr:
    return call("bitxor", a, b)


def _word(value: int) -> Expr:
    return expr.const(value - 2**32 if value >= 2**31 else value, INT32)


def _split(value: Array) -> tuple[Array, Array]:
    wide = value.astype(np.uint64)
    return (wide & _LOW).astype(np.uint32), (wide >> np.uint64(32)).astype(np.uint32)


def _split_expr(value: Expr) -> Words:
    high = expr.const(0, INT64) if value.kind == "const" else call("shr", value, expr.const(32, INT64))
    return expr.cast(value, INT32), expr.cast(high, INT32)


# ---------------------------------------------------------------- key of a draw
def random_key(state: TensorLike, stream: int) -> Tensor:
    """Return the key of one draw, as int32[2].

    Parameters
    ----------
    state : array_like
        int64[2]: the seed, and how often programs have drawn from it.
    stream : int
        Number of the draw; draws of one generator differ in it.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.threefry import random_key
    >>> random_key(gx.constant([0, 0]), stream=1)
    <Tensor int32[2]>
    """
    return RANDOM_KEY(as_tensor(state), stream=stream)


def _key_rule(ctx: Infer, state: TensorType, stream: int) -> TensorType:
    ctx.dtype_in(state.dtype, (INT64,), "state")
    if state.shape != (2,):
        ctx.shape_error("bad state", "int64[2]: seed and counter", state)
    return TensorType((2,), INT32)


def _key_numpy(state: Array, stream: int) -> Array:
    seed, counter = _split(state[:1]), _split(state[1:])
    step = threefry(seed, counter)
    return np.concatenate(threefry(step, _split(np.array([stream])))).view(np.int32)


def _key_lower(site: Site, index: Index) -> Expr:
    seed = _split_expr(site.read(0, (expr.ZERO,)))
    counter = _split_expr(site.read(0, (expr.index_const(1),)))
    stream = site.attrs["stream"]
    words = _threefry_expr(_threefry_expr(seed, counter), (_word(stream % 2**32), _word(stream >> 32)))
    return expr.where(index[0].eq(0), *words)


def _no_gradient(g: Tensor, out: Tensor, x: Tensor, **attrs: Any) -> Gradients:
    return [None]


def _key_samples() -> Iterable[Sample]:
    for seed, counter, stream in ((0, 0, 0), (-1, 2**40 + 3, 7), (2**62, -5, 2**31)):
        yield Sample((np.array([seed, counter]),), {"stream": stream}, differentiable=False)


RANDOM_KEY = Op(
    "random_key",
    _key_rule,
    _key_numpy,
    Map(_key_lower),
    gradient=_no_gradient,
    api=random_key,
    samples=_key_samples,
    errors=lambda: (
        ErrorSample(lambda: random_key(np.zeros(3, np.int64), 0), ShapeError, "bad state"),
        ErrorSample(lambda: random_key(np.zeros(2), 0), DTypeError, "state"),
    ),
    dtypes=(INT64,),
    # Far above any use: the key is computed once, never inside the loop over positions.
    cost=300,
)


# ------------------------------------------------------------------ the numbers
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
    >>> from graphc.ops.threefry import random_key, random_uniform
    >>> gx.evaluate(random_uniform(random_key(gx.constant([0, 0]), stream=0), (3,), "float64")).round(3)
    array([0.159, 0.39 , 0.361])
    """
    return RANDOM_UNIFORM(as_tensor(key), shape=tuple(shape), dtype=as_dtype(dtype))


def _uniform_rule(ctx: Infer, key: TensorType, shape: Shape, dtype: DType) -> TensorType:
    ctx.dtype_in(key.dtype, (INT32,), "key")
    ctx.dtype_in(dtype, FLOATS, "result")
    if key.shape != (2,):
        ctx.shape_error("bad key", "int32[2]", key)
    return TensorType(shape, dtype)


def _uniform_numpy(key: Array, shape: tuple[int, ...], dtype: DType) -> Array:
    words = key.view(np.uint32)
    positions = np.arange(np.prod(shape, dtype=np.int64))
    x, y = threefry((words[:1], words[1:]), _split(positions))
    if dtype == FLOAT32:
        return ((x >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)).reshape(shape)
    high, low = (x >> np.uint32(5)).astype(np.float64), (y >> np.uint32(6)).astype(np.float64)
    return ((high * 2.0**26 + low) * 2.0**-53).reshape(shape)


def _uniform_lower(site: Site, index: Index) -> Expr:
    shape = site.type.shape
    key = (site.read(0, (expr.ZERO,)), site.read(0, (expr.index_const(1),)))
    x, y = _threefry_expr(key, _position(shape, index))
    if site.type.dtype == FLOAT32:
        return expr.cast(_shift_right(x, 8), FLOAT32) * 2.0**-24
    high, low = expr.cast(_shift_right(x, 5), FLOAT64), expr.cast(_shift_right(y, 6), FLOAT64)
    return (high * 2.0**26 + low) * 2.0**-53


def _position(shape: Shape, index: Index) -> Words:
    flat = expr.ZERO
    for size, i in zip(shape, index, strict=True):
        flat = flat * expr.size(size) + i
    count = dims.product(shape)
    if isinstance(count, int) and count <= 2**32:
        return expr.cast(flat, INT32), _word(0)
    return _split_expr(flat)


def _uniform_samples() -> Iterable[Sample]:
    key = np.array([123456789, -987654321], np.int32)
    for shape in ((), (0, 3), (1,), (7,), (2, 3, 5)):
        for dtype in ("float32", "float64"):
            yield Sample((key,), {"shape": shape, "dtype": dtype}, differentiable=False)


RANDOM_UNIFORM = Op(
    "random_uniform",
    _uniform_rule,
    _uniform_numpy,
    Map(_uniform_lower),
    gradient=_no_gradient,
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
