"""The order of steps: what frees memory runs as soon as it can.

A graph lists its nodes as its outputs need them, one after the other.  The gradients of all
weights then come last, and until then keep alive every value and cotangent that they read.
Here steps run in the order of the graph, but one that takes hardly more than it frees runs at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from graphc.costs import NEAR, elements
from graphc.ir import Graph, Node
from graphc.lower.rules import Alias, Barrier, Callback, Item, Leaf
from graphc.lower.steps import Step, Storage, storage_of
from graphc.types import TupleType

__all__ = ["launches", "thrifty", "updates_last"]

# Bytes that another order must save: as written, steps are good for caches and easy to follow.
WORTHWHILE = NEAR
# Bytes that do not count: what scalars that an optimizer's updates wait for take.
SMALL = 1 << 12


def thrifty(
    graph: Graph,
    steps: Sequence[Step],
    late: Collection[Node],
    before: Collection[Node] = (),
    *,
    always: bool = False,
) -> list[Step]:
    """Return the steps in an order that needs less memory, or as they are if that hardly differs.

    Parameters
    ----------
    graph : Graph
        The optimized graph.
    steps : sequence of Step
        Its steps, operands first, those of `late` last.
    late : collection of Node
        Nodes of steps that produce new values of variables, or depend on such.  They stay
        behind the other steps that read these variables.
    before : collection of Node
        Nodes of steps that no late step may precede.
    always : bool
        Whether to return the new order whatever it saves.
    """
    problem = _Problem.of(graph, steps, late, before)
    order = list(problem.schedule())
    first, then = problem.peak(range(len(steps))), problem.peak(order)
    # Who computes values again wants to save memory.
    least = 1 if any(isinstance(n.op.lowering, Barrier) for n in graph.nodes) else WORTHWHILE
    return [steps[i] for i in order] if always or first - then >= least else list(steps)


def launches(graph: Graph) -> list[Step]:
    """Return a step for every node that computes something, for planning: none is lowered."""
    return [_launch(n) for n in graph.nodes if not isinstance(n.op.lowering, (Alias, Item, Leaf))]


def _launch(node: Node) -> Step:
    items = node.type.items if isinstance(node.type, TupleType) else (node.type,)
    writes = {Node(node.op, (), node.attrs, t): Storage(node, k) for k, t in enumerate(items)}
    return Step(node, Callback(), {i: storage_of(i) for i in node.inputs}, writes, (node,))


def updates_last(
    graph: Graph, steps: Sequence[Step], before_checks: Collection[Node] = ()
) -> tuple[list[Step], set[Node]]:
    """Put steps that produce new values of variables, and what depends on them, last; also return these.

    Not those that a check depends on: what they produce is kept aside until all checks have passed.
    """
    writers = {storage_of(value) for _, value in graph.updates}
    delayed: set[Storage] = set()
    early: list[Step] = []
    late: list[Step] = []
    for step in steps:
        depends = any(s in delayed for s in step.reads.values())
        produces = any(s in writers for s in step.writes.values())
        if step.node not in before_checks and (depends or produces):
            delayed.update(step.writes.values())
            late.append(step)
        else:
            early.append(step)
    return early + late, {step.node for step in late}


@dataclass
class _Problem:
    """Steps by number: which temporaries they read and write, and which steps come before.

    Attributes
    ----------
    reads, writes : list of tuple of Storage
        Temporaries; neither variables nor results of the program.
    users : dict of Storage to set of int
        The steps that read each temporary.
    followers : list of set of int
        For each step, those that must run after it.
    """

    reads: list[tuple[Storage, ...]]
    writes: list[tuple[Storage, ...]]
    size: dict[Storage, int]
    users: dict[Storage, set[int]]
    followers: list[set[int]] = field(default_factory=list)

    @classmethod
    def of(
        cls, graph: Graph, steps: Sequence[Step], late: Collection[Node], before: Collection[Node]
    ) -> _Problem:
        """Return the problem of ordering `steps`."""
        kept = {storage_of(n) for n in graph.roots}
        reads = [
            tuple(s for s in dict.fromkeys(step.reads.values()) if _is_temporary(s, kept)) for step in steps
        ]
        writes = [tuple(s for s in dict.fromkeys(step.writes.values()) if s not in kept) for step in steps]
        size = {s: elements(s.type.shape) * s.type.dtype.itemsize for some in (*reads, *writes) for s in some}
        users: dict[Storage, set[int]] = {s: set() for s in size}
        for i, some in enumerate(reads):
            for storage in some:
                users[storage].add(i)
        found = cls(reads, writes, size, users)
        found.followers = _followers(graph, steps, late, before)
        return found

    def peak(self, order: Iterable[int]) -> int:
        """Return the most bytes that live at one time."""
        left = {s: len(users) for s, users in self.users.items()}
        live = most = 0
        for i in order:
            live += sum(self.size[s] for s in self.writes[i])
            most = max(most, live)
            for storage in self.reads[i]:
                left[storage] -= 1
            gone = [s for s in (*self.reads[i], *self.writes[i]) if not left[s]]
            live -= sum(self.size[s] for s in dict.fromkeys(gone))
        return most

    def schedule(self) -> Iterator[int]:
        """Yield the steps in order: the one that frees most, or else the first."""
        waits = [0] * len(self.reads)
        for some in self.followers:
            for j in some:
                waits[j] += 1
        left = {s: set(users) for s, users in self.users.items()}
        ready = [i for i, count in enumerate(waits) if not count]
        freeing = [(self._net(i, left), i) for i in ready]
        heapq.heapify(freeing)
        done: set[int] = set()
        while ready:
            i = self._next(ready, freeing, left, done)
            done.add(i)
            yield i
            for storage in self.reads[i]:
                left[storage].discard(i)
            changed = {j for s in self.reads[i] if len(left[s]) == 1 for j in left[s]}
            for j in self.followers[i]:
                waits[j] -= 1
                if not waits[j]:
                    heapq.heappush(ready, j)
                    changed.add(j)
            for j in changed:
                if not waits[j]:
                    heapq.heappush(freeing, (self._net(j, left), j))
            while ready and ready[0] in done:
                heapq.heappop(ready)

    def _next(
        self,
        ready: list[int],
        freeing: list[tuple[int, int]],
        left: Mapping[Storage, Collection[int]],
        done: Collection[int],
    ) -> int:
        while freeing and freeing[0][0] < SMALL:
            net, i = heapq.heappop(freeing)
            # A step's entry is pushed again whenever it would free more.
            if i not in done and net == self._net(i, left):
                return i
        return heapq.heappop(ready)

    def _net(self, i: int, left: Mapping[Storage, Collection[int]]) -> int:
        """Return how many bytes more live after a step than before it."""
        taken = sum(self.size[s] for s in self.writes[i] if self.users[s])
        return taken - sum(self.size[s] for s in self.reads[i] if len(left[s]) == 1)


def _is_temporary(storage: Storage, kept: Collection[Storage]) -> bool:
    return storage not in kept and not isinstance(storage.node.op.lowering, Leaf)


# ------------------------------------------------------------------ dependences
def _followers(
    graph: Graph, steps: Sequence[Step], late: Collection[Node], before: Collection[Node]
) -> list[set[int]]:
    followers: list[set[int]] = [set() for _ in steps]
    writer = {s: i for i, step in enumerate(steps) for s in step.writes.values()}
    updated = {storage_of(value): variable for variable, value in graph.updates}
    readers: dict[Node, list[int]] = {}
    first: list[int] = []
    for i, step in enumerate(steps):
        is_late = step.node in late
        needs = {writer[s] for s in step.reads.values() if s in writer}
        needs |= {writer[s] for s in _waited_for(step.node) if s in writer}
        if is_late:
            changed = [updated[s] for s in step.writes.values() if s in updated]
            needs.update(first, *(readers.get(v, ()) for v in changed))
        else:
            for storage in step.reads.values():
                readers.setdefault(storage.node, []).append(i)
            if step.node in before:
                first.append(i)
        for j in needs - {i}:
            followers[j].add(i)
    return followers


def _waited_for(node: Node) -> Iterator[Storage]:
    """Yield what the barriers wait for through which a step reads its operands."""
    for operand in node.inputs:
        source = operand
        while isinstance(source.op.lowering, (Alias, Item)):
            if isinstance(source.op.lowering, Barrier):
                yield from map(storage_of, source.inputs[1:])
            source = source.inputs[0]
