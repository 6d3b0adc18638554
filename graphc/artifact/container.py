"""The file around an artifact: named sections, each with a hash, that are mapped and not read.

::

    header (192 bytes) | section | section | ... | table of sections (JSON)

Sections begin at multiples of 64 bytes.  The table carries the hash of every section, and the
header that of the table.  A section is hashed when it is first asked for, so that opening a file
costs the same whatever it holds.  This module needs neither the compiler nor the ops; only for
the hash of large sections, where no file has brought it along in compiled form.
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

from graphc.artifact import hashing
from graphc.artifact.fields import as_int, as_list, as_object, as_text, parse_json, reject, require
from graphc.errors import ArtifactError, caller

__all__ = ["ALIGNMENT", "FORMAT_VERSION", "Container", "Section", "Writer", "digest"]

MAGIC = b"\x89GXC\r\n\x1a\n"
FORMAT_VERSION = 1
ALIGNMENT = 64
MOST_SECTIONS = 10_000
LONGEST_NAME = 200
CODECS = ("json", "raw")
# Every reader has the first; the second is faster by far where there is much to hash.
ALGORITHMS = ("sha256", "blake3")
_MOST_THREADS = 4
# magic, format version, zero, writer, offset and length of the table, length of the file,
# hash of the table, signature of the table or zeros
_HEADER = struct.Struct("<8sII32sQQQ32s32s")
HEADER_BYTES = 192
UNSIGNED = bytes(32)

Data = bytes | bytearray | memoryview
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Sign = Callable[[bytes], bytes]


class Section(NamedTuple):
    """An entry of the table.

    Attributes
    ----------
    name : str
        Unique in the file.
    offset, length : int
        Where it lies, in bytes.
    hash : str
        Its `digest`, behind the name of the algorithm and a colon.
    codec : str
        "json" for a JSON text in UTF-8, "raw" for bytes whose meaning the name says.
    """

    name: str
    offset: int
    length: int
    hash: str
    codec: str


def digest(data: Bytes, algorithm: str) -> str:
    """Return the hash of a section in hexadecimal.

    Parameters
    ----------
    data : ndarray of uint8
        The section.
    algorithm : str
        "sha256", or "blake3", which several threads compute together.

    Examples
    --------
    >>> digest(np.frombuffer(b"abc", np.uint8), "sha256") == hashlib.sha256(b"abc").hexdigest()
    True
    """
    if algorithm == "sha256":
        return hashlib.sha256(data.data).hexdigest()
    return hashing.blake3(data, _threads()).hex()


def _threads() -> int:
    return min(os.cpu_count() or 1, _MOST_THREADS)


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
        self._path = path
        self._producer = producer.encode()[:32]
        self._sign = sign
        self._sections: dict[str, Section] = {}

    def __enter__(self) -> Self:
        # Deferred: reading replaces nothing.
        from graphc.replacing import replacing

        self._replacing = replacing(self._path)
        self._file = self._replacing.__enter__()
        self._file.write(bytes(HEADER_BYTES))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._replacing.__exit__(kind, error, trace)
            return
        with contextlib.ExitStack() as stack:
            stack.push(self._replacing)
            self._finish()

    def add(
        self, name: str, data: Data | Iterable[Data], codec: str = "raw", algorithm: str = "sha256"
    ) -> None:
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
        for piece in [data] if isinstance(data, (bytes, bytearray, memoryview)) else data:
            self._file.write(memoryview(piece).cast("B") if len(piece) else b"")
        length = self._file.tell() - offset
        found = digest(self._written(offset, length), algorithm)
        self._sections[name] = Section(name, offset, length, f"{algorithm}:{found}", codec)

    def add_json(self, name: str, value: Any) -> None:
        """Write a section of JSON."""
        self.add(name, json.dumps(value, separators=(",", ":"), allow_nan=False).encode(), "json")

    def _written(self, offset: int, length: int) -> Bytes:
        """Return what was written, as it lies in the file."""
        self._file.flush()
        if not length:
            return np.empty(0, np.uint8)
        return np.memmap(self._file, np.uint8, "r", offset, (length,))

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
    identity : tuple of int
        Its device and number on that, its size, and when its content and anything of it last changed.
    """

    def __init__(self, path: str, mapped: mmap.mmap, identity: tuple[int, ...]) -> None:
        self.path, self.identity = path, identity
        self._map = mapped
        self._data = memoryview(mapped)
        self._checked: set[str] = set()
        self._expected: dict[str, hashing.Hashing] = {}
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
            found = os.fstat(file.fileno())
            size = found.st_size
            require(size >= HEADER_BYTES, "not an artifact", f"{HEADER_BYTES} bytes or more", size)
            mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY)
        times = found.st_mtime_ns, found.st_ctime_ns
        return cls(place, mapped, (found.st_dev, found.st_ino, size, *times))

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
        return self._bytes(self._verified(name))

    def view(self, name: str) -> memoryview:
        """Return the bytes of a section, read-only; raises as `array`."""
        section = self._verified(name)
        return self._data[section.offset : section.offset + section.length].toreadonly()

    def json(self, name: str) -> Any:
        """Return the value of a JSON section; raises as `array`, and if it is no JSON."""
        codec = self._verified(name).codec
        require(codec == "json", f"section {name!r} has another codec", "json", codec)
        return parse_json(bytes(self.view(name)), f"section {name!r}")

    def expect(self, name: str) -> None:
        """Begin to hash a large section that will be asked for, while something else is done."""
        section = self.sections.get(name)
        if section is not None and section.hash.startswith("blake3:") and name not in self._checked:
            self._expected[name] = hashing.Hashing(self._bytes(section), _threads())

    def believe(self, name: str) -> None:
        """Take a section as verified, as it was before; have it mapped while something else is done."""
        section = self.sections.get(name)
        if section is not None:
            self._checked.add(name)
            hashing.map_ahead(self._bytes(section))

    def _bytes(self, section: Section) -> Bytes:
        return np.frombuffer(self._map, np.uint8, section.length, section.offset)

    def _verified(self, name: str) -> Section:
        section = self.sections.get(name)
        if section is None:
            reject("no such section", f"a section named {name!r}", sorted(self.sections))
        if name not in self._checked:
            algorithm, _, wanted = section.hash.partition(":")
            begun = self._expected.pop(name, None)
            found = digest(self._bytes(section), algorithm) if begun is None else begun.result().hex()
            require(found == wanted, f"section {name!r} is damaged", wanted, found)
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
    fields = as_object(entry, "section", {"name", "offset", "length", "hash", "codec"})
    name = as_text(fields["name"], "section name", LONGEST_NAME)
    offset = as_int(fields["offset"], f"offset of section {name!r}", HEADER_BYTES, end)
    require(offset % ALIGNMENT == 0, f"section {name!r} not aligned", f"a multiple of {ALIGNMENT}", offset)
    length = as_int(fields["length"], f"length of section {name!r}", 0, end - offset)
    hash = as_text(fields["hash"], f"hash of section {name!r}", 80)
    algorithm = hash.partition(":")[0]
    require(algorithm in ALGORITHMS, f"bad hash of section {name!r}", " or ".join(ALGORITHMS), algorithm)
    codec = fields["codec"]
    require(codec in CODECS, f"bad codec of section {name!r}", " or ".join(CODECS), codec)
    return Section(name, offset, length, hash, codec)
