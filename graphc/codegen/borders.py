"""Splitting the innermost loops of a map where its guards change: border, interior, border.

A padded window reads beyond its operand at the first and last positions only.  Between them the
guards on the innermost variable hold, so their tests go.  Most rows lie between the first and the
last ones, and have no guards at all; in the others, guards become selections between a constant and
a load at a position forced into range.  What is left has no branches and vectorizes.
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
# Rows up to so many elements are cut so that no vector is left to scalar code, though nothing is guarded.
SHORT = 64
# Steps in which LLVM still loads all, and shuffles.
LARGEST = 4


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
    low, high = _common(bounds, extent)
    # Short interiors are not worth two more copies of the loop.
    gaps = _leaves_gaps(region.values, last)
    if high - low <= extent // 2 or not (bounds or (gaps and extent <= SHORT)):
        return []
    known = {b.condition: expr.TRUE for b in bounds}
    inside = tuple(replace(s, value=_branchless(substitute(s.value, known), last)) for s in region.stores)
    whole = [Span(first, last, inside) for first, last in _in_vectors(low, high, gaps)]
    parts = [Span(0, low, region.stores), *whole, Span(high, extent, region.stores)]
    return [p for p in parts if p.first < p.last]


@dataclass(frozen=True)
class Inside:
    """A region without guards on its rows, the axis before the innermost, and for which rows that holds."""

    region: Region
    row: Expr
    first: int
    last: int


def inside_rows(region: Region) -> Inside | None:
    """Return what a map is between its first and last rows, None if they are no different.

    A selection in each load costs a third of a window's time and more, for the sake of one row in fifty.
    """
    if len(region.space) < 2 or region.indices[-2].kind != "index":
        return None
    extent, row = region.space[-2], region.indices[-2]
    bounds = _bounds(region.values, row)
    if not bounds or not isinstance(extent, int):
        return None
    first, last = _common(bounds, extent)
    if last - first <= extent // 2:
        return None
    known = {b.condition: expr.TRUE for b in bounds}
    stores = tuple(replace(s, value=substitute(s.value, known)) for s in region.stores)
    return Inside(replace(region, stores=stores), row, first, last)


def _in_vectors(first: int, last: int, gaps: bool) -> list[tuple[int, int]]:
    """Cut a range into whole vectors; the last may repeat elements of the one before.

    LLVM would fold an odd rest into masked gathers, ten times slower than what they replace.  Where steps
    leave `gaps`, it loads these as well, and leaves the last element to scalar code, since a vector would
    reach beyond the end: without one more element, that is the last whole vector.  Shorter loops it unrolls.
    """
    length = last - first
    for width in VECTORS:
        more = int(gaps and width == VECTORS[0])
        if width + more <= length:
            rest = (length - more) % width
            return [(first, last - rest), (last - width - more, last)] if rest else [(first, last)]
    return [(first, last)]


@dataclass(frozen=True)
class _Bound:
    """A condition that holds just where ``first <= variable < last``."""

    condition: Expr
    first: int
    last: int


# Beyond all extents.
_FAR = 2**62


def _common(bounds: Sequence[_Bound], extent: int) -> tuple[int, int]:
    """Return the range in which all conditions hold."""
    return max([0, *(b.first for b in bounds)]), min([extent, *(b.last for b in bounds)])


def _leaves_gaps(values: Sequence[Expr], last: Expr) -> bool:
    """Tell whether something is read in steps along the innermost axis, and not all between two steps."""
    places: dict[tuple[int, object, tuple[Expr, ...]], set[Expr]] = {}
    for e in walk(values):
        factors = linear(e.args[-1]) if e.kind == "load" and e.args else None
        factor = 0 if factors is None else factors.get(last, 0)
        if isinstance(factor, int) and 1 < factor <= LARGEST:
            places.setdefault((factor, e.data, e.args[:-1]), set()).add(e.args[-1])
    return any(len(read) % factor for (factor, _, _), read in places.items())


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
