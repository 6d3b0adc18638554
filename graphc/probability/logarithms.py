"""Logarithms of probabilities that may be 0."""

from __future__ import annotations

from graphc.ops import log, where
from graphc.tensor import Tensor

__all__ = ["times_log"]


def times_log(factor: Tensor, x: Tensor) -> Tensor:
    """Return ``factor * log(x)``, 0 where `factor` is, whatever x is."""
    none = factor == 0
    return where(none, 0, factor * log(where(none, 1, x)))
