"""What an exported library holds: the values of leaves, and what has been prepared of them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.native_export.tables import Data, size_names
from graphc.placement import ALIGNMENT
from graphc.runtime import runner
from graphc.runtime.executable import Executable
from graphc.runtime.image import Call, Image, Loop, Preparation, Step, Switch, Word

__all__ = ["data_of", "lasting"]

Array = np.ndarray[Any, Any]


def lasting(image: Image) -> list[Preparation]:
    """Return the preparations that no size decides: they are made once, when the library is.

    Calls of one group may read what others of it fill, so all of them are, or none.
    """
    depending = {p.group for p in image.preparations if not _is_fixed(p)}
    return [p for p in image.preparations if p.group not in depending]


def _is_fixed(preparation: Preparation) -> bool:
    deciding = [*preparation.sizes, *(f.size for f in preparation.fills)]
    return all(isinstance(d, int) for d in deciding)


def data_of(executable: Executable) -> Data:
    """Return the present values of leaves and of what is prepared, as far as a library reads them."""
    image = executable.image
    prepared = lasting(image)
    kept = _prepare(executable, prepared)
    later = [p.call for p in image.preparations if p not in prepared]
    words = [w for section in image.sections for step in section.steps for w in _words(step)]
    words += [w for call in later for w in call.words]
    read = {w.number for w in words if w.kind == "leaf"} | set(image.updates)
    leaves = {k: executable.leaves[k].array.tobytes() for k in sorted(read)}
    used = {w.number for w in words if w.kind == "kept"}
    return Data(leaves, {k: kept[k].tobytes() for k in sorted(used & kept.keys())}, image.updates)


def _words(step: Step) -> Sequence[Word]:
    if isinstance(step, Call):
        return step.words
    if isinstance(step, Switch):
        return [step.chosen]
    return _loop_words(step)


def _loop_words(loop: Loop) -> Sequence[Word]:
    given = [] if loop.given is None else [loop.given]
    return [*given, loop.number, loop.flag, loop.total]


def _prepare(executable: Executable, preparations: Sequence[Preparation]) -> dict[int, Array]:
    """Return what preparations fill, by number."""
    status = ctypes.c_int64(0)
    # Sizes that are given, but decide nothing.
    sizes = dict.fromkeys(size_names(executable.image), 1)
    address = ctypes.addressof(status)
    # The calls of a group are given all of its memory.
    fills = [fill for preparation in preparations for fill in preparation.fills]
    found = {f.number: _cleared(dims.evaluate(f.size, {})) for f in fills}
    for preparation in preparations:
        words = [
            _base(w, executable, found, address) + dims.evaluate(w.dim, sizes) for w in preparation.call.words
        ]
        args = (ctypes.c_int64 * len(words))(*words)
        function = executable.functions[preparation.call.function]
        if not isinstance(function, int):
            continue
        table = (ctypes.c_int64 * 4)(1, address, function, ctypes.addressof(args))
        runner.run(ctypes.addressof(table))
    return found


def _base(word: Word, executable: Executable, kept: dict[int, Array], status: int) -> int:
    """Return the address that a word of a preparation is relative to."""
    base = 0
    if word.kind == "kept":
        base = kept[word.number].ctypes.data
    elif word.kind == "leaf":
        base = executable.leaves[word.number].array.ctypes.data
    elif word.kind == "status":
        base = status
    return base


def _cleared(size: int) -> Array:
    """Return memory that is aligned and holds zeros, so that a library depends on nothing else."""
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]
