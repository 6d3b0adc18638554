"""Whether the nodes of a file are what their ops can be applied to.

Files come from anywhere, and kernels are only right for operands and attributes that public functions
could have chosen.  How many operands there are is what the op's NumPy meaning can be called with; what
attributes may be, each op says itself, by the rules of `graphc.ops.attributes`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np

from graphc.artifact.fields import reject, require
from graphc.feeds import DimCheck, at_most
from graphc.ir import Node
from graphc.lower.rules import Item
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


def implied_checks(nodes: Iterable[Node]) -> Iterable[DimCheck]:
    """Yield what must hold of named sizes besides what type rules say: that no size of a tensor is negative.

    Public functions see to that for every size that a name may have; of a file, it is checked where it
    cannot be proven.
    """
    seen: set[TensorType] = set()
    for node in nodes:
        items = node.type.items if isinstance(node.type, TupleType) else (node.type,)
        for type in items:
            if type not in seen:
                seen.add(type)
                for d in type.shape:
                    yield from at_most(0, d, "artifact: a size is negative", node.where)
