"""Schedules: into how many blocks each step is cut, and where threads must wait for each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from graphc.runtime.team_llvm import MOST_TICKETS

__all__ = ["Span", "Task", "Unit", "blocks_of", "schedule"]

# Nanoseconds: a block takes at least so long, else handing it out costs more than it brings.
GRAIN = 4_000
# What all cut steps of a program must take together before other threads are called.
WORTHWHILE = 15_000
# Blocks per thread: an early thread takes over work of a late one.
SHARES = 4


@dataclass(frozen=True)
class Span:
    """Memory that a task touches: a region of memory by name, and the bytes within it."""

    region: object
    start: int
    end: int
    written: bool


@dataclass(frozen=True)
class Task:
    """One launch of a kernel: what it costs, how it may be cut, what it touches."""

    kernel: int
    args: int
    units: int
    work: int
    spans: tuple[Span, ...]


@dataclass
class Unit:
    """Tasks that are handed out together.

    One task in `blocks` blocks, or several in a row on one thread.

    Attributes
    ----------
    tasks : list of Task
        In order.
    blocks : int
        Number of tickets.
    first : int
        The first ticket.
    required : int
        Tickets that must be done before.
    """

    tasks: list[Task]
    blocks: int
    first: int
    required: int


def blocks_of(task: Task, threads: int) -> int:
    """Return into how many blocks to cut a task."""
    blocks = min(task.units, task.work // GRAIN, SHARES * threads)
    if blocks <= threads:
        return max(blocks, 1)
    return blocks - blocks % threads


@dataclass
class _Epoch:
    """The spans touched since threads last waited for each other."""

    start: int = 0
    read: dict[object, list[Span]] = field(default_factory=dict)
    written: dict[object, list[Span]] = field(default_factory=dict)

    def conflicts(self, spans: Iterable[Span]) -> bool:
        """Tell whether a task must wait for what the epoch holds."""
        return any(self._hit(s) for s in spans)

    def _hit(self, span: Span) -> bool:
        others = self.written.get(span.region, [])
        if span.written:
            others = others + self.read.get(span.region, [])
        return any(o.start < span.end and span.start < o.end for o in others)

    def add(self, spans: Iterable[Span]) -> None:
        """Note what a task touches."""
        for span in spans:
            table = self.written if span.written else self.read
            table.setdefault(span.region, []).append(span)


def schedule(tasks: Sequence[Task], threads: int) -> list[Unit] | None:
    """Cut tasks into blocks and place the waits between them.

    Parameters
    ----------
    tasks : sequence of Task
        In execution order.
    threads : int
        Number of threads that will share them.

    Returns
    -------
    list of Unit or None
        None if sharing them is not worth it.
    """
    cut = [blocks_of(t, threads) for t in tasks]
    gained = sum(t.work for t, blocks in zip(tasks, cut, strict=True) if blocks > 1)
    if threads == 1 or gained < WORTHWHILE or sum(cut) > MOST_TICKETS:
        return None
    units: list[Unit] = []
    epoch, tickets = _Epoch(), 0
    for task, blocks in zip(tasks, cut, strict=True):
        last = units[-1] if units else None
        alone = blocks == 1 and last is not None and last.blocks == 1
        if epoch.conflicts(task.spans) and not (alone and _only(epoch, last)):
            # A unit waits for everything before the epoch; a conflict inside it begins the next.
            epoch, alone = _Epoch(tickets), False
        epoch.add(task.spans)
        if alone and last is not None and last.required == epoch.start:
            last.tasks.append(task)
            continue
        units.append(Unit([task], blocks, tickets, epoch.start))
        tickets += blocks
    return units


def _only(epoch: _Epoch, unit: Unit | None) -> bool:
    """Tell whether the epoch consists of one unit, whose tasks run in order anyway."""
    return unit is not None and unit.first == epoch.start
