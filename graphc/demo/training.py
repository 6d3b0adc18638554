"""The training loop: two programs that share their variables, and minibatches to feed them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

import graphc as gx
from graphc.data import Dataset, Images, Standardize, minibatches
from graphc.demo.lenet import lenet
from graphc.demo.tasks import Task

__all__ = ["Classifier", "Epoch"]

# Images per call when only predicting; more would only take more memory.
_PREDICTED_AT_ONCE = 1000


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training images did.

    Attributes
    ----------
    number : int
        From 1.
    loss : float
        Mean over the training images, each with the weights of its own step.
    correct, held_out : int
        Held-out images recognized after it, and how many there are.
    seconds : float
        Time for the training, without the test.
    """

    number: int
    loss: float
    correct: int
    held_out: int
    seconds: float

    @property
    def accuracy(self) -> float:
        """Share of the held-out images that are recognized."""
        return self.correct / self.held_out


class Classifier:
    """A LeNet for one data set, compiled for training and for prediction.

    Parameters
    ----------
    dataset : Dataset
        What to learn.
    task : Task
        How.
    epochs, batch : int
        Times through the training images, images per step.
    seed : int
        Decides first weights, order and augmentation.

    Attributes
    ----------
    train, predict : Program
        One optimizer step; classes of images.  Both name the same variables.
    steps : int
        How many optimizer steps an epoch has.
    """

    def __init__(self, dataset: Dataset, task: Task, epochs: int, batch: int, seed: int) -> None:
        self.dataset, self.task, self.epochs, self.batch = dataset, task, epochs, batch
        self.rng = np.random.default_rng(seed)
        self.standardize = Standardize.fit(dataset.train)
        self.steps = -(-len(dataset.train) // batch)

        x = gx.placeholder("x", shape=("batch", *dataset.image_shape))
        y = gx.placeholder("y", shape=("batch",), dtype="int64")
        model = lenet(dataset.image_shape, len(dataset.classes), task, seed)
        loss = gx.nn.softmax_cross_entropy(model(x, training=True), y).mean()
        optimizer = gx.optim.Adam(gx.optim.cosine(task.learning_rate, epochs * self.steps))
        self.train = gx.compile([x, y], loss, updates=optimizer.minimize(loss), name="train")
        self.predict = gx.compile([x], gx.argmax(model(x), axis=1), name="predict")

    def fit(self, advance: Callable[[], object] = lambda: None) -> Iterator[Epoch]:
        """Train; yield what each epoch did, and call `advance` after each step."""
        for number in range(1, self.epochs + 1):
            started = time.perf_counter()
            loss = self._epoch(advance)
            seconds = time.perf_counter() - started
            correct = self.correct(self.dataset.test)
            yield Epoch(number, loss, correct, len(self.dataset.test), seconds)

    def _epoch(self, advance: Callable[[], object]) -> float:
        images, total = self.dataset.train, 0.0
        for chosen in minibatches(len(images), self.batch, self.rng):
            pixels = self.task.augmentation(images.pixels[chosen], self.rng)
            loss = self.train(self.standardize(pixels), images.labels[chosen])
            total += float(loss) * len(chosen)
            advance()
        return total / len(images)

    def correct(self, images: Images) -> int:
        """Return how many images are recognized."""
        found = 0
        for start in range(0, len(images), _PREDICTED_AT_ONCE):
            part = images[start : start + _PREDICTED_AT_ONCE]
            found += int((self.predict(self.standardize(part.pixels)) == part.labels).sum())
        return found
