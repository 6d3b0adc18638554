"""Computes values again where keeping them would take too much memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from graphc.checkpointing import barrier
from graphc.errors import ArgumentError, caller
from graphc.ir import Graph, Node
from graphc.lower.rules import Alias, Leaf
from graphc.lower.steps import FusedGraph, Storage, storage_of
from graphc.ops.fused import fuse_nodes, items
from graphc.ops.op import inherit_place
from graphc.pipeline import decline, record
from graphc.recomputation import Plan
from graphc.tensor import Tensor
from graphc.types import TupleType

__all__ = ["Rematerialize"]

RULE = "value kept --> computed again"


@dataclass(frozen=True)
class Rematerialize:
    """Compute values again that would live too long, until all temporaries fit into a budget.

    ``h = f(x); y = g(h); z = k(h, y)  -->  h = f(x); y = g(h); z = k(f(x), y)``

    It runs behind `Fuse`, where it sees what is stored: ``optimize=[*FULL, Rematerialize(2**28)]``.
    Values go in the order of bytes times the steps for which they are not used, by the estimated
    time that computing them again takes; each is computed again once, right before it is needed.

    Attributes
    ----------
    budget : int
        Bytes that may live at one time: without inputs, variables, results and the working memory
        of kernels.
    sizes : mapping of str to int
        What named sizes count as; without it 32.
    """

    budget: int
    sizes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.budget, bool) or not isinstance(self.budget, int) or self.budget < 0:
            raise ArgumentError(
                "Rematerialize: bad budget",
                expected="a number of bytes",
                given=repr(self.budget),
                where=caller(),
            )

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph that needs less memory, the same object if it fits already."""
        plan = Plan.of(graph, self.sizes)
        before = plan.peak()[0]
        dropped = plan.shrink(self.budget)
        for candidate in dropped:
            note = f"{candidate.gain} bytes less at the peak, costs {candidate.cost:.1f} us"
            record(RULE, candidate.node, note)
        after = plan.peak()[0]
        if after > self.budget and graph.roots:
            note = f"{after} bytes live at one time, {self.budget} allowed, {before} before"
            decline("no more can be gained by computing again", graph.roots[0], note)
        return _Rebuilt(graph, plan).graph() if dropped else graph


class _Rebuilt:
    """The graph of a plan: first values, copies, and who reads which."""

    def __init__(self, graph: Graph, plan: Plan) -> None:
        self.old = graph
        self.plan = plan
        # The node that gives a storage's value: the first one, or the copy.
        self.value: dict[tuple[Storage, bool], Node] = {}
        self.views: dict[tuple[Node, bool], Node] = {}
        self.read = plan.read()

    def graph(self) -> Graph:
        """Return the new graph."""
        for at, node, copy in self.plan.events():
            inputs = [self.seen(i, at) for i in node.inputs]
            if copy:
                inputs = self._delayed(inputs, at)
            for k, made in self._results(node.with_inputs(tuple(inputs)), node, copy):
                self.value[Storage(node, k), copy] = made
        end = len(self.plan.order)
        roots = dict.fromkeys(self.old.roots)
        return self.old.rewired({n: self.seen(n, end) for n in roots})

    def seen(self, node: Node, at: int) -> Node:
        """Return what a reader at a position reads instead of a node."""
        chain: list[Node] = []
        late = self.plan.is_late(storage_of(node).node, at)
        base = node
        while isinstance(base.op.lowering, Alias) and (base, late) not in self.views:
            chain.append(base)
            base = base.inputs[0]
        image = self._base(base, late)
        for view in reversed(chain):
            rest = tuple(self.seen(i, at) for i in view.inputs[1:])
            image = self.views[view, late] = view.with_inputs((image, *rest))
        return image

    def _base(self, node: Node, late: bool) -> Node:
        if (node, late) in self.views:
            return self.views[node, late]
        if isinstance(node.op.lowering, Leaf):
            return node
        return self.value[storage_of(node), late]

    def _delayed(self, inputs: list[Node], at: int) -> list[Node]:
        """Return a copy's operands, one of them behind a barrier that waits for the step before."""
        before = next(n for n in reversed(self.plan.order[:at]) if n not in self.plan.late)
        trigger = next(v for (s, late), v in self.value.items() if s.node is before and not late)
        k = next(k for k, n in enumerate(inputs) if n.op.name != "constant")
        with inherit_place(inputs[k]):
            inputs[k] = barrier(Tensor(inputs[k]), Tensor(trigger)).node
        return inputs

    def _results(self, made: Node, node: Node, copy: bool) -> list[tuple[int, Node]]:
        """Return the results of a new node by their number; those that nothing reads are left out."""
        if not isinstance(node.type, TupleType):
            return [(0, made)]
        count = len(node.type.items)
        used = [k for k in range(count) if (Storage(node, k), copy) in self.read]
        if node not in self.plan.cut or len(used) == count or not isinstance(node.payload, FusedGraph):
            return list(enumerate(t.node for t in items(made)))
        body = replace(node.payload, outputs=tuple(node.payload.outputs[k] for k in used), nodes=())
        return list(zip(used, fuse_nodes(body, made.inputs), strict=True))
