"""Shuffled minibatches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from graphc.errors import ArgumentError

__all__ = ["minibatches"]


def minibatches(count: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray[Any, Any]]:
    """Yield the positions 0 to `count` - 1 in random order, `size` at a time, the rest at last.

    Parameters
    ----------
    count : int
        How many examples there are.
    size : int
        How many make a batch; the last one may be smaller.
    rng : numpy.random.Generator
        Source of the order.

    Yields
    ------
    ndarray of int64

    Examples
    --------
    >>> import numpy as np
    >>> [len(batch) for batch in minibatches(10, 4, np.random.default_rng(0))]
    [4, 4, 2]
    """
    if size < 1:
        raise ArgumentError("minibatches: bad size", expected="at least 1", given=repr(size))
    order = rng.permutation(count)
    return (order[start : start + size] for start in range(0, count, size))
