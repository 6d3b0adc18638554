"""Methods that go downhill: a direction, a search along it, and what is learnt from the step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphc.control import cond, while_loop
from graphc.dims import Dim
from graphc.ops import any, isfinite, minimum, sqrt, where, zeros
from graphc.optim.flat import dot, largest
from graphc.optim.line_search import Wolfe, line_search
from graphc.optim.objective import Objective
from graphc.tensor import Tensor, as_tensor

__all__ = ["Descent", "Direction", "Limits", "Memory", "Method", "Step", "descend", "short"]

Memory = dict[str, Tensor]


class Direction(NamedTuple):
    """Where to go, and the step to try first."""

    vector: Tensor
    first: Tensor


class Step(NamedTuple):
    """A step that was taken.

    Attributes
    ----------
    direction, length : Tensor
        The step is ``length * direction``.
    slope : Tensor
        Of the objective along the direction, before the step.
    gradient, reached : Tensor
        The gradients before and after.
    """

    direction: Tensor
    length: Tensor
    slope: Tensor
    gradient: Tensor
    reached: Tensor


class Descent(NamedTuple):
    """Where a descent stands.

    Attributes
    ----------
    x, value, gradient : Tensor
        The point, and what the objective is there.
    memory : dict of str to Tensor
        What the method remembers of earlier steps.
    plain : Tensor
        Whether the next direction is the steepest one, as the method's own led nowhere.
    stuck : Tensor
        Whether not even that led anywhere.
    iterations, evaluations : Tensor
        Steps so far, and points at which the objective was evaluated.
    """

    x: Tensor
    value: Tensor
    gradient: Tensor
    memory: Memory
    plain: Tensor
    stuck: Tensor
    iterations: Tensor
    evaluations: Tensor


@dataclass(frozen=True)
class Limits:
    """When a descent ends: after so many steps, or where no element of the gradient exceeds the tolerance."""

    iterations: int
    tolerance: float


class Method(ABC):
    """What distinguishes the methods."""

    @abstractmethod
    def slots(self, size: Dim) -> Mapping[str, tuple[Dim, ...]]:
        """Return the shapes of what is remembered of earlier steps; all zeros mean nothing."""

    @abstractmethod
    def direction(self, objective: Objective, at: Descent) -> Direction:
        """Return a direction; one that does not lead down is replaced by the steepest."""

    @abstractmethod
    def learn(self, memory: Memory, step: Step) -> Memory:
        """Return what is remembered after a step."""

    def nothing(self, objective: Objective) -> Memory:
        """Return the memory of a method that has made no step."""
        flat = objective.flat
        return {name: zeros(shape, flat.dtype) for name, shape in self.slots(flat.size).items()}


def short(gradient: Tensor) -> Tensor:
    """Return a first step along the steepest direction: of length one at most."""
    norm = sqrt(dot(gradient, gradient))
    return minimum(1.0, 1.0 / where(norm > 0, norm, 1.0))


def descend(
    method: Method, objective: Objective, x: Tensor, memory: Memory, conditions: Wolfe, limits: Limits
) -> Descent:
    """Run a method from `x` on, as one loop."""

    def own(s: Descent) -> Any:
        return method.direction(objective, s)

    def body(s: Descent) -> Descent:
        steepest = Direction(-s.gradient, short(s.gradient))
        chosen: Direction = cond(s.plain, lambda: steepest, lambda: own(s))
        down = dot(chosen.vector, s.gradient) < 0
        vector = where(down, chosen.vector, steepest.vector)
        first = where(down, chosen.first, steepest.first)
        found = line_search(objective, s.x, s.value, s.gradient, vector, first, conditions)
        x = s.x + found.step * vector
        moved = any(x != s.x)
        step = Step(vector, found.step, dot(vector, s.gradient), s.gradient, found.gradient)
        memory = cond(moved & down, lambda: method.learn(s.memory, step), lambda: method.nothing(objective))
        return Descent(
            x,
            found.value,
            found.gradient,
            memory,
            ~moved,
            ~moved & (s.plain | ~down),
            s.iterations + moved,
            s.evaluations + found.trials,
        )

    def goes_on(s: Descent) -> Tensor:
        unfinished = (largest(s.gradient) > limits.tolerance) & isfinite(s.value)
        return unfinished & ~s.stuck & (s.iterations < limits.iterations)

    value, gradient = objective.at(x)
    no, none = as_tensor(False), as_tensor(0)
    last: Descent = while_loop(goes_on, body, Descent(x, value, gradient, memory, no, no, none, none + 1))
    return last
