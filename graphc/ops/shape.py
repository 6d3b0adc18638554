"""Another shape for the same elements: reshape, axes of size 1, broadcasting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import ArgumentError, ShapeError, caller
from graphc.ir import Node
from graphc.lower.rules import Alias, Map
from graphc.ops.attributes import AXES, SHAPE, Rule, Use, distinct_axes
from graphc.ops.axes import ShapeLike, as_shape, normalize_axes
from graphc.ops.batching import batch_by, next_axes, sized, with_rank
from graphc.ops.elementwise import unbroadcast
from graphc.ops.op import ErrorSample, Infer, Op, Sample
from graphc.tensor import Axes, Tensor, TensorLike, as_tensor
from graphc.types import TensorType

__all__ = [
    "broadcast_to",
    "expand_dims",
    "flatten",
    "reshape",
    "squeeze",
]

Array = np.ndarray[Any, Any]


def _draw(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).normal(size=shape)


# --------------------------------------------------------------------- reshape
def reshape(x: TensorLike, shape: ShapeLike) -> Tensor:
    """Give the elements another shape, in row-major order; costs nothing at run time.

    Parameters
    ----------
    x : array_like
        Operand.
    shape : int or tuple
        New sizes: ints, dimensions or names; one may be -1 and follows from the others.
        Element counts that cannot be proven equal are compared when the program is called.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If the number of elements would change.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("n", 2, 3))
    >>> gx.reshape(x, (-1, 6))
    <Tensor float32[n, 6]>
    """
    t = as_tensor(x)
    target = as_shape(shape, "reshape", wildcard=True)
    if target.count(-1) > 1:
        raise ArgumentError("reshape: more than one size is -1", given=repr(shape), where=caller())
    if -1 in target:
        target = _infer_size(t.type, target)
    return t if target == t.shape else _RESHAPE(t, shape=target)


def _infer_size(type: TensorType, target: Shape) -> Shape:
    known = dims.product(tuple(d for d in target if d != -1))
    size = type.size
    if known == 0 or (isinstance(size, int) and isinstance(known, int) and size % known):
        raise ShapeError(
            "reshape: the size -1 cannot be determined",
            expected=f"a multiple of {known} elements" if known else "other sizes that are not 0",
            given=f"{type} to {target}",
            where=caller(),
        )
    missing = dims.floordiv(size, known)
    return tuple(missing if d == -1 else d for d in target)


def _reshape_rule(ctx: Infer, x: TensorType, shape: Shape) -> TensorType:
    target = TensorType(shape, x.dtype)
    if isinstance(x.size, int) and isinstance(target.size, int) and x.size != target.size:
        ctx.shape_error("the number of elements changes", f"{x.size} elements", f"{x} to {target}")
    if x.size != target.size:
        ctx.same(x.size, target.size, f"the number of elements of {x} and {target} differs")
    return target


_NOT_A_SHAPE: Any = 2.0


def _reshape_samples() -> Iterable[Sample]:
    cases: list[tuple[tuple[int, ...], Any]] = [
        ((2, 3), (3, 2)),
        ((2, 3, 4), (-1, 6)),
        ((6,), -1),
        ((0, 4), (2, 0)),
        ((0, 4), (-1, 2)),
        ((1,), ()),
        ((), (1, 1)),
        ((7,), (7,)),
    ]
    for source, target in cases:
        x = _draw(*source)
        yield Sample((x,), {"shape": target}, expected=x.reshape(target))


_RESHAPE = Op(
    "reshape",
    _reshape_rule,
    lambda x, shape: x.reshape(shape),
    Alias(),
    attributes={"shape": SHAPE},
    gradient=lambda g, out, x, shape: [reshape(g, x.shape)],
    batch=batch_by(shape=sized),
    api=reshape,
    samples=_reshape_samples,
    errors=lambda: (
        ErrorSample(lambda: reshape(np.zeros((2, 3)), (4, 2)), ShapeError, "number of elements"),
        ErrorSample(lambda: reshape(np.zeros((2, 3)), (4, -1)), ShapeError, "cannot be determined"),
        ErrorSample(lambda: reshape(np.zeros((0, 3)), (0, -1)), ShapeError, "cannot be determined"),
        ErrorSample(lambda: reshape(np.zeros(4), (-1, -1)), ArgumentError, "more than one"),
        ErrorSample(lambda: reshape(np.zeros(4), (2, -2)), ArgumentError, "bad size"),
        ErrorSample(lambda: reshape(np.zeros(4), _NOT_A_SHAPE), ArgumentError, "bad shape"),
    ),
    cost=0,
)


def flatten(x: TensorLike) -> Tensor:
    """Return the elements as one axis, in row-major order.

    Parameters
    ----------
    x : array_like
        Operand.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> gx.flatten(gx.placeholder("x", shape=("n", 4)))
    <Tensor float32[4*n]>
    """
    return reshape(x, -1)


# ------------------------------------------------------- axes of size 1, added
def expand_dims(x: TensorLike, axis: int | Sequence[int] = 0) -> Tensor:
    """Insert axes of size 1.

    Parameters
    ----------
    x : array_like
        Operand.
    axis : int or tuple of int, default 0
        Where the new axes stand in the result; negative counts from its end.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If an axis is out of range or named twice.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.expand_dims(gx.placeholder("x", shape=("n", 4)), (0, -1))
    <Tensor float32[1, n, 4, 1]>
    """
    t = as_tensor(x)
    count = len(axis) if isinstance(axis, (tuple, list)) else 1
    axes = tuple(sorted(normalize_axes(axis, t.ndim + count, "expand_dims")))
    return _EXPAND_DIMS(t, axes=axes) if axes else t


def _expand_rule(ctx: Infer, x: TensorType, axes: tuple[int, ...]) -> TensorType:
    rest = iter(x.shape)
    rank = x.ndim + len(axes)
    return TensorType(tuple(1 if a in axes else next(rest) for a in range(rank)), x.dtype)


def _expand_samples() -> Iterable[Sample]:
    cases: list[tuple[tuple[int, ...], Any]] = [
        ((3,), 0),
        ((3, 2), -1),
        ((0, 2), (1, 3)),
        ((), 0),
        ((2,), ()),
    ]
    for source, axis in cases:
        x = _draw(*source)
        yield Sample((x,), {"axis": axis}, expected=np.expand_dims(x, axis))


def _are_new_axes(value: Any, use: Use) -> bool:
    return isinstance(value, tuple) and distinct_axes(value, use.ndim + len(value))


_EXPAND_DIMS = Op(
    "expand_dims",
    _expand_rule,
    lambda x, axes: np.expand_dims(x, axes),
    Alias(),
    attributes={"axes": Rule("distinct axes of the result", _are_new_axes)},
    gradient=lambda g, out, x, axes: [squeeze(g, axes)],
    batch=batch_by(axes=next_axes),
    api=expand_dims,
    samples=_expand_samples,
    errors=lambda: (
        ErrorSample(lambda: expand_dims(np.zeros(3), 2), ArgumentError, "out of range"),
        ErrorSample(lambda: expand_dims(np.zeros(3), (0, 0)), ArgumentError, "named twice"),
    ),
    cost=0,
)


# ----------------------------------------------------- axes of size 1, removed
def squeeze(x: TensorLike, axis: Axes = None) -> Tensor:
    """Drop axes of size 1.

    Parameters
    ----------
    x : array_like
        Operand.
    axis : int or tuple of int, optional
        Which; by default all whose size is 1 when the graph is built.  A symbolic size named
        here is compared with 1 when the program is called.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If an axis has another size.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.squeeze(gx.placeholder("x", shape=(1, "n", 1)), axis=0)
    <Tensor float32[n, 1]>
    """
    t = as_tensor(x)
    if axis is None:
        axes = tuple(a for a, d in enumerate(t.shape) if d == 1)
    else:
        axes = tuple(sorted(normalize_axes(axis, t.ndim, "squeeze")))
    return _SQUEEZE(t, axes=axes) if axes else t


def _squeeze_rule(ctx: Infer, x: TensorType, axes: tuple[int, ...]) -> TensorType:
    for a in axes:
        ctx.same(1, x.shape[a], f"axis {a} of {x} to drop is not of size 1")
    return TensorType(tuple(d for a, d in enumerate(x.shape) if a not in axes), x.dtype)


def _squeeze_samples() -> Iterable[Sample]:
    cases: list[tuple[tuple[int, ...], Any]] = [
        ((1, 3), 0),
        ((3, 1, 1), (-1, 1)),
        ((1, 0, 1), None),
        ((1,), -1),
        ((2, 3), None),
    ]
    for source, axis in cases:
        x = _draw(*source)
        yield Sample((x,), {"axis": axis}, expected=np.squeeze(x, axis))


_SQUEEZE = Op(
    "squeeze",
    _squeeze_rule,
    lambda x, axes: np.squeeze(x, axes),
    Alias(),
    attributes={"axes": AXES},
    gradient=lambda g, out, x, axes: [expand_dims(g, axes)],
    batch=batch_by(axes=next_axes),
    api=squeeze,
    samples=_squeeze_samples,
    errors=lambda: (
        ErrorSample(lambda: squeeze(np.zeros((2, 1)), 0), ShapeError, "size 1"),
        ErrorSample(lambda: squeeze(np.zeros((2, 1)), 2), ArgumentError, "out of range"),
    ),
    cost=0,
)


# ---------------------------------------------------------------- broadcasting
def broadcast_to(x: TensorLike, shape: ShapeLike) -> Tensor:
    """Repeat axes of size 1, and add leading axes, up to a shape.

    Parameters
    ----------
    x : array_like
        Operand.
    shape : int or tuple
        Sizes of the result: ints, dimensions or names.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If a size is neither 1 nor that of the result.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.broadcast_to(gx.placeholder("x", shape=(3, 1)), ("n", 3, 4))
    <Tensor float32[n, 3, 4]>
    """
    t = as_tensor(x)
    target = as_shape(shape, "broadcast_to")
    return t if target == t.shape else _BROADCAST(t, shape=target)


def _broadcast_rule(ctx: Infer, x: TensorType, shape: Shape) -> TensorType:
    aligned = shape[len(shape) - x.ndim :] if x.ndim <= len(shape) else ()
    fits = x.ndim <= len(shape) and all(map(_may_stretch, x.shape, aligned))
    if not fits:
        target = TensorType(shape, x.dtype)
        ctx.shape_error("the operand does not broadcast", "sizes of the result, or 1", f"{x} to {target}")
    for have, want in zip(x.shape, aligned, strict=True):
        if have != 1:
            ctx.same(want, have, f"{x} does not broadcast to {TensorType(shape, x.dtype)}")
    return TensorType(shape, x.dtype)


def _may_stretch(have: Dim, want: Dim) -> bool:
    return have == 1 or have == want or not (isinstance(have, int) and isinstance(want, int))


def _broadcast_samples() -> Iterable[Sample]:
    cases: list[tuple[tuple[int, ...], Any]] = [
        ((3, 1), (3, 4)),
        ((3,), (2, 3)),
        ((1, 1), (0, 5)),
        ((), (2, 2)),
        ((1,), 4),
        ((0, 1), (2, 0, 3)),
        ((2, 3), (2, 3)),
    ]
    for source, target in cases:
        x = _draw(*source)
        yield Sample((x,), {"shape": target}, expected=np.broadcast_to(x, target))


def _broadcast_batch(size: Dim, batched: tuple[bool, ...], node: Node, x: Tensor) -> Tensor:
    return broadcast_to(with_rank(x, node.type.ndim), (size, *node.type.shape))


_BROADCAST = Op(
    "broadcast_to",
    _broadcast_rule,
    lambda x, shape: np.broadcast_to(x, shape),
    Map(lambda site, index: site.broadcast(0, index)),
    attributes={"shape": SHAPE},
    gradient=lambda g, out, x, shape: [unbroadcast(g, x)],
    batch=_broadcast_batch,
    api=broadcast_to,
    samples=_broadcast_samples,
    errors=lambda: (
        ErrorSample(lambda: broadcast_to(np.zeros(3), (3, 4)), ShapeError, "does not broadcast"),
        ErrorSample(lambda: broadcast_to(np.zeros((2, 3)), (3,)), ShapeError, "does not broadcast"),
    ),
    cost=0,
)
