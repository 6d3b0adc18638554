"""Batch norm (Ioffe and Szegedy, "Batch Normalization", 2015) for inference and training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np

from graphc import ops
from graphc.dims import Dim
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir import Node
from graphc.lower.rules import Expand
from graphc.ops.attributes import AXIS, REAL
from graphc.ops.axes import normalize_axis
from graphc.ops.batching import all_stacked
from graphc.ops.elementwise import astype
from graphc.ops.normalization import STANDARDIZE, checked_epsilon, scale_and_shift
from graphc.ops.op import ErrorSample, Infer, Op, Sample
from graphc.ops.statistics import as_float, mean, var
from graphc.tensor import Tensor, TensorLike, promote
from graphc.types import FLOATS, TensorType

__all__ = ["batch_norm", "batch_norm_training"]

Array = np.ndarray[Any, Any]


def batch_norm(
    x: TensorLike,
    mean: TensorLike,
    var: TensorLike,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    axis: int = 1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize every channel with given statistics: batch norm as used for inference.

    Parameters
    ----------
    x : array_like
        Operand.
    mean, var : array_like
        Mean and variance of every channel.
    weight, bias : array_like, optional
        Scale and shift of every channel.
    axis : int, default 1
        Axis of the channels.
    eps : float, default 1e-5
        Added to the variance.

    Returns
    -------
    Tensor
        Of the shape of `x`.

    Raises
    ------
    ArgumentError
        If the axis does not exist or `eps` is not a number of 0 or more.
    ShapeError
        If a parameter is not one number per channel.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.constant([[1.0, 10.0], [3.0, 30.0]])
    >>> gx.evaluate(gx.batch_norm(x, [2.0, 20.0], [1.0, 100.0], eps=0.0))
    array([[-1., -1.],
           [ 1.,  1.]])
    """
    t = as_float(x)
    along = normalize_axis(axis, t.ndim, "batch_norm")
    channels = (t.shape[along],)
    given = (
        mean,
        var,
        ops.ones(channels, dtype=t.dtype) if weight is None else weight,
        ops.zeros(channels, dtype=t.dtype) if bias is None else bias,
    )
    parameters = [as_float(p) for p in given]
    _, dtype = promote(t, *parameters)
    operands = (astype(p, dtype) for p in (t, *parameters))
    return _BATCH_NORM(*operands, axis=along, eps=checked_epsilon("batch_norm", eps))


def batch_norm_training(
    x: TensorLike,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    axis: int = 1,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize every channel with its own statistics over the batch: batch norm in training.

    Parameters
    ----------
    x : array_like
        Operand.
    weight, bias : array_like, optional
        Scale and shift of every channel.
    axis : int, default 1
        Axis of the channels; the statistics run over all others.
    eps : float, default 1e-5
        Added to the variance.

    Returns
    -------
    y : Tensor
        Of the shape of `x`.
    mean, var : Tensor
        The batch's mean and (uncorrected) variance of every channel, for running averages.

    Raises
    ------
    ArgumentError
        If the axis does not exist or `eps` is not a number of 0 or more.
    ShapeError
        If a parameter is not one number per channel.

    Examples
    --------
    >>> import graphc as gx
    >>> y, m, v = gx.batch_norm_training(gx.constant([[1.0, 10.0], [3.0, 30.0]]), eps=0.0)
    >>> gx.evaluate([y, m, v])
    [array([[-1., -1.],
           [ 1.,  1.]]), array([ 2., 20.]), array([  1., 100.])]
    """
    t = as_float(x)
    along = normalize_axis(axis, t.ndim, "batch_norm_training")
    rest = tuple(a for a in range(t.ndim) if a != along)
    normal = STANDARDIZE(t, axes=rest, eps=checked_epsilon("batch_norm_training", eps))
    # With kept axes these are the very sums that the normalization needs: they merge with it.
    level, spread = mean(t, axis=rest, keepdims=True), var(t, axis=rest, keepdims=True)
    y = scale_and_shift("batch_norm_training", normal, weight, bias, (along,))
    return y, ops.squeeze(level, rest), ops.squeeze(spread, rest)


def _batch_rule(ctx: Infer, x: TensorType, *parameters: TensorType, axis: int, eps: float) -> TensorType:
    ctx.dtype_in(x.dtype, FLOATS)
    for role, t in zip(("mean", "var", "weight", "bias"), parameters, strict=True):
        if t.dtype != x.dtype:
            ctx.dtype_error(f"{role} differs in dtype", x.dtype, t.dtype)
        ctx.rank(t, 1, role)
        ctx.same(x.shape[axis], t.shape[0], f"{role} must have one number per channel")
    return x


def _batch_numpy(x: Array, mean: Array, var: Array, weight: Array, bias: Array, axis: int, eps: float) -> Any:
    shape = tuple(-1 if a == axis else 1 for a in range(x.ndim))
    scale = weight / np.sqrt(var + x.dtype.type(eps))
    return (x - mean.reshape(shape)) * scale.reshape(shape) + bias.reshape(shape)


def _batch_expand(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, axis: int, eps: float
) -> Tensor:
    def spread(t: Tensor) -> Tensor:
        return ops.reshape(t, tuple(t.shape[0] if a == axis else 1 for a in range(x.ndim)))

    # Subtracting first keeps the digits of channels whose mean is far from zero.
    return (x - spread(mean)) * spread(weight * ops.rsqrt(var + eps)) + spread(bias)


def _batch_rows(size: Dim, batched: tuple[bool, ...], node: Node, x: Tensor, *parameters: Tensor) -> Tensor:
    axis, eps = node.attrs["axis"], node.attrs["eps"]
    if not any(batched[1:]):
        return _BATCH_NORM(x, *parameters, axis=axis + 1, eps=eps)
    rows, *stacks = all_stacked(size, batched, (x, *parameters))
    rank = node.type.ndim
    level, spread, weight, bias = (
        ops.expand_dims(t, tuple(a + 1 for a in range(rank) if a != axis)) for t in stacks
    )
    return (rows - level) * (weight * ops.rsqrt(spread + eps)) + bias


def _batch_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(17)
    m, w, b = rng.normal(size=(3, 4))
    v = rng.uniform(0.5, 2.0, 4)
    x = rng.normal(size=(2, 4, 3))
    columns = [p[:, None] for p in (m, v, w, b)]
    plain = (x - columns[0]) / np.sqrt(columns[1] + 1e-5)
    yield Sample((x, m, v, w, b), {}, expected=plain * columns[2] + columns[3])
    yield Sample((x, m, v), {}, expected=plain)
    last = np.moveaxis(x, 1, 2).copy()
    yield Sample((last, m, v), {"axis": -1, "eps": 0.5}, expected=(last - m) / np.sqrt(v + 0.5))
    yield Sample((np.ones((0, 4)), m, v), {}, expected=np.ones((0, 4)))
    yield Sample((x[:1, :1, :1], m[:1], v[:1]), {}, expected=plain[:1, :1, :1])


def _batch_errors() -> Iterable[ErrorSample]:
    x, p = np.ones((2, 3)), np.ones(3)
    yield ErrorSample(lambda: batch_norm(x, p, p, axis=2), ArgumentError, "out of range")
    yield ErrorSample(lambda: batch_norm(x, p, p, eps=-1.0), ArgumentError, "bad eps")
    yield ErrorSample(lambda: batch_norm(x, np.ones(2), p), ShapeError, "mean")
    yield ErrorSample(lambda: batch_norm(x, p, p, np.ones((3, 1))), ShapeError, "weight")
    yield ErrorSample(lambda: batch_norm(x, cast("Any", "mean"), p), DTypeError)
    yield ErrorSample(lambda: batch_norm_training(x, np.ones(2)), ShapeError, "weight does not fit")
    yield ErrorSample(lambda: batch_norm_training(x, axis=-3), ArgumentError, "out of range")


_BATCH_NORM = Op(
    "batch_norm",
    _batch_rule,
    _batch_numpy,
    Expand(_batch_expand),
    attributes={"axis": AXIS, "eps": REAL},
    batch=_batch_rows,
    api=batch_norm,
    samples=_batch_samples,
    errors=_batch_errors,
    dtypes=FLOATS,
    cost=4,
)
