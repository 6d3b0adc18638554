"""The ways in which an op can lower; every op carries exactly one of these.

=============  ==============================================================
`Map`          output index -> scalar expression (elementwise, slices, pads, windows)
`Join`         a `Map` that lays its operands side by side: concatenation
`AxisReduce`   reduce one operand over its axes
`Contract`     sum of products over inner axes: matmul, einsum, convolutions
`Loop`         a hand-written loop nest (sort, cumulative sum, scatter)
`Alias`        the same bytes under another shape; costs nothing
`Barrier`      an `Alias` that no rewriting may look through
`Expand`       a graph of other ops, built at compile time (softmax, layer_norm)
`Callback`     the NumPy meaning is called at run time (users' own ops)
`Leaf`         no computation: placeholders, variables, constants
`Fused`        a sub-graph that runs as one kernel; made by the fuse pass
`Item`         one result of a node that has several
`Control`      sub-graphs that run as often as the node says: loops and branches
=============  ==============================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphc.dims import Dim, Shape
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.types import DType, TensorType

Index = tuple[Expr, ...]


@dataclass(frozen=True)
class Site:
    """What a lowering rule sees of the node that it lowers.

    Attributes
    ----------
    type : TensorType
        The node's type.
    inputs : tuple of TensorType
        Types of its operands.
    attrs : Mapping
        Its parameters.
    reader : callable
        ``reader(k, index)`` is the element of operand `k` at a full index.
    message : object
        Handle for run-time checks of this node; pass it to `expr.check`.
    """

    type: TensorType
    inputs: tuple[TensorType, ...]
    attrs: Mapping[str, Any]
    reader: Callable[[int, Index], Expr]
    message: Any = None

    def read(self, k: int, index: Index) -> Expr:
        """Return operand `k` at `index` (one expression per axis of the operand)."""
        return self.reader(k, index)

    def broadcast(self, k: int, index: Index) -> Expr:
        """Return operand `k` at an index of the result, under NumPy's broadcasting."""
        shape = self.inputs[k].shape
        aligned = index[len(index) - len(shape) :]
        # A static 1 is read at 0; anything else was proven equal to the result's axis.
        return self.reader(k, tuple(expr.ZERO if d == 1 else i for d, i in zip(shape, aligned, strict=True)))


@dataclass(frozen=True)
class Map:
    """``fn(site, index) -> Expr``: the element of the result at `index`."""

    fn: Callable[[Site, Index], Expr]


@dataclass(frozen=True)
class Join(Map):
    """A `Map` whose operands lie side by side along ``attrs["axis"]``.

    Operands of one shape may also be stored one by one, by the loop that computes them all.
    """


@dataclass(frozen=True)
class AxisReduce:
    """Reduction of operand 0 over ``attrs["axes"]``, keeping them as 1 if ``attrs["keepdims"]``.

    `kind` is ``sum prod max min any all argmax argmin``; elements are cast to the
    result's dtype first, except for the arg kinds, whose result is the flat int64
    position within the reduced axes.
    """

    kind: str


@dataclass(frozen=True)
class Contraction:
    """``out[b, m, n] = sum over k of lhs(b, m, k) * rhs(b, k, n)``, each a tuple of axes.

    The result is stored in row-major order of (batch, rows, cols), which must be the
    order of the node's own axes.
    """

    batch: Shape
    rows: Shape
    cols: Shape
    inner: Shape
    lhs: Callable[[Index, Index, Index], Expr]
    rhs: Callable[[Index, Index, Index], Expr]
    dtype: DType


@dataclass(frozen=True)
class Contract:
    """``fn(site) -> Contraction``."""

    fn: Callable[[Site], Contraction]


@dataclass(frozen=True)
class LoopBody:
    """Source of a hand-written loop nest.

    Attributes
    ----------
    lines : tuple of str
        Python statements on pointers ``in0, in1, ...``, ``out``, ``scratch0, ...``; sizes
        appear under the names that `LoopSite.size` returned.
    scratch : tuple of (dtype, Dim)
        Working memory, by element count.
    """

    lines: tuple[str, ...]
    scratch: tuple[tuple[DType, Dim], ...] = ()


@dataclass(frozen=True)
class LoopSite:
    """What a `Loop` rule sees: types, parameters and a name for each size it mentions."""

    type: TensorType
    inputs: tuple[TensorType, ...]
    attrs: Mapping[str, Any]
    size: Callable[[Dim], str]
    fail: Callable[[], str] = field(default=lambda: "pass")
    """``fail()`` is a statement that raises the node's run-time check after the call."""


@dataclass(frozen=True)
class Loop:
    """``fn(site) -> LoopBody``."""

    fn: Callable[[LoopSite], LoopBody]


@dataclass(frozen=True)
class Alias:
    """Row-major bytes of operand 0 unchanged: reshape, squeeze, expand_dims."""


@dataclass(frozen=True)
class Barrier(Alias):
    """An `Alias` of operand 0 that counts as a value of its own, computed after all other operands."""


@dataclass(frozen=True)
class Expand:
    """``fn(*tensors, **attrs) -> Tensor``: a graph of other ops with the same meaning.

    A tuple of Tensors where the op has several results.
    """

    fn: Callable[..., Any]


@dataclass(frozen=True)
class Callback:
    """The NumPy meaning is called at run time, between native segments."""


@dataclass(frozen=True)
class Leaf:
    """No computation."""


@dataclass(frozen=True)
class Fused:
    """A sub-graph, the node's payload, that runs as one kernel."""


@dataclass(frozen=True)
class Item:
    """Result ``attrs["index"]`` of a node with several."""


@dataclass(frozen=True)
class Control:
    """Sub-graphs, the node's payload, that run as often as the node says: loops and branches.

    Such a node has a `TupleType`, its results are read through `item` nodes, and its op's
    NumPy meaning also takes ``node`` and ``sizes``.
    """


Lowering = Map | AxisReduce | Contract | Loop | Alias | Expand | Callback | Leaf | Fused | Item | Control
