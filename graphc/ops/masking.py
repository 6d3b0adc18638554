"""softmax over the elements that a mask allows: what attention does with its scores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphc import ops
from graphc.dims import Dim
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir import Node
from graphc.lower.rules import Expand
from graphc.ops.attributes import AXES
from graphc.ops.batching import next_axes, stacked, with_rank
from graphc.ops.extrema import max as max_
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.ops.reductions import Axes, reduction_axes
from graphc.ops.reductions import sum as sum_
from graphc.ops.statistics import as_float
from graphc.tensor import Axes as AxisLike
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import BOOL, FLOATS, TensorType

__all__ = ["masked_softmax"]

Array = np.ndarray[Any, Any]


def masked_softmax(x: TensorLike, mask: TensorLike, axis: AxisLike = -1) -> Tensor:
    """Turn the scores that a mask allows into probabilities along an axis; all others become 0.

    Parameters
    ----------
    x : array_like
        Scores.
    mask : array_like of bool
        True for the scores that take part; broadcasts to the shape of `x`.
    axis : int or tuple of int, default -1
        Axis over which the result sums to one.

    Returns
    -------
    Tensor
        Of the shape of `x`.  A row without an allowed score, or whose allowed scores are
        all -inf, is zero, and so is its gradient.

    Raises
    ------
    ArgumentError
        If the axis does not exist.
    ShapeError
        If the mask does not broadcast to the shape of `x`.
    DTypeError
        If the mask is not bool.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.constant([[1.0, 1.0, 9.0], [1.0, 2.0, 3.0]])
    >>> gx.evaluate(gx.masked_softmax(x, [[True, True, False], [False, False, False]]))
    array([[0.5, 0.5, 0. ],
           [0. , 0. , 0. ]])
    """
    t = as_float(x)
    return _MASKED_SOFTMAX(t, as_tensor(mask), axes=reduction_axes(axis, t.ndim, "masked_softmax"))


def _rule(ctx: Infer, x: TensorType, mask: TensorType, axes: Axes) -> TensorType:
    ctx.dtype_in(x.dtype, FLOATS, "scores")
    ctx.dtype_in(mask.dtype, (BOOL,), "mask")
    together = ctx.broadcast(x.shape, mask.shape)
    widened = len(together) != x.ndim or any(d == 1 != t for d, t in zip(x.shape, together, strict=True))
    if widened:
        ctx.shape_error("mask does not broadcast to the scores", x, mask)
    return x


def _numpy(x: Array, mask: Array, axes: Axes) -> Any:
    allowed = np.where(mask, x, -np.inf).astype(x.dtype)
    top = np.max(allowed, axis=axes, keepdims=True, initial=-np.inf)
    weights = np.exp(allowed - np.where(top == -np.inf, x.dtype.type(0), top))
    total = np.sum(weights, axis=axes, keepdims=True)
    return weights / np.where(total == 0, x.dtype.type(1), total)


def _expand(x: Tensor, mask: Tensor, axes: Axes) -> Tensor:
    if 0 in (x.shape[a] for a in axes):
        return x
    allowed = ops.where(mask, x, -np.inf)
    top = max_(allowed, axis=axes, keepdims=True)
    # A row of nothing but -inf must not meet its own maximum: inf - inf is NaN.
    weights = ops.exp(allowed - ops.where(top == -np.inf, 0, top))
    total = sum_(weights, axis=axes, keepdims=True)
    return weights / ops.where(total == 0, 1, total)


def _gradient(g: Tensor, out: Tensor, x: Tensor, mask: Tensor, axes: Axes) -> Gradients:
    return [out * (g - sum_(g * out, axis=axes, keepdims=True)), None]


def _batch(size: Dim, batched: tuple[bool, ...], node: Node, x: Tensor, mask: Tensor) -> Tensor:
    scores = x if batched[0] else stacked(x, size)
    allowed = with_rank(mask, node.type.ndim) if batched[1] else mask
    return _MASKED_SOFTMAX(scores, allowed, axes=next_axes(size, node.attrs["axes"]))


def _meaning(x: Array, mask: Array, axis: int) -> Array:
    """Return the probabilities of one row after the other, from the allowed scores only."""
    found = np.zeros(x.shape)
    rows, allowed = np.moveaxis(x, axis, -1), np.moveaxis(np.broadcast_to(mask, x.shape), axis, -1)
    results = np.moveaxis(found, axis, -1)
    for at in np.ndindex(*rows.shape[:-1]):
        weights = np.exp(rows[at][allowed[at]])
        results[at][allowed[at]] = weights / weights.sum()
    return found


def _samples() -> Iterable[Sample]:
    rng = np.random.default_rng(22)
    x = rng.normal(size=(3, 4, 2)) * 3
    mask = rng.random((3, 4, 2)) > 0.4
    mask[1, :, 1] = False
    for axis in (1, 0, -1):
        yield Sample((x, mask), {"axis": axis}, expected=_meaning(x, mask, axis))
    for part in (mask[:, :1], mask[0], mask[0, 0], np.array(True), np.array(False)):
        yield Sample((x, part), {"axis": 1}, expected=_meaning(x, part, 1))
    for shape in ((1,), (0, 3), (3, 0)):
        y = rng.normal(size=shape)
        yield Sample((y, np.ones(shape, bool)), {}, expected=np.ones(shape))
    inf, nan = np.inf, np.nan
    special = np.array([[nan, 1.0, 1.0], [1.0, nan, 2.0], [-inf, -inf, 3.0], [1e300, -1e300, inf]])
    allowed = np.array([True, True, False])
    expected = np.array([[nan, nan, 0.0], [nan, nan, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    # What is not allowed is 0 beside numbers; beside NaN nothing is promised.
    expected[:2, 2] = nan
    yield Sample((special, allowed), {}, expected=expected, differentiable=False)


def _errors() -> Iterable[ErrorSample]:
    x, mask = np.ones((2, 1)), np.ones((2, 1), bool)
    yield ErrorSample(lambda: masked_softmax(x, mask, axis=2), ArgumentError, "out of range")
    yield ErrorSample(lambda: masked_softmax(x, x), DTypeError, "mask")
    yield ErrorSample(lambda: masked_softmax(x, np.ones((2, 3), bool)), ShapeError, "does not broadcast")
    yield ErrorSample(lambda: masked_softmax(x, mask[None]), ShapeError, "does not broadcast")


_MASKED_SOFTMAX = Op(
    "masked_softmax",
    _rule,
    _numpy,
    Expand(_expand),
    attributes={"axes": AXES},
    gradient=_gradient,
    batch=_batch,
    api=masked_softmax,
    samples=_samples,
    errors=_errors,
    dtypes=FLOATS,
    cost=16,
)
