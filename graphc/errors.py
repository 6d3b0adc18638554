"""Every exception graphc raises on purpose, all under `GraphcError`.

A message has up to three lines: what went wrong, what was expected against what
was given, and the user's own file and line.  Classes also derive from the builtin
that a NumPy user would expect (`ValueError`, `TypeError`, `IndexError`), so existing
``except`` clauses keep working.
"""

from __future__ import annotations

import linecache
import os
import sys
from dataclasses import dataclass
from typing import Self

from graphc.scopes import current_scope

_PACKAGE_ROOT = os.path.dirname(os.path.abspath(__file__))
# The passes live beside the package in a checkout and inside it when installed.
_INTERNAL_ROOTS = (_PACKAGE_ROOT + os.sep, os.path.join(os.path.dirname(_PACKAGE_ROOT), "passes") + os.sep)
# The demo comes with the package but is a user's program: its lines are what errors and graphs show.
_USER_ROOT = os.path.join(_PACKAGE_ROOT, "demo") + os.sep


@dataclass(frozen=True, slots=True)
class Where:
    """A place in the user's program: file and line, and the scope that was open (see `graphc.scope`)."""

    file: str
    line: int
    scope: str = ""

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"

    def describe(self) -> str:
        """Return the place with the text of the line, as errors show it."""
        text = linecache.getline(self.file, self.line).strip()
        place = f"{self.file}:{self.line}: {text}" if text else f"{self.file}:{self.line}"
        return f"{place} (in {self.scope})" if self.scope else place


UNKNOWN = Where("<unknown>", 0)
_internal_files: dict[str, bool] = {}


def is_internal(filename: str) -> bool:
    """Tell whether code of this file is graphc's own, or Python's machinery of imports."""
    known = _internal_files.get(filename)
    if known is None:
        path = os.path.abspath(filename)
        ours = path.startswith(_INTERNAL_ROOTS) and not path.startswith(_USER_ROOT)
        known = ours or filename.startswith("<frozen")
        _internal_files[filename] = known
    return known


def caller() -> Where:
    """Return the innermost place outside graphc on the current call stack."""
    frame = sys._getframe(1)
    while frame is not None:
        if not is_internal(frame.f_code.co_filename):
            return Where(frame.f_code.co_filename, frame.f_lineno, current_scope())
        if frame.f_back is None:
            return UNKNOWN
        frame = frame.f_back
    return UNKNOWN


class GraphcError(Exception):
    """Base of all graphc errors: what, expected against given, and where.

    Parameters
    ----------
    what : str
        The failure in one line, beginning with the op or object it concerns.
    expected, given : str, optional
        What would have been right, and what came instead.
    where : Where, optional
        The user's file and line.
    """

    def __init__(
        self,
        what: str,
        *,
        expected: str | None = None,
        given: str | None = None,
        where: Where | None = None,
    ) -> None:
        self.what = what
        self.expected = expected
        self.given = given
        self.where = where
        super().__init__(self._render())

    def at(self, where: Where) -> Self:
        """Return the same error, placed."""
        return type(self)(self.what, expected=self.expected, given=self.given, where=where)

    def _render(self) -> str:
        lines = [self.what]
        if self.expected is not None and self.given is not None:
            lines.append(f"  expected {self.expected}, given {self.given}")
        elif self.expected is not None:
            lines.append(f"  expected {self.expected}")
        elif self.given is not None:
            lines.append(f"  given {self.given}")
        if self.where is not None and self.where is not UNKNOWN:
            lines.append(f"  at {self.where.describe()}")
        return "\n".join(lines)


class ShapeError(GraphcError, ValueError):
    """Shapes or ranks that do not fit an operation."""


class DTypeError(GraphcError, TypeError):
    """A dtype that an operation does not take, or that graphc does not have."""


class ArgumentError(GraphcError, ValueError):
    """A bad parameter of an operation: an axis, a padding, an unhashable attribute."""


class GraphError(GraphcError, ValueError):
    """A graph that cannot be built: a foreign placeholder, a variable updated twice."""


class ControlFlowError(GraphcError, TypeError):
    """A Tensor used where Python needs a value now: ``if``, ``while``, ``float()``."""


class UnsupportedError(GraphcError, ValueError):
    """Something that a static graph cannot express; the message names the alternative."""


class GradientError(GraphcError, ValueError):
    """A gradient that does not exist or was asked of the wrong thing."""


class PassError(GraphcError, RuntimeError):
    """A pass that failed or broke the graph; names the pass and what ran before it."""


class NotFusibleError(GraphcError, RuntimeError):
    """Nodes that do not form one kernel; the fuse pass is expected to prevent it."""


class KernelError(GraphcError, RuntimeError):
    """A generated kernel that cannot be compiled; always a defect of the code generator."""


class FeedError(GraphcError, ValueError):
    """A value fed to a program that does not fit its placeholder."""


class CheckError(GraphcError, RuntimeError):
    """A run-time check that failed.  No variable was changed."""


class IndexRangeError(CheckError, IndexError):
    """An index outside the axis that it selects from."""


class NonFiniteError(CheckError, ArithmeticError):
    """A NaN or infinity where `graphc.debug.check_finite` forbids one."""


class MissingDependencyError(GraphcError, ImportError):
    """An optional package is needed; the message says how to install it."""


class ArtifactError(GraphcError, ValueError):
    """An artifact that cannot be written, or a file that is damaged, altered, hostile or too new."""


class ArtifactWarning(UserWarning):
    """An artifact is compiled although it holds machine code; the message says why."""


class DataError(GraphcError, ValueError):
    """A data or weights file that is wrong, truncated or of another kind."""


class OnnxImportError(GraphcError, ValueError):
    """An ONNX model that is damaged, or that graphc cannot express; nothing of it was kept.

    Attributes
    ----------
    inputs : tuple of str
        Inputs of the model whose values would have to be known when it is loaded, if that is why.
    """

    inputs: tuple[str, ...] = ()


class OnnxExportError(GraphcError, ValueError):
    """A graph that cannot be written as an ONNX model; the message lists every reason with its line."""


class UserCodeError(GraphcError, RuntimeError):
    """Code that the command line was pointed at raised, or is not what a command can use."""
