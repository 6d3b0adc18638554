"""How long it takes until a model can be called, in a process of its own."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks import children, models
from benchmarks.models import Case

__all__ = ["seconds_to_open"]


def seconds_to_open(python: str, name: str, case: Case, directory: str) -> float:
    """Return the seconds that a framework takes, with what it has kept in a directory, after its import."""
    found = children.ask(python, "benchmarks.models.opening", name, str(case.folder), directory)
    return float(found["seconds"])


def _open(name: str, folder: str, directory: str) -> dict[str, float]:
    opened, case = models.load(name), Case(Path(folder))
    feed = case.feed
    started = time.perf_counter()
    opened(case, feed, directory)
    return {"seconds": time.perf_counter() - started}


if __name__ == "__main__":
    children.answer(_open)
