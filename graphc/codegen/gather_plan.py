"""Whether a contraction is computed by gathering tiles, and with which sizes of blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from graphc.codegen import walks
from graphc.codegen.contraction_loops import live, mentions, static, strided_in
from graphc.codegen.tile_gather import GatherTile, choose
from graphc.codegen.walks import Axis, Scheme, Walk
from graphc.dims import Dim, Shape
from graphc.lower import expr
from graphc.lower.contraction import ContractionRegion
from graphc.lower.expr import Expr

# Rows of a group of small images that are computed together.
ROWS = 512
# Rows of a block at most, which one thread computes for one strip of channels: the sums stay in the L1 cache,
# and threads that finish their last blocks at different times wait half as long as with blocks of 512.
BLOCK = 256
# Inner steps of a chunk: the panel's chunk, 128 bytes a step, should stay there, too.  Every chunk but the
# first adds to sums that were stored, at the price of some hundred steps.
STEPS = 2400
# Inner steps of a chunk where every chunk adds to the whole result.
LONG_STEPS = 1024
# Elements of the images copied at a time, at most.
COPIED = 1 << 20
# Output channels, from which on images are copied without the positions that a stride skips: each strip of
# channels reads them again, half of every line in vain.
THINNED = 256
# Batch size assumed where it is symbolic.
TYPICAL = 16


@dataclass(frozen=True)
class Plan:
    """How a contraction is computed by gathering tiles.

    The tile's rows are the contraction's columns (positions of an image), its columns the
    contraction's rows (channels).

    Attributes
    ----------
    walk : Walk
        How the right operand, the images, is walked.
    image : Expr or None
        The variable that numbers the images; None if there is but one.
    image_axis : int or None
        The operand's axis along which it moves.
    summed : bool
        Whether the images are summed over, as for the gradient of weights.
    phases : dict of Expr to int
        For column variables whose positions fall into classes that read other inner steps
        (those of a strided convolution's adjoint): the number of classes.
    thinned : dict of int to int
        Axes of which every so manieth index is read, and only these are copied.
    """

    walk: Walk
    image: Expr | None
    image_axis: int | None
    summed: bool
    phases: dict[Expr, int]
    thinned: dict[int, int] = field(default_factory=dict)

    @property
    def copies(self) -> bool:
        """Whether images are copied: with a margin of zeros, or without what nothing reads."""
        return self.walk.padded or bool(self.thinned)

    def extent(self, a: int) -> int:
        """Return how many indices along an axis a copy has."""
        return -(-int(str(self.walk.axes[a].extent)) // self.thinned.get(a, 1))

    def axes(self) -> list[tuple[int, Axis]]:
        """Return the operand's axes apart from that of the images, with their numbers."""
        return [(a, axis) for a, axis in enumerate(self.walk.axes) if a != self.image_axis]


def find(region: ContractionRegion, walk: Walk) -> Plan | None:
    """Return how to compute a contraction by gathering tiles, None where they cannot."""
    spec = region.shape
    if not live(region.cols) or not live(region.rows):
        return None
    if strided_in(region.rhs, region.cols, spec.cols, region.inner, spec.inner) is not None:
        return None
    image, image_axis, summed = image_of(region, walk)
    sizes = [*spec.rows, *spec.cols]
    sizes += [d for v, d in zip(region.inner, spec.inner, strict=True) if v is not image]
    shape = walk.load.data.type.shape
    sizes += [d for a, d in enumerate(shape) if a != image_axis]
    if not all(isinstance(d, int) and d > 0 for d in sizes):
        return None
    moved = [axis for a, axis in enumerate(walk.axes) if axis.factors and a != image_axis]
    if not all(isinstance(axis.extent, int) and axis.extent > 0 for axis in moved):
        return None
    phases = walks.phases(region, walk)
    if phases is None or (phases and summed):
        return None
    plan = Plan(walk, image, image_axis, summed, phases)
    # What a few channels read once is not worth a copy.
    worth = not summed and _int(region.extent("rows")) >= THINNED
    return replace(plan, thinned=_common_steps(plan)) if worth else plan


def _common_steps(plan: Plan) -> dict[int, int]:
    """Return the axes along which all variables move in multiples of some step, with these steps."""
    steps = {a: math.gcd(*axis.factors.values()) for a, axis in plan.axes() if axis.divisor == 1}
    return {a: step for a, step in steps.items() if step > 1}


def image_of(region: ContractionRegion, walk: Walk) -> tuple[Expr | None, int | None, bool]:
    """Return the variable that moves along an axis of the right operand alone, that axis, and how it is used.

    What is used is whether the images are summed over.
    """
    for a, axis in enumerate(walk.axes):
        alone = axis.batch in live(region.batch) and not axis.factors and axis.constant == 0
        if alone and not mentions(region.lhs, (axis.batch,)):
            others = (other.batch for b, other in enumerate(walk.axes) if b != a)
            if not any(mentions(e, (axis.batch,)) for e in others):
                return axis.batch, a, False
    first = region.inner[0]
    moved = [a for a, axis in enumerate(walk.axes) if first in axis.factors]
    # Of the axes that are summed over, the leading one numbers images, any other channels.
    if first.kind == "index" and moved == [0] and len(live(region.inner)) > 1:
        axis = walk.axes[0]
        if axis.factors == {first: 1} and axis.batch is expr.ZERO and axis.constant == 0:
            return first, 0, True
    return None, None, False


@dataclass(frozen=True)
class Blocks:
    """Sizes of the blocks in which a plan is carried out."""

    tile: GatherTile
    images: int
    chunk: int

    @classmethod
    def of(cls, region: ContractionRegion, plan: Plan, dtype: str, width: int) -> Blocks:
        """Choose sizes that keep what is used together in the caches."""
        tile = choose(dtype, _int(region.extent("rows")), width)
        n, steps = _int(region.extent("cols")), steps_of_image(region, plan)
        if plan.image is None:
            return cls(tile, 1, even(steps, STEPS))
        wanted = LONG_STEPS // steps if plan.summed else ROWS // n
        pixels = 1
        for a, axis in plan.axes():
            pixels *= -(-_int(axis.extent) // plan.thinned.get(a, 1))
        taken = max(1, min(wanted, COPIED // pixels))
        count = image_count(region, plan.image)
        taken = min(taken, count) if isinstance(count, int) and count > 0 else taken
        if not plan.summed:
            return cls(tile, taken, even(steps, STEPS))
        return cls(tile, taken, taken * steps if taken > 1 else even(steps, LONG_STEPS))


def image_count(region: ContractionRegion, image: Expr | None) -> Dim:
    """Return the number of images: how far the variable goes that numbers them."""
    spec = region.shape
    variables = (*region.batch, *region.inner)
    sizes: Shape = (*spec.batch, *spec.inner)
    return next((d for v, d in zip(variables, sizes, strict=True) if v is image), 1)


def images(region: ContractionRegion, plan: Plan) -> int:
    """Return the number of images, or what is assumed where it is symbolic."""
    return _int(image_count(region, plan.image))


def steps_of_image(region: ContractionRegion, plan: Plan) -> int:
    """Return the number of inner steps within one image."""
    count = 1
    for v, d in zip(region.inner, region.shape.inner, strict=True):
        count *= 1 if v is plan.image else _int(d)
    return count


def even(extent: int, limit: int) -> int:
    """Return the length of evenly long chunks of at most `limit`."""
    chunks = -(-extent // limit)
    return -(-extent // max(chunks, 1))


def _int(d: Dim) -> int:
    known = static(d)
    return TYPICAL if known is None else known


def scheme(region: ContractionRegion, plan: Plan, blocks: Blocks, *, packed: bool) -> Scheme:
    """Describe the schedule, with an estimate of its cost for each image.

    Where weights are `packed` for many calls, that costs nothing; those of a sum over images never are.
    """
    tile, count = blocks.tile, images(region, plan)
    m, n, k = _int(region.extent("rows")), _int(region.extent("cols")), steps_of_image(region, plan)
    across = -(-m // tile.cols) * tile.cols / m
    down = 1.0 if n > 8 * tile.rows else -(-n // tile.rows) * tile.rows / n
    # A single vector of columns leaves the loads of rows to limit the tile.
    loads = 1.0 if tile.vectors > 1 else 1.7
    # Packing takes about a cycle for an element, and transposing the result half as long.
    lanes = 2 * tile.lanes
    packing = lanes / max(1, n if plan.summed else n * count)
    packing = 0.0 if packed and not plan.summed else packing
    results = 0.0 if plan.summed else lanes / (4 * k)
    # The adjoint of a strided convolution has steps for some of its positions only.
    parts = 1
    for divisor in plan.phases.values():
        parts *= divisor
    total = m * n * k / (lanes * parts) * (across * down * loads + packing + results)
    return Scheme("gather", tile.rows, tile.cols, round(total))
