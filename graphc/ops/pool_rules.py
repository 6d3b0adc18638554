"""The ops of pooling: largest and average element of each window, and their adjoints.

A max pool passes its gradient to one element of each window, the first largest, which
`max_pool_index` finds as a flat tap number.  `max_pool_scatter` (its gradient) adds up at
each position the values of the windows that chose it, and `max_pool_gather` reads back the
chosen elements: the two are adjoint, as are `avg_pool` and `avg_pool_grad`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from graphc.dims import Shape
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Index, Map, Site
from graphc.ops import pool_samples
from graphc.ops.attributes import SIZE, Attributes, tuple_of
from graphc.ops.batching import merged
from graphc.ops.op import Array, Gradients, Infer, Op
from graphc.ops.windows import PAD, STEPS, WINDOWS, IntPads, Ints, Pads, Windows, spread_windows, take_windows
from graphc.tensor import Tensor
from graphc.types import FLOATS, INT64, NUMERIC, DType, TensorType, is_float


def _lowest(dtype: DType) -> float:
    """Return what padding holds, so that it never is the largest."""
    return -np.inf if is_float(dtype) else int(np.iinfo(dtype).min)


def _zero(site: Site) -> Expr:
    return expr.const(0, site.type.dtype)


def _pooled(ctx: Infer, x: TensorType, windows: Windows) -> Shape:
    ctx.rank(x, len(windows.stride) + 2, "input")
    return (*x.shape[:2], *windows.counts(ctx, x.shape[2:]))


def _unpooled(ctx: Infer, g: TensorType, windows: Windows, size: Shape) -> Shape:
    ctx.rank(g, len(windows.stride) + 2, "operand")
    for n, count in zip(g.shape[2:], windows.counts(ctx, size), strict=True):
        ctx.same(n, count, "number of windows")
    return (*g.shape[:2], *size)


def _fold(kind: str, extents: Ints, body: Callable[[Index], Expr]) -> Expr:
    """Reduce over a window; a single entry needs no loop."""
    if set(extents) == {1} and not kind.startswith("arg"):
        return body((expr.ZERO,) * len(extents))
    return expr.fold(kind, extents, body)


def _covering(site: Site, position: Index, counts: Shape, value: Callable[[Index, Index], Expr]) -> Expr:
    """Sum ``value(window, tap)`` over the windows that read `position`."""
    windows = Windows.of(site.attrs)
    taps: Ints = site.attrs["kernel"]
    # So many windows at most cover a position: ceil(span / stride).
    extents = tuple(
        (k - 1) * d // s + 1 for k, s, d in zip(taps, windows.stride, windows.dilation, strict=True)
    )

    def body(back: Index) -> Expr:
        reads = expr.TRUE
        window: list[Expr] = []
        tap: list[Expr] = []
        for axis, (p, j) in enumerate(zip(position, back, strict=True)):
            stride, gap = windows.stride[axis], windows.dilation[axis]
            place = p + expr.size(windows.padding[axis][0])
            # The last window that starts at or before the position, and `j` windows further back.
            w = place // stride - j
            offset = place - w * stride
            t = offset // gap
            inside = (w >= 0) & (w < expr.size(counts[axis]))
            reads = reads & inside & (offset % gap).eq(0) & (t < taps[axis])
            window.append(w)
            tap.append(t)
        return expr.guard(reads, value(tuple(window), tuple(tap)), _zero(site))

    return _fold("sum", extents, body)


# ------------------------------------------------------------------ largest
def _max_rule(ctx: Infer, x: TensorType, **attrs: Any) -> TensorType:
    ctx.dtype_in(x.dtype, NUMERIC, "input")
    return TensorType(_pooled(ctx, x, Windows.of(attrs)), x.dtype)


def _max_index_rule(ctx: Infer, x: TensorType, **attrs: Any) -> TensorType:
    return TensorType(_max_rule(ctx, x, **attrs).shape, INT64)


def _flat_windows(x: Array, kernel: Ints, **attrs: Any) -> Array:
    windows = take_windows(x, kernel, fill=_lowest(x.dtype), **attrs)
    return windows.reshape(*windows.shape[: x.ndim], prod(kernel))


def _max_numpy(x: Array, **attrs: Any) -> Array:
    largest: Array = _flat_windows(x, **attrs).max(axis=-1)
    return largest


def _max_index_numpy(x: Array, **attrs: Any) -> Array:
    return np.asarray(_flat_windows(x, **attrs).argmax(axis=-1))


def _window_reduction(kind: str) -> Callable[[Site, Index], Expr]:
    """Return the lowering that reduces each window by `kind`, padding never winning."""

    def lower(site: Site, index: Index) -> Expr:
        windows, x = Windows.of(site.attrs), site.inputs[0]
        padding = expr.const(_lowest(x.dtype), x.dtype)

        def body(tap: Index) -> Expr:
            position = windows.position(index[2:], tap)
            inside = windows.inside(position, x.shape[2:])
            return expr.guard(inside, site.read(0, (*index[:2], *position)), padding)

        return _fold(kind, site.attrs["kernel"], body)

    return lower


def _max_gradient(g: Tensor, out: Tensor, x: Tensor, **attrs: Any) -> Gradients:
    return [MAX_POOL_SCATTER(g, MAX_POOL_INDEX(x, **attrs), size=x.shape[2:], **attrs)]


_POOLED: Attributes = {"kernel": STEPS, **WINDOWS}
_SPATIAL = tuple_of(SIZE, like="kernel")

MAX_POOL: Op = Op(
    "max_pool",
    _max_rule,
    _max_numpy,
    Map(_window_reduction("max")),
    attributes=_POOLED,
    gradient=_max_gradient,
    batch=merged,
    samples=lambda: pool_samples.max_samples(MAX_POOL),
    errors=pool_samples.max_errors,
    dtypes=NUMERIC,
    cost=8,
)
MAX_POOL_INDEX: Op = Op(
    "max_pool_index",
    _max_index_rule,
    _max_index_numpy,
    Map(_window_reduction("argmax")),
    attributes=_POOLED,
    batch=merged,
    samples=lambda: pool_samples.index_samples(MAX_POOL_INDEX),
    dtypes=NUMERIC,
    cost=8,
)


# -------------------------------------------------- moving values by tap number
def _chosen(ctx: Infer, index: TensorType, shape: Shape) -> None:
    ctx.dtype_in(index.dtype, (INT64,), "tap numbers")
    ctx.rank(index, len(shape), "tap numbers")
    for n, m in zip(index.shape, shape, strict=True):
        ctx.same(n, m, "shapes of tap numbers and windows differ")


def _scatter_rule(ctx: Infer, g: TensorType, index: TensorType, size: Shape, **attrs: Any) -> TensorType:
    _chosen(ctx, index, g.shape)
    return TensorType(_unpooled(ctx, g, Windows.of(attrs), size), g.dtype)


def _scatter_numpy(g: Array, index: Array, kernel: Ints, size: Ints, **attrs: Any) -> Array:
    zero = np.zeros((), g.dtype)
    parts = ((tap, np.where(index == flat, g, zero)) for flat, tap in enumerate(np.ndindex(*kernel)))
    return spread_windows((*g.shape[:2], *size), g.dtype, parts, **attrs)


def _scatter_lower(site: Site, index: Index) -> Expr:
    taps: Ints = site.attrs["kernel"]

    def value(window: Index, tap: Index) -> Expr:
        flat = expr.ZERO
        for k, t in zip(taps, tap, strict=True):
            flat = flat * k + t
        at = (*index[:2], *window)
        return expr.where(site.read(1, at).eq(flat), site.read(0, at), _zero(site))

    return _covering(site, index[2:], site.inputs[0].shape[2:], value)


def _scatter_gradient(
    h: Tensor, out: Tensor, g: Tensor, index: Tensor, size: Shape, **attrs: Any
) -> Gradients:
    return [MAX_POOL_GATHER(h, index, **attrs), None]


def _gather_rule(ctx: Infer, x: TensorType, index: TensorType, **attrs: Any) -> TensorType:
    shape = _pooled(ctx, x, Windows.of(attrs))
    _chosen(ctx, index, shape)
    return TensorType(shape, x.dtype)


def _gather_numpy(x: Array, index: Array, kernel: Ints, **attrs: Any) -> Array:
    windows = take_windows(x, kernel, fill=0, **attrs)
    flat = windows.reshape(*index.shape, prod(kernel))
    return np.take_along_axis(flat, index[..., None], axis=-1)[..., 0]


def _gather_lower(site: Site, index: Index) -> Expr:
    windows, x = Windows.of(site.attrs), site.inputs[0]
    rest = site.read(1, index)
    tap: list[Expr] = []
    for k in reversed(site.attrs["kernel"]):
        tap.insert(0, rest % k)
        rest = rest // k
    position = windows.position(index[2:], tuple(tap))
    inside = windows.inside(position, x.shape[2:])
    return expr.guard(inside, site.read(0, (*index[:2], *position)), _zero(site))


def _gather_gradient(g: Tensor, out: Tensor, x: Tensor, index: Tensor, **attrs: Any) -> Gradients:
    return [MAX_POOL_SCATTER(g, index, size=x.shape[2:], **attrs), None]


MAX_POOL_SCATTER: Op = Op(
    "max_pool_scatter",
    _scatter_rule,
    _scatter_numpy,
    Map(_scatter_lower),
    attributes={**_POOLED, "size": _SPATIAL},
    gradient=_scatter_gradient,
    batch=merged,
    samples=lambda: pool_samples.scatter_samples(MAX_POOL_SCATTER),
    dtypes=NUMERIC,
    cost=8,
)
MAX_POOL_GATHER: Op = Op(
    "max_pool_gather",
    _gather_rule,
    _gather_numpy,
    Map(_gather_lower),
    attributes=_POOLED,
    gradient=_gather_gradient,
    batch=merged,
    samples=lambda: pool_samples.gather_samples(MAX_POOL_GATHER),
    dtypes=NUMERIC,
    cost=2,
)


# ------------------------------------------------------------------ average
# `counted` is how far before and after the input elements enter the divisor: the padding, or nothing.
def _avg_rule(ctx: Infer, x: TensorType, counted: Pads, **attrs: Any) -> TensorType:
    ctx.dtype_in(x.dtype, FLOATS, "input")
    return TensorType(_pooled(ctx, x, Windows.of(attrs)), x.dtype)


def _divisors(counts: Ints, size: Ints, attrs: dict[str, Any], counted: IntPads) -> Array:
    """Return how many elements each window averages."""
    result = np.ones(())
    taps = zip(attrs["kernel"], attrs["stride"], attrs["padding"], attrs["dilation"], strict=True)
    for (k, s, (before, _), d), n, size_n, (low, high) in zip(taps, counts, size, counted, strict=True):
        places = np.arange(n)[:, None] * s - before + np.arange(k) * d
        inside = (places >= -low) & (places < size_n + high)
        result = result[..., None] * inside.sum(axis=1)
    return result


def _avg_numpy(x: Array, counted: IntPads, **attrs: Any) -> Array:
    windows = take_windows(x, fill=0, **attrs)
    rank = len(attrs["kernel"])
    total = windows.sum(axis=tuple(range(x.ndim, x.ndim + rank)))
    divisors = _divisors(total.shape[2:], x.shape[2:], attrs, counted)
    quotient: Array = total / divisors.astype(x.dtype)
    return quotient


def _divisor(site: Site, window: Index, size: Shape) -> Expr:
    """Return how many elements a window averages, from where it begins and ends."""
    attrs, found = site.attrs, expr.index_const(1)
    axes = zip(attrs["kernel"], attrs["stride"], attrs["padding"], attrs["counted"], strict=True)
    for o, n, (k, s, padding, counted) in zip(window, size, axes, strict=True):
        if padding == counted:
            found = found * k
            continue
        start = o * s - expr.size(padding[0])
        low, high = -expr.size(counted[0]), expr.size(n) + expr.size(counted[1])
        found = found * (expr.call("min", start + k, high) - expr.call("max", start, low))
    return expr.cast(found, site.type.dtype)


def _avg_lower(site: Site, index: Index) -> Expr:
    windows, size = Windows.of(site.attrs), site.inputs[0].shape[2:]

    def body(tap: Index) -> Expr:
        position = windows.position(index[2:], tap)
        value = site.read(0, (*index[:2], *position))
        return expr.guard(windows.inside(position, size), value, _zero(site))

    return _fold("sum", site.attrs["kernel"], body) / _divisor(site, index[2:], size)


def _avg_gradient(g: Tensor, out: Tensor, x: Tensor, **attrs: Any) -> Gradients:
    return [AVG_POOL_GRAD(g, size=x.shape[2:], **attrs)]


def _avg_grad_rule(ctx: Infer, g: TensorType, counted: Pads, size: Shape, **attrs: Any) -> TensorType:
    ctx.dtype_in(g.dtype, FLOATS, "operand")
    return TensorType(_unpooled(ctx, g, Windows.of(attrs), size), g.dtype)


def _avg_grad_numpy(g: Array, counted: IntPads, size: Ints, **attrs: Any) -> Array:
    share = g / _divisors(g.shape[2:], size, attrs, counted).astype(g.dtype)
    kernel = attrs.pop("kernel")
    parts = ((tap, share) for tap in np.ndindex(*kernel))
    return spread_windows((*g.shape[:2], *size), g.dtype, parts, **attrs)


def _avg_grad_lower(site: Site, index: Index) -> Expr:
    def value(window: Index, tap: Index) -> Expr:
        return site.read(0, (*index[:2], *window)) / _divisor(site, window, site.type.shape[2:])

    return _covering(site, index[2:], site.inputs[0].shape[2:], value)


def _avg_grad_gradient(h: Tensor, out: Tensor, g: Tensor, size: Shape, **attrs: Any) -> Gradients:
    return [AVG_POOL(h, **attrs)]


_AVERAGED: Attributes = {**_POOLED, "counted": tuple_of(PAD, like="kernel")}

AVG_POOL: Op = Op(
    "avg_pool",
    _avg_rule,
    _avg_numpy,
    Map(_avg_lower),
    attributes=_AVERAGED,
    gradient=_avg_gradient,
    batch=merged,
    samples=lambda: pool_samples.avg_samples(AVG_POOL),
    errors=pool_samples.avg_errors,
    dtypes=FLOATS,
    cost=8,
)
AVG_POOL_GRAD: Op = Op(
    "avg_pool_grad",
    _avg_grad_rule,
    _avg_grad_numpy,
    Map(_avg_grad_lower),
    attributes={**_AVERAGED, "size": _SPATIAL},
    gradient=_avg_grad_gradient,
    batch=merged,
    samples=lambda: pool_samples.avg_grad_samples(AVG_POOL_GRAD),
    dtypes=FLOATS,
    cost=8,
)
