"""How a contraction walks an operand: the index that each loop variable moves along each axis.

A convolution reads its input at ``window * stride - padding + tap * dilation`` along every
axis of space, its adjoint at ``(position + padding - tap * dilation) / stride`` where that
divides.  Both are *walks*: linear in the loop variables, within bounds beyond which there is
nothing but zeros.  What is found here is a property of index expressions, not of ops.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.codegen.contraction_loops import live
from graphc.dims import Dim
from graphc.lower import expr
from graphc.lower.affine import conjuncts, linear, slack
from graphc.lower.contraction import ContractionRegion
from graphc.lower.expr import Expr
from graphc.lower.rewrite import substitute


@dataclass(frozen=True)
class Axis:
    """One axis of the operand: the index read there, ``batch + sum(factor * variable) + constant``.

    Attributes
    ----------
    batch : Expr
        The part that is fixed within one batch entry.
    factors : dict of Expr to int
        Steps of the row, column and inner variables.
    constant : int
        What is read where all variables are 0, apart from `batch`.
    low : int or SymbolicDim
        Smallest index read, apart from `batch`.
    extent : Dim
        Number of indices from the smallest to the largest.
    divisor : int
        What the whole sum is divided by; nothing is read where it does not divide.
    """

    batch: Expr
    factors: dict[Expr, int]
    constant: int
    low: Dim
    extent: Dim
    divisor: int = 1

    @property
    def start(self) -> Dim:
        """Index read, from `low` on, where all variables are 0."""
        return self.constant - self.low


@dataclass(frozen=True)
class Walk:
    """How a contraction walks one operand, and whether it may step outside, where zeros are."""

    load: Expr
    axes: tuple[Axis, ...]
    padded: bool


@dataclass(frozen=True)
class Scheme:
    """A schedule of a contraction that walks its right operand.

    Attributes
    ----------
    form : str
        ``gather`` (positions are rows of the tile), ``walk`` (they are its columns), ``taps`` (sums for
        each tap of a kernel) or ``slide`` (shifted planes are added up).
    rows, cols : int
        Shape of the tile, in elements.
    cycles : int
        Estimated cost for each image.
    """

    form: str
    rows: int
    cols: int
    cycles: int

    def __str__(self) -> str:
        """Describe the schedule in a few words."""
        return f"{self.form} {self.rows}x{self.cols}"


def find(region: ContractionRegion) -> Walk | None:
    """Return the walk of a contraction's right operand, None where it is none."""
    source, padded = region.rhs, False
    if source.kind == "guard" and source.args[2].kind == "const" and source.args[2].data == 0:
        source, padded = source.args[1], True
    if source.kind != "load":
        return None
    axes = [_axis(region, position) for position in source.args]
    walk = Walk(source, tuple(a for a in axes if a is not None), padded)
    if len(walk.axes) != len(axes) or (padded and not _is_padding(region.rhs.args[0], walk)):
        return None
    return walk if padded or all(a.divisor == 1 for a in walk.axes) else None


def _axis(region: ContractionRegion, position: Expr) -> Axis | None:
    numerator, divisor = _divided(position)
    spec = region.shape
    factors = linear(numerator)
    if factors is None or not all(isinstance(f, int) for f in factors.values()):
        return None
    moving = dict(zip((*region.cols, *region.inner), (*spec.cols, *spec.inner), strict=True))
    own = {v: int(str(f)) for v, f in factors.items() if v in moving and f != 0}
    fixed = substitute(numerator, dict.fromkeys(own, expr.ZERO))
    constant = substitute(fixed, {v: expr.ZERO for v in factors if v not in own})
    if constant.kind != "const" or (divisor > 1 and fixed is not constant):
        return None
    low: Dim = constant.data
    high: Dim = constant.data
    for variable, factor in own.items():
        span = (moving[variable] - 1) * factor
        low, high = (low, high + span) if factor > 0 else (low + span, high)
    if divisor > 1:
        if not isinstance(low, int) or not isinstance(high, int):
            return None
        low, high = -(-low // divisor), high // divisor
    return Axis(fixed - constant, own, constant.data, low, high - low + 1, divisor)


def phases(region: ContractionRegion, walk: Walk) -> dict[Expr, int] | None:
    """Return into how many classes the positions of column variables fall that read other inner steps.

    These move along divided axes, as in the adjoint of a strided convolution.  None if several move along
    one, or one along several.
    """
    found: dict[Expr, int] = {}
    for axis in walk.axes:
        if axis.divisor == 1:
            continue
        columns = [v for v in axis.factors if v in region.cols]
        if len(columns) > 1:
            return None
        for v in columns:
            if v in found or sum(v in other.factors for other in walk.axes) > 1:
                return None
            found[v] = axis.divisor
    return found


def _divided(position: Expr) -> tuple[Expr, int]:
    if position.kind == "call" and position.data == "floordiv" and position.args[1].kind == "const":
        return position.args[0], position.args[1].data
    return position, 1


def _is_padding(condition: Expr, walk: Walk) -> bool:
    """Tell whether a guard does nothing but keep every index whole and inside its axis."""
    allowed: list[Expr] = []
    whole: set[Expr] = set()
    for position, d, axis in zip(walk.load.args, walk.load.data.type.shape, walk.axes, strict=True):
        numerator, divisor = _divided(position)
        allowed += [numerator, position, expr.size(d) - position - 1]
        if axis.divisor > 1:
            whole.add((numerator % divisor).eq(0))
    found = conjuncts(condition)
    missing = whole - set(found)
    return not missing and all(part in whole or _stays_inside(part, allowed) for part in found)


def _stays_inside(part: Expr, allowed: list[Expr]) -> bool:
    room = slack(part)
    return room is not None and any(_equal(room, e) for e in allowed)


def _equal(a: Expr, b: Expr) -> bool:
    if a is b:
        return True
    factors = linear(a)
    if factors is None or factors != linear(b):
        return False
    zeros = dict.fromkeys(factors, expr.ZERO)
    first, second = substitute(a, zeros), substitute(b, zeros)
    # Sizes that are not known compare by their variables alone.
    return first is second or "const" not in (first.kind, second.kind)


def moves(axis: Axis, variables: tuple[Expr, ...]) -> bool:
    """Tell whether any of the variables moves along the axis."""
    return any(v in axis.factors for v in live(variables))
