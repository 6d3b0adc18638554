"""Splitting the innermost loop of a map where its guards change: border, interior, border.

A padded window reads beyond its operand at the first and last positions only.  Between them the
guards on the innermost variable hold, so their tests go; guards on outer variables become
selections between a constant and a load at a position forced into range.  What is left has no
branches and vectorizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphc.codegen.scalar import is_expensive
from graphc.lower import expr
from graphc.lower.affine import conjuncts, linear, slack
from graphc.lower.expr import Expr
from graphc.lower.region import Region, Store, walk
from graphc.lower.rewrite import substitute
from graphc.types import BOOL

# Elements of a vector: 64 bytes of float32, or half of it for short rows.
VECTORS = (16, 8)


@dataclass(frozen=True)
class Span:
    """A part of the innermost loop: its bounds, and what it stores."""

    first: int
    last: int
    stores: tuple[Store, ...]


def spans(region: Region) -> list[Span]:
    """Return the parts of the innermost loop of a map, empty if there is nothing to gain.

    Parts may overlap: no result may lie in an operand's memory.
    """
    if not region.space or not isinstance(region.space[-1], int):
        return []
    extent, last = region.space[-1], region.indices[-1]
    bounds = _bounds(region.values, last)
    low = max([0, *(b.first for b in bounds)])
    high = min([extent, *(b.last for b in bounds)])
    # Short interiors are not worth two more copies of the loop.
    if not bounds or high - low <= extent // 2:
        return []
    known = {b.condition: expr.TRUE for b in bounds}
    inside = tuple(replace(s, value=_branchless(substitute(s.value, known), last)) for s in region.stores)
    whole = [Span(first, last, inside) for first, last in _in_vectors(low, high)]
    parts = [Span(0, low, region.stores), *whole, Span(high, extent, region.stores)]
    return [p for p in parts if p.first < p.last]


def _in_vectors(first: int, last: int) -> list[tuple[int, int]]:
    """Cut a range into whole vectors; the last may repeat elements of the one before.

    LLVM would fold an odd rest into masked gathers, ten times slower than what they replace.
    """
    length = last - first
    width = next((w for w in VECTORS if w <= length), length)
    rest = length % width
    return [(first, last - rest), (last - width, last)] if rest else [(first, last)]


@dataclass(frozen=True)
class _Bound:
    """A condition that holds just where ``first <= variable < last``."""

    condition: Expr
    first: int
    last: int


# Beyond all extents.
_FAR = 2**62


def _bounds(values: Sequence[Expr], last: Expr) -> list[_Bound]:
    guards = [e for e in walk(values) if e.kind == "guard"]
    parts = dict.fromkeys(part for e in guards for part in conjuncts(e.args[0]))
    return [bound for part in parts if (bound := _bound(part, last)) is not None]


def _bound(condition: Expr, last: Expr) -> _Bound | None:
    room = slack(condition)
    factors = None if room is None else linear(room)
    if room is None or factors is None:
        return None
    factor, rest = factors.get(last, 0), substitute(room, {last: expr.ZERO})
    others = any(f != 0 for v, f in factors.items() if v is not last)
    if others or not isinstance(factor, int) or factor == 0 or rest.kind != "const":
        return None
    # factor * v + rest >= 0
    if factor > 0:
        return _Bound(condition, -(rest.data // factor), _FAR)
    return _Bound(condition, -_FAR, rest.data // -factor + 1)


def _branchless(root: Expr, last: Expr) -> Expr:
    """Replace guards that do not mention the innermost variable by selections."""
    found = (e for e in walk([root]) if e.kind == "guard")
    return substitute(root, {e: new for e in found if (new := _selection(e, last)) is not None})


def _selection(guard: Expr, last: Expr) -> Expr | None:
    condition, chosen, other = guard.args
    if any(e is last for e in walk([condition])) or other.kind != "const":
        return None
    moved: dict[Expr, Expr] = {}
    for e in walk([chosen]):
        if e.kind in ("fold", "guard", "check") or (e.kind == "call" and is_expensive(e.data)):
            return None
        if e.kind == "load":
            at = [_clamped(p, d, last) for p, d in zip(e.args, e.data.type.shape, strict=True)]
            position = tuple(p for p in at if p is not None)
            if len(position) < len(at):
                return None
            moved[e] = expr.load(e.data, position, e.dtype)
    return expr.where(condition, substitute(chosen, moved), other)


def _clamped(position: Expr, size: object, last: Expr) -> Expr | None:
    """Force a position that depends on outer variables alone into range; None if that cannot be."""
    if position.kind in ("index", "const"):
        return position
    inner = walk([position])
    if any(e is last for e in inner):
        # Every condition on it holds here; mixed with another variable, it may yet be out of range.
        return position if all(e is last for e in inner if e.kind == "index") else None
    if not isinstance(size, int) or size < 1 or any(e.dtype == BOOL for e in inner):
        return None
    return expr.call("min", expr.call("max", position, expr.ZERO), expr.index_const(size - 1))
