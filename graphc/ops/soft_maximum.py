"""softmax, log_softmax and logsumexp: stable, each one op until it is compiled.

All subtract the row's maximum first, so finite operands of any size neither overflow nor
lose the result.  Their gradients are closed forms of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphc import ops
from graphc.errors import ArgumentError
from graphc.lower.rules import Expand
from graphc.ops.attributes import AXES, REDUCED
from graphc.ops.batching import batch_by, next_axes
from graphc.ops.extrema import max as max_
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.ops.reductions import Axes, keep_axes, reduced_shape, reduction_axes
from graphc.ops.reductions import sum as sum_
from graphc.ops.statistics import as_float
from graphc.tensor import Axes as AxisLike
from graphc.tensor import Tensor, TensorLike
from graphc.types import FLOATS, TensorType

__all__ = ["log_softmax", "logsumexp", "softmax"]

Array = np.ndarray[Any, Any]


# ---------------------------------------------------------------- public face
def softmax(x: TensorLike, axis: AxisLike = -1) -> Tensor:
    """Turn scores into probabilities: ``exp(x) / sum(exp(x))`` along an axis.

    Parameters
    ----------
    x : array_like
        Scores.
    axis : int or tuple of int, default -1
        Axis over which the result sums to one.

    Returns
    -------
    Tensor
        NaN where a row holds NaN or +inf, or nothing but -inf.

    Raises
    ------
    ArgumentError
        If the axis does not exist.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.softmax(gx.constant([1000.0, 1000.0])))
    array([0.5, 0.5])
    """
    t = as_float(x)
    return _SOFTMAX(t, axes=reduction_axes(axis, t.ndim, "softmax"))


def log_softmax(x: TensorLike, axis: AxisLike = -1) -> Tensor:
    """Compute the logarithm of `softmax` without forming probabilities that round to zero.

    Parameters
    ----------
    x : array_like
        Scores.
    axis : int or tuple of int, default -1
        Axis over which the probabilities sum to one.

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If the axis does not exist.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.log_softmax(gx.constant([0.0, -1000.0])))
    array([    0., -1000.])
    """
    t = as_float(x)
    return _LOG_SOFTMAX(t, axes=reduction_axes(axis, t.ndim, "log_softmax"))


def logsumexp(x: TensorLike, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Compute ``log(sum(exp(x)))`` over axes.

    Parameters
    ----------
    x : array_like
        Operand.
    axis : int or tuple of int, optional
        Axes to reduce; by default all.
    keepdims : bool, default False
        Keep the reduced axes with size 1.

    Returns
    -------
    Tensor
        -inf where there is nothing but -inf, +inf where there is a +inf; the gradient of a
        row of nothing but -inf is zero.

    Raises
    ------
    ArgumentError
        If an axis does not exist or is named twice.

    Examples
    --------
    >>> import graphc as gx
    >>> round(float(gx.evaluate(gx.logsumexp(gx.constant([1000.0, 1000.0])))), 4)
    1000.6931
    """
    t = as_float(x)
    axes = reduction_axes(axis, t.ndim, "logsumexp")
    return _LOGSUMEXP(t, axes=axes, keepdims=bool(keepdims)) if axes else t


# ------------------------------------------------------------- softmax functions
def below_max(x: Tensor, axes: Axes) -> Tensor:
    """Return `x` minus its maximum over axes."""
    if 0 in (x.shape[a] for a in axes):
        return x
    return x - max_(x, axis=axes, keepdims=True)


def _softmax_rule(ctx: Infer, x: TensorType, axes: Axes) -> TensorType:
    ctx.dtype_in(x.dtype, FLOATS)
    return x


def _below_max_numpy(x: Array, axes: Axes) -> Any:
    return x - np.max(x, axis=axes, keepdims=True, initial=-np.inf)


def _softmax_numpy(x: Array, axes: Axes) -> Any:
    weights = np.exp(_below_max_numpy(x, axes))
    return weights / np.sum(weights, axis=axes, keepdims=True)


def _log_softmax_numpy(x: Array, axes: Axes) -> Any:
    shifted = _below_max_numpy(x, axes)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axes, keepdims=True))


def _softmax_expand(x: Tensor, axes: Axes) -> Tensor:
    weights = ops.exp(below_max(x, axes))
    return weights / sum_(weights, axis=axes, keepdims=True)


def _log_softmax_expand(x: Tensor, axes: Axes) -> Tensor:
    shifted = below_max(x, axes)
    return shifted - ops.log(sum_(ops.exp(shifted), axis=axes, keepdims=True))


def _softmax_gradient(g: Tensor, out: Tensor, x: Tensor, axes: Axes) -> Gradients:
    return [out * (g - sum_(g * out, axis=axes, keepdims=True))]


def _log_softmax_gradient(g: Tensor, out: Tensor, x: Tensor, axes: Axes) -> Gradients:
    return [g - ops.exp(out) * sum_(g, axis=axes, keepdims=True)]


def _softmax_samples(log: bool) -> Callable[[], Iterable[Sample]]:
    def meaning(x: Array, axis: Any) -> Array:
        # Extended precision needs no shift at these magnitudes: another route.
        weights = np.exp(x.astype(np.longdouble))
        ratio = weights / weights.sum(axis, keepdims=True)
        return np.asarray(np.log(ratio) if log else ratio, x.dtype)

    def samples() -> Iterable[Sample]:
        rng = np.random.default_rng(12)
        x = rng.normal(size=(3, 4, 2)) * 3
        for axis in (-1, 1, 0, (0, 2)):
            yield Sample((x,), {"axis": axis}, expected=meaning(x, axis))
        for shape in ((1,), (3, 1), (0, 3), (3, 0), (7,)):
            y = rng.normal(size=shape)
            yield Sample((y,), {}, expected=meaning(y, -1))
        large = np.array([[1e300, -1e300, 1e300], [-1e300, -1e300, -1e300], [0.0, -np.inf, 0.0]])
        halves, thirds = np.array([0.5, 0.0, 0.5]), np.full(3, 1 / 3)
        probabilities = np.stack([halves, thirds, halves])
        with np.errstate(divide="ignore"):
            expected = np.log(probabilities) if log else probabilities
        expected[0, 1] = -2e300 if log else 0.0
        yield Sample((large,), {}, expected=expected, differentiable=False)
        nans = np.array([[np.nan, 1.0], [np.inf, 1.0], [-np.inf, -np.inf]])
        yield Sample((nans,), {}, expected=np.full((3, 2), np.nan), differentiable=False)

    return samples


def _axis_errors(function: Callable[..., Any]) -> Callable[[], Iterable[ErrorSample]]:
    return lambda: (
        ErrorSample(lambda: function(np.ones((2, 3)), axis=2), ArgumentError, "out of range"),
        ErrorSample(lambda: function(np.ones((2, 3)), axis=(1, -1)), ArgumentError, "named twice"),
    )


_SOFTMAX = Op(
    "softmax",
    _softmax_rule,
    _softmax_numpy,
    Expand(_softmax_expand),
    attributes={"axes": AXES},
    gradient=_softmax_gradient,
    batch=batch_by(axes=next_axes),
    api=softmax,
    samples=_softmax_samples(log=False),
    errors=_axis_errors(softmax),
    dtypes=FLOATS,
    cost=16,
)
_LOG_SOFTMAX = Op(
    "log_softmax",
    _softmax_rule,
    _log_softmax_numpy,
    Expand(_log_softmax_expand),
    attributes={"axes": AXES},
    gradient=_log_softmax_gradient,
    batch=batch_by(axes=next_axes),
    api=log_softmax,
    samples=_softmax_samples(log=True),
    errors=_axis_errors(log_softmax),
    dtypes=FLOATS,
    cost=16,
)


# -------------------------------------------------------------------- logsumexp
def _logsumexp_rule(ctx: Infer, x: TensorType, axes: Axes, keepdims: bool) -> TensorType:
    ctx.dtype_in(x.dtype, FLOATS)
    return TensorType(reduced_shape(x.shape, axes, keepdims), x.dtype)


def _logsumexp_numpy(x: Array, axes: Axes, keepdims: bool) -> Any:
    top = np.max(x, axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, x.dtype.type(0))
    kept = np.log(np.sum(np.exp(x - top), axis=axes, keepdims=True)) + top
    return kept if keepdims else np.squeeze(kept, axes)


def _logsumexp_expand(x: Tensor, axes: Axes, keepdims: bool) -> Tensor:
    if 0 in (x.shape[a] for a in axes):
        return ops.log(sum_(ops.exp(x), axis=axes, keepdims=keepdims))
    top = max_(x, axis=axes, keepdims=True)
    # An infinite maximum must not meet itself: inf - inf is NaN.
    top = ops.where(ops.isfinite(top), top, 0)
    kept = ops.log(sum_(ops.exp(x - top), axis=axes, keepdims=True)) + top
    return kept if keepdims else ops.squeeze(kept, axes)


def _logsumexp_gradient(g: Tensor, out: Tensor, x: Tensor, axes: Axes, keepdims: bool) -> Gradients:
    kept = keep_axes(out, axes, keepdims)
    shares = ops.exp(x - ops.where(kept == -np.inf, 0, kept))
    return [keep_axes(g, axes, keepdims) * shares]


def _logsumexp_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(13)
    x = rng.normal(size=(3, 4, 2))
    for axis in (None, 1, (0, -1)):
        along = None if axis is None else tuple(a % 3 for a in np.atleast_1d(axis))
        expected = np.logaddexp.reduce(x, along)
        yield Sample((x,), {"axis": axis}, expected=np.asarray(expected))
    yield Sample((x,), {"axis": 1, "keepdims": True}, expected=np.logaddexp.reduce(x, 1, keepdims=True))
    for shape in ((1,), (3, 1), (0, 3)):
        y = rng.normal(size=shape)
        yield Sample((y,), {"axis": -1}, expected=np.asarray(np.logaddexp.reduce(y, -1)))
    yield Sample((np.ones((2, 0)),), {"axis": 1}, expected=np.full(2, -np.inf), differentiable=False)
    inf, nan = np.inf, np.nan
    special = np.array([[-inf, -inf], [inf, 1.0], [nan, 1.0], [1e300, 1e300], [-inf, 2.0], [inf, -inf]])
    found = np.array([-inf, inf, nan, 1e300, 2.0, inf])
    yield Sample((special,), {"axis": 1}, expected=found, differentiable=False)


_LOGSUMEXP = Op(
    "logsumexp",
    _logsumexp_rule,
    _logsumexp_numpy,
    Expand(_logsumexp_expand),
    attributes=REDUCED,
    gradient=_logsumexp_gradient,
    batch=batch_by(axes=next_axes),
    api=logsumexp,
    samples=_logsumexp_samples,
    errors=_axis_errors(logsumexp),
    dtypes=FLOATS,
    cost=16,
)
