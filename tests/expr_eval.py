"""Runs lowering rules in plain Python, without a compiler: slow and obvious.

`lowered` computes one node from what its op lowers to: a `Map` by evaluating its
expression at every index, a `Contract` by its triple sum, a `Loop` by executing its
source over bounds-checked pointers.  `evaluate_lowered` does so for a whole graph.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.errors import IndexRangeError
from graphc.feeds import solve_sizes
from graphc.interpreter import compute
from graphc.ir import Node, topological
from graphc.leaves import placeholder
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Alias, AxisReduce, Callback, Contract, Expand, Leaf, Loop, LoopSite, Map, Site
from graphc.ops.op import resolve_attrs
from graphc.tensor import Tensor
from graphc.types import BOOL, INT64, DType

Array = np.ndarray[Any, Any]
Sizes = Mapping[str, int]


# --------------------------------------------------------------- whole graphs
def evaluate_lowered(output: Tensor, feeds: Mapping[Tensor, Array]) -> Array:
    """Compute a Tensor with every node taken through its lowering."""
    arrays = {t.node: np.asarray(a) for t, a in feeds.items()}
    order = topological([output.node])
    sizes = solve_sizes(arrays.items(), (c for n in order for c in n.checks))
    values: dict[Node, Array] = dict(arrays)
    for node in order:
        if node not in values:
            values[node] = lowered(node, [values[i] for i in node.inputs], sizes)
    return values[output.node]


def lowered(node: Node, operands: Sequence[Array], sizes: Sizes) -> Array:
    """Compute one node through its op's lowering."""
    rule = next(rule for kind, rule in _RULES.items() if isinstance(node.op.lowering, kind))
    return rule(node, operands, sizes)


def _map(node: Node, operands: Sequence[Array], sizes: Sizes) -> Array:
    rule = node.op.lowering
    assert isinstance(rule, Map)
    shape = node.type.concrete(sizes)
    index = tuple(expr.index(f"i{a}") for a in range(len(shape)))
    value = rule.fn(_site(node), index)
    assert value.dtype == node.type.dtype, f"{node.op.name}: expression of {value.dtype}"
    out = np.zeros(shape, node.type.dtype)
    for at in np.ndindex(*shape):
        out[at] = Evaluation(operands, sizes, {f"i{a}": k for a, k in enumerate(at)})(value)
    return out


def _site(node: Node) -> Site:
    inputs = tuple(i.type for i in node.inputs)
    return Site(node.type, inputs, node.attrs, lambda k, at: expr.load(k, at, inputs[k].dtype), node.op.name)


def _axis_reduce(node: Node, operands: Sequence[Array], sizes: Sizes) -> Array:
    rule = node.op.lowering
    assert isinstance(rule, AxisReduce)
    x = operands[0] if rule.kind.startswith("arg") else operands[0].astype(node.type.dtype)
    axes = node.attrs["axes"]
    kept = [a for a in range(x.ndim) if a not in axes]
    count = math.prod(x.shape[a] for a in axes)
    rows = np.transpose(x, (*kept, *axes)).reshape(*(x.shape[a] for a in kept), count)
    out = np.zeros(rows.shape[:-1], node.type.dtype)
    for at in np.ndindex(*out.shape):
        out[at] = reduce_values(rule.kind, list(rows[at]), x.dtype)
    return out.reshape(node.type.concrete(sizes))


def _contract(node: Node, operands: Sequence[Array], sizes: Sizes) -> Array:
    rule = node.op.lowering
    assert isinstance(rule, Contract)
    c = rule.fn(_site(node))
    names = ("b", "m", "n", "k")
    groups = [
        tuple(expr.index(f"{g}{a}") for a in range(len(part)))
        for g, part in zip(names, (c.batch, c.rows, c.cols, c.inner), strict=True)
    ]
    batch, rows, cols, inner = groups
    left, right = c.lhs(batch, rows, inner), c.rhs(batch, inner, cols)
    extents = [tuple(dims.evaluate(d, sizes) for d in part) for part in (c.batch, c.rows, c.cols, c.inner)]
    out = np.zeros([*extents[0], *extents[1], *extents[2]], c.dtype)
    outer = [i.data for part in groups[:3] for i in part]
    for at in np.ndindex(*out.shape):
        env = dict(zip(outer, at, strict=True))
        for ks in np.ndindex(*extents[3]):
            env.update(zip((i.data for i in inner), ks, strict=True))
            run = Evaluation(operands, sizes, env)
            with np.errstate(all="ignore"):
                out[at] += run(expr.cast(left, c.dtype)) * run(expr.cast(right, c.dtype))
    return out.astype(node.type.dtype).reshape(node.type.concrete(sizes))


def _expand(node: Node, operands: Sequence[Array], sizes: Sizes) -> Array:
    rule = node.op.lowering
    assert isinstance(rule, Expand)
    inputs = [placeholder(f"x{k}", a.shape, a.dtype) for k, a in enumerate(operands)]
    result = rule.fn(*inputs, **resolve_attrs(node.attrs, sizes))
    return evaluate_lowered(result, dict(zip(inputs, operands, strict=True)))


# ------------------------------------------------------------------ hand loops
class Pointer:
    """A flat buffer as loop sources see it: integers widen to int64, every access is checked."""

    def __init__(self, array: Array) -> None:
        self.flat = array.view(np.uint8) if array.dtype == BOOL else array

    def _at(self, i: Any) -> int:
        at = int(i)
        if not 0 <= at < len(self.flat):
            raise AssertionError(f"pointer index {at} outside a buffer of {len(self.flat)} elements")
        return at

    def __getitem__(self, i: Any) -> Any:
        value = self.flat[self._at(i)]
        return value if self.flat.dtype.kind == "f" else np.int64(value)

    def __setitem__(self, i: Any, value: Any) -> None:
        self.flat[self._at(i)] = np.asarray(value).astype(self.flat.dtype)


def _loop(node: Node, operands: Sequence[Array], sizes: Sizes) -> Array:
    rule = node.op.lowering
    assert isinstance(rule, Loop)
    names: dict[str, int] = {}
    failed: list[bool] = []

    def size(d: dims.Dim) -> str:
        if isinstance(d, int):
            return str(d)
        name = f"size_{len(names)}"
        names[name] = dims.evaluate(d, sizes)
        return name

    inputs = tuple(i.type for i in node.inputs)
    body = rule.fn(LoopSite(node.type, inputs, node.attrs, size, lambda: "fail()"))
    # A buffer starts with garbage, so that a loop that forgets to clear it is seen.
    out = np.full(math.prod(node.type.concrete(sizes)), 77, node.type.dtype)
    scope: dict[str, Any] = {**_LOOP_NAMES, **names, "out": Pointer(out), "fail": lambda: failed.append(True)}
    scope |= {f"in{k}": Pointer(np.ascontiguousarray(a).reshape(-1)) for k, a in enumerate(operands)}
    for k, (dtype, count) in enumerate(body.scratch):
        scope[f"scratch{k}"] = Pointer(np.full(dims.evaluate(count, sizes), 77, dtype))
    with np.errstate(all="ignore"):
        exec("\n".join(body.lines), scope)
    if failed:
        raise IndexRangeError(node.op.name)
    return out.reshape(node.type.concrete(sizes))


# ----------------------------------------------------------------- expressions
class Evaluation:
    """Evaluates expressions at one point of the index space.

    Parameters
    ----------
    operands : sequence of ndarray
        What loads read, by operand number.
    sizes : mapping
        Values of named dimensions.
    env : mapping
        Values of the loop variables, by name.
    """

    def __init__(self, operands: Sequence[Array], sizes: Sizes, env: Mapping[str, int]) -> None:
        self.operands = operands
        self.sizes = sizes
        self.env = env
        self.known: dict[int, Any] = {}

    def __call__(self, e: Expr) -> Any:
        """Return the value of `e` as a NumPy scalar of its dtype."""
        found = self.known.get(id(e))
        if found is None:
            with np.errstate(all="ignore"):
                found = self.known[id(e)] = e.dtype.type(getattr(self, f"_{e.kind}")(e))
        return found

    def _const(self, e: Expr) -> Any:
        return e.data

    def _index(self, e: Expr) -> Any:
        return self.env[e.data]

    def _size(self, e: Expr) -> Any:
        return dims.evaluate(e.data.dim, self.sizes)

    def _load(self, e: Expr) -> Any:
        array, at = self.operands[e.data], tuple(int(self(i)) for i in e.args)
        if not all(0 <= i < n for i, n in zip(at, array.shape, strict=True)):
            raise AssertionError(f"load of operand {e.data} at {at} outside {array.shape}")
        return array[at]

    def _call(self, e: Expr) -> Any:
        if e.data == "where":
            return self(e.args[1]) if self(e.args[0]) else self(e.args[2])
        return FUNCTIONS[e.data](*(self(a) for a in e.args))

    def _cast(self, e: Expr) -> Any:
        return np.asarray(self(e.args[0])).astype(e.dtype)[()]

    def _guard(self, e: Expr) -> Any:
        return self(e.args[1]) if self(e.args[0]) else self(e.args[2])

    def _check(self, e: Expr) -> Any:
        if not self(e.args[0]):
            raise IndexRangeError(str(e.data))
        return self(e.args[1])

    def _fold(self, e: Expr) -> Any:
        count = (len(e.args) - 1) // 2
        body, variables, extents = e.args[0], e.args[1 : 1 + count], e.args[1 + count :]
        values = []
        for at in itertools.product(*(range(int(self(n))) for n in extents)):
            env = {**self.env, **{v.data: k for v, k in zip(variables, at, strict=True)}}
            values.append(Evaluation(self.operands, self.sizes, env)(body))
        return reduce_values(e.data, values, body.dtype)


def reduce_values(kind: str, values: Sequence[Any], dtype: DType) -> Any:
    """Reduce scalars of `dtype` one after the other, NaN winning over everything in an extremum."""
    if kind.startswith("arg"):
        return _arg_extremum(values, kind == "argmax")
    total = dtype.type(_initial(kind, dtype))
    with np.errstate(all="ignore"):
        for value in values:
            total = dtype.type(_STEPS[kind](total, value))
    return total


def _arg_extremum(values: Sequence[Any], largest: bool) -> int:
    best = 0
    for k, value in enumerate(values):
        better = value > values[best] if largest else value < values[best]
        first_nan = value != value and values[best] == values[best]
        best = k if (better and values[best] == values[best]) or first_nan else best
    return best


def _initial(kind: str, dtype: DType) -> Any:
    if kind not in ("max", "min"):
        return {"sum": 0, "prod": 1, "any": False, "all": True}[kind]
    if dtype.kind == "f":
        return -np.inf if kind == "max" else np.inf
    if dtype == BOOL:
        return kind == "min"
    return np.iinfo(dtype).min if kind == "max" else np.iinfo(dtype).max


_STEPS: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda a, b: a + b,
    "prod": lambda a, b: a * b,
    "max": np.maximum,
    "min": np.minimum,
    "any": np.logical_or,
    "all": np.logical_and,
}


def _sigmoid(x: Any) -> Any:
    return type(x)(1 / (1 + np.exp(-np.float64(x))))


def _softplus(x: Any) -> Any:
    return type(x)(np.logaddexp(0.0, np.float64(x)))


def _bits(x: Any) -> Any:
    kinds = {"f4": np.int32, "i4": np.float32, "f8": np.int64, "i8": np.float64}
    array = np.asarray(x)
    return array.view(kinds[array.dtype.str[1:]])[()]


def _pow(x: Any, y: Any) -> Any:
    # On arrays: NumPy's scalar power differs from its own loops at infinities and signed zeros.
    return np.power(np.array([x]), np.array([y]))[0]


_UFUNCS = (
    "exp exp2 expm1 log log2 log10 log1p sqrt sin cos tan sinh cosh tanh hypot logaddexp "
    "floor ceil trunc rint sign copysign isnan isinf isfinite"
)
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in _UFUNCS.split()},
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.true_divide,
    "neg": np.negative,
    "abs": np.abs,
    "min": np.minimum,
    "max": np.maximum,
    "mod": np.remainder,
    "floordiv": np.floor_divide,
    "pow": _pow,
    "bits": _bits,
    "rsqrt": lambda x: type(x)(1 / np.sqrt(np.float64(x))),
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": lambda x: type(x)(math.erf(float(x))),
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "xor": np.logical_xor,
    "bitand": np.bitwise_and,
    "bitor": np.bitwise_or,
    "bitxor": np.bitwise_xor,
    "bitnot": np.invert,
    "shl": np.left_shift,
    "shr": np.right_shift,
}
"""The scalar functions that expressions call, by name."""

_LOOP_NAMES: dict[str, Any] = {
    **{k: f for k, f in FUNCTIONS.items() if k not in ("and", "or", "not", "min", "max", "abs", "pow")},
    "i8": np.int8,
    "i16": np.int16,
    "i32": np.int32,
    "i64": INT64.type,
    "u8": np.uint8,
    "f32": np.float32,
    "f64": np.float64,
    "math": math,
}

_RULES: dict[type, Callable[[Node, Sequence[Array], Sizes], Array]] = {
    Map: _map,
    AxisReduce: _axis_reduce,
    Contract: _contract,
    Loop: _loop,
    Expand: _expand,
    Alias: lambda node, operands, sizes: operands[0].reshape(node.type.concrete(sizes)),
    Callback: lambda node, operands, sizes: compute(node, list(operands), sizes),
    Leaf: lambda node, operands, sizes: node.payload.array,
}
