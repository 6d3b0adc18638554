"""``graphc cache``: look at the compiled kernels on disk, check them, or delete them."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from graphc.commands import terminal
from graphc.commands.command import Command, add_json, print_json

__all__ = ["COMMAND", "Health", "entries", "health"]

_MEGABYTE = 1_000_000
_WRITABLE_BY_OTHERS = 0o022


@dataclass(frozen=True)
class Health:
    """What is in a cache directory.

    Attributes
    ----------
    directory : Path
        Where it is; it may not exist yet.
    kernels, size : int
        Entries, and their bytes.
    damaged : tuple of Path
        Entries that cannot be used; they would be compiled anew.
    trouble : str
        What keeps graphc from using the directory; empty if nothing does.
    """

    directory: Path
    kernels: int
    size: int
    damaged: tuple[Path, ...]
    trouble: str


def entries(directory: Path) -> list[Path]:
    """Return the files of a cache directory that hold kernels, sorted.

    Examples
    --------
    >>> entries(Path("no such directory"))
    []
    """
    from graphc.runtime import object_cache

    # Only whole entries: a name that begins with a dot is one that a process is writing now.
    return sorted(directory.glob(f"[!.]*{object_cache.SUFFIX}"))


def health(directory: Path) -> Health:
    """Read every entry of a cache directory and say what is wrong.

    Examples
    --------
    >>> health(Path("no such directory")).damaged
    ()
    """
    found = entries(directory)
    damaged = []
    with terminal.counting("reading", "kernels", len(found)) as done:
        for number, entry in enumerate(found, 1):
            if not _is_whole(entry):
                damaged.append(entry)
            done(number)
    sizes = [_size(entry) for entry in found]
    return Health(directory, len(found), sum(sizes), tuple(damaged), _trouble(directory))


def _is_whole(entry: Path) -> bool:
    from graphc.runtime import object_cache

    try:
        return object_cache.decode(entry.stem, entry.read_bytes()) is not None
    except FileNotFoundError:  # another process has just deleted it
        return True
    except OSError:
        return False


def _size(entry: Path) -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return 0


def _trouble(directory: Path) -> str:
    if not directory.exists():
        return ""
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        return "it cannot be read and written"
    if not hasattr(os, "getuid"):  # Windows: the directory inherits the profile's access list
        return ""
    status = directory.stat()
    if status.st_uid != os.getuid():
        return "it belongs to another user"
    return "others may write to it" if status.st_mode & _WRITABLE_BY_OTHERS else ""


def _active() -> Path:
    from graphc.runtime import object_cache

    return object_cache.active().directory


def _info(arguments: argparse.Namespace) -> int:
    directory = _active()
    sizes = [_size(entry) for entry in entries(directory)]
    if arguments.json:
        print_json({"directory": str(directory), "kernels": len(sizes), "bytes": sum(sizes)})
        return 0
    print(f"directory  {directory}")
    print(f"kernels    {len(sizes)}")
    print(f"size       {sum(sizes) / _MEGABYTE:.1f} MB")
    return 0


def _clear(arguments: argparse.Namespace) -> int:
    from graphc.artifact import seen

    directory = _active()
    removed = _remove(entries(directory))
    # Files that were verified are verified again.
    _remove(sorted((directory / seen.FOLDER).glob("*")))
    print(f"removed {removed} kernels from {directory}")
    return 0


def _remove(paths: list[Path]) -> int:
    for path in paths:
        path.unlink(missing_ok=True)  # another process may be clearing too
    return len(paths)


def _verify(arguments: argparse.Namespace) -> int:
    found = health(_active())
    removed = _remove(list(found.damaged)) if arguments.delete else 0
    if arguments.json:
        print_json(
            {
                "directory": str(found.directory),
                "kernels": found.kernels,
                "damaged": [str(path) for path in found.damaged],
                "deleted": removed,
                "trouble": found.trouble,
            }
        )
        return int(bool(found.trouble) or removed < len(found.damaged))
    for path in found.damaged:
        print(f"damaged  {path}{', deleted' if removed else ''}")
    if found.trouble:
        print(f"not used: {found.trouble}: {found.directory}")
    print(f"{found.kernels} kernels in {found.directory}, {len(found.damaged) or 'none'} damaged")
    return int(bool(found.trouble) or removed < len(found.damaged))


_ACTIONS = {
    "info": ("Print where the cache is, how many kernels it has and their size.", _info),
    "clear": ("Delete all kernels.", _clear),
    "verify": ("Read every kernel; exit code 1 if one is damaged, unless deleted.", _verify),
}


def _declare(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    for name, (summary, act) in _ACTIONS.items():
        action = actions.add_parser(name, help=summary, description=summary)
        action.set_defaults(act=act)
        if act is not _clear:
            add_json(action)
        if act is _verify:
            action.add_argument("--delete", action="store_true", help="delete what is damaged")


def _run(arguments: argparse.Namespace) -> int:
    code: int = arguments.act(arguments)
    return code


_DETAILS = """\
Damaged kernels do no harm: graphc compiles them anew and replaces them."""

COMMAND = Command("cache", "Look at the cached kernels, check or delete them.", _declare, _run, _DETAILS)
