"""RoI align: averages of interpolated points in a grid of cells of each region of interest."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from graphc import ops
from graphc.dims import Dim
from graphc.errors import ArgumentError, ShapeError, caller
from graphc.lower.rules import Expand
from graphc.ops.attributes import FLAG, REAL, at_least, tuple_of
from graphc.ops.axes import is_int
from graphc.ops.counting import size_tensor
from graphc.ops.elementwise import astype, number, operands
from graphc.ops.gather import gather, wrap
from graphc.ops.gather_clipped import gather_clipped
from graphc.ops.op import ErrorSample, Infer, Op, Sample
from graphc.ops.regions import as_boxes, as_cells, as_images
from graphc.tensor import Tensor, TensorLike
from graphc.types import FLOATS, INT64, TensorType

__all__ = ["roi_align"]

Array = np.ndarray[Any, Any]


def roi_align(
    x: TensorLike,
    boxes: TensorLike,
    output_size: Any,
    spatial_scale: float = 1.0,
    sampling_ratio: int = 2,
    aligned: bool = True,
) -> Tensor:
    """Average interpolated points in a grid of cells of each region (He et al., "Mask R-CNN", 2017).

    Nothing is rounded: points lie evenly in each cell, their values are interpolated linearly
    between the four elements around them.  A point more than one element outside the image
    is 0; between that and the border, the border's element continues.

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
    sampling_ratio : int, default 2
        Points of a cell along each axis.  A graph is static, so their number cannot depend on
        the size of the box.
    aligned : bool, default True
        Whether an element's center lies half an element from its border.  Otherwise it lies
        on a whole number, and a box is taken as at least 1 long.

    Returns
    -------
    Tensor
        Of shape (boxes, channels, *output_size).  The gradient flows to the images and the
        corners of the boxes.

    Raises
    ------
    ShapeError
        If a shape does not fit.
    ArgumentError
        If a parameter is not usable.
    IndexRangeError
        If there is no such image: when the program is called.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> gx.evaluate(gx.roi_align(x, [[0, 0, 0, 2, 4]], (2, 1)))
    array([[[[ 2.5],
             [10.5]]]])
    """
    images, regions = as_images("roi_align", x), as_boxes("roi_align", boxes)
    cells = as_cells("roi_align", output_size)
    if not is_int(sampling_ratio) or sampling_ratio < 1:
        raise ArgumentError(
            "roi_align: bad sampling_ratio",
            expected="a positive int: how many points there are cannot depend on the box",
            given=repr(sampling_ratio),
            where=caller(),
        )
    scale = number("roi_align", "spatial_scale", spatial_scale)
    attrs: dict[str, Any] = {"cells": cells, "scale": scale, "points": int(sampling_ratio)}
    return _ROI_ALIGN(*operands((images, regions), FLOATS), aligned=bool(aligned), **attrs)


def _rule(ctx: Infer, x: TensorType, boxes: TensorType, cells: tuple[int, int], **how: Any) -> TensorType:
    ctx.dtype_in(x.dtype, FLOATS, "image")
    if boxes.dtype != x.dtype:
        ctx.dtype_error("boxes differ in dtype", x.dtype, boxes.dtype)
    return TensorType((boxes.shape[0], x.shape[1], *cells), x.dtype)


def _expand(x: Tensor, boxes: Tensor, **how: Any) -> Tensor:
    parts = weighted_corners(x, boxes, **how)
    return ops.swapaxes(ops.mean(sum(parts[1:], parts[0]), axis=(3, 5)), 0, 1)


def weighted_corners(
    x: Tensor, boxes: Tensor, cells: tuple[int, int], scale: float, points: int, aligned: bool
) -> list[Tensor]:
    """Return the elements around the points of all cells times their weights, one tensor per corner.

    Of shape (channels, boxes, cells down, points down, cells across, points across).
    """
    corners = boxes[:, 1:] * scale - (0.5 if aligned else 0.0)
    left, top, right, bottom = ops.unstack(corners, axis=1)
    down = _taps(top, bottom, x.shape[2], cells[0], points, aligned)
    across = _taps(left, right, x.shape[3], cells[1], points, aligned)
    shape = (boxes.shape[0], cells[0], points, cells[1], points)
    # A gather that looks after the range of image numbers; those after it need not.
    image = gather(ops.arange(x.shape[0]), [astype(boxes[:, 0], INT64)], 0)
    image = ops.broadcast_to(ops.expand_dims(image, (1, 2, 3, 4)), shape)
    # Channels in front, so that images lie beside space, as gather wants it.
    channels = ops.swapaxes(x, 0, 1)
    found = []
    for (row, by_row), (column, by_column) in itertools.product(down, across):
        at = [ops.expand_dims(row, (3, 4)), ops.expand_dims(column, (1, 2))]
        places = [image, *(ops.broadcast_to(t, shape) for t in at)]
        weight = ops.expand_dims(by_row, (3, 4)) * ops.expand_dims(by_column, (1, 2))
        found.append(gather_clipped(channels, places, 1) * weight)
    return found


def _taps(
    first: Tensor, last: Tensor, n: Dim, cells: int, points: int, aligned: bool
) -> list[tuple[Tensor, Tensor]]:
    """Return, as (boxes, cells, points), the elements that points along an axis read, and weights."""
    length = last - first if aligned else ops.maximum(last - first, 1.0)
    # In units of one cell; the last fraction is the same for all boxes.
    within = (ops.arange(points) * 2 + 1) / (2 * points)
    steps = astype(ops.expand_dims(ops.arange(cells), 1) + within, first.dtype)
    place = ops.expand_dims(first, (1, 2)) + steps * ops.expand_dims(length / cells, (1, 2))
    count = size_tensor(n, first.dtype)
    inside = (place >= -1) & (place <= count)
    near = ops.clip(place, 0, count - 1)
    before = ops.floor(near)
    rest = near - ops.stop_gradient(before)
    index = astype(before, INT64)
    return [(index + k, ops.where(inside, w, 0.0)) for k, w in enumerate((1 - rest, rest))]


def _numpy(x: Array, boxes: Array, cells: tuple[int, int], scale: float, points: int, aligned: bool) -> Array:
    number = x.dtype.type
    out = np.zeros((len(boxes), x.shape[1], *cells), x.dtype)
    chosen = wrap(boxes[:, 0].astype(INT64), len(x), "take")
    for k, i, j in np.ndindex(len(boxes), *cells):
        image = x[chosen[k]]
        corners = boxes[k, 1:] * number(scale) - number(0.5 if aligned else 0.0)
        rows = _points(corners[1], corners[3], i, cells[0], points, aligned)
        columns = _points(corners[0], corners[2], j, cells[1], points, aligned)
        for row, column in itertools.product(rows, columns):
            out[k, :, i, j] += _between(image, row, column) / number(points * points)
    return out


def _points(first: Any, last: Any, cell: int, cells: int, points: int, aligned: bool) -> list[Any]:
    number = type(first)
    length = last - first if aligned else max(last - first, number(1))
    steps = (number(cell + (2 * p + 1) / (2 * points)) for p in range(points))
    return [first + step * (length / number(cells)) for step in steps]


def _between(image: Array, row: Any, column: Any) -> Any:
    """Return the value of every channel at a point between elements."""
    height, width = image.shape[1:]
    if not (-1 <= row <= height and -1 <= column <= width):
        return image.dtype.type(0)
    row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
    r, c = int(row), int(column)
    lower, right = min(r + 1, height - 1), min(c + 1, width - 1)
    above = image[:, r, c] * (c + 1 - column) + image[:, r, right] * (column - c)
    below = image[:, lower, c] * (c + 1 - column) + image[:, lower, right] * (column - c)
    return above * (r + 1 - row) + below * (row - r)


def _samples() -> Iterable[Sample]:
    rng = np.random.default_rng(30)
    x = rng.normal(size=(2, 3, 5, 6))
    corners = rng.uniform(-1.5, 7, size=(4, 2, 2))
    corners = corners.reshape(4, 4)
    for aligned, ratio, scale in ((True, 2, 1.0), (False, 3, 0.6), (True, 1, 0.6)):
        options = {"spatial_scale": scale, "sampling_ratio": ratio, "aligned": aligned}
        yield Sample((x, corners), {"output_size": (2, 3), **options}, call=_call, ulp=64)
    # A cell as large as an element has its value in the middle.
    whole = np.array([[0.0, 0, 6, 5], [0, 0, 6, 5]])
    single = {"output_size": (5, 6), "sampling_ratio": 1}
    yield Sample((x, whole), single, x[::-1], call=_call, differentiable=False)
    ramp = np.arange(6.0) + np.zeros((2, 1, 5, 1))
    box, middle = np.array([[1.5, 1, 3.5, 3]]), np.array([[[[1.5, 2.5]]]])
    yield Sample((ramp, box), {"output_size": (1, 2)}, middle, call=_call, differentiable=False)
    yield Sample((x, corners[:0]), {"output_size": 2}, np.zeros((0, 3, 2, 2)), call=_call)


def _call(x: Tensor, corners: Tensor, **options: Any) -> Tensor:
    # The numbers of the images are fixed: whatever a test puts in their place would be no image.
    number = ops.arange(1, corners.shape[0] + 1) % 2
    column = astype(ops.expand_dims(number, 1), corners.dtype)
    return roi_align(x, ops.concat([column, corners], axis=1), **options)


def _errors() -> Iterable[ErrorSample]:
    x, boxes = np.ones((2, 3, 4, 5)), np.ones((6, 5))
    yield ErrorSample(lambda: roi_align(x[0], boxes, 2), ShapeError, "no image")
    yield ErrorSample(lambda: roi_align(x, boxes[0], 2), ShapeError, "bad boxes")
    yield ErrorSample(lambda: roi_align(x, boxes, (2,)), ArgumentError, "bad output_size")
    yield ErrorSample(lambda: roi_align(x, boxes, 2, sampling_ratio=0), ArgumentError, "bad sampling_ratio")


_ROI_ALIGN = Op(
    "roi_align",
    _rule,
    _numpy,
    Expand(_expand),
    attributes={
        "cells": tuple_of(at_least(1), count=2),
        "aligned": FLAG,
        "scale": REAL,
        "points": at_least(1, 1024),
    },
    api=roi_align,
    samples=_samples,
    errors=_errors,
    dtypes=FLOATS,
    cost=32,
)
