"""Random graphs, for properties that must hold of every graph.

`random_programs` is a hypothesis strategy that shrinks to few operations.  Values
include NaN, infinities and zeros; sizes include 0 and 1.  Ops whose result depends on the
sign of a zero are left out, because rewrites do not keep that sign.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from hypothesis import strategies as st

import graphc as gx
from graphc import dims, ops
from graphc.interpreter import run_graph
from graphc.ir import Graph, Node, topological
from graphc.ops.op import REGISTRY
from graphc.printing import graph_to_text
from graphc.tensor import Tensor
from graphc.types import BOOL, FLOAT32, FLOAT64, INT32, INT64, is_float

Array = np.ndarray[Any, Any]
Draw = Callable[..., Any]
Pick = Callable[[Sequence[Any]], Any]

DTYPES = (FLOAT64, FLOAT32, INT64, INT32, BOOL)
SPECIAL = (0.0, 1.0, -1.0, 0.5, -2.0, 3.0, np.nan, np.inf, -np.inf)
CONSTANTS = (0, 1, -1, 2, 0.5, 4, -3)
ROWS = dims.symbol("n")
SHAPES: tuple[tuple[Any, ...], ...] = (
    (),
    (1,),
    (3,),
    (0,),
    (2, 3),
    (1, 3),
    (2, 1),
    (ROWS,),
    (ROWS, 3),
    (2, 1, 3),
)

UNARY = (
    "abs",
    "negative",
    "square",
    "tanh",
    "exp",
    "sqrt",
    "floor",
    "sigmoid",
    "relu",
    "isnan",
    "stop_gradient",
)
BINARY = ("add", "subtract", "multiply", "maximum", "minimum", "less", "equal")
REDUCTIONS = ("sum", "prod", "max", "min", "any", "all", "argmax", "var")
COMPOSITES = ("softmax", "log_softmax", "logsumexp")


@dataclass(frozen=True)
class Program:
    """A random graph and values for its inputs."""

    graph: Graph
    feeds: dict[Node, Array]

    def __repr__(self) -> str:
        fed = "\n".join(f"{n.name} = {a.tolist()}" for n, a in self.feeds.items())
        return f"{graph_to_text(self.graph, places=False)}\n{fed}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # Hypothesis would print every field of every dataclass.
        printer.text(repr(self))

    def run(self, graph: Graph | None = None) -> list[Array]:
        """Interpret the graph, or another one over the same inputs; outputs, then updates."""
        outputs, updates = run_graph(graph or self.graph, self.feeds)
        return [*outputs, *updates]


@st.composite
def random_programs(draw: Draw, max_steps: int = 30, floats_only: bool = False) -> Program:
    """Draw a graph of up to `max_steps` operations with feeds.

    The number of operations shrinks; the choices themselves come from a drawn seed, which
    spreads them evenly where hypothesis would favour the first of each list.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps = draw(st.integers(1, max_steps))

    def pick(options: Sequence[Any]) -> Any:
        return options[int(rng.integers(len(options)))]

    rows = pick((0, 1, 3))
    dtypes = (FLOAT64,) if floats_only else DTYPES
    inputs = [_placeholder(pick, f"x{k}", dtypes) for k in range(pick((1, 2, 3)))]
    state = gx.variable(rng.normal(size=(3,)), name="w")
    pool: list[Tensor] = [*inputs, state]
    while steps:
        made = _step(pick, pool)
        pool += [made] if made is not None else []
        steps -= made is not None
    graph = _graph_of(inputs, state, pool)
    feeds = {t.node: _values(rng, t.type.concrete({"n": rows}), t.dtype) for t in inputs}
    return Program(graph, feeds)


def _graph_of(inputs: list[Tensor], state: Tensor, pool: list[Tensor]) -> Graph:
    """Return the graph whose outputs are all values that nothing else reads."""
    order = topological(t.node for t in pool)
    read = {operand for node in order for operand in node.inputs}
    outputs = tuple(dict.fromkeys(t.node for t in pool[len(inputs) + 1 :] if t.node not in read))
    updates = tuple((state.node, t.node) for t in pool if t.type == state.type)[-1:]
    checks = tuple(dict.fromkeys(c for n in order for c in n.checks))
    return Graph(tuple(t.node for t in inputs), outputs or (pool[-1].node,), updates, checks)


def _placeholder(pick: Pick, name: str, dtypes: Sequence[Any]) -> Tensor:
    return gx.placeholder(name, pick(SHAPES), pick(dtypes))


def _values(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    if is_float(dtype):
        return np.where(rng.random(shape) < 0.3, rng.choice(SPECIAL, shape), rng.normal(size=shape)).astype(
            dtype
        )
    return np.asarray(rng.integers(-4, 5, shape)).astype(dtype)


def _step(pick: Pick, pool: list[Tensor]) -> Tensor | None:
    """Return one more operation on values of the pool, or None where the drawn one does not fit."""
    # Recent values first, or most graphs would be wide and one operation deep.
    x = pick(pool[-4:] if pick((False, True)) else pool)
    kind = pick(tuple(_STEPS))
    made: Tensor | None = _STEPS[kind](pick, pool, x)
    return made


def _unary(pick: Pick, pool: list[Tensor], x: Tensor) -> Tensor | None:
    if x.dtype == BOOL:
        return ops.logical_not(x)
    return getattr(ops, pick(UNARY))(x)


def _binary(pick: Pick, pool: list[Tensor], x: Tensor) -> Tensor | None:
    name = pick(BINARY)
    partners = [t for t in pool if broadcasts(x, t)]
    if not partners:
        return None
    y = pick(partners)
    if x.dtype == y.dtype == BOOL and name == "subtract":
        return None
    return getattr(ops, name)(x, y)


def _scalar(pick: Pick, pool: list[Tensor], x: Tensor) -> Tensor | None:
    name = pick(("add", "subtract", "multiply"))
    value = pick(CONSTANTS)
    if x.dtype == BOOL:
        return None
    pair = (x, value) if pick((False, True)) else (value, x)
    return getattr(ops, name)(*pair)


def _divide(pick: Pick, pool: list[Tensor], x: Tensor) -> Tensor | None:
    return x / pick((1, -1, 2.0, 0.25, 3.0))


def _power(pick: Pick, pool: list[Tensor], x: Tensor) -> Tensor | None:
    return x ** pick((0, 1)) if is_float(x.dtype) else None


def _reduce(pick: Pick, pool: list[Tensor], x: Tensor) -> Tensor | None:
    name = pick(REDUCTIONS)
    axes = [a for a, d in enumerate(x.shape) if d not in (0, ROWS)]
    if not axes:
        return None
    axis = pick(axes)
    keepdims = pick((False, True))
    source = x * 1.0 if x.dtype == BOOL and name in ("max", "min", "argmax", "var") else x
    return getattr(ops, name)(source, axis=axis, keepdims=keepdims)


def _reshape(pick: Pick, pool: list[Tensor], x: Tensor) -> Tensor | None:
    way = pick(("flatten", "add axis", "drop axes", "transpose", "broadcast"))
    if way == "flatten":
        return ops.flatten(x)
    if way == "add axis":
        return ops.expand_dims(x, pick(range(x.ndim + 1)))
    if way == "drop axes":
        return ops.squeeze(x)
    if way == "transpose":
        return ops.permute_dims(x, pick(tuple(permutations(range(x.ndim)))))
    return ops.broadcast_to(x, (2, *x.shape)) if x.ndim < 4 else None


def _convert(pick: Pick, pool: list[Tensor], x: Tensor) -> Tensor | None:
    target = pick(DTYPES)
    # A float that does not fit an integer converts to an unspecified one.
    return None if is_float(x.dtype) and not is_float(target) else ops.astype(x, target)


def _select(pick: Pick, pool: list[Tensor], x: Tensor) -> Tensor | None:
    conditions = [t for t in pool if t.dtype == BOOL and broadcasts(t, x)]
    if not conditions:
        return ops.where(pick((False, True)), x, x)
    return ops.where(pick(conditions), x, 1)


def _multiply_matrices(pick: Pick, pool: list[Tensor], x: Tensor) -> Tensor | None:
    if x.ndim < 2 or x.dtype == BOOL:
        return None
    return x @ x.mT if pick((False, True)) else x.mT @ x


def _compose(pick: Pick, pool: list[Tensor], x: Tensor) -> Tensor | None:
    known = [n for n in COMPOSITES if n in REGISTRY]
    if not known or not is_float(x.dtype) or not x.ndim or x.shape[-1] in (0, ROWS):
        return None
    return getattr(ops, pick(known))(x, axis=-1)


def broadcasts(x: Tensor, y: Tensor) -> bool:
    """Tell whether two values can be combined elementwise into one of moderate rank."""
    pairs = zip(reversed(x.shape), reversed(y.shape), strict=False)
    return all(a == b or 1 in (a, b) for a, b in pairs) and max(x.ndim, y.ndim) < 5


_STEPS: dict[str, Callable[[Pick, list[Tensor], Tensor], Tensor | None]] = {
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
