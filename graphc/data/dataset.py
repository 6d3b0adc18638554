"""Labelled images, and a split of them that keeps the shares of the classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DataError

__all__ = ["Dataset", "Images", "stratified_split"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Images:
    """Images as stored, with one label each.

    Attributes
    ----------
    pixels : ndarray
        uint8 of shape (count, channels, height, width).
    labels : ndarray
        int64 of shape (count,), from zero.

    Examples
    --------
    >>> import numpy as np
    >>> images = Images(np.zeros((3, 1, 8, 8), np.uint8), np.array([0, 1, 0]))
    >>> len(images)
    3
    >>> images[np.array([1])].labels
    array([1])
    """

    pixels: Array
    labels: Array

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.labels.shape != self.pixels.shape[:1]:
            raise DataError(
                f"images: shapes {self.pixels.shape} and {self.labels.shape} do not belong together"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Array | slice) -> Images:
        return Images(self.pixels[chosen], self.labels[chosen])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images to learn from, and images held out to judge by.

    Attributes
    ----------
    name : str
        For people.
    train, test : Images
        No image stands in both.
    classes : tuple of str
        Name of each label.
    """

    name: str
    train: Images
    test: Images
    classes: tuple[str, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.train.pixels.shape[1:]
        return int(channels), int(height), int(width)


def stratified_split(images: Images, held_out: float, seed: int) -> tuple[Images, Images]:
    """Split images at random so that every class is held out in the same proportion.

    Parameters
    ----------
    images : Images
        What to split.
    held_out : float
        Share of each class that goes into the second part, between 0 and 1.
    seed : int
        The same seed gives the same split.

    Returns
    -------
    train, test : Images

    Examples
    --------
    >>> import numpy as np
    >>> images = Images(np.zeros((10, 1, 2, 2), np.uint8), np.repeat([0, 1], 5))
    >>> train, test = stratified_split(images, held_out=0.4, seed=0)
    >>> np.bincount(train.labels), np.bincount(test.labels)
    (array([3, 3]), array([2, 2]))
    """
    if not 0 < held_out < 1:
        raise ArgumentError("stratified_split: bad share", expected="one in (0, 1)", given=repr(held_out))
    rng = np.random.default_rng(seed)
    test = np.zeros(len(images), bool)
    for label in np.unique(images.labels):
        members = rng.permutation(np.flatnonzero(images.labels == label))
        test[members[: round(held_out * len(members))]] = True
    return images[~test], images[test]
