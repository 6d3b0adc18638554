"""Calls from native code back into Python: ops that have a NumPy meaning only.

A callback is a step of a table like a kernel.  Its args block holds the addresses of operands and
result, the sizes of the call, and the address of the status word, by which an exception ends
the program's walk; it is raised when that has returned.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.errors import CheckError, GraphcError
from graphc.runtime.executable import Meaning
from graphc.types import TensorType

__all__ = ["RAISED", "Callback", "Outcome"]

Array = np.ndarray[Any, Any]
RAISED = -1
"""The status word's value after an exception."""
_PROTOTYPE = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)


@dataclass
class Outcome:
    """Whether a program is calling back, and what was raised meanwhile."""

    calling: bool = False
    error: BaseException | None = field(default=None, repr=False)


class Callback:
    """One step that calls an op's NumPy meaning.

    Its args block holds the addresses of the operands and of the result, the program's sizes, and the
    address of the status word.

    Parameters
    ----------
    meaning : Meaning
        What to compute.
    outcome : Outcome
        Where to leave an exception.

    Attributes
    ----------
    address : int
        Of the native function.
    """

    def __init__(self, meaning: Meaning, outcome: Outcome) -> None:
        self._meaning = meaning
        self._outcome = outcome
        self._words = len(meaning.operands) + 1 + len(meaning.names) + 1
        # Kept: the native function lives as long as this does.
        self._thunk = _PROTOTYPE(self._run)
        self.address = ctypes.cast(self._thunk, ctypes.c_void_p).value or 0

    def _run(self, args: int, block: int, blocks: int, worker: int) -> None:
        words = list((ctypes.c_int64 * self._words).from_address(args))
        self._outcome.calling = True
        try:
            self._compute(words)
        except BaseException as error:  # raised when the native walk, which it cannot cross, has ended
            self._outcome.error = error
            ctypes.c_int64.from_address(words[-1]).value = RAISED
        finally:
            self._outcome.calling = False

    def _compute(self, words: Sequence[int]) -> None:
        meaning = self._meaning
        count = len(meaning.operands)
        sizes = dict(zip(meaning.names, words[count + 1 : -1], strict=True))
        shaped = zip(meaning.operands, words[:count], strict=True)
        operands = [_array(type, address, sizes).copy() for type, address in shaped]
        target = _array(meaning.result, words[count], sizes)
        try:
            value = meaning.compute(operands, sizes)
        except GraphcError as error:
            raise error if error.where is not None else error.at(meaning.where) from None
        except Exception as error:
            error.add_note(f"raised by the operation {meaning.op} at {meaning.where.describe()}")
            raise
        found = np.asarray(value)
        if found.shape != target.shape or found.dtype != target.dtype:
            raise CheckError(
                f"{meaning.op} returned another type than its rule promised",
                expected=f"{target.dtype}{list(target.shape)}",
                given=f"{found.dtype}{list(found.shape)}",
                where=meaning.where,
            )
        target[...] = found


def _array(type: TensorType, address: int, sizes: dict[str, int]) -> Array:
    """Return the memory at an address as an array."""
    shape = type.concrete(sizes)
    size = int(np.prod(shape, dtype=np.int64)) * type.dtype.itemsize
    if not size:
        return np.empty(shape, type.dtype)
    memory: Any = (ctypes.c_char * size).from_address(address)
    return np.ndarray(shape, type.dtype, buffer=memory)
