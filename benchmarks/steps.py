"""Training steps: first that all frameworks agree, then how long a step takes in each."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from benchmarks import peers
from benchmarks.agreement import require_close
from benchmarks.peers import Trainer
from benchmarks.tables import Table, seconds
from benchmarks.workloads import WORKLOADS, Workload

__all__ = ["Timing", "run", "table_of"]

# Enough for every weight to have changed several times, and too few for rounding to grow.
CHECKED_STEPS = 5
# Samples in a framework's turn, after one that does not count: caches and threads are its own then.
SAMPLES = 5
SHORTEST_SAMPLE = 2e-3


@dataclass(frozen=True)
class Timing:
    """Seconds per step of one framework: for each round, its samples."""

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
        """Return, round by round, how many times as long as in `base` a step takes."""
        return [median(a) / median(b) for a, b in zip(self.rounds, base.rounds, strict=True)]


# --------------------------------------------------------------------- agreeing
def losses(trainer: Trainer) -> list[float]:
    """Return the losses of the first steps."""
    trainer.reset()
    return [float(trainer.step()) for _ in range(CHECKED_STEPS)]


def check(first: float, found: Mapping[str, list[float]]) -> None:
    """Compare the first loss with the interpreter's, and all losses among the frameworks.

    Raises
    ------
    DisagreementError
        Naming the framework and the step.
    """
    reference = next(iter(found))
    for name, values in found.items():
        require_close(f"{name} before the first step", values[0], "the interpreter", first)
        for step, (value, expected) in enumerate(zip(values, found[reference], strict=True)):
            require_close(f"{name} after {step} steps", value, reference, expected)


# ----------------------------------------------------------------------- timing
def interleave(trainers: Mapping[str, Trainer], rounds: int) -> dict[str, Timing]:
    """Time the frameworks in turns, each first in some round, so that noise hits all of them.

    Every turn starts from the first weights: all frameworks do the same arithmetic, however
    many steps they manage, and none trains on until its numbers underflow.
    """
    names = list(trainers)
    calls = {name: _calls(trainer) for name, trainer in trainers.items()}
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    gc.disable()
    try:
        for number in range(rounds):
            start = number % len(names)
            for name in names[start:] + names[:start]:
                trainers[name].reset()
                samples = [_sample(trainers[name].step, calls[name]) for _ in range(SAMPLES + 1)]
                found[name].append(tuple(samples[1:]))
            gc.collect()
    finally:
        gc.enable()
    return {name: Timing(tuple(samples)) for name, samples in found.items()}


def _calls(trainer: Trainer) -> int:
    """Return how many steps make a sample long enough for the clock."""
    trainer.reset()
    return max(1, math.ceil(SHORTEST_SAMPLE / min(_sample(trainer.step, 1) for _ in range(10))))


def _sample(step: Callable[[], Any], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        step()
    return (time.perf_counter() - started) / calls


def run(workload: Workload, names: list[str], rounds: int) -> dict[str, Timing]:
    """Check, then time.

    Raises
    ------
    DisagreementError
        If the frameworks do not compute the same losses.
    """
    from benchmarks.peers.graphc_compiled import first_loss

    trainers = {name: peers.load(name).train(workload) for name in names}
    check(first_loss(workload), {name: losses(t) for name, t in trainers.items()})
    return interleave(trainers, rounds)


# --------------------------------------------------------------------- printing
def table_of(name: str, timings: Mapping[str, Timing]) -> Table:
    """Return the table of one workload; ratios are to graphc, round by round."""
    heads = ("training step", "median", "fastest", "x graphc", "middle half")
    table = Table(WORKLOADS[name].title, heads)
    for peer, timing in timings.items():
        row = [peers.load(peer).label, seconds(timing.median), seconds(timing.fastest)]
        table.rows.append((*row, *_ratio_cells(timing, timings.get("graphc"))))
    return table


def _ratio_cells(timing: Timing, base: Timing | None) -> tuple[str, str]:
    if base is None or base is timing:
        return "", ""
    ratios = timing.ratios(base)
    if len(ratios) < 2:
        return f"{ratios[0]:.2f}", ""
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    return f"{middle:.2f}", f"{low:.2f} to {high:.2f}"
