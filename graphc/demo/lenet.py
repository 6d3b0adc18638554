"""LeNet: two convolutions with pooling, then dense layers."""

from __future__ import annotations

import numpy as np

import graphc as gx
from graphc.demo.tasks import Task

__all__ = ["lenet"]


def lenet(image_shape: tuple[int, int, int], classes: int, task: Task, seed: int) -> gx.nn.Sequential:
    """Return a LeNet for images of the given shape.

    The original has sigmoids, trainable average pooling and a window of 5; this one has the
    rectifiers and the max pooling that replaced them, and "same" padding, so that it fits
    images as small as 4 by 4.

    Parameters
    ----------
    image_shape : tuple of int
        Channels, height and width.
    classes : int
        How many values it returns for each image.
    task : Task
        The widths of its layers.
    seed : int
        Decides the first weights.

    Returns
    -------
    Sequential

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to
    document recognition", Proceedings of the IEEE 86(11), 1998.
    """
    rng = np.random.default_rng(seed)
    depth, height, width = image_shape
    layers: list[gx.nn.Layer] = []
    for channels in task.channels:
        same = task.kernel // 2
        conv = gx.nn.Conv2d(depth, channels, task.kernel, padding=same, activation=gx.relu, seed=rng)
        layers += [conv, gx.nn.MaxPool2d(2)]
        depth, height, width = channels, height // 2, width // 2
    layers.append(gx.nn.Flatten())
    features = depth * height * width
    for size in task.hidden:
        layers.append(gx.nn.Dense(features, size, activation=gx.relu, initializer="he", seed=rng))
        features = size
    return gx.nn.Sequential(*layers, gx.nn.Dense(features, classes, seed=rng))
