"""What the demo can learn: data, network, and how long and with which changes to train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graphc.data import Augmentation, Dataset, load_cifar10, load_digits, load_mnist

__all__ = ["TASKS", "Task"]


@dataclass(frozen=True)
class Task:
    """One choice of ``--data``.

    Attributes
    ----------
    load : callable
        ``load(path, seed)`` returns the data.
    augmentation : Augmentation
        What may happen to a training image.
    channels : tuple of int
        Width of the two convolutions.
    hidden : tuple of int
        Width of the dense layers between them and the classes.
    kernel : int
        Height and width of the convolutions' windows.
    epochs : int
        Times through the training images, unless the user says otherwise.
    learning_rate : float
        The first; it falls to zero along a half cosine.
    """

    load: Callable[[Path | None, int], Dataset]
    augmentation: Augmentation
    channels: tuple[int, int]
    hidden: tuple[int, ...]
    kernel: int
    epochs: int
    learning_rate: float


def _digits(path: Path | None, seed: int) -> Dataset:
    return load_digits(seed=seed)


def _from_files(load: Callable[[Path], Dataset]) -> Callable[[Path | None, int], Dataset]:
    return lambda path, seed: load(path or Path())


TASKS = {
    "digits": Task(_digits, Augmentation(shift=1), (32, 64), (128,), kernel=3, epochs=30, learning_rate=3e-3),
    "mnist": Task(
        _from_files(load_mnist),
        Augmentation(shift=2),
        (16, 32),
        (120, 84),
        kernel=5,
        epochs=4,
        learning_rate=2e-3,
    ),
    "cifar10": Task(
        _from_files(load_cifar10),
        Augmentation(shift=3, flip=True),
        (32, 64),
        (120, 84),
        kernel=5,
        epochs=10,
        learning_rate=1e-3,
    ),
}
