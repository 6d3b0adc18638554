"""The file around an artifact: named sections, each with a hash, that are mapped and not read.

::

    header (192 bytes) | section | section | ... | table of sections (JSON)

Sections begin at multiples of 64 bytes.  The table carries the hash of every section, and the
header that of the table.  A section is hashed when it is first asked for, so that opening a file
costs the same whatever it holds.  This module needs neither the compiler nor the ops.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from graphc.artifact.fields import as_int, as_list, as_object, as_text, parse_json, reject, require
from graphc.errors import ArtifactError, caller

__all__ = ["ALIGNMENT", "CHUNK", "FORMAT_VERSION", "Container", "Section", "Writer", "digest"]

MAGIC = b"\x89GXC\r\n\x1a\n"
FORMAT_VERSION = 1
ALIGNMENT = 64
# Sections are hashed by chunks of this size, so that threads can share the work.
CHUNK = 1 << 22
MOST_SECTIONS = 10_000
LONGEST_NAME = 200
CODECS = ("json", "raw")
_MOST_THREADS = 4
# magic, format version, zero, writer, offset and length of the table, length of the file,
# hash of the table, signature of the table or zeros
_HEADER = struct.Struct("<8sII32sQQQ32s32s")
HEADER_BYTES = 192
UNSIGNED = bytes(32)

Data = bytes | bytearray | memoryview
Sign = Callable[[bytes], bytes]


class Section(NamedTuple):
    """An entry of the table.

    Attributes
    ----------
    name : str
        Unique in the file.
    offset, length : int
        Where it lies, in bytes.
    sha256 : str
        Its `digest` in hexadecimal.
    codec : str
        "json" for a JSON text in UTF-8, "raw" for bytes whose meaning the name says.
    """

    name: str
    offset: int
    length: int
    sha256: str
    codec: str


def digest(data: Data, threads: int = 1) -> bytes:
    """Return the hash of a section: SHA-256 over the SHA-256 of each of its chunks.

    Parameters
    ----------
    data : bytes-like
        The section.
    threads : int
        How many to use at most.  Hashing does not hold Python's lock.

    Examples
    --------
    >>> digest(b"abc") == hashlib.sha256(hashlib.sha256(b"abc").digest()).digest()
    True
    """
    view = memoryview(data).cast("B") if len(data) else memoryview(b"")
    starts = range(0, len(view), CHUNK)
    found = [b""] * len(starts)

    def work(first: int, step: int) -> None:
        for k in range(first, len(starts), step):
            found[k] = hashlib.sha256(view[starts[k] : starts[k] + CHUNK]).digest()

    count = max(min(threads, len(starts)), 1)
    if count == 1:
        work(0, 1)
        return hashlib.sha256(b"".join(found)).digest()
    # Deferred: small files, which load in a few milliseconds, never need it.
    import threading

    others = [threading.Thread(target=work, args=(k, count)) for k in range(1, count)]
    for thread in others:
        thread.start()
    work(0, count)
    for thread in others:
        thread.join()
    return hashlib.sha256(b"".join(found)).digest()


class _Hasher:
    """`digest` of data that comes in pieces."""

    def __init__(self) -> None:
        self._whole = hashlib.sha256()
        self._chunk = hashlib.sha256()
        self._filled = 0

    def update(self, data: memoryview) -> None:
        while len(data):
            taken = data[: CHUNK - self._filled]
            self._chunk.update(taken)
            self._filled += len(taken)
            data = data[len(taken) :]
            if self._filled == CHUNK:
                self._close_chunk()

    def hexdigest(self) -> str:
        if self._filled:
            self._close_chunk()
        return self._whole.hexdigest()

    def _close_chunk(self) -> None:
        self._whole.update(self._chunk.digest())
        self._chunk, self._filled = hashlib.sha256(), 0


class Writer:
    """Writes an artifact beside its place and moves it there when it is complete.

    Parameters
    ----------
    path : path-like
        The file; an existing one is replaced, by a whole new one or not at all.
    producer : str
        What writes it, shown by readers that are too old for the format.
    sign : callable, optional
        From the bytes of the table to a signature of 32 bytes.

    Examples
    --------
    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "example.gxc")
    >>> with Writer(path, "graphc 1.0") as writer:
    ...     writer.add_json("manifest", {"programs": ["train"]})
    ...     writer.add("weights", [b"first ", b"second"])
    >>> with Container.open(path) as found:
    ...     found.json("manifest"), bytes(found.view("weights"))
    ({'programs': ['train']}, b'first second')
    """

    def __init__(self, path: str | os.PathLike[str], producer: str, sign: Sign | None = None) -> None:
        self._target = os.fspath(path)
        directory, name = os.path.split(self._target)
        self._directory = directory or os.curdir
        self._temporary = os.path.join(directory, f".{name}.{os.urandom(8).hex()}")
        self._producer = producer.encode()[:32]
        self._sign = sign
        self._sections: dict[str, Section] = {}

    def __enter__(self) -> Self:
        self._file = open(self._temporary, "xb")  # closed by __exit__
        self._file.write(bytes(HEADER_BYTES))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
            self._file.close()
            if kind is None:
                os.replace(self._temporary, self._target)
                _sync_directory(self._directory)
        finally:
            self._file.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._temporary)

    def add(self, name: str, data: Data | Iterable[Data], codec: str = "raw") -> None:
        """Write a section, as it comes.

        Raises
        ------
        ArtifactError
            If there is a section of that name, or the name is not usable.
        """
        as_text(name, "section name", LONGEST_NAME)
        require(name not in self._sections, "section written twice", "distinct names", name)
        require(codec in CODECS, "bad codec", " or ".join(CODECS), codec)
        offset = self._align()
        hasher = _Hasher()
        for piece in [data] if isinstance(data, (bytes, bytearray, memoryview)) else data:
            view = memoryview(piece).cast("B") if len(piece) else memoryview(b"")
            hasher.update(view)
            self._file.write(view)
        length = self._file.tell() - offset
        self._sections[name] = Section(name, offset, length, hasher.hexdigest(), codec)

    def add_json(self, name: str, value: Any) -> None:
        """Write a section of JSON."""
        self.add(name, json.dumps(value, separators=(",", ":"), allow_nan=False).encode(), "json")

    def _align(self) -> int:
        place = self._file.tell()
        self._file.write(bytes(-place % ALIGNMENT))
        return place + -place % ALIGNMENT

    def _finish(self) -> None:
        offset = self._align()
        entries = [s._asdict() for s in self._sections.values()]
        table = json.dumps({"sections": entries}, separators=(",", ":")).encode()
        signature = UNSIGNED if self._sign is None else self._sign(table)
        self._file.write(table)
        header = _HEADER.pack(
            MAGIC,
            FORMAT_VERSION,
            0,
            self._producer,
            offset,
            len(table),
            offset + len(table),
            hashlib.sha256(table).digest(),
            signature,
        )
        self._file.seek(0)
        self._file.write(header)
        self._file.flush()
        os.fsync(self._file.fileno())


def _sync_directory(directory: str) -> None:
    # Where directories cannot be opened, as on Windows, the rename is as durable as the system makes it.
    with contextlib.suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class Container:
    """A file of sections, mapped into memory: private, copied on write, read on first touch.

    Attributes
    ----------
    path : str
        Where it was read from.
    producer : str
        What wrote it.
    sections : mapping of str to Section
        The table.
    table : bytes
        Its text, which the signature is for.
    signature : bytes or None
        None if the file is not signed.
    """

    def __init__(self, path: str, mapped: mmap.mmap) -> None:
        self.path = path
        self._map = mapped
        self._data = memoryview(mapped)
        self._checked: set[str] = set()
        (
            magic,
            version,
            reserved,
            producer,
            start,
            length,
            total,
            table_hash,
            signature,
        ) = _HEADER.unpack_from(self._data)
        require(magic == MAGIC, "not an artifact", "a file that graphc wrote", magic)
        self.producer = "".join(
            c for c in producer.rstrip(b"\0").decode("utf-8", "replace") if c.isprintable()
        )
        if version > FORMAT_VERSION:
            raise ArtifactError(
                f"artifact: {path!r} was written by {self.producer}, in a newer format",
                expected=f"format {FORMAT_VERSION} or older; a newer graphc reads it",
                given=f"format {version}",
                where=caller(),
            )
        require(
            version == FORMAT_VERSION and reserved == 0, "bad header", f"format {FORMAT_VERSION}", version
        )
        size = len(self._data)
        require(total == size, "truncated or extended", f"{total} bytes", size)
        fits = HEADER_BYTES <= start <= size and length == size - start
        require(fits, "bad place of the table", f"within {size} bytes, at the end", (start, length))
        self.table = bytes(self._data[start:])
        require(hashlib.sha256(self.table).digest() == table_hash, "table altered", "its hash", "another")
        self.signature = None if signature == UNSIGNED else bytes(signature)
        self.sections: Mapping[str, Section] = _read_table(self.table, start)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Container:
        """Map a file and check its structure; sections are checked when they are asked for.

        Raises
        ------
        ArtifactError
            If it is no artifact, damaged, or in a newer format.
        FileNotFoundError
            If there is no such file.
        """
        require(sys.byteorder == "little", "this machine cannot read it", "a little-endian machine", "big")
        place = os.fspath(path)
        with open(place, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            require(size >= HEADER_BYTES, "not an artifact", f"{HEADER_BYTES} bytes or more", size)
            mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY)
        return cls(place, mapped)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; the mapping lives until no array of it is left."""
        self._data.release()
        # What was handed out keeps the mapping.
        with contextlib.suppress(BufferError):
            self._map.close()

    def __contains__(self, name: str) -> bool:
        return name in self.sections

    def array(self, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return the bytes of a section as an array over the mapping; writing to it changes no file.

        Raises
        ------
        ArtifactError
            If there is no such section, or its hash is wrong.
        """
        section = self._verified(name)
        return np.frombuffer(self._map, np.uint8, section.length, section.offset)

    def view(self, name: str) -> memoryview:
        """Return the bytes of a section, read-only; raises as `array`."""
        section = self._verified(name)
        return self._data[section.offset : section.offset + section.length].toreadonly()

    def json(self, name: str) -> Any:
        """Return the value of a JSON section; raises as `array`, and if it is no JSON."""
        codec = self._verified(name).codec
        require(codec == "json", f"section {name!r} has another codec", "json", codec)
        return parse_json(bytes(self.view(name)), f"section {name!r}")

    def _verified(self, name: str) -> Section:
        section = self.sections.get(name)
        if section is None:
            reject("no such section", f"a section named {name!r}", sorted(self.sections))
        if name not in self._checked:
            data = self._data[section.offset : section.offset + section.length]
            found = digest(data, min(os.cpu_count() or 1, _MOST_THREADS)).hex()
            data.release()
            require(found == section.sha256, f"section {name!r} is damaged", section.sha256, found)
            self._checked.add(name)
        return section


def _read_table(text: bytes, end: int) -> dict[str, Section]:
    table = as_object(parse_json(text, "the table of sections"), "table of sections", {"sections"})
    require(len(text) < 1 << 26, "table of sections too long", "less than 64 MiB", len(text))
    listed = as_list(table["sections"], "table of sections", lambda entry: _read_entry(entry, end))
    require(len(listed) <= MOST_SECTIONS, "too many sections", f"at most {MOST_SECTIONS}", len(listed))
    place = HEADER_BYTES
    for section in listed:
        require(
            section.offset >= place, f"section {section.name!r} overlaps", f"{place} or more", section.offset
        )
        place = section.offset + section.length
    require(place <= end, "sections reach into the table", f"at most {end}", place)
    found = {s.name: s for s in listed}
    require(len(found) == len(listed), "two sections of one name", "distinct names", len(listed))
    return found


def _read_entry(entry: object, end: int) -> Section:
    fields = as_object(entry, "section", {"name", "offset", "length", "sha256", "codec"})
    name = as_text(fields["name"], "section name", LONGEST_NAME)
    offset = as_int(fields["offset"], f"offset of section {name!r}", HEADER_BYTES, end)
    require(offset % ALIGNMENT == 0, f"section {name!r} not aligned", f"a multiple of {ALIGNMENT}", offset)
    length = as_int(fields["length"], f"length of section {name!r}", 0, end - offset)
    sha256 = as_text(fields["sha256"], f"hash of section {name!r}", 64)
    codec = fields["codec"]
    require(codec in CODECS, f"bad codec of section {name!r}", " or ".join(CODECS), codec)
    return Section(name, offset, length, sha256, codec)
