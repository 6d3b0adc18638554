"""The system's linker: from object files to a shared library."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from graphc.errors import MissingDependencyError, UnsupportedError
from graphc.runtime import flattening

__all__ = ["is_possible", "link"]

# Compilers know where the C library lies; they run the linker.
_DRIVERS = ("cc", "gcc", "clang")
_LINKERS = ("ld", "ld.lld", "mold")
_C_LIBRARY = ("-lc", "-lm")
# Where a linker alone looks for the C library of the system; glibc keeps its mathematics apart.
_FOLDERS = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib")
_LIBRARIES = ("libc.so.6", "libm.so.6")


def is_possible() -> bool:
    """Tell whether libraries can be made here: it takes a linker.

    Examples
    --------
    >>> is_possible() <= flattening.is_supported()
    True
    """
    return flattening.is_supported() and _first((*_DRIVERS, *_LINKERS)) is not None


def link(objects: Sequence[Path], library: Path, public: Sequence[str]) -> None:
    """Link object files into a shared library that shows the public symbols only.

    Parameters
    ----------
    objects : sequence of Path
        What to link.
    library : Path
        The library, which is written beside the objects.
    public : sequence of str
        The symbols to show.

    Raises
    ------
    MissingDependencyError
        If the system has no linker.
    UnsupportedError
        If the linker refuses.
    """
    script = library.with_suffix(".version")
    script.write_text(f"{{ global: {' '.join(f'{symbol};' for symbol in public)} local: *; }};\n")
    options = ["--version-script", str(script), "-soname", library.name]
    options += [
        "-z",
        "noexecstack",
        "-z",
        "relro",
        "-z",
        "now",
        "-z",
        "defs",
        "--build-id=none",
        "--as-needed",
    ]
    command = [*_linker(options), "-o", str(library), *map(str, objects), *_c_library()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    script.unlink()
    if done.returncode:
        raise UnsupportedError(
            "export_native: the linker failed",
            expected=f"{command[0]} to link a shared library",
            given=done.stderr.strip() or f"exit code {done.returncode}",
        )


def _linker(options: Sequence[str]) -> list[str]:
    """Return the start of a command that links a shared library."""
    driver = _first(_DRIVERS)
    if driver is not None:
        passed = [word for option in options for word in ("-Xlinker", option)]
        return [driver, "-shared", "-nostdlib", *passed]
    linker = _first(_LINKERS)
    if linker is not None:
        return [linker, "-shared", *options]
    raise MissingDependencyError(
        "export_native: this system has no linker",
        expected=f"one of {', '.join((*_DRIVERS, *_LINKERS))} on the path",
        given="none of them",
    )


def _c_library() -> list[str]:
    """Return what links with the C library."""
    if _first(_DRIVERS) is not None:
        return list(_C_LIBRARY)
    found = [f"-L{folder}" for folder in _FOLDERS if Path(folder, _LIBRARIES[0]).exists()]
    return [*found, *(f"-l:{name}" for name in _LIBRARIES)]


def _first(names: Sequence[str]) -> str | None:
    return next((name for name in names if shutil.which(name)), None)
