"""What the cost model needs to know of a matrix product, and how its inner axes are cut."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from graphc import dims
from graphc.codegen import choice
from graphc.codegen.choice import Operand, Problem
from graphc.codegen.contraction_loops import mentions, static, strided_in
from graphc.codegen.scalar import SHORT
from graphc.dims import Dim, Shape
from graphc.lower import expr
from graphc.lower.affine import Strided
from graphc.lower.contraction import ContractionRegion
from graphc.lower.region import Store
from graphc.lower.rules import Index


def describe(
    region: ContractionRegion,
    aliases: Mapping[object, object],
    width: int,
    lasting: Collection[object] = frozenset(),
) -> Problem:
    """Describe a contraction to the cost model; operands that are `lasting` can be packed once."""
    lhs, rhs = operands(region)
    spec = region.shape
    local = expr.local(region.node, region.node.type.dtype)
    plain = len(region.stores) == 1 and region.stores[0].value is local
    split = split_axis(spec.inner)
    inner, sizes = region.inner[split:], spec.inner[split:]
    return Problem(
        SHORT[region.dtype],
        static(region.extent("rows")),
        static(region.extent("cols")),
        static(region.extent("inner")),
        replace(_operand(lhs, region.rows, spec.rows, inner, sizes), lasting=_lasts(lhs, region, lasting)),
        replace(_operand(rhs, region.cols, spec.cols, inner, sizes), lasting=_lasts(rhs, region, lasting)),
        width,
        not (plain and holds_sum(region.stores[0], region, aliases)),
    )


def _operand(found: Strided | None, variables: Index, extents: Shape, inner: Index, sizes: Shape) -> Operand:
    if found is None:
        return Operand(False)
    own, along = found.flat(variables, extents), found.flat(inner, sizes)
    return Operand(True, static(own or 0), static(along or 0))


def _lasts(found: Strided | None, region: ContractionRegion, lasting: Collection[object]) -> bool:
    """Tell whether an operand is the same in all calls, and for the whole batch."""
    return found is not None and found.load.data in lasting and not mentions(found.load, region.batch)


def operands(region: ContractionRegion) -> tuple[Strided | None, Strided | None]:
    """Return both operands where they are evenly strided in their own and the inner axes."""
    spec = region.shape
    split = split_axis(spec.inner)
    inner, sizes = region.inner[split:], spec.inner[split:]
    return (
        strided_in(region.lhs, region.rows, spec.rows, inner, sizes),
        strided_in(region.rhs, region.cols, spec.cols, inner, sizes),
    )


def turned(region: ContractionRegion) -> ContractionRegion:
    """Return the contraction whose result is the transposed one."""
    spec = region.shape
    shape = replace(spec, rows=spec.cols, cols=spec.rows)
    return replace(region, shape=shape, rows=region.cols, cols=region.rows, lhs=region.rhs, rhs=region.lhs)


def holds_sum(store: Store, region: ContractionRegion, aliases: Mapping[object, object]) -> bool:
    """Tell whether a result's memory may hold the unfinished sum: no operand may lie in it."""
    handle = ("out", store.node)
    free = handle not in aliases and handle not in aliases.values()
    return free and not store.part and store.node.type.dtype == region.dtype


def split_axis(inner: Shape) -> int:
    """Return the inner axis to cut into chunks: all after it fit in one, all before it are looped."""
    axis = len(inner) - 1
    rest: Dim = 1
    while axis > 0:
        wider = rest * inner[axis]
        if not isinstance(wider, int) or wider > choice.CHUNK:
            break
        rest = wider
        axis -= 1
    return max(axis, 0)


def chunk_of(region: ContractionRegion, split: int, most: int) -> int:
    """Return how many steps of the chunked axis make one chunk; chunks are evenly long."""
    extent, rest = region.shape.inner[split], dims.product(region.shape.inner[split + 1 :])
    if not isinstance(rest, int):
        return 1
    limit = max(1, most // max(rest, 1))
    if not isinstance(extent, int) or extent <= limit:
        return limit
    even = -(-extent // -(-extent // limit))
    # Whole vectors in every chunk but the last.
    return min(limit, -(-even // 16) * 16) if rest == 1 else even
