"""Random graphs for comparing compiled programs with the interpreter, to the last bit.

`random_kernels` draws graphs in the shapes that fusion and code generation care about:
rows and their normalization, sibling reductions, reductions over leading axes, epilogues
of contractions, views, sizes 0 and 1.  All values stay small integers (or NaN and Inf),
whatever their dtype, so that neither the order of a sum nor a fused multiply-add shows;
`smooth` graphs use exp, division and the like instead, in float64, and never jump.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import graphc as gx
from graphc import dims
from graphc.ir import Node
from graphc.tensor import Tensor
from graphc.types import BOOL, FLOAT32, FLOAT64, INT8, INT64, is_float
from tests.random_graphs import Array, Draw, Pick, broadcasts

ROWS = dims.symbol("n")
SIZES = (0, 1, 2, 3, 5, 70, 1030)
DTYPES = (FLOAT64, FLOAT32, FLOAT32, INT64, INT8, BOOL)
SHAPES: tuple[tuple[Any, ...], ...] = (
    (),
    (3,),
    (ROWS,),
    (ROWS, 3),
    (ROWS, 3),
    (3, ROWS),
    (4, 3),
    (1, 3),
    (ROWS, 1),
    (0, 3),
    (2, ROWS, 3),
    (ROWS, 2, 1, 3),
)
STATES = (((3,), FLOAT64), ((3,), FLOAT64), ((), INT64), ((2, 3), FLOAT32))
LIMIT = 8


@dataclass(frozen=True)
class Kernels:
    """A random graph, the feeds of several calls, and its variables' first values."""

    inputs: list[Tensor]
    outputs: list[Tensor]
    updates: dict[gx.Variable, Tensor]
    feeds: list[dict[Node, Array]]
    smooth: bool

    def reset(self) -> None:
        """Give every variable its first value."""
        for k, variable in enumerate(self.updates):
            variable.value = _state_value(k, variable.type.shape, variable.dtype)


@st.composite
def random_kernels(draw: Draw, max_steps: int = 14, smooth: bool = False) -> Kernels:
    """Draw a graph of up to `max_steps` operations; their number shrinks, a seed decides the rest."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return make_kernels(rng, draw(st.integers(1, max_steps)), smooth)


def make_kernels(rng: np.random.Generator, steps: int, smooth: bool) -> Kernels:
    """Build a graph of `steps` operations from random choices."""

    def pick(options: Sequence[Any]) -> Any:
        return options[int(rng.integers(len(options)))]

    dtypes = (FLOAT64,) if smooth else DTYPES
    inputs = [gx.placeholder(f"x{k}", pick(SHAPES), pick(dtypes)) for k in range(pick((1, 2, 3)))]
    states = [
        gx.variable(_state_value(k, shape, dtype), name=f"w{k}")
        for k, (shape, dtype) in enumerate(STATES)
        if not smooth or dtype == FLOAT64
    ]
    pool: list[Tensor] = [*inputs, *states]
    table = _SMOOTH if smooth else _EXACT
    attempts = 0
    while steps and attempts < 200:
        attempts += 1
        # Recent values first, or most graphs would be wide and one operation deep.
        x = pick(pool[-4:] if pick((False, True)) else pool)
        made = pick(table)(pick, pool, x)
        pool += made
        steps -= bool(made)
    read = {operand for t in pool for operand in t.node.inputs}
    results = [t for t in pool[len(inputs) + len(states) :] if t.node not in read or not int(rng.integers(6))]
    extra = [pick(pool)] if not int(rng.integers(4)) else []
    updates = {}
    for state in states:
        fitting = [t for t in pool if t.type == state.type]
        if int(rng.integers(3)):
            updates[state] = pick(fitting[-3:])
    feeds = []
    for _ in range(3):
        rows = pick(SIZES)
        feeds.append({t.node: _feed(rng, t, rows, smooth) for t in inputs})
    return Kernels(inputs, [*results, *extra] or [pool[-1]], updates, feeds, smooth)


def _state_value(k: int, shape: tuple[Any, ...], dtype: Any) -> Array:
    rng = np.random.default_rng(k)
    return np.asarray(rng.integers(-3, 4, shape)).astype(dtype)


def _feed(rng: np.random.Generator, t: Tensor, rows: int, smooth: bool) -> Array:
    shape = t.type.concrete({"n": rows})
    if smooth:
        return rng.normal(size=shape)
    values = rng.integers(-4, 5, shape).astype(t.dtype)
    if is_float(t.dtype) and not int(rng.integers(3)):
        special = rng.choice([np.nan, np.inf, -np.inf, 0.0], shape)
        values = np.where(rng.random(shape) < 0.1, special, values).astype(t.dtype)
    return np.asarray(values)


Step = Callable[[Pick, list[Tensor], Tensor], list[Tensor]]


def _bounded(x: Tensor) -> Tensor:
    return x if x.dtype == BOOL else gx.clip(x, -LIMIT, LIMIT)


# ------------------------------------------------------------------ elementwise
def _unary(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    if x.dtype == BOOL:
        return [gx.logical_not(x)]
    names = ("abs", "negative", "sign", "relu", "square", "isnan", "floor", "isfinite")
    return [_bounded(getattr(gx, pick(names))(x))]


def _binary(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    partners = [t for t in pool if broadcasts(x, t)]
    y = pick(partners)
    pair = (x, y) if pick((False, True)) else (y, x)
    name = pick(("add", "subtract", "multiply", "maximum", "minimum", "less", "equal", "logical_and"))
    if name == "subtract" and x.dtype == y.dtype == BOOL:
        return []
    return [_bounded(getattr(gx, name)(*pair))]


def _scalar(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    if x.dtype == BOOL:
        return []
    y = pick((0, 1, -1, 2, 3))
    return [_bounded(pick((x + y, y - x, x * y)))]


def _convert(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    # What is not finite converts to an unspecified integer.
    safe = gx.where(gx.isfinite(x), x, 0) if is_float(x.dtype) else x
    return [gx.astype(safe, pick(DTYPES))]


def _select(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    conditions = [t for t in pool if t.dtype == BOOL and broadcasts(t, x)]
    condition = pick(conditions) if conditions else x > 0 if x.dtype != BOOL else x
    partners = [t for t in pool if broadcasts(t, x) and broadcasts(condition, t)]
    return [gx.where(condition, x, pick(partners or [x]))]


def _integer(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    if x.dtype.kind != "i":
        return []
    return [pick((x // 3, x % 3, x & 5, x ^ 3, ~x))]


# ------------------------------------------------------------------- reductions
_REDUCTIONS = ("sum", "max", "min", "any", "all", "argmax", "argmin", "count_nonzero")


def _axes(pick: Pick, x: Tensor) -> Any:
    choices: list[Any] = [None, *range(x.ndim)]
    if x.ndim > 1:
        choices += [(0, x.ndim - 1), (x.ndim - 2, x.ndim - 1), (0, 1)]
    return pick(choices)


def _reduce(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    axis, keepdims, name = _axes(pick, x), pick((False, True)), pick(_REDUCTIONS)
    if name.startswith("arg") and isinstance(axis, tuple):
        axis = axis[0]
    if name in ("max", "min", "argmax", "argmin") and (x.dtype == BOOL or not _filled(x, axis)):
        return []
    return [_bounded(getattr(gx, name)(x, axis=axis, keepdims=keepdims))]


def _filled(x: Tensor, axis: Any) -> bool:
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return all(x.shape[a] != 0 for a in axes)


def _siblings(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    if not x.ndim or x.dtype == BOOL:
        return []
    axis = pick(tuple(range(x.ndim)))
    return [_bounded(gx.sum(x, axis=axis)), _bounded(gx.sum(x * x, axis=axis)), gx.any(x > 2, axis=axis)]


def _row(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    """A value against its own row: what softmax and normalization look like."""
    if not x.ndim or x.dtype == BOOL:
        return []
    axis = pick((-1, -1, 0))
    if not _filled(x, axis):
        return []
    centred = x - gx.max(x, axis=axis, keepdims=True)
    return [_bounded(centred * gx.sum(centred, axis=axis, keepdims=True))]


# ------------------------------------------------------------------------ views
def _view(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    way = pick(("flatten", "insert", "drop", "transpose", "stretch", "split"))
    if way == "flatten":
        return [gx.reshape(x, (-1,))]
    if way == "insert":
        return [gx.expand_dims(x, pick(tuple(range(x.ndim + 1))))] if x.ndim < 4 else []
    if way == "drop":
        return [gx.squeeze(x)]
    if way == "transpose":
        order = list(range(x.ndim))
        order.sort(key=lambda a: pick(range(100)))
        return [gx.permute_dims(x, tuple(order))]
    if way == "stretch":
        return [gx.broadcast_to(x, (2, *x.shape))] if x.ndim < 4 else []
    wide = [a for a, d in enumerate(x.shape) if d == 4]
    return [gx.reshape(x, (*x.shape[: wide[0]], 2, 2, *x.shape[wide[0] + 1 :]))] if wide else []


_SPANS = (slice(1, None), slice(None, -1), slice(None, None, -1), slice(None, None, 2), slice(0, 2))


def _slice(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    if not x.ndim:
        return []
    axis = pick(tuple(range(x.ndim)))
    key: list[Any] = [slice(None)] * x.ndim
    key[axis] = pick(_SPANS)
    if isinstance(x.shape[axis], int) and x.shape[axis] and pick((False, True)):
        key[axis] = pick((0, -1))
    return [x[tuple(key)]]


def _join(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    if not x.ndim:
        return []
    axis = pick(tuple(range(x.ndim)))
    partners = [t for t in pool if t.ndim == x.ndim and t.dtype == x.dtype]
    fitting = [t for t in partners if all(t.shape[a] == x.shape[a] for a in range(x.ndim) if a != axis)]
    return [gx.concat([x, pick(fitting)], axis=axis)]


def _move(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    if not x.ndim:
        return []
    axis = pick(tuple(range(x.ndim)))
    if pick((False, True)):
        return [gx.roll(x, 1, axis)]
    if isinstance(x.shape[axis], int) and x.shape[axis]:
        return [gx.take(x, gx.constant([0, x.shape[axis] - 1, 0]), axis=axis)]
    return []


# ----------------------------------------------------------------- contractions
def _contract(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    if x.ndim < 2 or x.dtype == BOOL:
        return []
    partners = [t for t in pool if t.ndim == 2 and t.dtype == x.dtype and t.shape[0] == x.shape[-1]]
    return [_bounded(pick((x @ x.mT, x.mT @ x, *(x @ t for t in partners))))]


def _epilogue(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    """A dense layer: matmul, bias, activation."""
    if x.ndim < 2 or x.shape[-1] != 3 or not is_float(x.dtype):
        return []
    weight = gx.constant(np.arange(-5, 7).reshape(3, 4) % 3, dtype=x.dtype)
    bias = gx.constant(np.arange(4), dtype=x.dtype)
    product = x @ weight
    if pick((0, 1)):
        return [product, gx.relu(_bounded(product) + bias)]
    return [gx.relu(_bounded(product + bias))]


def _scan(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    if not x.ndim or x.dtype == BOOL:
        return []
    axis = pick(tuple(range(x.ndim)))
    return [pick((_bounded(gx.cumulative_sum(x, axis=axis)), gx.sort(x, axis=axis)))]


_EXACT: tuple[Step, ...] = (
    *(_unary, _binary, _binary, _scalar, _convert, _select, _integer),
    *(_reduce, _reduce, _siblings, _row, _view, _view, _slice, _join, _move),
    *(_contract, _epilogue, _epilogue, _scan),
)


# ----------------------------------------------------------------------- smooth
def _curve(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    names = ("tanh", "sigmoid", "softplus", "silu", "gelu", "square", "sin", "erf")
    return [_bounded(getattr(gx, pick(names))(x))]


def _ratio(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    y = pick([t for t in pool if broadcasts(x, t)])
    return [pick((x / (1 + y * y), x * gx.tanh(y), x - y, gx.exp(-gx.abs(x)) + y))]


def _normalize(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    if not x.ndim or not _filled(x, None):
        return []
    axis = pick((-1, -1, 0))
    centred = x - gx.mean(x, axis=axis, keepdims=True)
    spread = gx.mean(gx.square(centred), axis=axis, keepdims=True)
    ways = (gx.softmax(x, axis=axis), gx.log_softmax(x, axis=axis), centred * gx.rsqrt(spread + 0.5))
    return [_bounded(pick(ways))]


def _layer(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    if x.ndim < 2 or x.shape[-1] != 3:
        return []
    weight = gx.constant(np.linspace(-1, 1, 9).reshape(3, 3))
    return [pick((gx.tanh, gx.relu, gx.sigmoid))(x @ weight + pick((0.5, x)))]


def _average(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    if not x.ndim or not _filled(x, None):
        return []
    axis = pick(tuple(range(x.ndim)))
    return [pick((gx.mean, gx.max, gx.var, gx.logsumexp))(x, axis=axis)]


def _slope(pick: Pick, pool: list[Tensor], x: Tensor) -> list[Tensor]:
    """The gradient of something that depends on a variable."""
    state = next((t for t in pool if isinstance(t, gx.Variable)), None)
    return [] if state is None else [_bounded(gx.grad(gx.sum(gx.tanh(x)), state))]


_SMOOTH: tuple[Step, ...] = (
    *(_curve, _curve, _ratio, _ratio, _normalize, _normalize, _layer, _layer, _average, _average),
    *(_view, _slice, _join, _slope),
)
