"""The same elements with their axes in another order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, ShapeError, caller
from graphc.lower.expr import Expr
from graphc.lower.rules import Index, Map, Site
from graphc.ops.attributes import AXES
from graphc.ops.axes import normalize_axes, normalize_axis
from graphc.ops.batching import batch_by, first_kept
from graphc.ops.op import ErrorSample, Op, Sample
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import TensorType

__all__ = ["matrix_transpose", "moveaxis", "permute_dims", "swapaxes"]

Array = np.ndarray[Any, Any]


def _draw(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).normal(size=shape)


def permute_dims(x: TensorLike, axes: Sequence[int]) -> Tensor:
    """Permute the axes.

    Parameters
    ----------
    x : array_like
        Operand.
    axes : sequence of int
        For every axis of the result, the axis of `x` that it is.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If `axes` is not a permutation of the axes of `x`.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.permute_dims(gx.placeholder("x", shape=("n", 3, 5)), (2, 0, 1))
    <Tensor float32[5, n, 3]>
    """
    t = as_tensor(x)
    order = normalize_axes(tuple(axes), t.ndim, "permute_dims")
    if len(order) != t.ndim:
        raise ArgumentError(
            "permute_dims: not a permutation of the axes",
            expected=f"all of 0 to {t.ndim - 1}",
            given=repr(tuple(axes)),
            where=caller(),
        )
    return t if order == tuple(range(t.ndim)) else _PERMUTE(t, axes=order)


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


def _permute_lower(site: Site, index: Index) -> Expr:
    return site.read(0, tuple(index[a] for a in _inverse(site.attrs["axes"])))


def _permute_samples() -> Iterable[Sample]:
    cases: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((2, 3), (1, 0)),
        ((2, 3, 5), (2, 0, 1)),
        ((2, 3, 5), (-1, -3, -2)),
        ((0, 4, 1), (1, 2, 0)),
        ((4,), (0,)),
        ((), ()),
    ]
    for source, axes in cases:
        x = _draw(*source)
        yield Sample((x,), {"axes": axes}, expected=np.transpose(x, axes))


_ORDER = AXES.narrowed("all of them", lambda value, use: len(value) == use.ndim)
_PERMUTE = Op(
    "permute_dims",
    lambda ctx, x, axes: TensorType(tuple(x.shape[a] for a in axes), x.dtype),
    lambda x, axes: np.transpose(x, axes),
    Map(_permute_lower),
    attributes={"axes": _ORDER},
    gradient=lambda g, out, x, axes: [permute_dims(g, _inverse(axes))],
    batch=batch_by(axes=first_kept),
    api=permute_dims,
    samples=_permute_samples,
    errors=lambda: (
        ErrorSample(lambda: permute_dims(np.zeros((2, 3)), (0,)), ArgumentError, "not a permutation"),
        ErrorSample(lambda: permute_dims(np.zeros((2, 3)), (0, 0)), ArgumentError, "named twice"),
        ErrorSample(lambda: permute_dims(np.zeros((2, 3)), (0, 2)), ArgumentError, "out of range"),
    ),
    cost=0,
)


def matrix_transpose(x: TensorLike) -> Tensor:
    """Exchange the last two axes.

    Parameters
    ----------
    x : array_like
        Operand with two or more dimensions.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If `x` has fewer than two dimensions.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.matrix_transpose(gx.placeholder("x", shape=("n", 3, 5)))
    <Tensor float32[n, 5, 3]>
    """
    t = as_tensor(x)
    if t.ndim < 2:
        raise ShapeError(
            "matrix_transpose: the operand has no matrices",
            expected="two or more dimensions",
            given=str(t.type),
            where=caller(),
        )
    return swapaxes(t, -1, -2)


def swapaxes(x: TensorLike, axis1: int, axis2: int) -> Tensor:
    """Exchange two axes.

    Parameters
    ----------
    x : array_like
        Operand.
    axis1, axis2 : int
        The axes.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.swapaxes(gx.placeholder("x", shape=("n", 3, 5)), 0, 2)
    <Tensor float32[5, 3, n]>
    """
    t = as_tensor(x)
    first, second = (normalize_axis(a, t.ndim, "swapaxes") for a in (axis1, axis2))
    order = list(range(t.ndim))
    order[first], order[second] = second, first
    return permute_dims(t, order)


def moveaxis(x: TensorLike, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Move axes to other places; the rest keep their order.

    Parameters
    ----------
    x : array_like
        Operand.
    source, destination : int or tuple of int
        Which axes, and where they stand in the result.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If both do not name equally many axes.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.moveaxis(gx.placeholder("x", shape=("n", 3, 5)), 0, -1)
    <Tensor float32[3, 5, n]>
    """
    t = as_tensor(x)
    origin = normalize_axes(source, t.ndim, "moveaxis")
    target = normalize_axes(destination, t.ndim, "moveaxis")
    if len(origin) != len(target):
        raise ArgumentError(
            "moveaxis: source and destination differ in length",
            expected=f"{len(origin)} axes",
            given=repr(destination),
            where=caller(),
        )
    rest = iter(a for a in range(t.ndim) if a not in origin)
    moved = dict(zip(target, origin, strict=True))
    return permute_dims(t, [moved[a] if a in moved else next(rest) for a in range(t.ndim)])
