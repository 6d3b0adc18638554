"""Optional packages: imported when they are needed, with a clear error when absent."""

from __future__ import annotations

import importlib
from typing import Any

from graphc.errors import MissingDependencyError

__all__ = ["require"]


def require(module: str, extra: str, purpose: str) -> Any:
    """Import a module of an optional package.

    Parameters
    ----------
    module : str
        Dotted name, for example ``"matplotlib.figure"``.
    extra : str
        The extra of graphc that installs it.
    purpose : str
        What needs it; begins the error message.

    Returns
    -------
    module

    Raises
    ------
    MissingDependencyError
        If it is not installed.

    Examples
    --------
    >>> require("json", extra="demo", purpose="example").dumps([1])
    '[1]'
    >>> require("no_such_package", extra="demo", purpose="learning curve")
    Traceback (most recent call last):
    ...
    graphc.errors.MissingDependencyError: learning curve: the package no_such_package is not installed
      expected pip install "graphc[demo]"
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise  # the package is there; something that it needs itself is not
        raise MissingDependencyError(
            f"{purpose}: the package {package} is not installed",
            expected=f'pip install "graphc[{extra}]"',
        ) from error
