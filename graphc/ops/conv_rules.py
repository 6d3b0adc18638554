"""Type rules, NumPy meanings and lowerings of a convolution and its two adjoints.

The three are one trilinear form in the input ``x[n, c, p]``, the weights ``w[o, c, t]`` and
the result ``y[n, o, q]``, summed where window `q` reads position `p` with tap `t`: each op
takes two of them and returns the third.  Channels split into groups that do not mix.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Contract, Contraction, Index, Site
from graphc.ops.attributes import SIZE, Attributes, optional, tuple_of
from graphc.ops.conv_batching import conv_batch, input_grad_batch, weight_grad_batch
from graphc.ops.conv_samples import (
    conv_errors,
    conv_samples,
    input_grad_samples,
    transpose_errors,
    weight_grad_samples,
)
from graphc.ops.op import Array, Gradients, Infer, Op
from graphc.ops.windows import WINDOWS, IntPads, Pads, Windows, spread_windows, take_windows
from graphc.tensor import Tensor
from graphc.types import NUMERIC, TensorType

Steps = tuple[int, ...]

_WINDOW_LETTERS, _TAP_LETTERS = "xyz", "ijk"


# ------------------------------------------------------------------ type rules
def _operands(ctx: Infer, a: TensorType, b: TensorType, rank: int, names: tuple[str, str]) -> None:
    for t, name in ((a, names[0]), (b, names[1])):
        ctx.dtype_in(t.dtype, NUMERIC, name)
        ctx.rank(t, rank + 2, name)
    if a.dtype != b.dtype:
        ctx.dtype_error("operands differ in dtype", a.dtype, b.dtype)


def _per_group(ctx: Infer, channels: Dim, groups: int, name: str, given: Dim | None = None) -> Dim:
    each = dims.floordiv(channels, groups) if given is None else given
    if isinstance(channels, int) and channels % groups:
        ctx.shape_error(f"{name} do not divide into groups", f"a multiple of {groups} groups", channels)
    ctx.same(each * groups, channels, f"{name} do not divide into groups")
    return each


def conv_rule(
    ctx: Infer, x: TensorType, w: TensorType, stride: Steps, padding: Pads, dilation: Steps, groups: int
) -> TensorType:
    """Return the type of the convolution of an input with weights."""
    _operands(ctx, x, w, len(stride), ("input", "weights"))
    each = _per_group(ctx, x.shape[1], groups, "input channels")
    _per_group(ctx, w.shape[0], groups, "output channels")
    if isinstance(each, int) and isinstance(w.shape[1], int) and each != w.shape[1]:
        ctx.shape_error(
            "channels do not fit", f"weights for {each} channels (in {groups} groups)", f"{x} and {w}"
        )
    ctx.same(each, w.shape[1], "channels of input and weights differ")
    counts = Windows(w.shape[2:], stride, padding, dilation).counts(ctx, x.shape[2:])
    return TensorType((x.shape[0], w.shape[0], *counts), x.dtype)


def input_grad_rule(
    ctx: Infer,
    g: TensorType,
    w: TensorType,
    stride: Steps,
    padding: Pads,
    dilation: Steps,
    groups: int,
    size: Shape,
) -> TensorType:
    """Return the type of the adjoint with respect to the input, of spatial sizes `size`."""
    _operands(ctx, g, w, len(stride), ("result", "weights"))
    _per_group(ctx, w.shape[0], groups, "output channels")
    if isinstance(g.shape[1], int) and isinstance(w.shape[0], int) and g.shape[1] != w.shape[0]:
        ctx.shape_error("channels do not fit", f"weights for {g.shape[1]} channels", f"{g} and {w}")
    ctx.same(g.shape[1], w.shape[0], "channels of result and weights differ")
    for n in size:
        ctx.same(dims.maximum(n, 0), n, "padding crops more than there is")
    counts = Windows(w.shape[2:], stride, padding, dilation).counts(ctx, size)
    for n, count in zip(g.shape[2:], counts, strict=True):
        ctx.same(n, count, "number of windows")
    return TensorType((g.shape[0], w.shape[1] * groups, *size), g.dtype)


def weight_grad_rule(
    ctx: Infer,
    g: TensorType,
    x: TensorType,
    stride: Steps,
    padding: Pads,
    dilation: Steps,
    groups: int,
    kernel: Shape,
    channels: Dim | None = None,
) -> TensorType:
    """Return the type of the adjoint with respect to the weights, of spatial sizes `kernel`.

    `channels` is the number of input channels of a group; needed only where there may be no group.
    """
    _operands(ctx, g, x, len(stride), ("result", "input"))
    _per_group(ctx, g.shape[1], groups, "output channels")
    each = _per_group(ctx, x.shape[1], groups, "input channels", channels)
    ctx.same(g.shape[0], x.shape[0], "batch sizes differ")
    counts = Windows(kernel, stride, padding, dilation).counts(ctx, x.shape[2:])
    for n, count in zip(g.shape[2:], counts, strict=True):
        ctx.same(n, count, "number of windows")
    return TensorType((g.shape[1], each, *kernel), g.dtype)


# -------------------------------------------------------------- NumPy meanings
def _grouped(x: Array, axis: int, groups: int, each: int | None = None) -> Array:
    """Split an axis of channels into groups and channels of a group; no group needs `each` if it matters."""
    count = x.shape[axis] // max(groups, 1) if each is None else each
    return x.reshape(*x.shape[:axis], groups, count, *x.shape[axis + 1 :])


def _einsum(spec: str, a: Array, b: Array, rank: int) -> Array:
    letters = spec.replace("X", _WINDOW_LETTERS[:rank]).replace("T", _TAP_LETTERS[:rank])
    result: Array = np.einsum(letters, a, b, optimize=True)
    return result


def conv_numpy(x: Array, w: Array, groups: int, **attrs: Any) -> Array:
    """Multiply every window with the weights."""
    windows = _grouped(take_windows(x, w.shape[2:], fill=0, **attrs), 1, groups, w.shape[1])
    y = _einsum("ngcXT,gocT->ngoX", windows, _grouped(w, 0, groups), w.ndim - 2)
    return y.reshape(x.shape[0], w.shape[0], *y.shape[3:])


def input_grad_numpy(
    g: Array, w: Array, stride: Steps, padding: IntPads, dilation: Steps, groups: int, size: Steps
) -> Array:
    """Add each tap's products to the positions that the tap reads, one tap after the other."""
    shape = (g.shape[0], w.shape[1] * groups, *size)
    results, weights = _grouped(g, 1, groups), _grouped(w, 0, groups)

    def part(tap: Steps) -> Array:
        of_tap: list[Any] = [..., *tap]
        added = _einsum("ngoX,goc->ngcX", results, weights[tuple(of_tap)], len(size))
        return added.reshape(*shape[:2], *g.shape[2:])

    parts = ((tap, part(tap)) for tap in np.ndindex(*w.shape[2:]))
    return spread_windows(shape, g.dtype, parts, stride, padding, dilation)


def weight_grad_numpy(
    g: Array, x: Array, groups: int, kernel: Steps, channels: int | None = None, **attrs: Any
) -> Array:
    """Sum the products of results and what their windows read."""
    windows = _grouped(take_windows(x, kernel, fill=0, **attrs), 1, groups, channels)
    w = _einsum("ngoX,ngcXT->gocT", _grouped(g, 1, groups), windows, len(kernel))
    return w.reshape(g.shape[1], *w.shape[2:])


# ------------------------------------------------------------------- lowerings
def _channel(group: Expr, each: Dim, within: Expr, groups: int) -> Expr:
    """Return the channel number of a channel of a group."""
    return within if groups == 1 else group * expr.size(each) + within


def _read_window(site: Site, k: int, windows: Windows, index: Index, window: Index, tap: Index) -> Expr:
    """Read operand `k` at (batch, channel) and a tap of a window: 0 in the padding."""
    position = windows.position(window, tap)
    inside = windows.inside(position, site.inputs[k].shape[2:])
    return expr.guard(inside, site.read(k, (*index, *position)), expr.const(0, site.type.dtype))


def conv_lower(site: Site) -> Contraction:
    """Contract input channels and taps; every group is a batch entry."""
    x, w = site.inputs
    groups, windows = site.attrs["groups"], Windows.of(site.attrs, w.shape[2:])
    outputs, inputs = dims.floordiv(w.shape[0], groups), w.shape[1]

    def lhs(b: Index, m: Index, k: Index) -> Expr:
        return site.read(1, (_channel(b[1], outputs, m[0], groups), *k))

    def rhs(b: Index, k: Index, n: Index) -> Expr:
        return _read_window(site, 0, windows, (b[0], _channel(b[1], inputs, k[0], groups)), n, k[1:])

    sizes = site.type.shape
    return Contraction((x.shape[0], groups), (outputs,), sizes[2:], w.shape[1:], lhs, rhs, site.type.dtype)


def input_grad_lower(site: Site) -> Contraction:
    """Contract output channels and those taps through which a window reads the position."""
    g, w = site.inputs
    groups, windows = site.attrs["groups"], Windows.of(site.attrs, w.shape[2:])
    outputs, inputs = dims.floordiv(w.shape[0], groups), w.shape[1]

    def lhs(b: Index, m: Index, k: Index) -> Expr:
        return site.read(1, (_channel(b[1], outputs, k[0], groups), m[0], *k[1:]))

    def rhs(b: Index, k: Index, n: Index) -> Expr:
        reads, window = _reading_window(windows, g.shape[2:], n, k[1:])
        value = site.read(0, (b[0], _channel(b[1], outputs, k[0], groups), *window))
        return expr.guard(reads, value, expr.const(0, site.type.dtype))

    inner = (outputs, *w.shape[2:])
    return Contraction((g.shape[0], groups), (inputs,), site.type.shape[2:], inner, lhs, rhs, site.type.dtype)


def _reading_window(windows: Windows, counts: Shape, position: Index, tap: Index) -> tuple[Expr, Index]:
    """Return which window reads `position` with `tap`, and whether there is one."""
    found = expr.TRUE
    index: list[Expr] = []
    for a, (p, t) in enumerate(zip(position, tap, strict=True)):
        start = p + expr.size(windows.padding[a][0]) - t * windows.dilation[a]
        stride = windows.stride[a]
        window = start // stride
        divides = (start % stride).eq(0)
        found = found & divides & (start >= 0) & (window < expr.size(counts[a]))
        index.append(window)
    return found, tuple(index)


def weight_grad_lower(site: Site) -> Contraction:
    """Contract the batch and all windows."""
    g = site.inputs[0]
    groups, windows = site.attrs["groups"], Windows.of(site.attrs)
    outputs, inputs = dims.floordiv(g.shape[1], groups), site.type.shape[1]

    def lhs(b: Index, m: Index, k: Index) -> Expr:
        return site.read(0, (k[0], _channel(b[0], outputs, m[0], groups), *k[1:]))

    def rhs(b: Index, k: Index, n: Index) -> Expr:
        return _read_window(site, 1, windows, (k[0], _channel(b[0], inputs, n[0], groups)), k[1:], n[1:])

    inner = (g.shape[0], *g.shape[2:])
    return Contraction((groups,), (outputs,), site.type.shape[1:], inner, lhs, rhs, site.type.dtype)


# ----------------------------------------------------------- gradients and ops
def _conv_gradient(g: Tensor, out: Tensor, x: Tensor, w: Tensor, **attrs: Any) -> Gradients:
    return [
        CONV_INPUT_GRAD(g, w, size=x.shape[2:], **attrs),
        CONV_WEIGHT_GRAD(g, x, kernel=w.shape[2:], **attrs),
    ]


def _input_gradient(h: Tensor, out: Tensor, g: Tensor, w: Tensor, size: Shape, **attrs: Any) -> Gradients:
    return [CONV(h, w, **attrs), CONV_WEIGHT_GRAD(g, h, kernel=w.shape[2:], **attrs)]


def _weight_gradient(
    h: Tensor, out: Tensor, g: Tensor, x: Tensor, kernel: Shape, channels: Dim | None = None, **attrs: Any
) -> Gradients:
    return [CONV(x, h, **attrs), CONV_INPUT_GRAD(g, h, size=x.shape[2:], **attrs)]


# A group is empty where the channels are: see `conv_weight_grad`.
_ATTRIBUTES: Attributes = {**WINDOWS, "groups": SIZE}
_SPATIAL = tuple_of(SIZE, like="stride")

CONV: Op = Op(
    "conv",
    conv_rule,
    conv_numpy,
    Contract(conv_lower),
    attributes=_ATTRIBUTES,
    gradient=_conv_gradient,
    batch=conv_batch,
    samples=lambda: conv_samples(CONV),
    errors=conv_errors,
    dtypes=NUMERIC,
    cost=64,
)
CONV_INPUT_GRAD: Op = Op(
    "conv_input_grad",
    input_grad_rule,
    input_grad_numpy,
    Contract(input_grad_lower),
    attributes={**_ATTRIBUTES, "size": _SPATIAL},
    gradient=_input_gradient,
    batch=input_grad_batch,
    samples=lambda: input_grad_samples(CONV_INPUT_GRAD),
    errors=transpose_errors,
    dtypes=NUMERIC,
    cost=64,
)
CONV_WEIGHT_GRAD: Op = Op(
    "conv_weight_grad",
    weight_grad_rule,
    weight_grad_numpy,
    Contract(weight_grad_lower),
    attributes={**_ATTRIBUTES, "kernel": _SPATIAL, "channels": optional(SIZE)},
    gradient=_weight_gradient,
    batch=weight_grad_batch,
    samples=lambda: weight_grad_samples(CONV_WEIGHT_GRAD),
    dtypes=NUMERIC,
    cost=64,
)
