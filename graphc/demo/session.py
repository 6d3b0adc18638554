"""One run of the demo: load, compile, show, train, report, write."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from graphc import plotting
from graphc.demo.tasks import TASKS
from graphc.demo.training import Classifier, Epoch
from graphc.errors import ArgumentError
from graphc.extras import require

__all__ = ["Report", "Settings", "run_demo"]

_PURPOSE = "graphc demo"


@dataclass(frozen=True)
class Settings:
    """What the command line says.

    Attributes
    ----------
    task : str
        A key of `graphc.demo.tasks.TASKS`.
    path : Path, optional
        Folder with the files of the data set, where it has files.
    out : Path
        Folder to write to; made if need be.
    epochs : int, optional
        Times through the training images; each task has a default.
    batch, seed : int
        Images per step; source of every random choice.
    quiet : bool
        Whether to print the result only.
    """

    task: str = "digits"
    path: Path | None = None
    out: Path = Path("graphc-demo")
    epochs: int | None = None
    batch: int = 32
    seed: int = 0
    quiet: bool = False


@dataclass(frozen=True)
class Report:
    """What a run of the demo found.

    Attributes
    ----------
    epochs : tuple of Epoch
        The learning curve.
    files : tuple of Path
        What was written.
    """

    epochs: tuple[Epoch, ...]
    files: tuple[Path, ...]

    @property
    def accuracy(self) -> float:
        """Share of the held-out images that are recognized at the end."""
        return self.epochs[-1].accuracy


def run_demo(settings: Settings) -> Report:
    """Run the demo.

    Raises
    ------
    MissingDependencyError
        Without the packages of the extra ``demo``, before any work is done.
    DataError
        If a file of the data set is wrong.
    ArgumentError
        If the output folder cannot be used.
    """
    for package in ("matplotlib", "tqdm"):
        require(package, extra="demo", purpose=_PURPOSE)
    _make_folder(settings.out)
    task = TASKS[settings.task]
    dataset = task.load(settings.path, settings.seed)
    say = _nothing if settings.quiet else print

    say(f"{dataset.name}: {len(dataset.train)} images to learn from, {len(dataset.test)} held out")
    started = time.perf_counter()
    classifier = Classifier(dataset, task, settings.epochs or task.epochs, settings.batch, settings.seed)
    say(f"compiled two programs in {time.perf_counter() - started:.2f} s; the training step:\n")
    say(f"{classifier.train}\n")
    epochs = tuple(_with_progress(classifier, settings.quiet))
    _print_result(epochs)
    return Report(epochs, _write(settings.out, classifier, epochs, say))


def _with_progress(classifier: Classifier, quiet: bool) -> Iterator[Epoch]:
    tqdm = require("tqdm", extra="demo", purpose=_PURPOSE).tqdm
    total = classifier.epochs * classifier.steps
    with tqdm(total=total, unit="step", disable=quiet, file=sys.stderr) as bar:
        for epoch in classifier.fit(advance=bar.update):
            bar.set_description(f"epoch {epoch.number}/{classifier.epochs}")
            bar.set_postfix_str(f"loss {epoch.loss:.4f}, held-out {epoch.accuracy:.2%}")
            yield epoch


def _nothing(text: str) -> None:
    pass


def _print_result(epochs: tuple[Epoch, ...]) -> None:
    last, seconds = epochs[-1], sum(epoch.seconds for epoch in epochs)
    print(
        f"held-out accuracy {last.accuracy:.2%} ({last.correct} of {last.held_out} images) "
        f"after {last.number} epoch{'s' * (last.number > 1)} of training in {seconds:.1f} s"
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"{folder}: cannot be made a folder: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ArgumentError(f"{folder}: cannot be written to")


def _write(
    folder: Path, classifier: Classifier, epochs: tuple[Epoch, ...], say: Callable[[str], None]
) -> tuple[Path, ...]:
    graph = classifier.train.graph
    curve, text, dot = (folder / name for name in ("learning_curve.png", "graph.txt", "graph.dot"))
    plotting.learning_curve(
        curve,
        losses=[epoch.loss for epoch in epochs],
        accuracies=[epoch.accuracy for epoch in epochs],
        title=f"LeNet on {classifier.dataset.name}",
    )
    text.write_text(f"{graph}\n", encoding="utf-8")
    dot.write_text(f"{graph.to_dot()}\n", encoding="utf-8")
    for file, content in (
        (curve, "the learning curve"),
        (text, "the optimized graph"),
        (dot, "the same for dot"),
    ):
        say(f"wrote {file}: {content}")
    return curve, text, dot
