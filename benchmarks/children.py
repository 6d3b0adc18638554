"""Measurements that need a fresh process: run one, and read what it found."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.vocabulary import UnsupportedError

__all__ = ["ROOT", "FailedError", "answer", "ask", "last_lines"]

ROOT = Path(__file__).resolve().parent.parent
# Lines of a failed child's messages that are worth showing.
SHOWN_LINES = 12


class FailedError(Exception):
    """A framework failed at a workload; the message is the end of its own."""


def last_lines(text: str) -> str:
    """Return the end of what a child said."""
    return "\n".join(text.splitlines()[-SHOWN_LINES:])


def ask(python: str, module: str, *arguments: str) -> dict[str, Any]:
    """Run a module in a process of its own; return what it answered.

    Raises
    ------
    UnsupportedError
        If the framework has no good way to do the workload.
    FailedError
        If the process fails.
    """
    with tempfile.TemporaryFile(mode="w+") as messages:
        command = [python, "-m", module, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=messages, text=True, cwd=ROOT)
        messages.seek(0)
        if done.returncode:
            raise FailedError(last_lines(messages.read()))
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "unsupported" in found:
        raise UnsupportedError(found["unsupported"])
    return found


def answer(measure: Callable[..., dict[str, Any]]) -> None:
    """Be the child: call with the arguments of the command line, print the result."""
    try:
        found = measure(*sys.argv[1:])
    except UnsupportedError as reason:
        found = {"unsupported": str(reason)}
    print(json.dumps(found))
