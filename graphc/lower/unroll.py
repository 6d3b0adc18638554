"""Small windows as straight expressions, so that each of their elements can be simplified apart."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.region import walk
from graphc.lower.rewrite import substitute
from graphc.types import BOOL, INT32, INT64, is_float

# Windows up to this many elements become straight-line vector code.
UNROLL = 16

_COMBINE: dict[str, Callable[[Expr, Expr], Expr]] = {
    "sum": lambda a, b: expr.call("add", a, b),
    "prod": lambda a, b: expr.call("mul", a, b),
    # The running value second, as in reductions.
    "max": lambda a, b: expr.call("max", b, a),
    "min": lambda a, b: expr.call("min", b, a),
    "any": lambda a, b: a | b,
    "all": lambda a, b: a & b,
}


def unrolled(root: Expr) -> Expr:
    """Return the expression with every fold over a small static window written out."""
    memo: dict[Expr, Expr] = {}
    for e in walk([root]):
        if e.kind == "fold":
            inner = substitute(e, {}, memo)
            memo[e] = _elements(inner) if inner.kind == "fold" else inner
    return substitute(root, {}, memo)


def _elements(fold: Expr) -> Expr:
    rank = (len(fold.args) - 1) // 2
    body, variables, extents = fold.args[0], fold.args[1 : 1 + rank], fold.args[1 + rank :]
    count = 1
    for extent in extents:
        count *= extent.data if extent.kind == "const" else UNROLL + 1
    if not 0 < count <= UNROLL:
        return fold
    places = itertools.product(*(range(x.data) for x in extents))
    at = (dict(zip(variables, map(expr.index_const, place), strict=True)) for place in places)
    elements = [substitute(body, values) for values in at]
    if fold.data.startswith("arg"):
        return _position(elements, "le" if fold.data == "argmax" else "ge")
    value = elements[0]
    for element in elements[1:]:
        value = _COMBINE[fold.data](value, element)
    return value


def _position(elements: list[Expr], worse: str) -> Expr:
    """Return where the first best element stands; the first NaN is better than every number."""
    value, position = elements[0], expr.const(0, INT32)
    for k, element in enumerate(elements[1:], start=1):
        better = expr.call("not", expr.compare(worse, element, value), dtype=BOOL)
        if is_float(value.dtype):
            better = better & value.eq(value)
        position = expr.where(better, expr.const(k, INT32), position)
        value = expr.where(better, element, value)
    return expr.cast(position, INT64)
