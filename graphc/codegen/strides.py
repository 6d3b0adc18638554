"""Splitting the innermost axis of a region by the stride in which it is read.

The gradient of a pooling reads window ``(i + padding) // stride`` at position ``i``.  With
``i = stride * j + r``, for each ``r`` apart, the division is gone: the loop over ``j`` reads
neighbouring windows and vectorizes, and what is known of each ``r`` needs no test at run time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import reduce

from graphc.dims import Dim
from graphc.lower import expr
from graphc.lower.affine import linear
from graphc.lower.expr import Expr
from graphc.lower.region import Reduction, Region, Store, walk
from graphc.lower.rewrite import substitute

# More copies of the loop's body than this are not worth their size.
LARGEST = 4
# How two elements of a reduction are combined, by its kind.
_COMBINE = {"sum": "add", "prod": "mul", "max": "max", "min": "min", "any": "or", "all": "and"}


def split(region: Region) -> Region:
    """Return the region with its innermost axis split by a stride, itself if there is none."""
    if not region.space or region.columns or not _suits(region):
        return region
    extent, last = region.space[-1], region.indices[-1]
    stride = _stride(region.values, last)
    if stride is None or not isinstance(extent, int) or extent % stride or extent <= stride:
        return region
    at = [{last: last * expr.index_const(stride) + r} for r in range(stride)]
    return replace(
        region,
        space=(*region.space[:-1], extent // stride),
        reductions=tuple(_reduction(r, at) for r in region.reductions),
        stores=tuple(new for s in region.stores for new in _stores(s, at, last)),
    )


def _suits(region: Region) -> bool:
    if not region.reduced:
        return True
    innermost = len(region.space) - 1 in region.reduced
    return innermost and all(r.kind in _COMBINE for r in region.reductions)


def _stride(values: Iterable[Expr], last: Expr) -> int | None:
    """Return the only divisor of positions that move one by one with the innermost axis."""
    found: set[int] = set()
    for e in walk(values):
        if e.kind != "call" or e.data not in ("floordiv", "mod") or e.args[1].kind != "const":
            continue
        factors = linear(e.args[0])
        factor: Dim = 0 if factors is None else factors.get(last, 0)
        if factor == 1:
            found.add(e.args[1].data)
    stride = found.pop() if len(found) == 1 else 1
    return stride if 1 < stride <= LARGEST else None


def _reduction(reduction: Reduction, at: list[dict[Expr, Expr]]) -> Reduction:
    parts = [substitute(reduction.body, values) for values in at]
    return replace(reduction, body=reduce(lambda a, b: expr.call(_COMBINE[reduction.kind], a, b), parts))


def _stores(store: Store, at: list[dict[Expr, Expr]], last: Expr) -> list[Store]:
    if not any(e is last for e in walk(store.position)):
        return [store]
    return [
        replace(
            store,
            value=substitute(store.value, values),
            position=tuple(substitute(e, values) for e in store.position),
        )
        for values in at
    ]
