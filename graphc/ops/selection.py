"""Choosing between values: the larger, the smaller, the one inside bounds, the one a mask selects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphc.errors import DTypeError
from graphc.lower import expr
from graphc.lower.expr import Expr, call
from graphc.lower.rules import Index, Map, Site
from graphc.ops.batching import aligned
from graphc.ops.elementwise import astype, binary, elementwise_op, operands, unbroadcast
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.tensor import Tensor, TensorLike, as_tensor, promote
from graphc.types import BOOL, DTYPES, NUMERIC, TensorType, is_float

__all__ = ["clip", "maximum", "minimum", "where"]


def _share(g: Tensor, wins: Tensor, loses: Tensor) -> Tensor:
    # Ties (and NaN, which neither wins nor loses) share the cotangent equally.
    return where(wins, g, where(loses, as_tensor(0, g.dtype), g * 0.5))


def _logical_or_max(x: Expr, y: Expr) -> Expr:
    return x | y if x.dtype == BOOL else call("max", x, y)


def _logical_and_min(x: Expr, y: Expr) -> Expr:
    return x & y if x.dtype == BOOL else call("min", x, y)


maximum = binary(
    "maximum",
    np.maximum,
    _logical_or_max,
    doc="Return the larger of two elements; NaN if either is NaN.",
    notes="Where the operands are equal, each gets half of the gradient.",
    commutative=True,
    gradient=lambda g, out, x, y: [_share(g, x > y, x < y), _share(g, y > x, y < x)],
)
minimum = binary(
    "minimum",
    np.minimum,
    _logical_and_min,
    doc="Return the smaller of two elements; NaN if either is NaN.",
    notes="Where the operands are equal, each gets half of the gradient.",
    commutative=True,
    gradient=lambda g, out, x, y: [_share(g, x < y, x > y), _share(g, y < x, y > x)],
)


def _clip_numpy(x: Any, low: Any, high: Any) -> Any:
    return np.minimum(np.maximum(x, low), high)


def _clip_gradient(g: Tensor, out: Tensor, x: Tensor, low: Tensor, high: Tensor) -> Gradients:
    zero = as_tensor(0, g.dtype)
    over, under = x > high, x < low
    # low > high is legal: the result is then `high` everywhere.
    to_low = where(under, where(low <= high, g, zero), zero)
    to_high = where(over, g, where(low > high, g, zero))
    return [where(over, zero, where(under, zero, where(low > high, zero, g))), to_low, to_high]


def _clip_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(11)
    x = rng.normal(size=(3, 5))
    yield Sample((np.abs(x), np.full((3, 5), 0.5), np.full((5,), 1.5)), expected=np.clip)
    yield Sample((x, np.array(-0.4), np.array([[-0.1], [0.2], [0.7]])), expected=np.clip)
    yield Sample((x, np.array(0.5), np.array(-0.5)), expected=np.full((3, 5), -0.5))
    yield Sample((np.zeros((0, 2)), np.array(0.0), np.array(1.0)), expected=np.zeros((0, 2)))
    special = np.array([np.nan, np.inf, -np.inf, 0.0])
    bounds = (np.array(-1.0), np.array([1.0, 1.0, 1.0, np.nan]))
    yield Sample((special, *bounds), expected=np.array([np.nan, 1.0, -1.0, np.nan]), differentiable=False)
    lower = np.maximum(x, 0.25)
    yield Sample((x,), {"min": 0.25}, expected=lower)
    yield Sample((x,), {"max": 0.25}, expected=np.minimum(x, 0.25))
    yield Sample(
        (np.array([-5, 0, 9], np.int8),), {"min": -1, "max": 3}, expected=np.array([-1, 0, 3], np.int8)
    )
    yield Sample((np.array([5, 200], np.uint8),), {"max": 100}, expected=np.array([5, 100], np.uint8))


def clip(x: TensorLike, min: TensorLike | None = None, max: TensorLike | None = None) -> Tensor:
    """Limit the elements of `x` to an interval: ``minimum(maximum(x, min), max)``.

    Parameters
    ----------
    x : array_like
        Operand; any dtype but bool.
    min, max : array_like, optional
        Bounds, which broadcast against `x`; None is no bound.

    Returns
    -------
    Tensor
        Of the broadcast shape; NaN where `x` or a bound is NaN.

    Notes
    -----
    Elements at a bound count as inside: their gradient goes to `x`.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.clip([-3, 1, 8], 0, 5))
    array([0, 1, 5])
    """
    t = as_tensor(x)
    low = _unbounded(t, -1) if min is None else min
    high = _unbounded(t, 1) if max is None else max
    return _CLIP(*operands((t, low, high), NUMERIC))


def _unbounded(x: Tensor, side: int) -> TensorLike:
    """Return the bound of `x`'s own dtype that every element satisfies."""
    if is_float(x.dtype):
        return side * float("inf")
    if x.dtype == BOOL:
        return side > 0
    info = np.iinfo(x.dtype)
    return info.max if side > 0 else info.min


_CLIP = elementwise_op(
    "clip",
    _clip_numpy,
    lambda x, low, high: call("min", call("max", x, low), high),
    dtypes=NUMERIC,
    gradient=_clip_gradient,
    api=clip,
    samples=_clip_samples,
    errors=lambda: (ErrorSample(lambda: clip([True], False, True), DTypeError, "clip: operand 0"),),
)


# ------------------------------------------------------------------- selection
def _where_rule(ctx: Infer, cond: TensorType, x: TensorType, y: TensorType) -> TensorType:
    ctx.dtype_in(cond.dtype, (BOOL,), "condition")
    if x.dtype != y.dtype:
        ctx.dtype_error("branches differ in dtype", x.dtype, y.dtype)
    return TensorType(ctx.broadcast(cond.shape, x.shape, y.shape), x.dtype)


def _where_lower(site: Site, index: Index) -> Expr:
    return expr.where(site.broadcast(0, index), site.broadcast(1, index), site.broadcast(2, index))


def _where_gradient(g: Tensor, out: Tensor, cond: Tensor, x: Tensor, y: Tensor) -> Gradients:
    zero = as_tensor(0, g.dtype)
    return [None, unbroadcast(where(cond, g, zero), x), unbroadcast(where(cond, zero, g), y)]


def _where_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(3)
    for shape in ((3, 5), (0, 2), (1,), ()):
        x, y = rng.normal(size=shape), rng.normal(size=shape)
        yield Sample((rng.random(shape) > 0.5, x, y), expected=np.where)
    yield Sample((np.array([[True], [False]]), np.ones(3), np.zeros((2, 1))), expected=np.where)
    hidden = np.array([np.nan, np.inf, 3.0])
    yield Sample(
        (np.array([False, False, True]), hidden, np.ones(3)),
        expected=np.array([1.0, 1.0, 3.0]),
        differentiable=False,
    )
    for dtype in DTYPES:
        chosen = (np.array([1, 0, 1]).astype(dtype), np.array([0, 1, 1]).astype(dtype))
        yield Sample((np.array([True, False, True]), *chosen), expected=np.where)


def where(condition: TensorLike, x: TensorLike, y: TensorLike) -> Tensor:
    """Choose elementwise: `x` where `condition` is true, else `y`.

    Parameters
    ----------
    condition : array_like of bool
        Selects.
    x, y : array_like
        Choices; all three broadcast, `x` and `y` are promoted to one dtype.

    Returns
    -------
    Tensor

    Raises
    ------
    DTypeError
        If `condition` is not bool.

    Notes
    -----
    Values that are not chosen do not reach the result, be they NaN.  Their gradient is 0;
    an op behind them may still turn that 0 into NaN (0 times an infinite derivative).
    `sqrt`, `pow`, the logarithms and the inverse functions do not; for `divide`, choose a
    safe divisor before dividing.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.where(gx.constant([True, False]), 1, 2))
    array([1, 2])
    """
    (a, b), dtype = promote(x, y)
    return _WHERE(as_tensor(condition), astype(a, dtype), astype(b, dtype))


_WHERE = Op(
    "where",
    _where_rule,
    np.where,
    Map(_where_lower),
    gradient=_where_gradient,
    batch=aligned,
    api=where,
    samples=_where_samples,
    errors=lambda: (ErrorSample(lambda: where(1.0, 2.0, 3.0), DTypeError, "condition"),),
    # The condition is bool whatever the branches are; samples cover every dtype of these.
    dtypes=(BOOL,),
)
