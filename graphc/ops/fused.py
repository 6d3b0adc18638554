"""The ops that only the compiler makes: a sub-graph as one node, its results, and copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphc.errors import GraphError
from graphc.ir import Attrs, Graph, Node
from graphc.lower.rules import Fused, Item, Map
from graphc.ops.attributes import Use, at_least
from graphc.ops.batching import batch_by
from graphc.ops.op import Infer, Op, make_node
from graphc.types import TensorType, TupleType

if TYPE_CHECKING:
    from graphc.tensor import Tensor


def _unused(*args: Any, **attrs: Any) -> Any:
    raise GraphError("a fused node is interpreted through its sub-graph")


def _item_rule(ctx: Infer, source: TupleType, index: int) -> TensorType:
    return source.items[index]


def _is_result(value: Any, use: Use) -> bool:
    several = use.types[0] if use.types else None
    return isinstance(several, TupleType) and value < len(several.items)


FUSED = Op("fused", _unused, _unused, Fused())
ITEM = Op(
    "item",
    _item_rule,
    lambda values, index: values[index],
    Item(),
    attributes={"index": at_least(0).narrowed("a result of the operand", _is_result)},
)
COPY = Op(
    "copy",
    lambda ctx, x: x,
    lambda x: x.copy(),
    Map(lambda site, index: site.read(0, index)),
    gradient=lambda g, out, x: [g],
    batch=batch_by(),
)


def items(node: Node) -> list[Tensor]:
    """Return the results of a node with several."""
    # Deferred: Tensor's methods are ops.
    from graphc.tensor import Tensor

    kinds = node.type.items if isinstance(node.type, TupleType) else ()
    return [
        Tensor(Node(ITEM, (node,), Attrs({"index": k}), kind, None, node.where))
        for k, kind in enumerate(kinds)
    ]


def copy_of(node: Node) -> Node:
    """Return a node with the same value in memory of its own."""
    return make_node(COPY, (node,), {}, name=node.name, where=node.where)


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
    fused = Node(FUSED, operands, Attrs(), TupleType.of(types), name, where, body)
    return tuple(
        Node(ITEM, (fused,), Attrs({"index": k}), out.type, out.name, out.where)
        for k, out in enumerate(body.outputs)
    )
