"""Whether the nodes of a file are what their ops can be applied to.

Files come from anywhere, and kernels are only right for operands and attributes that public functions
could have chosen.  How many operands there are is what the op's NumPy meaning can be called with; what
attributes may be, each op says itself, by the rules of `graphc.ops.attributes`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from graphc import dims
from graphc.artifact.fields import reject, require
from graphc.dims import Dim
from graphc.errors import ShapeError, Where
from graphc.feeds import DimCheck
from graphc.ir import Node
from graphc.lower.rules import Control, Item, Leaf
from graphc.ops.attributes import Use
from graphc.ops.op import Op
from graphc.types import TensorType, TupleType

__all__ = ["check_attributes", "check_use", "implied_checks"]


def check_use(op: Op, types: tuple[TensorType, ...], attrs: Mapping[str, Any]) -> None:
    """Require that an op can be applied to operands of these types with these attributes.

    Raises
    ------
    ArtifactError
        If not.
    """
    several = [t for t in types if isinstance(t, TupleType)]
    require(len(several) == isinstance(op.lowering, Item), f"bad operands of {op.name}", "tensors", several)
    require(
        _can_be_called(op, len(types), attrs), f"{op.name} does not take this", "what it takes", dict(attrs)
    )
    if op.listed:  # else its type rule is the user's own
        check_attributes(op, types, attrs)


def check_attributes(op: Op, types: tuple[TensorType, ...], attrs: Mapping[str, Any]) -> None:
    """Require that attributes are those that an op has, and obey its rules.

    Raises
    ------
    ArtifactError
        If not.
    """
    needed = {name for name, rule in op.attributes.items() if not rule.optional}
    known = needed <= attrs.keys() <= op.attributes.keys()
    require(known, f"bad attributes of {op.name}", ", ".join(op.attributes) or "none", sorted(attrs))
    use = Use(types, attrs)
    for name, rule in op.attributes.items():
        if name in attrs and not rule.holds(attrs[name], use):
            reject(f"bad attribute {name!r} of {op.name}", rule.says, attrs[name])


def _can_be_called(op: Op, operands: int, attrs: Mapping[str, Any]) -> bool:
    numpy = op.numpy
    if isinstance(numpy, np.ufunc):
        return numpy.nin == operands and not attrs
    signature = _signature(numpy)
    if signature is None:
        return True
    try:
        signature.bind(*[None] * operands, **attrs)
    except TypeError:
        return False
    return True


@cache
def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except ValueError:  # some functions of NumPy do not say what they take
        return None


# ----------------------------------------------------------------- checks at the call
def implied_checks(nodes: Iterable[Node]) -> Iterable[DimCheck]:
    """Yield what must hold of named sizes for the nodes to stay within their memory.

    Public functions make windows that lie within their operand, and sizes that are not negative, for
    every size that a name may have; of a file, that is checked where it cannot be proven.
    """
    seen: set[TensorType] = set()
    for node in nodes:
        items = node.type.items if isinstance(node.type, TupleType) else (node.type,)
        for type in items:
            if type not in seen:
                seen.add(type)
                yield from _not_negative(type.shape, node.where)
        if isinstance(node.op.lowering, (Leaf, Control)):
            continue
        yield from _inside(node)


def _not_negative(sizes: Sequence[Dim], where: Where) -> Iterable[DimCheck]:
    for d in sizes:
        yield from _at_most(0, d, "a size is negative", where)


def _inside(node: Node) -> Iterable[DimCheck]:
    """Yield that a window lies within its operand, as the type rule verifies it for fixed sizes."""
    if node.op.name not in ("slice", "place"):
        return
    attrs = node.attrs
    x = node.inputs[0].type.shape
    outer, counts = (x, attrs["sizes"]) if node.op.name == "slice" else (attrs["shape"], x)
    for n, start, count, step in zip(outer, attrs["starts"], counts, attrs["steps"], strict=True):
        if isinstance(count, int):
            continue
        last = start + (count - 1) * step
        low, high = (start, last) if step > 0 else (last, start)
        some = dims.minimum(1, count)  # an empty window lies anywhere
        if dims.maximum(high + 1, n) != n:
            yield from _at_most((high + 1) * some, n, "a window reaches beyond its operand", node.where)
        if dims.maximum(low, 0) != low:
            yield from _at_most(0, low * some, "a window begins before its operand", node.where)


def _at_most(low: Dim, high: Dim, why: str, where: Where) -> Iterable[DimCheck]:
    larger = dims.maximum(low, high)
    if larger != high:
        yield DimCheck(larger, high, f"artifact: {why}", where, ShapeError)
