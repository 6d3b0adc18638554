"""Frameworks in processes of their own: each may bring its own Python, and none disturbs another's memory.

The parent sends the name of a method of `Host` and its arguments, the child answers with the
result or with what went wrong; both as pickles, over the child's standard streams.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from benchmarks.children import ROOT, FailedError, last_lines
from benchmarks.vocabulary import UnsupportedError

__all__ = ["HOST", "Remote"]

HOST = "benchmarks.host"


class Remote:
    """A `Host` in another process.

    Parameters
    ----------
    name : str
        The framework.
    python : str
        The interpreter that finds it.
    host : str
        The module of the `Host`.
    """

    def __init__(self, name: str, python: str = sys.executable, host: str = HOST) -> None:
        self.name, self.python, self.host = name, python, host
        self.starts = True
        self._spawn()

    def _spawn(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        command = [self.python, "-m", "benchmarks.server", self.name, self.host]
        pipe = subprocess.PIPE
        with self.messages.open("w") as messages:
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=messages, cwd=ROOT)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.questions, self.answers = self.process.stdin, self.process.stdout
        self.answered = False

    @property
    def messages(self) -> Path:
        """Where the process writes what it has to say."""
        return Path(self.directory.name) / "messages"

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the host.

        Raises
        ------
        UnsupportedError
            If the framework has no good way to do the workload.
        FailedError
            If anything else goes wrong.  If the process ended, the next call finds a new one.
        """
        if not self.starts:
            raise UnsupportedError("does not start")
        try:
            pickle.dump((method, arguments), self.questions)
            self.questions.flush()
            kind, value = pickle.load(self.answers)
        except (EOFError, OSError):
            raise FailedError(self._last_words()) from None
        self.answered = True
        if kind == "unsupported":
            raise UnsupportedError(value)
        if kind == "failed":
            raise FailedError(value)
        return value

    def _last_words(self) -> str:
        code = self.process.wait()
        said = last_lines(self.messages.read_text(errors="replace"))
        self.close()
        self.starts = self.answered
        if self.starts:
            self._spawn()
        return f"its process ended with {code}\n{said}"

    def close(self) -> None:
        """End the process."""
        # If it is gone, so is the end of the pipe that unsent bytes would go to.
        with contextlib.suppress(BrokenPipeError):
            self.questions.close()
        self.process.wait()
        self.answers.close()
        self.directory.cleanup()


def _answer(host: Any, method: str, arguments: tuple[Any, ...]) -> tuple[str, Any]:
    try:
        return "value", getattr(host, method)(*arguments)
    except UnsupportedError as error:
        return "unsupported", str(error)
    except Exception:
        return "failed", last_lines(traceback.format_exc())


def main() -> None:
    """Serve one framework until the parent closes the stream."""
    # Frameworks print; what they print must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _, name, module = sys.argv
    host = importlib.import_module(module).Host(name)
    while True:
        try:
            method, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(_answer(host, method, arguments), answers)
        answers.flush()


if __name__ == "__main__":
    main()
