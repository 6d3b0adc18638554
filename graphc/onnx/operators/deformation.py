"""Deformable convolution: taps lie where the graph says (Dai et al., 2017; with masks, Zhu et al., 2019)."""

from __future__ import annotations

import itertools
from functools import reduce

import graphc as gx
from graphc.onnx.call import Call
from graphc.onnx.operators.windows import geometry
from graphc.onnx.registry import converter
from graphc.ops.counting import size_tensor
from graphc.tensor import Tensor


@converter("DeformConv", since=19)
def _deformable_convolution(call: Call) -> Tensor:
    x, w, offset = call.tensor(0), call.tensor(1), call.tensor(2)
    kernel = tuple(n for n in w.shape[2:] if isinstance(n, int))
    if x.ndim != 4 or len(kernel) != 2:
        call.fail("taps that are not those of images", expected="two spatial axes", given=str(w.type))
    shape = call.integers("kernel_shape", kernel)
    g = geometry(call, x.shape[2:], shape)
    groups, parts = call.integer("group", 1), call.integer("offset_group", 1)
    n, rows, columns = x.shape[0], offset.shape[2], offset.shape[3]
    taps = shape[0] * shape[1]
    moved = gx.reshape(offset, (n, parts, taps, 2, rows, columns))
    mask = gx.reshape(call.tensor(4), (n, parts, taps, rows, columns)) if call.has(4) else None
    image = gx.moveaxis(gx.reshape(x, (n, parts, x.shape[1] // parts, *x.shape[2:])), 2, 0)
    read = []
    for k, tap in enumerate(itertools.product(*map(range, shape))):
        places = []
        for axis, (t, count) in enumerate(zip(tap, (rows, columns), strict=True)):
            start = t * g.dilation[axis] - g.padding[axis][0]
            regular = gx.astype(gx.arange(count) * g.stride[axis] + start, x.dtype)
            places.append(moved[:, :, k, axis] + gx.reshape(regular, (-1, 1) if axis == 0 else (1, -1)))
        values = _interpolated(image, places)
        read.append(values if mask is None else values * mask[:, :, k])
    # From (taps, channels of a part, n, parts, rows, columns) to (n, all channels and taps, rows, columns).
    stacked = gx.permute_dims(gx.stack(read), (2, 3, 1, 0, 4, 5))
    by_group = gx.reshape(stacked, (n, groups, x.shape[1] // groups * taps, rows, columns))
    weights = gx.reshape(w, (groups, w.shape[0] // groups, -1))
    found = gx.reshape(gx.einsum("ngkrc,gok->ngorc", by_group, weights), (n, w.shape[0], rows, columns))
    return found + gx.reshape(call.tensor(3), (1, -1, 1, 1)) if call.has(3) else found


def _interpolated(image: Tensor, places: list[Tensor]) -> Tensor:
    """Read an image linearly between its elements; there are zeros around it."""
    first = [gx.floor(p) for p in places]
    terms = []
    for corner in itertools.product((0, 1), repeat=2):
        at = [f + c for f, c in zip(first, corner, strict=True)]
        near = [1 - gx.abs(p - a) for p, a in zip(places, at, strict=True)]
        terms.append(_read(image, at) * (near[0] * near[1]))
    return reduce(gx.add, terms)


def _read(image: Tensor, at: list[Tensor]) -> Tensor:
    sizes = image.shape[3:]
    last = [size_tensor(n, at[0].dtype) - 1 for n in sizes]
    inside = reduce(gx.logical_and, ((a >= 0) & (a <= z) for a, z in zip(at, last, strict=True)))
    indices = [gx.astype(gx.clip(a, gx.zeros_like(a), z), "int64") for a, z in zip(at, last, strict=True)]
    own = [
        gx.broadcast_to(gx.reshape(gx.arange(n), (-1, *[1] * (3 - axis))), indices[0].shape)
        for axis, n in enumerate(image.shape[1:3])
    ]
    found = image[(slice(None), *own, *indices)]
    return gx.where(inside, found, gx.zeros_like(found))
