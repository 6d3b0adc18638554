"""Strides of scalar loads: where an operand walks memory evenly, it needs no packing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphc import dims
from graphc.dims import Dim
from graphc.lower.expr import ZERO, Expr
from graphc.lower.region import walk
from graphc.lower.rewrite import substitute
from graphc.types import INT64


@dataclass(frozen=True)
class Strided:
    """A load whose offset is linear in loop variables."""

    load: Expr
    strides: dict[Expr, Dim]

    def flat(self, variables: Sequence[Expr], extents: Sequence[Dim]) -> Dim | None:
        """Return the stride of `variables` walked as one flattened axis, None if uneven."""
        pairs = [(v, d) for v, d in zip(variables, extents, strict=True) if v.kind == "index" and d != 1]
        if not pairs:
            return 0
        stride = self.strides.get(pairs[-1][0], 0)
        for (outer, _), (inner, extent) in itertools.pairwise(pairs):
            if self.strides.get(outer, 0) != self.strides.get(inner, 0) * extent:
                return None
        return stride


@dataclass(frozen=True)
class Window:
    """A guarded value as a value on an interval of one variable, and another outside it.

    The value holds where `conditions` hold and ``lower <= variable < upper`` for each bound.
    """

    conditions: tuple[Expr, ...]
    lower: tuple[Expr, ...]
    upper: tuple[Expr, ...]
    inside: Expr
    outside: Expr


def window(e: Expr, variable: Expr) -> Window | None:
    """Return a guard as bounds of a loop over `variable`, None if it is not an interval."""
    if e.kind != "guard":
        return None
    conditions: list[Expr] = []
    lower: list[Expr] = []
    upper: list[Expr] = []
    for part in conjuncts(e.args[0]):
        room = slack(part)
        factors = None if room is None else linear(room)
        if room is None or factors is None:
            if _mentions(part, variable):
                return None
            conditions.append(part)
            continue
        factor = factors.get(variable, 0)
        if not isinstance(factor, int):
            return None
        rest = substitute(room, {variable: ZERO})
        if factor > 0:
            # factor * v + rest >= 0, so v >= ceil(-rest / factor)
            lower.append(0 - rest // factor)
        elif factor < 0:
            upper.append(rest // -factor + 1)
        else:
            conditions.append(part)
    return Window(tuple(conditions), tuple(lower), tuple(upper), e.args[1], e.args[2])


def conjuncts(e: Expr) -> list[Expr]:
    """Return the conditions that `and` joins in `e`."""
    if e.kind == "call" and e.data == "and":
        return [*conjuncts(e.args[0]), *conjuncts(e.args[1])]
    return [e]


def slack(e: Expr) -> Expr | None:
    """Return an integer that is non-negative exactly where the comparison `e` holds."""
    if e.kind != "call" or e.data not in _SLACKS or e.args[0].dtype != INT64:
        return None
    return _SLACKS[e.data](*e.args)


_SLACKS: dict[str, Callable[[Expr, Expr], Expr]] = {
    "ge": lambda a, b: a - b,
    "gt": lambda a, b: a - b - 1,
    "le": lambda a, b: b - a,
    "lt": lambda a, b: b - a - 1,
}


def _mentions(e: Expr, variable: Expr) -> bool:
    return any(x is variable for x in walk([e]))


def strided(e: Expr) -> Strided | None:
    """Return the strides of a plain load, or None if `e` is anything else."""
    if e.kind != "load":
        return None
    shape = e.data.type.shape
    strides: dict[Expr, Dim] = {}
    for axis, position in enumerate(e.args):
        factors = linear(position)
        if factors is None:
            return None
        step = dims.product(shape[axis + 1 :])
        for variable, factor in factors.items():
            strides[variable] = strides.get(variable, 0) + factor * step
    return Strided(e, strides)


def linear(e: Expr) -> dict[Expr, Dim] | None:
    """Return the factor of each loop variable in a linear index expression."""
    if e.kind == "index":
        return {e: 1}
    if e.kind in ("const", "size"):
        return {}
    if e.kind != "call" or e.data not in ("add", "sub", "mul"):
        return None
    left, right = (linear(a) for a in e.args)
    if left is None or right is None:
        return None
    if e.data == "mul":
        return _scaled(e, left, right)
    sign = 1 if e.data == "add" else -1
    merged = dict(left)
    for variable, factor in right.items():
        merged[variable] = merged.get(variable, 0) + factor * sign
    return merged


def _scaled(e: Expr, left: dict[Expr, Dim], right: dict[Expr, Dim]) -> dict[Expr, Dim] | None:
    if left and right:
        return None
    factors, other = (left, e.args[1]) if left else (right, e.args[0])
    if not factors:
        return {}
    if other.kind not in ("const", "size"):
        return None
    scale: Dim = other.data if other.kind == "const" else other.data.dim
    return {v: f * scale for v, f in factors.items()}
