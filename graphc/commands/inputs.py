"""Words that say where the inputs of a program come from."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Source", "declare", "declare_sizes", "parse_size", "parse_source"]

_ARCHIVE = ".npz"


@dataclass(frozen=True)
class Source:
    """Where the value of an input comes from.

    Attributes
    ----------
    input : str
        The input's name; empty for every array of an archive under its own.
    path : Path
        A ``.npy`` or ``.npz`` file.
    key : str
        Which array of an archive; empty for the one with the input's name, or the only one.
    """

    input: str
    path: Path
    key: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.key}" if self.key else str(self.path)


def parse_source(text: str) -> Source:
    """Read the word after ``--input``.

    Examples
    --------
    >>> parse_source("x=batch.npz:images") == Source("x", Path("batch.npz"), "images")
    True
    >>> parse_source("batch.npz").input
    ''
    """
    name, equals, place = text.partition("=")
    if not equals:
        name, place = "", text
    file, found, key = place.rpartition(f"{_ARCHIVE}:")
    path, key = (file + _ARCHIVE, key) if found else (place, "")
    if not path.endswith((_ARCHIVE, ".npy")) or not (name or path.endswith(_ARCHIVE)) or (key and not name):
        raise argparse.ArgumentTypeError(
            f"expected NAME=FILE.npy, NAME=FILE.npz, NAME=FILE.npz:KEY or FILE.npz, given {text!r}"
        )
    return Source(name, Path(path), key)


def parse_size(text: str) -> tuple[str, int]:
    """Read the word after ``--size``.

    Examples
    --------
    >>> parse_size("batch=32")
    ('batch', 32)
    """
    name, _, number = text.partition("=")
    if not name.isidentifier() or not number.isascii() or not number.isdigit():
        raise argparse.ArgumentTypeError(f"expected NAME=SIZE, for example batch=32, given {text!r}")
    return name, int(number)


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare ``--input``."""
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        type=parse_source,
        metavar="NAME=FILE",
        help="value of an input: FILE.npy, FILE.npz, or FILE.npz:KEY; FILE.npz alone gives every "
        "input that it has an array for; repeat for more inputs",
    )


def declare_sizes(parser: argparse.ArgumentParser) -> None:
    """Declare ``--size``."""
    parser.add_argument(
        "--size",
        action="append",
        default=[],
        type=parse_size,
        metavar="NAME=SIZE",
        help="size of random inputs along a named dimension; repeat for more",
    )
