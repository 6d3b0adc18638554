"""What a command of the command line consists of, and words that several commands share."""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphc.errors import ArgumentError

__all__ = [
    "Command",
    "add_json",
    "add_out",
    "file_named",
    "positive",
    "print_json",
    "require_folder",
    "seconds_text",
    "written_text",
]

_UNITS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))


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
    details : str
        What the command's own help says beyond the summary.
    """

    name: str
    summary: str
    declare: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    details: str = ""


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


def file_named(suffix: str) -> Callable[[str], Path]:
    """Return a parser of paths that end in `suffix`.

    Examples
    --------
    >>> file_named(".npz")("found.npz").stem
    'found'
    """

    def parse(text: str) -> Path:
        if not text.endswith(suffix):
            raise argparse.ArgumentTypeError(f"expected FILE{suffix}, given {text!r}")
        return Path(text)

    return parse


def require_folder(file: Path | None) -> None:
    """Raise unless a file can be made where it is wanted: better before long work than after it.

    Raises
    ------
    ArgumentError
        If the folder is not there, or does not take files.

    Examples
    --------
    >>> require_folder(Path("found.npz"))
    """
    if file is None:
        return
    if not file.parent.is_dir():
        raise ArgumentError(f"{file} cannot be written: there is no folder {file.parent}")
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise ArgumentError(f"{file} cannot be written: nor can anything else in {file.parent}")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Declare ``--json``."""
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def print_json(report: Any) -> None:
    """Print a report as JSON.

    Examples
    --------
    >>> print_json({"kernels": 2})
    {
      "kernels": 2
    }
    """
    print(json.dumps(report, indent=2))


def add_out(parser: argparse.ArgumentParser, suffix: str, what: str) -> None:
    """Declare ``--out``, the file that a command writes."""
    parser.add_argument(
        "-o",
        "--out",
        type=file_named(suffix),
        metavar=f"FILE{suffix}",
        required=True,
        help=f"{what} to write",
    )


def written_text(file: Path, size: int, seconds: float) -> str:
    """Return the line that tells of a file that a command wrote.

    Examples
    --------
    >>> written_text(Path("model.gxc"), 1_500_000, 0.25)
    'wrote model.gxc, 1.5 MB, in 250 ms'
    """
    return f"wrote {file}, {size / 1_000_000:.1f} MB, in {seconds_text(seconds)}"


def seconds_text(seconds: float) -> str:
    """Return a duration with three digits and its unit.

    Examples
    --------
    >>> seconds_text(0.0123456), seconds_text(1.5e-6), seconds_text(75.0)
    ('12.3 ms', '1.50 us', '75.0 s')
    """
    unit, size = next((u for u in _UNITS if seconds >= u[1]), _UNITS[-1])
    value = seconds / size
    digits = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:.{digits}f} {unit}"
