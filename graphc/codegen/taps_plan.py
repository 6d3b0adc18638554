"""Whether a contraction is computed by sums per tap, and what that costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphc.codegen import gather_plan, tile_taps
from graphc.codegen.contraction_loops import live
from graphc.codegen.walks import Axis, Scheme, Walk, moves
from graphc.lower import expr
from graphc.lower.contraction import ContractionRegion
from graphc.lower.expr import Expr

# Weights of a channel, at most: their sums are written out one by one.
TAPS = 128
# Elements of a copied plane, which should stay in the L2 cache.
COPIED = 1 << 16
# Channels that share the work among threads.
SHARED = 4
# Cycles of a product of vectors that are loaded across the borders of cache lines, and of a row beside them.
PRODUCT, ROW = 1.1, 6.0


@dataclass(frozen=True)
class Plan:
    """How a contraction is computed by sums per tap.

    Attributes
    ----------
    walk : Walk
        How the right operand, the images, is walked.
    image : Expr or None
        The inner variable that numbers the images; None if there is but one.
    image_axis : int or None
        The operand's axis along which it moves.
    strides : dict of int to int
        For every other axis, the step of the inner variable that moves along it; 1 if there is none.
    steps : tuple of Expr
        These variables, from the outermost to the innermost axis.
    """

    walk: Walk
    image: Expr | None
    image_axis: int | None
    strides: dict[int, int]
    steps: tuple[Expr, ...]

    def axes(self) -> list[tuple[int, Axis]]:
        """Return the operand's axes apart from that of the images, with their numbers."""
        return [(a, axis) for a, axis in enumerate(self.walk.axes) if a != self.image_axis]

    def extent(self, a: int) -> int:
        """Return the number of indices that are read on an axis."""
        return int(str(self.walk.axes[a].extent))

    @property
    def copies(self) -> bool:
        """Whether planes are copied: for their padding, or into classes."""
        return self.walk.padded or any(stride > 1 for stride in self.strides.values())

    @property
    def copied(self) -> int:
        """Number of elements of a copy."""
        return math.prod(-(-self.extent(a) // s) * s for a, s in self.strides.items())


def find(region: ContractionRegion, walk: Walk) -> Plan | None:
    """Return how to compute a contraction by sums per tap, None where that is not possible."""
    if not live(region.cols) or any(axis.divisor > 1 for axis in walk.axes):
        return None
    if not _overlap(region, walk):
        return None
    image, image_axis, summed = gather_plan.image_of(region, walk)
    image, image_axis = (image, image_axis) if summed else (None, None)
    steps = tuple(v for v in live(region.inner) if v is not image)
    strides = _strides(region, walk, image_axis, steps)
    if strides is None or not _is_static(region, walk, image, image_axis):
        return None
    plan = Plan(walk, image, image_axis, strides, steps)
    fits = math.prod(int(str(d)) for d in region.shape.cols) <= TAPS and plan.copied <= COPIED
    return plan if fits else None


def _overlap(region: ContractionRegion, walk: Walk) -> bool:
    """Tell whether taps move along the axes of positions: windows of a plain product share no elements."""
    return any(moves(axis, region.cols) and moves(axis, region.inner) for axis in walk.axes)


def _strides(
    region: ContractionRegion, walk: Walk, image_axis: int | None, steps: tuple[Expr, ...]
) -> dict[int, int] | None:
    """Return how far the inner variables move, each along an axis of its own and in the axes' order."""
    found: dict[int, int] = {}
    movers: list[Expr] = []
    for a, axis in enumerate(walk.axes):
        if a == image_axis:
            continue
        moving = [v for v in steps if v in axis.factors]
        if len(moving) > 1 or (moving and (axis.batch is not expr.ZERO or axis.factors[moving[0]] < 1)):
            return None
        movers += moving
        found[a] = axis.factors[moving[0]] if moving else 1
    last = len(walk.axes) - 1
    along = bool(steps) and last in found and steps[-1] in walk.axes[last].factors
    return found if along and tuple(movers) == steps else None


def _is_static(region: ContractionRegion, walk: Walk, image: Expr | None, image_axis: int | None) -> bool:
    spec = region.shape
    sizes = [*spec.rows, *spec.cols]
    sizes += [d for v, d in zip(region.inner, spec.inner, strict=True) if v is not image]
    others = [a for a in range(len(walk.axes)) if a != image_axis]
    sizes += [walk.load.data.type.shape[a] for a in others]
    sizes += [walk.axes[a].extent for a in others]
    return all(isinstance(d, int) and d > 0 for d in sizes)


def scheme(region: ContractionRegion, plan: Plan, width: int) -> Scheme:
    """Describe the schedule, with an estimate of its cost for each image."""
    lanes = width // region.dtype.itemsize
    m, n = (int(str(region.extent(g))) for g in ("rows", "cols"))
    *around, length = (extent(region, v) for v in plan.steps)
    lines = math.prod(around)
    cycles = m * lines * (-(-length // lanes) * n * PRODUCT + ROW)
    if plan.copies:
        cycles += plan.copied // plan.extent(len(plan.walk.axes) - 1) * ROW + 2 * plan.copied / lanes
    # Channels alone are shared among threads.
    groups = region.extent("batch")
    alone = max(1.0, SHARED / max(1, groups)) if isinstance(groups, int) else 1.0
    return Scheme("taps", min(n, tile_taps.most(width)), lanes, round(cycles * alone))


def extent(region: ContractionRegion, variable: Expr) -> int:
    """Return how far an inner variable goes."""
    sizes = dict(zip(region.inner, region.shape.inner, strict=True))
    return int(str(sizes[variable]))
