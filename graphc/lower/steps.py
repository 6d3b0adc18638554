"""A graph as a list of steps: one kernel or callback each, over named storages.

Storage is memory that a value occupies.  Reshapes and the items of a fused node share the
storage of what they view; everything else has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from graphc.dims import Dim
from graphc.errors import PassError
from graphc.ir import Graph, Node
from graphc.lower.contraction import ContractionRegion, lower_contraction
from graphc.lower.region import Frame, Region, Store, frame_of, lower_region
from graphc.lower.rules import (
    Alias,
    AxisReduce,
    Callback,
    Contract,
    Control,
    Expand,
    Fused,
    Item,
    Leaf,
    Loop,
    Map,
)
from graphc.types import TensorType, TupleType


@dataclass(frozen=True)
class Storage:
    """Memory of one value: the node that computes it, and which of its results."""

    node: Node
    item: int = 0

    @property
    def type(self) -> TensorType:
        """Shape and dtype of the value."""
        kind = self.node.type
        return kind.items[self.item] if isinstance(kind, TupleType) else kind

    def __repr__(self) -> str:
        return f"<storage of {self.node.op.name}.{self.item} {self.node.type}>"


@dataclass(frozen=True)
class Part:
    """Memory that begins within a storage, so many elements behind its start."""

    storage: Storage
    offset: Dim


Body = Region | ContractionRegion | Loop | Callback | Control


@dataclass(frozen=True, eq=False)
class FusedGraph(Graph):
    """Sub-graph of a fused node: its inputs are placeholders for the node's operands."""

    frame: Frame = field(default_factory=lambda: Frame((), frozenset(), {}), repr=False)


@dataclass(frozen=True)
class Step:
    """One kernel launch (or callback).

    Attributes
    ----------
    node : Node
        The graph node that it computes.
    body : Region, ContractionRegion, Loop, Callback or Control
        How.
    reads : mapping of Node to Storage
        For each operand handle in the body, where its value lies.
    writes : mapping of Node to Storage
        For each result handle in the body, where it goes.
    members : tuple of Node
        The nodes that run fused in it, for printing.
    """

    node: Node
    body: Body
    reads: Mapping[Node, Storage]
    writes: Mapping[Node, Storage]
    members: tuple[Node, ...]


def storage_of(node: Node) -> Storage:
    """Return the memory in which the value of `node` lies."""
    item = 0
    while isinstance(node.op.lowering, (Alias, Item)):
        if isinstance(node.op.lowering, Item):
            item = node.attrs["index"]
        node = node.inputs[0]
    return Storage(node, item)


def lower_graph(graph: Graph) -> list[Step]:
    """Lower every node that computes something, in the graph's order."""
    skipped = (Leaf, Alias, Item)
    return [_lower(n) for n in graph.nodes if not isinstance(n.op.lowering, skipped)]


def _lower(node: Node) -> Step:
    rule = node.op.lowering
    if isinstance(rule, Fused):
        return _lower_fused(node)
    reads = {i: storage_of(i) for i in node.inputs}
    writes = {node: Storage(node)}
    if isinstance(rule, (Map, AxisReduce)):
        return Step(node, lower_region((node,), (node,), frame_of(node)), reads, writes, (node,))
    if isinstance(rule, Contract):
        return Step(node, lower_contraction((node,), (node,), frame_of(node)), reads, writes, (node,))
    if isinstance(rule, (Loop, Callback)):
        return Step(node, rule, reads, writes, (node,))
    if isinstance(rule, Control):
        results = [replace(node, type=t) for t in node.type.items] if isinstance(node.type, TupleType) else []
        return Step(node, rule, reads, {r: Storage(node, k) for k, r in enumerate(results)}, (node,))
    if isinstance(rule, Expand):
        raise PassError(
            f"{node.op.name} reached lowering unexpanded",
            expected="a pipeline that contains graphc.passes.Expand",
            given=f"{node.op.name} at {node.where}",
            where=node.where,
        )
    raise PassError(f"{node.op.name} has no lowering", where=node.where)


def _lower_fused(node: Node) -> Step:
    body: FusedGraph = node.payload
    members = tuple(n for n in body.nodes if not isinstance(n.op.lowering, Leaf))
    reads = {inner: storage_of(outer) for inner, outer in zip(body.inputs, node.inputs, strict=True)}
    writes = {out: Storage(node, k) for k, out in enumerate(body.outputs)}
    has_contraction = any(isinstance(n.op.lowering, Contract) for n in members)
    lower = lower_contraction if has_contraction else lower_region
    return Step(node, lower(members, body.outputs, body.frame), reads, writes, members)


def identity_reads(region: Region | ContractionRegion, handle: Node, store: Store) -> bool:
    """Tell whether `handle` is read only at the element that the store then overwrites.

    Then the result may take over the operand's memory.
    """
    last = region.written(store)
    return all(when <= last and index == store.position for when, index in region.loads.get(handle, ()))
