"""The UCI handwritten digits: 1,797 real images of 8 by 8 pixels, carried by scikit-learn."""

from __future__ import annotations

import numpy as np

from graphc.data.dataset import Dataset, Images, stratified_split
from graphc.extras import require

__all__ = ["load_digits"]

_CLASSES = tuple("0123456789")


def load_digits(held_out: float = 0.2, seed: int = 0) -> Dataset:
    """Return the digits, with a part of each class held out.

    Parameters
    ----------
    held_out : float, default 0.2
        Share of each class that is held out.
    seed : int, default 0
        Chooses what is held out.

    Returns
    -------
    Dataset

    Raises
    ------
    MissingDependencyError
        Without scikit-learn.

    References
    ----------
    E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998.

    Examples
    --------
    >>> digits = load_digits()
    >>> len(digits.train), len(digits.test), digits.image_shape
    (1438, 359, (1, 8, 8))
    """
    bunch = require("sklearn.datasets", extra="demo", purpose="the digits").load_digits()
    pixels = np.asarray(bunch.images, np.uint8)[:, np.newaxis]
    train, test = stratified_split(Images(pixels, np.asarray(bunch.target, np.int64)), held_out, seed)
    return Dataset("UCI handwritten digits", train, test, _CLASSES)
