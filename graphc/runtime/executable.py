"""Executables: an image with what it numbers, ready to run in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.errors import Where
from graphc.runtime.image import Image
from graphc.types import TensorType

__all__ = ["Executable", "Meaning"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Meaning:
    """An operation that has a NumPy meaning only, and is computed in Python.

    Attributes
    ----------
    op : str
        Its name.
    attrs : mapping
        Its parameters.
    compute : callable
        From operands and sizes to the result.
    operands, result : TensorType
        Their types.
    names : tuple of str
        The program's named sizes, in the order in which the args block holds them.
    where : Where
        The user's line.
    """

    op: str
    attrs: Mapping[str, Any]
    compute: Callable[[Sequence[Array], Mapping[str, int]], object]
    operands: tuple[TensorType, ...]
    result: TensorType
    names: tuple[str, ...]
    where: Where


@dataclass(frozen=True, eq=False)
class Executable:
    """What a program runs.

    Attributes
    ----------
    image : Image
        In numbers.
    functions : tuple of int or Meaning
        The address of each native function; what to compute where the call goes back into Python.
    leaves : tuple
        The payload of each leaf: the storage of a variable, the data of a constant.  Both have an `array`.
    """

    image: Image
    functions: tuple[int | Meaning, ...]
    leaves: tuple[Any, ...]
