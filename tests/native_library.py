"""Exported libraries, called from Python through their C interface."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Words = ctypes.Array[ctypes.c_int64]


def words(values: Sequence[int]) -> Words:
    return (ctypes.c_int64 * max(len(values), 1))(*values)


class Library:
    """A library, and one context of it.

    Structs of sizes and of pointers lie in memory like arrays of words.
    """

    def __init__(self, path: Path, ports: Sequence[Sequence[Any]]) -> None:
        self.name = path.stem.removeprefix("lib")
        self.inputs, self.outputs = ports
        self.code = ctypes.CDLL(str(path))
        self.context = ctypes.c_void_p()
        self("message").restype = ctypes.c_char_p
        self("destroy").argtypes = [ctypes.c_void_p]
        assert self("create")(ctypes.byref(self.context)) == 0

    def __call__(self, function: str) -> Any:
        return getattr(self.code, f"{self.name}_{function}")

    def close(self) -> None:
        self("destroy")(self.context)

    def message(self, status: int) -> str:
        text: bytes = self("message")(status)
        return text.decode()

    def shapes(self, sizes: Sequence[int]) -> tuple[int, list[tuple[tuple[int, ...], int]]]:
        """Return the status, and shape and bytes of every input and output."""
        types = [*self.inputs, *self.outputs]
        found = words([0] * sum(t.ndim + 1 for t in types))
        status = self("shapes_at")(words(sizes), found)
        values, result = iter(found), []
        for t in types:
            result.append((tuple(next(values) for _ in range(t.ndim)), next(values)))
        return status, result

    def run(self, sizes: Sequence[int], arrays: Sequence[Array]) -> tuple[int, list[Array]]:
        """Return the status and the outputs."""
        status, shapes = self.shapes(sizes)
        if status:
            return status, []
        made = [
            np.full(s, 77, t.dtype) for (s, _), t in zip(shapes[len(arrays) :], self.outputs, strict=True)
        ]
        given = words([a.ctypes.data for a in arrays])
        taken = words([a.ctypes.data for a in made])
        return self("run")(self.context, words(sizes), given, taken), made


def ports(program: Any) -> tuple[list[Any], list[Any]]:
    image = program._image
    return [port.type for port in image.inputs], list(image.outputs)
