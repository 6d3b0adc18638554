"""Layers that change the sizes of space."""

from __future__ import annotations

from typing import Any

from graphc.dims import Dim
from graphc.errors import ArgumentError, ShapeError, caller
from graphc.nn.layer import Layer
from graphc.ops import arange, fractional_max_pool2d, resize
from graphc.ops.axes import is_int
from graphc.random import DEFAULT, Generator
from graphc.tensor import Tensor

__all__ = ["FractionalMaxPool2d", "Upsample"]


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


class FractionalMaxPool2d(Layer):
    """Max pooling by a factor that is no whole number (Graham, "Fractional Max-Pooling", 2014).

    The regions of an axis are all of one of two lengths.  While training, each call of the
    compiled program draws their order, the same for all images, as
    `graphc.random.pooling_boundaries` does; otherwise they are spread evenly.

    Parameters
    ----------
    output_size : int or (int, int), optional
        Regions down and across.
    ratio : float or (float, float), optional
        In their place, the share of the input's sizes, in (0, 1], rounded down.
    overlapping : bool, default False
        Whether a region includes the row and column that the next begins with.
    generator : graphc.random.Generator, optional
        Source of the offsets.
    name : str, optional
        Shown when it is printed.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=("batch", 8, 32, 32))
    >>> gx.nn.FractionalMaxPool2d(ratio=0.7)(x, training=True)
    <Tensor float32[batch, 8, 22, 22]>
    """

    def __init__(
        self,
        output_size: Any = None,
        ratio: Any = None,
        overlapping: bool = False,
        generator: Generator | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        given = output_size if ratio is None else ratio
        pair = tuple(given) if isinstance(given, (tuple, list)) else (given, given)
        usable = _is_count if ratio is None else _is_share
        if (output_size is None) == (ratio is None) or len(pair) != 2 or not all(map(usable, pair)):
            raise ArgumentError(
                "FractionalMaxPool2d: bad size",
                expected="either output_size, a positive int or two, or ratio, in (0, 1], or two",
                given=f"output_size={output_size!r}, ratio={ratio!r}",
                where=caller(),
            )
        self.pair, self.by_ratio = pair, ratio is not None
        self.overlapping = overlapping
        self.generator = generator

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Pool."""
        rows, columns = (self._boundaries(x, axis, training) for axis in (-2, -1))
        return fractional_max_pool2d(x, rows, columns, self.overlapping)

    def _boundaries(self, x: Tensor, axis: int, training: bool) -> Tensor:
        if x.ndim != 4:
            raise ShapeError(
                "FractionalMaxPool2d: input of a wrong rank",
                expected="4 dimensions (batch, channels, height, width)",
                given=str(x.type),
                where=caller(),
            )
        size, asked = x.shape[axis], self.pair[axis]
        count = _share(size, asked) if self.by_ratio else int(asked)
        if not isinstance(size, int) or not 1 <= count <= size:
            raise ShapeError(
                "FractionalMaxPool2d: sizes do not fit",
                expected=f"a fixed size of {count} or more",
                given=str(x.type),
                where=caller(),
            )
        if training:
            return (self.generator or DEFAULT).pooling_boundaries(size, count)
        return (arange(count + 1) * size + count // 2) // count


def _share(size: Dim, ratio: float) -> int:
    return int(size * ratio) if isinstance(size, int) else 1


def _is_count(value: object) -> bool:
    return is_int(value) and value > 0


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 1
