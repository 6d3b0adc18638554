"""A program and something to call it with, for commands that measure calls."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from graphc.commands import inputs, target
from graphc.commands.command import positive

if TYPE_CHECKING:
    import numpy as np

    from graphc.runtime.program import Program

    Array = np.ndarray[Any, Any]

__all__ = ["declare", "prepare"]


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the words that say what is called, with what, and on how many threads."""
    target.declare(parser)
    inputs.declare(parser)
    inputs.declare_sizes(parser)
    parser.add_argument("--threads", type=positive, metavar="N", help="threads; default all")


def prepare(arguments: argparse.Namespace) -> tuple[Program, dict[str, Array]]:
    """Return the program and a value for every input, in the order in which it takes them.

    Raises
    ------
    GraphcError
        If the words declared by `declare` do not make a call.
    """
    import graphc as gx
    from graphc.commands import arrays

    given = arrays.read(arguments.input)
    program = target.load_one(arguments)
    feeds = arrays.complete(program, dict(arguments.size), given)
    if arguments.threads is not None:
        gx.set_num_threads(arguments.threads)
    return program, feeds
