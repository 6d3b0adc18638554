"""Matrices that several products read transposed are transposed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphc.costs import Estimate, launched, packed, transposed
from graphc.ir import Graph, Node
from graphc.ops.op import REGISTRY
from graphc.ops.stored_transpose import STORED_TRANSPOSE
from graphc.pipeline import decline, record
from graphc.rewriting.rebuild import Replacement, replace_nodes
from graphc.tensor import Tensor

__all__ = ["StoreTransposes"]

RULE = "right operand read transposed more than once --> stored transposed"


@dataclass(frozen=True)
class StoreTransposes:
    """Store a right operand transposed if several products read it so.

    ``x @ w.T, y @ w.T  -->  t = stored_transpose(w); x @ t, y @ t``

    Every kernel brings such an operand into the order of its register tile, element by
    element: time that few rows on the left do not pay for.
    """

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with shared transposes stored."""
        readers: dict[Node, list[Node]] = {}
        for node in graph.nodes:
            if node.op.name == "matmul" and node.attrs["transpose_b"]:
                readers.setdefault(node.inputs[1], []).append(node)
        found: dict[Node, Replacement] = {}
        for right, products in readers.items():
            if len(products) > 1 and _pays(right, products):
                found.update(_read_plainly(products))
        return replace_nodes(graph, found) if found else graph


def _pays(right: Node, products: Sequence[Node]) -> bool:
    estimate = Estimate(len(products) * packed(right.type), launched(1) + transposed(right.type))
    note = f"{len(products)} products, {estimate}"
    (record if estimate.pays else decline)(RULE, products[0].where, note)
    return estimate.pays


def _read_plainly(products: Sequence[Node]) -> Mapping[Node, Replacement]:
    """Let products of one right operand share its transpose."""
    stored: dict[Node, Tensor] = {}

    def replacement(product: Node) -> Replacement:
        def build(images: Sequence[Tensor]) -> Tensor:
            left, right = images
            flipped = stored.setdefault(right.node, STORED_TRANSPOSE(right))
            result: Tensor = REGISTRY["matmul"](left, flipped, **{**product.attrs, "transpose_b": False})
            return result

        return Replacement(product.inputs, build)

    return {p: replacement(p) for p in products}
