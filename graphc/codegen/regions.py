"""Regions as Python loop nests.

Without reductions a region is one nest.  With them there are two schedules, chosen by
whether the innermost axis is reduced: `rows` and `lanes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphc import dims
from graphc.codegen import borders, strides, totals
from graphc.codegen.columns import Columns
from graphc.codegen.emitter import Emitter
from graphc.codegen.lanes import Lanes
from graphc.codegen.loops import Group, KernelText, Stage, close_loops, collapse, declare, finish, store_lines
from graphc.codegen.parts import extent_of, open_joined, open_parts, work
from graphc.codegen.rows import Rows
from graphc.lower.region import Region
from graphc.lower.unroll import unrolled

# More parts of a result than these are written by a loop each.
PLACES = 8


def generate(region: Region, aliases: Mapping[object, object]) -> KernelText:
    """Write the kernel of a region.

    Parameters
    ----------
    region : Region
        What to compute.
    aliases : mapping
        Handles that lie in the memory of another handle (see `Assignment.aliases`).
    """
    emitter = Emitter()
    if not region.reduced:
        region = replace(region, stores=tuple(replace(s, value=unrolled(s.value)) for s in region.stores))
    region = strides.split(region)
    declare(emitter, region.values, region.stores, aliases)
    if not region.reduced:
        stages = _write_map(emitter, region, aliases)
    elif totals.suits(region):
        stages = totals.Totals(emitter, region).write()
    elif region.columns:
        stages = Columns(emitter, region).write()
    elif len(region.space) - 1 in region.reduced:
        stages = Rows(emitter, region).write()
    else:
        stages = Lanes(emitter, region).write()
    # Vectorizing interleaves as much as pays.  Unrolled completely, a sum over a short row would lose its
    # independent partial sums: without a loop between them LLVM chains one behind the other.
    return replace(finish(emitter, stages), unroll=False)


def _write_map(emitter: Emitter, region: Region, aliases: Mapping[object, object]) -> list[Stage]:
    parted = len(region.stores) > PLACES and all(s.part for s in region.stores)
    regions = [replace(region, stores=(s,)) for s in region.stores] if parted else [region]
    nests = [_write_nest(emitter, r, aliases) for r in regions]
    return [Stage(nests[0].units, sum((n.work for n in nests[1:]), nests[0].work))]


def _write_nest(emitter: Emitter, region: Region, aliases: Mapping[object, object]) -> Stage:
    emitter.merged.clear()
    groups = collapse(region, [list(range(len(region.space)))])[0]
    parts = borders.spans(region) if len(groups) > 1 and len(groups[-1]) == 1 and not aliases else []
    if parts:
        return _write_spans(emitter, region, groups, parts)
    # One loop over whole arrays is as fast for any length: compiled once, it serves all of an optimizer's
    # variables.
    emitter.generic = len(groups) == 1
    units, opened = open_parts(emitter, region, groups, vector=True)
    store_lines(emitter, region.stores)
    close_loops(emitter, opened)
    return Stage(units, work(dims.product(region.space), region.values))


def _write_spans(
    emitter: Emitter, region: Region, groups: Sequence[Group], parts: Sequence[borders.Span]
) -> Stage:
    """Write a map whose innermost loop is cut into a border, an interior and a border."""
    length = extent_of(region, groups[-1])
    units, opened = open_parts(emitter, region, groups[:-1], vector=False, inside=length)
    inside = borders.inside_rows(region) if len(groups[-2]) == 1 else None
    inner = borders.spans(inside.region) if inside is not None else []
    if inside is not None and inner:
        row = emitter.text(inside.row)
        emitter.open(f"if {row} >= {inside.first} and {row} < {inside.last}:", conditional=True)
        _write_parts(emitter, region, groups[-1], inner)
        emitter.close()
        emitter.open("else:", conditional=True)
        opened += 1
    _write_parts(emitter, region, groups[-1], parts)
    close_loops(emitter, opened)
    return Stage(units, work(dims.product(region.space), region.values))


def _write_parts(emitter: Emitter, region: Region, group: Group, parts: Sequence[borders.Span]) -> None:
    for part in parts:
        open_joined(emitter, region, [group], str(part.first), str(part.last))
        store_lines(emitter, part.stores)
        close_loops(emitter, 1)
