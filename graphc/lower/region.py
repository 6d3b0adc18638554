"""Fusing by composition: a region of nodes becomes phases over one index space.

A region holds `Map`, `AxisReduce` and `Alias` nodes.  Without reductions it is one loop
nest over the shape that its outputs share.  With reductions, all of them reduce the same
axes of one *space*; the other axes are the rows::

    for each row:
        phase 0: loop over the reduced axes   (row maximum)
        phase 1: loop over the reduced axes   (sum of exp(x - maximum))
        phase 2: loop over the reduced axes   (store exp(x - maximum) / sum)

A node's value at an index is a scalar expression, composed from those of its operands; a
finished reduction is a `local` of the row.

Beside them there may be *column sums*, over the rows and not within them (the gradient of a
bias beside that of the scores).  They are finished after the last row, and so are the values
that depend on them.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import NotFusibleError
from graphc.ir import Node
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Alias, AxisReduce, Index, Map, Site


@dataclass(frozen=True)
class Reduction:
    """One reduction of a region: its node, what is accumulated, and in which phase."""

    node: Node
    kind: str
    body: Expr
    phase: int


@dataclass(frozen=True)
class Store:
    """One result of a region: its node, its value, and where in its buffer it goes.

    `phase` is None for a row value, stored once per row after the last phase, and for a
    `column` value, stored after all rows.  `part` tells that the value is a part of the
    result only, stored at another index than its own.
    """

    node: Node
    value: Expr
    position: Index
    phase: int | None
    column: bool = False
    part: bool = False


@dataclass(frozen=True)
class Region:
    """A lowered region.

    Attributes
    ----------
    space : tuple of Dim
        Sizes of the full index space.
    indices : tuple of Expr
        Its loop variables.
    reduced : frozenset of int
        Axes that reductions run over; empty for a pure map.
    reductions, stores
        What to compute.
    columns : tuple of Reduction
        Sums over all axes but the reduced ones.
    """

    space: Shape
    indices: Index
    reduced: frozenset[int]
    reductions: tuple[Reduction, ...]
    stores: tuple[Store, ...]
    columns: tuple[Reduction, ...] = ()

    @property
    def phases(self) -> int:
        """Number of loops over the reduced axes in each row."""
        levels = [r.phase for r in (*self.reductions, *self.columns)]
        levels += [s.phase for s in self.stores if s.phase is not None]
        return max(levels, default=0) + 1

    @property
    def values(self) -> list[Expr]:
        """What is summed up and what is stored."""
        return [r.body for r in (*self.reductions, *self.columns)] + [s.value for s in self.stores]

    def written(self, store: Store) -> int:
        """Return when a result is written: its phase, then rows, then columns."""
        if store.column:
            return self.phases + 1
        return self.phases if store.phase is None else store.phase

    @cached_property
    def loads(self) -> Mapping[Node, tuple[tuple[int, Index], ...]]:
        """For every operand, when (see `written`) and at which index it is read."""
        timed = [(r.phase, r.body) for r in (*self.reductions, *self.columns)]
        timed += [(self.written(s), s.value) for s in self.stores]
        return timed_loads(timed)


def timed_loads(values: Iterable[tuple[int, Expr]]) -> dict[Node, tuple[tuple[int, Index], ...]]:
    """Return, for every operand of `values`, when and at which index it is read."""
    found: dict[Node, dict[tuple[int, Index], None]] = {}
    for when, value in values:
        for e in walk([value]):
            if e.kind == "load":
                found.setdefault(e.data, {})[when, e.args] = None
    return {handle: tuple(reads) for handle, reads in found.items()}


@dataclass(frozen=True)
class Frame:
    """The index space of a region, and where its nodes lie in it.

    Attributes
    ----------
    space : tuple of Dim
        Sizes of the axes.
    reduced : frozenset of int
        Axes that reductions run over.
    spread : frozenset of Node
        Results that are stored part by part: concatenations over the space of one part.
    places : mapping of Node to tuple
        For each result of the region and each reduction: per axis of the node's own loops
        (of its operand, for a reduction), the axis of the space that walks it, or None
        where it has size 1.
    """

    space: Shape
    reduced: frozenset[int]
    places: Mapping[Node, tuple[int | None, ...]]
    spread: frozenset[Node] = frozenset()


def frame_of(node: Node) -> Frame:
    """Return the frame of a region that consists of one node."""
    rule = node.op.lowering
    if not isinstance(rule, AxisReduce):
        return Frame(node.type.shape, frozenset(), {node: tuple(range(node.type.ndim))})
    space: Shape = node.inputs[0].type.shape
    reduced = frozenset(node.attrs["axes"]) if is_reduction(node) else frozenset[int]()
    return Frame(space, reduced, {node: tuple(range(len(space)))})


def lower_region(nodes: Sequence[Node], outputs: Sequence[Node], frame: Frame) -> Region:
    """Compose the nodes of a region into phases.

    Raises
    ------
    NotFusibleError
        If a reduction is read anywhere but at its own row, or a result lies in no frame.
    """
    space, reduced = frame.space, frame.reduced
    indices = tuple(expr.index(f"i{a}") for a in range(len(space)))
    composer = Composer(frozenset(nodes), indices, frame)
    found = [n for n in nodes if is_reduction(n)]
    inner = frozenset(a for a in reduced if space[a] != 1)
    within = [n for n in found if reduces(n, frame.places[n], space) == inner]
    reductions = composer.reductions(within, {})
    levels = {r.node: r.phase for r in reductions}
    columns = composer.reductions([n for n in found if n not in levels], levels)
    stores = tuple(s for n in outputs for s in composer.stores(n, levels, frozenset(r.node for r in columns)))
    return Region(space, indices, reduced, reductions, stores, columns)


def reduces(node: Node, axes: Sequence[int | None], space: Shape) -> frozenset[int]:
    """Return the axes of the space that a reduction runs over, given where its operand's axes lie."""
    named = (axes[k] for k in node.attrs["axes"])
    return frozenset(a for a in named if a is not None and space[a] != 1)


class Composer:
    """Evaluates nodes of a region symbolically."""

    def __init__(self, members: frozenset[Node], indices: Index, frame: Frame) -> None:
        self.members = members
        self.indices = indices
        self.frame = frame
        self.memo: dict[tuple[Node, Index], Expr] = {}

    def value(self, node: Node, index: Index) -> Expr:
        """Return the element of `node` at `index`."""
        if node not in self.members:
            return external(node, index)
        found = self.memo.get((node, index))
        if found is None:
            found = self.memo[node, index] = self._compose(node, index)
        return found

    def _compose(self, node: Node, index: Index) -> Expr:
        rule = node.op.lowering
        if isinstance(rule, Map):
            return rule.fn(self.site(node), index)
        if isinstance(rule, Alias):
            source = node.inputs[0]
            return self.value(source, reindex(index, node.type.shape, source.type.shape))
        if isinstance(rule, AxisReduce) and not is_reduction(node):
            return self._single(node, rule, index)
        if isinstance(rule, AxisReduce) and index == self.place(node):
            return expr.local(node, node.type.dtype)
        raise NotFusibleError(f"{node!r} is read away from its row")

    def _single(self, node: Node, rule: AxisReduce, index: Index) -> Expr:
        """Return the value of a reduction over axes of size 1: its only element, or position 0."""
        if rule.kind.startswith("arg"):
            return expr.ZERO
        kept = iter(index)
        at: list[Expr] = []
        for axis in range(node.inputs[0].type.ndim):
            gone = axis in node.attrs["axes"]
            if not gone or node.attrs["keepdims"]:
                position = next(kept)
            at.append(expr.ZERO if gone else position)
        return expr.cast(self.value(node.inputs[0], tuple(at)), node.type.dtype)

    def site(self, node: Node) -> Site:
        """Return the view that the node's lowering rule gets."""
        types = tuple(i.type for i in node.inputs)
        return Site(node.type, types, node.attrs, lambda k, at: self.value(node.inputs[k], at), node)

    def axes(self, node: Node) -> tuple[int | None, ...]:
        """Return, per axis of the node's result, the axis of the space that walks it."""
        axes = self.frame.places.get(node)
        if axes is None:
            raise NotFusibleError(f"{node!r} has no place in the region")
        return axes if not isinstance(node.op.lowering, AxisReduce) else kept_axes(node, axes)

    def place(self, node: Node) -> Index:
        """Return the index of the node's element that belongs to the current loop indices."""
        return self._index(self.axes(node))

    def _index(self, axes: tuple[int | None, ...]) -> Index:
        return tuple(expr.ZERO if a is None else self.indices[a] for a in axes)

    def reductions(self, nodes: Sequence[Node], before: Mapping[Node, int]) -> tuple[Reduction, ...]:
        """Compose the bodies of the reductions and put each into its phase, given those of others."""
        found: list[Reduction] = []
        levels = dict(before)
        for node in nodes:
            rule = node.op.lowering
            kind = rule.kind if isinstance(rule, AxisReduce) else ""
            body = self.value(node.inputs[0], self._index(self.frame.places[node]))
            if not kind.startswith("arg"):
                body = expr.cast(body, node.type.dtype)
            levels[node] = phase_of(body, levels)
            found.append(Reduction(node, kind, body, levels[node]))
        return tuple(found)

    def stores(
        self, node: Node, levels: Mapping[Node, int], columns: frozenset[Node] = frozenset()
    ) -> list[Store]:
        """Compose a result: one value, or the parts of a concatenation over the space of one of them."""
        if node not in self.frame.spread:
            return [self._store(node, levels, columns)]
        axis, index = node.attrs["axis"], self.place(node)
        found: list[Store] = []
        start: Dim = 0
        for part in node.inputs:
            value, at = self.value(part, index), index[axis] + expr.size(start)
            position = (*index[:axis], at, *index[axis + 1 :])
            found.append(Store(node, value, position, phase_of(value, levels), part=True))
            start = start + part.type.shape[axis]
        return found

    def _store(self, node: Node, levels: Mapping[Node, int], columns: frozenset[Node]) -> Store:
        """Put a result into its phase, or into the row if it varies with the row only."""
        index = self.place(node)
        value = self.value(node, index)
        if any(e.kind == "local" and e.data in columns for e in walk([value])):
            return Store(node, value, index, None, column=True)
        walked = {a for a in self.axes(node) if a is not None}
        per_row = bool(self.frame.reduced) and not walked & self.frame.reduced
        return Store(node, value, index, None if per_row else phase_of(value, levels))


def kept_axes(node: Node, axes: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """Return what a reduction leaves of `axes`, which belong to its operand."""
    reduced = set(node.attrs["axes"])
    if node.attrs["keepdims"]:
        return tuple(None if k in reduced else a for k, a in enumerate(axes))
    return tuple(a for k, a in enumerate(axes) if k not in reduced)


def is_reduction(node: Node) -> bool:
    """Tell whether a node combines elements: a reduction over axes of size 1 does not."""
    if not isinstance(node.op.lowering, AxisReduce):
        return False
    shape = node.inputs[0].type.shape
    return any(shape[a] != 1 for a in node.attrs["axes"])


def external(node: Node, index: Index) -> Expr:
    """Return an element of a value computed elsewhere; constants of one element are literals."""
    if node.op.name == "constant" and node.payload.array.size == 1:
        return expr.const(node.payload.array.item(), node.type.dtype)
    return expr.load(node, index, node.type.dtype)


def phase_of(value: Expr, levels: Mapping[Node, int]) -> int:
    """Return the first phase in which all reductions that `value` needs are finished."""
    needed = (levels[e.data] for e in walk([value]) if e.kind == "local" and e.data in levels)
    return max(needed, default=-1) + 1


def walk(roots: Iterable[Expr]) -> list[Expr]:
    """Return every sub-expression once, operands first."""
    order: list[Expr] = []
    seen: set[Expr] = set()
    stack = [(r, False) for r in roots]
    while stack:
        e, expanded = stack.pop()
        if expanded:
            order.append(e)
        elif e not in seen:
            seen.add(e)
            stack.append((e, True))
            stack.extend((a, False) for a in reversed(e.args))
    return order


def reindex(index: Index, shape: Shape, source: Shape) -> Index:
    """Map an index of `shape` to the index of the same element under the shape `source`.

    Axes of size 1 are dropped or filled in without arithmetic; axes that both shapes have in the same
    place stay as they are, so that only those that are really regrouped need division.
    """
    kept = [(d, i) for d, i in zip(shape, index, strict=True) if d != 1]
    wanted = [d for d in source if d != 1]
    found: list[Expr] = []
    for of_shape, of_source in _common_parts([d for d, _ in kept], wanted):
        flat = expr.ZERO
        for d, i in kept[of_shape]:
            flat = flat * expr.size(d) + i
        found += unravel(flat, tuple(wanted[of_source]))
    rest = iter(found)
    return tuple(expr.ZERO if d == 1 else next(rest) for d in source)


def _common_parts(shape: Sequence[Dim], source: Sequence[Dim]) -> Iterator[tuple[slice, slice]]:
    """Cut two shapes of as many elements wherever the axes up to there have as many in both."""
    sizes = list(itertools.accumulate(source, operator.mul))[:-1]
    first = start = 0
    for end, size in enumerate(itertools.accumulate(shape[:-1], operator.mul), 1):
        if size in sizes[start:]:
            stop = sizes.index(size, start) + 1
            yield slice(first, end), slice(start, stop)
            first, start = end, stop
    yield slice(first, None), slice(start, None)


def unravel(flat: Expr, shape: Shape) -> Index:
    """Return the multi-index of a row-major position."""
    result: list[Expr] = []
    for axis, d in enumerate(shape):
        stride = dims.product(shape[axis + 1 :])
        at = flat // expr.size(stride)
        # The first axis needs no wrap: the position lies inside the array.
        outer_is_one = all(x == 1 for x in shape[:axis])
        result.append(expr.ZERO if d == 1 else at if outer_is_one else at % expr.size(d))
    return tuple(result)
