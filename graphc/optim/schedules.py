"""Learning rates that change with the step, as functions in the graph.

A schedule is any function from the number of finished steps (an int64 scalar Tensor, 0 at
the first call) to a float64 scalar Tensor; these are the usual ones.  They compose as
functions do: ``lambda step: schedule(step) * 0.5``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from graphc.errors import ArgumentError, caller
from graphc.ops import cos, maximum, minimum, where
from graphc.tensor import Tensor, as_tensor
from graphc.types import FLOAT64

__all__ = ["Schedule", "constant", "cosine", "exponential", "multistep", "one_cycle", "step_decay", "warmup"]

Schedule = Callable[[Tensor], Tensor]


def constant(rate: float) -> Schedule:
    """Return a schedule that stays at `rate`.

    Parameters
    ----------
    rate : float
        The rate.

    Returns
    -------
    callable

    Examples
    --------
    >>> import graphc as gx
    >>> float(gx.evaluate(gx.optim.constant(0.1)(gx.constant(7))))
    0.1
    """
    return lambda step: as_tensor(float(rate))


def step_decay(rate: float, every: int, factor: float = 0.1) -> Schedule:
    """Return a schedule that multiplies the rate by `factor` after each `every` steps.

    Parameters
    ----------
    rate : float
        First rate.
    every : int
        Steps between two decays.
    factor : float, default 0.1
        What each multiplies the rate by.

    Returns
    -------
    callable

    Examples
    --------
    >>> import graphc as gx
    >>> float(gx.evaluate(gx.optim.step_decay(1.0, every=10, factor=0.5)(gx.constant(25))))
    0.25
    """
    period = _positive(every, "step_decay: bad period")
    return lambda step: rate * factor ** _float(step // period)


def multistep(rate: float, milestones: Mapping[int, float]) -> Schedule:
    """Return a schedule that multiplies the rate by a factor at each milestone.

    Parameters
    ----------
    rate : float
        Rate before the first milestone.
    milestones : dict of int to float
        Step at which a factor begins to apply, and the factor; factors accumulate.

    Returns
    -------
    callable

    Examples
    --------
    >>> import graphc as gx
    >>> schedule = gx.optim.multistep(1.0, {10: 0.5, 20: 0.5})
    >>> [float(gx.evaluate(schedule(gx.constant(t)))) for t in (9, 10, 20)]
    [1.0, 0.5, 0.25]
    """

    def schedule(step: Tensor) -> Tensor:
        value = as_tensor(float(rate))
        for milestone, factor in sorted(milestones.items()):
            value = where(step >= milestone, value * factor, value)
        return value

    return schedule


def exponential(rate: float, factor: float, every: int = 1) -> Schedule:
    """Return a schedule that decays smoothly, by `factor` over each `every` steps.

    Parameters
    ----------
    rate : float
        First rate.
    factor : float
        What `every` steps multiply the rate by.
    every : int, default 1
        Number of these steps.

    Returns
    -------
    callable

    Examples
    --------
    >>> import graphc as gx
    >>> float(gx.evaluate(gx.optim.exponential(1.0, 0.5)(gx.constant(3))))
    0.125
    """
    period = _positive(every, "exponential: bad period")
    return lambda step: rate * factor ** (_float(step) / period)


def cosine(rate: float, steps: int, final: float = 0.0) -> Schedule:
    """Return a schedule that falls along half a cosine from `rate` to `final`, and stays there.

    From Loshchilov and Hutter, "SGDR" (ICLR 2017), without restarts.

    Parameters
    ----------
    rate : float
        First rate.
    steps : int
        Length of the fall.
    final : float, default 0
        Last rate.

    Returns
    -------
    callable

    Examples
    --------
    >>> import graphc as gx
    >>> round(float(gx.evaluate(gx.optim.cosine(1.0, steps=10)(gx.constant(5)))), 6)
    0.5
    """
    length = _positive(steps, "cosine: bad length")
    return lambda step: _cosine(rate, final, _float(step) / length)


def warmup(schedule: Schedule | float, steps: int) -> Schedule:
    """Return a schedule that rises linearly for `steps` steps, then continues with `schedule`.

    Step 0 has ``1 / steps`` of the rate and step ``steps - 1`` all of it; `schedule`
    starts counting after the rise.

    Parameters
    ----------
    schedule : callable or float
        What follows the rise; a number is a constant rate.
    steps : int
        Length of the rise.

    Returns
    -------
    callable

    Examples
    --------
    >>> import graphc as gx
    >>> rising = gx.optim.warmup(0.8, steps=4)
    >>> [round(float(gx.evaluate(rising(gx.constant(t)))), 6) for t in range(5)]
    [0.2, 0.4, 0.6, 0.8, 0.8]
    """
    length = _positive(steps, "warmup: bad length")
    after = schedule if callable(schedule) else constant(schedule)

    def warmed(step: Tensor) -> Tensor:
        ramp = minimum((_float(step) + 1.0) / length, 1.0)
        return after(maximum(step - length, 0)) * ramp

    return warmed


def one_cycle(peak: float, steps: int, rise: float = 0.3, start: float = 25.0, end: float = 1e4) -> Schedule:
    """Return a schedule that rises to `peak` and falls again, each along half a cosine.

    From Smith and Topin, "Super-convergence" (2018).

    Parameters
    ----------
    peak : float
        Largest rate.
    steps : int
        Length of the whole cycle; the rate stays at its end afterwards.
    rise : float, default 0.3
        Fraction of the steps spent rising, inside (0, 1).
    start, end : float
        The cycle begins at ``peak / start`` and ends at ``peak / start / end``.

    Returns
    -------
    callable

    Examples
    --------
    >>> import graphc as gx
    >>> schedule = gx.optim.one_cycle(1.0, steps=10, rise=0.5)
    >>> [round(float(gx.evaluate(schedule(gx.constant(t)))), 3) for t in (0, 5, 10)]
    [0.04, 1.0, 0.0]
    """
    top = _positive(steps, "one_cycle: bad length") * rise
    if not 0.0 < rise < 1.0:
        raise ArgumentError(
            "one_cycle: bad fraction", expected="a number inside (0, 1)", given=repr(rise), where=caller()
        )
    low = peak / start

    def schedule(step: Tensor) -> Tensor:
        done = _float(step)
        rising = _cosine(low, peak, done / top)
        falling = _cosine(peak, low / end, (done - top) / (steps - top))
        return where(done < top, rising, falling)

    return schedule


def _cosine(start: float, end: float, progress: Tensor) -> Tensor:
    return end + (start - end) * 0.5 * (1.0 + cos(math.pi * minimum(progress, 1.0)))


def _float(step: Tensor) -> Tensor:
    return step.astype(FLOAT64)


def _positive(count: int, what: str) -> int:
    if isinstance(count, (int, float, np.integer, np.floating)) and count >= 1:
        return count
    raise ArgumentError(what, expected="a positive number of steps", given=repr(count), where=caller())
