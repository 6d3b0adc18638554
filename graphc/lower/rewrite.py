"""Replacing parts of scalar expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.types import INT64


def substitute(e: Expr, values: Mapping[Expr, Expr], memo: dict[Expr, Expr] | None = None) -> Expr:
    """Replace sub-expressions, refolding index arithmetic on the way."""
    memo = {} if memo is None else memo
    if e in values:
        return values[e]
    if not e.args:
        return e
    if e not in memo:
        args = tuple(substitute(a, values, memo) for a in e.args)
        memo[e] = e if args == e.args else rebuild(e, args)
    return memo[e]


_FOLDING: dict[str, Callable[[Expr, Expr], Expr]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
}


def rebuild(e: Expr, args: tuple[Expr, ...]) -> Expr:
    """Return `e` over other operands, simplified as if it had been built from them."""
    if e.kind == "call" and e.dtype == INT64 and e.data in _FOLDING:
        return _FOLDING[e.data](*args)
    if e.kind == "call" and e.data in ("lt", "le", "gt", "ge", "eq", "ne"):
        return expr.compare(e.data, *args)
    if e.kind == "call" and e.data == "and":
        return args[0] & args[1]
    if e.kind == "call" and e.data == "or":
        return args[0] | args[1]
    if e.kind == "guard":
        return expr.guard(*args)
    if e.kind == "call" and e.data == "where":
        return expr.where(*args)
    if e.kind == "cast":
        return expr.cast(args[0], e.dtype)
    return Expr(e.kind, args, e.dtype, e.data)
