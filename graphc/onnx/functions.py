"""Operators that are defined by others: their bodies, as ONNX publishes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from graphc.onnx import registry, schemas
from graphc.onnx.values import Value


def body_of(node: Any, attributes: Mapping[str, Any], version: int, inputs: Sequence[Any]) -> Any:
    """Return the FunctionProto that defines an operator, or None if nothing does.

    Some bodies depend on the attributes, as they are where the node stands, and on operands' types.
    """
    schema = schemas.schema(node.op_type, version, registry.domain_of(node.domain))
    if schema is None:
        return None
    if schema.has_function:
        return schema.function_body
    if not schema.has_context_dependent_function:
        return None
    call = onnx.NodeProto(
        op_type=node.op_type, domain=node.domain, name=node.name, input=node.input, output=node.output
    )
    call.attribute.extend(attributes.values())
    return _parsed(schema.get_context_dependent_function(call.SerializeToString(), _types(inputs)))


def defaults_of(node: Any, version: int) -> dict[str, Any]:
    """Return the attributes that an operator has where a node does not say others."""
    schema = schemas.schema(node.op_type, version, registry.domain_of(node.domain))
    found = {} if schema is None else {n: a.default_value for n, a in schema.attributes.items()}
    return {name: proto for name, proto in found.items() if proto.type}


def _types(inputs: Sequence[Any]) -> list[bytes]:
    """Return the types of operands, which decide on some bodies."""
    found = []
    for value in inputs:
        proto = onnx.TypeProto()
        if isinstance(value, Value):
            proto.tensor_type.elem_type = value.element.code
            for size in value.shape:
                dim = proto.tensor_type.shape.dim.add()
                if isinstance(size, int):
                    dim.dim_value = size
                else:
                    dim.dim_param = str(size)
        found.append(proto.SerializeToString())
    return found


def _parsed(data: bytes) -> Any:
    body = onnx.FunctionProto()
    body.ParseFromString(data)
    return body
