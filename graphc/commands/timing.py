"""Time calls: a first one, some that are not counted, then samples for as long as asked."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Budget", "Timing", "measure"]

# A sample takes at least this long: a thousand times as long as reading the clock.
_SAMPLE_SECONDS = 50e-6
_WARM_UP = 0.1
_MIN_SAMPLES = 5


@dataclass(frozen=True)
class Budget:
    """How long to measure.

    Attributes
    ----------
    seconds : float
        Of samples; a tenth of it comes before, and slow calls take longer.
    """

    seconds: float

    @property
    def milliseconds(self) -> int:
        """The same as a count."""
        return max(1, round(1e3 * self.seconds))


@dataclass(frozen=True)
class Timing:
    """What was measured.

    Attributes
    ----------
    first : float
        Seconds of the first call.
    samples : tuple of float
        Seconds per call, sorted; each is a mean over `calls` calls.
    calls : int
        Calls of a sample.
    """

    first: float
    samples: tuple[float, ...]
    calls: int

    @property
    def calls_per_second(self) -> float:
        """All calls by their time."""
        return len(self.samples) / sum(self.samples)

    def quantile(self, q: float) -> float:
        """Return the sample below which a share `q` of them lies.

        Examples
        --------
        >>> Timing(1.0, (1.0, 2.0, 3.0, 4.0, 5.0), 1).quantile(0.5)
        3.0
        """
        return self.samples[max(math.ceil(q * len(self.samples)) - 1, 0)]


def measure(
    call: Callable[[], object],
    budget: Budget,
    done: Callable[[int], None] = lambda milliseconds: None,
) -> Timing:
    """Time calls.

    Parameters
    ----------
    call : callable
        What to time.
    budget : Budget
        How long.
    done : callable
        Told, between samples, for how many milliseconds they have been taken.

    Returns
    -------
    Timing

    Examples
    --------
    >>> found = measure(lambda: sum(range(1000)), Budget(0.01))
    >>> found.quantile(0.1) <= found.quantile(0.9)
    True
    """
    with _no_garbage_collection():
        before = _seconds(call, 1)
        mean = _warm_up(call, _WARM_UP * budget.seconds)
        calls = max(1, math.ceil(_SAMPLE_SECONDS / mean))
        samples: list[float] = []
        started = time.perf_counter()
        while (spent := time.perf_counter() - started) < budget.seconds or len(samples) < _MIN_SAMPLES:
            done(min(round(1e3 * spent), budget.milliseconds))
            samples.append(_seconds(call, calls) / calls)
    return Timing(before, tuple(sorted(samples)), calls)


def _warm_up(call: Callable[[], object], seconds: float) -> float:
    """Call for some time, at least once, and return the mean time of a call."""
    count, spent = 0, 0.0
    while not count or spent < seconds:
        count, spent = count + 1, spent + _seconds(call, 1)
    return spent / count


def _seconds(call: Callable[[], object], times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - started


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
