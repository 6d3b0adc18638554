"""Loops of one map as one kernel: the iterations run inside, around the elements.

A body that computes every element of what it carries from that same element alone has no need to
leave the kernel between two iterations.  Elements are taken in blocks that stay in the first-level
cache; a single element is carried in registers.  Different elements do not depend on each other,
so threads share them and not the iterations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from graphc import dims
from graphc.codegen import scalar
from graphc.codegen.emitter import Emitter
from graphc.codegen.loops import (
    Group,
    KernelText,
    Stage,
    close_loops,
    collapse,
    declare,
    finish,
    store_lines,
)
from graphc.codegen.parts import extent_of, open_joined, work
from graphc.dims import Dim
from graphc.ir import Node
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.region import Region, Store, walk
from graphc.lower.rewrite import substitute
from graphc.lower.unroll import unrolled
from graphc.types import INT64

__all__ = ["Recurrence", "generate", "suits"]

# Elements of a block: what they are carried in, and a slice of what they read, fit the first-level cache.
BLOCK = 256
# A shorter innermost axis fills no vectors.
LEAST = 16
# How many iterations to expect of a loop that a condition ends.
_GUESSED_ROUNDS = 16


@dataclass(frozen=True)
class Recurrence:
    """A loop whose body is one map.

    Attributes
    ----------
    body : Region
        The map.  Its stores are those of carried values, then those of stacks.
    condition : Expr or None
        Whether to go on, in terms of the same loads.
    carries : tuple of (Node, Node, Node)
        For each carried value its placeholder, first value and result.
    stacks : tuple of (Node, bool)
        For each stack its result, and whether it is filled backwards.
    slices : mapping of Node to (Node, bool)
        For each operand that is a slice the array, and whether it is walked backwards.
    numbers : frozenset of Node
        Operands that are the iteration's number.
    length : Dim or None
        The most iterations.
    count : Node or None
        A scalar that says how many.
    steps : Node or None
        Result for the number of iterations, where it is not known before.
    """

    body: Region
    condition: Expr | None
    carries: tuple[tuple[Node, Node, Node], ...]
    stacks: tuple[tuple[Node, bool], ...]
    slices: Mapping[Node, tuple[Node, bool]]
    numbers: frozenset[Node]
    length: Dim | None
    count: Node | None
    steps: Node | None

    @property
    def single(self) -> bool:
        """Whether there is one element only."""
        return all(d == 1 for d in self.body.space)


def suits(loop: Recurrence) -> bool:
    """Tell whether the iterations of a loop can run inside one kernel, and whether that pays."""
    region = loop.body
    plain = not region.reduced and not region.columns and not any(s.part for s in region.stores)
    if not plain or not all(_alone(loop, k) for k in range(len(loop.carries))):
        return False
    if loop.single:
        return not loop.stacks or loop.steps is None
    # More than one element may not stop at different times, and have a number of iterations each.
    return loop.steps is None and _fills_vectors(_inside(loop))


def _alone(loop: Recurrence, k: int) -> bool:
    """Tell whether a carried value is read only at the element that is then replaced."""
    formal, _, _ = loop.carries[k]
    store = loop.body.stores[k]
    if store.node.type != formal.type:
        return False
    single = all(d == 1 for d in formal.type.shape)
    reads = [index for _, index in loop.body.loads.get(formal, ())]
    return all(single or index == store.position for index in reads) and (single or not _moves(store))


def _moves(store: Store) -> bool:
    return any(e.kind != "index" for e in store.position)


def _fills_vectors(region: Region) -> bool:
    groups = _groups(region)
    if not groups:
        return False
    extent = extent_of(region, groups[-1])
    return len(groups) == 1 or not isinstance(extent, int) or extent >= LEAST


def _groups(region: Region) -> list[Group]:
    return collapse(region, [list(range(len(region.space)))])[0]


# ------------------------------------------------------------------- the kernel
_TIME = expr.index("t")
# The number of iterations, where an operand says it.
_TOTAL = expr.index("total")


def generate(loop: Recurrence, aliases: Mapping[object, object]) -> KernelText:
    """Write the kernel of a loop."""
    emitter = Emitter()
    region = _inside(loop)
    firsts = [_first(loop, k) for k in range(len(loop.carries))]
    values = [*region.values, *firsts, *([] if loop.count is None else [expr.load(loop.count, (), INT64)])]
    condition = None if loop.condition is None else _outside(loop, loop.condition)
    carried = {formal for formal, _, _ in loop.carries}
    read = [e for e in walk([*values, *([] if condition is None else [condition])]) if e.kind == "load"]
    declare(emitter, [e for e in read if e.data not in carried], region.stores, aliases)
    for formal, _, result in loop.carries:
        emitter.buffer(formal, formal.type.shape, formal.type.dtype, share=("out", result))
    if loop.steps is not None:
        emitter.buffer(("out", loop.steps), (), INT64)
    write = _write_single if loop.single else _write_blocks
    units = write(emitter, loop, region, firsts, condition)
    rounds = loop.length if loop.steps is None and loop.length is not None else _GUESSED_ROUNDS
    cost = work(dims.product(region.space) * rounds, region.values)
    return replace(finish(emitter, [Stage(units, cost)]), unroll=False)


def _inside(loop: Recurrence) -> Region:
    """Return the map in terms of what lies outside of the loop: arrays at slices, results and stacks."""
    stores = []
    results = [(result, None) for _, _, result in loop.carries] + list(loop.stacks)
    for store, (result, flip) in zip(loop.body.stores, results, strict=True):
        value = unrolled(_outside(loop, store.value))
        position = store.position if flip is None else (_place(loop, flip), *store.position)
        stores.append(replace(store, node=result, value=value, position=position))
    return replace(loop.body, stores=tuple(stores))


def _outside(loop: Recurrence, value: Expr) -> Expr:
    image: dict[Expr, Expr] = {}
    for e in walk([value]):
        if e.kind != "load":
            continue
        if e.data in loop.slices:
            array, flip = loop.slices[e.data]
            image[e] = expr.load(array, (_place(loop, flip), *e.args), e.dtype)
        elif e.data in loop.numbers:
            image[e] = _TIME
    return substitute(value, image)


def _place(loop: Recurrence, flip: bool) -> Expr:
    """Return which slice the present iteration takes."""
    total = expr.size(loop.length or 0) if loop.count is None else _TOTAL
    return total - 1 - _TIME if flip else _TIME


def _first(loop: Recurrence, k: int) -> Expr:
    """Return the first value of a carried element."""
    formal, init, _ = loop.carries[k]
    return expr.load(init, loop.body.stores[k].position, formal.type.dtype)


def _open_time(emitter: Emitter, loop: Recurrence) -> None:
    most = str((1 << 63) - 1) if loop.length is None else emitter.size(loop.length)
    if loop.count is not None:
        given = emitter.text(expr.load(loop.count, (), INT64))
        emitter.line(f"total = max(0, min({given}, {most}))")
        emitter.name(_TOTAL, "total")
        most = "total"
    emitter.open(f"for t in range({most}):", [_TIME])
    emitter.name(_TIME, "t")


def _write_single(
    emitter: Emitter, loop: Recurrence, region: Region, firsts: Sequence[Expr], condition: Expr | None
) -> Dim:
    """Write the loop over one element, which is carried in local variables."""
    for index in region.indices:
        emitter.name(index, "0")
    names = [f"carried{k}" for k in range(len(loop.carries))]
    for name, first in zip(names, firsts, strict=True):
        emitter.line(f"{name} = {emitter.text(first)}")
    if loop.steps is not None:
        emitter.line("steps = 0")
    _open_time(emitter, loop)
    for name, (formal, _, _) in zip(names, loop.carries, strict=True):
        loads = [e for e in walk([*region.values, *([condition] if condition else [])]) if e.kind == "load"]
        for e in loads:
            if e.data is formal:
                emitter.name(e, name)
    if condition is not None:
        emitter.line(f"if not ({emitter.text(condition)}):")
        emitter.line("    break")
    count = len(loop.carries)
    new = [emitter.text(s.value) for s in region.stores[:count]]
    store_lines(emitter, region.stores[count:])
    kept = [emitter.fresh() for _ in names]
    for local, text in zip(kept, new, strict=True):
        emitter.line(f"{local} = {text}")
    for name, local in zip(names, kept, strict=True):
        emitter.line(f"{name} = {local}")
    if loop.steps is not None:
        emitter.line("steps = t + 1")
    emitter.close()
    for name, (_, _, result) in zip(names, loop.carries, strict=True):
        buffer = emitter.buffers["out", result]
        emitter.line(f"{buffer.name}[0] = {scalar.stored(name, buffer.dtype)}")
    if loop.steps is not None:
        emitter.line(f"{emitter.buffers['out', loop.steps].name}[0] = steps")
    return 1


def _write_blocks(
    emitter: Emitter, loop: Recurrence, region: Region, firsts: Sequence[Expr], condition: Expr | None
) -> Dim:
    """Write the loop over blocks of elements, each carried where its result goes."""
    groups = _groups(region)
    rest, last = groups[:-1], groups[-1:]
    extent = extent_of(region, groups[-1])
    count = len(loop.carries)
    if rest:
        # Rows are the blocks.
        outer = dims.product(tuple(extent_of(region, g) for g in rest))
        first, end = emitter.part(emitter.size(outer))
        open_joined(emitter, region, rest, first, end)
        low, high, units = "0", emitter.size(extent), outer
    else:
        units = dims.floordiv(extent + (BLOCK - 1), BLOCK)
        first, end = emitter.part(emitter.size(units))
        emitter.open(f"for b in range({first}, {end}):")
        low, high = "low", "high"
        emitter.line(f"low = b * {BLOCK}")
        emitter.line(f"high = min({emitter.size(extent)}, low + {BLOCK})")
    starts = tuple(replace(s, value=f) for s, f in zip(region.stores[:count], firsts, strict=True))
    open_joined(emitter, region, last, low, high)
    store_lines(emitter, starts)
    close_loops(emitter, 1)
    _open_time(emitter, loop)
    open_joined(emitter, region, last, low, high)
    store_lines(emitter, region.stores)
    close_loops(emitter, 3)
    return units
