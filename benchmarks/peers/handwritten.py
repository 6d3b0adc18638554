"""Loops as one writes them by hand, and what runs them: the recurrences only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.vocabulary import UnsupportedError
from benchmarks.workload import Array, Workload
from benchmarks.workloads.loops import Iteration, Step, logistic, squashed

__all__ = ["Loop", "LoopRunner"]

# The last value, from the inputs in their order and the number of steps.
Loop = Callable[..., Any]


def _logistic(x: Any, r: Any, count: int) -> Any:
    # Of the same type as the others: Numba would go on with twice the precision.
    one = np.float32(1)
    for _ in range(count):
        x = r * x * (one - x)
    return x


def _squashed(x: Any, a: Any, b: Any, count: int) -> Any:
    for _ in range(count):
        x = np.tanh(a * x + b)
    return x


_LOOPS: dict[Step, Loop] = {logistic: _logistic, squashed: _squashed}


class LoopRunner:
    """A recurrence as a loop.

    Parameters
    ----------
    workload : Workload
        What to do.
    made : callable
        Makes what is called from the loop, and from the shape of the inputs.

    Raises
    ------
    UnsupportedError
        If no loop is written for the workload.
    """

    def __init__(self, workload: Workload, made: Callable[[Loop, tuple[int, ...]], Loop]) -> None:
        body = workload.body
        if not isinstance(body, Iteration) or body.step not in _LOOPS:
            raise UnsupportedError("written for the recurrences only")
        self.call = made(_LOOPS[body.step], workload.inputs["x"].shape)
        self.count = body.count

    def prepare(self, feed: Mapping[str, Array]) -> list[Any]:
        """Return the inputs: NumPy's scalars, or arrays."""
        return [array[()] for array in feed.values()]

    def reset(self) -> None:
        """Do nothing: no step changes anything."""

    def step(self, feed: list[Any]) -> Any:
        """Run once."""
        return self.call(*feed, self.count)

    def arrays(self, results: Any) -> list[Array]:
        """Return the last value."""
        return [np.asarray(results)]

    def compilations(self) -> int:
        """Return 1: whatever is compiled, is compiled for one type."""
        return 1
