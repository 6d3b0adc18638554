"""Pooling: the largest or the average element of sliding windows, or of all space.

Input is laid out (batch, channels, *spatial).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import ArgumentError, ShapeError, caller
from graphc.ops.elementwise import astype
from graphc.ops.pool_rules import AVG_POOL, MAX_POOL
from graphc.ops.windows import Padding, Pads, PerAxis, Windows, paddings, per_axis
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import FLOAT64, is_float

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "global_avg_pool",
    "global_max_pool",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]


def _windows(
    owner: str, x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, rank: int
) -> Windows:
    """Return the windows that the user's parameters describe, before any rounding up."""
    if x.ndim != rank + 2:
        raise ShapeError(
            f"{owner}: input of a wrong rank",
            expected=f"{rank + 2} dimensions (batch, channels, and {rank} of space)",
            given=str(x.type),
            where=caller(),
        )
    taps = per_axis(owner, "kernel", kernel, rank)
    steps = taps if stride is None else per_axis(owner, "stride", stride, rank)
    gaps = per_axis(owner, "dilation", dilation, rank)
    pads = paddings(owner, padding, x.shape[2:], taps, steps, gaps)
    windows = Windows(taps, steps, pads, gaps)
    for span, pair in zip(windows.spans, pads, strict=True):
        if any(isinstance(p, int) and isinstance(span, int) and p >= span for p in pair):
            raise ArgumentError(
                f"{owner}: bad padding",
                expected=f"less than the kernel ({span}), so that no window lies in the padding alone",
                given=repr(padding),
                where=caller(),
            )
    return windows


def _rounded_up(windows: Windows, sizes: Shape) -> Pads:
    """Pad further after the input until the last window that starts within it or before fits."""
    pads: list[tuple[Dim, Dim]] = []
    for n, span, step, (before, after) in zip(
        sizes, windows.spans, windows.stride, windows.padding, strict=True
    ):
        begun = dims.floordiv(n + before + step - 1, step)
        fitting = dims.floordiv(n + before + after - span + step - 1, step) + 1
        count = dims.minimum(begun, fitting)
        pads.append((before, (count - 1) * step + span - n - before))
    return tuple(pads)


def _max_pool(rank: int, x: TensorLike, *parameters: Any) -> Tensor:
    t = as_tensor(x)
    return MAX_POOL(t, **max_windows(rank, t, *parameters).attrs)


def max_windows(
    rank: int, x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Windows:
    """Return the windows of a max pooling."""
    windows = _windows(f"max_pool{rank}d", x, kernel, stride, padding, dilation, rank)
    return replace(windows, padding=_rounded_up(windows, x.shape[2:])) if ceil_mode else windows


def _avg_pool(
    rank: int,
    x: TensorLike,
    kernel: PerAxis,
    stride: PerAxis | None,
    padding: Padding,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Tensor:
    given = as_tensor(x)
    t = given if is_float(given.dtype) else astype(given, FLOAT64)
    windows = _windows(f"avg_pool{rank}d", t, kernel, stride, padding, 1, rank)
    counted = windows.padding if count_include_pad else ((0, 0),) * rank
    padded = replace(windows, padding=_rounded_up(windows, t.shape[2:])) if ceil_mode else windows
    return AVG_POOL(t, counted=counted, **padded.attrs)


def max_pool1d(
    x: TensorLike,
    kernel: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Take the largest element of each window of sequences.

    Parameters
    ----------
    x : array_like, shape (batch, channels, length)
        Input.
    kernel : int or one per axis
        Taps of a window.
    stride, padding, dilation, ceil_mode
        See `max_pool2d`.

    Returns
    -------
    Tensor
        Of shape (batch, channels, windows).

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.evaluate(gx.max_pool1d(np.array([[[1, 5, 2, 3]]]), 2))
    array([[[5, 3]]])
    """
    return _max_pool(1, x, kernel, stride, padding, dilation, ceil_mode)


def max_pool2d(
    x: TensorLike,
    kernel: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Take the largest element of each window of images.

    NaN is largest.  The gradient goes to the first largest element of a window.

    Parameters
    ----------
    x : array_like, shape (batch, channels, height, width)
        Input.
    kernel : int or one per axis
        Taps of a window.
    stride : int or one per axis, optional
        Distance of neighbouring windows; by default that of `kernel`.
    padding : int, one per axis, a (before, after) pair per axis, "valid" or "same", default 0
        Elements around the input that are never the largest; less than the kernel.
    dilation : int or one per axis, default 1
        Distance of neighbouring taps.
    ceil_mode : bool, default False
        Round the number of windows up: also take a window that begins inside and ends outside.

    Returns
    -------
    Tensor
        Of shape (batch, channels, windows down, windows across).

    Raises
    ------
    ShapeError
        If the rank is wrong or the kernel larger than the padded input.
    ArgumentError
        If a parameter is not usable.
    DTypeError
        If the input is bool.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 8, 32, 32))
    >>> gx.max_pool2d(x, 3, stride=2, padding=1)
    <Tensor float32[batch, 8, 16, 16]>
    """
    return _max_pool(2, x, kernel, stride, padding, dilation, ceil_mode)


def max_pool3d(
    x: TensorLike,
    kernel: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Take the largest element of each window of volumes.

    Parameters
    ----------
    x : array_like, shape (batch, channels, depth, height, width)
        Input.
    kernel : int or one per axis
        Taps of a window.
    stride, padding, dilation, ceil_mode
        See `max_pool2d`.

    Returns
    -------
    Tensor
        Of shape (batch, channels, windows deep, windows down, windows across).

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.max_pool3d(np.ones((1, 2, 4, 4, 4)), 2)
    <Tensor float64[1, 2, 2, 2, 2]>
    """
    return _max_pool(3, x, kernel, stride, padding, dilation, ceil_mode)


def avg_pool1d(
    x: TensorLike,
    kernel: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Average each window of sequences.

    Parameters
    ----------
    x : array_like, shape (batch, channels, length)
        Input.
    kernel : int or one per axis
        Taps of a window.
    stride, padding, ceil_mode, count_include_pad
        See `avg_pool2d`.

    Returns
    -------
    Tensor
        Of shape (batch, channels, windows).

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.evaluate(gx.avg_pool1d(np.array([[[1.0, 5.0, 2.0, 3.0]]]), 2))
    array([[[3. , 2.5]]])
    """
    return _avg_pool(1, x, kernel, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    x: TensorLike,
    kernel: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Average each window of images; integers are converted to float64 first.

    Parameters
    ----------
    x : array_like, shape (batch, channels, height, width)
        Input.
    kernel : int or one per axis
        Taps of a window.
    stride : int or one per axis, optional
        Distance of neighbouring windows; by default that of `kernel`.
    padding : int, one per axis, a (before, after) pair per axis, "valid" or "same", default 0
        Zeros around the input; less than the kernel.
    ceil_mode : bool, default False
        Round the number of windows up: also take a window that begins inside and ends outside.
    count_include_pad : bool, default True
        Whether the padding enters the divisor (what `ceil_mode` adds never does).

    Returns
    -------
    Tensor
        Of shape (batch, channels, windows down, windows across).

    Raises
    ------
    ShapeError
        If the rank is wrong or the kernel larger than the padded input.
    ArgumentError
        If a parameter is not usable.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 8, 32, 32))
    >>> gx.avg_pool2d(x, 2)
    <Tensor float32[batch, 8, 16, 16]>
    """
    return _avg_pool(2, x, kernel, stride, padding, ceil_mode, count_include_pad)


def avg_pool3d(
    x: TensorLike,
    kernel: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Average each window of volumes.

    Parameters
    ----------
    x : array_like, shape (batch, channels, depth, height, width)
        Input.
    kernel : int or one per axis
        Taps of a window.
    stride, padding, ceil_mode, count_include_pad
        See `avg_pool2d`.

    Returns
    -------
    Tensor
        Of shape (batch, channels, windows deep, windows down, windows across).

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.avg_pool3d(np.ones((1, 2, 4, 4, 4)), 2)
    <Tensor float64[1, 2, 2, 2, 2]>
    """
    return _avg_pool(3, x, kernel, stride, padding, ceil_mode, count_include_pad)


def _spatial_axes(owner: str, x: Tensor) -> tuple[int, ...]:
    if x.ndim < 3:
        raise ShapeError(
            f"{owner}: input of a wrong rank",
            expected="3 or more dimensions (batch, channels, space)",
            given=str(x.type),
            where=caller(),
        )
    return tuple(range(2, x.ndim))


def global_max_pool(x: TensorLike) -> Tensor:
    """Take the largest element over all of space, keeping the spatial axes with size 1.

    Parameters
    ----------
    x : array_like, shape (batch, channels, *spatial)
        Input.

    Returns
    -------
    Tensor
        Of shape (batch, channels, 1, ...).

    Raises
    ------
    ShapeError
        If there are no spatial axes.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.global_max_pool(np.ones((2, 3, 4, 4)))
    <Tensor float64[2, 3, 1, 1]>
    """
    t = as_tensor(x)
    return t.max(axis=_spatial_axes("global_max_pool", t), keepdims=True)


def global_avg_pool(x: TensorLike) -> Tensor:
    """Average over all of space, keeping the spatial axes with size 1.

    Parameters
    ----------
    x : array_like, shape (batch, channels, *spatial)
        Input.

    Returns
    -------
    Tensor
        Of shape (batch, channels, 1, ...).

    Raises
    ------
    ShapeError
        If there are no spatial axes.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.global_avg_pool(np.ones((2, 3, 4, 4)))
    <Tensor float64[2, 3, 1, 1]>
    """
    t = as_tensor(x)
    return t.mean(axis=_spatial_axes("global_avg_pool", t), keepdims=True)
