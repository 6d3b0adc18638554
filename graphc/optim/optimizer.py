"""What all optimizers share: gradients in, updates and state variables out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.autodiff import grad
from graphc.errors import ArgumentError, GraphError, caller
from graphc.ir import Node
from graphc.leaves import Variable, variable
from graphc.ops.elementwise import astype
from graphc.optim.clipping import checked_limit, clip_by_global_norm, clip_by_norm, clip_by_value
from graphc.optim.limits import at_least_zero
from graphc.optim.schedules import Schedule
from graphc.scopes import enter
from graphc.tensor import Tensor, as_tensor
from graphc.types import FLOAT64, DType, has_float, is_float

__all__ = ["Optimizer", "Step", "Updates", "chosen_variables", "trainable_variables"]

Rate = float | Tensor | Schedule


class Updates(dict[Variable, Tensor]):
    """New values by variable, for ``graphc.compile(updates=...)``.

    ``a | b`` joins the updates of two optimizers and fails when both set one variable.
    """

    def __or__(self, other: Any) -> Any:
        clash = [v for v, new in other.items() if self.get(v, new) is not new]
        if clash:
            raise GraphError(
                f"variable {clash[0].name!r} is updated twice",
                expected="one update for each variable",
                given="two different new values",
                where=caller(),
            )
        return Updates({**self, **other})

    def __ior__(self, other: Any) -> Any:
        self.update(self | other)
        return self


class Optimizer(ABC):
    """Base of the optimizers.

    A subclass names its per-variable state in `slots` and gives the formula in `step_for`.

    Parameters
    ----------
    learning_rate : float, Tensor or schedule
        A number; a scalar Tensor, for example a variable that the user assigns; or a
        function of the step (see `graphc.optim.schedules`).
    weight_decay : float, default 0
        Adds ``weight_decay * variable`` to the gradient.
    clip_value, clip_norm, clip_global_norm : float, optional
        Limits on the gradients: on each element, on each gradient's norm, on the joint
        norm; those given are applied in this order, before weight decay.
    """

    slots: tuple[str, ...] = ()
    counts_steps = False

    def __init__(
        self,
        learning_rate: Rate,
        *,
        weight_decay: float = 0.0,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        clip_global_norm: float | None = None,
    ) -> None:
        self.learning_rate = _checked_rate(learning_rate)
        self.weight_decay = at_least_zero("optimizer", "weight_decay", weight_decay)
        self._clips = (
            (clip_by_value, _limit("clip_value", clip_value)),
            (clip_by_norm, _limit("clip_norm", clip_norm)),
            (clip_by_global_norm, _limit("clip_global_norm", clip_global_norm)),
        )
        self._state: dict[Variable, dict[str, Variable]] = {}
        self._step: Variable | None = None

    # -- what users call
    def minimize(self, loss: Tensor, variables: Sequence[Variable] | None = None) -> Updates:
        """Return the updates that lower `loss`.

        Parameters
        ----------
        loss : Tensor
            A floating scalar.
        variables : sequence of Variable, optional
            What to update; by default every trainable variable that the loss depends on
            through differentiable paths.

        Returns
        -------
        Updates
            New values of the variables and of the optimizer's own state.

        Raises
        ------
        ArgumentError
            If there is nothing to update, or something that is not a floating variable.
        GradientError
            If the loss is not a floating scalar, or cannot be differentiated.

        Examples
        --------
        >>> import graphc as gx, numpy as np
        >>> w = gx.variable(np.array([1.0, -2.0]), name="w")
        >>> updates = gx.optim.SGD(0.1).minimize((w * w).sum())
        >>> gx.evaluate(updates[w])
        array([ 0.8, -1.6])
        """
        targets = chosen_variables(loss, variables)
        return self.updates(dict(zip(targets, grad(loss, targets), strict=True)))

    def updates(self, gradients: Mapping[Variable, Tensor]) -> Updates:
        """Return the updates for given gradients.

        Parameters
        ----------
        gradients : dict of Variable to Tensor
            One gradient for each variable, of its shape and dtype.

        Returns
        -------
        Updates
            New values of the variables and of the optimizer's own state.

        Raises
        ------
        ArgumentError
            If a key is not a floating variable or a gradient has another type.

        Examples
        --------
        >>> import graphc as gx, numpy as np
        >>> w = gx.variable(np.array([1.0, -2.0]), name="w")
        >>> gx.evaluate(gx.optim.SGD(0.1).updates({w: gx.constant([1.0, 1.0])})[w])
        array([ 0.9, -2.1])
        """
        targets = list(gradients)
        _require_variables(targets)
        _require_types(gradients)
        with enter("optimizer"):
            return self._all_updates(gradients)

    def _all_updates(self, gradients: Mapping[Variable, Tensor]) -> Updates:
        targets = list(gradients)
        limited = self._clipped([gradients[v] for v in targets])
        result = Updates()
        step = self._begin()
        for target, gradient in zip(targets, limited, strict=True):
            decayed = gradient + self.weight_decay * target if self.weight_decay else gradient
            slots = self._slots_of(target)
            new, state = self.step_for(target, decayed, slots, step)
            result[target] = new
            result.update({slots[name]: value for name, value in state.items()})
        if self._step is not None:
            result[self._step] = self._step + 1
        return result

    @property
    def variables(self) -> list[Variable]:
        """The state: the step counter, then each variable's slots in order."""
        return list(self.named_variables().values())

    def named_variables(self) -> dict[str, Variable]:
        """Return the state by names that depend only on the order of the variables."""
        named = {} if self._step is None else {"step": self._step}
        for position, slots in enumerate(self._state.values()):
            named |= {f"{position}.{name}": slot for name, slot in slots.items()}
        return named

    # -- what subclasses define
    @abstractmethod
    def step_for(
        self, variable: Variable, gradient: Tensor, slots: Mapping[str, Variable], step: Step
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a variable's new value and the new values of its slots."""

    def initial_slot(self, name: str, target: Variable) -> np.ndarray[Any, Any]:
        """Return the first value of a slot: zeros, unless a subclass says otherwise."""
        return np.zeros(target.storage.array.shape, target.dtype)

    # -- state
    def _begin(self) -> Step:
        scheduled = not isinstance(self.learning_rate, Tensor) and callable(self.learning_rate)
        if self._step is None and (self.counts_steps or scheduled):
            self._step = variable(np.int64(0), name=f"{type(self).__name__}.step", trainable=False)
        finished = as_tensor(0) if self._step is None else self._step
        return Step(_rate_at(self.learning_rate, finished), finished)

    def _slots_of(self, target: Variable) -> dict[str, Variable]:
        if target not in self._state:
            self._state[target] = {
                name: variable(self.initial_slot(name, target), name=f"{target.name}.{name}", trainable=False)
                for name in self.slots
            }
        return self._state[target]

    def _clipped(self, gradients: list[Tensor]) -> list[Tensor]:
        for clip, limit in self._clips:
            gradients = gradients if limit is None else clip(gradients, limit)
        return gradients


class Step:
    """The scalars of one step, each built once per dtype however many variables use it.

    Attributes
    ----------
    rate : float or Tensor
        The learning rate.
    finished : Tensor
        How many steps came before, as int64.
    """

    def __init__(self, rate: float | Tensor, finished: Tensor) -> None:
        self.rate = rate
        self.finished = finished
        self._made: dict[tuple[str, DType], Tensor] = {}

    @property
    def number(self) -> Tensor:
        """The number of this step, from 1, in float64."""
        return self.finished.astype(FLOAT64) + 1.0

    def rate_in(self, dtype: DType) -> Tensor:
        """Return the learning rate in `dtype`."""
        return self.scalar("rate", dtype, lambda: self.rate)

    def scalar(self, name: str, dtype: DType, make: Callable[[], float | Tensor]) -> Tensor:
        """Return the scalar `name` in `dtype`, made at its first use."""
        if (name, dtype) not in self._made:
            self._made[name, dtype] = astype(as_tensor(make(), dtype), dtype)
        return self._made[name, dtype]


def chosen_variables(loss: Tensor, variables: Sequence[Variable] | None) -> list[Variable]:
    """Return what to update: the variables given, or all trainable ones that the loss depends on.

    Raises
    ------
    ArgumentError
        If there is nothing to update, or something that is not a floating variable.
    """
    targets = list(trainable_variables(loss) if variables is None else variables)
    if not targets:
        raise ArgumentError(
            "minimize: nothing to update",
            expected="a loss that depends on a trainable variable",
            given=repr(loss),
            where=caller(),
        )
    _require_variables(targets)
    return targets


def trainable_variables(loss: Tensor) -> list[Variable]:
    """Return the trainable variables that `loss` depends on differentiably, in graph order."""
    order: list[Variable] = []
    seen: set[Node] = set()
    stack = [loss.node]
    while stack:
        node = stack.pop()
        if node in seen or not has_float(node.type):
            continue
        seen.add(node)
        if node.op.name == "variable" and node.payload.trainable:
            order.append(Variable.of(node))
        stack.extend(reversed(node.inputs[: _CARRIES.get(node.op.name, len(node.inputs))]))
    return order


# How many operands of an op, from the first, pass a cotangent on; all of them elsewhere.
_CARRIES = {"stop_gradient": 0, "with_update": 1}


def _limit(name: str, value: float | None) -> float | None:
    return None if value is None else checked_limit(f"optimizer: bad {name}", value)


def _rate_at(rate: Rate, finished: Tensor) -> float | Tensor:
    return rate if isinstance(rate, (int, float, Tensor)) else rate(finished)


def _checked_rate(rate: Rate) -> Rate:
    if isinstance(rate, Tensor):
        if rate.shape == () and is_float(rate.dtype):
            return rate
        raise ArgumentError(
            "optimizer: bad learning rate", expected="a floating scalar", given=repr(rate), where=caller()
        )
    return rate if callable(rate) else at_least_zero("optimizer", "learning rate", rate)


def _require_variables(targets: Sequence[Any]) -> None:
    for target in targets:
        if not isinstance(target, Variable) or not is_float(target.dtype):
            raise ArgumentError(
                "optimizer: cannot update this",
                expected="a floating variable",
                given=repr(target),
                where=caller(),
            )
    if len(set(targets)) < len(targets):
        raise ArgumentError("optimizer: a variable is listed twice", where=caller())


def _require_types(gradients: Mapping[Variable, Tensor]) -> None:
    for target, gradient in gradients.items():
        if gradient.type != target.type:
            raise ArgumentError(
                f"optimizer: gradient of variable {target.name!r} has another type",
                expected=str(target.type),
                given=str(gradient.type),
                where=caller(),
            )
