"""Convolutions and transposed convolutions in one, two and three dimensions.

Input is laid out (batch, channels, *spatial), weights (output channels, input channels of
a group, *spatial); as everywhere in deep learning, the kernel is not flipped.
"""

from __future__ import annotations

from typing import Any

from graphc.errors import ArgumentError, ShapeError, caller
from graphc.ops.conv_rules import CONV, CONV_INPUT_GRAD
from graphc.ops.elementwise import astype
from graphc.ops.windows import Padding, Pads, PerAxis, Windows, paddings, per_axis
from graphc.tensor import Tensor, TensorLike, promote

__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]


def _operands(owner: str, x: TensorLike, w: TensorLike, rank: int) -> tuple[Tensor, Tensor]:
    (a, b), dtype = promote(x, w)
    for t, name, layout in ((a, "input", "batch, channels"), (b, "weights", "outputs, inputs")):
        if t.ndim != rank + 2:
            raise ShapeError(
                f"{owner}: {name} of a wrong rank",
                expected=f"{rank + 2} dimensions ({layout}, and {rank} of space)",
                given=str(t.type),
                where=caller(),
            )
    return astype(a, dtype), astype(b, dtype)


def _groups(owner: str, groups: Any) -> int:
    return per_axis(owner, "groups", groups, 1)[0]


def _conv(
    rank: int, x: TensorLike, w: TensorLike, stride: PerAxis, padding: Padding, dilation: PerAxis, groups: int
) -> Tensor:
    owner = f"conv{rank}d"
    a, b = _operands(owner, x, w, rank)
    steps, gaps = per_axis(owner, "stride", stride, rank), per_axis(owner, "dilation", dilation, rank)
    pads = paddings(owner, padding, a.shape[2:], b.shape[2:], steps, gaps)
    return CONV(a, b, stride=steps, padding=pads, dilation=gaps, groups=_groups(owner, groups))


def conv1d(
    x: TensorLike,
    w: TensorLike,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve a batch of sequences with weights; parameters as for `conv2d`.

    Parameters
    ----------
    x : array_like, shape (batch, channels, length)
        Input.
    w : array_like, shape (outputs, channels / groups, kernel)
        Weights.
    stride, padding, dilation, groups
        See `conv2d`.

    Returns
    -------
    Tensor
        Of shape (batch, outputs, windows).

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.evaluate(gx.conv1d(np.array([[[1, 2, 4, 8]]]), np.array([[[1, -1]]])))
    array([[[-1, -2, -4]]])
    """
    return _conv(1, x, w, stride, padding, dilation, groups)


def conv2d(
    x: TensorLike,
    w: TensorLike,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve a batch of images with weights (cross-correlation: the kernel is not flipped).

    Parameters
    ----------
    x : array_like, shape (batch, channels, height, width)
        Input.
    w : array_like, shape (outputs, channels / groups, kernel height, kernel width)
        Weights.
    stride : int or one per axis, default 1
        Distance of neighbouring windows.
    padding : int, one per axis, a (before, after) pair per axis, "valid" or "same", default 0
        Zeros around the input.  "same" gives ``ceil(size / stride)`` windows.
    dilation : int or one per axis, default 1
        Distance of neighbouring taps of the kernel.
    groups : int, default 1
        Groups of channels that do not mix; equal to `channels` for a depthwise convolution.

    Returns
    -------
    Tensor
        Of shape (batch, outputs, windows down, windows across).

    Raises
    ------
    ShapeError
        If ranks or channels do not fit, or the kernel is larger than the padded input.
    ArgumentError
        If stride, padding, dilation or groups is not usable.
    DTypeError
        If the operands are bool.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> x = gx.placeholder("x", shape=("batch", 3, 32, 32))
    >>> gx.conv2d(x, np.zeros((8, 3, 3, 3), "float32"), stride=2, padding=1)
    <Tensor float32[batch, 8, 16, 16]>
    """
    return _conv(2, x, w, stride, padding, dilation, groups)


def conv3d(
    x: TensorLike,
    w: TensorLike,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve a batch of volumes with weights; parameters as for `conv2d`.

    Parameters
    ----------
    x : array_like, shape (batch, channels, depth, height, width)
        Input.
    w : array_like, shape (outputs, channels / groups, *kernel)
        Weights.
    stride, padding, dilation, groups
        See `conv2d`.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.conv3d(np.ones((1, 2, 4, 4, 4)), np.ones((3, 2, 3, 3, 3)), padding="same")
    <Tensor float64[1, 3, 4, 4, 4]>
    """
    return _conv(3, x, w, stride, padding, dilation, groups)


def _conv_transpose(
    rank: int,
    x: TensorLike,
    w: TensorLike,
    stride: PerAxis,
    padding: Padding,
    output_padding: PerAxis,
    dilation: PerAxis,
    groups: int,
) -> Tensor:
    owner = f"conv_transpose{rank}d"
    a, b = _operands(owner, x, w, rank)
    steps, gaps = per_axis(owner, "stride", stride, rank), per_axis(owner, "dilation", dilation, rank)
    extra = per_axis(owner, "output_padding", output_padding, rank, least=0)
    if any(e >= max(s, d) for e, s, d in zip(extra, steps, gaps, strict=True)):
        raise ArgumentError(
            f"{owner}: bad output_padding",
            expected=f"less than the stride {steps} or the dilation {gaps}",
            given=str(extra),
            where=caller(),
        )
    if padding == "same":
        raise ArgumentError(
            f"{owner}: padding 'same' leaves the size open",
            expected="numbers, with output_padding for the remainder",
            given="'same'",
            where=caller(),
        )
    crops = paddings(owner, padding, a.shape[2:], b.shape[2:], steps, gaps)
    # Growing the result at the end is the same as cropping less there.
    pads: Pads = tuple((before, after - e) for (before, after), e in zip(crops, extra, strict=True))
    spans = Windows(b.shape[2:], steps, pads, gaps).spans
    size = tuple(
        (n - 1) * step + span - before - after
        for n, step, span, (before, after) in zip(a.shape[2:], steps, spans, pads, strict=True)
    )
    if any(isinstance(n, int) and n < 1 for n in size):
        raise ShapeError(
            f"{owner}: padding crops the whole result",
            expected="sizes of at least 1",
            given=f"{size} from {a.type}",
            where=caller(),
        )
    count = _groups(owner, groups)
    return CONV_INPUT_GRAD(a, b, stride=steps, padding=pads, dilation=gaps, groups=count, size=size)


def conv_transpose1d(
    x: TensorLike,
    w: TensorLike,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Tensor:
    """Apply the transpose of a convolution to sequences; parameters as for `conv_transpose2d`.

    Parameters
    ----------
    x : array_like, shape (batch, channels, length)
        Input.
    w : array_like, shape (channels, outputs / groups, kernel)
        Weights.
    stride, padding, output_padding, dilation, groups
        See `conv_transpose2d`.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.evaluate(gx.conv_transpose1d(np.array([[[1, 2]]]), np.array([[[1, 10]]]), stride=2))
    array([[[ 1, 10,  2, 20]]])
    """
    return _conv_transpose(1, x, w, stride, padding, output_padding, dilation, groups)


def conv_transpose2d(
    x: TensorLike,
    w: TensorLike,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Tensor:
    """Apply the transpose of a convolution to images: every input element adds its kernel.

    Parameters
    ----------
    x : array_like, shape (batch, channels, height, width)
        Input.
    w : array_like, shape (channels, outputs / groups, kernel height, kernel width)
        Weights.
    stride : int or one per axis, default 1
        Distance in the result of what neighbouring elements of the input add.
    padding : int, one per axis, a (before, after) pair per axis or "valid", default 0
        How much to crop from the result.
    output_padding : int or one per axis, default 0
        How much to extend the result at its end; less than the stride or the dilation.
    dilation : int or one per axis, default 1
        Distance of neighbouring taps of the kernel.
    groups : int, default 1
        Groups of channels that do not mix.

    Returns
    -------
    Tensor
        With sizes ``(size - 1)*stride - 2*padding + dilation*(kernel - 1) + output_padding + 1``.

    Raises
    ------
    ShapeError
        If ranks or channels do not fit, or nothing is left of the result.
    ArgumentError
        If a parameter is not usable.
    DTypeError
        If the operands are bool.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> x = gx.placeholder("x", shape=("batch", 8, 16, 16))
    >>> gx.conv_transpose2d(x, np.zeros((8, 3, 4, 4), "float32"), stride=2, padding=1)
    <Tensor float32[batch, 3, 32, 32]>
    """
    return _conv_transpose(2, x, w, stride, padding, output_padding, dilation, groups)


def conv_transpose3d(
    x: TensorLike,
    w: TensorLike,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Tensor:
    """Apply the transpose of a convolution to volumes; parameters as for `conv_transpose2d`.

    Parameters
    ----------
    x : array_like, shape (batch, channels, depth, height, width)
        Input.
    w : array_like, shape (channels, outputs / groups, *kernel)
        Weights.
    stride, padding, output_padding, dilation, groups
        See `conv_transpose2d`.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.conv_transpose3d(np.ones((1, 2, 2, 2, 2)), np.ones((2, 3, 2, 2, 2)), stride=2)
    <Tensor float64[1, 3, 4, 4, 4]>
    """
    return _conv_transpose(3, x, w, stride, padding, output_padding, dilation, groups)
