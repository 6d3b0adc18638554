"""MNIST, and the data sets that copy its files (Fashion-MNIST, KMNIST)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from graphc.data.dataset import Dataset, Images
from graphc.data.idx import read_idx
from graphc.errors import DataError

__all__ = ["load_mnist"]

Array = np.ndarray[Any, Any]

_CLASSES = tuple("0123456789")
_PARTS = {"train": "train", "test": "t10k"}
# Both spellings are in circulation; either may be compressed.
_SPELLINGS = ("{part}-{kind}-idx{rank}-ubyte", "{part}-{kind}.idx{rank}-ubyte")
_SUFFIXES = ("", ".gz")


def load_mnist(path: str | os.PathLike[str]) -> Dataset:
    """Read the four original MNIST files from a folder.

    Parameters
    ----------
    path : path-like
        Folder with ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
        ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``; each may end in ``.gz``.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If a file is missing, wrong or truncated; one line that names it.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder")
    train, test = (_read_part(folder, part) for part in _PARTS.values())
    if train.pixels.shape[1:] != test.pixels.shape[1:]:
        raise DataError(f"{folder}: training and test images differ in size")
    return Dataset("MNIST", train, test, _CLASSES)


def _read_part(folder: Path, part: str) -> Images:
    _, pixels = _read_file(folder, part, "images", rank=3)
    label_file, labels = _read_file(folder, part, "labels", rank=1)
    if len(pixels) != len(labels):
        raise DataError(f"{label_file}: {len(labels)} labels for {len(pixels)} images")
    if labels.max() >= len(_CLASSES):
        raise DataError(f"{label_file}: label {labels.max()} is not a digit")
    return Images(pixels[:, np.newaxis], labels.astype(np.int64))


def _read_file(folder: Path, part: str, kind: str, rank: int) -> tuple[Path, Array]:
    path = _find(folder, part, kind, rank)
    array = read_idx(path)
    if array.dtype != np.uint8 or array.ndim != rank:
        raise DataError(f"{path}: not MNIST {kind}: it holds {array.dtype} with {array.ndim} axes")
    if array.size == 0:
        raise DataError(f"{path}: holds no {kind}")
    return path, array


def _find(folder: Path, part: str, kind: str, rank: int) -> Path:
    names = [
        spelling.format(part=part, kind=kind, rank=rank) + suffix
        for spelling in _SPELLINGS
        for suffix in _SUFFIXES
    ]
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise DataError(f"{folder}: there is no file {names[0]} or {names[1]}")
    return found
