"""Which values to compute again: a simulation of live memory, and a greedy choice.

The steps of a graph stand in a fixed order.  A node that is *dropped* forgets its results
after an early use and computes them again, once, right before the first use behind a gap.
Nodes dropped one behind the other compute their copies in a chain, which starts from the last
value that was kept: a segment between two checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from graphc import costs, dims
from graphc.dims import Dim
from graphc.errors import PassError
from graphc.ir import Graph, Node
from graphc.lower.rules import AxisReduce, Contract, Fused, Leaf, Loop, Map, Site
from graphc.lower.steps import Storage, storage_of
from graphc.ordering import launches, thrifty, updates_last
from graphc.types import TupleType

__all__ = ["Candidate", "Plan"]

# Pure computations that a kernel can repeat; calls of users' functions and loops are not among them.
_RUN = 4
_REPEATABLE = (Map, AxisReduce, Contract, Loop, Fused)


@dataclass(frozen=True)
class Candidate:
    """A node that could be dropped.

    Attributes
    ----------
    node : Node
        The node.
    cut : int
        Position of the last use before the gap.
    gain : int
        Bytes that would not live at the peak.
    cost : float
        Microseconds that computing it again takes.
    score : float
        Bytes times positions that they would not live, by the cost.
    """

    node: Node
    cut: int
    gain: int
    cost: float
    score: float


@dataclass
class Plan:
    """What is computed again, and the memory that this takes.

    Attributes
    ----------
    order : list of Node
        The nodes that compute something, in the order of their steps.
    late : set of Node
        Those that produce new values of variables, or depend on such.
    cut : dict of Node to int
        The dropped nodes: position of the last use of the first value.
    first : dict of Node to int
        For every dropped node, the position before which it is computed again.
    """

    order: list[Node]
    late: set[Node]
    kept: frozenset[Storage]
    sizes: Mapping[str, int]
    cut: dict[Node, int] = field(default_factory=dict)
    first: dict[Node, int] = field(default_factory=dict)
    reads: list[tuple[Storage, ...]] = field(default_factory=list)
    writes: dict[Node, tuple[Storage, ...]] = field(default_factory=dict)
    position: dict[Node, int] = field(default_factory=dict)
    bytes: dict[Storage, int] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: Graph, sizes: Mapping[str, int]) -> Plan:
        """Return the plan that computes nothing again."""
        steps, late = updates_last(graph, launches(graph))
        # The order that steps will be in once much is dropped.
        steps = thrifty(graph, steps, late, always=True)
        plan = cls([s.node for s in steps], late, frozenset(storage_of(n) for n in graph.roots), sizes)
        plan.position = {n: i for i, n in enumerate(plan.order)}
        for step in steps:
            plan.reads.append(tuple(s for s in dict.fromkeys(step.reads.values()) if plan.counts(s)))
            plan.writes[step.node] = tuple(s for s in step.writes.values() if plan.counts(s))
            for storage in plan.writes[step.node]:
                plan.bytes[storage] = plan.size(storage.type.shape) * storage.type.dtype.itemsize
        return plan

    def counts(self, storage: Storage) -> bool:
        """Tell whether a storage is a temporary."""
        return storage not in self.kept and not isinstance(storage.node.op.lowering, Leaf)

    def size(self, shape: Sequence[Dim]) -> int:
        """Return how many elements a shape has; a name without a size counts as `costs.NAMED`."""
        whole = dims.product(tuple(shape))
        return dims.evaluate(whole, {n: self.sizes.get(n, costs.NAMED) for n in dims.names(whole)})

    # -- the timeline
    def events(self) -> list[tuple[int, Node, bool]]:
        """Return what is computed in order: position, node, and whether it is a copy."""
        copies: dict[int, list[Node]] = {}
        for node in sorted(self.first, key=self.position.__getitem__):
            copies.setdefault(self.first[node], []).append(node)
        found = []
        for i, node in enumerate(self.order):
            found += [(i, copy, True) for copy in copies.get(i, ())]
            found.append((i, node, False))
        return found

    def is_late(self, node: Node, at: int) -> bool:
        """Tell whether a reader at a position reads the copy of a node."""
        return node in self.first and at >= self.first[node]

    def read(self) -> dict[tuple[Storage, bool], int]:
        """Return for every temporary that is read, or its copy, the number of the last event that does."""
        last: dict[tuple[Storage, bool], int] = {}
        for k, (at, node, _) in enumerate(self.events()):
            for storage in self.reads[self.position[node]]:
                last[storage, self.is_late(storage.node, at)] = k
        return last

    def peak(self) -> tuple[int, int]:
        """Return the most bytes that live at one time, and the position where they do."""
        events, last = self.events(), self.read()
        ends: dict[int, int] = {}
        live, most = 0, (0, 0)
        for k, (at, node, copy) in enumerate(events):
            made = [(s, copy) for s in self.writes[node] if (s, copy) in last]
            for key in made:
                live += self.bytes[key[0]]
                ends[last[key]] = ends.get(last[key], 0) + self.bytes[key[0]]
            most = max(most, (live, -at))
            live -= ends.pop(k, 0)
        return most[0], -most[1]

    def users(self) -> dict[Storage, list[int]]:
        """Return for every temporary the positions at which it is read, in order; copies read as well."""
        found: dict[Storage, list[int]] = {s: [] for some in self.writes.values() for s in some}
        for at, node, _ in self.events():
            for storage in self.reads[self.position[node]]:
                found[storage].append(at)
        return found

    # -- the choice
    def shrink(self, budget: int) -> list[Candidate]:
        """Drop nodes until the peak is within the budget, or nothing helps; return what was dropped.

        Two ways are tried.  One by one, what frees most for its cost goes first, which is best for
        budgets not far below the peak.  Segments of equal size, of which all but the last value go
        (Chen and others, 2016, algorithm 3), are best for the smallest.
        """
        if self.peak()[0] <= budget:
            return []
        trials = [self._one_by_one(budget), *(self._segments(size) for size in self._segment_sizes())]
        rated = [(self._rate(t, budget), k) for k, t in enumerate(trials)]
        best = self._restored(trials[min(rated)[1]], budget)
        self._rate(best, budget)
        return best

    def _rate(self, dropped: Sequence[Candidate], budget: int) -> tuple[int, float]:
        """Drop these and no others; return by how much they miss the budget, and what they cost."""
        self.cut = {c.node: c.cut for c in dropped}
        self._place_copies()
        return max(self.peak()[0] - budget, 0), sum(c.cost for c in dropped)

    def _one_by_one(self, budget: int) -> list[Candidate]:
        dropped: list[Candidate] = []
        missed, _ = self._rate(dropped, budget)
        best, length = missed, 0
        while missed:
            chosen = self._chosen(self.peak()[1], missed)
            if not chosen:
                break
            dropped += chosen
            missed, _ = self._rate(dropped, budget)
            if missed < best:
                best, length = missed, len(dropped)
        # What was dropped after the best plan only cost time.
        return dropped[:length]

    def _segment_sizes(self) -> list[int]:
        self._rate((), 0)
        whole = self.peak()[0]
        return [whole // parts for parts in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)]

    def _segments(self, size: int) -> list[Candidate]:
        """Return what lives at the peak, without one value behind each `size` bytes."""
        self._rate((), 0)
        at, users = self.peak()[1], self.users()
        dropped: list[Candidate] = []
        filled = 0
        for candidate in (self._candidate(n, at, users) for n in self.order[:at]):
            if candidate is None:
                continue
            filled += candidate.gain
            if filled > size:
                filled = 0
            else:
                dropped.append(candidate)
        return dropped

    def _restored(self, dropped: list[Candidate], budget: int) -> list[Candidate]:
        """Return the nodes without runs of them, the last first, that need not be dropped."""
        allowed, _ = self._rate(dropped, budget)
        for start in range(max(len(dropped) - _RUN, 0), -_RUN, -_RUN):
            fewer = dropped[: max(start, 0)] + dropped[start + _RUN :]
            if self._rate(fewer, budget)[0] <= allowed:
                dropped = fewer
        return dropped

    def _place_copies(self) -> None:
        """Find the position of every copy: the first use behind the gap, by a step or by another copy."""
        self.first = {}
        uses: dict[Node, list[int]] = {n: [] for n in self.cut}
        for i, some in enumerate(self.reads):
            for storage in some:
                if storage.node in uses:
                    uses[storage.node].append(i)
        for node in sorted(self.cut, key=self.position.__getitem__, reverse=True):
            self.first[node] = min(u for u in uses[node] if u > self.cut[node])
            for storage in self.reads[self.position[node]]:
                if storage.node in uses:
                    uses[storage.node].append(self.first[node])

    def _chosen(self, at: int, excess: int) -> list[Candidate]:
        """Return nodes to drop, best first, that free what is too much at a position."""
        users = self.users()
        found = (self._candidate(n, at, users) for n in self.order[:at] if n not in self.cut)
        ranked = sorted((c for c in found if c is not None), key=lambda c: -c.score)
        chosen: list[Candidate] = []
        busy: set[Node] = set()
        freed = 0
        for candidate in ranked:
            if freed >= excess:
                break
            # What a copy reads must not be dropped in the same round: the estimate would not hold.
            sources = {s.node for s in self.reads[self.position[candidate.node]]}
            if candidate.node in busy or sources & {c.node for c in chosen}:
                continue
            chosen.append(candidate)
            busy |= sources
            freed += candidate.gain
        return chosen

    def _candidate(self, node: Node, at: int, users: Mapping[Storage, list[int]]) -> Candidate | None:
        results = self.writes[node]
        types = len(node.type.items) if isinstance(node.type, TupleType) else 1
        pure = isinstance(node.op.lowering, _REPEATABLE) and any(i.op.name != "constant" for i in node.inputs)
        if len(results) < types or not pure:
            return None
        uses = sorted(u for s in results for u in users[s])
        cut = max((u for u in uses if u <= at), default=self.position[node])
        behind = [u for u in uses if u > at]
        if cut == at or not behind or node in self.late:
            return None
        gain = sum(self.bytes[s] for s in results if users[s] and users[s][-1] > at)
        gain -= sum(self.bytes[s] for s in self.reads[self.position[node]] if self._ends(s, at, users))
        if gain <= 0:
            return None
        cost = self.microseconds(node)
        return Candidate(node, cut, gain, cost, gain * (behind[0] - cut) / cost)

    def _ends(self, storage: Storage, at: int, users: Mapping[Storage, list[int]]) -> bool:
        """Tell whether a copy's operand would have to live at a position where otherwise it does not."""
        if storage.node in self.cut:
            return False
        return users[storage][-1] < at

    # -- costs
    def microseconds(self, node: Node) -> float:
        """Return an estimate of how long it takes to compute a node."""
        members = node.payload.nodes if isinstance(node.payload, Graph) else (node,)
        arithmetic = sum(self._multiplications(n) for n in members if n.inputs) / costs.MULTIPLICATIONS
        moved = sum(self.bytes[s] for s in (*self.writes[node], *self.reads[self.position[node]]))
        rate = costs.NEAR_BYTES if moved <= costs.NEAR else costs.FAR_BYTES
        return costs.LAUNCH + arithmetic + moved / rate

    def _multiplications(self, node: Node) -> float:
        rule = node.op.lowering
        if isinstance(rule, Contract):
            spec = rule.fn(Site(node.type, tuple(i.type for i in node.inputs), node.attrs, _no_element))
            return self.size((*spec.batch, *spec.rows, *spec.cols, *spec.inner))
        source = node.inputs[0] if isinstance(rule, AxisReduce) else node
        # Elementwise arithmetic runs at a fraction of a product's speed.
        return 4.0 * node.op.cost * self.size(source.type.shape)


def _no_element(k: int, index: object) -> NoReturn:
    raise PassError("only the extents of a contraction are asked for")
