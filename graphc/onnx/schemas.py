"""Element types of operands and results, from the signatures that ONNX publishes."""

from __future__ import annotations

from functools import cache
from typing import Any

import onnx

from graphc.onnx.call import Call
from graphc.onnx.elements import Element, element_for, element_named
from graphc.onnx.values import Value
from graphc.tensor import Tensor


@cache
def schema(name: str, version: int, domain: str) -> Any:
    """Return the signature of an operator at a version of its operator set, or None."""
    try:
        return onnx.defs.get_schema(name, version, domain)
    except onnx.defs.SchemaError:
        return None


def check(call: Call, domain: str) -> None:
    """Require that operands have the element types of the signature, equal where it says so.

    Raises
    ------
    OnnxImportError
        Naming the operand.
    """
    found = schema(call.name, call.version, domain)
    if found is None:
        return
    bound: dict[str, str] = {}
    for k, value in enumerate(call.inputs):
        formal = _formal(found.inputs, k)
        if not isinstance(value, Value) or formal is None:
            continue
        given, allowed = f"tensor({value.element.name})", _allowed(found, formal)
        same = bound.setdefault(formal.type_str, given) if formal.is_homogeneous else given
        if given not in allowed or given != same:
            expected = same if same in allowed else ", ".join(sorted(allowed))
            call.fail(f"operand {k} is of a wrong type", expected=expected, given=given)


def _allowed(found: Any, formal: Any) -> set[str]:
    named = (c.allowed_type_strs for c in found.type_constraints if c.type_param_str == formal.type_str)
    return set(next(named, (formal.type_str,)))


def results(call: Call, domain: str, count: int) -> list[Element | None]:
    """Return the element types of a call's results; None where no operand decides on it."""
    found = schema(call.name, call.version, domain)
    if found is None:
        return [None] * count
    bound: dict[str, Element] = {}
    for k, value in enumerate(call.inputs):
        formal = _formal(found.inputs, k)
        if isinstance(value, Value) and formal is not None:
            bound.setdefault(formal.type_str, value.element)
    return [_element(_formal(found.outputs, k), bound) for k in range(count)]


def _formal(formals: Any, index: int) -> Any:
    """Return the formal parameter at a position; the last one may stand for many."""
    return formals[min(index, len(formals) - 1)] if formals else None


def _element(formal: Any, bound: dict[str, Element]) -> Element | None:
    if formal is None:
        return None
    return bound.get(formal.type_str) or element_named(formal.type_str)


def typed(tensor: Tensor, element: Element | None, *, exact: bool) -> Value:
    """Return a result as a value of an element type, by default that of its dtype."""
    kind = element or element_for(tensor.dtype)
    if exact and tensor.dtype == kind.carrier:
        return Value(kind, tensor)
    return Value(kind, kind.fit(tensor))
