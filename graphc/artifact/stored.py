"""The values of variables and constants in a file, over the bytes that are mapped: nothing is copied."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.artifact.container import ALIGNMENT
from graphc.artifact.fields import as_int, as_list, as_object, as_text, require
from graphc.artifact.values import ValueReader
from graphc.errors import Where
from graphc.state import Storage
from graphc.types import TensorType

__all__ = ["Stored", "StoredVariable", "read_stored"]

Array = np.ndarray[Any, Any]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
_VARIABLE = {"name", "type", "at", "trainable", "offset"}
_CONSTANT = {"type", "offset"}


@dataclass(frozen=True)
class StoredVariable:
    """A variable: its name, type and line, and its memory, which programs of one file share."""

    name: str
    type: TensorType
    where: Where
    storage: Storage


class Stored:
    """What a file holds besides graphs, by number.

    Attributes
    ----------
    variables : tuple of StoredVariable
        Shared by the file's programs.
    count : int
        How many constants there are.
    """

    def __init__(
        self,
        variables: Sequence[StoredVariable],
        constants: Sequence[Array | _Cold],
        cold: Callable[[], Bytes],
    ) -> None:
        self.variables = tuple(variables)
        self.count = len(constants)
        self._constants = list(constants)
        self._cold = cold

    def constant(self, number: int) -> Array:
        """Return a constant; one that only graphs need is read, and its bytes checked, when asked for."""
        found = self._constants[number]
        if isinstance(found, _Cold):
            found, _ = _located(found.type, found.offset, self._cold(), 0)
            found.flags.writeable = False
            self._constants[number] = found
        return found


@dataclass(frozen=True)
class _Cold:
    """Where a constant lies that only graphs need."""

    type: TensorType
    offset: Any


def read_stored(data: Any, stored: Bytes, cold: Callable[[], Bytes] | None = None) -> Stored:
    """Return the variables and constants that the section ``leaves`` describes.

    Parameters
    ----------
    data : object
        The section.
    stored : ndarray of uint8
        Bytes of variables and of constants that programs run with.  Variables write into it; constants
        are read-only views of it.
    cold : callable, optional
        Returns the bytes of the constants that only graphs need.

    Raises
    ------
    ArtifactError
        If the section is not what the format says, or reaches beyond the bytes.
    """
    fields = as_object(data, "leaves", {"variables", "constants", "tables"})
    values = ValueReader(fields["tables"])
    variables: list[StoredVariable] = []
    end = 0
    for entry in as_list(fields["variables"], "variables", lambda v: as_object(v, "variable", _VARIABLE)):
        type = values.type(entry["type"])
        array, end = _located(type, entry["offset"], stored, end)
        require(isinstance(entry["trainable"], bool), "bad variable", "true or false", entry["trainable"])
        name, place = as_text(entry["name"], "name of a variable"), values.place(entry["at"])
        variables.append(StoredVariable(name, type, place, Storage(array, entry["trainable"])))
    constants: list[Array | _Cold] = []
    for entry in as_list(
        fields["constants"], "constants", lambda v: as_object(v, "constant", _CONSTANT, frozenset({"cold"}))
    ):
        type = values.type(entry["type"])
        if entry.get("cold") is True:
            constants.append(_Cold(type, entry["offset"]))
            continue
        array, end = _located(type, entry["offset"], stored, end)
        array.flags.writeable = False
        constants.append(array)
    return Stored(variables, constants, cold or _nothing)


def _nothing() -> Bytes:
    return np.empty(0, np.uint8)


def _located(type: TensorType, start: Any, stored: Bytes, place: int) -> tuple[Array, int]:
    """Return an array and where it ends: none lies within another, which would share its fate."""
    fixed = [d for d in type.shape if isinstance(d, int)]
    require(len(fixed) == type.ndim, "a stored array has a size that is not known", "numbers", str(type))
    length = math.prod(fixed) * type.dtype.itemsize
    offset = as_int(start, "offset of an array", place, stored.size)
    require(offset % ALIGNMENT == 0, "array not aligned", f"a multiple of {ALIGNMENT}", offset)
    left = stored.size - offset
    require(length <= left, "array beyond the stored bytes", f"at most {left} bytes", length)
    end = offset + length
    return stored[offset:end].view(type.dtype).reshape(fixed), end
