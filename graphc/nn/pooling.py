"""Pooling layers over one, two and three spatial axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from graphc import ops
from graphc.nn.layer import Layer
from graphc.tensor import Tensor

__all__ = [
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
]


class _Pool(Layer):
    """Windows over the spatial axes; the function is `graphc.<function>`."""

    function: ClassVar[str]

    def __init__(
        self, kernel: Any, stride: Any = None, padding: Any = 0, name: str | None = None, **options: Any
    ) -> None:
        super().__init__(name)
        self.options = {"kernel": kernel, "stride": stride, "padding": padding, **options}

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Pool."""
        pool: Callable[..., Tensor] = getattr(ops, self.function)
        return pool(x, **self.options)


class MaxPool1d(_Pool):
    """`graphc.max_pool1d` as a layer, on (batch, channels, length).

    Parameters
    ----------
    kernel, stride, padding, **options
        As in the function.
    name : str, optional
        Shown when it is printed.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.nn.MaxPool1d(2)(np.zeros((1, 3, 8)))
    <Tensor float64[1, 3, 4]>
    """

    function = "max_pool1d"


class MaxPool2d(_Pool):
    """`graphc.max_pool2d` as a layer, on (batch, channels, height, width).

    Parameters
    ----------
    kernel, stride, padding, **options
        As in the function.
    name : str, optional
        Shown when it is printed.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.nn.MaxPool2d(2)(np.zeros((1, 3, 8, 8)))
    <Tensor float64[1, 3, 4, 4]>
    """

    function = "max_pool2d"


class MaxPool3d(_Pool):
    """`graphc.max_pool3d` as a layer, on (batch, channels, depth, height, width).

    Parameters
    ----------
    kernel, stride, padding, **options
        As in the function.
    name : str, optional
        Shown when it is printed.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.nn.MaxPool3d(2)(np.zeros((1, 3, 8, 8, 8)))
    <Tensor float64[1, 3, 4, 4, 4]>
    """

    function = "max_pool3d"


class AvgPool1d(_Pool):
    """`graphc.avg_pool1d` as a layer, on (batch, channels, length).

    Parameters
    ----------
    kernel, stride, padding, **options
        As in the function.
    name : str, optional
        Shown when it is printed.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.nn.AvgPool1d(2)(np.zeros((1, 3, 8)))
    <Tensor float64[1, 3, 4]>
    """

    function = "avg_pool1d"


class AvgPool2d(_Pool):
    """`graphc.avg_pool2d` as a layer, on (batch, channels, height, width).

    Parameters
    ----------
    kernel, stride, padding, **options
        As in the function.
    name : str, optional
        Shown when it is printed.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.nn.AvgPool2d(2)(np.zeros((1, 3, 8, 8)))
    <Tensor float64[1, 3, 4, 4]>
    """

    function = "avg_pool2d"


class AvgPool3d(_Pool):
    """`graphc.avg_pool3d` as a layer, on (batch, channels, depth, height, width).

    Parameters
    ----------
    kernel, stride, padding, **options
        As in the function.
    name : str, optional
        Shown when it is printed.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.nn.AvgPool3d(2)(np.zeros((1, 3, 8, 8, 8)))
    <Tensor float64[1, 3, 4, 4, 4]>
    """

    function = "avg_pool3d"


class GlobalAvgPool(Layer):
    """The mean over all axes after (batch, channels), which are dropped.

    Parameters
    ----------
    name : str, optional
        Shown when it is printed.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.nn.GlobalAvgPool()(np.zeros((2, 3, 8, 8)))
    <Tensor float64[2, 3]>
    """

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Average."""
        return x.mean(axis=tuple(range(2, x.ndim)))


class GlobalMaxPool(Layer):
    """The maximum over all axes after (batch, channels), which are dropped.

    Parameters
    ----------
    name : str, optional
        Shown when it is printed.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.nn.GlobalMaxPool()(np.zeros((2, 3, 8, 8)))
    <Tensor float64[2, 3]>
    """

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Take the maximum."""
        return x.max(axis=tuple(range(2, x.ndim)))
