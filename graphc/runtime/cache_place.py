"""Where a user's cache of compiled kernels lies, and with it the key that signs artifacts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["choose", "current", "default_directory"]


def default_directory() -> Path:
    """Return the cache directory of the current user on this platform.

    Examples
    --------
    >>> default_directory().name
    'graphc'
    """
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "graphc"


_chosen: list[Path] = []


def choose(directory: Path) -> None:
    """Set the directory that this process uses from now on.

    Examples
    --------
    >>> before = current()
    >>> choose(Path("elsewhere"))
    >>> current().name
    'elsewhere'
    >>> choose(before)
    """
    _chosen[:] = [directory]


def current() -> Path:
    """Return the directory that this process uses.

    Examples
    --------
    >>> current() == current()
    True
    """
    return _chosen[0] if _chosen else default_directory()
