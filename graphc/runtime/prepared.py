"""What a program prepares once for many calls: packed weights, tables of offsets.

Some stages read nothing but constants and variables that their program never updates.  What
they fill lies outside the arena, once for each set of the sizes that they depend on.  Plans
share it, and it is filled again only after one of the variables changed.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from graphc import dims, leaves
from graphc.codegen.emitter import Scratch
from graphc.ir import Node
from graphc.lower.rules import Leaf
from graphc.lower.steps import Storage
from graphc.memory import ALIGNMENT, aligned
from graphc.runtime.layout import Launch, Layout, scratch_size

__all__ = ["Preparations", "Prepared", "Updates"]

Key = tuple[int, ...]


class Prepared:
    """The memory that one launch fills.

    Parameters
    ----------
    launch : Launch
        What fills it.
    sizes : mapping of Scratch to int
        What it fills, in bytes.
    below : sequence of Prepared
        What launches before it filled for it.

    Attributes
    ----------
    addresses : dict of Scratch to int
        Where each lies.
    size : int
        Bytes of all of them.
    variables : tuple of leaves.Storage
        The variables that the launch reads.
    count : int
        How often it was filled.
    """

    __slots__ = (
        "__weakref__",
        "_below",
        "_memory",
        "_state",
        "addresses",
        "count",
        "launch",
        "size",
        "variables",
    )

    def __init__(self, launch: Launch, sizes: Mapping[Scratch, int], below: Sequence[Prepared]) -> None:
        self.launch = launch
        self.size = sum(map(aligned, sizes.values()))
        payloads = [n.payload for n in _leaves(launch) if n is not None]
        self.variables = tuple(p for p in payloads if isinstance(p, leaves.Storage))
        self.count = 0
        self._below = tuple(below)
        self._memory = np.empty(self.size + ALIGNMENT, np.uint8)
        self._state: tuple[int, ...] | None = None
        start: int = self._memory.ctypes.data
        start += -start % ALIGNMENT
        self.addresses: dict[Scratch, int] = {}
        for scratch, size in sizes.items():
            self.addresses[scratch] = start
            start += aligned(size)
        for variable in self.variables:
            leaves.CHANGES.watch(variable)

    @property
    def stale(self) -> bool:
        """Whether it must be filled, for the first time or because a variable changed."""
        return self._state != tuple([v.changed for v in self.variables])

    def filled(self) -> None:
        """Note that it holds what belongs to the variables' present values."""
        self._state = tuple([v.changed for v in self.variables])
        self.count += 1


class Updates:
    """The variables that a program updates: programs that keep something of them hear of it."""

    __slots__ = ("_all", "_known", "_watched")

    def __init__(self, storages: Iterable[leaves.Storage]) -> None:
        self._all = tuple(storages)
        self._watched: tuple[leaves.Storage, ...] = ()
        self._known = 0

    def announce(self) -> None:
        """Say that they are about to change; what it costs does not grow with those that nobody watches."""
        if self._known != leaves.CHANGES.watched:
            self._known = leaves.CHANGES.watched
            self._watched = tuple([s for s in self._all if s.watched])
        if self._watched:
            leaves.CHANGES.note(self._watched)


class Preparations:
    """The launches of a program that need not run at every call, taken out of its layout.

    Parameters
    ----------
    layout : Layout
        That of the whole program.
    """

    def __init__(self, layout: Layout) -> None:
        self._launches = _take(layout)
        self._found: weakref.WeakValueDictionary[Key, Prepared] = weakref.WeakValueDictionary()

    def at(self, sizes: Mapping[str, int]) -> list[Prepared]:
        """Return what they fill for a program at these sizes, in order."""
        found: list[Prepared] = []
        for number, launch in enumerate(self._launches):
            fills = {s: dims.evaluate(scratch_size(s), sizes) for s in launch.stage.fills}
            key = (number, *(dims.evaluate(d, sizes) for d in launch.stage.sizes), *fills.values())
            prepared = self._found.get(key)
            if prepared is None:
                below = [p for p in found if p.launch.step is launch.step]
                prepared = self._found[key] = Prepared(launch, fills, below)
            found.append(prepared)
        return found


def _take(layout: Layout) -> list[Launch]:
    """Take out of a layout, and of those nested in it, what reads constants and lasting variables only."""
    found = [
        launch for launch in layout.launches if launch.sources is not None and None not in _leaves(launch)
    ]
    taken = frozenset(found)
    layout.launches = tuple(launch for launch in layout.launches if launch not in taken)
    for launch in found:
        launch.layout.kept.update(launch.stage.fills)
    for launch in layout.launches:
        for inner in launch.nested:
            found += _take(inner)
    return found


def _leaves(launch: Launch) -> list[Node | None]:
    """Return the constants and variables that a launch depends on, None for anything that may change."""
    return [_leaf(launch.layout, storage) for storage in launch.sources or ()]


def _leaf(layout: Layout, storage: Storage) -> Node | None:
    """Return the constant, or the variable that the program does not update, in which a value lies."""
    lies = layout.assignment.resolve(storage)
    if layout.outer is None:
        return lies.node if layout.assignment.lasting(lies) else None
    place = layout.outside.get(lies)
    if place is None:
        return _leaf(layout.outer, lies) if isinstance(lies.node.op.lowering, Leaf) else None
    if place.stride is not None or not isinstance(place.handle, Storage):
        return None
    return _leaf(layout.outer, place.handle)
