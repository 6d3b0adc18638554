"""Penalties on weights: scalars to add to a loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc import ops
from graphc.errors import ArgumentError, caller
from graphc.ops.reductions import sum as sum_
from graphc.tensor import Tensor

__all__ = ["elastic_penalty", "l1_penalty", "l2_penalty"]


def l1_penalty(tensors: Tensor | Sequence[Tensor], strength: float = 1.0) -> Tensor:
    """Return ``strength * sum(abs(w))`` over all tensors, a scalar to add to a loss.

    Parameters
    ----------
    tensors : Tensor or sequence of Tensor
        Usually weights.
    strength : float, default 1.0
        Factor.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If there are no tensors.

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.losses import l1_penalty
    >>> float(gx.evaluate(l1_penalty([gx.constant([1.0, -2.0]), gx.constant([3.0])], 0.5)))
    3.0
    """
    return _penalty("l1_penalty", tensors, ops.abs) * strength


def l2_penalty(tensors: Tensor | Sequence[Tensor], strength: float = 1.0) -> Tensor:
    """Return ``strength * sum(w**2)`` over all tensors, a scalar to add to a loss.

    Parameters
    ----------
    tensors : Tensor or sequence of Tensor
        Usually weights.
    strength : float, default 1.0
        Factor; there is no further one half.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If there are no tensors.

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.losses import l2_penalty
    >>> float(gx.evaluate(l2_penalty([gx.constant([1.0, -2.0]), gx.constant([3.0])], 0.5)))
    7.0
    """
    return _penalty("l2_penalty", tensors, lambda w: w * w) * strength


def elastic_penalty(tensors: Tensor | Sequence[Tensor], l1: float = 1.0, l2: float = 1.0) -> Tensor:
    """Return ``l1 * sum(abs(w)) + l2 * sum(w**2)`` over all tensors.

    Follows Zou and Hastie, "Regularization and Variable Selection via the Elastic Net", 2005.

    Parameters
    ----------
    tensors : Tensor or sequence of Tensor
        Usually weights.
    l1, l2 : float, default 1.0
        Factors of the two parts.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If there are no tensors.

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.losses import elastic_penalty
    >>> float(gx.evaluate(elastic_penalty(gx.constant([1.0, -2.0]), l1=1.0, l2=0.5)))
    5.5
    """
    return l1_penalty(tensors, l1) + l2_penalty(tensors, l2)


def _penalty(owner: str, tensors: Tensor | Sequence[Tensor], term: Callable[[Tensor], Tensor]) -> Tensor:
    listed = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not listed:
        raise ArgumentError(f"{owner}: nothing to penalize", expected="one Tensor or more", where=caller())
    total = sum_(term(listed[0]))
    for w in listed[1:]:
        total = total + sum_(term(w))
    return total
