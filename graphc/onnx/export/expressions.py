"""From a scalar expression over an index space to nodes on whole tensors.

A loop index becomes a range of numbers along an axis of its own, and every function of it works on
all of its values at once; operands stretch over axes that they do not depend on.  An element that is read at
its own index is the operand itself, so what is elementwise comes out as one would write it; any other
read gathers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Index
from graphc.onnx.export.functions import apply, divided
from graphc.onnx.export.reductions import reduced
from graphc.onnx.export.writer import Writer, carrier
from graphc.types import INT32, INT64, TensorType


@dataclass(frozen=True)
class Spread:
    """A value of an expression: a tensor of size 1 along the axes that it does not depend on.

    Attributes
    ----------
    name : str
        The tensor; its axes are aligned with those of the space at the end.
    over : frozenset of int
        Axes that it depends on, counted from the last one.
    rank : int
        How many axes it has.
    """

    name: str
    over: frozenset[int]
    rank: int


@dataclass
class Space:
    """An index space, and the expressions over it that were written.

    Attributes
    ----------
    writer : Writer
        Where nodes go.
    operands : sequence of str
        What loads read.
    types : sequence of TensorType
        Their types.
    levels : list of Dim
        Sizes of the axes, the last one first; folds add more.
    """

    writer: Writer
    operands: Sequence[str]
    types: Sequence[TensorType]
    levels: list[Dim]
    _level_of: dict[str, int] = field(default_factory=dict)
    _known: dict[tuple[Expr, bool], Spread] = field(default_factory=dict)

    @classmethod
    def of(cls, writer: Writer, operands: Sequence[str], types: Sequence[TensorType], shape: Shape) -> Space:
        """Return a space with the axes of a shape."""
        return cls(writer, operands, types, list(reversed(shape)))

    def index(self, shape: Shape) -> Index:
        """Return the loop indices of the axes."""
        names = [f"i{a}" for a in range(len(shape))]
        self._level_of.update((n, len(names) - 1 - a) for a, n in enumerate(names))
        return tuple(expr.index(n) for n in names)

    @property
    def shape(self) -> Shape:
        """Sizes of the axes."""
        return tuple(reversed(self.levels))

    def whole(self, e: Expr) -> str:
        """Write an expression and return the tensor of its values at every index."""
        value = self.value(e, guarded=False)
        everywhere = {k for k, d in enumerate(self.levels) if d != 1}
        if value.rank == len(self.levels) and value.over >= everywhere:
            return value.name
        return self.writer.expand(value.name, self.shape)

    # --------------------------------------------------------------- expressions
    def value(self, e: Expr, *, guarded: bool) -> Spread:
        """Write an expression; within a guard, what it reads may lie outside."""
        found = self._known.get((e, guarded))
        if found is None:
            found = self._known[e, guarded] = getattr(self, f"_{e.kind}")(e, guarded)
        return found

    def _const(self, e: Expr, guarded: bool) -> Spread:
        return Spread(self.writer.constant(np.asarray(e.data, e.dtype), e.dtype), frozenset(), 0)

    def _size(self, e: Expr, guarded: bool) -> Spread:
        return Spread(self.writer.scalar(e.data.dim), frozenset(), 0)

    def _index(self, e: Expr, guarded: bool) -> Spread:
        level = self._level_of[e.data]
        dim = self.levels[level]
        if isinstance(dim, int):
            numbers = np.arange(dim).reshape(-1, *[1] * level)
            return Spread(self.writer.constant(numbers), frozenset({level}), level + 1)
        zero, one = self.writer.constant(0), self.writer.constant(1)
        name = self.writer.node("Range", zero, self.writer.scalar(dim), one)
        if level:
            name = self.writer.node("Unsqueeze", name, self.writer.constant(list(range(1, level + 1))))
        return Spread(name, frozenset({level}), level + 1)

    def _call(self, e: Expr, guarded: bool) -> Spread:
        args = [self.value(a, guarded=guarded) for a in e.args]
        operand = e.args[-1].dtype
        if e.data in ("floordiv", "mod") and operand in (INT32, INT64) and _divisor(e) > 0:
            return _joined(divided(self.writer, e.data, args[0].name, _divisor(e), operand), args)
        name = apply(self.writer, e.data, tuple(a.name for a in args), operand, e.dtype)
        return _joined(name, args)

    def _cast(self, e: Expr, guarded: bool) -> Spread:
        (given,) = (self.value(a, guarded=guarded) for a in e.args)
        return Spread(self.writer.cast(given.name, e.dtype), given.over, given.rank)

    def _guard(self, e: Expr, guarded: bool) -> Spread:
        condition = self.value(e.args[0], guarded=guarded)
        # Both sides are computed: what would read outside reads the border instead.
        args = [condition, *(self.value(a, guarded=True) for a in e.args[1:])]
        return _joined(apply(self.writer, "where", tuple(a.name for a in args), e.dtype, e.dtype), args)

    def _check(self, e: Expr, guarded: bool) -> Spread:
        # ONNX has no checks: what an index outside of its axis selects is not defined there.
        return self.value(e.args[1], guarded=guarded)

    def _fold(self, e: Expr, guarded: bool) -> Spread:
        count = (len(e.args) - 1) // 2
        variables, extents = e.args[1 : 1 + count], e.args[1 + count :]
        base = len(self.levels)
        sizes = [x.data.dim if x.kind == "size" else x.data for x in extents]
        self.levels += reversed(sizes)
        self._level_of.update((v.data, base + count - 1 - k) for k, v in enumerate(variables))
        body = self.value(e.args[0], guarded=guarded)
        rank = base + count
        shape = tuple(self.levels[k] if k >= base or k in body.over else 1 for k in reversed(range(rank)))
        spread = self.writer.expand(body.name, shape)
        del self.levels[base:]
        name = reduced(
            self.writer, e.data, spread, e.args[0].dtype, shape, tuple(range(count)), keepdims=False
        )
        return Spread(name, frozenset(k for k in body.over if k < base), base)

    # --------------------------------------------------------------------- loads
    def _load(self, e: Expr, guarded: bool) -> Spread:
        type = self.types[e.data]
        if not e.args:
            return Spread(self.operands[e.data], frozenset(), 0)
        direct = self._direct(e, type)
        return direct if direct is not None else self._gathered(e, type, guarded)

    def _direct(self, e: Expr, type: TensorType) -> Spread | None:
        """Return the operand itself, transposed, if it is read at different loop indices."""
        axes: dict[int, int] = {}
        for axis, (at, dim) in enumerate(zip(e.args, type.shape, strict=True)):
            if at is expr.ZERO and dim == 1:
                continue
            level = self._level_of.get(at.data) if at.kind == "index" else None
            if level is None or level in axes or self.levels[level] != dim:
                return None
            axes[level] = axis
        levels = sorted(axes, reverse=True)
        kept = [axes[k] for k in levels]
        name = self.operands[e.data]
        aligned = {type.ndim - 1 - axis: axis for axis in kept}
        if aligned == axes:
            return Spread(name, frozenset(levels), type.ndim)
        ones = [a for a in range(type.ndim) if a not in kept]
        if ones:
            name = self.writer.node("Squeeze", name, self.writer.constant(ones))
        order = sorted(kept)
        name = self.writer.transpose(name, [order.index(a) for a in kept])
        rank = levels[0] + 1 if levels else 0
        missing = [rank - 1 - k for k in reversed(range(rank)) if k not in axes]
        if missing:
            name = self.writer.node("Unsqueeze", name, self.writer.constant(missing))
        return Spread(name, frozenset(levels), rank)

    def _gathered(self, e: Expr, type: TensorType, guarded: bool) -> Spread:
        w = self.writer
        if guarded and 0 in type.shape:
            return Spread(w.constant(np.zeros((), e.dtype), e.dtype), frozenset(), 0)
        positions = [self.value(a, guarded=guarded) for a in e.args]
        over = frozenset[int]().union(*(p.over for p in positions))
        rank = max(over, default=-1) + 1
        shape = tuple(self.levels[k] if k in over else 1 for k in reversed(range(rank)))
        last = w.constant([-1])
        parts = []
        for position, dim in zip(positions, type.shape, strict=True):
            name = self._inside(position.name, dim) if guarded else position.name
            parts.append(w.node("Unsqueeze", w.expand(_ranked(w, name, position, rank), shape), last))
        at = parts[0] if len(parts) == 1 else w.node("Concat", *parts, axis=-1)
        operand, wide = self.operands[e.data], carrier(e.dtype)
        return Spread(moved(w, "GatherND", operand, at, dtype=e.dtype, wide=wide), over, rank)

    def _inside(self, position: str, dim: Dim) -> str:
        w = self.writer
        last = w.scalar(dims.maximum(dim - 1, 0))
        return w.node("Max", w.node("Min", position, last), w.constant(0))


def moved(w: Writer, op: str, x: str, *others: str, dtype: Any, wide: Any, **attributes: Any) -> str:
    """Return an operator that only moves elements, on a type that runtimes have it for."""
    if wide == dtype:
        return w.node(op, x, *others, **attributes)
    return w.cast(w.node(op, w.cast(x, wide), *others, **attributes), dtype)


def _ranked(w: Writer, name: str, value: Spread, rank: int) -> str:
    """Return a position without axes in front that it does not depend on."""
    extra = value.rank - rank
    return w.node("Squeeze", name, w.constant(list(range(extra)))) if extra > 0 else name


def _divisor(e: Expr) -> int:
    """Return the number that an expression divides by, 0 if it is none."""
    return e.args[1].data if e.args[1].kind == "const" else 0


def _joined(name: str, args: Sequence[Spread]) -> Spread:
    over = frozenset[int]().union(*(a.over for a in args))
    return Spread(name, over, max(a.rank for a in args))
