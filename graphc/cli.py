"""The command ``graphc``: parses the line, runs one command, turns errors into messages.

Exit codes: 0 done, 1 it failed (one message, no traceback), 2 the command line is wrong,
130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import TextIO

from graphc import __version__
from graphc.commands import COMMANDS, Command, terminal
from graphc.errors import GraphcError

__all__ = ["main"]

_FAILED = 1
_WRONG_LINE = 2
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the program's name; by default those of this process.

    Returns
    -------
    int

    Raises
    ------
    SystemExit
        With code 2 if the line cannot be parsed, and with 0 after ``--help`` or ``--version``.

    Examples
    --------
    >>> main(["cache", "info"])  # doctest: +ELLIPSIS
    directory  ...
    0
    """
    parser = build_parser()
    try:
        chosen = parser.parse_args(arguments)
    finally:
        _flush()  # what --help has printed
    if chosen.run is None:
        parser.print_help(sys.stderr)
        return _WRONG_LINE
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code: int = chosen.run(chosen)
    except GraphcError as error:
        return _fail(str(error), chosen.traceback)
    except BrokenPipeError:
        _flush()
        return _FAILED
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return _fail(message, chosen.traceback)
    except MemoryError as error:
        return _fail(f"out of memory: {error}".removesuffix(": "), chosen.traceback)
    except KeyboardInterrupt:
        print("\ngraphc: interrupted", file=sys.stderr)
        return _INTERRUPTED
    return code if _flush() else _FAILED


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line, made from the table of commands."""
    parser = argparse.ArgumentParser(
        prog="graphc",
        description="Define a graph once, compile it ahead of time, then only run it.",
        epilog="Exit codes: 0 done, 1 it failed, 2 the command line is wrong, 130 interrupted. "
        "Colour and progress go to terminals only; NO_COLOR=1 forbids colour.",
    )
    parser.add_argument("--version", action="version", version=f"graphc {__version__}")
    parser.add_argument("--traceback", action="store_true", help="show Python's traceback of a failure")
    parser.set_defaults(run=None)
    choices = parser.add_subparsers(metavar="COMMAND")
    for command in COMMANDS:
        _add(choices, command)
    return parser


def _add(choices: argparse._SubParsersAction[argparse.ArgumentParser], command: Command) -> None:
    inner = choices.add_parser(
        command.name,
        help=command.summary,
        description=command.summary,
        epilog=command.details,
    )
    command.declare(inner)
    inner.set_defaults(run=command.run, usage_error=inner.error)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning of graphc's own without the line of graphc that gives it."""
    if category.__module__.partition(".")[0] == "graphc":
        text = f"{terminal.paint('graphc: warning:', 'yellow', sys.stderr)} {message}\n"
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
    sys.stderr.write(text)


def _flush() -> bool:
    """Write out what is printed; return whether anyone reads it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _fail(message: str, with_traceback: bool) -> int:
    if with_traceback:
        traceback.print_exc()
    print(f"{terminal.paint('graphc:', 'red', sys.stderr)} {message}", file=sys.stderr)
    return _FAILED
