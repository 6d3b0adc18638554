"""Sampling of images at positions that are values of the graph: spatial transformers.

After Jaderberg et al., "Spatial Transformer Networks", 2015.  A position has one number
per axis, the last axis first, which runs from -1 at one border to 1 at the other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from graphc import dims, ops
from graphc.dims import Dim
from graphc.errors import ArgumentError, ShapeError, caller
from graphc.lower.rules import Expand
from graphc.ops.attributes import FLAG, word
from graphc.ops.axes import as_dim
from graphc.ops.batching import merged
from graphc.ops.counting import size_tensor
from graphc.ops.elementwise import astype, operands
from graphc.ops.gather_clipped import gather_clipped
from graphc.ops.op import ErrorSample, Infer, Op, Sample
from graphc.ops.statistics import as_float
from graphc.tensor import Tensor, TensorLike
from graphc.types import FLOATS, INT64, TensorType

__all__ = ["affine_grid", "grid_sample"]

Array = np.ndarray[Any, Any]
_MODES = ("bilinear", "nearest")
_PADDINGS = ("zeros", "border", "reflection")


def grid_sample(
    x: TensorLike,
    grid: TensorLike,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Tensor:
    """Read an image, or volume, at positions between its elements.

    Parameters
    ----------
    x : array_like, shape (batch, channels, *spatial)
        Image.
    grid : array_like, shape (batch, *sizes, d)
        Positions: for each element of the result, one number for each of the `d` spatial
        axes, that of the last axis first.  -1 and 1 are the borders of the image, or with
        `align_corners` the centers of its first and last element.
    mode : {"bilinear", "nearest"}
        Interpolate linearly along every axis, or take the nearest element, of two equally
        near ones that with the even index.
    padding_mode : {"zeros", "border", "reflection"}
        What lies beyond: zeros, the border's elements, or the mirror image.
    align_corners : bool, default False
        Where -1 and 1 lie.

    Returns
    -------
    Tensor
        Of shape (batch, channels, *sizes).

    Raises
    ------
    ShapeError
        If ranks or batches do not fit, or an axis of the image is empty.
    ArgumentError
        If a mode is unknown.

    Examples
    --------
    >>> import graphc as gx
    >>> image = gx.constant([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> gx.evaluate(gx.grid_sample(image, [[[[0.0, 0.0], [-0.5, 0.5]]]]))
    array([[[[2.5, 3. ]]]])
    """
    for name, given, known in (("mode", mode, _MODES), ("padding_mode", padding_mode, _PADDINGS)):
        if given not in known:
            raise ArgumentError(
                f"grid_sample: unknown {name}",
                expected=" or ".join(known),
                given=repr(given),
                where=caller(),
            )
    image, places = operands((as_float(x), as_float(grid)), FLOATS)
    attrs: dict[str, Any] = {"mode": mode, "padding_mode": padding_mode}
    return _GRID_SAMPLE(image, places, align_corners=bool(align_corners), **attrs)


def affine_grid(theta: TensorLike, size: Any, align_corners: bool = False) -> Tensor:
    """Return the positions, for `grid_sample`, that an affine map makes of those of an image.

    Parameters
    ----------
    theta : array_like, shape (batch, d, d + 1)
        For each image a matrix, and in its last column an offset.
    size : sequence of int or dimension
        The image's shape, (batch, channels, *spatial), with `d` spatial axes.
    align_corners : bool, default False
        As for `grid_sample`.

    Returns
    -------
    Tensor
        Of shape (batch, *spatial, d).

    Raises
    ------
    ShapeError
        If `theta` does not fit the image.

    Examples
    --------
    >>> import graphc as gx
    >>> mirror = [[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
    >>> gx.evaluate(gx.affine_grid(mirror, (1, 1, 1, 2)))
    array([[[[ 0.5,  0. ],
             [-0.5,  0. ]]]])
    """
    t = as_float(theta)
    spatial = tuple(as_dim(n, "affine_grid") for n in tuple(size)[2:])
    rank = len(spatial)
    if not spatial or t.ndim != 3 or t.shape[1:] != (rank, rank + 1):
        raise ShapeError(
            "affine_grid: theta does not fit",
            expected=f"shape (batch, {rank}, {rank + 1}) for {rank} axes of space, at least 1",
            given=str(t.type),
            where=caller(),
        )
    lines = [_line(n, k, rank, t, align_corners) for k, n in enumerate(spatial)]
    columns = [ops.broadcast_to(line, spatial) for line in (*reversed(lines), ops.ones_like(lines[0]))]
    points = ops.reshape(ops.stack(columns, axis=-1), (dims.product(spatial), rank + 1))
    return ops.reshape(points @ ops.matrix_transpose(t), (t.shape[0], *spatial, rank))


def _line(n: Dim, axis: int, rank: int, like: Tensor, align_corners: bool) -> Tensor:
    """Return the positions of an axis's elements, from -1 to 1, in a shape that broadcasts."""
    steps = astype(ops.arange(n), like.dtype)
    count = size_tensor(n, like.dtype)
    spread = steps * (2 / ops.maximum(count - 1, 1)) - 1 if align_corners else (2 * steps + 1) / count - 1
    # A single element lies in the middle.
    placed = ops.where(count == 1, 0, spread) if align_corners else spread
    return ops.reshape(placed, tuple(n if a == axis else 1 for a in range(rank)))


# ------------------------------------------------------------------ the op's parts
def _rule(ctx: Infer, x: TensorType, grid: TensorType, **how: Any) -> TensorType:
    ctx.dtype_in(x.dtype, FLOATS, "image")
    if grid.dtype != x.dtype:
        ctx.dtype_error("grid differs in dtype", x.dtype, grid.dtype)
    rank = x.ndim - 2
    if rank < 1:
        ctx.shape_error("image of a wrong rank", "3 or more dimensions (batch, channels, space)", x)
    ctx.rank(grid, rank + 2, "grid")
    ctx.same(grid.shape[-1], rank, "the grid's last axis must have a number for each axis of space")
    batch = ctx.same(x.shape[0], grid.shape[0], "image and grid differ in batch")
    if 0 in x.shape[2:]:
        ctx.shape_error("nothing to sample", "sizes of at least 1", x)
    return TensorType((batch, x.shape[1], *grid.shape[1:-1]), x.dtype)


def _expand(x: Tensor, grid: Tensor, mode: str, padding_mode: str, align_corners: bool) -> Tensor:
    rank = x.ndim - 2
    axes = []
    for axis, n in enumerate(x.shape[2:]):
        place = _place(grid[..., rank - 1 - axis], n, padding_mode, align_corners)
        axes.append(_taps(place, n, mode, padding_mode))
    found = []
    for corner in itertools.product(*axes):
        values = gather_clipped(x, [index for index, _ in corner], axis=2, batch=1)
        weight = math.prod([w for _, w in corner[1:]], start=corner[0][1])
        found.append(values * ops.expand_dims(weight, 1))
    return sum(found[1:], found[0])


def _place(at: Tensor, n: Dim, padding_mode: str, align_corners: bool) -> Tensor:
    """Return a coordinate as a position in elements, brought to where an element is near."""
    count = size_tensor(n, at.dtype)
    place = (at + 1) * (0.5 * (count - 1)) if align_corners else ((at + 1) * count - 1) * 0.5
    if padding_mode == "zeros":
        # So far outside that nothing is read; bounded, as an index is.
        return ops.clip(place, -1, count)
    if padding_mode == "reflection":
        place = _reflected(place, count, align_corners)
    return ops.clip(place, 0, count - 1)


def _reflected(place: Tensor, count: Tensor, align_corners: bool) -> Tensor:
    low, span = (0.0, count - 1) if align_corners else (-0.5, count)
    span = ops.maximum(span, 1)
    away = abs(place - low)
    rounds = ops.floor(away / span)
    rest = away - rounds * span
    even = rounds - 2 * ops.floor(rounds * 0.5) == 0
    return ops.where(even, rest, span - rest) + low


def _taps(place: Tensor, n: Dim, mode: str, padding_mode: str) -> list[tuple[Tensor, Tensor]]:
    """Return the elements along one axis that a position reads, and their weights."""
    before = ops.round(place) if mode == "nearest" else ops.floor(place)
    start, rest = astype(before, INT64), place - ops.stop_gradient(before)
    taps = [(start, 1 - rest), (start + 1, rest)]
    if mode == "nearest":
        taps = [(start, ops.ones_like(place))]
    if padding_mode != "zeros":
        return taps
    last = size_tensor(n, INT64)
    return [(i, ops.where((i >= 0) & (i < last), weight, 0.0)) for i, weight in taps]


# --------------------------------------------------------------- the op's meaning
def _numpy(x: Array, grid: Array, mode: str, padding_mode: str, align_corners: bool) -> Array:
    rank = x.ndim - 2
    out = np.zeros((*x.shape[:2], *grid.shape[1:-1]), x.dtype)
    one = x.dtype.type(1)
    for at in np.ndindex(*grid.shape[:-1]):
        axes = []
        for axis, n in enumerate(x.shape[2:]):
            g, count = grid[(*at, rank - 1 - axis)], x.dtype.type(n)
            half = x.dtype.type(0.5)
            place = (g + one) * (half * (count - one)) if align_corners else ((g + one) * count - one) * half
            axes.append(_read(place, n, mode, padding_mode, align_corners))
        for corner in itertools.product(*axes):
            weight = math.prod([w for _, w in corner])
            out[(at[0], slice(None), *at[1:])] += x[(at[0], slice(None), *[i for i, _ in corner])] * weight
    return out


def _read(place: Any, n: int, mode: str, padding_mode: str, align_corners: bool) -> list[tuple[int, Any]]:
    """Return indices and weights along one axis; what lies outside has none."""
    if padding_mode == "reflection":
        first, last = (0.0, n - 1) if align_corners else (-0.5, n - 0.5)
        while not first <= place <= last and last > first:
            place = 2 * first - place if place < first else 2 * last - place
    low, high = (-1, n) if padding_mode == "zeros" else (0, n - 1)
    place = min(max(place, low), high)
    if mode == "nearest":
        taps = [(int(np.rint(place)), 1.0)]
    else:
        before = int(np.floor(place))
        taps = [(before, before + 1 - place), (before + 1, place - before)]
    return [(i, w) for i, w in taps if 0 <= i < n]


def _samples() -> Iterable[Sample]:
    rng = np.random.default_rng(26)
    x, line, volume = (
        rng.normal(size=(2, 3, 4, 5)),
        rng.normal(size=(2, 2, 6)),
        rng.normal(size=(2, 1, 2, 3, 4)),
    )
    # Away from the borders between elements, where slopes jump.
    grids = [np.round(rng.uniform(-1.8, 1.8, size=(2, 3, 2, 2)), 3) + 1e-4]
    grids += [rng.uniform(-1.8, 1.8, size=(2, 4, 1)), rng.uniform(-1.5, 1.5, size=(2, 2, 1, 2, 3))]
    for mode, padding, corners in itertools.product(_MODES, _PADDINGS, (False, True)):
        options = {"mode": mode, "padding_mode": padding, "align_corners": corners}
        yield Sample((x, grids[0]), options, ulp=64)
    for padding, corners in (("zeros", True), ("reflection", False)):
        yield Sample((line, grids[1]), {"padding_mode": padding, "align_corners": corners}, ulp=64)
    yield Sample((volume, grids[2]), {"padding_mode": "border"}, ulp=64)
    same = np.stack(np.meshgrid((2 * np.arange(5) + 1) / 5 - 1, (2 * np.arange(4) + 1) / 4 - 1), -1)
    identity = np.stack([same, same])
    yield Sample((x, identity), {}, expected=x, differentiable=False)
    yield Sample((x, -identity), {"mode": "nearest"}, expected=x[:, :, ::-1, ::-1], differentiable=False)
    shifted = identity + np.array([2 / 5, 0])
    rolled = {"zeros": 0 * x[..., :1], "border": x[..., -1:], "reflection": x[..., -1:]}
    for padding, column in rolled.items():
        expected = np.concatenate([x[..., 1:], column], -1)
        yield Sample((x, shifted), {"padding_mode": padding}, expected=expected, differentiable=False)
    yield Sample((x[:0], grids[0][:0]), {}, expected=np.zeros((0, 3, 3, 2)))


def _errors() -> Iterable[ErrorSample]:
    x, grid = np.ones((2, 3, 4, 5)), np.zeros((2, 6, 7, 2))
    yield ErrorSample(lambda: grid_sample(x, grid, mode="cubic"), ArgumentError, "unknown mode")
    yield ErrorSample(
        lambda: grid_sample(x, grid, padding_mode="wrap"), ArgumentError, "unknown padding_mode"
    )
    yield ErrorSample(lambda: grid_sample(x, grid[0]), ShapeError, "grid has a wrong rank")
    yield ErrorSample(lambda: grid_sample(x, grid[..., :1]), ShapeError, "a number for each axis")
    yield ErrorSample(lambda: grid_sample(x, grid[:1]), ShapeError, "differ in batch")
    yield ErrorSample(lambda: grid_sample(x[0, 0], grid), ShapeError, "image of a wrong rank")
    yield ErrorSample(lambda: grid_sample(x[..., :0], grid), ShapeError, "nothing to sample")
    yield ErrorSample(lambda: affine_grid(np.ones((1, 2, 2)), (1, 1, 3, 3)), ShapeError, "does not fit")


_GRID_SAMPLE = Op(
    "grid_sample",
    _rule,
    _numpy,
    Expand(_expand),
    attributes={"align_corners": FLAG, "mode": word(*_MODES), "padding_mode": word(*_PADDINGS)},
    batch=merged,
    api=grid_sample,
    samples=_samples,
    errors=_errors,
    dtypes=FLOATS,
    cost=16,
)
