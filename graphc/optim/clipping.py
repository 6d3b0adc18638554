"""Gradients kept within bounds, after Pascanu, Mikolov and Bengio (ICML 2013)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.errors import ArgumentError, caller
from graphc.ops import astype, clip, maximum, sqrt
from graphc.tensor import Tensor

__all__ = ["clip_by_global_norm", "clip_by_norm", "clip_by_value", "global_norm"]


def clip_by_value(gradients: Sequence[Tensor], limit: float) -> list[Tensor]:
    """Limit every element to [-limit, limit].

    Parameters
    ----------
    gradients : sequence of Tensor
        What to limit.
    limit : float
        A positive bound.

    Returns
    -------
    list of Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.optim.clip_by_value([gx.constant([0.5, -3.0])], 1.0))
    [array([ 0.5, -1. ])]
    """
    bound = checked_limit("clip_by_value: bad limit", limit)
    return [clip(g, -bound, bound) for g in gradients]


def clip_by_norm(gradients: Sequence[Tensor], limit: float) -> list[Tensor]:
    """Scale down each gradient whose Euclidean norm exceeds `limit`, to that norm.

    Parameters
    ----------
    gradients : sequence of Tensor
        What to limit, each by itself.
    limit : float
        A positive bound.

    Returns
    -------
    list of Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.optim.clip_by_norm([gx.constant([3.0, 4.0])], 1.0))
    [array([0.6, 0.8])]
    """
    bound = checked_limit("clip_by_norm: bad limit", limit)
    return [g * _scale(global_norm([g]), bound, g) for g in gradients]


def clip_by_global_norm(gradients: Sequence[Tensor], limit: float) -> list[Tensor]:
    """Scale all gradients by one factor, so that their joint Euclidean norm is at most `limit`.

    Parameters
    ----------
    gradients : sequence of Tensor
        What to limit, as if it were one vector.
    limit : float
        A positive bound.

    Returns
    -------
    list of Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.optim.clip_by_global_norm([gx.constant([3.0]), gx.constant([4.0])], 1.0))
    [array([0.6]), array([0.8])]
    """
    bound = checked_limit("clip_by_global_norm: bad limit", limit)
    if not gradients:
        return []
    norm = global_norm(gradients)
    return [g * _scale(norm, bound, g) for g in gradients]


def global_norm(gradients: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of all elements of at least one gradient, in the widest of their dtypes."""
    squares = [(g * g).sum() for g in gradients]
    total = squares[0]
    for square in squares[1:]:
        total = total + square
    return sqrt(total)


def _scale(norm: Tensor, limit: float, like: Tensor) -> Tensor:
    # Dividing by the larger of the two keeps the factor at exactly 1 below the limit.
    return astype(limit / maximum(norm, limit), like.dtype)


def checked_limit(problem: str, limit: float) -> float:
    """Return `limit`, or raise `ArgumentError` saying `problem` if it is no positive number."""
    if isinstance(limit, (int, float, np.integer, np.floating)) and limit > 0:
        return float(limit)
    raise ArgumentError(problem, expected="a positive number", given=repr(limit), where=caller())
