"""From object files to flat code: a small static linker for ELF on x86-64.

What LLVM emits for a kernel is a relocatable object with one function, its constants, and a few
relocations between them: System V Application Binary Interface, AMD64 Architecture Processor
Supplement, 4.4 (relocation types) and 4.1 (sections).
"""

from __future__ import annotations

import platform
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

from graphc.errors import KernelError
from graphc.runtime.compiled_object import CompiledObject
from graphc.runtime.flat_code import ALIGNMENT, FlatCode

__all__ = ["flatten", "is_supported"]

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_SYMBOLS, _STRINGS, _RELOCATIONS, _ZEROS = 2, 3, 4, 8
_WRITABLE, _ALLOCATED = 1, 2
# Indices of sections that symbols outside of the object, and absolute ones, have.
_UNDEFINED, _RESERVED = 0, 0xFF00
_PC32, _PLT32, _GOTPCREL, _PC64, _GOTPCRELX, _REX_GOTPCRELX = 2, 4, 9, 24, 41, 42
_RELATIVE = {_PC32: "<i", _PLT32: "<i", _PC64: "<q"}
_THROUGH_A_WORD = (_GOTPCREL, _GOTPCRELX, _REX_GOTPCRELX)
# jmp [rip + distance]; padding up to a word
_JUMP = struct.Struct("<2si2s")


class _Section(NamedTuple):
    """A section header (gABI, chapter 4), and the section's name."""

    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int


class _Symbol(NamedTuple):
    name: str
    section: int
    value: int


def is_supported() -> bool:
    """Tell whether graphc writes machine code into files here: ELF for x86-64, on Linux.

    Examples
    --------
    >>> is_supported() in (True, False)
    True
    """
    return sys.platform == "linux" and platform.machine() == "x86_64"


def flatten(compiled: CompiledObject) -> FlatCode:
    """Return an object as a block of code that needs no linker.

    Raises
    ------
    KernelError
        If the object holds what kernels never have: memory to write to, or absolute addresses.

    Examples
    --------
    >>> from graphc.runtime.target import compile_text
    >>> flat = flatten(compile_text("define i64 @seven() { ret i64 7 }", "seven"))
    >>> flat.entry, flat.imports
    (0, ())
    """
    return _Flattening(compiled.object_code, compiled.symbol).result()


class _Flattening:
    """One object on its way."""

    def __init__(self, content: bytes, symbol: str) -> None:
        self.content, self.symbol = content, symbol
        if content[:6] != b"\x7fELF\x02\x01":
            raise KernelError(f"{symbol}: no ELF file of 64-bit words in little-endian order")
        self.sections = list(self._sections())
        self.symbols = list(self._symbols())
        self.starts: dict[int, int] = {}
        self.block = bytearray()
        # Words that hold addresses, and the jumps through them, by what they lead to.
        self.words: dict[str, int] = {}
        self.jumps: dict[str, int] = {}

    def _sections(self) -> Iterator[_Section]:
        (table,) = struct.unpack_from("<Q", self.content, 40)
        size, count, names = struct.unpack_from("<HHH", self.content, 58)
        found = [_SECTION.unpack_from(self.content, table + size * k) for k in range(count)]
        for name, kind, flags, _, offset, length, link, info, alignment, _ in found:
            yield _Section(
                self._text(found[names][4] + name), kind, flags, offset, length, link, info, alignment
            )

    def _symbols(self) -> Iterator[_Symbol]:
        (table,) = (s for s in self.sections if s.kind == _SYMBOLS)
        names = self.sections[table.link].offset
        for start in range(table.offset, table.offset + table.size, _SYMBOL.size):
            name, _, _, section, value, _ = _SYMBOL.unpack_from(self.content, start)
            yield _Symbol(self._text(names + name), section, value)

    def _text(self, start: int) -> str:
        return self.content[start : self.content.index(b"\0", start)].decode()

    def result(self) -> FlatCode:
        """Lay the sections out, then resolve what refers to them."""
        for number, section in enumerate(self.sections):
            if section.flags & _ALLOCATED and section.size and not section.name.startswith(".eh_frame"):
                self._lay(number, section)
        for section in self.sections:
            if section.kind == _RELOCATIONS and section.info in self.starts:
                self._resolve(section)
        (function,) = (s for s in self.symbols if s.name == self.symbol)
        imports = tuple((place, name) for name, place in self.words.items())
        return FlatCode(
            self.symbol, bytes(self.block), self.starts[function.section] + function.value, imports
        )

    def _lay(self, number: int, section: _Section) -> None:
        if section.flags & _WRITABLE or section.kind == _ZEROS:
            raise KernelError(f"{self.symbol}: section {section.name} is memory to write to")
        if section.alignment > ALIGNMENT:
            raise KernelError(f"{self.symbol}: section {section.name} is aligned to {section.alignment}")
        self.starts[number] = self._append(
            self.content[section.offset : section.offset + section.size], section.alignment
        )

    def _append(self, content: bytes, alignment: int) -> int:
        self.block += bytes(-len(self.block) % max(alignment, 1))
        self.block += content
        return len(self.block) - len(content)

    def _resolve(self, section: _Section) -> None:
        base = self.starts[section.info]
        for start in range(section.offset, section.offset + section.size, _RELOCATION.size):
            offset, info, addend = _RELOCATION.unpack_from(self.content, start)
            place, kind, symbol = base + offset, info & 0xFFFFFFFF, self.symbols[info >> 32]
            struct.pack_into(
                _RELATIVE.get(kind, "<i"), self.block, place, self._target(kind, symbol) + addend - place
            )

    def _target(self, kind: int, symbol: _Symbol) -> int:
        """Return where in the block a relocation leads."""
        inside = _UNDEFINED < symbol.section < _RESERVED
        if kind in _RELATIVE and inside:
            return self.starts[symbol.section] + symbol.value
        if kind == _PLT32:
            return self._jump(symbol.name)
        if kind in _THROUGH_A_WORD and not inside:
            return self._word(symbol.name)
        raise KernelError(f"{self.symbol}: relocation {kind} of {symbol.name or 'a section'}")

    def _word(self, name: str) -> int:
        if name not in self.words:
            self.words[name] = self._append(bytes(8), 8)
        return self.words[name]

    def _jump(self, name: str) -> int:
        if name not in self.jumps:
            word = self._word(name)
            start = self._append(bytes(_JUMP.size), _JUMP.size)
            # Relative to the next instruction: the distance ends two bytes before the padding does.
            _JUMP.pack_into(self.block, start, b"\xff\x25", word - (start + 6), b"\xcc\xcc")
            self.jumps[name] = start
        return self.jumps[name]
