"""Patterns over nodes, and the rules made of them.

A pattern is built from `op`, `var`, `splat` and plain numbers, and reads like the
expression that it matches::

    X = var("x")
    op("log", op("add", op("exp", X), 1))      # matches log(exp(x) + 1)

Ops are named, not imported, so a rule may mention an op of any module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from graphc.errors import PassError
from graphc.ir import Node
from graphc.ops import broadcast_to
from graphc.ops.op import REGISTRY, Op, make_node
from graphc.state import ConstantData
from graphc.tensor import Tensor, as_tensor
from graphc.types import DType, Scalar, TensorType

Bindings = Mapping[str, Node]


# -------------------------------------------------------------------- patterns
@dataclass(frozen=True)
class Var:
    """Any node; the same name twice means the same value twice."""

    name: str
    accepts: Callable[[Node], bool] | None = None


@dataclass(frozen=True)
class Literal:
    """A constant all of whose elements have this value."""

    value: Scalar


@dataclass(frozen=True)
class Apply:
    """An op over operand patterns; no `op` means any op that `of` admits, no `operands` any operands."""

    op: str | None
    operands: tuple[Pattern, ...] | None
    attrs: tuple[tuple[str, Any], ...] = ()
    bind: str | None = None
    ordered: bool = False
    of: Callable[[Op], bool] | None = None


Pattern = Var | Literal | Apply
ANY = Var("_")


def var(name: str) -> Var:
    """Return a pattern that matches any node and binds it."""
    return Var(name)


def splat(name: str) -> Var:
    """Return a pattern that matches a constant whose elements are all equal."""
    return Var(name, lambda node: splat_value(node) is not None)


def constant_of(name: str) -> Var:
    """Return a pattern that matches any constant."""
    return Var(name, lambda node: node.op.name == "constant")


def op(
    name: str | None,
    *operands: Pattern | Scalar,
    bind: str | None = None,
    ordered: bool = False,
    of: Callable[[Op], bool] | None = None,
    **attrs: Any,
) -> Apply:
    """Return a pattern that matches an op over operands.

    Parameters
    ----------
    name : str or None
        The op; None for any.
    *operands : Pattern or number
        Its operands; a number is a constant of that value.
    bind : str, optional
        Name under which the node itself can be read from the match.
    ordered : bool
        Match the operands of a commutative op only as written.
    of : callable, optional
        Which ops match, where none is named.
    **attrs
        Parameters that the node must have.
    """
    parts = tuple(Literal(p) if isinstance(p, (bool, int, float)) else p for p in operands)
    return Apply(name, parts, tuple(attrs.items()), bind, ordered, of)


def anything(name: str | None = None, of: Callable[[Op], bool] | None = None) -> Apply:
    """Return a pattern that matches every node, or every node of an op or of some, over any operands."""
    return Apply(name, None, of=of)


# ---------------------------------------------------------------------- matches
class Match:
    """What a pattern matched: bound nodes, read as Tensors by name.

    Attributes
    ----------
    root : Node
        The node that the pattern matched.
    """

    __slots__ = ("_bound", "root")

    def __init__(self, root: Node, bound: Bindings) -> None:
        self.root = root
        self._bound = bound

    def __getitem__(self, name: str) -> Tensor:
        return Tensor(self._bound[name])

    def node(self, name: str) -> Node:
        """Return a bound node."""
        return self._bound[name]

    def value(self, name: str) -> Scalar:
        """Return the value of a bound constant whose elements are all equal."""
        found = splat_value(self._bound[name])
        if found is None:
            raise PassError(
                f"rewriting: {name!r} is not a constant of one value", where=self._bound[name].where
            )
        return found

    def fit(self, value: Tensor) -> Tensor:
        """Return a value stretched to the root's shape, as the root's other operands stretched it."""
        if value.shape == self.root.type.shape or value.dtype != self.root.type.dtype:
            return value
        return broadcast_to(value, self.root.type.shape)

    def number(self, value: Scalar) -> Tensor:
        """Return a scalar constant of the root's dtype."""
        return as_tensor(value, self.root.type.dtype)

    @property
    def type(self) -> TensorType:
        """Type of the root, which the replacement must have."""
        return self.root.type

    @property
    def dtype(self) -> DType:
        """Element type of the root."""
        return self.root.type.dtype


def matches(pattern: Pattern, node: Node) -> Iterator[Match]:
    """Yield every way in which a pattern matches at a node."""
    for bound in _match(pattern, node, {}):
        yield Match(node, bound)


def _match(pattern: Pattern, node: Node, bound: Bindings) -> Iterator[Bindings]:
    if isinstance(pattern, Var):
        yield from _match_var(pattern, node, bound)
    elif isinstance(pattern, Literal):
        if _is_value(splat_value(node), pattern.value):
            yield bound
    elif _applies(pattern, node):
        named = bound if pattern.bind is None else {**bound, pattern.bind: node}
        yield from _match_operands(pattern, node, named)


def _match_var(pattern: Var, node: Node, bound: Bindings) -> Iterator[Bindings]:
    if pattern.accepts is not None and not pattern.accepts(node):
        return
    earlier = bound.get(pattern.name)
    if earlier is None or pattern is ANY:
        yield {**bound, pattern.name: node}
    elif same_value(earlier, node):
        yield bound


def _match_operands(pattern: Apply, node: Node, bound: Bindings) -> Iterator[Bindings]:
    if pattern.operands is None:
        yield bound
        return
    for operands in _orders(pattern, node):
        yield from _match_all(pattern.operands, operands, bound)


def _match_all(patterns: tuple[Pattern, ...], nodes: tuple[Node, ...], bound: Bindings) -> Iterator[Bindings]:
    if not patterns:
        yield bound
        return
    for more in _match(patterns[0], nodes[0], bound):
        yield from _match_all(patterns[1:], nodes[1:], more)


def _applies(pattern: Apply, node: Node) -> bool:
    if not _names(pattern, node.op):
        return False
    if pattern.operands is not None and len(pattern.operands) != len(node.inputs):
        return False
    return all(key in node.attrs and node.attrs[key] == value for key, value in pattern.attrs)


def _orders(pattern: Apply, node: Node) -> Iterator[tuple[Node, ...]]:
    yield node.inputs
    if (
        node.op.commutative
        and not pattern.ordered
        and len(node.inputs) == 2
        and node.inputs[0] is not node.inputs[1]
    ):
        yield node.inputs[::-1]


def _names(pattern: Apply, op: Op) -> bool:
    return pattern.op in (None, op.name) and (pattern.of is None or pattern.of(op))


def may_match(pattern: Apply, op: Op, operands: tuple[Op, ...]) -> bool:
    """Tell whether a pattern can match a node of an op over operands of these ops."""
    if not _names(pattern, op):
        return False
    if pattern.operands is None:
        return True
    if len(pattern.operands) != len(operands):
        return False
    orders = (operands, operands[::-1]) if op.commutative and not pattern.ordered else (operands,)
    return any(all(map(_may_be, pattern.operands, order)) for order in orders)


def _may_be(pattern: Pattern, op: Op) -> bool:
    if isinstance(pattern, Literal):
        return op.name in _TRANSPARENT or op.name in ("full", "constant")
    return not isinstance(pattern, Apply) or _names(pattern, op)


def same_value(a: Node, b: Node) -> bool:
    """Tell whether two nodes are one, or equal constants."""
    if a is b:
        return True
    both_constant = a.op.name == b.op.name == "constant"
    return both_constant and bool(a.payload.equals(b.payload))


# -------------------------------------------------------------------- constants
# Ops that repeat or move elements: a constant of one value seen through them keeps its value.
_TRANSPARENT = frozenset({"broadcast_to", "expand_dims", "permute_dims", "reshape", "squeeze"})
_splats: WeakKeyDictionary[ConstantData, Scalar | None] = WeakKeyDictionary()


def splat_value(node: Node) -> Scalar | None:
    """Return the one value that all elements of a constant have, if they do."""
    while node.op.name in _TRANSPARENT:
        node = node.inputs[0]
    if node.op.name == "full":
        fill = node.attrs.get("value")
        return fill if isinstance(fill, (bool, int, float)) else None
    if node.op.name != "constant":
        return None
    data: ConstantData = node.payload
    if data not in _splats:
        _splats[data] = _one_value(data.array)
    return _splats[data]


def _one_value(array: np.ndarray[Any, Any]) -> Scalar | None:
    if array.size == 0:
        return None
    first = array.flat[0]
    # The last element settles most arrays without a scan.
    if array.size > 1 and (array.flat[-1] != first or not bool((array == first).all())):
        return None
    value: Scalar = first.item()
    return value


def _is_value(found: Scalar | None, wanted: Scalar) -> bool:
    return found is not None and found == wanted


# ------------------------------------------------------------------------ rules
Replacement = Var | Apply | Literal | Callable[[Match], Tensor]


@dataclass(frozen=True)
class Rule:
    """One row of a table: what is replaced by what, and when.

    Attributes
    ----------
    name : str
        What stage records show: ``"log(softmax(x)) --> log_softmax(x)"``.
    pattern : Apply
        What to look for.
    replacement : Pattern or callable
        A pattern over the same names, or a function of the `Match` that builds a Tensor;
        of exactly the type of what it replaces.
    guard : callable, optional
        Further condition on the match.
    budget : int, optional
        Applications after which the rule counts as not terminating; by default a multiple
        of the graph's size.
    """

    name: str
    pattern: Apply
    replacement: Replacement
    guard: Callable[[Match], bool] | None = None
    budget: int | None = None

    def matches(self, node: Node) -> Iterator[Match]:
        """Yield the matches at a node that the guard admits."""
        for match in matches(self.pattern, node):
            if self.guard is None or self.guard(match):
                yield match

    def build(self, match: Match) -> Node:
        """Return the replacement of a match; it is stretched to the root's shape where smaller."""
        if isinstance(self.replacement, (Var, Literal, Apply)):
            return match.fit(Tensor(_instantiate(self.replacement, match))).node
        return match.fit(self.replacement(match)).node


def _instantiate(template: Pattern, match: Match) -> Node:
    if isinstance(template, Var):
        return match.node(template.name)
    if isinstance(template, Literal):
        return match.number(template.value).node
    if template.op is None:
        raise PassError("rewriting: a replacement must name its op")
    operands = tuple(_instantiate(part, match) for part in template.operands or ())
    return make_node(REGISTRY[template.op], operands, dict(template.attrs))
