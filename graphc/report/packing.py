"""Texts and tables as the page carries them: compressed, each unpacked when it is first looked at."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable
from typing import Any

__all__ = ["Pack"]

# Assembly and LLVM IR compress to a tenth; higher levels take longer and gain next to nothing.
_LEVEL = 7


class Pack:
    """Entries by key, compressed.  Equal texts are stored once.

    Examples
    --------
    >>> pack = Pack()
    >>> pack.text("a = 1"), pack.text("b = 2"), pack.text("a = 1")
    ('t0', 't1', 't0')
    >>> pack.add("nodes", [1, 2])
    >>> sorted(pack.entries)
    ['nodes', 't0', 't1']
    """

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self._texts: dict[bytes, str] = {}
        self._derived: dict[str, str] = {}

    def add(self, key: str, data: Any) -> None:
        """Store a value as JSON."""
        self._store(key, json.dumps(data, ensure_ascii=False, separators=(",", ":")))

    def text(self, text: str) -> str:
        """Store a text; return its key, which is empty for no text."""
        if not text:
            return ""
        digest = hashlib.sha256(text.encode()).digest()
        if digest not in self._texts:
            self._texts[digest] = f"t{len(self._texts)}"
            self._store(self._texts[digest], text)
        return self._texts[digest]

    def derived(self, key: str, make: Callable[[], str]) -> str:
        """Store a text that follows from that of a key, made only once; return its key."""
        if key and key not in self._derived:
            self._derived[key] = self.text(make())
        return self._derived.get(key, "")

    def _store(self, key: str, text: str) -> None:
        self.entries[key] = base64.b64encode(zlib.compress(text.encode(), _LEVEL)).decode("ascii")
