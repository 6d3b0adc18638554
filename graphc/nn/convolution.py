"""Convolution layers over one, two and three spatial axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from graphc import ops
from graphc.errors import ArgumentError, caller
from graphc.leaves import variable
from graphc.nn.initializers import Initializer, resolve
from graphc.nn.layer import Layer, positive
from graphc.tensor import Tensor

__all__ = ["Conv1d", "Conv2d", "Conv3d"]

Function = Callable[[Tensor], Tensor]


class ConvLayer(Layer):
    """A convolution over `rank` axes, a bias per output channel, an activation; see `Conv2d`."""

    rank: ClassVar[int]
    function: ClassVar[str] = "conv"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | tuple[int, ...],
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        activation: Function | None = None,
        bias: bool = True,
        initializer: str | Initializer = "he",
        *,
        seed: int | np.random.Generator | None = None,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        owner = type(self).__name__
        positive(owner, in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ArgumentError(
                f"{owner}: bad groups",
                expected="a divisor of both channel counts",
                given=f"{groups} for {in_channels} and {out_channels} channels",
                where=caller(),
            )
        window = self._window(kernel)
        shape = (out_channels, in_channels // groups, *window)
        first = self.arranged(resolve(initializer)(shape, dtype, seed), groups)
        self.weight = variable(first, name=f"{self.name}.weight", trainable=True)
        self.bias = self.weight_variable("bias", (out_channels,), "zeros", dtype) if bias else None
        self.options: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
        }
        self.activation = activation

    def arranged(self, weight: np.ndarray[Any, Any], groups: int) -> np.ndarray[Any, Any]:
        """Return what was drawn as (outputs, inputs of a group, *kernel) as the function takes it."""
        return weight

    def _window(self, kernel: int | tuple[int, ...]) -> tuple[int, ...]:
        window = (kernel,) * self.rank if isinstance(kernel, (int, np.integer)) else tuple(kernel)
        if len(window) != self.rank:
            raise ArgumentError(
                f"{type(self).__name__}: bad kernel",
                expected=f"an int or {self.rank} ints",
                given=repr(kernel),
                where=caller(),
            )
        for size in window:
            positive(type(self).__name__, kernel=size)
        return window

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Convolve, add, activate."""
        convolve: Callable[..., Tensor] = getattr(ops, f"{self.function}{self.rank}d")
        y = convolve(x, self.weight, **self.options)
        if self.bias is not None:
            y = y + self.bias.reshape((-1, *(1,) * self.rank))
        return y if self.activation is None else self.activation(y)


class Conv1d(ConvLayer):
    """`graphc.conv1d` with a weight and a bias of its own, on (batch, channels, length).

    Parameters are those of `Conv2d`.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 3, 32))
    >>> gx.nn.Conv1d(3, 8, 3, padding=1, seed=0)(x)
    <Tensor float32[batch, 8, 32]>
    """

    rank = 1


class Conv2d(ConvLayer):
    """`graphc.conv2d` with a weight and a bias of its own, on (batch, channels, height, width).

    Parameters
    ----------
    in_channels, out_channels : int
        Sizes of axis 1 before and after.
    kernel : int or tuple of int
        Size of the window.
    stride, padding, dilation, groups
        As in the function of the same rank, for example `graphc.conv2d`.
    activation : callable, optional
        A function of a Tensor, for example `graphc.relu`.
    bias : bool, default True
        Whether to add a bias, which starts at zero.
    initializer : str or Initializer, default "he"
        First value of the weight; see `graphc.nn.initializers`.
    seed : int or numpy Generator, optional
        Source of the first values.
    dtype : dtype, default float32
        float32 or float64.
    name : str, optional
        Prefix of the variables' names.

    Attributes
    ----------
    weight : Variable
        Of shape (out_channels, in_channels // groups, *kernel).
    bias : Variable or None
        Of shape (out_channels,).

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 3, 32, 32))
    >>> gx.nn.Conv2d(3, 8, 3, padding=1, seed=0)(x)
    <Tensor float32[batch, 8, 32, 32]>
    """

    rank = 2


class Conv3d(ConvLayer):
    """`graphc.conv3d` with a weight and a bias of its own, on (batch, channels, depth, height, width).

    Parameters are those of `Conv2d`.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 3, 8, 8, 8))
    >>> gx.nn.Conv3d(3, 4, 3, padding=1, seed=0)(x)
    <Tensor float32[batch, 4, 8, 8, 8]>
    """

    rank = 3
