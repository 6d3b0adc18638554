"""How far to go along a direction: a search for a step that satisfies the Wolfe conditions.

After Nocedal and Wright, *Numerical Optimization*, 2nd edition, algorithms 3.5 and 3.6, as one
loop: until a far end of the bracket is known it counts as infinite, and both algorithms make
the same decisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from graphc.control import while_loop
from graphc.ops import abs, isfinite, maximum, minimum, sign, sqrt, where
from graphc.optim.flat import dot
from graphc.optim.objective import Objective
from graphc.tensor import Tensor, as_tensor

__all__ = ["Found", "Wolfe", "line_search"]

# Share of the bracket that a trial keeps away from either end.
_MARGIN = 0.1
# A bracket that keeps more than this share of its width is halved next.
_SLOW = 0.66
# Without a bracket, the next trial lies between these multiples of the last, usually at the second.
_NEAREST, _USUAL, _FARTHEST = 2.0, 4.0, 10.0
# Values that differ by so many units in the last place of the first one count as equal.
_NOISE = 10.0


@dataclass(frozen=True)
class Wolfe:
    """The conditions.

    Attributes
    ----------
    decrease : float
        Share of the decrease that the slope promises which is enough.
    curvature : float or None
        Share of the slope that may be left, in magnitude; None asks for the decrease alone.
    trials : int
        The most trials.
    """

    decrease: float
    curvature: float | None
    trials: int


class Found(NamedTuple):
    """Where a search ended; a step of zero if nothing lower was found."""

    step: Tensor
    value: Tensor
    gradient: Tensor
    trials: Tensor


class _End(NamedTuple):
    step: Tensor
    value: Tensor
    slope: Tensor


class _State(NamedTuple):
    """The search: the lowest point so far, the bracket's other end, and the next trial."""

    low: _End
    gradient: Tensor
    far: _End
    trial: Tensor
    width: Tensor
    found: Tensor
    trials: Tensor


def line_search(
    objective: Objective,
    x: Tensor,
    value: Tensor,
    gradient: Tensor,
    direction: Tensor,
    first: Tensor,
    conditions: Wolfe,
) -> Found:
    """Search along a direction of descent, trying the step `first` first.

    A trial whose value or slope is not finite counts as too far, and the bracket is halved.
    """
    start = _End(as_tensor(0.0, value.dtype), value, dot(gradient, direction))
    infinite = as_tensor(np.inf, value.dtype)
    judge = _Judge(start, conditions)

    def body(s: _State) -> _State:
        found, reached = objective.at(x + s.trial * direction)
        end = _End(s.trial, found, dot(reached, direction))
        beyond = judge.beyond(end, s.low)
        good = ~beyond & judge.flat_enough(end)
        ahead = s.far.step > s.low.step
        uphill = ~beyond & ~good & where(ahead, end.slope >= 0, end.slope <= 0)
        low = _either(beyond, s.low, end)
        far = _either(beyond, end, _either(uphill, s.low, s.far))
        width = abs(far.step - low.step)
        slow = isfinite(s.width) & (width > _SLOW * s.width)
        trial = _next_trial(low, far, s.low, slow)
        kept = where(beyond, s.gradient, reached)
        return _State(low, kept, far, trial, width, good, s.trials + 1)

    def goes_on(s: _State) -> Tensor:
        return ~s.found & (s.trials < conditions.trials)

    far = _End(infinite, value, start.slope)
    none = as_tensor(0)
    last: _State = while_loop(
        goes_on, body, _State(start, gradient, far, first, infinite, as_tensor(False), none)
    )
    return Found(last.low.step, last.low.value, last.gradient, last.trials)


@dataclass(frozen=True)
class _Judge:
    """The conditions at a start."""

    start: _End
    conditions: Wolfe

    @property
    def noise(self) -> Tensor:
        """What rounding may do to a value."""
        eps = float(np.finfo(self.start.value.dtype).eps)
        return _NOISE * eps * abs(self.start.value)

    def beyond(self, end: _End, low: _End) -> Tensor:
        """Tell whether a trial lies too far: too little decrease, or above the lowest value.

        Where values are equal up to rounding, the slope decides (Hager and Zhang, *A New
        Conjugate Gradient Method with Guaranteed Descent and an Efficient Line Search*, 2005).
        """
        share = self.conditions.decrease
        promised = self.start.value + share * end.step * self.start.slope
        level = abs(end.value - self.start.value) <= self.noise
        flat = level & (end.slope <= (2 * share - 1) * self.start.slope)
        enough = (end.value <= promised) | flat
        finite = isfinite(end.value) & isfinite(end.slope)
        return ~(finite & enough) | (end.value > low.value + self.noise)

    def flat_enough(self, end: _End) -> Tensor:
        """Tell whether little enough of the slope is left."""
        if self.conditions.curvature is None:
            return as_tensor(True)
        return abs(end.slope) <= self.conditions.curvature * abs(self.start.slope)


def _either(condition: Tensor, a: _End, b: _End) -> _End:
    return _End(*(where(condition, p, q) for p, q in zip(a, b, strict=True)))


def _next_trial(low: _End, far: _End, before: _End, slow: Tensor) -> Tensor:
    """Interpolate within the bracket; without one, extrapolate from the last two points."""
    bracketed = isfinite(far.step)
    other = _either(bracketed, far, before)
    guess = _minimum_of_cubic(low, other)
    left, right = minimum(low.step, other.step), maximum(low.step, other.step)
    margin = _MARGIN * (right - left)
    nearest = where(bracketed, left + margin, _NEAREST * right)
    farthest = where(bracketed, right - margin, _FARTHEST * right)
    usual = where(bracketed, 0.5 * (left + right), _USUAL * right)
    usable = isfinite(guess) & isfinite(other.value) & ~slow
    return where(usable, minimum(maximum(guess, nearest), farthest), usual)


def _minimum_of_cubic(a: _End, b: _End) -> Tensor:
    """Return where the cubic with two points' values and slopes is least (Nocedal and Wright, 3.59)."""
    apart = b.step - a.step
    d1 = a.slope + b.slope - 3.0 * (b.value - a.value) / apart
    d2 = sign(apart) * sqrt(maximum(d1 * d1 - a.slope * b.slope, 0.0))
    return b.step - apart * (b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2)
