"""Arrays in one line: what there is to know before looking at elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.debug.showing import text_of
from graphc.types import TensorType

__all__ = ["count_nonfinite", "summary"]

# Arrays up to this many elements are shown in full.
_SHOWN = 6


def count_nonfinite(value: Any) -> int:
    """Return how many elements are NaN or infinite; none in integers."""
    array = np.asarray(value)
    return 0 if array.dtype.kind != "f" else int(array.size - np.count_nonzero(np.isfinite(array)))


def summary(value: Any) -> str:
    """Return type, range and the number of elements that are not finite, of an array or a tuple of them."""
    if isinstance(value, tuple):
        return f"({', '.join(map(summary, value))})"
    array = np.asarray(value)
    head = str(TensorType(array.shape, array.dtype))
    if array.size <= _SHOWN and array.ndim <= 1:
        return f"{head} {text_of(array)}"
    if array.dtype.kind == "b":
        return f"{head}, {np.count_nonzero(array)} of {array.size} true"
    bad = count_nonfinite(array)
    finite = array[np.isfinite(array)] if bad else array
    span = f", {finite.min():.6g} to {finite.max():.6g}" if finite.size else ""
    return f"{head}{span}{_named(array, bad)}"


def _named(array: np.ndarray[Any, Any], bad: int) -> str:
    if not bad:
        return ""
    nans = int(np.count_nonzero(np.isnan(array)))
    kinds = [f"{n} {kind}" for n, kind in ((nans, "NaN"), (bad - nans, "infinite")) if n]
    return f", {' and '.join(kinds)} of {array.size}"
