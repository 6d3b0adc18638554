"""Columns of a contraction's result that are walked as one axis.

Positions of an image, say, lie one behind the other in the result and in a residual that is added to it.  A
loop that counts them as one axis has contiguous accesses, which LLVM turns into vectors; one that divides the
count into row and column has not.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc.codegen.contraction_loops import live
from graphc.codegen.emitter import Emitter
from graphc.lower import expr
from graphc.lower.contraction import ContractionRegion
from graphc.lower.expr import Expr
from graphc.lower.region import walk


def suits(region: ContractionRegion, cols: Mapping[Expr, Expr]) -> bool:
    """Tell whether all that the epilogue accesses walks the columns' axes as one axis, or not at all.

    `cols` has the axes of the result that run along columns, in terms of the contraction's variables.
    """
    if list(cols.values()) != live(region.cols):
        return False
    shape = region.node.type.shape
    wanted = list(cols)
    inner = [shape[int(str(axis.data)[1:])] for axis in wanted[1:]]
    used = walk(s.value for s in region.stores)
    loose = {a for e in used if e.kind != "load" for a in e.args}
    loose.update(s.value for s in region.stores)
    accesses = [(e.args, e.data.type.shape) for e in used if e.kind == "load"]
    accesses += [(s.position, s.node.type.shape) for s in region.stores if s.part]
    for position, sizes in accesses:
        loose.update(x for a in position if a.kind != "index" for x in walk([a]))
        places = [k for k, a in enumerate(position) if a in cols]
        if not places:
            continue
        run = list(range(places[0], places[0] + len(wanted)))
        if places != run or [position[k] for k in run] != wanted or [sizes[k] for k in run[1:]] != inner:
            return False
    return not loose & set(wanted)


def join(emitter: Emitter, cols: Mapping[Expr, Expr], name: str) -> None:
    """Let `name` stand for the position along all columns' axes."""
    joined, *others = cols
    for axis in others:
        step = expr.index(f"{joined.data}_{axis.data}")
        emitter.merged[joined, axis] = step
        joined = step
    emitter.name(joined, name)
