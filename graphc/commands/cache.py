"""``graphc cache``: look at the compiled kernels on disk, or delete them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from graphc.commands.command import Command
from graphc.runtime import object_cache

__all__ = ["COMMAND"]

_MEGABYTE = 1_000_000


def _entries(directory: Path) -> Iterator[Path]:
    # Only whole entries: a name that begins with a dot is one that a process is writing now.
    return directory.glob(f"[!.]*{object_cache.SUFFIX}")


def _info(directory: Path) -> None:
    sizes = [entry.stat().st_size for entry in _entries(directory)]
    print(f"directory  {directory}")
    print(f"kernels    {len(sizes)}")
    print(f"size       {sum(sizes) / _MEGABYTE:.1f} MB")


def _clear(directory: Path) -> None:
    removed = 0
    for entry in _entries(directory):
        entry.unlink(missing_ok=True)  # another process may be clearing too
        removed += 1
    print(f"removed {removed} kernels from {directory}")


_ACTIONS = {"info": _info, "clear": _clear}


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=list(_ACTIONS), help="info: count and size; clear: delete them all")


def _run(arguments: argparse.Namespace) -> int:
    _ACTIONS[arguments.action](object_cache.active().directory)
    return 0


COMMAND = Command("cache", "Look at the compiled kernels on disk, or delete them.", _declare, _run)
