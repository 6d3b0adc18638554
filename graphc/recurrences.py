"""Which loops run inside one kernel: see `graphc.codegen.recurrence`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from graphc.codegen.recurrence import Recurrence, suits
from graphc.control import bodies
from graphc.control.loop import Loop
from graphc.ir import Node
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.region import Region, Store, walk
from graphc.lower.rewrite import substitute
from graphc.lower.rules import Leaf
from graphc.lower.steps import Step, Storage, storage_of
from graphc.types import TensorType

if TYPE_CHECKING:
    from graphc.blocks import Block

__all__ = ["found"]

Bindings = dict[object, Storage]


def found(step: Step, blocks: Sequence[Block]) -> tuple[Recurrence, Bindings] | None:
    """Return a loop as one kernel, and the memory of its operands and results; None if it needs several."""
    loop = Loop.of(step.node)
    maps = [_only_map(block) for block in blocks]
    if not loop.inits or any(m is None for m in maps):
        return None
    reading = _Reading(loop)
    regions = [reading.region(block, m) for block, m in zip(blocks, maps, strict=True) if m is not None]
    if any(r is None for r in regions):
        return None
    stores = _in_order(loop, blocks[0], regions[0])
    if stores is None or regions[0] is None:
        return None
    condition = regions[1].stores[0].value if len(regions) > 1 and regions[1] is not None else None
    results = list(step.writes)
    carried = len(loop.inits)
    recurrence = Recurrence(
        replace(regions[0], stores=stores),
        condition,
        tuple(zip(loop.carries, loop.inits, results[:carried], strict=True)),
        tuple(zip(results[carried:-1], loop.y_flips, strict=True)),
        reading.slices,
        frozenset(reading.numbers),
        loop.length,
        loop.count,
        results[-1] if loop.ends_early else None,
    )
    if not suits(recurrence):
        return None
    bound: Bindings = {n: storage_of(n) for n in (*loop.inits, *([loop.count] if loop.count else []))}
    bound |= reading.bindings
    bound |= {("out", r): storage for r, storage in step.writes.items()}
    return recurrence, bound


def _only_map(block: Block) -> Region | None:
    """Return the region that a block consists of, if it is one map."""
    if len(block.pieces) != 1 or block.assignment.parts:
        return None
    step = block.pieces[0].step
    return step.body if step is not None and isinstance(step.body, Region) else None


def _in_order(loop: Loop, block: Block, region: Region | None) -> tuple[Store, ...] | None:
    """Return the stores of carried values, then those of stacks; None if something else is stored."""
    step = block.pieces[0].step
    if region is None or step is None:
        return None
    resolve = block.assignment.resolve
    stored: Mapping[Storage, Store] = {resolve(step.writes[s.node]): s for s in region.stores}
    wanted = [Storage(formal) for formal in loop.carries]
    wanted += [resolve(storage_of(output)) for output in block.graph.outputs]
    if len(wanted) != len(region.stores) or any(w not in stored for w in wanted):
        return None
    return tuple(stored[w] for w in wanted)


class _Reading:
    """What the operands of a loop's maps are.

    Attributes
    ----------
    slices, numbers
        See `Recurrence`.
    bindings : dict
        The memory of captures, constants and arrays.
    """

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.slices: dict[Node, tuple[Node, bool]] = {}
        self.numbers: set[Node] = set()
        self.bindings: Bindings = {}
        self._captures = dict(zip(loop.formals, loop.captures, strict=True))
        self._carries = set(loop.carries)
        arrays = zip(loop.xs, loop.x_flips, strict=True)
        self._arrays = dict(zip(loop.slices, arrays, strict=True))

    def region(self, block: Block, region: Region) -> Region | None:
        """Return a block's map with its operands settled; None if one of them is neither of these."""
        step = block.pieces[0].step
        if step is None:
            return None
        image: dict[Expr, Expr] = {}
        for handle in region.loads:
            lies = block.assignment.resolve(step.reads[handle])
            if lies.node in self._carries and lies.node.type == handle.type:
                image |= _renamed(region, handle, lies.node)
            elif not self._settle(handle, lies):
                return None
        stores = tuple(replace(s, value=substitute(s.value, image)) for s in region.stores)
        return replace(region, stores=stores)

    def _settle(self, handle: Node, lies: Storage) -> bool:
        """Note what an operand is; returns whether it is anything that a loop is given."""
        node = lies.node
        if node in self._captures:
            self.bindings[handle] = storage_of(self._captures[node])
        elif node in self._arrays:
            array, flip = self._arrays[node]
            type = TensorType((array.type.shape[0], *handle.type.shape), handle.type.dtype)
            stack = bodies.formal(type, handle.name or "slices", handle.where)
            self.slices[handle] = (stack, flip)
            self.bindings[stack] = storage_of(array)
        elif node is self.loop.iteration:
            self.numbers.add(handle)
        elif isinstance(node.op.lowering, Leaf) and node not in self._carries:
            self.bindings[handle] = lies
        else:
            return False
        return True


def _renamed(region: Region, handle: Node, formal: Node) -> dict[Expr, Expr]:
    """Return for each load of an operand the same load by another name."""
    loads = [e for e in walk(region.values) if e.kind == "load" and e.data is handle]
    return {e: expr.load(formal, e.args, e.dtype) for e in loads}
