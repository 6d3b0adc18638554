"""Measuring calls of a program step by step."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from graphc.errors import UNKNOWN, ArgumentError, caller
from graphc.inspection import machine, overlaps
from graphc.inspection.profile import Kind, Profile, ProfiledStep, Span
from graphc.inspection.work import work_of_kernel
from graphc.runtime.image import Call, Image, Loop, Switch
from graphc.runtime.kernel import Kernel
from graphc.runtime.plan import Plan
from graphc.runtime.recorder import Clock, Recording
from graphc.runtime.rehearsal import Subject

__all__ = ["checked_repeat", "measure"]

# How long to measure if nobody says how often, how often at most, and how often at least within a second.
SECONDS, MOST_CALLS, FEW_CALLS = 0.25, 100, 3
# Calls with and without timing take turns, so that both meet the machine in the same moods.
ROUNDS = 3
# Nanoseconds: of longer calls none is left out, of others the first of a turn, which finds outputs and
# caches of the other kind.  Before each of the shortest another one brings back what was in the caches.
LONG, SHORT = 500_000_000, 1_000_000


@dataclass(frozen=True)
class _Timing:
    """One timed call: when it began and ended, in nanoseconds, and what probes noted."""

    begin: int
    end: int
    recording: Recording


def checked_repeat(repeat: object) -> int | None:
    """Return how many calls a user wants to measure, None for as many as seem right.

    Raises
    ------
    ArgumentError
        If it is no positive number.
    """
    if repeat is None or (isinstance(repeat, int) and not isinstance(repeat, bool) and repeat > 0):
        return repeat
    raise ArgumentError(
        "profile: not a number of calls",
        expected="repeat: a positive integer, or None",
        given=repr(repeat),
        where=caller(),
    )


def measure(subject: Subject, repeat: int | None) -> Profile:
    """Call a program with and without timing, and describe the timed call of median duration.

    Parameters
    ----------
    subject : Subject
        What to measure.
    repeat : int or None
        How many timed calls; None for as many as take a quarter of a second.
    """
    clock = Clock()
    first = _plain(subject)
    calls = repeat or _calls(first)
    plain: list[int] = []
    timings: list[_Timing] = []
    turns = min(ROUNDS, calls)
    for turn in range(1, turns + 1):
        share = calls * turn // turns - len(timings)
        plain += [_plain(subject) for _ in _rehearsed(subject, subject.plain, share, first)]
        timings += [_timed(subject) for _ in _rehearsed(subject, subject.timed, share, first)]
    clock.settle()
    chosen = sorted(timings, key=lambda t: t.end - t.begin)[(len(timings) - 1) // 2]
    return _Reader(subject, clock, timings, chosen).profile(min(plain) * 1e-9)


def _calls(nanoseconds: int) -> int:
    """Return how many calls of that duration to time."""
    fitting = int(SECONDS * 1e9) // max(nanoseconds, 1)
    few = min(10**9 // max(nanoseconds, 1), FEW_CALLS)
    return max(min(fitting, MOST_CALLS), few, 1)


def _rehearsed(subject: Subject, plan: Plan, calls: int, nanoseconds: int) -> Iterator[int]:
    """Count so many calls, and before each that needs it make another that does not count."""
    for number in range(calls):
        if nanoseconds < SHORT or (number == 0 and nanoseconds < LONG):
            subject.run(plan)
        subject.probes.clear()
        yield number


def _plain(subject: Subject) -> int:
    begin = time.perf_counter_ns()
    subject.run(subject.plain)
    return time.perf_counter_ns() - begin


def _timed(subject: Subject) -> _Timing:
    begin = time.perf_counter_ns()
    subject.run(subject.timed)
    end = time.perf_counter_ns()
    return _Timing(begin, end, subject.probes.take())


@dataclass(frozen=True)
class _Group:
    """The probes of one kernel, loop or branch: in order of stages, the last of them the main one."""

    kind: Kind
    kernel: int | None
    probes: tuple[int, ...]
    outer: int | None


class _Reader:
    """Turns cycles by probe into seconds by step."""

    def __init__(self, subject: Subject, clock: Clock, timings: Sequence[_Timing], chosen: _Timing) -> None:
        self.subject = subject
        self.clock = clock
        self.timings = timings
        self.chosen = chosen
        self.recording = chosen.recording
        self.groups = _groups(subject.image, subject.probes.steps)
        self.rate = clock.nanoseconds_per_cycle * 1e-9

    def profile(self, fastest_plain: float) -> Profile:
        """Return the profile."""
        plan, steps, spans = self.subject.timed, tuple(map(self.step, self.groups)), self.spans()
        seconds = (self.chosen.end - self.chosen.begin) * 1e-9
        window = max((s.end for s in spans), default=0.0) - min((s.begin for s in spans), default=0.0)
        working = sum(s.elapsed for s in steps if s.is_leaf)
        covered = min(self.covered(working), window)
        return Profile(
            self.subject.name,
            dict(plan.sizes),
            plan.threads,
            len(self.timings),
            seconds,
            min(t.end - t.begin for t in self.timings) * 1e-9,
            fastest_plain,
            seconds - window,
            window - covered,
            working - covered,
            steps,
            spans,
            self.recording.dropped,
            machine.measure(plan.threads),
        )

    def covered(self, working: float) -> float:
        """Return the seconds in which some thread ran a kernel; `working` if not all spans were kept."""
        if self.recording.dropped:
            return working
        leaves = [p for g in self.groups if g.kernel is not None for p in g.probes]
        return overlaps.covered(self.recording.of(leaves)) * self.rate

    def step(self, group: _Group) -> ProfiledStep:
        """Return what a kernel, loop or branch took."""
        kernel = None if group.kernel is None else self.subject.kernels[group.kernel]
        kernels = self.inside(group) if kernel is None else [kernel]
        main, probes = group.probes[-1], list(group.probes)
        busy = [float(t.recording.cycles[:, probes].sum()) * self.rate for t in self.timings]
        step = ProfiledStep(
            group.kind if kernel is None else kernel.name,
            group.kind,
            _lines(kernels),
            group.kernel,
            group.outer,
            int(self.recording.counts[:, main].sum()) // overlaps.blocks_of(self.recording.of([main])),
            int(np.count_nonzero(self.recording.counts[:, probes].any(axis=1))),
            sum(map(self.elapsed, probes)),
            float(self.recording.cycles[:, probes].sum()) * self.rate,
            statistics.fmean(busy),
            min(busy),
            scopes=_scopes(kernels),
        )
        return step if kernel is None else self.weighed(step, kernel)

    def elapsed(self, probe: int) -> float:
        """Return the seconds from first to last block of what a probe times, over all executions."""
        counts, cycles = self.recording.counts[:, probe], float(self.recording.cycles[:, probe].sum())
        return overlaps.elapsed(self.recording.of([probe]), counts, cycles) * self.rate

    def weighed(self, step: ProfiledStep, kernel: Kernel) -> ProfiledStep:
        """Add what the kernel has to do at least, and how long the machine takes for that."""
        plan = self.subject.timed
        flops, read, written = work_of_kernel(kernel).at(plan.sizes, step.executions)
        # Loops find in caches what the iteration before left there.
        once = (read + written) / max(step.executions, 1)
        capable = machine.measure(plan.threads if step.threads > 1 else 1)
        roof = None
        if flops is not None:
            each = {k: count / max(step.executions, 1) for k, count in flops.items()}
            roof = capable.seconds(each, once) * step.executions
        return replace(step, flops=flops, read=read, written=written, roof=roof)

    def inside(self, group: _Group) -> list[Kernel]:
        """Return the kernels that a loop or branch runs."""
        number = self.groups.index(group)
        inner = [g for g in self.groups if g.outer == number]
        found = [[self.subject.kernels[g.kernel]] if g.kernel is not None else self.inside(g) for g in inner]
        return [kernel for kernels in found for kernel in kernels]

    def spans(self) -> tuple[Span, ...]:
        """Return all spans, in the order in which they began."""
        place = {p: (k, stage) for k, g in enumerate(self.groups) for stage, p in enumerate(g.probes)}
        rows = self.recording.spans
        times = (self.clock.nanoseconds(rows[:, 3:]) - self.chosen.begin) * 1e-9
        found = (
            Span(*place[probe], thread, block, *at)
            for (thread, probe, block), at in zip(rows[:, :3].tolist(), times.tolist(), strict=True)
        )
        return tuple(sorted(found, key=lambda s: (s.begin, -s.end)))


def _groups(image: Image, steps: Sequence[tuple[int, int]]) -> list[_Group]:
    """Return what probes time, in the order in which it stands in the program."""
    numbers = {place: number for number, place in enumerate(steps)}
    found: dict[object, _Group] = {}

    def add(key: object, kind: Kind, kernel: int | None, probe: int, outer: int | None) -> None:
        before = found[key].probes if key in found else ()
        found[key] = _Group(kind, kernel, (*before, probe), outer)

    def visit(section: int, outer: int | None) -> None:
        for position, step in enumerate(image.sections[section].steps):
            probe = numbers[section, position]
            if isinstance(step, Call):
                kind: Kind = "callback" if step.calls_back else "kernel"
                add(step.kernel, kind, step.kernel, probe, outer)
                continue
            own = len(found)
            add((section, position), "loop" if isinstance(step, Loop) else "branch", None, probe, outer)
            for inner in _nested(step):
                visit(inner, own)

    visit(0, None)
    return list(found.values())


def _nested(step: Loop | Switch) -> list[int]:
    if isinstance(step, Switch):
        return list(step.branches)
    return [step.body] if step.condition is None else [step.condition, step.body]


def _lines(kernels: Sequence[Kernel]) -> tuple[str, ...]:
    """Return the user's lines that kernels come from."""
    places = (node.where for kernel in kernels for node in kernel.nodes)
    return tuple(dict.fromkeys(str(place) for place in places if place is not UNKNOWN))


def _scopes(kernels: Sequence[Kernel]) -> tuple[str, ...]:
    """Return the scopes that were open on these lines."""
    places = (node.where for kernel in kernels for node in kernel.nodes)
    return tuple(dict.fromkeys(place.scope for place in places if place.scope))
