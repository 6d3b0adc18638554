"""What of a program was not fused, vectorized or parallelized, and why: one line each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphc import dims
from graphc.dims import Dim
from graphc.errors import UNKNOWN, Where
from graphc.lower.rules import Loop
from graphc.runtime import schedule, team
from graphc.wording import few

if TYPE_CHECKING:
    from graphc.codegen.loops import Stage as Part
    from graphc.runtime.kernel import Kernel
    from graphc.runtime.program import Program

__all__ = ["Shortfall", "lines", "shortfalls"]

_VECTOR = re.compile(r"<\d+ x \w+>")
# What `schedule` needs to call other threads, and to cut a step in two.
_MICROSECOND = 1000


@dataclass(frozen=True)
class Shortfall:
    """One thing that was not done, and why.

    Attributes
    ----------
    title : str
        What was not done: ``not fused``, ``not rewritten``, ``not vectorized``, ``not parallelized``, or
        ``schedules not taken``.
    subject : str
        To what; empty where the reason names it.
    why : str
        The reason.
    where : Where
        The user's line.
    kernel : int or None
        The number of the kernel that it is about.
    count : int
        How often.
    """

    title: str
    subject: str
    why: str
    where: Where = UNKNOWN
    kernel: int | None = None
    count: int = 1

    def __str__(self) -> str:
        times = f"{self.count} x " if self.count > 1 else ""
        subject = f"{self.subject}: " if self.subject else ""
        scope = f" in {self.where.scope}" if self.where.scope else ""
        place = f"  {self.where}{scope}" if self.where is not UNKNOWN else ""
        return f"{times}{subject}{self.why}{place}"


TITLES = ("not fused", "not rewritten", "not vectorized", "not parallelized", "schedules not taken")


def lines(program: Program) -> Iterator[str]:
    """Yield what `shortfalls` finds as text, under titles."""
    found = list(shortfalls(program))
    for title in TITLES:
        own = [f"  {s}" for s in found if s.title == title]
        yield from [f"{title}:", *own] if own else [f"{title}: nothing"]


def shortfalls(program: Program) -> Iterator[Shortfall]:
    """Describe what of a program could be faster on paper, and why it is not.

    Parameters
    ----------
    program : Program
        What to describe, at the sizes of its latest call.

    Yields
    ------
    Shortfall
    """
    declined = Counter(d for s in program.stages for d in s.declined)
    for found, count in declined.items():
        fused = found.rule == "fuse"
        title, subject = ("not fused", "") if fused else ("not rewritten", found.rule)
        yield Shortfall(title, subject, found.note, found.where, count=count)
    yield from _by_themselves(program.kernels)
    yield from _scalar(program.kernels)
    yield from _serial(program)
    yield from _second_choices(program.kernels)


def _of(title: str, number: int, kernel: Kernel, why: str) -> Shortfall:
    return Shortfall(title, f"kernel {number}, {kernel.name}", why, kernel.nodes[0].where, number)


# ---------------------------------------------------------------------- fusion
def _by_themselves(kernels: Sequence[Kernel]) -> Iterator[Shortfall]:
    for number, kernel in enumerate(kernels):
        if kernel.text is None:
            yield _of("not fused", number, kernel, "computed in Python")
        elif isinstance(kernel.nodes[0].op.lowering, Loop):
            yield _of("not fused", number, kernel, "a loop nest of its own")


# --------------------------------------------------------------- vector units
def _scalar(kernels: Sequence[Kernel]) -> Iterator[Shortfall]:
    for number, kernel in enumerate(kernels):
        if kernel.text is None or _is_small(kernel) or _VECTOR.search(kernel.llvm):
            continue
        own = isinstance(kernel.nodes[0].op.lowering, Loop)
        why = "its loops are written element by element" if own else "LLVM found no vector form of its loop"
        yield _of("not vectorized", number, kernel, why)


def _is_small(kernel: Kernel) -> bool:
    """Tell whether a kernel computes single values from single values."""
    types = [t.type for n in kernel.nodes for t in (n, *n.inputs)]
    return all(getattr(t, "size", 0) == 1 for t in types)


# -------------------------------------------------------------------- threads
def _serial(program: Program) -> Iterator[Shortfall]:
    title, sizes = "not parallelized", (program.specializations or [{}])[-1]
    threads = max(team.count, 2)
    at = ", ".join(f"{name}={size}" for name, size in sizes.items())
    cut, small = 0, []
    for number, kernel in enumerate(program.kernels):
        found = [w for part in _parts(kernel) if (w := _task(part, sizes)) is not None]
        if not found:
            yield _of(title, number, kernel, _unknown(kernel))
            continue
        blocks = max(schedule.blocks_of(t, threads) for t in found)
        work = sum(t.work for t in found)
        cut += work if blocks > 1 else 0
        if blocks == 1 and max(t.work for t in found) < 2 * schedule.GRAIN:
            small.append(str(number))
        elif blocks == 1:
            yield _of(title, number, kernel, f"about {_us(work)}{_at(at)}, but in one piece")
    if small:
        limit = _us(2 * schedule.GRAIN)
        yield Shortfall(
            title, f"kernels {few(small, 12)}", f"less than {limit} each{_at(at)}, too little to cut"
        )
    if 0 < cut < schedule.WORTHWHILE:
        why = f"about {_us(cut)}{_at(at)}, other threads help from {_us(schedule.WORTHWHILE)} on"
        yield Shortfall(title, "all others", why)
    if team.count == 1:
        yield Shortfall(title, "everything", "there is one thread, see gx.set_num_threads")


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
def _second_choices(kernels: Sequence[Kernel]) -> Iterator[Shortfall]:
    for number, kernel in enumerate(kernels):
        choice = kernel.choice
        if choice is None or len(choice.candidates) < 2:
            continue
        best, second = choice.candidates[:2]
        more = second.cycles / best.cycles if best.cycles else 1.0
        why = f"{second} would take {more:.2f} of the time of {best}"
        yield _of("schedules not taken", number, kernel, why)
