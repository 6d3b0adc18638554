"""The memory of constants and variables, which programs share, and who must hear when it changes."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from graphc.leaves import Variable

__all__ = ["CHANGES", "STATE_LOCK", "Changes", "ConstantData", "Storage"]

Array = np.ndarray[Any, Any]
# One lock for all variables: a program's updates land together, so readers must see all or none.
STATE_LOCK = threading.RLock()
# Elements at either end that a constant is told by at a glance.
SKETCHED = 8


class Changes:
    """Counts changes of the variables that programs have kept something of, such as packed weights.

    Whoever changes a variable's memory says so under `STATE_LOCK`.

    Attributes
    ----------
    count : int
        Changes of watched variables so far; what was made of them is good while it stays.
    watched : int
        How many variables are watched.
    """

    __slots__ = ("count", "watched")

    def __init__(self) -> None:
        self.count = self.watched = 0

    def watch(self, storage: Storage) -> None:
        """Count changes of a variable from now on."""
        if not storage.watched:
            storage.watched = True
            self.watched += 1

    def note(self, storages: Iterable[Storage]) -> None:
        """Count a change of watched variables."""
        self.count += 1
        for storage in storages:
            storage.changed = self.count


CHANGES = Changes()


class Storage:
    """The memory of a variable: one C-contiguous, 64-byte aligned array that never moves.

    Programs write into it in place, so every program that names the variable sees the
    same value, and addresses baked into argument blocks stay valid.
    """

    __slots__ = ("__weakref__", "array", "changed", "handle", "lock", "trainable", "watched")

    def __init__(self, array: Array, trainable: bool = False) -> None:
        self.array = array
        self.lock = STATE_LOCK
        self.trainable = trainable
        # See `Changes`: the count at the latest change, and whether changes are counted at all.
        self.changed = 0
        self.watched = False
        # Weak, so that dropping the last handle and node frees the memory at once.
        self.handle: weakref.ref[Variable] | None = None

    @classmethod
    def of(cls, value: Array, trainable: bool = False) -> Storage:
        """Return new memory that holds a copy of `value`."""
        raw = np.empty(value.nbytes + 64, np.uint8)
        start = -raw.ctypes.data % 64
        array: Array = raw[start : start + value.nbytes].view(value.dtype).reshape(value.shape)
        array[...] = value
        return cls(array, trainable)


@dataclass(frozen=True, eq=False)
class ConstantData:
    """A constant's read-only array."""

    array: Array

    @cached_property
    def sketch(self) -> tuple[object, ...]:
        """What tells most constants apart at once: the type and a few elements."""
        ends = self.array.flat[:SKETCHED], self.array.flat[-SKETCHED:]
        return (self.array.dtype, self.array.shape, *(part.tobytes() for part in ends))

    def equals(self, other: ConstantData) -> bool:
        """Tell whether the other one has the same type and elements, bit by bit."""
        return self is other or (self.sketch == other.sketch and self.digest == other.digest)

    @cached_property
    def digest(self) -> str:
        """By what equal constants are told in files and listings: a hash of the type and the elements."""
        found = hashlib.sha256(f"{self.array.dtype}{self.array.shape}".encode())
        # A view of the same memory; one without elements has no bytes to view.
        found.update(np.ascontiguousarray(self.array).reshape(-1).view(np.uint8).data)
        return found.hexdigest()[:32]
