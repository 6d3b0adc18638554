"""`Op`: everything the system knows about one operation, in one object.

An op's type rule, NumPy meaning, gradient, lowering and samples stand together; making
an `Op` registers it, and registering enrols it in every table-driven test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakValueDictionary

import numpy as np

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import UNKNOWN, DTypeError, GraphcError, GraphError, ShapeError, Where, caller
from graphc.feeds import DimCheck, at_most
from graphc.history import on_behalf_of
from graphc.ir import Attrs, Inferred, Node
from graphc.lower.rules import Control, Expand, Fused, Leaf, Lowering
from graphc.ops.attributes import Attributes
from graphc.types import DTYPES, DType, TensorType

if TYPE_CHECKING:
    from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]
Gradients = Sequence["Tensor | None"]
Batch = Callable[..., "Tensor | tuple[Tensor, ...]"]


@dataclass(frozen=True)
class Sample:
    """One call of an op for the table-driven tests.

    Attributes
    ----------
    inputs : tuple of ndarray
        Operands; the tests feed them through placeholders.
    kwargs : dict
        Further arguments of the public function.
    expected : ndarray or callable, optional
        Result by an independent route, or a function of the inputs that gives it.
    call : callable, optional
        Builds the result from Tensors when it is not ``op.api(*inputs, **kwargs)``.
    differentiable : bool
        Whether finite differences may be taken here (no kink, no tie nearby).
    ulp : float
        Allowed distance between compiled and interpreted result, in units in the last
        place: of the element itself, or for ops that sum of the largest magnitude involved.
    """

    inputs: tuple[Array, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    expected: Array | Callable[..., Any] | None = None
    call: Callable[..., Tensor] | None = None
    differentiable: bool = True
    ulp: float = 8.0


@dataclass(frozen=True)
class ErrorSample:
    """One call of an op that must fail while the graph is built.

    Attributes
    ----------
    build : callable
        Makes the faulty call.
    error : type
        The `GraphcError` subclass it must raise.
    match : str
        Text that the message must contain.
    """

    build: Callable[[], object]
    error: type[Exception]
    match: str = ""


class Infer:
    """Handed to a type rule: raises its errors and records what it assumes of sizes.

    Parameters
    ----------
    op : str
        Name of the op.
    where : Where
        The user's line.
    trusted : bool
        Whether public functions have chosen the attributes; not so in a graph from a file.
    """

    def __init__(self, op: str, where: Where, trusted: bool = True) -> None:
        self.op = op
        self.where = where
        self.trusted = trusted
        self.checks: list[DimCheck] = []

    def shape_error(self, what: str, expected: object, given: object) -> NoReturn:
        """Raise a `ShapeError` for this op."""
        raise ShapeError(f"{self.op}: {what}", expected=str(expected), given=str(given), where=self.where)

    def dtype_error(self, what: str, expected: object, given: object) -> NoReturn:
        """Raise a `DTypeError` for this op."""
        raise DTypeError(f"{self.op}: {what}", expected=str(expected), given=str(given), where=self.where)

    def same(self, a: Dim, b: Dim, why: str, error: type[GraphcError] = ShapeError) -> Dim:
        """Return the common dimension: equal now, or to be checked at the call, raising `error`."""
        if a == b:
            return a
        if isinstance(a, int) and isinstance(b, int):
            self.shape_error(why, f"equal sizes ({a})", b)
        self.checks.append(DimCheck(a, b, f"{self.op}: {why}", self.where, error))
        return a if isinstance(a, int) else b if isinstance(b, int) else a

    def at_most(self, low: Dim, high: Dim, why: str) -> None:
        """Record that ``low <= high``, unless that is proven."""
        self.checks.extend(at_most(low, high, f"{self.op}: {why}", self.where))

    def broadcast(self, *shapes: Shape) -> Shape:
        """Return the broadcast shape; a static 1 stretches, a symbolic size never silently does."""
        rank = max(map(len, shapes), default=0)
        result: list[Dim] = []
        for axis in range(rank):
            column = [s[axis - rank + len(s)] for s in shapes if axis - rank + len(s) >= 0]
            wide = [d for d in column if d != 1]
            merged: Dim = wide[0] if wide else 1
            for other in wide[1:]:
                if isinstance(merged, int) and isinstance(other, int) and merged != other:
                    self.shape_error(
                        "operand shapes do not broadcast",
                        "sizes that are equal or 1",
                        " and ".join(_shape_text(s) for s in shapes),
                    )
                merged = self.same(merged, other, "operand sizes differ")
            result.append(merged)
        return tuple(result)

    def dtype_in(self, dtype: DType, allowed: Sequence[DType], operand: str = "operand") -> None:
        """Require that `dtype` is one of `allowed`."""
        if dtype not in allowed:
            self.dtype_error(f"{operand} has an unsupported dtype", " or ".join(map(str, allowed)), dtype)

    def rank(self, type: TensorType, ndim: int, operand: str = "operand") -> None:
        """Require that a type has `ndim` dimensions."""
        if type.ndim != ndim:
            self.shape_error(f"{operand} has a wrong rank", f"{ndim} dimensions", type)


def _shape_text(shape: Shape) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


InferRule = Callable[..., TensorType]


@dataclass(frozen=True, eq=False)
class Op:
    """One operation.

    Parameters
    ----------
    name : str
        Name in printed graphs; unique in the registry.
    infer : callable
        ``infer(ctx: Infer, *types, **attrs) -> TensorType``.
    numpy : callable
        ``numpy(*arrays, **attrs) -> ndarray``: the meaning, used by the interpreter, by
        constant folding and by the tests as the truth.  Dimensions in attrs arrive as ints.
    lowering : Lowering
        How it becomes a kernel.
    gradient : callable, optional
        ``gradient(g, out, *inputs, **attrs) -> sequence of Tensor or None``, one per
        input, where `g` is the cotangent of the result `out`.  Absent where none exists.
        That of an op with several results takes a cotangent or None per result, and ``wanted``,
        which tells for each input whether its cotangent will be used.
    batch : callable, optional
        ``batch(size, batched, node, *inputs) -> Tensor``: the result of `node` for `size` rows
        at once, where the operands marked in `batched` have a leading axis of rows, and so has
        the result (a tuple of them for a node with several).  See `graphc.ops.batching`.
    tangent : callable, optional
        ``tangent(tangents, out, *inputs, **attrs) -> Tensor or None``: the derivative of the
        result along one tangent, or None for no change, per input.  Of an op with several
        results, a sequence with one entry per result.  Where it is absent, the transpose of
        `gradient` is taken.
    attributes : mapping
        What each attribute may be, by rules of `graphc.ops.attributes`; graphs that no public function built
        are held to them.
    api : callable, optional
        The public function that builds it.
    samples, errors : callable
        ``() -> iterable`` of `Sample` and `ErrorSample`.
    dtypes : sequence of dtype
        What operands may be; the tests cast the first sample's inputs to each.
    commutative : bool
        Whether two operands may be exchanged.
    cost : int
        Rough arithmetic per element, in multiplications; fusion weighs recomputation by it.
    listed : bool
        Whether it enters the registry; False for ops that users define in place, of which there may be
        several under one name.
    """

    name: str
    infer: InferRule
    numpy: Callable[..., Any]
    lowering: Lowering
    gradient: Callable[..., Gradients] | None = None
    batch: Batch | None = None
    tangent: Callable[..., Tensor | Gradients | None] | None = None
    attributes: Attributes = field(default_factory=dict)
    api: Callable[..., Any] | None = None
    samples: Callable[[], Iterable[Sample]] = lambda: ()
    errors: Callable[[], Iterable[ErrorSample]] = lambda: ()
    dtypes: Sequence[DType] = DTYPES
    commutative: bool = False
    cost: int = 1
    listed: bool = True

    def __post_init__(self) -> None:
        if not self.listed:
            CUSTOM[self.name] = self
            return
        if self.name in REGISTRY:
            raise GraphError(f"op {self.name!r} is registered twice", where=caller())
        REGISTRY[self.name] = self

    def __call__(self, *inputs: Tensor, name: str | None = None, **attrs: Any) -> Tensor:
        """Apply the op to Tensors and return the result's handle."""
        # Deferred: Tensor's methods are ops.
        from graphc.tensor import Tensor

        return Tensor(make_node(self, tuple(t.node for t in inputs), attrs, name=name))

    def __repr__(self) -> str:
        return f"<op {self.name}>"


REGISTRY: dict[str, Op] = {}
"""Every op by name, in order of definition."""

CUSTOM: WeakValueDictionary[str, Op] = WeakValueDictionary()
"""The latest op that a user defined under a name, while it is in use: artifacts find it here."""


def make_node(
    op: Op,
    inputs: tuple[Node, ...],
    attrs: Mapping[str, Any] | Attrs,
    *,
    name: str | None = None,
    where: Where | None = None,
    payload: object = None,
) -> Node:
    """Apply the op's type rule and return the node.

    `where` defaults to the user's line on the call stack; passes and gradients hand on
    the line of the node that they derive from.
    """
    place = where or current_place()
    frozen = attrs if isinstance(attrs, Attrs) else Attrs(attrs, op.name)
    ctx = Infer(op.name, place)
    type = op.infer(ctx, *(n.type for n in inputs), **frozen)
    return Node(op, inputs, frozen, type, name, place, payload, tuple(ctx.checks))


def infer(node: Node, said: Inferred) -> TensorType:
    """Return what the type rule says of `node` (leaves and nodes with sub-graphs carry their own type).

    A rule is asked once for each combination of attributes and operand types that is not in `said`.
    """
    if isinstance(node.op.lowering, (Leaf, Fused, Control)):
        return node.type
    types = tuple(n.type for n in node.inputs)
    key = (node.op, node.attrs, types)
    found = said.get(key)
    if found is None:
        found = said[key] = node.op.infer(Infer(node.op.name, node.where), *types, **node.attrs)
    return found


_place: ContextVar[Where | None] = ContextVar("graphc_place", default=None)


def current_place() -> Where:
    """Return the line that new nodes carry: an inherited one, or the user's on the call stack."""
    return _place.get() or caller()


@contextmanager
def inherit_place(origin: Node | Where) -> Iterator[None]:
    """Let new nodes carry another line than the caller's.

    Parameters
    ----------
    origin : Node or Where
        The node on whose behalf they are made, whose line it is; or just a line.
    """
    where, node = (origin, None) if isinstance(origin, Where) else (origin.where, origin)
    token = _place.set(where if where is not UNKNOWN else None)
    try:
        with on_behalf_of(node):
            yield
    finally:
        _place.reset(token)


def expand(node: Node) -> Node:
    """Return what a node of a composite op stands for, as a graph of other ops: its first result."""
    return expand_all(node)[0]


def expand_all(node: Node) -> tuple[Node, ...]:
    """Return what the results of a node of a composite op stand for, as graphs of other ops.

    Raises
    ------
    GraphError
        If the op does not lower by `Expand`.
    """
    # Deferred: Tensor's methods are ops.
    from graphc.tensor import Tensor

    if not isinstance(node.op.lowering, Expand):
        raise GraphError(f"{node.op.name} has no expansion", where=node.where)
    with inherit_place(node):
        made = node.op.lowering.fn(*map(Tensor, node.inputs), **node.attrs)
    results: tuple[Tensor, ...] = (made,) if isinstance(made, Tensor) else tuple(made)
    return tuple(t.node for t in results)


def resolve_attrs(attrs: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return attrs with every symbolic dimension replaced by its size."""
    return {k: _resolve(v, sizes) for k, v in attrs.items()}


def _resolve(value: Any, sizes: Mapping[str, int]) -> Any:
    if isinstance(value, dims.SymbolicDim):
        return dims.evaluate(value, sizes)
    if isinstance(value, tuple):
        return tuple(_resolve(v, sizes) for v in value)
    return value
