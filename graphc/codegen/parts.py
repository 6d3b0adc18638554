"""How a kernel's index space is cut into blocks that threads share.

A kernel computes block ``block`` of ``blocks``; any number of blocks gives the same bits, as no
sum is ever cut by them.  The outer loops become one loop over this block's part of their product.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import dims
from graphc.codegen import scalar
from graphc.codegen.emitter import Emitter
from graphc.codegen.loops import Group, join, loop_variables, open_loops
from graphc.dims import Dim
from graphc.lower.expr import Expr
from graphc.lower.region import Region, walk

# Outer loops with fewer iterations than this are joined with the next before they are cut.
FEW = 16
# A loop that LLVM may vectorize is cut at multiples of this many iterations, so that each is computed by
# the same code, of whole vectors or of the rest, for any number of blocks: the two may round differently.
GRAIN = 64
# Loops inside of up to so many iterations may be unrolled, and then the loop around them vectorized.
UNROLLED = 256
# An inner loop shorter than this is left whole.
LONG = 1024
# Picoseconds on one core, vectorized, in a loop that finds its data in the L2 cache: for scheduling, where
# a factor of two does no harm.
_CHEAP, _EXPENSIVE, _BYTE = 60, 500, 20
# Elements assumed in a window whose size is symbolic.
_WINDOW = 8


def open_parts(
    emitter: Emitter, region: Region, groups: Sequence[Group], *, vector: bool, inside: Dim = 1
) -> tuple[Dim, int]:
    """Open a loop for each group of axes, the outer ones as one loop over this block's part.

    Parameters
    ----------
    emitter, region
        Where to write, and whose axes.
    groups : sequence of Group
        Axes from the outermost to the innermost loop.
    vector : bool
        Whether the innermost group is a loop that should stay vectorizable.
    inside : Dim
        Iterations of the loops inside of these.

    Returns
    -------
    tuple of Dim and int
        Into how many blocks this can be cut, and how many loops are open.
    """
    extents = [extent_of(region, g) for g in groups]
    taken, known = 0, 1
    while taken < len(groups) - int(vector) and known < FEW:
        extent = extents[taken]
        known *= extent if isinstance(extent, int) else 1
        taken += 1
    count = dims.product(tuple(extents[:taken]))
    if groups and vector and isinstance(count, int) and count < FEW and _is_long(extents[-1]):
        return _cut_innermost(emitter, region, groups), len(groups)
    if taken == 0:
        open_loops(emitter, region, groups)
        return 1, len(groups)
    grain = grain_of(dims.product(tuple(extents[taken:])) * inside)
    first, last = emitter.part(emitter.size(count), grain)
    open_joined(emitter, region, groups[:taken], first, last)
    open_loops(emitter, region, groups[taken:])
    return units_of(count, grain), len(groups) - taken + 1


def grain_of(inside: Dim) -> int:
    """Return at which multiples to cut a loop around `inside` iterations."""
    return GRAIN if isinstance(inside, int) and inside <= UNROLLED else 1


def units_of(count: Dim, grain: int) -> Dim:
    """Return into how many blocks a loop can be cut."""
    return dims.floordiv(count + (grain - 1), grain)


def _is_long(extent: Dim) -> bool:
    return not isinstance(extent, int) or extent >= LONG


def _cut_innermost(emitter: Emitter, region: Region, groups: Sequence[Group]) -> Dim:
    extent = extent_of(region, groups[-1])
    first, last = emitter.part(emitter.size(extent), GRAIN)
    open_loops(emitter, region, groups[:-1])
    open_joined(emitter, region, groups[-1:], first, last)
    return units_of(extent, GRAIN)


def open_joined(
    emitter: Emitter, region: Region, groups: Sequence[Group], first: str, last: str, name: str | None = None
) -> None:
    """Open one loop, over `name`, from `first` to `last` over the product of the groups' axes."""
    joined = [join(emitter, region, g) for g in groups]
    defined = [e for g, j in zip(groups, joined, strict=True) for e in loop_variables(region, g, j)]
    name = name or emitter.fresh("i")
    emitter.open(f"for {name} in range({first}, {last}):", defined)
    unravel(emitter, name, joined, [extent_of(region, g) for g in groups])


def unravel(emitter: Emitter, name: str, variables: Sequence[Expr], extents: Sequence[Dim]) -> None:
    """Name the variables of several loops by dividing their joined position `name`."""
    for k, variable in enumerate(variables):
        stride = dims.product(tuple(extents[k + 1 :]))
        text = name if stride == 1 else f"{name} // {emitter.size(stride)}"
        text = text if k == 0 else digit(emitter, text, extents[k])
        if text != name:
            own = emitter.fresh("i")
            emitter.line(f"{own} = {text}")
            text = own
        emitter.name(variable, text)


def digit(emitter: Emitter, number: str, extent: Dim) -> str:
    """Return the text of a remainder by which a joined position is divided among several loops."""
    size = emitter.size(extent)
    if isinstance(extent, int) and size.isdigit() and extent.bit_count() == 1:
        return f"digit({number}, {size})"
    return f"({number}) % {size}"


def extent_of(region: Region, group: Group) -> Dim:
    """Return the number of iterations of the loop over a group of axes."""
    return dims.product(tuple(region.space[a] for a in group))


# ------------------------------------------------------------------ estimates
def work(elements: Dim, values: Sequence[Expr]) -> Dim:
    """Estimate nanoseconds for computing `values` at so many elements."""
    picoseconds = sum(_cost(e) for e in walk(values)) + _BYTE
    return dims.floordiv(elements * picoseconds + 999, 1000)


def _cost(e: Expr) -> int:
    if e.kind == "load":
        return _BYTE * e.dtype.itemsize
    if e.kind == "call" and e.dtype.kind != "i":
        return _EXPENSIVE if scalar.is_expensive(e.data) else _CHEAP
    if e.kind == "fold":
        return _window(e) * sum(_cost(x) for x in walk(e.args[:1]))
    return 0


def _window(e: Expr) -> int:
    count = 1
    for extent in e.args[1 + (len(e.args) - 1) // 2 :]:
        count *= extent.data if extent.kind == "const" else _WINDOW
    return count
