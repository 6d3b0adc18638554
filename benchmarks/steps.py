"""The workloads: first that all frameworks agree, then how long a call takes in each."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Protocol

from benchmarks.agreement import DisagreementError, require_equal
from benchmarks.children import FailedError
from benchmarks.counting import cost_of
from benchmarks.vocabulary import UnsupportedError
from benchmarks.workload import Array, Workload

__all__ = ["Line", "Run", "Served", "Timing", "drop", "run"]

# The interpreter takes too long for more.
INTERPRETED_FLOPS = 2e9
# Seconds between turns: idle threads of some frameworks look for work for a while, on the next one's CPUs.
PAUSE = 0.1


class Served(Protocol):
    """A framework that does what it is asked; see `benchmarks.host.Host` for the methods."""

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the host."""


@dataclass(frozen=True)
class Timing:
    """Seconds per call of one framework: for each round, its samples."""

    rounds: tuple[tuple[float, ...], ...]

    @property
    def median(self) -> float:
        """The middle one of all samples."""
        return median(s for samples in self.rounds for s in samples)

    @property
    def fastest(self) -> float:
        """The smallest of all samples."""
        return min(map(min, self.rounds))

    def ratios(self, base: Timing) -> list[float]:
        """Return, round by round, how many times as long as in `base` a call takes."""
        return [median(a) / median(b) for a, b in zip(self.rounds, base.rounds, strict=True)]


@dataclass
class Line:
    """What was found out about a workload.

    Attributes
    ----------
    timings : dict of str to Timing
        By framework.
    absent : dict of str to str
        Why the others did not take part.
    failures, disagreements : dict of str to str
        Those that failed, and those that computed something else.
    """

    timings: dict[str, Timing] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    disagreements: dict[str, str] = field(default_factory=dict)


class Run:
    """Several frameworks doing the same; whoever fails at a stage is left out of the next.

    Parameters
    ----------
    served : mapping of str to Served
        The frameworks; the first is what the others are compared with.

    Attributes
    ----------
    left : dict of str to Served
        Those that have not failed.
    line : Line
        What was found out.
    """

    def __init__(self, served: Mapping[str, Served]) -> None:
        self.left = dict(served)
        self.line = Line()

    def each(self, ask: Callable[[str, Served], Any]) -> dict[str, Any]:
        """Return the answers of those that are left and answer."""
        answers = {}
        for peer, host in list(self.left.items()):
            try:
                answers[peer] = ask(peer, host)
                continue
            except UnsupportedError as reason:
                self.line.absent[peer] = str(reason)
            except FailedError as error:
                self.line.failures[peer] = str(error)
            except DisagreementError as error:
                self.line.disagreements[peer] = str(error)
            del self.left[peer]
        return answers

    def interleave(self, rounds: int) -> None:
        """Time the frameworks in turns, each first in some round, so that noise hits all of them."""
        self.each(lambda _, host: host.call("calibrate"))
        found: dict[str, list[tuple[float, ...]]] = {name: [] for name in self.left}
        for _ in range(rounds):
            for name, samples in self.each(_turn).items():
                found[name].append(samples)
            self.left = _rotated(self.left)
        self.line.timings = {name: Timing(tuple(found[name])) for name in found if name in self.left}


class _Steps(Run):
    """One workload in several frameworks."""

    def __init__(self, workload: Workload, served: Mapping[str, Served]) -> None:
        super().__init__(served)
        self.workload = workload

    def check(self) -> None:
        """Compare all with the interpreter, or with the first if that would take too long."""
        found = self.each(lambda _, host: host.call("results"))
        if not found:
            return
        first = next(iter(found))
        interpreted = first == "graphc" and cost_of(self.workload).flops <= INTERPRETED_FLOPS
        truth = self.left[first].call("reference") if interpreted else found[first][0]
        against = "the interpreter" if interpreted else first
        self.each(lambda peer, _: self._compare(peer, found[peer], against, truth))
        self.each(lambda peer, _: self._compare_all(peer, found[peer], first, found[first]))

    def _compare(self, peer: str, values: list[list[Array]], other: str, truth: list[Array]) -> None:
        require_equal(f"{peer}, first call", values[0], other, truth, self.workload.tolerance)

    def _compare_all(
        self, peer: str, values: list[list[Array]], other: str, expected: list[list[Array]]
    ) -> None:
        for step, (a, b) in enumerate(zip(values, expected, strict=True)):
            require_equal(f"{peer} after {step} steps", a, other, b, self.workload.tolerance)


def _turn(_: str, host: Served) -> tuple[float, ...]:
    time.sleep(PAUSE)
    samples: tuple[float, ...] = host.call("turn")
    return samples


def _rotated(served: Mapping[str, Served]) -> dict[str, Served]:
    """Return the same with the first at the end."""
    items = list(served.items())
    return dict(items[1:] + items[:1])


def run(name: str, workload: Workload, served: Mapping[str, Served], rounds: int) -> Line:
    """Build, check, then time a workload.

    Parameters
    ----------
    name : str
        Of the workload, as the hosts know it.
    workload : Workload
        The workload.
    served : mapping of str to Served
        The frameworks; the first is what the others are compared with.
    rounds : int
        How many turns each gets.
    """
    task = _Steps(workload, served)
    task.each(lambda _, host: host.call("build", name))
    task.check()
    task.interleave(rounds)
    drop(served)
    return task.line


def drop(served: Mapping[str, Served]) -> None:
    """Let all forget what they hold: those that failed as well, unless they have begun anew."""
    for host in served.values():
        with contextlib.suppress(FailedError, UnsupportedError):
            host.call("drop")
