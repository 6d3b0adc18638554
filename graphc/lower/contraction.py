"""Contractions with what is fused around them: operands by index functions, an epilogue.

A contraction computes ``out[b, m, n] = sum_k lhs(b, m, k) * rhs(b, k, n)``.  Its operands
are scalar expressions, so transposes, convolution patches and cheap producers are folded
into the packing of panels.  Elementwise nodes that consume the result at its own index
form the epilogue, applied to a finished tile before the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import NotFusibleError
from graphc.ir import Node
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.region import Composer, Frame, Store, timed_loads
from graphc.lower.rules import Contract, Contraction, Index
from graphc.types import DType


@dataclass(frozen=True)
class ContractionRegion:
    """A lowered contraction.

    Attributes
    ----------
    node : Node
        The contraction itself; `expr.local(node)` is its sum inside the epilogue.
    batch, rows, cols, inner : tuple of Expr
        Loop variables of the four groups of axes.
    shape : Contraction
        Sizes of these groups.
    lhs, rhs : Expr
        Elements of the operands at these variables.
    stores : tuple of Store
        Results: the plain sum, or epilogues of it, by the result's multi-index.
    """

    node: Node
    shape: Contraction
    batch: Index
    rows: Index
    cols: Index
    inner: Index
    lhs: Expr
    rhs: Expr
    stores: tuple[Store, ...]

    @property
    def phases(self) -> int:
        """Number of loops over a result: the epilogue's."""
        return 1

    def written(self, store: Store) -> int:
        """Return when a result is written: in the only phase."""
        return self.phases if store.phase is None else store.phase

    @cached_property
    def loads(self) -> Mapping[Node, tuple[tuple[int, Index], ...]]:
        """For every operand, when and at which index it is read."""
        values = [self.lhs, self.rhs, *(s.value for s in self.stores)]
        return timed_loads((0, v) for v in values)

    @property
    def dtype(self) -> DType:
        """Type of the sum."""
        return self.shape.dtype

    def extent(self, group: str) -> Dim:
        """Return the number of elements of a group: ``batch``, ``rows``, ``cols`` or ``inner``."""
        sizes: Shape = getattr(self.shape, group)
        return dims.product(sizes)


def lower_contraction(nodes: Sequence[Node], outputs: Sequence[Node], frame: Frame) -> ContractionRegion:
    """Lower one contraction with the elementwise nodes around it.

    Raises
    ------
    NotFusibleError
        If the nodes are not one contraction and an epilogue over its result.
    """
    found = [n for n in nodes if isinstance(n.op.lowering, Contract)]
    if len(found) != 1:
        raise NotFusibleError("a contraction region holds exactly one contraction")
    node = found[0]
    rule = node.op.lowering
    indices = tuple(expr.index(f"i{a}") for a in range(node.type.ndim))
    composer = _EpilogueComposer(frozenset(nodes), indices, frame)
    spec = rule.fn(composer.site(node)) if isinstance(rule, Contract) else None
    if spec is None:
        raise NotFusibleError(f"{node!r} has no contraction")
    prefixes = {"batch": "b", "rows": "r", "cols": "c", "inner": "k"}
    groups = {g: _indices(p, getattr(spec, g)) for g, p in prefixes.items()}
    if not spec.inner:
        # A product without inner axes (outer) sums over one element.
        left, right = spec.lhs, spec.rhs
        spec = replace(
            spec, inner=(1,), lhs=lambda b, m, k: left(b, m, ()), rhs=lambda b, k, n: right(b, (), n)
        )
        groups["inner"] = (expr.ZERO,)
    lhs = expr.cast(spec.lhs(groups["batch"], groups["rows"], groups["inner"]), spec.dtype)
    rhs = expr.cast(spec.rhs(groups["batch"], groups["inner"], groups["cols"]), spec.dtype)
    stores = tuple(s for n in outputs for s in composer.stores(n, {}))
    return ContractionRegion(
        node, spec, groups["batch"], groups["rows"], groups["cols"], groups["inner"], lhs, rhs, stores
    )


def _indices(prefix: str, shape: Shape) -> Index:
    return tuple(expr.ZERO if d == 1 else expr.index(f"{prefix}{a}") for a, d in enumerate(shape))


class _EpilogueComposer(Composer):
    """Composes with the contraction's own sum as a local value."""

    def _compose(self, node: Node, index: Index) -> Expr:
        if not isinstance(node.op.lowering, Contract):
            return super()._compose(node, index)
        if index != self.place(node):
            raise NotFusibleError(f"{node!r} is read away from its own tile")
        return expr.local(node, node.type.dtype)
