"""Files that were verified before: their weights need not be hashed again while they stay as they are.

A record says that a file with this table of sections, at this place on disk, of this size and these
times, held what its table says.  Whoever changes a file changes the time of its last change (POSIX,
``st_ctim``), which no program can set.  Records lie in the user's cache and carry the user's
signature, so nobody else can make one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path

from graphc.artifact import signing
from graphc.artifact.container import Container
from graphc.errors import ArtifactError
from graphc.runtime import cache_place

__all__ = ["FOLDER", "note", "verified_before"]

FOLDER = "verified"
# What changes a file within one tick of the system's clock may leave its times as they are.
_SETTLED_NS = 1_000_000_000


def verified_before(container: Container) -> bool:
    """Tell whether the file was verified before, and has not changed since."""
    try:
        signature = _place(container).read_bytes()
    except OSError:
        return False
    return signing.is_signed_by_user(_text(container), signature)


def note(container: Container) -> None:
    """Record that the file was verified, if it is old enough to tell by its times when it changes."""
    if time.time_ns() - max(container.identity[-2:]) < _SETTLED_NS:
        return
    # Without a record the next load takes a little longer: nothing that a user could act on.
    with contextlib.suppress(OSError, ArtifactError):
        signature, place = signing.sign(_text(container)), _place(container)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        beside = place.with_name(f".{place.name}.{os.urandom(8).hex()}")
        beside.write_bytes(signature)
        beside.replace(place)


def _place(container: Container) -> Path:
    return cache_place.current() / FOLDER / hashlib.sha256(container.table).hexdigest()[:32]


def _text(container: Container) -> bytes:
    """Return what a record signs; no table of sections begins like it."""
    numbers = " ".join(map(str, container.identity))
    return f"verified {numbers} ".encode() + hashlib.sha256(container.table).digest()
