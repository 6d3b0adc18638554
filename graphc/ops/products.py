"""Products that are compositions of others: outer, vecdot, tensordot."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.errors import ArgumentError, DTypeError, ShapeError, caller
from graphc.ops.contraction import contract_pair
from graphc.ops.elementwise import astype
from graphc.tensor import Tensor, TensorLike, promote
from graphc.types import BOOL

__all__ = ["outer", "tensordot", "vecdot"]


def _numeric(owner: str, *values: TensorLike) -> tuple[Tensor, ...]:
    """Return the operands in their common dtype, refusing bool."""
    tensors, dtype = promote(*values)
    if dtype == BOOL:
        raise DTypeError(
            f"{owner}: operands are bool", expected="numbers (see astype)", given=str(dtype), where=caller()
        )
    return tuple(astype(t, dtype) for t in tensors)


def outer(x: TensorLike, y: TensorLike) -> Tensor:
    """Multiply every element of `x` with every element of `y`.

    Parameters
    ----------
    x, y : array_like
        Numeric operands; flattened first, as NumPy does.

    Returns
    -------
    Tensor
        Of shape ``(x.size, y.size)``.

    Raises
    ------
    DTypeError
        If the operands are bool.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.outer(gx.constant([1, 2]), gx.constant([3, 4])))
    array([[3, 4],
           [6, 8]])
    """
    a, b = _numeric("outer", x, y)
    return a.reshape((a.size, 1)) * b.reshape((1, b.size))


def vecdot(x: TensorLike, y: TensorLike, *, axis: int = -1) -> Tensor:
    """Multiply elementwise and sum over one axis.

    Parameters
    ----------
    x, y : array_like
        Numeric operands; all other axes broadcast.
    axis : int, default -1
        Axis to sum over, counted from the end.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If an operand lacks the axis, or `axis` is not negative (the operands' ranks may differ).
    ShapeError
        If the sizes of the axis differ.
    DTypeError
        If the operands are bool.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.vecdot(gx.constant([[1, 2], [3, 4]]), gx.constant([1, 10])))
    array([21, 43])
    """
    a, b = _numeric("vecdot", x, y)
    if not -min(a.ndim, b.ndim) <= axis < 0:
        raise ArgumentError(
            "vecdot: bad axis",
            expected=f"an axis of both operands, counted from the end: {-min(a.ndim, b.ndim)} to -1",
            given=f"{axis} for {a.type} and {b.type}",
            where=caller(),
        )
    left, right = a.shape[axis], b.shape[axis]
    if isinstance(left, int) and isinstance(right, int) and left != right:
        raise ShapeError(
            "vecdot: sizes of the axis differ", expected=str(left), given=str(right), where=caller()
        )
    return astype((a * b).sum(axis=axis), a.dtype)


def tensordot(x: TensorLike, y: TensorLike, axes: int | Sequence[int | Sequence[int]] = 2) -> Tensor:
    """Sum products over pairs of axes.

    Parameters
    ----------
    x, y : array_like
        Numeric operands.
    axes : int or (axes of x, axes of y), default 2
        How many of the last axes of `x` pair with the first ones of `y`, or which with which.

    Returns
    -------
    Tensor
        Of the remaining axes of `x`, then those of `y`.

    Raises
    ------
    ArgumentError
        If the axes do not exist or do not pair up.
    ShapeError
        If sizes of a pair differ.
    DTypeError
        If the operands are bool.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.tensordot(np.ones((2, 3, 4)), np.ones((4, 3, 5)), axes=([1, 2], [1, 0]))
    <Tensor float64[2, 5]>
    """
    a, b = _numeric("tensordot", x, y)
    left, right = _paired_axes(a, b, axes)
    partner = {axis: a.ndim + n for n, axis in enumerate(left)}
    labels_a = tuple(partner.get(axis, axis) for axis in range(a.ndim))
    spare = a.ndim + len(left)
    named = dict(zip(right, partner.values(), strict=True))
    labels_b = tuple(named.get(axis, spare + axis) for axis in range(b.ndim))
    kept = tuple(i for i in labels_a if i < a.ndim) + tuple(i for i in labels_b if i >= spare)
    return contract_pair(labels_a, a, labels_b, b, kept)


def _paired_axes(
    a: Tensor, b: Tensor, axes: int | Sequence[int | Sequence[int]]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if isinstance(axes, int):
        chosen = [tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))]
        chosen = chosen if 0 <= axes <= min(a.ndim, b.ndim) else []
    else:
        chosen = [(one,) if isinstance(one, int) else tuple(one) for one in axes]
    if (
        len(chosen) != 2
        or len(chosen[0]) != len(chosen[1])
        or not (_are_axes(chosen[0], a.ndim) and _are_axes(chosen[1], b.ndim))
    ):
        raise ArgumentError(
            "tensordot: bad axes",
            expected="a count, or two equally long lists of distinct axes",
            given=f"{axes!r} for {a.type} and {b.type}",
            where=caller(),
        )
    left, right = (tuple(i % t.ndim for i in side) for side, t in zip(chosen, (a, b), strict=True))
    for i, j in zip(left, right, strict=True):
        m, n = a.shape[i], b.shape[j]
        if isinstance(m, int) and isinstance(n, int) and m != n:
            raise ShapeError(
                f"tensordot: axis {i} and axis {j} differ in size",
                expected=str(m),
                given=f"{n} in {b.type}",
                where=caller(),
            )
    return left, right


def _are_axes(axes: Sequence[int], rank: int) -> bool:
    return all(-rank <= i < rank for i in axes) and len({i % rank for i in axes}) == len(axes)
