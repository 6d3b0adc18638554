"""What is for people at a terminal only: colour, and progress on standard error."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Protocol, TextIO

__all__ = ["counting", "paint", "waiting"]

_STYLES = {"bold": "1", "red": "31", "green": "32", "yellow": "33"}
# What is done sooner than this needs no progress.
_PATIENCE = 1.0
_INTERVAL = 0.2
# Without tqdm's rate, which says little of what is counted here.
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt} of {total_fmt}{unit} [{elapsed}<{remaining}]"


def paint(text: str, style: str, stream: TextIO) -> str:
    """Return text in a style, if the stream is a terminal that takes colour.

    The environment variable NO_COLOR, set to anything, forbids it (https://no-color.org).

    Parameters
    ----------
    text : str
        What to show.
    style : {"bold", "red", "green", "yellow"}
        How.
    stream : text file
        Where it will be written.

    Returns
    -------
    str

    Examples
    --------
    >>> import io
    >>> paint("done", "green", io.StringIO())
    'done'
    """
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return text if plain or not stream.isatty() else f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


class _Display(Protocol):
    """Shows how much is done."""

    def show(self, done: int) -> None:
        """Show it."""

    def close(self) -> None:
        """Leave the terminal as if nothing had been shown."""


class _Bar:
    """A bar of tqdm."""

    def __init__(self, tqdm: Any, label: str, unit: str, total: int | None, started: float) -> None:
        form = "{desc}: {elapsed}" if total is None else _BAR
        tqdm.monitor_interval = 0  # no thread of its own: it would disturb measurements
        self._bar = tqdm(
            desc=label, unit=f" {unit}", total=total, bar_format=form, leave=False, file=sys.stderr
        )
        self._bar.start_t = started

    def show(self, done: int) -> None:
        self._bar.n = done
        self._bar.refresh()

    def close(self) -> None:
        self._bar.close()


class _Lines:
    """A plain line now and then, in intervals that double."""

    def __init__(self, label: str, unit: str, total: int | None, started: float) -> None:
        self._label, self._unit, self._total, self._started = label, unit, total, started
        self._due = 0.0

    def show(self, done: int) -> None:
        seconds = time.time() - self._started
        if seconds < self._due:
            return
        self._due = 2 * seconds
        amount = "" if self._total is None else f"{done} of {self._total} {self._unit}, "
        print(f"{self._label}: {amount}{seconds:.0f} s", file=sys.stderr)

    def close(self) -> None:
        pass


def _display(label: str, unit: str, total: int | None, started: float) -> _Display:
    try:
        tqdm = import_module("tqdm").tqdm
    except ModuleNotFoundError:
        return _Lines(label, unit, total, started)
    return _Bar(tqdm, label, unit, total, started)


@contextlib.contextmanager
def waiting(label: str) -> Iterator[None]:
    """Show that the work inside goes on, once it has taken a second.

    Parameters
    ----------
    label : str
        What is done.

    Examples
    --------
    >>> with waiting("compiling"):
    ...     pass
    """
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(label, done), daemon=True)
    watch.start()
    try:
        yield
    finally:
        done.set()
        watch.join()


def _watch(label: str, done: threading.Event) -> None:
    started = time.time()
    if done.wait(_PATIENCE):
        return
    display = _display(label, "", None, started)
    try:
        display.show(0)
        while not done.wait(_INTERVAL):
            display.show(0)
    finally:
        display.close()


@contextlib.contextmanager
def counting(label: str, unit: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far the work inside is, once it has taken a second.

    Nothing runs beside the work: what is measured is not disturbed.

    Parameters
    ----------
    label : str
        What is done.
    unit : str
        Of what, in the plural.
    total : int
        How many there are.

    Yields
    ------
    callable
        To be called with the number that is done.

    Examples
    --------
    >>> with counting("reading", "files", 2) as done:
    ...     done(1)
    ...     done(2)
    """
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    counter = _Counter(label, unit, total)
    try:
        yield counter.update
    finally:
        counter.close()


class _Counter:
    """Shows a count, not too often and not too early."""

    def __init__(self, label: str, unit: str, total: int) -> None:
        self._work = label, unit, total
        self._started = time.time()
        self._due = self._started + _PATIENCE
        self._shown: _Display | None = None

    def update(self, done: int) -> None:
        now = time.time()
        if now < self._due:
            return
        self._due = now + _INTERVAL
        if self._shown is None:
            self._shown = _display(*self._work, self._started)
        self._shown.show(done)

    def close(self) -> None:
        if self._shown is not None:
            self._shown.close()
