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
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphc import dims
from graphc.dims import Shape
from graphc.ir import Node
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Alias, AxisReduce, Index, Map, Site


class NotFusibleError(Exception):
    """The nodes do not form one region; the fuse pass is expected to prevent it."""


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

    `phase` is None for a row value, stored once per row after the last phase.
    """

    node: Node
    value: Expr
    position: Index
    phase: int | None


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
    """

    space: Shape
    indices: Index
    reduced: frozenset[int]
    reductions: tuple[Reduction, ...]
    stores: tuple[Store, ...]

    @property
    def phases(self) -> int:
        """Number of loops over the reduced axes in each row."""
        levels = [r.phase for r in self.reductions] + [s.phase for s in self.stores if s.phase is not None]
        return max(levels, default=0) + 1


def index_space(nodes: Iterable[Node], outputs: Sequence[Node]) -> tuple[Shape, frozenset[int]]:
    """Return the space and the reduced axes of a region."""
    for node in nodes:
        if isinstance(node.op.lowering, AxisReduce):
            return node.inputs[0].type.shape, frozenset(node.attrs["axes"])
    return outputs[0].type.shape, frozenset()


def lower_region(nodes: Sequence[Node], outputs: Sequence[Node]) -> Region:
    """Compose the nodes of a region into phases.

    Raises
    ------
    NotFusibleError
        If a reduction is read anywhere but at its own row, or the spaces differ.
    """
    space, reduced = index_space(nodes, outputs)
    indices = tuple(expr.index(f"i{a}") for a in range(len(space)))
    composer = Composer(frozenset(nodes), space, indices, reduced)
    reductions = composer.reductions([n for n in nodes if isinstance(n.op.lowering, AxisReduce)])
    levels = {r.node: r.phase for r in reductions}
    stores = tuple(composer.store(n, levels) for n in outputs)
    return Region(space, indices, reduced, reductions, stores)


class Composer:
    """Evaluates nodes of a region symbolically."""

    def __init__(self, members: frozenset[Node], space: Shape, indices: Index, reduced: frozenset[int]) -> None:
        self.members = members
        self.space = space
        self.indices = indices
        self.reduced = reduced
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
        if isinstance(rule, AxisReduce) and index == self.row_index(node):
            return expr.local(node, node.type.dtype)
        raise NotFusibleError(f"{node!r} is read away from its row")

    def site(self, node: Node) -> Site:
        """Return the view that the node's lowering rule gets."""
        types = tuple(i.type for i in node.inputs)
        return Site(node.type, types, node.attrs, lambda k, at: self.value(node.inputs[k], at), node)

    def row_index(self, node: Node) -> Index:
        """Return the index at which a row value of the node's rank belongs to the current row."""
        if node.type.ndim == len(self.space):
            return tuple(expr.ZERO if a in self.reduced else i for a, i in enumerate(self.indices))
        return tuple(i for a, i in enumerate(self.indices) if a not in self.reduced)

    def reductions(self, nodes: Sequence[Node]) -> tuple[Reduction, ...]:
        """Compose the bodies of the reductions and put each into its phase."""
        found: list[Reduction] = []
        levels: dict[Node, int] = {}
        for node in nodes:
            source = node.inputs[0]
            same = source.type.shape == self.space and frozenset(node.attrs["axes"]) == self.reduced
            if not same:
                raise NotFusibleError(f"{node!r} reduces another space")
            rule = node.op.lowering
            kind = rule.kind if isinstance(rule, AxisReduce) else ""
            body = self.value(source, self.indices)
            if not kind.startswith("arg"):
                body = expr.cast(body, node.type.dtype)
            levels[node] = phase_of(body, levels)
            found.append(Reduction(node, kind, body, levels[node]))
        return tuple(found)

    def store(self, node: Node, levels: Mapping[Node, int]) -> Store:
        """Compose an output and put it into its phase."""
        if node.type.shape == self.space and not isinstance(node.op.lowering, AxisReduce):
            value = self.value(node, self.indices)
            return Store(node, value, self.indices, phase_of(value, levels))
        if not self.reduced:
            raise NotFusibleError(f"{node!r} lies in another space than {self.space}")
        index = self.row_index(node)
        return Store(node, self.value(node, index), index, None)


def external(node: Node, index: Index) -> Expr:
    """Return an element of a value computed elsewhere; constants of one element are literals."""
    if node.op.name == "constant" and node.payload.array.size == 1:
        return expr.const(node.payload.array.item(), node.type.dtype)
    return expr.load(node, index, node.type.dtype)


def phase_of(value: Expr, levels: Mapping[Node, int]) -> int:
    """Return the first phase in which all reductions that `value` needs are finished."""
    return max((levels[e.data] + 1 for e in walk([value]) if e.kind == "local" and e.data in levels), default=0)


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

    Axes of size 1 are dropped or filled in without arithmetic; only a true regrouping of
    axes needs division.
    """
    kept = [(d, i) for d, i in zip(shape, index, strict=True) if d != 1]
    wanted = [d for d in source if d != 1]
    if [d for d, _ in kept] == wanted:
        rest = iter(i for _, i in kept)
        return tuple(expr.ZERO if d == 1 else next(rest) for d in source)
    flat = expr.ZERO
    for d, i in zip(shape, index, strict=True):
        flat = flat * expr.size(d) + i
    return unravel(flat, source)


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


def depends_on(e: Expr, indices: frozenset[Any], memo: dict[Expr, bool]) -> bool:
    """Tell whether `e` varies with any of the loop variables `indices`."""
    known = memo.get(e)
    if known is None:
        known = memo[e] = (e.kind == "index" and e in indices) or any(
            depends_on(a, indices, memo) for a in e.args
        )
    return known
