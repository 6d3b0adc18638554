"""Algebra that keeps every value: NaN, infinities and the empty array included.

Floating results may differ in the last place where a rule says "rounding"; the sign of a
zero may differ, as the compiled kernels do not keep it either.  Nothing is reassociated
unless no intermediate result can overflow, underflow or cancel that did not before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

from graphc import ops
from graphc.ir import Graph, Node
from graphc.ops.op import REGISTRY
from graphc.rewriting import Match, Rule, apply_rules, op, splat, var
from graphc.tensor import Tensor
from graphc.types import Scalar

__all__ = ["Simplify"]

X, Y, Z, C, D = var("x"), var("y"), var("z"), splat("c"), splat("d")
STRETCHING = ("add", "divide", "maximum", "minimum", "multiply", "subtract")
REDUCTIONS = ("all", "any", "max", "min", "prod", "sum")


# ----------------------------------------------------------------------- guards
def _integer(match: Match) -> bool:
    """Tell whether the values are exact: integers wrap, and bools add and multiply logically."""
    return match.dtype.kind in "biu"


def _can_reassociate_sum(match: Match) -> bool:
    """Integers wrap, so any order is exact; floats must not cancel."""
    c, d = match.value("c"), match.value("d")
    return _integer(match) or (_same_sign(c, d) and math.isfinite(_rounded(match, c + d)))


def _can_reassociate_product(match: Match) -> bool:
    """Integers wrap; of floats, both factors must move the magnitude the same way."""
    c, d = abs(match.value("c")), abs(match.value("d"))
    if _integer(match):
        return True
    one_way = (c >= 1 and d >= 1) or (c <= 1 and d <= 1)
    return one_way and _is_normal(match, c * d)


def _same_sign(c: Scalar, d: Scalar) -> bool:
    return math.copysign(1, c) == math.copysign(1, d)


def _rounded(match: Match, value: Scalar) -> float:
    with np.errstate(all="ignore"):
        return float(match.dtype.type(value))


def _is_normal(match: Match, value: Scalar) -> bool:
    return math.isfinite(_rounded(match, value)) and abs(value) >= float(np.finfo(match.dtype).tiny)


def _has_exact_reciprocal(match: Match) -> bool:
    c = match.value("c")
    if match.dtype.kind != "f" or not math.isfinite(c) or c == 0:
        return False
    return abs(math.frexp(c)[0]) == 0.5 and _is_normal(match, 1 / c)


def _never_negative(match: Match) -> bool:
    return never_negative(match.node("x"))


# Ops whose result is at least +0 (or NaN) whatever they are given.
_NON_NEGATIVE = frozenset({"abs", "exp", "exp2", "gaussian", "sigmoid", "softmax", "softplus", "square"})
# Ops whose result is if all their operands are.
_PRESERVING = frozenset(
    {"add", "broadcast_to", "divide", "expand_dims", "maximum", "mean", "multiply", "permute_dims"}
    | {"reshape", "squeeze", "sum"}
)

# Larger constants are not looked at.
_SCANNED = 64


def never_negative(node: Node, depth: int = 8) -> bool:
    """Tell whether a value is known to be +0 or more, or NaN; looks through few operands only."""
    if node.op.name in _NON_NEGATIVE:
        return True
    if node.op.name == "constant":
        array = node.payload.array
        return array.size <= _SCANNED and not bool(np.signbit(array).any())
    if node.op.name == "multiply" and node.inputs[0] is node.inputs[1]:
        return True
    return (
        node.op.name in _PRESERVING and depth > 0 and all(never_negative(i, depth - 1) for i in node.inputs)
    )


# ----------------------------------------------------------------- replacements
def _multiplied(match: Match) -> Tensor:
    """Return x to a small integer power, by repeated squaring."""
    x, exponent = match["x"], int(match.value("c"))
    result: Tensor | None = None
    while exponent:
        if exponent & 1:
            result = x if result is None else ops.multiply(result, x)
        x, exponent = ops.multiply(x, x) if exponent > 1 else x, exponent >> 1
    return result if result is not None else match.number(1)


def _small_power(match: Match) -> bool:
    c = match.value("c")
    return c == int(c) and 2 <= c <= 4 if math.isfinite(c) else False


def _merged_axes(match: Match) -> Tensor:
    """Return one reduction over the axes of two."""
    inner, outer = match.node("inner"), match.root
    first = inner.attrs["axes"]
    left = [a for a in range(match["x"].ndim) if a not in first]
    second = outer.attrs["axes"] if inner.attrs["keepdims"] else tuple(left[a] for a in outer.attrs["axes"])
    axes = tuple(sorted({*first, *second}))
    return outer.op(match["x"], axes=axes, keepdims=outer.attrs["keepdims"])


def _merges_axes(match: Match) -> bool:
    inner = match.node("inner")
    return bool(inner.attrs["keepdims"] == match.root.attrs["keepdims"] and inner.type.dtype == match.dtype)


def _reduces_ones(match: Match) -> bool:
    x = match["x"]
    return x.dtype == match.dtype and all(x.shape[a] == 1 for a in match.root.attrs["axes"])


def _drops_reduced_axes(match: Match) -> bool:
    inner = match.node("inner")
    kept = tuple(d for a, d in enumerate(match["x"].shape) if a not in inner.attrs["axes"])
    return bool(inner.attrs["keepdims"]) and kept == match.type.shape


def _without_keepdims(match: Match) -> Tensor:
    inner = match.node("inner")
    return inner.op(match["x"], axes=inner.attrs["axes"], keepdims=False)


def _product_of_constants(match: Match) -> Tensor:
    return ops.multiply(match["x"], ops.multiply(_constant(match, "c"), _constant(match, "d")))


def _sum_of_constants(match: Match) -> Tensor:
    return ops.add(match["x"], ops.add(_constant(match, "c"), _constant(match, "d")))


def _constant(match: Match, name: str) -> Tensor:
    return match.number(match.value(name))


# ------------------------------------------------------------------ matrix flags
def _swaps_matrix(node: Node) -> bool:
    axes = node.attrs["axes"]
    rank = len(axes)
    return rank >= 2 and axes == (*range(rank - 2), rank - 1, rank - 2)


def _matmul_flag(position: int) -> Rule:
    flag = "transpose_a" if position == 0 else "transpose_b"
    moved = op("permute_dims", X, bind="moved")
    operands = (moved, Y) if position == 0 else (Y, moved)

    def flipped(match: Match) -> Tensor:
        attrs = {**match.root.attrs, flag: not match.root.attrs[flag]}
        pair = (match["x"], match["y"]) if position == 0 else (match["y"], match["x"])
        return REGISTRY["matmul"](*pair, **attrs)

    return Rule(
        f"matmul of a transposed operand --> {flag}",
        op("matmul", *operands),
        flipped,
        lambda m: _swaps_matrix(m.node("moved")),
    )


# -------------------------------------------------------------------- broadcasts
def _keeps_shape_without(match: Match) -> bool:
    """Tell whether the result keeps its type when an operand is no longer stretched first."""
    shapes = match["x"].shape, match["y"].shape
    return match["y"].shape == match.type.shape and len(shapes[0]) <= len(shapes[1])


def _over_broadcast(name: str) -> tuple[Rule, Rule]:
    stretched = op("broadcast_to", X, ordered=True)
    return (
        Rule(
            f"{name}(broadcast_to(x), y) --> {name}(x, y)",
            op(name, stretched, Y, ordered=True),
            op(name, X, Y),
            _keeps_shape_without,
        ),
        Rule(
            f"{name}(y, broadcast_to(x)) --> {name}(y, x)",
            op(name, Y, stretched, ordered=True),
            op(name, Y, X),
            _keeps_shape_without,
        ),
    )


RULES: tuple[Rule, ...] = (
    # -- neutral elements
    Rule("x + 0 --> x", op("add", X, 0), X),
    Rule("x - 0 --> x", op("subtract", X, 0), X),
    Rule("0 - x --> -x", op("subtract", 0, X), op("negative", X)),
    Rule("x * 1 --> x", op("multiply", X, 1), X),
    Rule("x / 1 --> x", op("divide", X, 1), X),
    Rule("x * -1 --> -x", op("multiply", X, -1), op("negative", X)),
    Rule("x / -1 --> -x", op("divide", X, -1), op("negative", X)),
    # -- absorbing elements: only integers, 0 * inf and inf - inf are NaN
    Rule("x * 0 --> 0 (integers)", op("multiply", X, 0), lambda m: m.number(0), _integer),
    Rule("x - x --> 0 (integers)", op("subtract", X, X), lambda m: m.number(0), _integer),
    # -- signs
    Rule("-(-x) --> x", op("negative", op("negative", X)), X),
    Rule("-(x - y) --> y - x", op("negative", op("subtract", X, Y)), op("subtract", Y, X)),
    Rule("x + (-y) --> x - y", op("add", X, op("negative", Y)), op("subtract", X, Y)),
    Rule("x - (-y) --> x + y", op("subtract", X, op("negative", Y)), op("add", X, Y)),
    Rule("(-x) * (-y) --> x * y", op("multiply", op("negative", X), op("negative", Y)), op("multiply", X, Y)),
    Rule("(-x) / (-y) --> x / y", op("divide", op("negative", X), op("negative", Y)), op("divide", X, Y)),
    Rule(
        "(-x) * c --> x * (-c)",
        op("multiply", op("negative", X), C),
        lambda m: ops.multiply(m["x"], ops.negative(_constant(m, "c"))),
    ),
    Rule("abs(abs(x)) --> abs(x)", op("abs", op("abs", X)), op("abs", X)),
    Rule("abs(-x) --> abs(x)", op("abs", op("negative", X)), op("abs", X)),
    # -- chains of constants
    Rule(
        "(x + c) + d --> x + (c + d) (rounding)",
        op("add", op("add", X, C), D),
        _sum_of_constants,
        _can_reassociate_sum,
    ),
    Rule(
        "(x * c) * d --> x * (c * d) (rounding)",
        op("multiply", op("multiply", X, C), D),
        _product_of_constants,
        _can_reassociate_product,
    ),
    Rule(
        "x / 2**k --> x * 2**-k",
        op("divide", X, C),
        lambda m: ops.multiply(m["x"], m.number(1 / m.value("c"))),
        _has_exact_reciprocal,
    ),
    # -- powers
    Rule("x ** 0 --> 1", op("pow", X, 0), lambda m: m.number(1)),
    Rule("x ** 1 --> x", op("pow", X, 1), X),
    Rule("x ** (2, 3, 4) --> products (rounding)", op("pow", X, C), _multiplied, _small_power),
    Rule(
        "x ** -1 --> 1 / x",
        op("pow", X, -1.0),
        lambda m: ops.divide(m.number(1), m["x"]),
        lambda m: m.dtype.kind == "f",
    ),
    Rule("x ** 0.5 --> sqrt(x), x >= 0", op("pow", X, 0.5), op("sqrt", X), _never_negative),
    Rule("x ** -0.5 --> rsqrt(x), x >= 0 (rounding)", op("pow", X, -0.5), op("rsqrt", X), _never_negative),
    Rule("exp(log(x)) --> x, x >= 0 (rounding)", op("exp", op("log", X)), X, _never_negative),
    # -- selection
    Rule("where(true, x, y) --> x", op("where", True, X, Y), X),
    Rule("where(false, x, y) --> y", op("where", False, X, Y), Y),
    Rule("where(c, x, x) --> x", op("where", Z, X, X), X),
    Rule(
        "where(not c, x, y) --> where(c, y, x)", op("where", op("logical_not", Z), X, Y), op("where", Z, Y, X)
    ),
    Rule("not (not x) --> x", op("logical_not", op("logical_not", X)), X, lambda m: m["x"].dtype == m.dtype),
    Rule("maximum(x, x) --> x", op("maximum", X, X), X),
    Rule("minimum(x, x) --> x", op("minimum", X, X), X),
    # -- reductions
    *(
        rule
        for name in REDUCTIONS
        for rule in (
            Rule(
                f"{name}({name}(x)) --> {name}(x) (rounding)",
                op(name, op(name, X, bind="inner")),
                _merged_axes,
                _merges_axes,
            ),
            Rule(
                f"{name} over axes of size 1 --> reshape",
                op(name, X),
                lambda m: ops.reshape(m["x"], m.type.shape),
                _reduces_ones,
            ),
        )
    ),
    *(
        Rule(
            f"{shape}({name}(x, keepdims)) --> {name}(x)",
            op(shape, op(name, X, bind="inner")),
            _without_keepdims,
            _drops_reduced_axes,
        )
        for shape, name in product(("reshape", "squeeze"), REDUCTIONS)
    ),
    # -- matrix products read a transposed operand for free
    _matmul_flag(0),
    _matmul_flag(1),
    # -- elementwise ops stretch their operands themselves
    *(rule for name in STRETCHING for rule in _over_broadcast(name)),
)


@dataclass(frozen=True)
class Simplify:
    """Apply algebraic identities.

    ``-(-x) * 1 + 0 ** 2  -->  x``
    """

    rules: tuple[Rule, ...] = RULES

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with identities applied."""
        return apply_rules(graph, self.rules)
