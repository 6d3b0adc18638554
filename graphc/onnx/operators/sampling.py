"""Reading images at positions that are values of the graph."""

from __future__ import annotations

import itertools
from functools import reduce

import numpy as np

import graphc as gx
from graphc.dims import Dim
from graphc.onnx.call import Call
from graphc.onnx.registry import converter
from graphc.ops.counting import size_tensor
from graphc.ops.roi_alignment import weighted_corners
from graphc.tensor import Tensor

# Older versions have words of their own.
_MODES = {
    "bilinear": "linear",
    "bicubic": "cubic",
    "linear": "linear",
    "cubic": "cubic",
    "nearest": "nearest",
}
_PADDINGS = ("zeros", "border", "reflection")


@converter("GridSample", since=16)
def _grid_sample(call: Call) -> Tensor:
    x, grid = call.tensor(0), call.tensor(1)
    mode = _MODES[call.choice("mode", "linear", tuple(_MODES))]
    padding = call.choice("padding_mode", "zeros", _PADDINGS)
    corners = call.flag("align_corners")
    if mode == "cubic":
        return _cubic_sample(x, grid, padding, corners)
    words = {"linear": "bilinear", "nearest": "nearest"}
    return gx.grid_sample(x, grid, mode=words[mode], padding_mode=padding, align_corners=corners)


def _cubic_sample(x: Tensor, grid: Tensor, padding: str, corners: bool) -> Tensor:
    """Interpolate by Keys's curves through four elements along every axis."""
    rank = x.ndim - 2
    axes = []
    for axis in range(rank):
        size = x.shape[2 + axis]
        place = _unnormalized(grid[..., rank - 1 - axis], size, corners)
        first = gx.floor(place)
        axes.append([(first + k, _keys(gx.abs(place - first - k)), size) for k in range(-1, 3)])
    terms = []
    for taps in itertools.product(*axes):
        weight = reduce(gx.multiply, (w for _, w, _ in taps))
        values = _read(x, [(at, size) for at, _, size in taps], padding, corners)
        terms.append(values * gx.expand_dims(weight, 1))
    return reduce(gx.add, terms)


def _unnormalized(place: Tensor, size: Dim, corners: bool) -> Tensor:
    n = size_tensor(size, place.dtype)
    return (place + 1) / 2 * (n - 1) if corners else ((place + 1) * n - 1) / 2


def _keys(distance: Tensor) -> Tensor:
    """Weights of Keys's cubic convolution with parameter -0.75."""
    a, d = -0.75, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return gx.where(d <= 1, near, gx.where(d < 2, far, gx.zeros_like(d)))


def _read(x: Tensor, places: list[tuple[Tensor, Dim]], padding: str, corners: bool) -> Tensor:
    """Return the elements at whole positions, or what lies beyond."""
    inside: Tensor | None = None
    indices = []
    for place, size in places:
        last = size_tensor(size, place.dtype) - 1
        kept = _reflected(place, last, corners) if padding == "reflection" else place
        fits = (kept >= 0) & (kept <= last)
        inside = fits if inside is None else inside & fits
        indices.append(gx.astype(gx.clip(kept, gx.zeros_like(kept), last), "int64"))
    batch = gx.reshape(gx.arange(x.shape[0]), (-1, *[1] * (indices[0].ndim - 1)))
    channels_last = gx.moveaxis(x, 1, -1)
    found = gx.moveaxis(channels_last[(gx.broadcast_to(batch, indices[0].shape), *indices)], -1, 1)
    if padding != "zeros" or inside is None:
        return found
    return gx.where(gx.expand_dims(inside, 1), found, gx.zeros_like(found))


def _reflected(place: Tensor, last: Tensor, corners: bool) -> Tensor:
    """Fold positions back at the borders: at the outer elements' centers, or half an element further."""
    low = 0.0 if corners else -0.5
    span = last - 2 * low
    period = gx.where(span > 0, 2 * span, gx.ones_like(span))
    offset = gx.remainder(place - low, period)
    folded = gx.minimum(offset, period - offset) + low
    return gx.where(span > 0, folded, gx.zeros_like(folded))


@converter("AffineGrid", since=20)
def _affine_grid(call: Call) -> Tensor:
    return gx.affine_grid(call.tensor(0), call.dims(1), align_corners=call.flag("align_corners"))


@converter("RoiAlign", since=10)
def _roi_align(call: Call) -> Tensor:
    x, boxes, images = call.tensor(0), call.tensor(1), call.tensor(2)
    default = "half_pixel" if call.version >= 16 else "output_half_pixel"
    transform = "output_half_pixel"
    if call.version >= 16:
        transform = call.choice(
            "coordinate_transformation_mode", default, ("half_pixel", "output_half_pixel")
        )
    ratio = call.integer("sampling_ratio", 0)
    if ratio <= 0:
        call.fail("regions with as many points as they are large", expected="a fixed sampling_ratio")
    numbered = gx.concat([gx.expand_dims(gx.astype(images, boxes.dtype), 1), boxes], 1)
    cells = call.integer("output_height", 1), call.integer("output_width", 1)
    scale, aligned = call.number("spatial_scale", 1.0), transform == "half_pixel"
    if call.choice("mode", "avg", ("avg", "max")) == "avg":
        return gx.roi_align(x, numbered, cells, scale, sampling_ratio=ratio, aligned=aligned)
    # The largest of all weighted corners of all points, as ONNX has it: not of interpolated values.
    corners = weighted_corners(x, numbered, cells, scale, ratio, aligned)
    return gx.swapaxes(gx.max(reduce(gx.maximum, corners), axis=(3, 5)), 0, 1)


@converter("MaxRoiPool")
def _max_roi_pool(call: Call) -> Tensor:
    call.needs("pooled_shape")
    scale = call.number("spatial_scale", 1.0)
    return gx.roi_pool(call.tensor(0), call.tensor(1), call.integers("pooled_shape", ()), scale)


@converter("Col2Im", since=18)
def _columns_to_image(call: Call) -> Tensor:
    """Add up columns of blocks where the blocks lie in an image."""
    x = call.tensor(0)
    image, block = call.dims(1), [int(n) for n in call.known(2)]
    rank = len(block)
    stride = call.integers("strides", None) or (1,) * rank
    dilation = call.integers("dilations", None) or (1,) * rank
    pads = call.integers("pads", None) or (0,) * (2 * rank)
    sizes = [int(str(n)) for n in image]
    padded = [n + a + b for n, a, b in zip(sizes, pads[:rank], pads[rank:], strict=True)]
    counts = [
        (n - (k - 1) * d - 1) // s + 1 for n, k, d, s in zip(padded, block, dilation, stride, strict=True)
    ]
    places = np.zeros((*block, *counts), np.int64)
    for axis in range(rank):
        taps = np.arange(block[axis]) * dilation[axis]
        starts = np.arange(counts[axis]) * stride[axis]
        line = taps[:, None] + starts[None, :]
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = line.shape
        places = places * padded[axis] + line.reshape(shape)
    channels = x.shape[1] // int(np.prod(block))
    columns = gx.reshape(x, (x.shape[0], channels, places.size))
    empty = gx.zeros((x.shape[0], channels, int(np.prod(padded))), dtype=x.dtype)
    flat = gx.scatter_add(empty, places.ravel(), columns, axis=2)
    full = gx.reshape(flat, (x.shape[0], channels, *padded))
    inner = tuple(slice(a, a + n) for a, n in zip(pads[:rank], sizes, strict=True))
    return full[(slice(None), slice(None), *inner)]
