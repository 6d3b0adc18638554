"""Composite ops become the graphs they stand for."""

from __future__ import annotations

from dataclasses import dataclass

from graphc.ir import Graph
from graphc.lower.rules import Expand
from graphc.ops.op import Op, expand, expand_all
from graphc.rewriting import Match, Rule, anything, apply_rules, op
from graphc.tensor import Tensor
from graphc.types import TupleType

__all__ = ["ExpandComposites"]

# Expansions nest only as deep as ops are defined in terms of each other, but one op may
# stand for a graph far larger than the one it is in.
_BUDGET = 1_000_000


def _is_composite(op: Op) -> bool:
    return isinstance(op.lowering, Expand)


def _has_one_result(match: Match) -> bool:
    # Several results are expanded where they are read.
    return not isinstance(match.root.type, TupleType)


def _item(match: Match) -> Tensor:
    return Tensor(expand_all(match.root.inputs[0])[match.root.attrs["index"]])


EXPAND = Rule(
    "composite op --> its expansion",
    anything(of=_is_composite),
    lambda m: Tensor(expand(m.root)),
    _has_one_result,
    budget=_BUDGET,
)

EXPAND_ITEM = Rule(
    "result of a composite op --> its expansion",
    op("item", anything(of=_is_composite)),
    _item,
    budget=_BUDGET,
)


@dataclass(frozen=True)
class ExpandComposites:
    """Replace composite ops (softmax, layer_norm) by graphs of primitive ones.

    ``softmax(x)  -->  e = exp(x - max(x)); e / sum(e)``
    """

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph without composite ops."""
        return apply_rules(graph, (EXPAND, EXPAND_ITEM))
