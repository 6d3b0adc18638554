"""Memory: which values share a buffer, which are written in place, and where each lies.

Decided once per program, without knowing any size: the order of steps, which results take over an
operand's memory, which variables are updated in place.  Where the rest lies is decided for each set
of sizes, in `graphc.placement`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from graphc.concatenation import place_parts
from graphc.control.loop import Loop
from graphc.dims import Dim
from graphc.ir import Graph, Node
from graphc.leaves import PLACEHOLDER
from graphc.lower.contraction import ContractionRegion
from graphc.lower.region import Region, Store
from graphc.lower.rules import Callback, Leaf
from graphc.lower.steps import Part, Step, Storage, identity_reads, storage_of
from graphc.ordering import thrifty, updates_last


@dataclass
class Assignment:
    """The program's memory decisions, valid for every size.

    Attributes
    ----------
    order : list of Step
        Steps in execution order.
    home : dict of Storage to Storage
        Where a storage really lies when it is not its own: the chain of in-place reuse.
    in_place : dict of Node to Storage
        Variables whose new value is written directly into them.
    committed : list of (Node, Storage)
        Variables whose new value is computed aside and copied when all checks have passed.
    lifetimes : dict of Storage to (int, int)
        First and last step of every temporary.
    parts : dict of Storage to Part
        Values that lie within another one: see `graphc.concatenation`.
    fixed : frozenset of Node
        Placeholders of a loop's body that stand for the same value in all of its many iterations.
    """

    order: list[Step]
    home: dict[Storage, Storage] = field(default_factory=dict)
    in_place: dict[Node, Storage] = field(default_factory=dict)
    committed: list[tuple[Node, Storage]] = field(default_factory=list)
    lifetimes: dict[Storage, tuple[int, int]] = field(default_factory=dict)
    parts: dict[Storage, Part] = field(default_factory=dict)
    fixed: frozenset[Node] = frozenset()

    def aliases(self, step: Step) -> dict[object, object]:
        """Return, for handles of a step that lie in one memory, the handle that names it.

        Kernels take every memory through one parameter, so that pointers never alias.
        """
        handles: list[tuple[object, Storage]] = [*step.reads.items()]
        handles += [(("out", node), storage) for node, storage in step.writes.items()]
        return self.shared(handles)

    def shared(self, handles: Iterable[tuple[object, Storage]]) -> dict[object, object]:
        """Return, for those of the given handles that lie in one memory, the first one of them."""
        named: dict[Storage, object] = {}
        same: dict[object, object] = {}
        for handle, storage in handles:
            lies = self.resolve(storage)
            if named.setdefault(lies, handle) is not handle:
                same[handle] = named[lies]
        return same

    def resolve(self, storage: Storage) -> Storage:
        """Return where `storage` really lies."""
        while storage in self.home:
            storage = self.home[storage]
        return storage

    def lasting(self, storage: Storage) -> bool:
        """Tell whether a storage keeps its value from call to call: no call brings it, no step writes it.

        It is a constant, or a variable that the program does not update.
        """
        node = self.resolve(storage).node
        if not isinstance(node.op.lowering, Leaf) or node.op is PLACEHOLDER:
            return False
        return node not in self.in_place and all(node is not variable for variable, _ in self.committed)

    def outlasts(self, storage: Storage) -> bool:
        """Tell whether a storage keeps its value from one run of the steps to the next."""
        return self.resolve(storage).node in self.fixed or self.lasting(storage)

    def room(self, storage: Storage) -> Storage:
        """Return the value whose room in memory holds `storage`: the whole of which it is a part."""
        lies = self.resolve(storage)
        return self.parts[lies].storage if lies in self.parts else lies


def assign(graph: Graph, steps: Sequence[Step], checked: frozenset[Node]) -> Assignment:
    """Decide order, sharing and in-place updates.

    Parameters
    ----------
    graph : Graph
        The optimized graph.
    steps : sequence of Step
        Its steps, in topological order.
    checked : frozenset of Node
        Nodes whose steps may fail at run time; none of them may run after a variable
        has been written.
    """
    before = _before_checks(steps, checked)
    order, late = updates_last(graph, steps, before)
    result = Assignment(thrifty(graph, order, late, before))
    _place_updates(graph, result, late)
    settled = (*result.home, *result.in_place.values(), *(s for _, s in result.committed))
    result.order, result.parts = place_parts(graph, result.order, settled)
    _share_dying_operands(graph, result)
    _measure_lifetimes(result)
    return result


def _before_checks(steps: Sequence[Step], checked: frozenset[Node]) -> set[Node]:
    """Return the steps that may fail, and those that they depend on: no variable may change before."""
    needed: set[Storage] = set()
    found: set[Node] = set()
    for step in reversed(steps):
        fails = step.node in checked or isinstance(step.body, Callback)
        if fails or any(s in needed for s in step.writes.values()):
            found.add(step.node)
            needed.update(step.reads.values())
    return found


def _place_updates(graph: Graph, result: Assignment, late: set[Node]) -> None:
    position = {step.node: i for i, step in enumerate(result.order)}
    readers: dict[Storage, list[int]] = {}
    for i, step in enumerate(result.order):
        for storage in step.reads.values():
            readers.setdefault(storage, []).append(i)
    taken: set[Storage] = set()
    for variable, value in graph.updates:
        storage, target = storage_of(value), Storage(variable)
        safe = storage not in taken and storage.node in late
        if safe and _can_write(result, storage, target, position, readers):
            taken.add(storage)
            result.in_place[variable] = storage
            result.home[storage] = target
        elif storage != target:
            result.committed.append((variable, storage))


def _can_write(
    result: Assignment,
    storage: Storage,
    target: Storage,
    position: Mapping[Node, int],
    readers: Mapping[Storage, list[int]],
) -> bool:
    """Tell whether the step that computes `storage` may write straight into the variable `target`."""
    if isinstance(storage.node.op.lowering, Leaf) or storage.node not in position:
        return False
    at = position[storage.node]
    if any(r > at for r in readers.get(target, ())):
        return False
    step = result.order[at]
    if target not in step.reads.values():
        return True
    return _identical(step, storage, target)


def _identical(step: Step, storage: Storage, source: Storage) -> bool:
    """Tell whether every operand that lies in `source` is read just where `storage` is written."""
    if not isinstance(step.body, (Region, ContractionRegion)):
        return False
    store = _store_of(step, storage)
    handles = [h for h, s in step.reads.items() if s == source]
    if store is None or any(h.type != store.node.type for h in handles):
        return False
    return all(identity_reads(step.body, h, store) for h in handles)


def _store_of(step: Step, storage: Storage) -> Store | None:
    if not isinstance(step.body, (Region, ContractionRegion)):
        return None
    return next((s for s in step.body.stores if step.writes[s.node] == storage), None)


def _share_dying_operands(graph: Graph, result: Assignment) -> None:
    """Let a result take over the memory of an operand that is read for the last time."""
    kept = {result.resolve(storage_of(n)) for n in graph.outputs}
    last: dict[Storage, int] = {}
    for i, step in enumerate(result.order):
        for storage in step.reads.values():
            last[result.resolve(storage)] = i
    kept |= {storage for _, storage in result.committed}
    # A part lives as long as the whole, and may be read while the whole takes no new values.
    kept |= {*result.parts, *(p.storage for p in result.parts.values())}
    for i, step in enumerate(result.order):
        if step.node.op.name == "loop":
            _carry_in_place(result, step, i, last, kept)
        if not isinstance(step.body, (Region, ContractionRegion)):
            continue
        used: set[Storage] = set()
        for store in step.body.stores:
            target = step.writes[store.node]
            if target in result.home or target in kept:
                continue
            source = _dying(result, step, store, i, last, kept | used)
            if source is not None:
                used.add(source)
                result.home[target] = source
                last[source] = max(last.get(target, i), i)


def _carry_in_place(
    result: Assignment, step: Step, at: int, last: dict[Storage, int], kept: set[Storage]
) -> None:
    """Let a loop carry values where their first ones lie, if nothing else reads these."""
    loop = Loop.of(step.node)
    sources = [result.resolve(storage_of(n)) for n in loop.inputs]
    for k, init in enumerate(loop.inits):
        source, target = result.resolve(storage_of(init)), Storage(step.node, k)
        leaf = isinstance(source.node.op.lowering, Leaf)
        free = not leaf and source not in kept and last.get(source) == at and sources.count(source) == 1
        if free and target not in kept and target not in result.home:
            result.home[target] = source
            last[source] = max(last.get(target, at), at)


def _dying(
    result: Assignment, step: Step, store: Store, at: int, last: Mapping[Storage, int], kept: set[Storage]
) -> Storage | None:
    for handle, storage in step.reads.items():
        source = result.resolve(storage)
        leaf = isinstance(source.node.op.lowering, Leaf)
        if leaf or source in kept or last.get(source) != at or handle.type != store.node.type:
            continue
        same = [h for h, s in step.reads.items() if result.resolve(s) == source]
        region = step.body
        if isinstance(region, (Region, ContractionRegion)) and all(
            h.type == handle.type and identity_reads(region, h, store) for h in same
        ):
            return source
    return None


def _measure_lifetimes(result: Assignment) -> None:
    end = len(result.order)
    for i, step in enumerate(result.order):
        for storage in (*step.writes.values(), *step.reads.values()):
            lies = result.room(storage)
            if not isinstance(lies.node.op.lowering, Leaf):
                first, _ = result.lifetimes.get(lies, (i, i))
                result.lifetimes[lies] = (first, i)
    for _, storage in result.committed:
        lies = result.resolve(storage)
        if lies in result.lifetimes:
            result.lifetimes[lies] = (result.lifetimes[lies][0], end)


def byte_size(storage: Storage) -> Dim:
    """Return the size of a storage in bytes."""
    return storage.type.size * storage.type.dtype.itemsize
