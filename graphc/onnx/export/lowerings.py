"""How nodes without a spelling of their own are written: by what their operation lowers to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.dims import Shape, product
from graphc.lower import expr
from graphc.lower.rules import Alias, AxisReduce, Contract, Map, Site
from graphc.onnx.export.call import Call
from graphc.onnx.export.expressions import Space
from graphc.onnx.export.reductions import reduced
from graphc.onnx.export.writer import CannotExpress, carrier


def lowered(call: Call) -> str:
    """Write a node by its lowering.

    Raises
    ------
    CannotExpress
        If nothing is known of how it computes but kernel code.
    """
    for kind, rule in _RULES.items():
        if isinstance(call.node.op.lowering, kind):
            return rule(call)
    raise CannotExpress(call.node.op.name)


def _site(call: Call) -> Site:
    types = call.types
    return Site(call.type, types, call.node.attrs, lambda k, at: expr.load(k, at, types[k].dtype))


def _map(call: Call) -> str:
    rule: Any = call.node.op.lowering
    space = Space.of(call.writer, call.inputs, call.types, call.type.shape)
    return space.whole(rule.fn(_site(call), space.index(call.type.shape)))


def _alias(call: Call) -> str:
    if call.type.shape == call.types[0].shape:
        return call.inputs[0]
    return call.writer.reshape(call.inputs[0], call.type.shape)


def _axis_reduce(call: Call) -> str:
    kind = call.node.op.lowering.kind if isinstance(call.node.op.lowering, AxisReduce) else ""
    (x,), (type,) = call.inputs, call.types
    dtype = type.dtype if kind.startswith("arg") else call.type.dtype
    if dtype != type.dtype:
        x = call.writer.cast(x, dtype)
    axes, keepdims = call.attr("axes"), call.attr("keepdims")
    return reduced(call.writer, kind, x, dtype, type.shape, axes, keepdims=keepdims)


def _contract(call: Call) -> str:
    """Lay out both operands as matrices, element by element, and multiply."""
    rule: Any = call.node.op.lowering
    parts = rule.fn(_site(call))
    wide = carrier(parts.dtype)
    w = call.writer
    left = _matrix(call, parts.lhs, (parts.batch, parts.rows, parts.inner), wide)
    right = _matrix(call, parts.rhs, (parts.batch, parts.inner, parts.cols), wide)
    found = w.reshape(w.node("MatMul", left, right), call.type.shape)
    return found if wide == call.type.dtype else w.cast(found, call.type.dtype)


def _matrix(call: Call, fn: Callable[..., expr.Expr], groups: tuple[Shape, Shape, Shape], dtype: Any) -> str:
    shape = tuple(d for group in groups for d in group)
    space = Space.of(call.writer, call.inputs, call.types, shape)
    index = space.index(shape)
    first, second = len(groups[0]), len(groups[0]) + len(groups[1])
    element = expr.cast(fn(index[:first], index[first:second], index[second:]), dtype)
    return call.writer.reshape(space.whole(element), tuple(product(group) for group in groups))


_RULES: dict[type, Callable[[Call], str]] = {
    Map: _map,
    Alias: _alias,
    AxisReduce: _axis_reduce,
    Contract: _contract,
}
