"""CIFAR-10 in its binary version: records of one label byte and 3,072 pixel bytes.

The format is described by A. Krizhevsky, "Learning Multiple Layers of Features from Tiny
Images", 2009, and on the page of the data set.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from graphc.data.dataset import Dataset, Images
from graphc.errors import DataError

__all__ = ["load_cifar10"]

_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_IMAGE_SHAPE = (3, 32, 32)
_RECORD_BYTES = 1 + 3 * 32 * 32
_TRAIN_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
_TEST_FILE = "test_batch.bin"
# What the archive unpacks to.
_INNER_FOLDER = "cifar-10-batches-bin"


def load_cifar10(path: str | os.PathLike[str]) -> Dataset:
    """Read the six original files of CIFAR-10's binary version from a folder.

    Parameters
    ----------
    path : path-like
        Folder with ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``,
        or the folder above it.

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
    if (folder / _INNER_FOLDER).is_dir():
        folder = folder / _INNER_FOLDER
    if (folder / "data_batch_1").exists():
        raise DataError(f"{folder}: holds CIFAR-10 as pickles; graphc reads its binary version")
    parts = [_read(folder / name) for name in _TRAIN_FILES]
    pixels = np.concatenate([part.pixels for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    return Dataset("CIFAR-10", Images(pixels, labels), _read(folder / _TEST_FILE), _CLASSES)


def _read(path: Path) -> Images:
    try:
        data = np.fromfile(path, np.uint8)
    except FileNotFoundError as error:
        raise DataError(f"{path.parent}: there is no file {path.name}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if data.size == 0 or data.size % _RECORD_BYTES:
        raise DataError(
            f"{path}: truncated or not CIFAR-10: {data.size} bytes, no multiple of {_RECORD_BYTES}"
        )
    records = data.reshape(-1, _RECORD_BYTES)
    labels = records[:, 0].astype(np.int64)
    if labels.max() >= len(_CLASSES):
        raise DataError(f"{path}: not CIFAR-10: record {labels.argmax()} has label {labels.max()}, above 9")
    return Images(records[:, 1:].reshape(-1, *_IMAGE_SHAPE), labels)
