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

from graphc import dims
from graphc.dims import Dim
from graphc.errors import CheckError
from graphc.lower.steps import Step, Storage
from graphc.ops.op import resolve_attrs
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

    Parameters
    ----------
    step : Step
        What to compute.
    names : sequence of str
        The program's named sizes.
    outcome : Outcome
        Where to leave an exception.

    Attributes
    ----------
    address : int
        Of the native function.
    arguments : tuple
        What the words of its args block hold.
    """

    def __init__(self, step: Step, names: Sequence[str], outcome: Outcome) -> None:
        self._node = step.node
        self._names = tuple(names)
        self._outcome = outcome
        operands = tuple(step.reads[i] for i in self._node.inputs)
        sizes: tuple[Dim, ...] = tuple(dims.symbol(n) for n in self._names)
        self.arguments: tuple[Storage | Dim | str, ...] = (
            *operands,
            step.writes[self._node],
            *sizes,
            "status",
        )
        # Kept: the native function lives as long as this does.
        self._thunk = _PROTOTYPE(self._run)
        self.address = ctypes.cast(self._thunk, ctypes.c_void_p).value or 0

    def _run(self, args: int, block: int, blocks: int, worker: int) -> None:
        words = list((ctypes.c_int64 * len(self.arguments)).from_address(args))
        self._outcome.calling = True
        try:
            self._compute(words)
        except BaseException as error:  # raised when the native walk, which it cannot cross, has ended
            self._outcome.error = error
            ctypes.c_int64.from_address(words[-1]).value = RAISED
        finally:
            self._outcome.calling = False

    def _compute(self, words: Sequence[int]) -> None:
        node = self._node
        count = len(node.inputs)
        sizes = dict(zip(self._names, words[count + 1 : -1], strict=True))
        shaped = zip(node.inputs, words[:count], strict=True)
        operands = [_array(i.type, address, sizes).copy() for i, address in shaped]
        target = _array(node.type, words[count], sizes)
        try:
            value = node.op.numpy(*operands, **resolve_attrs(node.attrs, sizes))
        except Exception as error:
            error.add_note(f"raised by the operation {node.op.name} at {node.where.describe()}")
            raise
        found = np.asarray(value)
        if found.shape != target.shape or found.dtype != target.dtype:
            raise CheckError(
                f"{node.op.name} returned another type than its rule promised",
                expected=f"{target.dtype}{list(target.shape)}",
                given=f"{found.dtype}{list(found.shape)}",
                where=node.where,
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
