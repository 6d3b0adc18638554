"""Transposed convolution layers over one, two and three spatial axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.nn.convolution import ConvLayer

__all__ = ["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


class _ConvTranspose(ConvLayer):
    """The transpose of a convolution over `rank` axes; see `ConvTranspose2d`."""

    function = "conv_transpose"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | tuple[int, ...],
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, padding, dilation, groups, **options)
        self.options["output_padding"] = output_padding

    def arranged(self, weight: np.ndarray[Any, Any], groups: int) -> np.ndarray[Any, Any]:
        """Return first weights with the inputs in front; what an output sums up stays what was drawn for."""
        outputs, inputs, *window = weight.shape
        grouped = weight.reshape(groups, outputs // groups, inputs, *window).swapaxes(1, 2)
        return np.ascontiguousarray(grouped.reshape(groups * inputs, outputs // groups, *window))


class ConvTranspose1d(_ConvTranspose):
    """`graphc.conv_transpose1d` with a weight and a bias of its own, on (batch, channels, length).

    Parameters are those of `ConvTranspose2d`.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 8, 16))
    >>> gx.nn.ConvTranspose1d(8, 3, 4, stride=2, padding=1, seed=0)(x)
    <Tensor float32[batch, 3, 32]>
    """

    rank = 1


class ConvTranspose2d(_ConvTranspose):
    """`graphc.conv_transpose2d` with a weight and a bias of its own, on (batch, channels, height, width).

    Parameters
    ----------
    in_channels, out_channels : int
        Sizes of axis 1 before and after.
    kernel : int or tuple of int
        Size of the window.
    stride, padding, output_padding, dilation, groups
        As in the function of the same rank, for example `graphc.conv_transpose2d`.
    **options
        `activation`, `bias`, `initializer`, `seed`, `dtype` and `name`, as in `Conv2d`.

    Attributes
    ----------
    weight : Variable
        Of shape (in_channels, out_channels // groups, *kernel).
    bias : Variable or None
        Of shape (out_channels,).

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 8, 16, 16))
    >>> gx.nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1, seed=0)(x)
    <Tensor float32[batch, 3, 32, 32]>
    """

    rank = 2


class ConvTranspose3d(_ConvTranspose):
    """`graphc.conv_transpose3d` with a weight and a bias of its own, on (batch, channels, *volume).

    Parameters are those of `ConvTranspose2d`.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 4, 4, 4, 4))
    >>> gx.nn.ConvTranspose3d(4, 2, 2, stride=2, seed=0)(x)
    <Tensor float32[batch, 2, 8, 8, 8]>
    """

    rank = 3
