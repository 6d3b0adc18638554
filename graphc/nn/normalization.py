"""Layers that bring activations to mean 0 and variance 1, or to a common scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.errors import ArgumentError, caller
from graphc.leaves import variable
from graphc.nn.layer import Layer, positive
from graphc.ops import (
    batch_norm,
    batch_norm_training,
    element_count,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    where,
    with_update,
)
from graphc.tensor import Tensor

__all__ = ["BatchNorm", "GroupNorm", "InstanceNorm", "LayerNorm", "LocalResponseNorm"]


class BatchNorm(Layer):
    """Batch normalization (Ioffe and Szegedy, ICML 2015) over all axes but one.

    While training, the statistics are those of the batch, and every call of the compiled
    program moves the running ones towards them; otherwise the running ones are used.  An
    empty batch has no statistics and leaves them as they are.  A program may apply one
    layer once while training, since it can move them only once.

    Parameters
    ----------
    num_features : int
        Size of the axis that keeps statistics of its own.
    momentum : float, default 0.9
        Share of the running statistics that a step keeps, in [0, 1].
    eps : float, default 1e-5
        Added to the variance.
    axis : int, default 1
        The axis that keeps statistics of its own.
    affine : bool, default True
        Whether to scale by a weight and add a bias.
    dtype : dtype, default float32
        float32 or float64.
    name : str, optional
        Prefix of the variables' names.

    Attributes
    ----------
    weight, bias : Variable or None
        Trainable scale and offset.
    running_mean, running_var : Variable
        Statistics for inference; not trainable.  The variance is that of the batch as a
        whole population (divided by n).

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 8, 32, 32))
    >>> gx.nn.BatchNorm(8)(x, training=True)
    <Tensor float32[batch, 8, 32, 32]>
    """

    def __init__(
        self,
        num_features: int,
        momentum: float = 0.9,
        eps: float = 1e-5,
        axis: int = 1,
        affine: bool = True,
        *,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        positive("BatchNorm", num_features=num_features)
        if not 0.0 <= momentum <= 1.0:
            raise ArgumentError(
                "BatchNorm: bad momentum", expected="a number in [0, 1]", given=repr(momentum), where=caller()
            )
        shape = (num_features,)
        self.weight = self.weight_variable("weight", shape, "ones", dtype) if affine else None
        self.bias = self.weight_variable("bias", shape, "zeros", dtype) if affine else None
        self.running_mean = variable(np.zeros(shape), f"{self.name}.running_mean", dtype, trainable=False)
        self.running_var = variable(np.ones(shape), f"{self.name}.running_var", dtype, trainable=False)
        self.momentum, self.eps, self.axis = momentum, eps, axis

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Normalize; while training, also move the running statistics."""
        if not training:
            return batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, axis=self.axis, eps=self.eps
            )
        y, mean, var = batch_norm_training(x, self.weight, self.bias, axis=self.axis, eps=self.eps)
        # One NaN would stay in a running average for good.
        counted = element_count(x) > 0
        for running, batch in ((self.running_mean, mean), (self.running_var, var)):
            moved = self.momentum * running + (1.0 - self.momentum) * batch
            y = with_update(y, running, where(counted, moved, running))
        return y


class LayerNorm(Layer):
    """Layer normalization (Ba, Kiros and Hinton, 2016) over the last axes.

    Parameters
    ----------
    shape : int or sequence of int
        Sizes of the last axes, which are normalized together.
    eps : float, default 1e-5
        Added to the variance.
    affine : bool, default True
        Whether to scale by a weight and add a bias.
    dtype : dtype, default float32
        float32 or float64.
    name : str, optional
        Prefix of the variables' names.

    Attributes
    ----------
    weight, bias : Variable or None
        Trainable scale and offset, of `shape`.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 12, 64))
    >>> gx.nn.LayerNorm(64)(x)
    <Tensor float32[batch, 12, 64]>
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        eps: float = 1e-5,
        affine: bool = True,
        *,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.shape = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(shape)
        for size in self.shape:
            positive("LayerNorm", shape=size)
        self.weight = self.weight_variable("weight", self.shape, "ones", dtype) if affine else None
        self.bias = self.weight_variable("bias", self.shape, "zeros", dtype) if affine else None
        self.eps = eps

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Normalize."""
        axes = tuple(range(x.ndim - len(self.shape), x.ndim))
        return layer_norm(x, self.weight, self.bias, axis=axes, eps=self.eps)


class _ChannelScale(Layer):
    """A weight and a bias per channel, or neither."""

    def __init__(self, channels: int, eps: float, affine: bool, dtype: object, name: str | None) -> None:
        super().__init__(name)
        positive(type(self).__name__, num_channels=channels)
        self.weight = self.weight_variable("weight", (channels,), "ones", dtype) if affine else None
        self.bias = self.weight_variable("bias", (channels,), "zeros", dtype) if affine else None
        self.eps = eps


class GroupNorm(_ChannelScale):
    """Group normalization (Wu and He, 2018) of (batch, channels, *spatial).

    Parameters
    ----------
    groups : int
        Number of groups of channels, each normalized by itself.
    num_channels : int
        Size of axis 1, a multiple of `groups`.
    eps : float, default 1e-5
        Added to the variance.
    affine : bool, default True
        Whether to scale by a weight and add a bias.
    dtype : dtype, default float32
        float32 or float64.
    name : str, optional
        Prefix of the variables' names.

    Attributes
    ----------
    weight, bias : Variable or None
        Trainable scale and offset of every channel.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 8, 32, 32))
    >>> gx.nn.GroupNorm(4, 8)(x)
    <Tensor float32[batch, 8, 32, 32]>
    """

    def __init__(
        self,
        groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(num_channels, eps, affine, dtype, name)
        positive("GroupNorm", groups=groups)
        if num_channels % groups:
            raise ArgumentError(
                "GroupNorm: bad groups",
                expected=f"a divisor of the number of channels ({num_channels})",
                given=repr(groups),
                where=caller(),
            )
        self.groups = groups

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Normalize."""
        return group_norm(x, self.groups, self.weight, self.bias, eps=self.eps)


class InstanceNorm(_ChannelScale):
    """Instance normalization (Ulyanov, Vedaldi and Lempitsky, 2016) of (batch, channels, *spatial).

    Parameters
    ----------
    num_channels : int
        Size of axis 1.
    eps : float, default 1e-5
        Added to the variance.
    affine : bool, default False
        Whether to scale by a weight and add a bias.
    dtype : dtype, default float32
        float32 or float64.
    name : str, optional
        Prefix of the variables' names.

    Attributes
    ----------
    weight, bias : Variable or None
        Trainable scale and offset of every channel.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 8, 32, 32))
    >>> gx.nn.InstanceNorm(8)(x)
    <Tensor float32[batch, 8, 32, 32]>
    """

    def __init__(
        self,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = False,
        *,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(num_channels, eps, affine, dtype, name)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Normalize."""
        return instance_norm(x, self.weight, self.bias, eps=self.eps)


class LocalResponseNorm(Layer):
    """`graphc.local_response_norm` as a layer, on (batch, channels, *spatial).

    Parameters
    ----------
    size, alpha, beta, k
        As in the function.
    name : str, optional
        Shown when it is printed.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.nn.LocalResponseNorm(5)(np.ones((2, 8, 4, 4)))
    <Tensor float64[2, 8, 4, 4]>
    """

    def __init__(
        self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, name: str | None = None
    ) -> None:
        super().__init__(name)
        positive("LocalResponseNorm", size=size)
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Divide by the neighbours' power."""
        return local_response_norm(x, self.size, self.alpha, self.beta, self.k)
