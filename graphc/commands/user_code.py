"""Code of the user's own that a command runs: found, called, and named by its line when it fails."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any

from graphc.errors import UNKNOWN, GraphcError, UserCodeError, Where, caller, is_internal

__all__ = ["RunningUserCode", "attribute", "import_module", "place_of"]

# A name that no module has: a file called numpy.py must not take the place of NumPy.
_MODULE = "_graphc_target"
# Folders of what people install.
_PACKAGES = frozenset({"site-packages", "dist-packages"})


def attribute(module: str, name: str) -> Any:
    """Return what a module or a Python file calls `name`.

    Parameters
    ----------
    module : str
        Dotted name, importable from the working directory, or the path of a file that ends in ``.py``.
    name : str
        Dotted for attributes of attributes.

    Raises
    ------
    UserCodeError
        If there is no such module or name, or running the module raises.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> attribute("math", "pi")
    3.141592653589793
    """
    found: Any = _from_file(Path(module)) if module.endswith(".py") else import_module(module)
    for step in name.split("."):
        if not hasattr(found, step):
            raise UserCodeError(
                f"{module} has no {name!r}", expected=", ".join(_public(found)) or "a name that it defines"
            )
        found = getattr(found, step)
    return found


class RunningUserCode:
    """Name the user's line when the code inside raises; what it prints goes to standard error.

    Standard output is for the command's own results, which other programs may read.

    Parameters
    ----------
    label : str
        What is running; begins the message.
    place : Where
        What to name where graphc's own errors would name the line that started the command.

    Raises
    ------
    UserCodeError
        Instead of exceptions of the user's code.  Those in which none of the user's lines has a
        part stay as they are: they are graphc's own fault.

    Examples
    --------
    >>> with RunningUserCode("a division"):  # doctest: +ELLIPSIS
    ...     1 / 0
    Traceback (most recent call last):
    ...
    graphc.errors.UserCodeError: a division: ZeroDivisionError: division by zero
      at ...
    """

    def __init__(self, label: str, place: Where = UNKNOWN) -> None:
        self._label, self._place = label, place
        self._outside = UNKNOWN
        self._redirected = contextlib.redirect_stdout(sys.stderr)

    def __enter__(self) -> None:
        self._outside = caller()
        self._redirected.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._redirected.__exit__(kind, error, trace)
        if isinstance(error, GraphcError):
            self._place_anew(error)
        elif isinstance(error, (Exception, SystemExit)):
            self._name_the_line(error)

    def _place_anew(self, error: GraphcError) -> None:
        if error.where is not None and error.where.file == self._outside.file:
            raise error.at(self._place) from error

    def _name_the_line(self, error: BaseException) -> None:
        raised = _raised_at(error)
        if raised is not None:
            raise UserCodeError(f"{self._label}: {_described(error)}", where=raised) from error


def place_of(function: Any) -> Where:
    """Return where a function is defined.

    Examples
    --------
    >>> place_of(place_of).line > 1
    True
    """
    code = getattr(function, "__code__", None)
    return UNKNOWN if code is None else Where(code.co_filename, code.co_firstlineno)


def import_module(name: str) -> ModuleType:
    """Import a module of the user's, also from the working directory.

    Raises
    ------
    UserCodeError
        If there is none, or running it raises.

    Examples
    --------
    >>> import_module("math").__name__
    'math'
    """
    _make_importable(Path.cwd())
    try:
        with RunningUserCode(f"import of {name}"):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise _no_module(name) from error
    except UserCodeError as error:
        missing = error.__cause__
        if isinstance(missing, ModuleNotFoundError) and f"{name}.".startswith(f"{missing.name}."):
            raise _no_module(name) from error
        raise


def _no_module(name: str) -> UserCodeError:
    return UserCodeError(
        f"there is no module {name!r}",
        expected="one that can be imported from here, or path/to/file.py:function",
    )


def _from_file(path: Path) -> ModuleType:
    source = path.read_bytes()
    # As for a script: what lies beside the file can be imported.
    _make_importable(path.resolve().parent)
    module = ModuleType(_MODULE)
    module.__file__ = str(path.resolve())
    # Dataclasses, for one, look up the module that they stand in.
    sys.modules[_MODULE] = module
    code = _compiled(source, path)
    with RunningUserCode(str(path)):
        exec(code, module.__dict__)
    return module


def _compiled(source: bytes, path: Path) -> CodeType:
    try:
        return compile(source, str(path.resolve()), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        place = Where(str(path.resolve()), line or 1)
        raise UserCodeError(f"{path}: {_described(error)}", where=place) from error


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _public(found: Any) -> list[str]:
    """Return the names of functions that a target could mean."""
    names = [n for n, v in vars(found).items() if callable(v) and not n.startswith("_")]
    own = [n for n in names if getattr(getattr(found, n), "__module__", None) == found.__name__]
    return own if isinstance(found, ModuleType) else []


def _described(error: BaseException) -> str:
    """Return an exception in one line."""
    if isinstance(error, SystemExit):
        return "it ended the process with sys.exit"
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    first = text.strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _raised_at(error: BaseException) -> Where | None:
    """Return the innermost line of the user's in a traceback; of a library only if there is none."""
    if isinstance(error, SyntaxError) and error.filename and os.path.exists(error.filename):
        return Where(error.filename, error.lineno or 1)
    places = list(_places(error.__traceback__))
    own = [p for p in places if not _is_library(p.file)]
    found = own or places
    return found[-1] if found else None


def _places(trace: TracebackType | None) -> Iterator[Where]:
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not is_internal(file):
            yield Where(file, trace.tb_lineno)
        trace = trace.tb_next


def _is_library(file: str) -> bool:
    return file.startswith(_standard_library()) or not _PACKAGES.isdisjoint(Path(file).parts)


@functools.cache
def _standard_library() -> tuple[str, ...]:
    return sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")
