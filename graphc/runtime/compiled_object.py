"""Compiled code as plain data: what the cache stores, without the compiler that made it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

__all__ = ["CompiledObject"]


@dataclass(frozen=True)
class CompiledObject:
    """Object code that defines one public symbol, with the optimized LLVM IR it came from.

    The IR is kept compressed, since almost no one asks for it; artifacts leave it out.
    """

    object_code: bytes
    symbol: str
    packed_llvm: bytes

    @property
    def llvm(self) -> str:
        """Optimized LLVM IR as text."""
        return zlib.decompress(self.packed_llvm).decode()
