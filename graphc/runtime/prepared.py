"""What a program prepares once for many calls: packed weights, tables of offsets.

Some stages read nothing but constants and variables that their program never updates.  What
they fill lies outside the arena, once for each set of the sizes that they depend on.  Plans
share it, and it is filled again only after one of the variables changed.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from graphc import dims
from graphc.placement import ALIGNMENT, aligned
from graphc.runtime.image import Image, Preparation
from graphc.state import CHANGES, Storage

__all__ = ["Preparations", "Prepared", "Updates"]

Key = tuple[int, ...]


class Prepared:
    """The memory that one call fills.

    Parameters
    ----------
    preparation : Preparation
        What fills it.
    sizes : mapping of int to int
        The bytes of what it fills, by number.
    below : sequence of Prepared
        What calls before it filled for it.
    leaves : iterable
        The payloads of the leaves that it reads.

    Attributes
    ----------
    call : Call
        What fills it.
    group : int
        Calls of one group prepare one kernel.
    addresses : dict of int to int
        Where each lies.
    size : int
        Bytes of all of them.
    variables : tuple of Storage
        The variables that the call reads.
    count : int
        How often it was filled.
    """

    __slots__ = (
        "__weakref__",
        "_below",
        "_memory",
        "_state",
        "addresses",
        "call",
        "count",
        "group",
        "size",
        "variables",
    )

    def __init__(
        self,
        preparation: Preparation,
        sizes: Mapping[int, int],
        below: Sequence[Prepared],
        leaves: Iterable[object],
    ) -> None:
        self.call = preparation.call
        self.group = preparation.group
        self.size = sum(map(aligned, sizes.values()))
        self.variables = tuple(p for p in leaves if isinstance(p, Storage))
        self.count = 0
        self._below = tuple(below)
        self._memory = np.empty(self.size + ALIGNMENT, np.uint8)
        self._state: tuple[int, ...] | None = None
        start: int = self._memory.ctypes.data
        start += -start % ALIGNMENT
        self.addresses: dict[int, int] = {}
        for number, size in sizes.items():
            self.addresses[number] = start
            start += aligned(size)
        for variable in self.variables:
            CHANGES.watch(variable)

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

    def __init__(self, storages: Iterable[Storage]) -> None:
        self._all = tuple(storages)
        self._watched: tuple[Storage, ...] = ()
        self._known = 0

    def announce(self) -> None:
        """Say that they are about to change; what it costs does not grow with those that nobody watches."""
        if self._known != CHANGES.watched:
            self._known = CHANGES.watched
            self._watched = tuple([s for s in self._all if s.watched])
        if self._watched:
            CHANGES.note(self._watched)


class Preparations:
    """What a program prepares, at all sizes.

    Parameters
    ----------
    image : Image
        The program's.
    leaves : sequence
        The payloads of its leaves, by number.
    """

    def __init__(self, image: Image, leaves: Sequence[object]) -> None:
        self._preparations = image.preparations
        self._leaves = leaves
        self._found: weakref.WeakValueDictionary[Key, Prepared] = weakref.WeakValueDictionary()

    def at(self, sizes: Mapping[str, int]) -> list[Prepared]:
        """Return what is prepared for a program at these sizes, in order."""
        found: list[Prepared] = []
        for number, preparation in enumerate(self._preparations):
            fills = {f.number: dims.evaluate(f.size, sizes) for f in preparation.fills}
            key = (number, *(dims.evaluate(d, sizes) for d in preparation.sizes), *fills.values())
            prepared = self._found.get(key)
            if prepared is None:
                below = [p for p in found if p.group == preparation.group]
                payloads = [self._leaves[k] for k in preparation.leaves]
                prepared = self._found[key] = Prepared(preparation, fills, below, payloads)
            found.append(prepared)
        return found
