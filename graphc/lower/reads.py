"""How a node reads its operands, found by lowering it once on symbolic indices.

Fusion needs no annotations on ops: an op's own lowering rule, evaluated at the index
``(a0, a1, ...)``, shows at which index it reads each operand.  Reads that pick axes
unchanged are *projections*; everything else (slices, gathers, windows) is irregular.

*Views* are nodes that only move indices: broadcasts, transposes, slices, added axes.
They are read through, as if their consumers read the source directly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from graphc.dims import Shape
from graphc.ir import Node
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.region import kept_axes, reindex, walk
from graphc.lower.rules import Alias, AxisReduce, Barrier, Contract, Index, Map, Site

Projection = tuple[int | None, ...]
# Expressions without operands up to this size are computed where they are needed.
_SMALL = 8


@dataclass(frozen=True)
class Read:
    """One read of a source, seen from the reader's own loop axes.

    `projection` gives, per axis of the source, the reader's axis that walks it, or None
    where the source has size 1; the whole is None if the read is irregular.
    """

    source: Node
    projection: Projection | None


def frame(node: Node) -> Shape:
    """Return the axes that a node's own loops run over."""
    if isinstance(node.op.lowering, AxisReduce):
        shape: Shape = node.inputs[0].type.shape
        return shape
    result: Shape = node.type.shape
    return result


def own_axes(node: Node) -> Projection:
    """Return, per axis of a node's result, the axis of its frame, None where it was reduced to 1."""
    axes = tuple(range(len(frame(node))))
    return axes if not isinstance(node.op.lowering, AxisReduce) else kept_axes(node, axes)


def is_view(node: Node) -> bool:
    """Tell whether a node only moves indices, or makes small values from them alone."""
    rule = node.op.lowering
    if isinstance(rule, Alias):
        if isinstance(rule, Barrier):
            return False
        source = node.inputs[0].type.shape
        return [d for d in node.type.shape if d != 1] == [d for d in source if d != 1]
    if not isinstance(rule, Map):
        return False
    value = rule.fn(_site(node, lambda k, at: _load(node.inputs[k], at)), _axes(node))
    if value.kind in ("load", "const"):
        return True
    parts = walk([value])
    return len(parts) <= _SMALL and not any(e.kind in ("load", "guard", "fold", "check") for e in parts)


def _site(node: Node, reader: Callable[[int, Index], Expr]) -> Site:
    return Site(node.type, tuple(i.type for i in node.inputs), node.attrs, reader, node)


def _load(source: Node, at: Index) -> Expr:
    return expr.load(source, at, source.type.dtype)


def _axes(node: Node) -> Index:
    return tuple(expr.index(f"a{k}") for k in range(len(frame(node))))


class Reader:
    """Finds the reads of nodes, through the views in `views`; those in `spread` are stored part by part."""

    def __init__(self, views: Callable[[Node], bool], spread: Collection[Node] = ()) -> None:
        self.views = views
        self.spread = spread

    def reads(self, node: Node) -> tuple[list[Read], list[Node]]:
        """Return what a node reads, and the views that it reads through."""
        found: dict[tuple[Node, Index], None] = {}
        through: dict[Node, None] = {}

        def value(source: Node, at: Index) -> Expr:
            if self.views(source):
                through[source] = None
                return self._through(source, at, value)
            found[source, at] = None
            return _load(source, at)

        rule = node.op.lowering
        if isinstance(rule, AxisReduce):
            value(node.inputs[0], _axes(node))
        elif node in self.spread:
            for part in node.inputs:
                value(part, _axes(node))
        elif isinstance(rule, Map):
            rule.fn(_site(node, lambda k, at: value(node.inputs[k], at)), _axes(node))
        elif isinstance(rule, Contract):
            self._contract(node, rule, value)
        loops = self.frame(node)
        return [Read(s, _projection(s, at, loops)) for s, at in found], list(through)

    def frame(self, node: Node) -> Shape:
        """Return the axes that a node's own loops run over: those of one part where it is spread."""
        part: Shape = node.inputs[0].type.shape if node in self.spread else frame(node)
        return part

    def _through(self, view: Node, at: Index, value: Callable[[Node, Index], Expr]) -> Expr:
        rule = view.op.lowering
        if isinstance(rule, Map):
            return rule.fn(_site(view, lambda k, index: value(view.inputs[k], index)), at)
        source = view.inputs[0]
        return value(source, reindex(at, view.type.shape, source.type.shape))

    def _contract(self, node: Node, rule: Contract, value: Callable[[Node, Index], Expr]) -> None:
        spec = rule.fn(_site(node, lambda k, at: value(node.inputs[k], at)))
        groups = {g: tuple(expr.index(f"{g}{k}") for k in range(len(getattr(spec, g)))) for g in _GROUPS}
        spec.lhs(groups["batch"], groups["rows"], groups["inner"])
        spec.rhs(groups["batch"], groups["inner"], groups["cols"])


_GROUPS = ("batch", "rows", "cols", "inner")


def _projection(source: Node, at: Index, loops: Shape) -> Projection | None:
    axes: list[int | None] = []
    for d, e in zip(source.type.shape, at, strict=True):
        axis = _axis_of(e)
        if d == 1 and e is expr.ZERO:
            axes.append(None)
        elif axis is None or loops[axis] != d:
            # A concatenated operand is read at its own index, but not over the whole loop.
            return None
        else:
            axes.append(axis)
    named = [a for a in axes if a is not None]
    return tuple(axes) if named == sorted(set(named)) else None


def _axis_of(e: Expr) -> int | None:
    """Return the loop axis that an index is, unchanged, or None."""
    name = str(e.data)
    return int(name[1:]) if e.kind == "index" and name[0] == "a" and name[1:].isdigit() else None
