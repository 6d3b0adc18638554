"""Small random changes that leave the class of an image alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from graphc.errors import ArgumentError

__all__ = ["Augmentation", "random_flip", "random_shift"]

Array = np.ndarray[Any, Any]


def random_shift(pixels: Array, rng: np.random.Generator, most: int) -> Array:
    """Move every image by up to `most` pixels along each axis; zeros move in.

    Parameters
    ----------
    pixels : ndarray
        Of shape (count, channels, height, width).
    rng : numpy.random.Generator
        Source of the distances, one pair for each image.
    most : int
        Largest distance.

    Returns
    -------
    ndarray
        Of the same shape and dtype.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.arange(1, 5, dtype=np.uint8).reshape(1, 1, 2, 2)
    >>> random_shift(image, np.random.default_rng(2), most=1)[0, 0]
    array([[0, 3],
           [0, 0]], dtype=uint8)
    """
    if most < 0:
        raise ArgumentError("random_shift: bad distance", expected="at least 0", given=repr(most))
    count, _, height, width = pixels.shape
    padded = np.pad(pixels, ((0, 0), (0, 0), (most, most), (most, most)))
    windows = sliding_window_view(padded, (height, width), axis=(2, 3))
    down, right = rng.integers(0, 2 * most + 1, (2, count))
    shifted: Array = windows[np.arange(count), :, down, right]
    return shifted


def random_flip(pixels: Array, rng: np.random.Generator, share: float = 0.5) -> Array:
    """Mirror images left to right, each with probability `share`.

    Parameters
    ----------
    pixels : ndarray
        Of shape (count, channels, height, width).
    rng : numpy.random.Generator
        Decides for each image.
    share : float, default 0.5
        Probability.

    Returns
    -------
    ndarray
        Of the same shape and dtype.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.arange(4, dtype=np.uint8).reshape(1, 1, 2, 2)
    >>> random_flip(image, np.random.default_rng(0), share=1.0)[0, 0]
    array([[1, 0],
           [3, 2]], dtype=uint8)
    """
    if not 0 <= share <= 1:
        raise ArgumentError("random_flip: bad share", expected="a probability", given=repr(share))
    chosen = rng.random(len(pixels)) < share
    return np.where(chosen[:, np.newaxis, np.newaxis, np.newaxis], pixels[..., ::-1], pixels)


@dataclass(frozen=True)
class Augmentation:
    """What may be done to a training image.

    Attributes
    ----------
    shift : int
        Largest distance in pixels; 0 for none.
    flip : bool
        Whether a mirror image is still of the same class.

    Examples
    --------
    >>> import numpy as np
    >>> Augmentation()(np.ones((1, 1, 2, 2)), np.random.default_rng(0)).sum().item()
    4.0
    """

    shift: int = 0
    flip: bool = False

    def __call__(self, pixels: Array, rng: np.random.Generator) -> Array:
        """Return changed copies of `pixels`."""
        moved = random_shift(pixels, rng, self.shift) if self.shift else pixels
        return random_flip(moved, rng) if self.flip else moved
