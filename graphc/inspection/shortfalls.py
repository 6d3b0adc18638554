"""What of a program was not fused, vectorized or parallelized, and why: one line each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from graphc import dims
from graphc.dims import Dim
from graphc.lower.rules import Loop
from graphc.pipeline import Rewrite
from graphc.printing import few
from graphc.runtime import schedule, team

if TYPE_CHECKING:
    from graphc.codegen.loops import Stage as Part
    from graphc.runtime.kernel import Kernel
    from graphc.runtime.program import Program

__all__ = ["shortfalls"]

_VECTOR = re.compile(r"<\d+ x \w+>")
# What `schedule` needs to call other threads, and to cut a step in two.
_MICROSECOND = 1000


def shortfalls(program: Program) -> Iterator[str]:
    """Describe what of a program could be faster on paper, and why it is not.

    Parameters
    ----------
    program : Program
        What to describe, at the sizes of its latest call.

    Yields
    ------
    str
        A line.
    """
    declined = Counter(d for s in program.stages for d in s.declined)
    fused = {d: count for d, count in declined.items() if d.rule == "fuse"}
    others = {d: count for d, count in declined.items() if d.rule != "fuse"}
    yield from _section("not fused", [*_declined(fused), *_by_themselves(program.kernels)])
    yield from _section("not rewritten", [f"{_times(n)}{d}" for d, n in others.items()])
    yield from _section("not vectorized", list(_scalar(program.kernels)))
    yield from _section("not parallelized", list(_serial(program)))
    yield from _section("schedules not taken", list(_second_choices(program.kernels)))


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    yield f"{title}:" if lines else f"{title}: nothing"
    yield from (f"  {line}" for line in lines)


def _times(count: int) -> str:
    return f"{count} x " if count > 1 else ""


# ---------------------------------------------------------------------- fusion
def _declined(found: Mapping[Rewrite, int]) -> Iterator[str]:
    for rewrite, count in found.items():
        yield f"{_times(count)}{rewrite.note}  {rewrite.where}"


def _by_themselves(kernels: Sequence[Kernel]) -> Iterator[str]:
    for number, kernel in enumerate(kernels):
        node = kernel.nodes[0]
        if kernel.text is None:
            yield f"kernel {number}, {kernel.name}: computed in Python  {node.where}"
        elif isinstance(node.op.lowering, Loop):
            yield f"kernel {number}, {kernel.name}: a loop nest of its own  {node.where}"


# --------------------------------------------------------------- vector units
def _scalar(kernels: Sequence[Kernel]) -> Iterator[str]:
    for number, kernel in enumerate(kernels):
        if kernel.text is None or _is_small(kernel) or _VECTOR.search(kernel.llvm):
            continue
        own = isinstance(kernel.nodes[0].op.lowering, Loop)
        why = "its loops are written element by element" if own else "LLVM found no vector form of its loop"
        yield f"kernel {number}, {kernel.name}: {why}  {kernel.nodes[0].where}"


def _is_small(kernel: Kernel) -> bool:
    """Tell whether a kernel computes single values from single values."""
    types = [t.type for n in kernel.nodes for t in (n, *n.inputs)]
    return all(getattr(t, "size", 0) == 1 for t in types)


# -------------------------------------------------------------------- threads
def _serial(program: Program) -> Iterator[str]:
    sizes = (program.specializations or [{}])[-1]
    threads = max(team.count, 2)
    at = ", ".join(f"{name}={size}" for name, size in sizes.items())
    cut, small = 0, []
    for number, kernel in enumerate(program.kernels):
        found = [w for part in _parts(kernel) if (w := _task(part, sizes)) is not None]
        if not found:
            yield f"kernel {number}, {kernel.name}: {_unknown(kernel)}"
            continue
        blocks = max(schedule.blocks_of(t, threads) for t in found)
        work = sum(t.work for t in found)
        cut += work if blocks > 1 else 0
        if blocks == 1 and max(t.work for t in found) < 2 * schedule.GRAIN:
            small.append(str(number))
        elif blocks == 1:
            yield f"kernel {number}, {kernel.name}: about {_us(work)}{_at(at)}, but in one piece"
    if small:
        limit = _us(2 * schedule.GRAIN)
        yield f"kernels {few(small, 12)}: less than {limit} each{_at(at)}, too little to cut"
    if 0 < cut < schedule.WORTHWHILE:
        yield f"all others: about {_us(cut)}{_at(at)}, other threads help from {_us(schedule.WORTHWHILE)} on"
    if team.count == 1:
        yield "everything: there is one thread, see gx.set_num_threads"


def _at(sizes: str) -> str:
    return f" at {sizes}" if sizes else ""


def _us(nanoseconds: float) -> str:
    return f"{nanoseconds / _MICROSECOND:.3g} us"


def _unknown(kernel: Kernel) -> str:
    return "computed in Python" if kernel.text is None else "depends on sizes that no call has had yet"


def _parts(kernel: Kernel) -> Sequence[Part]:
    return () if kernel.text is None else kernel.text.stages


def _task(part: Part, sizes: Mapping[str, int]) -> schedule.Task | None:
    """Return a part of a kernel as the scheduler sees it; None if sizes are missing."""
    values: list[Dim] = [part.units, part.work]
    if any(name not in sizes for d in values for name in dims.names(d)):
        return None
    units, work = (dims.evaluate(d, sizes) for d in values)
    return schedule.Task(0, 0, units, work, ())


# ----------------------------------------------------------------- contractions
def _second_choices(kernels: Sequence[Kernel]) -> Iterator[str]:
    for number, kernel in enumerate(kernels):
        choice = kernel.choice
        if choice is None or len(choice.candidates) < 2:
            continue
        best, second = choice.candidates[:2]
        more = second.cycles / best.cycles if best.cycles else 1.0
        yield f"kernel {number}, {kernel.name}: {second} would take {more:.2f} of the time of {best}"
