"""One framework at work on models in files, in the process where it lives."""

from __future__ import annotations

from collections.abc import Sequence

import benchmarks.host
from benchmarks import models
from benchmarks.models import Case, Step
from benchmarks.workload import Array

__all__ = ["Host"]


class _Runner:
    """A model, ready to be called."""

    def __init__(self, call: Step) -> None:
        self.call = call

    def step(self, feed: None) -> Sequence[Array]:
        """Run once."""
        return self.call()

    def reset(self) -> None:
        """Do nothing: no step changes anything."""


class Host(benchmarks.host.Host):
    """Opens, runs and times models in one framework; `server` runs it in a process of its own.

    Parameters
    ----------
    name : str
        The framework, as in `benchmarks.models.OPENERS`.
    """

    def __init__(self, name: str) -> None:
        self.opened = models.load(name)
        self.runner = self.feed = None

    def open(self, case: Case, directory: str) -> None:
        """Make a model ready; what is compiled is kept in a directory."""
        self.runner = _Runner(self.opened(case, case.feed, directory))

    def results(self) -> list[Array]:
        """Return the results of a call."""
        return list(self.runner.step(None))
