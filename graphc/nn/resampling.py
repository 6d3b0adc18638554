"""Layers that change the sizes of space."""

from __future__ import annotations

from typing import Any

from graphc.nn.layer import Layer
from graphc.ops import resize
from graphc.tensor import Tensor

__all__ = ["Upsample"]


class Upsample(Layer):
    """`graphc.resize` as a layer, on (batch, channels, *spatial).

    Parameters
    ----------
    size, scale, mode, align_corners
        As in the function.
    name : str, optional
        Shown when it is printed.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.nn.Upsample(scale=2, mode="linear")(np.zeros((1, 3, 8, 8)))
    <Tensor float64[1, 3, 16, 16]>
    """

    def __init__(
        self,
        size: Any = None,
        scale: Any = None,
        mode: str = "nearest",
        align_corners: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.options: dict[str, Any] = {"size": size, "scale": scale}
        self.options |= {"mode": mode, "align_corners": align_corners}

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Resize."""
        return resize(x, **self.options)
