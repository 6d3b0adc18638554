"""What optimizers that run to convergence in one call share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from graphc.control.signature import require_function
from graphc.control.structure import Rebuild, flatten
from graphc.errors import ArgumentError, caller
from graphc.leaves import Variable, variable
from graphc.ops import isfinite
from graphc.ops.custom import custom_gradient
from graphc.optim.descent import Descent, Limits, Memory, Method, descend
from graphc.optim.flat import largest
from graphc.optim.krylov import conjugate_gradient
from graphc.optim.limits import at_least_zero, positive_int
from graphc.optim.line_search import Wolfe
from graphc.optim.objective import Objective
from graphc.optim.optimizer import Updates, chosen_variables
from graphc.tensor import Tensor

__all__ = ["FullBatchOptimizer", "FullBatchUpdates", "LineSearch", "Minimum"]

LineSearch = Literal["strong_wolfe", "backtracking"]
_DECREASE = 1e-4


class Minimum(NamedTuple):
    """Where a method ended.

    Attributes
    ----------
    x : structure of Tensor
        The point.
    value : Tensor
        The objective there.
    gradient_norm : Tensor
        The largest magnitude of an element of the gradient there.
    iterations, evaluations : Tensor
        Steps, and points at which value and gradient were computed.
    converged : Tensor
        Whether the gradient is within the tolerance.
    """

    x: Any
    value: Tensor
    gradient_norm: Tensor
    iterations: Tensor
    evaluations: Tensor
    converged: Tensor


class FullBatchUpdates(Updates):
    """Updates of which one application makes many steps.

    Attributes
    ----------
    minimum : Minimum
        Where they lead; its ``x`` lists the variables' new values.  Tensors to return from the
        program that applies the updates.
    """

    minimum: Minimum


class FullBatchOptimizer(Method):
    """Base of the optimizers that make many steps on the same data in one call.

    A call of a program with their updates runs one compiled loop, line searches included: until
    the gradient is small, or `max_iterations` steps are made.  The next call continues there.

    Parameters
    ----------
    line_search : {"strong_wolfe", "backtracking"}
        What to ask of a step: the strong Wolfe conditions, or a sufficient decrease alone.  Steps to where
        the loss is not finite are halved until it is.
    max_iterations : int, default 100
        The most steps in one call.
    tolerance : float, default 1e-5
        The largest magnitude of an element of the gradient that counts as zero.
    search_steps : int, default 25
        The most points that a line search tries.
    """

    curvature: float

    def __init__(
        self,
        *,
        line_search: LineSearch = "strong_wolfe",
        max_iterations: int = 100,
        tolerance: float = 1e-5,
        search_steps: int = 25,
    ) -> None:
        owner = type(self).__name__
        if line_search not in get_args(LineSearch):
            raise ArgumentError(
                f"{owner}: no such line search",
                expected=" or ".join(map(repr, get_args(LineSearch))),
                given=repr(line_search),
                where=caller(),
            )
        self.line_search = line_search
        self.max_iterations = positive_int(owner, "max_iterations", max_iterations)
        self.tolerance = at_least_zero(owner, "tolerance", tolerance)
        self.search_steps = positive_int(owner, "search_steps", search_steps)
        self._state: dict[tuple[Variable, ...], dict[str, Variable]] = {}

    # -- what users call
    def minimize(self, loss: Tensor, variables: Sequence[Variable] | None = None) -> FullBatchUpdates:
        """Return the updates that lower `loss`, to a minimum if there are steps enough.

        Parameters
        ----------
        loss : Tensor
            A floating scalar.  Random draws in it stay the same throughout a call.
        variables : sequence of Variable, optional
            What to update, all of one dtype; by default every trainable variable that the loss
            depends on through differentiable paths.

        Returns
        -------
        FullBatchUpdates
            New values of the variables and of what the optimizer remembers; ``minimum`` tells
            where they lead.

        Raises
        ------
        ArgumentError
            If there is nothing to update, or something that is not a floating variable.
        GradientError
            If the loss is not a floating scalar, or cannot be differentiated.
        GraphError
            If computing the loss updates variables, as batch normalization in training does.

        Examples
        --------
        >>> import graphc as gx, numpy as np
        >>> w = gx.variable(np.array([1.0, -2.0]), name="w")
        >>> updates = gx.optim.LBFGS().minimize((w**4).sum() + (w * w).sum())
        >>> gx.evaluate(updates.minimum.converged)
        array(True)
        """
        targets = chosen_variables(loss, variables)
        objective = Objective.of_loss(type(self).__name__, loss, targets, caller())
        slots = self._slots_of(targets, objective)
        end = self._descend(objective, objective.flat.join(targets), dict(slots))
        values = objective.flat.split(end.x)
        updates = FullBatchUpdates(zip(targets, values, strict=True))
        updates.update((slots[name], value) for name, value in end.memory.items())
        updates.minimum = self._minimum(end, values, end.value)
        return updates

    def minimum(self, fn: Callable[[Any], Any], x0: Any) -> Minimum:
        """Return a minimum of a function of Tensors: what `graphc.optim.minimize` does.

        Parameters
        ----------
        fn : callable
            Returns a floating scalar for a structure like `x0`.
        x0 : array_like, or list, tuple or dict of these
            Where to start.

        Returns
        -------
        Minimum
        """
        require_function("minimize", "fn", fn, caller())
        start, rebuild = flatten(x0)
        objective = Objective.of_function("minimize", fn, start, rebuild, caller())
        end = self._descend(objective, objective.flat.join(start), self.nothing(objective))
        return self._minimum(end, *_differentiable(objective, end, rebuild))

    @property
    def variables(self) -> list[Variable]:
        """The state, in order."""
        return list(self.named_variables().values())

    def named_variables(self) -> dict[str, Variable]:
        """Return the state by names that depend only on the order of the calls of `minimize`."""
        return {
            f"{position}.{name}": slot
            for position, slots in enumerate(self._state.values())
            for name, slot in slots.items()
        }

    # -- the loop
    def _descend(self, objective: Objective, x: Tensor, memory: Memory) -> Descent:
        curvature = self.curvature if self.line_search == "strong_wolfe" else None
        conditions = Wolfe(_DECREASE, curvature, self.search_steps)
        limits = Limits(self.max_iterations, self.tolerance)
        return descend(self, objective, x, memory, conditions, limits)

    def _minimum(self, end: Descent, x: Any, value: Tensor) -> Minimum:
        norm = largest(end.gradient)
        converged = (norm <= self.tolerance) & isfinite(end.value)
        return Minimum(x, value, norm, end.iterations, end.evaluations, converged)

    def _slots_of(self, targets: Sequence[Variable], objective: Objective) -> dict[str, Variable]:
        key, flat = tuple(targets), objective.flat
        if key not in self._state:
            owner = type(self).__name__
            self._state[key] = {
                name: variable(np.zeros(shape, flat.dtype), name=f"{owner}.{name}", trainable=False)
                for name, shape in self.slots(flat.size).items()
            }
        return self._state[key]


def _differentiable(objective: Objective, end: Descent, rebuild: Rebuild) -> tuple[Any, Tensor]:
    """Return the point and the value with gradients by the implicit function theorem.

    Where the gradient is zero, ``H dx = -d(gradient)/dp dp``; and the value changes with p alone.
    """

    def point(*captures: Tensor) -> tuple[Tensor, Callable[[Tensor], list[Tensor | None]]]:
        there = objective.using(captures)

        def back(g: Tensor) -> list[Tensor | None]:
            accuracy = float(np.finfo(g.dtype).eps) ** 0.75
            adjoint = conjugate_gradient(there.products(x), g, tol=accuracy).x
            return there.gradient_cotangents(x, -adjoint)

        return end.x, back

    x: Tensor = custom_gradient(point)(*objective.captures)

    def value(*captures: Tensor) -> tuple[Tensor, Callable[[Tensor], list[Tensor | None]]]:
        return end.value, lambda g: objective.using(captures).value_cotangents(x, g)

    return rebuild(objective.flat.split(x)), custom_gradient(value)(*objective.captures)
