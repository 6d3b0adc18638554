"""Norms within one sample: groups of channels, single channels, neighbouring channels.

The first two are `standardize`, after a reshape that lays a group's elements side by side;
local response norm divides by a power of an average over a window of channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphc import dims, ops
from graphc.errors import ArgumentError, DTypeError, ShapeError, caller
from graphc.lower.rules import Expand
from graphc.ops.attributes import REAL, at_least
from graphc.ops.axes import is_int
from graphc.ops.batching import merged
from graphc.ops.elementwise import number, operands
from graphc.ops.normalization import STANDARDIZE, checked_epsilon, scale_and_shift
from graphc.ops.op import ErrorSample, Infer, Op, Sample
from graphc.ops.statistics import as_float
from graphc.tensor import Tensor, TensorLike
from graphc.types import FLOATS, TensorType

__all__ = ["group_norm", "instance_norm", "local_response_norm"]

Array = np.ndarray[Any, Any]


def group_norm(
    x: TensorLike,
    groups: int,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Bring each group of channels of each sample to mean 0 and variance 1, then scale and shift channels.

    Follows Wu and He, "Group Normalization", 2018.

    Parameters
    ----------
    x : array_like, shape (batch, channels, *spatial)
        Operand.
    groups : int
        Number of groups, a divisor of the number of channels.
    weight, bias : array_like, shape (channels,), optional
        Scale and shift of every channel.
    eps : float, default 1e-5
        Added to the variance.

    Returns
    -------
    Tensor
        Of the shape of `x`.

    Raises
    ------
    ArgumentError
        If `groups` does not divide the channels, or `eps` is not a number of 0 or more.
    ShapeError
        If there is no axis of channels, or `weight` or `bias` is not one number per channel.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.constant([[1.0, 3.0, 10.0, 30.0]])
    >>> gx.evaluate(gx.group_norm(x, 2, eps=0.0))
    array([[-1.,  1., -1.,  1.]])
    """
    t = _with_channels("group_norm", x)
    channels = t.shape[1]
    if not is_int(groups) or groups < 1 or (isinstance(channels, int) and channels % groups):
        raise ArgumentError(
            "group_norm: bad groups",
            expected=f"a divisor of the number of channels ({channels})",
            given=repr(groups),
            where=caller(),
        )
    epsilon = checked_epsilon("group_norm", eps)
    given = (
        ops.ones((channels,), dtype=t.dtype) if weight is None else weight,
        ops.zeros((channels,), dtype=t.dtype) if bias is None else bias,
    )
    return _GROUP_NORM(*operands((t, *given), FLOATS), groups=int(groups), eps=epsilon)


def instance_norm(
    x: TensorLike, weight: TensorLike | None = None, bias: TensorLike | None = None, eps: float = 1e-5
) -> Tensor:
    """Bring each channel of each sample to mean 0 and variance 1, then scale and shift it.

    Follows Ulyanov, Vedaldi and Lempitsky, "Instance Normalization", 2016.

    Parameters
    ----------
    x : array_like, shape (batch, channels, *spatial)
        Operand, with at least one spatial axis.
    weight, bias : array_like, shape (channels,), optional
        Scale and shift of every channel.
    eps : float, default 1e-5
        Added to the variance.

    Returns
    -------
    Tensor
        Of the shape of `x`.

    Raises
    ------
    ArgumentError
        If `eps` is not a number of 0 or more.
    ShapeError
        If there are no spatial axes, or `weight` or `bias` is not one number per channel.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.instance_norm(gx.constant([[[1.0, 3.0], [10.0, 30.0]]]), eps=0.0))
    array([[[-1.,  1.],
            [-1.,  1.]]])
    """
    t = _with_channels("instance_norm", x, least=3)
    epsilon = checked_epsilon("instance_norm", eps)
    normal = STANDARDIZE(t, axes=tuple(range(2, t.ndim)), eps=epsilon)
    return scale_and_shift("instance_norm", normal, weight, bias, (1,))


def local_response_norm(
    x: TensorLike, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide by a power of the average square over neighbouring channels.

    ``x / (k + alpha * average)**beta``, where the average runs over `size` channels
    around each, those beyond the first and last counting as zeros (Krizhevsky, Sutskever
    and Hinton, NIPS 2012; with the average instead of their sum, as in PyTorch).

    Parameters
    ----------
    x : array_like, shape (batch, channels, *spatial)
        Operand.
    size : int
        Number of channels averaged; where it is even, one more before than after.
    alpha, beta, k : float
        As in the formula.

    Returns
    -------
    Tensor
        Of the shape of `x`.

    Raises
    ------
    ArgumentError
        If `size` is not a positive int, or another parameter not a number.
    ShapeError
        If there is no axis of channels.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.local_response_norm(gx.constant([[2.0, 4.0]]), 1, alpha=1.0, beta=1.0, k=0.0))
    array([[0.5 , 0.25]])
    """
    t = _with_channels("local_response_norm", x)
    if not is_int(size) or size < 1:
        raise ArgumentError(
            "local_response_norm: bad size", expected="a positive int", given=repr(size), where=caller()
        )
    values = {"alpha": alpha, "beta": beta, "k": k}
    attrs: dict[str, Any] = {name: number("local_response_norm", name, v) for name, v in values.items()}
    return _LOCAL(t, size=int(size), **attrs)


def _with_channels(owner: str, x: TensorLike, least: int = 2) -> Tensor:
    t = as_float(x)
    if t.ndim >= least:
        return t
    layout = "(batch, channels, *spatial)" if least == 2 else "(batch, channels, and space)"
    raise ShapeError(
        f"{owner}: operand of a wrong rank",
        expected=f"{least} or more dimensions {layout}",
        given=str(t.type),
        where=caller(),
    )


# ----------------------------------------------------------- groups of channels
def _groups_rule(ctx: Infer, x: TensorType, *parameters: TensorType, groups: int, eps: float) -> TensorType:
    ctx.dtype_in(x.dtype, FLOATS)
    ctx.same(x.shape[1], dims.floordiv(x.shape[1], groups) * groups, "groups must divide the channels")
    for role, t in zip(("weight", "bias"), parameters, strict=True):
        if t.dtype != x.dtype:
            ctx.dtype_error(f"{role} differs in dtype", x.dtype, t.dtype)
        ctx.rank(t, 1, role)
        ctx.same(x.shape[1], t.shape[0], f"{role} must have one number per channel")
    return x


def _groups_numpy(x: Array, weight: Array, bias: Array, groups: int, eps: float) -> Array:
    members = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    axes = tuple(range(2, members.ndim))
    count = x.dtype.type(np.prod(members.shape[2:]))
    centered = members - members.sum(axes, keepdims=True) / count
    spread = np.square(centered).sum(axes, keepdims=True) / count
    normal = (centered / np.sqrt(spread + x.dtype.type(eps))).reshape(x.shape)
    channels = (-1, *[1] * (x.ndim - 2))
    found: Array = normal * weight.reshape(channels) + bias.reshape(channels)
    return found


def _groups_expand(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
    # All in the shape in which a group is an axis, so that it is one loop nest.
    split = (groups, dims.floordiv(x.shape[1], groups))
    members = ops.reshape(x, (x.shape[0], *split, *x.shape[2:]))
    normal = STANDARDIZE(members, axes=tuple(range(2, members.ndim)), eps=eps)
    scale, shift = (ops.reshape(t, (*split, *[1] * (x.ndim - 2))) for t in (weight, bias))
    return ops.reshape(normal * scale + shift, x.shape)


def _grouped(x: Array, groups: int, eps: float = 1e-5) -> Array:
    """Return the norm without scale and shift by a loop over its definition."""
    found, width = np.zeros(x.shape), x.shape[1] // groups
    for n in range(x.shape[0]):
        for start in range(0, x.shape[1], width):
            part = x[n, start : start + width]
            found[n, start : start + width] = (part - part.mean()) / np.sqrt(part.var() + eps)
    return found


def _groups_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(20)
    x = rng.normal(size=(2, 6, 3, 2)) + 0.5
    w, b = rng.normal(size=(2, 6))
    for groups in (3, 1, 2, 6):
        scaled = _grouped(x, groups) * w[:, None, None] + b[:, None, None]
        yield Sample((x, w, b), {"groups": groups}, expected=scaled, call=_call_group_norm)
    yield Sample((x,), {"groups": 2}, expected=_grouped(x, 2))
    yield Sample((x[:, :, 0, 0],), {"groups": 2, "eps": 0.1}, expected=_grouped(x[:, :, 0, 0], 2, 0.1))
    yield Sample((np.ones((0, 4, 2)),), {"groups": 2}, expected=np.ones((0, 4, 2)))
    yield Sample((x[:1, :1],), {"groups": 1}, expected=_grouped(x[:1, :1], 1))
    yield Sample((x,), {}, expected=_grouped(x, 6), call=instance_norm)
    scaled = _grouped(x, 6) * w[:, None, None] + b[:, None, None]
    yield Sample((x, w, b), {}, expected=scaled, call=instance_norm)


def _call_group_norm(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    return group_norm(x, groups, weight, bias)


def _groups_errors() -> Iterable[ErrorSample]:
    x = np.ones((2, 4, 3))
    yield ErrorSample(lambda: group_norm(x, 3), ArgumentError, "bad groups")
    yield ErrorSample(lambda: group_norm(x, 0), ArgumentError, "bad groups")
    yield ErrorSample(lambda: group_norm(x, 2, eps=-1.0), ArgumentError, "bad eps")
    yield ErrorSample(lambda: group_norm(x[0, 0], 1), ShapeError, "wrong rank")
    yield ErrorSample(lambda: group_norm(x, 2, np.ones(3)), ShapeError, "weight")
    yield ErrorSample(lambda: instance_norm(x[0]), ShapeError, "wrong rank")
    yield ErrorSample(lambda: instance_norm(x, bias=np.ones((4, 3))), ShapeError, "bias does not fit")
    yield ErrorSample(lambda: instance_norm(x, eps=-1.0), ArgumentError, "bad eps")


_GROUP_NORM = Op(
    "group_norm",
    _groups_rule,
    _groups_numpy,
    Expand(_groups_expand),
    attributes={"groups": at_least(1), "eps": REAL},
    api=group_norm,
    samples=_groups_samples,
    errors=_groups_errors,
    dtypes=FLOATS,
    cost=8,
)


# -------------------------------------------------------- neighbouring channels
def _local_rule(ctx: Infer, x: TensorType, **attrs: Any) -> TensorType:
    ctx.dtype_in(x.dtype, FLOATS)
    return x


def _local_numpy(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    widths = [(0, 0)] * x.ndim
    widths[1] = (size // 2, (size - 1) // 2)
    squares = np.pad(np.square(x), widths)
    total = sum(squares[:, t : t + x.shape[1]] for t in range(size))
    number: Callable[[float], Any] = x.dtype.type
    found: Array = x / (number(k) + number(alpha) * (total / number(size))) ** number(beta)
    return found


def _local_expand(x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    # Channels are one axis of images whose other axis is all of space.
    image = ops.reshape(x, (x.shape[0], 1, x.shape[1], dims.product(x.shape[2:])))
    padding = ((size // 2, (size - 1) // 2), (0, 0))
    average = ops.avg_pool2d(ops.square(image), (size, 1), stride=1, padding=padding)
    return ops.reshape(image / (k + alpha * average) ** beta, x.shape)


def _locally(x: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Array:
    """Return the norm by a loop over its definition."""
    found = np.zeros(x.shape)
    for c in range(x.shape[1]):
        near = x[:, max(0, c - size // 2) : c + (size - 1) // 2 + 1]
        found[:, c] = x[:, c] / (k + alpha * np.square(near).sum(1) / size) ** beta
    return found


def _local_samples() -> Iterable[Sample]:
    x = np.random.default_rng(21).normal(size=(2, 5, 3, 2))
    for size in (1, 2, 3, 5, 9):
        options: dict[str, Any] = {"size": size, "alpha": 0.7, "beta": 0.5, "k": 2.0}
        yield Sample((x,), options, expected=_locally(x, **options), ulp=32)
    yield Sample((x,), {"size": 3}, expected=_locally(x, 3), ulp=32)
    yield Sample((x[:, :, 0, 0],), {"size": 3}, expected=_locally(x[:, :, 0, 0], 3), ulp=32)
    yield Sample((np.ones((0, 4, 2)),), {"size": 2}, expected=np.ones((0, 4, 2)))


def _local_errors() -> Iterable[ErrorSample]:
    x = np.ones((2, 4, 3))
    text: Any = "half"
    yield ErrorSample(lambda: local_response_norm(x, 0), ArgumentError, "bad size")
    yield ErrorSample(lambda: local_response_norm(x, 3, beta=text), ArgumentError, "beta")
    yield ErrorSample(lambda: local_response_norm(x[0, 0], 3), ShapeError, "wrong rank")
    yield ErrorSample(lambda: _LOCAL(ops.zeros((2, 3), dtype="int64"), size=1), DTypeError, "dtype")


_LOCAL = Op(
    "local_response_norm",
    _local_rule,
    _local_numpy,
    Expand(_local_expand),
    attributes={"size": at_least(1), "alpha": REAL, "beta": REAL, "k": REAL},
    batch=merged,
    api=local_response_norm,
    samples=_local_samples,
    errors=_local_errors,
    dtypes=FLOATS,
    cost=20,
)
