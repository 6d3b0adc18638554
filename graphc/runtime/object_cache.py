"""Object code on disk, shared by concurrent processes and damaged by none of them.

An entry is one file named by the content hash of everything that decides it. It is written beside
its final place and renamed, so a reader sees nothing or all of it; a digest over the whole entry
turns truncation and bit rot into a miss. No locks.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import struct
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from graphc.runtime import cache_place
from graphc.runtime.compiled_object import CompiledObject

__all__ = [
    "SUFFIX",
    "CacheWarning",
    "ObjectCache",
    "Statistics",
    "active",
    "set_cache_dir",
]

_MAGIC = b"gxobj\x00\x01\n"
# magic, key, then the lengths of symbol, object code and packed LLVM IR
_HEADER = struct.Struct("<8s64sQQQ")
_DIGEST_BYTES = hashlib.sha256().digest_size
SUFFIX = ".gxo"
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class CacheWarning(UserWarning):
    """Compiled kernels cannot be kept on disk; every process compiles them anew."""


@dataclass
class Statistics:
    """What the cache did in this process."""

    hits: int = 0
    misses: int = 0
    compiled: int = 0


def encode(key: str, compiled: CompiledObject) -> bytes:
    """Serialize one entry.

    Examples
    --------
    >>> entry = encode("0" * 64, CompiledObject(b"code", "f", b"ir"))
    >>> decode("0" * 64, entry).symbol
    'f'
    """
    symbol = compiled.symbol.encode()
    parts = (symbol, compiled.object_code, compiled.packed_llvm)
    body = _HEADER.pack(_MAGIC, key.encode(), *map(len, parts)) + b"".join(parts)
    return body + hashlib.sha256(body).digest()


def decode(key: str, entry: bytes) -> CompiledObject | None:
    """Read one entry back; None if it is damaged or belongs to another key.

    Examples
    --------
    >>> decode("0" * 64, b"truncated") is None
    True
    """
    body, digest = entry[:-_DIGEST_BYTES], entry[-_DIGEST_BYTES:]
    if len(body) < _HEADER.size or hashlib.sha256(body).digest() != digest:
        return None
    magic, stored_key, symbol_size, object_size, llvm_size = _HEADER.unpack_from(body)
    if magic != _MAGIC or stored_key != key.encode():
        return None
    object_start = _HEADER.size + symbol_size
    llvm_start = object_start + object_size
    if llvm_start + llvm_size != len(body):
        return None
    symbol = body[_HEADER.size : object_start].decode()
    return CompiledObject(body[object_start:llvm_start], symbol, body[llvm_start:])


@dataclass
class ObjectCache:
    """Compiled objects in one directory that belongs to the current user alone.

    Parameters
    ----------
    directory : Path
        Created when the first entry is stored.

    Examples
    --------
    >>> import tempfile
    >>> cache = ObjectCache(Path(tempfile.mkdtemp()) / "graphc")
    >>> cache.load("0" * 64) is None
    True
    >>> cache.store("0" * 64, CompiledObject(b"code", "f", b"ir"))
    >>> cache.load("0" * 64).object_code
    b'code'
    """

    directory: Path
    statistics: Statistics = field(default_factory=Statistics)
    _disabled: bool = False

    def load(self, key: str) -> CompiledObject | None:
        """Return the entry for `key`, or None if it is missing or damaged."""
        compiled = self._read(key)
        if compiled is None:
            self.statistics.misses += 1
        else:
            self.statistics.hits += 1
        return compiled

    def store(self, key: str, compiled: CompiledObject) -> None:
        """Write the entry for `key`; a directory that cannot be used costs one warning."""
        self.statistics.compiled += 1
        if self._disabled:
            return
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._is_private():
                self._write(key, encode(key, compiled))
        except OSError as error:
            self._disable(str(error))

    def _read(self, key: str) -> CompiledObject | None:
        if self._disabled:
            return None
        try:
            if not self._is_private():
                return None
            entry = (self.directory / (key + SUFFIX)).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._disable(str(error))
            return None
        return decode(key, entry)

    def _write(self, key: str, entry: bytes) -> None:
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=SUFFIX, dir=self.directory)  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(entry)
            os.replace(temporary, self.directory / (key + SUFFIX))
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _is_private(self) -> bool:
        """Refuse a directory through which someone else could hand us code to run."""
        if not hasattr(os, "getuid"):  # Windows: the directory inherits the profile's access list
            return True
        status = self.directory.stat()
        if status.st_uid != os.getuid():
            self._disable("it belongs to another user")
        elif status.st_mode & _WRITABLE_BY_OTHERS:
            self._disable("others may write to it")
        return not self._disabled

    def _disable(self, reason: str) -> None:
        self._disabled = True
        message = f"compiled kernels are not kept on disk: {self.directory} cannot be used: {reason}"
        warnings.warn(message, CacheWarning, stacklevel=2)


_active: list[ObjectCache] = []


def active() -> ObjectCache:
    """Return the cache that this process uses.

    Examples
    --------
    >>> active() is active()
    True
    """
    if not _active:
        _active.append(ObjectCache(cache_place.current()))
    return _active[0]


def set_cache_dir(path: str | os.PathLike[str]) -> None:
    """Keep compiled kernels in `path` from now on; statistics start again at zero.

    Examples
    --------
    >>> import tempfile
    >>> set_cache_dir(tempfile.mkdtemp())
    """
    cache_place.choose(Path(path))
    _active[:] = [ObjectCache(cache_place.current())]
