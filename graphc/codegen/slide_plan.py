"""Whether a contraction is computed by sliding planes, and what that costs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from graphc.codegen import slide_runs, tile_classes, tile_slide, walks
from graphc.codegen.contraction_loops import live, static, strided_in
from graphc.codegen.scalar import SHORT
from graphc.codegen.slide_runs import Runs
from graphc.codegen.tile_slide import SlideTile
from graphc.codegen.walks import Axis, Scheme, Walk, moves
from graphc.dims import Dim
from graphc.lower import expr
from graphc.lower.affine import Strided
from graphc.lower.contraction import ContractionRegion
from graphc.lower.expr import Expr

# Steps of a sum that is added up in one go.
STEPS = 512
# Elements of the copied planes, which should stay in the L2 cache.
COPIED = 1 << 17
# Elements of the finished sums, which should stay in the L1 cache.
SUMS = 1 << 12
# Planes that share the work among threads.
SHARED = 4
# Cycles of a copied row beside its vectors, of a copied vector, of a vector of results, and of a plane.
_ROW, _COPY, _RESULT, _PLANE = 5.0, 3.0, 3.0, 40.0


@dataclass(frozen=True)
class Layout:
    """Where the elements of planes lie, with positions of the same remainder side by side.

    Attributes
    ----------
    strides : tuple of int
        For every axis, by what positions are divided.
    classes, places : tuple of int
        For every axis, the distance of two remainders and of two quotients.
    size : int
        Number of elements.
    """

    strides: tuple[int, ...]
    classes: tuple[int, ...]
    places: tuple[int, ...]
    size: int

    @classmethod
    def of(cls, extents: tuple[int, ...], strides: tuple[int, ...]) -> Layout:
        """Return the layout of a copy: remainders apart, quotients in rows.

        >>> Layout.of((5, 5), (2, 1))
        Layout(strides=(2, 1), classes=(15, 0), places=(5, 1), size=30)
        """
        within = [-(-extent // stride) for extent, stride in zip(extents, strides, strict=True)]
        places = _pitches(within, 1)
        size = math.prod(within)
        classes = [c if s > 1 else 0 for c, s in zip(_pitches(strides, size), strides, strict=True)]
        return cls(strides, tuple(classes), tuple(places), size * math.prod(strides))

    def place(self, axis: int, index: int) -> int:
        """Return where an index of an axis lies."""
        stride = self.strides[axis]
        return index % stride * self.classes[axis] + index // stride * self.places[axis]

    def place_text(self, axis: int, index: str) -> str:
        """Return where an index of an axis lies, as text."""
        stride = self.strides[axis]
        if stride == 1:
            return f"({index}) * {self.places[axis]}"
        return f"(({index}) % {stride} * {self.classes[axis]} + ({index}) // {stride} * {self.places[axis]})"


def _pitches(extents: list[int] | tuple[int, ...], first: int) -> list[int]:
    """Return the distances of neighbours along the axes of an array."""
    return [first * math.prod(extents[a + 1 :]) for a in range(len(extents))]


@dataclass(frozen=True)
class Plan:
    """How a contraction is computed by sliding planes.

    Attributes
    ----------
    walk : Walk
        How the right operand, the images, is walked.
    layout : Layout
        Where its elements are read: in a copy, or in its own memory.
    copies : bool
        Whether it is a copy: for padding, in classes, or to have room behind short rows.
    tile : SlideTile
        The register tile.
    lines : tuple of int
        Sizes of the columns' axes, from the outermost: planes, rows and positions of a row.
    phases : tuple of int
        For each of these axes, into how many classes positions fall that read other steps of the sum.
    runs : Runs
        How the steps of the sum are grouped.
    """

    walk: Walk
    layout: Layout
    copies: bool
    tile: SlideTile
    lines: tuple[int, ...]
    phases: tuple[int, ...]
    runs: Runs

    @property
    def classes(self) -> int:
        """Number of classes of positions in all."""
        return math.prod(self.phases)


def find(region: ContractionRegion, walk: Walk, width: int) -> Plan | None:
    """Return how to compute a contraction by sliding planes, None where that is not possible."""
    columns = live(region.cols)
    if not columns:
        return None
    if not any(moves(axis, region.cols) and moves(axis, region.inner) for axis in walk.axes):
        # Windows that share no elements make a plain product.
        return None
    strides, phases = _strides(walk, columns), _phases(region, walk, columns)
    if strides is None or phases is None or not _is_known(region, walk):
        return None
    m, k = _int(region.extent("rows")), _int(region.extent("inner"))
    lines = tuple(_int(d) for v, d in zip(region.cols, region.shape.cols, strict=True) if v.kind == "index")
    walk = _rounded(walk, dict(zip(columns, lines, strict=True)))
    height, length = planes_of(lines, phases)
    ways = {runs.counts(math.prod(phases)): runs for runs in slide_runs.find(region, walk, strides)}
    tile, chosen = tile_slide.choose(SHORT[region.dtype], m, height, length, list(ways), width)
    copies = walk.padded or any(s > 1 for s in strides) or length < tile.lanes
    extents = tuple(_int(axis.extent) if axis.factors else 1 for axis in walk.axes)
    if copies:
        layout = Layout.of(extents, strides)
    else:
        whole = tuple(_int(d) if a else 1 for a, d in enumerate(walk.load.data.type.shape))
        layout = Layout.of(whole, strides)
    fits = k <= STEPS and (not copies or layout.size <= COPIED)
    return Plan(walk, layout, copies, tile, lines, phases, ways[chosen]) if fits else None


def planes_of(lines: tuple[int, ...], phases: tuple[int, ...]) -> tuple[int, int]:
    """Return how many rows, and positions of a row, a class has in a plane of results.

    >>> planes_of((8, 9, 13), (2, 2, 3))
    (5, 5)
    """
    sizes = zip((1, *lines), (1, *phases), strict=True)
    *_, height, length = (-(-size // phase) for size, phase in sizes)
    return height, length


def _phases(region: ContractionRegion, walk: Walk, columns: list[Expr]) -> tuple[int, ...] | None:
    """Return into how many classes the positions of each column variable fall.

    None unless every divided axis has a column variable, whose neighbours are neighbours of their classes:
    then every step of the sum belongs to one class.
    """
    found = walks.phases(region, walk)
    divided = [axis for axis in walk.axes if axis.divisor > 1]
    if found is None or len(found) != len(divided) or any(p > tile_classes.MOST for p in found.values()):
        return None
    if any(axis.factors[v] != 1 for axis in divided for v in axis.factors if v in found):
        return None
    return tuple(found.get(v, 1) for v in columns)


def _rounded(walk: Walk, sizes: dict[Expr, int]) -> Walk:
    """Return the walk over as many positions of each class: those of the largest."""
    return replace(walk, axes=tuple(_whole(axis, sizes) for axis in walk.axes))


def _whole(axis: Axis, sizes: dict[Expr, int]) -> Axis:
    ragged = any(sizes.get(v, 0) % axis.divisor for v in axis.factors)
    return replace(axis, extent=axis.extent + 1) if ragged else axis


def _strides(walk: Walk, columns: list[Expr]) -> tuple[int, ...] | None:
    """Return how far the column variables move, each along an axis of its own, the last along the last."""
    found = [1] * len(walk.axes)
    holders: list[int] = []
    for variable in columns:
        moved = [a for a, axis in enumerate(walk.axes) if variable in axis.factors]
        if len(moved) != 1 or moved[0] in holders:
            return None
        axis = walk.axes[moved[0]]
        if axis.batch is not expr.ZERO or not 1 <= axis.factors[variable] <= tile_classes.MOST:
            return None
        found[moved[0]] = axis.factors[variable]
        holders += moved
    return tuple(found) if holders[-1] == len(walk.axes) - 1 else None


def _is_known(region: ContractionRegion, walk: Walk) -> bool:
    """Tell whether all sizes but the number of images are known, and groups of channels are never cut."""
    spec, shape = region.shape, walk.load.data.type.shape
    moved = [(axis, size) for axis, size in zip(walk.axes, shape, strict=True) if axis.factors]
    sizes = [*spec.rows, *spec.cols, *spec.inner, *shape[1:], *(size for _, size in moved)]
    spans = [d for axis, _ in moved for d in (axis.low, axis.extent)]
    if any(axis.batch is not expr.ZERO and axis.low != 0 for axis, _ in moved):
        return False
    return all(isinstance(d, int) and d > 0 for d in sizes) and all(isinstance(d, int) for d in spans)


def _int(d: Dim) -> int:
    return int(str(d))


def weights_in_place(region: ContractionRegion) -> Strided | None:
    """Return the left operand where it is read where it lies."""
    spec = region.shape
    return strided_in(region.lhs, region.rows, spec.rows, region.inner, spec.inner)


def scheme(region: ContractionRegion, plan: Plan) -> Scheme:
    """Describe the schedule, with an estimate of its cost for each image and group."""
    m, k = _int(region.extent("rows")), _int(region.extent("inner"))
    tile, n = plan.tile, math.prod(plan.lines)
    height, length = planes_of(plan.lines, plan.phases)
    outer = math.prod(plan.lines[:-2]) * math.prod(plan.phases[-2:])
    cycles = outer * tile.cycles(m, height, length, plan.runs.counts(plan.classes))
    cycles += _RESULT * m * n / tile.lanes + _PLANE
    if plan.classes > 1:
        cycles += m * (n / plan.lines[-1] * _ROW + n / tile.lanes * _COPY)
    if plan.copies:
        rows = plan.layout.size // max(1, _int(plan.walk.axes[-1].extent))
        cycles += rows * _ROW + _COPY * plan.layout.size / tile.lanes
    if weights_in_place(region) is None:
        cycles += 4 * m * k
    # Planes alone are shared among threads.
    groups = static(region.extent("batch"))
    alone = 1.0 if groups is None else max(1.0, SHARED / max(1, groups))
    return Scheme("slide", tile.planes * tile.rows, tile.vectors * tile.lanes, round(cycles * alone))
