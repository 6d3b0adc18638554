"""Pixels as a network wants them: centred on zero, spread around one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.data.dataset import Images
from graphc.errors import DataError

__all__ = ["Standardize"]

Array = np.ndarray[Any, Any]

_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Standardize:
    """Subtract the mean of each channel and divide by its standard deviation.

    Attributes
    ----------
    mean, deviation : ndarray
        float32 of shape (channels, 1, 1).

    Examples
    --------
    >>> import numpy as np
    >>> pixels = np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 2, 2)
    >>> centred = Standardize.fit(Images(pixels, np.array([0])))
    >>> centred.mean.item(), centred(pixels).mean().item()
    (3.0, 0.0)
    """

    mean: Array
    deviation: Array

    @classmethod
    def fit(cls, images: Images) -> Standardize:
        """Measure the training images, and never others."""
        if not images.pixels.size:
            raise DataError("Standardize: there are no images to measure")
        chunks = [images.pixels[i : i + _CHUNK].astype(np.int64) for i in range(0, len(images), _CHUNK)]
        count = images.pixels.size // images.pixels.shape[1]
        mean = sum(chunk.sum(axis=(0, 2, 3)) for chunk in chunks) / count
        square = sum((chunk**2).sum(axis=(0, 2, 3)) for chunk in chunks) / count
        deviation = np.sqrt(square - mean**2)
        deviation[deviation == 0] = 1.0  # a constant channel stays constant
        return cls(*(np.float32(v).reshape(-1, 1, 1) for v in (mean, deviation)))

    def __call__(self, pixels: Array) -> Array:
        """Return float32 values of `pixels`."""
        centred: Array = (pixels.astype(np.float32) - self.mean) / self.deviation
        return centred
