"""The two ops that the fuse pass makes: a sub-graph as one node, and its results."""

from __future__ import annotations

from typing import Any

from graphc.ir import Attrs, Graph, Node
from graphc.lower.rules import Fused, Item
from graphc.ops.op import Infer, Op
from graphc.types import TensorType, TupleType


def _unused(*args: Any, **attrs: Any) -> Any:
    raise TypeError("a fused node is interpreted through its sub-graph")


def _item_rule(ctx: Infer, source: TupleType, index: int) -> TensorType:
    return source.items[index]


FUSED = Op("fused", _unused, _unused, Fused())
ITEM = Op("item", _item_rule, lambda values, index: values[index], Item())


def fuse_nodes(body: Graph, operands: tuple[Node, ...]) -> tuple[Node, ...]:
    """Return nodes that stand for the outputs of `body` applied to `operands`.

    One fused node, or one `item` of it per output when there are several.  It carries the
    place of the sub-graph's last output, the line a user would call its result.
    """
    types = tuple(n.type for n in body.outputs)
    where = body.outputs[-1].where
    name = next((n.name for n in reversed(body.outputs) if n.name), None)
    if len(types) == 1:
        return (Node(FUSED, operands, Attrs(), types[0], name, where, body),)
    fused = Node(FUSED, operands, Attrs(), TupleType(types), name, where, body)
    return tuple(
        Node(ITEM, (fused,), Attrs({"index": k}), out.type, out.name, out.where)
        for k, out in enumerate(body.outputs)
    )
