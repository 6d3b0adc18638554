"""What depends on constants alone is computed now."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphc.dims import SymbolicDim
from graphc.errors import GraphcError
from graphc.interpreter import compute
from graphc.ir import Graph, Node
from graphc.leaves import constant_node
from graphc.lower.rules import Callback, Expand, Leaf
from graphc.pipeline import record

__all__ = ["FoldConstants"]


@dataclass(frozen=True)
class FoldConstants:
    """Compute what depends on constants alone, with the interpreter.

    ``x * sqrt(4.0)  -->  x * 2.0``

    Attributes
    ----------
    limit : int
        Results of more elements are folded only if they are no larger than the constants
        they replace: folding never blows up memory.
    """

    limit: int = 1 << 16

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with constant subexpressions replaced by their values."""
        image: dict[Node, Node] = {}
        for node in graph.nodes:
            rebuilt = node.with_inputs(tuple(image[i] for i in node.inputs))
            folded = _fold(rebuilt) if self._may_fold(rebuilt) else None
            image[node] = folded or rebuilt
            if folded is not None:
                record(f"{node.op.name} of constants --> constant", node)
        return graph.rewired({old: new for old, new in image.items() if old is not new})

    def _may_fold(self, node: Node) -> bool:
        # A callback may be impure, and a composite op is folded once it is expanded.
        if isinstance(node.op.lowering, (Leaf, Callback, Expand)) or node.payload is not None:
            return False
        size = node.type.size
        if not isinstance(size, int) or _is_symbolic(tuple(node.attrs.values())):
            return False
        # A copy is made where a result needs memory of its own.
        if node.op.name == "copy" or any(i.op.name != "constant" for i in node.inputs):
            return False
        # Generated values (full, arange) cost nothing where they stand; only scalars gain.
        allowed = max(self.limit, *(int(i.payload.array.size) for i in node.inputs)) if node.inputs else 1
        return size <= allowed


def _is_symbolic(value: object) -> bool:
    if isinstance(value, tuple):
        return any(map(_is_symbolic, value))
    return isinstance(value, SymbolicDim)


def _fold(node: Node) -> Node | None:
    try:
        value = compute(node, [i.payload.array for i in node.inputs], {})
    except GraphcError:
        # A run-time check that fails must fail when the program runs, not when it is compiled.
        return None
    own = value.flags.owndata and value.flags.c_contiguous
    return constant_node(value if own else np.array(value, order="C"), node.name, node.where)
