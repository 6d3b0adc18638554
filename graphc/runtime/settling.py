"""What is prepared for good: of constants, and whatever the sizes.

Where an image is written down, in an artifact or a shared library, such preparations need not be made
again by whoever reads it: packed weights are data like the weights.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.placement import ALIGNMENT
from graphc.runtime import runner
from graphc.runtime.executable import Executable
from graphc.runtime.image import Call, Image, LeafInfo, Loop, Preparation, Section, Step, Switch, Word
from graphc.state import ConstantData
from graphc.types import TensorType

__all__ = ["lasting", "prepare", "settled", "words_of"]

Array = np.ndarray[Any, Any]
_Change = Callable[[Word], Word]


def lasting(image: Image, leaves: Collection[int] | None = None) -> list[Preparation]:
    """Return the preparations that no size decides.

    Calls of one group may read what others of it fill, so all of them are, or none.

    Parameters
    ----------
    image : Image
        The program's.
    leaves : collection of int, optional
        Those that do not change; by default all.
    """
    depending = {p.group for p in image.preparations if not _is_fixed(p, leaves)}
    return [p for p in image.preparations if p.group not in depending]


def _is_fixed(preparation: Preparation, leaves: Collection[int] | None) -> bool:
    deciding = [*preparation.sizes, *(f.size for f in preparation.fills)]
    reads_others = leaves is not None and not set(preparation.leaves) <= set(leaves)
    return not reads_others and all(isinstance(d, int) for d in deciding)


def prepare(executable: Executable, preparations: Sequence[Preparation]) -> dict[int, Array]:
    """Return what lasting preparations fill, by number: aligned bytes."""
    status = ctypes.c_int64(0)
    address = ctypes.addressof(status)
    # Sizes that are given, but decide nothing.
    words = [word for p in preparations for word in p.call.words]
    sizes = dict.fromkeys((name for word in words for name in dims.names(word.dim)), 1)
    # The calls of a group are given all of its memory.
    fills = [fill for preparation in preparations for fill in preparation.fills]
    found = {f.number: _cleared(dims.evaluate(f.size, {})) for f in fills}
    for preparation in preparations:
        values = [
            _base(w, executable, found, address) + dims.evaluate(w.dim, sizes) for w in preparation.call.words
        ]
        args = (ctypes.c_int64 * len(values))(*values)
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
    """Return memory that is aligned and holds zeros, so that what is written down depends on nothing else."""
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]


def settled(executable: Executable) -> Executable:
    """Return the same program with what it prepares of constants as constants.

    Constants that nothing else reads are no longer among its leaves.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> x, w = gx.placeholder("x", shape=("n", 16, 8, 8)), gx.constant(np.ones((16, 16, 3, 3), "float32"))
    >>> executable = gx.compile(x, gx.conv2d(x, w))._source.executable
    >>> len(executable.image.preparations), len(settled(executable).image.preparations)
    (1, 0)
    """
    image = executable.image
    constant = [k for k, leaf in enumerate(image.leaves) if not leaf.variable]
    chosen = lasting(image, constant)
    filled = prepare(executable, chosen)
    left = tuple(p for p in image.preparations if p not in chosen)
    words = [w for s in image.sections for step in s.steps for w in words_of(step)]
    words += [w for p in left for w in p.call.words]
    read = {w.number for w in words if w.kind == "leaf"} | {k for p in left for k in p.leaves}
    remaining = sorted(read.union(image.updates))
    used = sorted({w.number for w in words if w.kind == "kept"} & filled.keys())
    numbers = {old: new for new, old in enumerate(remaining)}
    packed = {old: new for new, old in enumerate(used, len(remaining))}

    def change(word: Word) -> Word:
        if word.kind == "kept" and word.number in packed:
            return word._replace(kind="leaf", number=packed[word.number])
        return word._replace(number=numbers[word.number]) if word.kind == "leaf" else word

    made = [ConstantData(filled[k]) for k in used]
    infos = [LeafInfo(False, "", TensorType(data.array.shape, data.array.dtype)) for data in made]
    changed = image._replace(
        leaves=(*(image.leaves[k] for k in remaining), *infos),
        updates=tuple(numbers[k] for k in image.updates),
        sections=tuple(
            Section(tuple(_changed(step, change) for step in s.steps), s.rooms) for s in image.sections
        ),
        preparations=tuple(
            p._replace(call=_call(p.call, change), leaves=tuple(numbers[k] for k in p.leaves)) for p in left
        ),
    )
    return Executable(changed, executable.functions, (*(executable.leaves[k] for k in remaining), *made))


def words_of(step: Step) -> Iterator[Word]:
    """Yield the words that a step is given."""
    if isinstance(step, Call):
        yield from step.words
    elif isinstance(step, Switch):
        yield step.chosen
    else:
        yield from (step.number, step.flag, step.total)
        if step.given is not None:
            yield step.given


def _changed(step: Step, change: _Change) -> Step:
    if isinstance(step, Call):
        return _call(step, change)
    if isinstance(step, Switch):
        return step._replace(chosen=change(step.chosen))
    return _loop(step, change)


def _call(call: Call, change: _Change) -> Call:
    return call._replace(words=tuple(map(change, call.words)))


def _loop(loop: Loop, change: _Change) -> Loop:
    return loop._replace(
        given=None if loop.given is None else change(loop.given),
        number=change(loop.number),
        flag=change(loop.flag),
        total=change(loop.total),
    )
