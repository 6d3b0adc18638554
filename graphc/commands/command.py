"""What a command of the command line consists of."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Command", "positive"]


@dataclass(frozen=True)
class Command:
    """One word after ``graphc``.

    Attributes
    ----------
    name : str
        The word.
    summary : str
        One line of help.
    declare : callable
        Adds the command's arguments to its parser.
    run : callable
        Does the work and returns the exit code.  Raises `GraphcError` for what a user can
        mend; calls ``arguments.usage_error(message)`` for words that do not go together.
    """

    name: str
    summary: str
    declare: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def positive(text: str) -> int:
    """Parse a positive number.

    Examples
    --------
    >>> positive("12")
    12
    """
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive whole number, given {text!r}")
    return value
