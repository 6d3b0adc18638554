"""Files that appear complete or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

__all__ = ["replacing"]


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its place when the block ends well.

    It is written beside `path` and renamed; if the block raises, an existing file stays as it was.  When
    the block has ended, file and name are on disk.

    Parameters
    ----------
    path : path-like
        File to write or replace.

    Yields
    ------
    binary file
        What was written can be read back.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "letter")
    >>> with replacing(path) as file:
    ...     _ = file.write(b"Dear")
    ...     os.path.exists(path)
    False
    >>> os.listdir(os.path.dirname(path))
    ['letter']
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        with temporary.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        _sync(target.parent)
    except OSError as error:
        # Of no use to anyone: the name that the file had meanwhile.
        if error.filename == str(temporary):
            error.filename, error.filename2 = str(target), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    # Where directories cannot be opened, as on Windows, the rename is as durable as the system makes it.
    with contextlib.suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
