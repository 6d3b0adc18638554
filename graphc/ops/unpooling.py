"""Max pooling that says where the largest elements were, and unpooling that puts values back there."""

from __future__ import annotations

from typing import Any

from graphc import dims, ops
from graphc.dims import Dim
from graphc.errors import ShapeError, caller
from graphc.ops.along_axis import ADD_ALONG
from graphc.ops.axes import as_dim, is_int
from graphc.ops.counting import size_tensor
from graphc.ops.gather import as_indices
from graphc.ops.pool_rules import MAX_POOL, MAX_POOL_INDEX
from graphc.ops.pooling import max_windows
from graphc.ops.windows import Padding, PerAxis, Windows, paddings, per_axis
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import INT64

__all__ = [
    "max_pool1d_with_indices",
    "max_pool2d_with_indices",
    "max_pool3d_with_indices",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]


def _with_indices(rank: int, x: TensorLike, *parameters: Any) -> tuple[Tensor, Tensor]:
    t = as_tensor(x)
    windows = max_windows(rank, t, *parameters)
    index = MAX_POOL_INDEX(t, **windows.attrs)
    return MAX_POOL(t, **windows.attrs), _positions(index, windows, t.shape[2:])


def _positions(tap: Tensor, windows: Windows, sizes: tuple[Dim, ...]) -> Tensor:
    """Return the flat position in all of space that a flat tap number of each window means."""
    rank = len(sizes)
    rest = tap
    places: list[Tensor] = []
    for axis in reversed(range(rank)):
        taps = size_tensor(windows.kernel[axis], INT64)
        along = ops.reshape(ops.arange(tap.shape[axis + 2]), (-1, *[1] * (rank - axis - 1)))
        start = along * windows.stride[axis] - size_tensor(windows.padding[axis][0], INT64)
        place = start + rest % taps * windows.dilation[axis]
        # A window of nothing but -inf names its first tap, which may lie in the padding.
        places.insert(0, ops.clip(place, 0, size_tensor(sizes[axis], INT64) - 1))
        rest = rest // taps
    flat = places[0]
    for place, n in zip(places[1:], sizes[1:], strict=True):
        flat = flat * size_tensor(n, INT64) + place
    return flat


def max_pool1d_with_indices(
    x: TensorLike,
    kernel: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """Take the largest element of each window of sequences, and its position.

    Parameters
    ----------
    x : array_like, shape (batch, channels, length)
        Input.
    kernel, stride, padding, dilation, ceil_mode
        See `max_pool2d`.

    Returns
    -------
    y, indices : Tensor
        Of shape (batch, channels, windows); see `max_pool2d_with_indices`.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.max_pool1d_with_indices([[[1, 5, 2, 3]]], 2))
    (array([[[5, 3]]]), array([[[1, 3]]]))
    """
    return _with_indices(1, x, kernel, stride, padding, dilation, ceil_mode)


def max_pool2d_with_indices(
    x: TensorLike,
    kernel: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """Take the largest element of each window of images, and its position.

    Parameters
    ----------
    x : array_like, shape (batch, channels, height, width)
        Input.
    kernel, stride, padding, dilation, ceil_mode
        See `max_pool2d`.

    Returns
    -------
    y : Tensor
        As from `max_pool2d`.
    indices : Tensor of int64
        Of the same shape: where the first largest element stands in its channel's image,
        counted row by row.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.evaluate(gx.max_pool2d_with_indices(np.arange(16.0).reshape(1, 1, 4, 4), 2)[1])
    array([[[[ 5,  7],
             [13, 15]]]])
    """
    return _with_indices(2, x, kernel, stride, padding, dilation, ceil_mode)


def max_pool3d_with_indices(
    x: TensorLike,
    kernel: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """Take the largest element of each window of volumes, and its position.

    Parameters
    ----------
    x : array_like, shape (batch, channels, depth, height, width)
        Input.
    kernel, stride, padding, dilation, ceil_mode
        See `max_pool2d`.

    Returns
    -------
    y, indices : Tensor
        Of shape (batch, channels, windows deep, windows down, windows across); see
        `max_pool2d_with_indices`.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.max_pool3d_with_indices(np.ones((1, 2, 4, 4, 4)), 2)
    (<Tensor float64[1, 2, 2, 2, 2]>, <Tensor int64[1, 2, 2, 2, 2]>)
    """
    return _with_indices(3, x, kernel, stride, padding, dilation, ceil_mode)


# ------------------------------------------------------------------- unpooling
def _unpool(
    rank: int,
    x: TensorLike,
    indices: TensorLike,
    kernel: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
) -> Tensor:
    owner = f"max_unpool{rank}d"
    t, at = as_tensor(x), as_indices(indices, owner)
    if t.ndim != rank + 2 or at.ndim != t.ndim:
        raise ShapeError(
            f"{owner}: operands of a wrong rank",
            expected=f"values and indices of {rank + 2} dimensions",
            given=f"{t.type} and {at.type}",
            where=caller(),
        )
    taps = per_axis(owner, "kernel", kernel, rank)
    steps = taps if stride is None else per_axis(owner, "stride", stride, rank)
    pads = paddings(owner, padding, t.shape[2:], taps, steps, (1,) * rank)
    size = tuple(
        (n - 1) * step + k - before - after
        for n, step, k, (before, after) in zip(t.shape[2:], steps, taps, pads, strict=True)
    )
    if output_size is not None:
        listed = (output_size,) * rank if is_int(output_size) else tuple(output_size)
        size = tuple(as_dim(n, owner) for n in listed)
    if len(size) != rank:
        raise ShapeError(
            f"{owner}: bad output_size", expected=f"{rank} sizes", given=repr(output_size), where=caller()
        )
    if any(
        isinstance(n, int) and isinstance(m, int) and n != m for n, m in zip(t.shape, at.shape, strict=True)
    ):
        raise ShapeError(
            f"{owner}: values and indices differ in shape",
            expected=str(t.type),
            given=str(at.type),
            where=caller(),
        )
    values, places = (ops.reshape(v, (*v.shape[:2], dims.product(v.shape[2:]))) for v in (t, at))
    placed = ADD_ALONG(places, values, axis=2, size=dims.product(size))
    return ops.reshape(placed, (*t.shape[:2], *size))


def max_unpool1d(
    x: TensorLike,
    indices: TensorLike,
    kernel: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    output_size: Any = None,
) -> Tensor:
    """Put values back where `max_pool1d_with_indices` found the largest; zeros elsewhere.

    Parameters
    ----------
    x : array_like, shape (batch, channels, windows)
        Values.
    indices : array_like of int
        Positions, of the same shape.
    kernel, stride, padding, output_size
        See `max_unpool2d`.

    Returns
    -------
    Tensor
        Of shape (batch, channels, length).

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.max_unpool1d([[[5, 3]]], [[[1, 3]]], 2))
    array([[[0, 5, 0, 3]]])
    """
    return _unpool(1, x, indices, kernel, stride, padding, output_size)


def max_unpool2d(
    x: TensorLike,
    indices: TensorLike,
    kernel: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    output_size: Any = None,
) -> Tensor:
    """Put values back where `max_pool2d_with_indices` found the largest; zeros elsewhere.

    It is the adjoint of reading these positions: where windows overlap and have chosen the
    same element, their values add up.

    Parameters
    ----------
    x : array_like, shape (batch, channels, windows down, windows across)
        Values.
    indices : array_like of int
        Positions, of the same shape: in the result's image of the channel, row by row.
    kernel, stride, padding
        Those of the pooling; they give the sizes of the result.
    output_size : int or dimension, or one per axis, optional
        Sizes of the result in their place, which pooling may have rounded down.

    Returns
    -------
    Tensor
        Of shape (batch, channels, height, width).

    Raises
    ------
    ShapeError
        If ranks or shapes do not fit.
    IndexRangeError
        If a position lies outside the result: when the program is called.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> y, indices = gx.max_pool2d_with_indices(np.arange(16.0).reshape(1, 1, 4, 4), 2)
    >>> gx.evaluate(gx.max_unpool2d(y, indices, 2))
    array([[[[ 0.,  0.,  0.,  0.],
             [ 0.,  5.,  0.,  7.],
             [ 0.,  0.,  0.,  0.],
             [ 0., 13.,  0., 15.]]]])
    """
    return _unpool(2, x, indices, kernel, stride, padding, output_size)


def max_unpool3d(
    x: TensorLike,
    indices: TensorLike,
    kernel: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    output_size: Any = None,
) -> Tensor:
    """Put values back where `max_pool3d_with_indices` found the largest; zeros elsewhere.

    Parameters
    ----------
    x : array_like, shape (batch, channels, windows deep, windows down, windows across)
        Values.
    indices : array_like of int
        Positions, of the same shape.
    kernel, stride, padding, output_size
        See `max_unpool2d`.

    Returns
    -------
    Tensor
        Of shape (batch, channels, depth, height, width).

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> y, indices = gx.max_pool3d_with_indices(np.ones((1, 2, 4, 4, 4)), 2)
    >>> gx.max_unpool3d(y, indices, 2)
    <Tensor float64[1, 2, 4, 4, 4]>
    """
    return _unpool(3, x, indices, kernel, stride, padding, output_size)
