"""The IDX format of the MNIST files: a big-endian header, then one dense array.

The format is described on the MNIST page of Y. LeCun, C. Cortes and C. Burges: two zero
bytes, a byte for the element type, a byte for the rank, one 32-bit size per axis, the data.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from graphc.errors import DataError

__all__ = ["read_idx"]

Array = np.ndarray[Any, Any]

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_MOST_AXES = 8
# A header can claim any size, and a small gzip file can unpack to match; MNIST has 47 million bytes.
_MOST_BYTES = 1 << 31
_CHUNK = 1 << 20


def read_idx(path: str | os.PathLike[str]) -> Array:
    """Read one IDX file, plain or compressed with gzip (recognized by its content).

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    ndarray
        In the byte order of this machine.

    Raises
    ------
    DataError
        If the file cannot be read, is not an IDX file, or is shorter or longer than its
        header says.  The message is one line that begins with the path.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "labels-idx1-ubyte"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    >>> read_idx(path)
    array([7, 8, 9], dtype=uint8)
    """
    path = Path(path)
    try:
        with _opener(path)(path, "rb") as file:
            return _read(file, path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the gzip data is truncated or damaged ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _opener(path: Path) -> Callable[..., Any]:
    with open(path, "rb") as file:
        return gzip.open if file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC else open


def _read(file: BinaryIO, path: Path) -> Array:
    dtype, shape = _read_header(file, path)
    size = math.prod(shape) * dtype.itemsize
    if size > _MOST_BYTES:
        raise DataError(f"{path}: the header claims {size} bytes of data, more than graphc reads")
    data = _take(file, size + 1)
    if len(data) < size:
        raise DataError(f"{path}: truncated: {len(data)} of {size} bytes of data")
    if len(data) > size:
        raise DataError(f"{path}: wrong size: there is more data than the header's {size} bytes")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _read_header(file: BinaryIO, path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = _take(file, 4)
    known = len(magic) == 4 and magic[:2] == b"\x00\x00" and magic[2] in _DTYPES
    if not known or not 1 <= magic[3] <= _MOST_AXES:
        raise DataError(f"{path}: not an IDX file: it begins with the bytes {magic.hex(' ') or '(none)'}")
    sizes = _take(file, 4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(f"{path}: truncated inside the header")
    return np.dtype(_DTYPES[magic[2]]), struct.unpack(f">{magic[3]}I", sizes)


def _take(file: BinaryIO, size: int) -> bytes:
    """Read up to `size` bytes without setting aside more memory than the file has data."""
    parts = bytearray()
    while len(parts) < size:
        part = file.read(min(_CHUNK, size - len(parts)))
        if not part:
            break
        parts += part
    return bytes(parts)
