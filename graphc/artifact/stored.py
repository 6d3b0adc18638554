"""The values of variables and constants in a file, over the bytes that are mapped: nothing is copied."""

from __future__ import annotations

import math
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


@dataclass(frozen=True)
class Stored:
    """What a file holds besides graphs, by number."""

    variables: tuple[StoredVariable, ...]
    constants: tuple[Array, ...]


def read_stored(data: Any, stored: Bytes) -> Stored:
    """Return the variables and constants that the section ``leaves`` describes.

    Parameters
    ----------
    data : object
        The section.
    stored : ndarray of uint8
        Their bytes.  Variables write into it; constants are read-only views of it.

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
        array, type, end = _array(entry, values, stored, end)
        require(isinstance(entry["trainable"], bool), "bad variable", "true or false", entry["trainable"])
        name, place = as_text(entry["name"], "name of a variable"), values.place(entry["at"])
        variables.append(StoredVariable(name, type, place, Storage(array, entry["trainable"])))
    constants: list[Array] = []
    for entry in as_list(fields["constants"], "constants", lambda v: as_object(v, "constant", _CONSTANT)):
        array, _, end = _array(entry, values, stored, end)
        array.flags.writeable = False
        constants.append(array)
    return Stored(tuple(variables), tuple(constants))


def _array(entry: Any, values: ValueReader, stored: Bytes, place: int) -> tuple[Array, TensorType, int]:
    """Return an array, its type, and where it ends: none lies within another, which would share its fate."""
    type = values.type(entry["type"])
    fixed = [d for d in type.shape if isinstance(d, int)]
    require(len(fixed) == type.ndim, "a stored array has a size that is not known", "numbers", str(type))
    length = math.prod(fixed) * type.dtype.itemsize
    offset = as_int(entry["offset"], "offset of an array", place, stored.size)
    require(offset % ALIGNMENT == 0, "array not aligned", f"a multiple of {ALIGNMENT}", offset)
    left = stored.size - offset
    require(length <= left, "array beyond the stored bytes", f"at most {left} bytes", length)
    end = offset + length
    return stored[offset:end].view(type.dtype).reshape(fixed), type, end
