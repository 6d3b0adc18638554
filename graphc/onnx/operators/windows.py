"""Windows over spatial axes: convolutions and pooling."""

from __future__ import annotations

from dataclasses import dataclass

import graphc as gx
from graphc import dims
from graphc.dims import Dim, Shape
from graphc.onnx.call import Call
from graphc.onnx.registry import converter
from graphc.ops.conv_rules import CONV, CONV_INPUT_GRAD
from graphc.ops.pool_rules import AVG_POOL, MAX_POOL, MAX_POOL_INDEX
from graphc.ops.slicing import place
from graphc.tensor import Tensor

Ints = tuple[int, ...]
Pairs = tuple[tuple[Dim, Dim], ...]
AUTO = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


@dataclass(frozen=True)
class Geometry:
    """Where windows lie: their taps, steps and what surrounds the input.

    Attributes
    ----------
    kernel, stride, dilation : tuple of int
        Per spatial axis.
    padding : tuple of (before, after)
        Per spatial axis.
    """

    kernel: Ints
    stride: Ints
    dilation: Ints
    padding: Pairs

    @property
    def spans(self) -> Ints:
        """How far windows reach."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))


def geometry(call: Call, space: Shape, kernel: Ints) -> Geometry:
    """Return the geometry that the attributes of a convolution or pooling say."""
    rank = len(space)
    stride = call.integers("strides", None) or (1,) * rank
    dilation = call.integers("dilations", None) or (1,) * rank
    pads = call.integers("pads", None) or (0,) * (2 * rank)
    if not len(kernel) == len(stride) == len(dilation) == rank == len(pads) / 2:
        call.fail("attributes do not fit the rank", expected=f"{rank} spatial axes", given=str(kernel))
    auto = call.choice("auto_pad", "NOTSET", AUTO)
    given = Geometry(kernel, stride, dilation, tuple(zip(pads[:rank], pads[rank:], strict=True)))
    if auto == "NOTSET":
        return given
    if auto == "VALID":
        return Geometry(kernel, stride, dilation, ((0, 0),) * rank)
    sizes = zip(space, given.spans, stride, strict=True)
    same = tuple(_same(n, span, step, auto == "SAME_LOWER") for n, span, step in sizes)
    return Geometry(kernel, stride, dilation, same)


def _same(size: Dim, span: int, step: int, lower: bool) -> tuple[Dim, Dim]:
    """Return the padding that gives ``ceil(size / step)`` windows."""
    count = dims.floordiv(size + (step - 1), step)
    total = dims.maximum((count - 1) * step + span - size, 0)
    half = dims.floordiv(total, 2)
    return (total - half, half) if lower else (half, total - half)


# ----------------------------------------------------------------- convolutions
@converter("Conv")
def _conv(call: Call) -> Tensor:
    return _biased(call, convolved(call, call.tensor(0), call.tensor(1)))


def convolved(call: Call, x: Tensor, w: Tensor) -> Tensor:
    """Return the convolution that the attributes of a call say."""
    kernel = call.integers("kernel_shape", None) or _taps(call, w)
    g = geometry(call, x.shape[2:], kernel)
    groups = call.integer("group", 1)
    return CONV(x, w, stride=g.stride, padding=g.padding, dilation=g.dilation, groups=groups)


def _taps(call: Call, w: Tensor) -> Ints:
    """Return the taps of weights, whose number must be fixed."""
    found = tuple(n for n in w.shape[2:] if isinstance(n, int))
    if len(found) != w.ndim - 2:
        call.fail("a kernel whose size has a name", given=str(w.type))
    return found


def _biased(call: Call, x: Tensor) -> Tensor:
    return x + gx.reshape(call.tensor(2), (1, -1, *[1] * (x.ndim - 2))) if call.has(2) else x


@converter("ConvTranspose")
def _conv_transpose(call: Call) -> Tensor:
    x, w = call.tensor(0), call.tensor(1)
    rank = x.ndim - 2
    kernel = call.integers("kernel_shape", None) or _taps(call, w)
    stride = call.integers("strides", None) or (1,) * rank
    dilation = call.integers("dilations", None) or (1,) * rank
    extra = call.integers("output_padding", None) or (0,) * rank
    pads = call.integers("pads", None) or (0,) * (2 * rank)
    spans = Geometry(kernel, stride, dilation, ()).spans
    auto = call.choice("auto_pad", "NOTSET", AUTO)
    full = [(n - 1) * s + span + e for n, s, span, e in zip(x.shape[2:], stride, spans, extra, strict=True)]
    wanted = call.integers("output_shape", None)
    if wanted is not None:
        crops = [_cropped(n, want, auto) for n, want in zip(full, wanted[-rank:], strict=True)]
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        crops = [_cropped(n, m * s, auto) for n, m, s in zip(full, x.shape[2:], stride, strict=True)]
    elif auto == "VALID":
        crops = [(0, 0)] * rank
    else:
        crops = list(zip(pads[:rank], pads[rank:], strict=True))
    size = tuple(n - a - b for n, (a, b) in zip(full, crops, strict=True))
    # Growing the result at its end is the same as cropping less there.
    padding = tuple((a, b - e) for (a, b), e in zip(crops, extra, strict=True))
    groups = call.integer("group", 1)
    found = CONV_INPUT_GRAD(x, w, stride=stride, padding=padding, dilation=dilation, groups=groups, size=size)
    return _biased(call, found)


def _cropped(size: Dim, want: Dim, auto: str) -> tuple[Dim, Dim]:
    total = size - want
    half = dims.floordiv(total, 2)
    return (half, total - half) if auto == "SAME_UPPER" else (total - half, half)


# ---------------------------------------------------------------------- pooling
def _pool_geometry(call: Call, x: Tensor) -> Geometry:
    call.needs("kernel_shape")
    g = geometry(call, x.shape[2:], call.integers("kernel_shape", ()))
    return _rounded_up(g, x.shape[2:]) if call.flag("ceil_mode") else g


def _rounded_up(g: Geometry, space: Shape) -> Geometry:
    """Pad at the end until the last window fits that starts in the input or the padding before it."""
    pads = []
    for n, span, step, (before, after) in zip(space, g.spans, g.stride, g.padding, strict=True):
        begun = dims.floordiv(n + before + (step - 1), step)
        fitting = dims.floordiv(n + before + after - span + (step - 1), step) + 1
        count = dims.minimum(begun, fitting)
        pads.append((before, (count - 1) * step + span - n - before))
    return Geometry(g.kernel, g.stride, g.dilation, tuple(pads))


@converter("MaxPool", exact=True)
def _max_pool(call: Call) -> list[Tensor]:
    x = call.tensor()
    g = _pool_geometry(call, x)
    by_columns = call.flag("storage_order")
    found = MAX_POOL(x, kernel=g.kernel, stride=g.stride, padding=g.padding, dilation=g.dilation)
    if not call.wants(1):
        return [found]
    return [found, _positions(x, g, by_columns)]


def _positions(x: Tensor, g: Geometry, by_columns: bool) -> Tensor:
    """Return where each window's largest element is, counted through the whole tensor."""
    tap = MAX_POOL_INDEX(x, stride=g.stride, padding=g.padding, dilation=g.dilation, kernel=g.kernel)
    rank, space = len(g.kernel), x.shape[2:]
    places: list[Tensor] = []
    for axis in reversed(range(rank)):
        within = gx.remainder(tap, g.kernel[axis])
        tap = gx.floor_divide(tap, g.kernel[axis])
        window = gx.arange(within.shape[2 + axis])
        start = gx.reshape(window * g.stride[axis] - g.padding[axis][0], (-1, *[1] * (rank - 1 - axis)))
        places.insert(0, start + within * g.dilation[axis])
    axes = range(rank)
    order = list(reversed(axes)) if by_columns else list(axes)
    flat = gx.zeros_like(places[0])
    for axis in order:
        flat = flat * space[axis] + places[axis]
    image = gx.arange(dims.product(x.shape[:2]))
    return flat + gx.reshape(image, (*x.shape[:2], *[1] * rank)) * dims.product(space)


@converter("AveragePool")
def _average_pool(call: Call) -> Tensor:
    x = call.tensor()
    counted_padding = call.flag("count_include_pad")
    given = geometry(call, x.shape[2:], call.integers("kernel_shape", ()))
    g = _pool_geometry(call, x)
    counted = given.padding if counted_padding else ((0, 0),) * (x.ndim - 2)
    return AVG_POOL(
        x, kernel=g.kernel, stride=g.stride, padding=g.padding, dilation=g.dilation, counted=counted
    )


@converter("LpPool", since=2)
def _power_pool(call: Call) -> Tensor:
    x = call.tensor()
    power = call.integer("p", 2)
    g = _pool_geometry(call, x)
    size = dims.product(g.kernel)
    # An average that counts all padding is the sum over the number of taps.
    mean = AVG_POOL(
        gx.pow(gx.abs(x), power),
        kernel=g.kernel,
        stride=g.stride,
        padding=g.padding,
        dilation=g.dilation,
        counted=g.padding,
    )
    return gx.pow(mean * size, 1 / power)


def _space(x: Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


@converter("GlobalAveragePool")
def _global_average_pool(call: Call) -> Tensor:
    return gx.mean(call.tensor(), axis=_space(call.tensor()), keepdims=True)


@converter("GlobalMaxPool", exact=True)
def _global_max_pool(call: Call) -> Tensor:
    return gx.max(call.tensor(), axis=_space(call.tensor()), keepdims=True)


@converter("GlobalLpPool", since=2)
def _global_power_pool(call: Call) -> Tensor:
    x, power = call.tensor(), call.integer("p", 2)
    total = gx.sum(gx.pow(gx.abs(x), power), axis=_space(x), keepdims=True)
    return gx.pow(total, 1 / power)


@converter("MaxUnpool", since=9)
def _max_unpool(call: Call) -> Tensor:
    """Put values back at positions that are counted through the whole tensor."""
    x, places = call.tensor(0), call.tensor(1)
    call.needs("kernel_shape")
    kernel = call.integers("kernel_shape", ())
    rank = len(kernel)
    stride = call.integers("strides", None) or (1,) * rank
    pads = call.integers("pads", None) or (0,) * (2 * rank)
    pairs = zip(pads[:rank], pads[rank:], strict=True)
    natural = tuple(
        (n - 1) * s + k - a - b for n, s, k, (a, b) in zip(x.shape[2:], stride, kernel, pairs, strict=True)
    )
    shape = call.dims(2) if call.has(2) else (*x.shape[:2], *natural)
    # Positions count through the result as the pooling had it, which output_shape may enlarge.
    inner = (*x.shape[:2], *natural)
    flat = gx.scatter_add(
        gx.zeros((dims.product(inner),), dtype=x.dtype), gx.reshape(places, (-1,)), gx.reshape(x, (-1,))
    )
    found = gx.reshape(flat, inner)
    return found if shape == inner else place(found, shape, [0] * x.ndim, [1] * x.ndim, 0)
