"""Ranges of the options of optimizers."""

from __future__ import annotations

import numpy as np

from graphc.errors import ArgumentError, caller
from graphc.ops.elementwise import number

__all__ = ["at_least_zero", "fraction", "positive_int"]


def at_least_zero(owner: str, name: str, value: float) -> float:
    """Return `value`, or raise `ArgumentError` naming the option `name` of `owner` if it is negative."""
    return _in_range(owner, name, value, 0.0, np.inf)


def fraction(owner: str, name: str, value: float) -> float:
    """Return `value`, or raise `ArgumentError` naming the option `name` if it is outside [0, 1)."""
    return _in_range(owner, name, value, 0.0, 1.0)


def positive_int(owner: str, name: str, value: int) -> int:
    """Return `value`, or raise `ArgumentError` naming the option `name` if it is no positive int."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ArgumentError(f"{owner}: bad {name}", expected="a positive int", given=repr(value), where=caller())


def _in_range(owner: str, name: str, value: float, low: float, high: float) -> float:
    found = number(owner, name, value)
    if low <= found < high:
        return found
    raise ArgumentError(
        f"{owner}: bad {name}", expected=f"a number in [{low:g}, {high:g})", given=repr(value), where=caller()
    )
