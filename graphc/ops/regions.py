"""Max pooling over rectangles that are values of the graph: regions of interest, fractional pooling.

One op finds the largest element of each rectangle; the value is read there by a gather, which
has the gradient.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from graphc import dims, ops
from graphc.dims import Dim
from graphc.errors import ArgumentError, DTypeError, ShapeError, caller
from graphc.ir import Node
from graphc.lower.rules import Loop, LoopBody, LoopSite
from graphc.ops.axes import is_int
from graphc.ops.batching import all_stacked, row_numbers
from graphc.ops.counting import size_tensor
from graphc.ops.elementwise import astype, number
from graphc.ops.gather import as_indices, gather
from graphc.ops.op import ErrorSample, Infer, Op, Sample
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import INT64, NUMERIC, TensorType, is_float

__all__ = ["fractional_max_pool2d", "roi_pool"]

Array = np.ndarray[Any, Any]


def roi_pool(x: TensorLike, boxes: TensorLike, output_size: Any, spatial_scale: float = 1.0) -> Tensor:
    """Take the largest elements of a grid of cells in each region of interest (Girshick, "Fast R-CNN", 2015).

    Corners are scaled and rounded to whole elements, halves up, the last included.  A region of `n`
    elements is divided into `m` cells: cell `i` has those from ``floor(i * n / m)`` to, not
    including, ``ceil((i + 1) * n / m)``.

    Parameters
    ----------
    x : array_like, shape (batch, channels, height, width)
        Images.
    boxes : array_like, shape (boxes, 5)
        For each box the number of its image, then left, top, right and bottom.
    output_size : int or (int, int)
        Cells down and across.
    spatial_scale : float, default 1
        What the corners are multiplied by, for images smaller than those that were looked at.

    Returns
    -------
    Tensor
        Of shape (boxes, channels, *output_size); 0 where a cell lies outside the image.  The
        gradient goes to the first largest element of a cell.

    Raises
    ------
    ShapeError
        If a shape does not fit.
    ArgumentError
        If `output_size` or `spatial_scale` is not usable.
    IndexRangeError
        If there is no such image: when the program is called.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> gx.evaluate(gx.roi_pool(x, [[0, 0, 0, 2, 3]], (2, 1)))
    array([[[[ 6.],
             [14.]]]])
    """
    images, regions = as_images("roi_pool", x), as_boxes("roi_pool", boxes)
    cells = as_cells("roi_pool", output_size)
    corners = regions[:, 1:] * number("roi_pool", "spatial_scale", spatial_scale)
    left, top, right, bottom = ops.unstack(astype(ops.floor(corners + 0.5), INT64), axis=1)
    down, across = _cells(top, bottom, cells[0]), _cells(left, right, cells[1])
    return _largest(images, astype(regions[:, 0], INT64), *down, *across)


def fractional_max_pool2d(
    x: TensorLike, rows: TensorLike, columns: TensorLike, overlapping: bool = False
) -> Tensor:
    """Take the largest element of each region between boundaries (Graham, "Fractional Max-Pooling", 2014).

    Parameters
    ----------
    x : array_like, shape (batch, channels, height, width)
        Images.
    rows : array_like of int, shape (regions down + 1,) or (batch, regions down + 1)
        Boundaries, the same for all images or for each its own: region `i` has the rows from
        ``rows[i]`` to, not including, ``rows[i + 1]``.
    columns : array_like of int, shape (regions across + 1,) or (batch, regions across + 1)
        Boundaries of columns.
    overlapping : bool, default False
        Whether a region includes the row and column at its end, which the next begins with.

    Returns
    -------
    Tensor
        Of shape (batch, channels, regions down, regions across); 0 where a region has no
        elements.  The gradient goes to the first largest element of a region.

    Raises
    ------
    ShapeError
        If a shape does not fit.
    DTypeError
        If boundaries are not integers.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> x = np.arange(25).reshape(1, 1, 5, 5)
    >>> gx.evaluate(gx.fractional_max_pool2d(x, [0, 2, 3, 5], [0, 1, 3, 5]))
    array([[[[ 5,  7,  9],
             [10, 12, 14],
             [20, 22, 24]]]])
    """
    images = as_images("fractional_max_pool2d", x)
    batch = images.shape[0]
    down, across = (_between(t, batch, overlapping) for t in (rows, columns))
    return _largest(images, ops.arange(batch), *down, *across)


# ------------------------------------------------------------- users' parameters
def as_images(owner: str, x: TensorLike) -> Tensor:
    """Return images of (batch, channels, height, width), none of these empty but the batch."""
    t = as_tensor(x)
    if t.ndim == 4 and 0 not in t.shape[2:]:
        return t
    raise ShapeError(
        f"{owner}: operand is no image",
        expected="4 dimensions (batch, channels, height, width), with elements",
        given=str(t.type),
        where=caller(),
    )


def as_boxes(owner: str, boxes: TensorLike) -> Tensor:
    """Return boxes of (count, 5) as floats."""
    t = as_tensor(boxes)
    if t.ndim != 2 or t.shape[1] != 5:
        raise ShapeError(
            f"{owner}: bad boxes",
            expected="shape (boxes, 5): image, left, top, right, bottom",
            given=str(t.type),
            where=caller(),
        )
    return t if is_float(t.dtype) else astype(t, "float64")


def as_cells(owner: str, output_size: Any) -> tuple[int, int]:
    """Return how many cells a region has down and across."""
    listed = (output_size, output_size) if is_int(output_size) else output_size
    fits = isinstance(listed, (tuple, list)) and len(listed) == 2
    if fits and all(is_int(n) and n > 0 for n in listed):
        return int(listed[0]), int(listed[1])
    raise ArgumentError(
        f"{owner}: bad output_size",
        expected="a positive int, or two",
        given=repr(output_size),
        where=caller(),
    )


def _cells(first: Tensor, last: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return where the cells of each box begin and end along an axis."""
    length = ops.expand_dims(ops.maximum(last - first + 1, 1), 1)
    steps, start = ops.arange(count), ops.expand_dims(first, 1)
    return start + steps * length // count, start + ((steps + 1) * length + (count - 1)) // count


def _between(boundaries: TensorLike, batch: Dim, overlapping: bool) -> tuple[Tensor, Tensor]:
    t = astype(as_indices(boundaries, "fractional_max_pool2d"), INT64)
    if t.ndim not in (1, 2) or t.shape[-1] in (0, 1):
        raise ShapeError(
            "fractional_max_pool2d: bad boundaries",
            expected="shape (regions + 1,) or (batch, regions + 1)",
            given=str(t.type),
            where=caller(),
        )
    each = ops.broadcast_to(t, (batch, t.shape[-1]))
    return each[:, :-1], each[:, 1:] + int(bool(overlapping))


# ----------------------------------------------------------- the largest element
def _largest(x: Tensor, image: Tensor, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor) -> Tensor:
    found = _REGION_ARGMAX(x, image, top, bottom, left, right)
    flat = ops.reshape(x, (*x.shape[:2], dims.product(x.shape[2:])))
    image_at = ops.broadcast_to(ops.reshape(image, (-1, 1, 1, 1)), found.shape)
    channel = ops.broadcast_to(ops.reshape(ops.arange(x.shape[1]), (-1, 1, 1)), found.shape)
    value = gather(flat, [image_at, channel, ops.maximum(found, 0)], 0)
    return ops.where(found >= 0, value, as_tensor(0, x.dtype))


def _rule(ctx: Infer, x: TensorType, image: TensorType, *bounds: TensorType) -> TensorType:
    ctx.dtype_in(x.dtype, NUMERIC, "image")
    ctx.rank(x, 4, "image")
    ctx.rank(image, 1, "image numbers")
    for t in (image, *bounds):
        ctx.dtype_in(t.dtype, (INT64,), "bounds")
    shape: list[Dim] = [image.shape[0], x.shape[1]]
    for begin, end in (bounds[:2], bounds[2:]):
        for t in (begin, end):
            ctx.rank(t, 2, "bounds")
            ctx.same(image.shape[0], t.shape[0], "regions differ in number")
        shape.append(ctx.same(begin.shape[1], end.shape[1], "bounds differ in number"))
    return TensorType(tuple(shape), INT64)


def _numpy(x: Array, image: Array, *bounds: Array) -> Array:
    count, (down, across) = len(image), (bounds[0].shape[1], bounds[2].shape[1])
    found = np.full((count, x.shape[1], down, across), -1, INT64)
    top, bottom, left, right = (np.maximum(b, 0) for b in bounds)
    for k, i, j in np.ndindex(count, down, across) if x.size else ():
        rows, columns = slice(top[k, i], bottom[k, i]), slice(left[k, j], right[k, j])
        part = x[np.clip(image[k], 0, len(x) - 1), :, rows, columns]
        if part.size:
            at = part.reshape(len(part), -1).argmax(axis=1)
            row, column = np.divmod(at, part.shape[2])
            found[k, :, i, j] = (rows.start + row) * x.shape[3] + columns.start + column
    return found


def _loop(site: LoopSite) -> LoopBody:
    x, out = site.inputs[0], site.type
    n, channels, height, width = map(site.size, x.shape)
    count, _, down, across = map(site.size, out.shape)
    larger = "v > best or (v != v and best == best)" if is_float(x.dtype) else "v > best"
    lines = f"""
for i in range({site.size(out.size)}):
    out[i] = -1
for k in range({count} if {n} > 0 else 0):
    b = in1[k] if in1[k] < {n} else {n} - 1
    b = b if b > 0 else 0
    for c in range({channels}):
        plane = (b * {channels} + c) * {height} * {width}
        for i in range({down}):
            top = in2[k * {down} + i] if in2[k * {down} + i] > 0 else 0
            bottom = in3[k * {down} + i] if in3[k * {down} + i] < {height} else {height}
            for j in range({across}):
                left = in4[k * {across} + j] if in4[k * {across} + j] > 0 else 0
                right = in5[k * {across} + j] if in5[k * {across} + j] < {width} else {width}
                at = -1
                if top < bottom and left < right:
                    at = top * {width} + left
                    best = in0[plane + at]
                    for r in range(top, bottom):
                        for q in range(left, right):
                            v = in0[plane + r * {width} + q]
                            if {larger}:
                                best = v
                                at = r * {width} + q
                out[((k * {channels} + c) * {down} + i) * {across} + j] = at
"""
    return LoopBody(tuple(line for line in lines.splitlines() if line))


def _batch(size: Dim, batched: tuple[bool, ...], node: Node, *operands: Tensor) -> Tensor:
    x, image, *bounds = all_stacked(size, batched, operands)
    # All images in one row after the other; one that does not exist must not become a neighbour's.
    last = size_tensor(x.shape[1], INT64) - 1
    numbered = ops.clip(image, 0, last) + row_numbers(image) * (last + 1)
    flat = [ops.reshape(t, (size * t.shape[1], *t.shape[2:])) for t in (x, numbered, *bounds)]
    return ops.reshape(_REGION_ARGMAX(*flat), (size, *node.type.shape))


def _walked(x: Array, image: Array, top: Array, bottom: Array, left: Array, right: Array) -> Array:
    """Return the positions by a loop over the elements of every region."""
    found = np.full((len(image), x.shape[1], top.shape[1], left.shape[1]), -1)
    for k, c, i, j in np.ndindex(*found.shape):
        best = -np.inf
        rows = range(max(int(top[k, i]), 0), min(int(bottom[k, i]), x.shape[2]))
        columns = range(max(int(left[k, j]), 0), min(int(right[k, j]), x.shape[3]))
        for r, q in itertools.product(rows, columns):
            value = x[image[k], c, r, q]
            if value > best or (np.isnan(value) and not np.isnan(best)):
                best, found[k, c, i, j] = value, r * x.shape[3] + q
    return found


def _samples() -> Iterable[Sample]:
    rng = np.random.default_rng(28)
    x = rng.permutation(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(float)
    image = np.array([1, 0, 1, 0])
    top, bottom = np.array([[0, 2], [1, 3], [-2, 1], [3, 9]]), np.array([[2, 4], [3, 3], [1, 7], [4, 12]])
    left, right = np.array([[0], [2], [-1], [4]]), np.array([[5], [3], [9], [5]])
    holes = x.copy()
    holes[1, 0, 1:3, 2] = np.nan
    regions = (image, top, bottom, left, right)
    for images in (x, holes):
        yield Sample((images, *regions), {}, _walked(images, *regions), call=_call)
    whole = x.astype(np.int8)
    yield Sample((whole, image[:1], top[:1], bottom[:1], left[:1], right[:1]), {}, call=_call)
    none = np.zeros((0, 1), INT64)
    yield Sample((x, none[:, 0], none, none, none, none), {}, np.zeros((0, 3, 1, 1)), call=_call)
    one = np.zeros((1, 1), INT64)
    yield Sample((x[:0], one[0], one, one + 1, one, one + 1), {}, np.full((1, 3, 1, 1), -1), call=_call)


def _call(x: Tensor, *regions: Tensor) -> Tensor:
    return _REGION_ARGMAX(x, *(astype(t, INT64) for t in regions))


def _errors() -> Iterable[ErrorSample]:
    x, boxes, rows = np.ones((2, 3, 4, 5)), np.ones((6, 5)), np.array([0, 2, 4])
    yield ErrorSample(lambda: roi_pool(x[0], boxes, 2), ShapeError, "no image")
    yield ErrorSample(lambda: roi_pool(x[:, :, :0], boxes, 2), ShapeError, "no image")
    yield ErrorSample(lambda: roi_pool(x, boxes[:, :4], 2), ShapeError, "bad boxes")
    yield ErrorSample(lambda: roi_pool(x, boxes, (2, 2, 2)), ArgumentError, "bad output_size")
    yield ErrorSample(lambda: roi_pool(x, boxes, 0), ArgumentError, "bad output_size")
    yield ErrorSample(lambda: roi_pool(x > 0, boxes, 2), DTypeError, "unsupported dtype")
    yield ErrorSample(lambda: fractional_max_pool2d(x[0], rows, rows), ShapeError, "no image")
    yield ErrorSample(lambda: fractional_max_pool2d(x, rows[:1], rows), ShapeError, "bad boundaries")
    yield ErrorSample(lambda: fractional_max_pool2d(x, rows / 2, rows), DTypeError, "not integers")
    yield ErrorSample(lambda: fractional_max_pool2d(x, np.stack([rows] * 3), rows), ShapeError)


_REGION_ARGMAX = Op(
    "region_argmax",
    _rule,
    _numpy,
    Loop(_loop),
    batch=_batch,
    api=roi_pool,
    samples=_samples,
    errors=_errors,
    dtypes=NUMERIC,
    cost=16,
)
