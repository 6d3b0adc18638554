"""Random graphs, for properties that must hold of every graph.

`random_programs` is a hypothesis strategy: it shrinks to few nodes and small sizes.  Values
include NaN, infinities and zeros; sizes include 0 and 1.  Ops whose result depends on the
sign of a zero are left out, because rewrites do not keep that sign.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import graphc as gx
from graphc import dims, ops
from graphc.interpreter import run_graph
from graphc.ir import Graph, Node, topological
from graphc.ops.op import REGISTRY
from graphc.tensor import Tensor
from graphc.types import BOOL, FLOAT32, FLOAT64, INT32, INT64, is_float

Array = np.ndarray[Any, Any]
Draw = Callable[..., Any]

DTYPES = (FLOAT64, FLOAT32, INT64, INT32, BOOL)
SPECIAL = (0.0, 1.0, -1.0, 0.5, -2.0, 3.0, np.nan, np.inf, -np.inf)
CONSTANTS = (0, 1, -1, 2, 0.5, 4, -3)
ROWS = dims.symbol("n")
SHAPES: tuple[tuple[Any, ...], ...] = ((), (1,), (3,), (0,), (2, 3), (1, 3), (2, 1), (ROWS,), (ROWS, 3), (2, 1, 3))

UNARY = ("abs", "negative", "square", "tanh", "exp", "sqrt", "floor", "sigmoid", "relu", "isnan", "stop_gradient")
BINARY = ("add", "subtract", "multiply", "maximum", "minimum", "less", "equal")
REDUCTIONS = ("sum", "prod", "max", "min", "any", "all", "argmax", "var")
COMPOSITES = ("softmax", "log_softmax", "logsumexp")


@dataclass(frozen=True)
class Program:
    """A random graph and values for its inputs."""

    graph: Graph
    feeds: dict[Node, Array]

    def run(self, graph: Graph | None = None) -> list[Array]:
        """Interpret the graph, or another one over the same inputs; outputs, then updates."""
        outputs, updates = run_graph(graph or self.graph, self.feeds)
        return [*outputs, *updates]


@st.composite
def random_programs(draw: Draw, max_steps: int = 12, floats_only: bool = False) -> Program:
    """Draw a graph of up to `max_steps` operations with feeds."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = draw(st.sampled_from((0, 1, 3)))
    dtypes = (FLOAT64,) if floats_only else DTYPES
    inputs = [_placeholder(draw, f"x{k}", dtypes) for k in range(draw(st.integers(1, 3)))]
    state = gx.variable(rng.normal(size=(3,)), name="w")
    pool: list[Tensor] = [*inputs, state]
    for _ in range(draw(st.integers(1, max_steps))):
        made = _step(draw, pool)
        pool += [made] if made is not None else []
    outputs = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=3))
    updates = tuple((state.node, t.node) for t in pool[len(inputs) :] if t.type == state.type)[-1:]
    checks = tuple(dict.fromkeys(c for n in topological(t.node for t in pool) for c in n.checks))
    graph = Graph(tuple(t.node for t in inputs), tuple(t.node for t in outputs), updates, checks)
    feeds = {t.node: _values(rng, t.type.concrete({"n": rows}), t.dtype) for t in inputs}
    return Program(graph, feeds)


def _placeholder(draw: Draw, name: str, dtypes: Sequence[Any]) -> Tensor:
    return gx.placeholder(name, draw(st.sampled_from(SHAPES)), draw(st.sampled_from(dtypes)))


def _values(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    if is_float(dtype):
        return np.where(rng.random(shape) < 0.3, rng.choice(SPECIAL, shape), rng.normal(size=shape)).astype(dtype)
    return np.asarray(rng.integers(-4, 5, shape)).astype(dtype)


def _step(draw: Draw, pool: list[Tensor]) -> Tensor | None:
    """Return one more operation on values of the pool, or None where the drawn one does not fit."""
    x = draw(st.sampled_from(pool))
    kind = draw(st.sampled_from(tuple(_STEPS)))
    made: Tensor | None = _STEPS[kind](draw, pool, x)
    return made


def _unary(draw: Draw, pool: list[Tensor], x: Tensor) -> Tensor | None:
    if x.dtype == BOOL:
        return ops.logical_not(x)
    return getattr(ops, draw(st.sampled_from(UNARY)))(x)


def _binary(draw: Draw, pool: list[Tensor], x: Tensor) -> Tensor | None:
    name = draw(st.sampled_from(BINARY))
    y = draw(st.sampled_from([t for t in pool if _broadcasts(x, t)]))
    if x.dtype == y.dtype == BOOL and name == "subtract":
        return None
    return getattr(ops, name)(x, y)


def _scalar(draw: Draw, pool: list[Tensor], x: Tensor) -> Tensor | None:
    name = draw(st.sampled_from(("add", "subtract", "multiply")))
    value = draw(st.sampled_from(CONSTANTS))
    if x.dtype == BOOL:
        return None
    pair = (x, value) if draw(st.booleans()) else (value, x)
    return getattr(ops, name)(*pair)


def _divide(draw: Draw, pool: list[Tensor], x: Tensor) -> Tensor | None:
    return x / draw(st.sampled_from((1, -1, 2.0, 0.25, 3.0)))


def _power(draw: Draw, pool: list[Tensor], x: Tensor) -> Tensor | None:
    return x ** draw(st.sampled_from((0, 1))) if is_float(x.dtype) else None


def _reduce(draw: Draw, pool: list[Tensor], x: Tensor) -> Tensor | None:
    name = draw(st.sampled_from(REDUCTIONS))
    axes = [a for a, d in enumerate(x.shape) if d not in (0, ROWS)]
    if not axes:
        return None
    axis = draw(st.sampled_from(axes))
    keepdims = draw(st.booleans())
    source = x * 1.0 if x.dtype == BOOL and name in ("max", "min", "argmax", "var") else x
    return getattr(ops, name)(source, axis=axis, keepdims=keepdims)


def _reshape(draw: Draw, pool: list[Tensor], x: Tensor) -> Tensor | None:
    way = draw(st.sampled_from(("flatten", "add axis", "drop axes", "transpose", "broadcast")))
    if way == "flatten":
        return ops.flatten(x)
    if way == "add axis":
        return ops.expand_dims(x, draw(st.integers(0, x.ndim)))
    if way == "drop axes":
        return ops.squeeze(x)
    if way == "transpose":
        return ops.permute_dims(x, tuple(draw(st.permutations(range(x.ndim)))))
    return ops.broadcast_to(x, (2, *x.shape)) if x.ndim < 4 else None


def _convert(draw: Draw, pool: list[Tensor], x: Tensor) -> Tensor | None:
    target = draw(st.sampled_from(DTYPES))
    # A float that does not fit an integer converts to an unspecified one.
    return None if is_float(x.dtype) and not is_float(target) else ops.astype(x, target)


def _select(draw: Draw, pool: list[Tensor], x: Tensor) -> Tensor | None:
    conditions = [t for t in pool if t.dtype == BOOL and _broadcasts(t, x)]
    if not conditions:
        return ops.where(draw(st.booleans()), x, x)
    return ops.where(draw(st.sampled_from(conditions)), x, 1)


def _multiply_matrices(draw: Draw, pool: list[Tensor], x: Tensor) -> Tensor | None:
    if x.ndim < 2 or x.dtype == BOOL:
        return None
    return x @ x.mT if draw(st.booleans()) else x.mT @ x


def _compose(draw: Draw, pool: list[Tensor], x: Tensor) -> Tensor | None:
    known = [n for n in COMPOSITES if n in REGISTRY]
    if not known or not is_float(x.dtype) or not x.ndim or x.shape[-1] in (0, ROWS):
        return None
    return getattr(ops, draw(st.sampled_from(known)))(x, axis=-1)


def _broadcasts(x: Tensor, y: Tensor) -> bool:
    pairs = zip(reversed(x.shape), reversed(y.shape), strict=False)
    return all(a == b or 1 in (a, b) for a, b in pairs) and max(x.ndim, y.ndim) < 5


_STEPS: dict[str, Callable[[Draw, list[Tensor], Tensor], Tensor | None]] = {
    "unary": _unary,
    "binary": _binary,
    "scalar": _scalar,
    "divide": _divide,
    "power": _power,
    "reduce": _reduce,
    "reshape": _reshape,
    "convert": _convert,
    "select": _select,
    "matrices": _multiply_matrices,
    "composite": _compose,
}
