"""Signatures that tell a user's own artifacts from those of others.

A signature is an HMAC-SHA256 (RFC 2104) over the table of sections, under a random key that lies
beside the user's cache of compiled kernels and that nobody else can read.  Native code runs without
being asked for only if this user signed it; whoever can read the key could run code as the user
anyway.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import stat
import warnings
from pathlib import Path

from graphc.errors import ArtifactError, caller
from graphc.runtime import cache_place

__all__ = ["KEY_NAME", "SigningWarning", "is_signed_by_user", "sign"]

KEY_NAME = "signing.key"
_KEY_BYTES = 32
# Not through a link, and without waiting for what is no file.
_READ = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_BINARY", "O_NOFOLLOW", "O_NONBLOCK"))
_ACCESSIBLE_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class SigningWarning(UserWarning):
    """The user's key cannot be used, so no artifact counts as the user's own."""


def sign(table: bytes, directory: Path | None = None) -> bytes:
    """Return the user's signature of a table of sections; makes the key if there is none.

    Parameters
    ----------
    table : bytes
        What to sign.
    directory : Path, optional
        Where the key lies; by default the directory of the cache of compiled kernels.

    Raises
    ------
    ArtifactError
        If the key is not the user's alone, or cannot be made.

    Examples
    --------
    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "keys"
    >>> is_signed_by_user(b"table", sign(b"table", place), place)
    True
    >>> is_signed_by_user(b"another table", sign(b"table", place), place)
    False
    """
    place = _directory(directory)
    try:
        key = _read(place / KEY_NAME) or _create(place)
    except OSError as error:
        raise _refusal(place, str(error)) from error
    return hmac.digest(key, table, "sha256")


def is_signed_by_user(table: bytes, signature: bytes | None, directory: Path | None = None) -> bool:
    """Tell whether this user signed a table of sections.

    Without a key, nothing is.  A key that others can read counts as none, with a `SigningWarning`.

    Parameters
    ----------
    table : bytes
        What was signed.
    signature : bytes or None
        The signature.
    directory : Path, optional
        Where the key lies, as for `sign`.

    Examples
    --------
    See `sign`.
    """
    if signature is None:
        return False
    place = _directory(directory)
    try:
        key = _read(place / KEY_NAME)
    except (OSError, ArtifactError) as error:
        reason = error.given if isinstance(error, ArtifactError) else str(error)
        warnings.warn(f"no artifact counts as your own: {reason}", SigningWarning, stacklevel=2)
        return False
    return key is not None and hmac.compare_digest(hmac.digest(key, table, "sha256"), signature)


def _directory(given: Path | None) -> Path:
    return cache_place.current() if given is None else given


def _read(path: Path) -> bytes | None:
    """Return the key, or None if there is none yet."""
    try:
        handle = os.open(path, _READ)
    except FileNotFoundError:
        return None
    with os.fdopen(handle, "rb") as file:
        _require_private(path, os.fstat(file.fileno()))
        key = file.read(_KEY_BYTES + 1)
    if len(key) != _KEY_BYTES:
        raise _refusal(path, f"{path} is no key: it has a wrong length")
    return key


def _require_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _refusal(path, f"{path} is no file")
    if not hasattr(os, "getuid"):  # Windows: the directory inherits the profile's access list
        return
    if status.st_uid != os.getuid():
        raise _refusal(path, f"{path} belongs to another user")
    if status.st_mode & _ACCESSIBLE_TO_OTHERS:
        raise _refusal(path, f"others may read or write {path}; delete it to have a new one made")


def _create(directory: Path) -> bytes:
    """Make the key, whole or not at all; of several processes that try, one wins."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = directory / f".{KEY_NAME}.{os.urandom(16).hex()}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(os.urandom(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces the key that another process has made meanwhile.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, directory / KEY_NAME)
    finally:
        temporary.unlink(missing_ok=True)
    key = _read(directory / KEY_NAME)
    if key is None:
        raise _refusal(directory, f"{directory / KEY_NAME} was deleted while it was made")
    return key


def _refusal(path: Path, reason: str) -> ArtifactError:
    return ArtifactError(
        "artifact: the signing key cannot be used",
        expected=f"a file in {path if path.name != KEY_NAME else path.parent} that only you can read",
        given=reason,
        where=caller(),
    )
