"""Shapes: asking for them, changing them, and taking tensors apart and together."""

from __future__ import annotations

import numpy as np

import graphc as gx
from graphc import dims
from graphc.dims import Dim, Shape
from graphc.onnx.call import Call
from graphc.onnx.elements import INTEGER, element_of
from graphc.onnx.registry import converter
from graphc.onnx.values import Value, dimensions
from graphc.ops.slicing import place
from graphc.tensor import Tensor


def known_sizes(sizes: Shape) -> Value:
    """Return sizes as a value that is known while importing."""
    listed = np.empty(len(sizes), object)
    listed[:] = sizes
    return Value(INTEGER, known=dimensions(listed))


@converter("Shape")
def _shape(call: Call) -> Value:
    start, end = call.integer("start", 0), call.integer("end", None)
    return known_sizes(call.value(0).shape[start:end])


@converter("Size")
def _size(call: Call) -> Value:
    count = np.empty((), object)
    count[()] = dims.product(call.value(0).shape)
    return Value(INTEGER, known=dimensions(count))


# -------------------------------------------------------------------- reshaping
@converter("Reshape", since=5, exact=True)
def _reshape(call: Call) -> Tensor:
    return _reshaped(call, call.dims(1), zero_copies=not call.flag("allowzero"))


@converter("Reshape", exact=True)
def _reshape_to_attribute(call: Call) -> Tensor:
    call.ignore("consumed_inputs")
    return _reshaped(call, call.integers("shape", ()), zero_copies=True)


def _reshaped(call: Call, target: Shape, zero_copies: bool) -> Tensor:
    x = call.tensor(0)
    copied = [a for a, n in enumerate(target) if n == 0 and zero_copies]
    if copied and max(copied) >= x.ndim:
        call.fail("a size of 0 copies one that is not there", expected=str(x.type), given=str(target))
    return gx.reshape(x, tuple(x.shape[a] if a in copied else n for a, n in enumerate(target)))


@converter("Flatten", exact=True)
def _flatten(call: Call) -> Tensor:
    x = call.tensor()
    axis = call.integer("axis", 1)
    at = axis + x.ndim if axis < 0 else axis
    return gx.reshape(x, (dims.product(x.shape[:at]), dims.product(x.shape[at:])))


@converter("Squeeze", exact=True)
def _squeeze(call: Call) -> Tensor:
    return gx.squeeze(call.tensor(0), call.axes("axes", 1))


@converter("Unsqueeze", exact=True)
def _unsqueeze(call: Call) -> Tensor:
    return gx.expand_dims(call.tensor(0), call.axes("axes", 1) or ())


@converter("Transpose", exact=True)
def _transpose(call: Call) -> Tensor:
    x = call.tensor()
    order = call.integers("perm", None)
    return gx.permute_dims(x, tuple(reversed(range(x.ndim))) if order is None else order)


@converter("Expand", since=8, exact=True)
def _expand(call: Call) -> Tensor:
    x = call.tensor(0)
    return gx.broadcast_to(x, _stretched(x.shape, call.dims(1)))


def _stretched(have: Shape, want: Shape) -> Shape:
    """Return the shape that both broadcast to."""
    rank = max(len(have), len(want))
    pairs = zip((1,) * (rank - len(have)) + have, (1,) * (rank - len(want)) + want, strict=True)
    return tuple(a if b == 1 else b for a, b in pairs)


@converter("Tile", since=6, exact=True)
def _tile(call: Call) -> Tensor:
    return gx.tile(call.tensor(0), tuple(int(n) for n in call.known(1)))


@converter("DepthToSpace", exact=True)
def _depth_to_space(call: Call) -> Tensor:
    call.needs("blocksize")
    x, size = call.tensor(), call.integer("blocksize", 1)
    columns_first = call.choice("mode", "DCR", ("DCR", "CRD")) == "CRD"
    n, c, h, w = x.shape
    depth = dims.floordiv(c, size * size)
    if columns_first:
        blocks = gx.permute_dims(gx.reshape(x, (n, depth, size, size, h, w)), (0, 1, 4, 2, 5, 3))
    else:
        blocks = gx.permute_dims(gx.reshape(x, (n, size, size, depth, h, w)), (0, 3, 4, 1, 5, 2))
    return gx.reshape(blocks, (n, depth, h * size, w * size))


@converter("SpaceToDepth", exact=True)
def _space_to_depth(call: Call) -> Tensor:
    call.needs("blocksize")
    x, size = call.tensor(), call.integer("blocksize", 1)
    n, c, h, w = x.shape
    rows, columns = dims.floordiv(h, size), dims.floordiv(w, size)
    columns_first = call.choice("mode", "DCR", ("DCR", "CRD")) == "CRD"
    order = (0, 1, 3, 5, 2, 4) if columns_first else (0, 3, 5, 1, 2, 4)
    blocks = gx.permute_dims(gx.reshape(x, (n, c, rows, size, columns, size)), order)
    return gx.reshape(blocks, (n, c * size * size, rows, columns))


# ------------------------------------------------------- taking apart, together
@converter("Concat", since=4, exact=True)
def _concat(call: Call) -> Tensor:
    call.needs("axis")
    return gx.concat(call.tensors(), call.integer("axis", 0))


@converter("Split", since=2, exact=True)
def _split(call: Call) -> list[Tensor]:
    x, axis = call.tensor(0), call.integer("axis", 0) % call.tensor(0).ndim
    count = call.integer("num_outputs", len(call.outputs))
    size = x.shape[axis]
    given: Shape | None = call.dims(1) if call.has(1) else call.integers("split", None)
    parts = _even_parts(size, count) if given is None else given
    found: list[Tensor] = []
    start: Dim = 0
    for part in parts:
        found.append(x[(slice(None),) * axis + (slice(start, start + part),)])
        start = start + part
    return found


def _even_parts(size: Dim, count: int) -> list[Dim]:
    """Return sizes that are equal but for the last, which may be smaller."""
    part = dims.floordiv(size + count - 1, count) if isinstance(size, int) else dims.floordiv(size, count)
    return [*[part] * (count - 1), size - part * (count - 1)]


@converter("Slice", since=10, exact=True)
def _slice(call: Call) -> Tensor:
    starts, ends = call.dims(1), call.dims(2)
    axes = call.known(3).tolist() if call.has(3) else list(range(len(starts)))
    steps = call.known(4).tolist() if call.has(4) else [1] * len(starts)
    return _sliced(call.tensor(0), starts, ends, axes, steps)


@converter("Slice", exact=True)
def _slice_by_attributes(call: Call) -> Tensor:
    call.needs("starts", "ends")
    starts, ends = call.integers("starts", ()), call.integers("ends", ())
    axes = list(call.integers("axes", None) or range(len(starts)))
    return _sliced(call.tensor(0), starts, ends, axes, [1] * len(starts))


def _sliced(x: Tensor, starts: Shape, ends: Shape, axes: list[int], steps: list[int]) -> Tensor:
    key: list[slice] = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        key[axis] = slice(start, end, int(step))
    return x[tuple(key)]


# --------------------------------------------------------------------- creation
@converter("ConstantOfShape", since=9, exact=True)
def _constant_of_shape(call: Call) -> Value | Tensor:
    given = call.constant("value")
    if given is None:
        return gx.zeros(call.dims(0), dtype="float32")
    filled = gx.broadcast_to(gx.reshape(given.tensor, ()), call.dims(0))
    return Value(given.element, filled)


@converter("Range", since=11, exact=True)
def _range(call: Call) -> Tensor:
    dtype = call.element(0).carrier
    if dtype.kind == "f":
        start, limit, step = (call.scalar(k) for k in range(3))
        count = max(int(np.ceil((limit - start) / step)), 0)
        return gx.arange(count) * gx.constant(step, dtype) + gx.constant(start, dtype)
    return gx.arange(call.dim(0), call.dim(1), int(call.scalar(2)), dtype=dtype)


@converter("EyeLike", since=9)
def _eye_like(call: Call) -> Value | Tensor:
    element = call.element(0) if not call.given("dtype") else element_of(call.integer("dtype", 1), call.label)
    rows, columns = call.value(0).shape
    return Value(element, gx.eye(rows, columns, k=call.integer("k", 0), dtype=element.carrier))


@converter("Trilu", since=14, exact=True)
def _trilu(call: Call) -> Tensor:
    offset = int(call.scalar(1)) if call.has(1) else 0
    return (gx.triu if call.flag("upper", True) else gx.tril)(call.tensor(0), offset)


# ---------------------------------------------------------------------- padding
@converter("Pad", since=11, exact=True)
def _pad(call: Call) -> Tensor:
    x, widths = call.tensor(0), call.dims(1)
    axes = [int(a) % x.ndim for a in call.known(3)] if call.has(3) else list(range(x.ndim))
    pairs: list[tuple[Dim, Dim]] = [(0, 0)] * x.ndim
    for k, axis in enumerate(axes):
        pairs[axis] = (widths[k], widths[k + len(axes)])
    value = call.scalar(2) if call.has(2) else 0
    fixed = [(a, b) for a, b in pairs if isinstance(a, int) and isinstance(b, int)]
    if len(fixed) == x.ndim:
        return _padded(call, x, fixed, value)
    if call.choice("mode", "constant", ("constant", "reflect", "edge", "wrap")) != "constant":
        return call.fail("a border that continues the tensor and has no fixed width", given=str(widths))
    shape = tuple(n + a + b for n, (a, b) in zip(x.shape, pairs, strict=True))
    return place(x, shape, [a for a, _ in pairs], [1] * x.ndim, value)


@converter("Pad", since=2)
def _pad_by_attributes(call: Call) -> Tensor:
    call.needs("pads")
    x, widths = call.tensor(0), call.integers("pads", ())
    pairs = list(zip(widths[: x.ndim], widths[x.ndim :], strict=True))
    return _padded(call, x, pairs, call.number("value", 0.0))


def _padded(call: Call, x: Tensor, pairs: list[tuple[int, int]], value: float) -> Tensor:
    mode = call.choice("mode", "constant", ("constant", "reflect", "edge", "wrap"))
    # A negative width cuts off; what is put on afterwards continues what is left.
    x = x[tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, pairs, strict=True))]
    added = [(max(a, 0), max(b, 0)) for a, b in pairs]
    if mode == "wrap":
        return _wrapped_around(call, x, added)
    return gx.pad(x, added, mode=mode, value=value)


def _wrapped_around(call: Call, x: Tensor, pairs: list[tuple[int, int]]) -> Tensor:
    for axis, (before, after) in enumerate(pairs):
        size = x.shape[axis]
        if not before and not after:
            continue
        if not isinstance(size, int):
            return call.fail("mode 'wrap' along an axis whose size has a name", given=str(x.type))
        x = gx.take(x, np.arange(-before, size + after) % size, axis)
    return x
