"""The optimizers: one class each, its formula in `step_for`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphc.leaves import Variable
from graphc.ops import sqrt
from graphc.optim.limits import at_least_zero, fraction
from graphc.optim.optimizer import Optimizer, Rate, Step
from graphc.tensor import Tensor

__all__ = ["SGD", "AdaGrad", "Adam", "AdamW", "Momentum", "Nesterov", "RMSProp"]

Slots = Mapping[str, Variable]
Result = tuple[Tensor, dict[str, Tensor]]


def _sqrt(x: Tensor) -> Tensor:
    return sqrt(x)


class SGD(Optimizer):
    """Gradient descent: ``w - rate * g``.

    Parameters
    ----------
    learning_rate : float, Tensor or schedule
        Step size.
    **options
        `weight_decay`, `clip_value`, `clip_norm`, `clip_global_norm`, as in `Optimizer`.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> w = gx.variable(np.array([1.0, -2.0]), name="w")
    >>> gx.evaluate(gx.optim.SGD(0.5).minimize((w * w).sum())[w])
    array([0., 0.])
    """

    def step_for(self, variable: Variable, gradient: Tensor, slots: Slots, step: Step) -> Result:
        """Return the new value."""
        return variable - step.rate_in(variable.dtype) * gradient, {}


class Momentum(Optimizer):
    """Gradient descent with momentum: ``v = momentum * v + g; w - rate * v``.

    After Polyak, "Some methods of speeding up the convergence of iteration methods" (1964).

    Parameters
    ----------
    learning_rate : float, Tensor or schedule
        Step size.
    momentum : float, default 0.9
        Share of the velocity that is kept, in [0, 1).
    **options
        As in `Optimizer`.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> w = gx.variable(np.array([1.0]), name="w")
    >>> gx.evaluate(gx.optim.Momentum(0.25).minimize((w * w).sum())[w])
    array([0.5])
    """

    slots = ("velocity",)

    def __init__(self, learning_rate: Rate, momentum: float = 0.9, **options: Any) -> None:
        super().__init__(learning_rate, **options)
        self.momentum = fraction("optimizer", "momentum", momentum)

    def step_for(self, variable: Variable, gradient: Tensor, slots: Slots, step: Step) -> Result:
        """Return the new value and velocity."""
        velocity = self.momentum * slots["velocity"] + gradient
        return variable - step.rate_in(variable.dtype) * velocity, {"velocity": velocity}


class Nesterov(Momentum):
    """Accelerated gradient: ``v = momentum * v + g; w - rate * (g + momentum * v)``.

    After Nesterov (1983), in the form of Sutskever, Martens, Dahl and Hinton (ICML 2013).

    Parameters
    ----------
    learning_rate : float, Tensor or schedule
        Step size.
    momentum : float, default 0.9
        Share of the velocity that is kept, in [0, 1).
    **options
        As in `Optimizer`.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> w = gx.variable(np.array([1.0]), name="w")
    >>> gx.evaluate(gx.optim.Nesterov(0.25, momentum=0.5).minimize((w * w).sum())[w])
    array([0.25])
    """

    def step_for(self, variable: Variable, gradient: Tensor, slots: Slots, step: Step) -> Result:
        """Return the new value and velocity."""
        velocity = self.momentum * slots["velocity"] + gradient
        ahead = gradient + self.momentum * velocity
        return variable - step.rate_in(variable.dtype) * ahead, {"velocity": velocity}


class AdaGrad(Optimizer):
    """Rates adapted to accumulated squares: ``s = s + g**2; w - rate * g / (sqrt(s) + eps)``.

    From Duchi, Hazan and Singer (JMLR 2011).

    Parameters
    ----------
    learning_rate : float, Tensor or schedule, default 0.01
        Step size.
    eps : float, default 1e-10
        Keeps the division finite.
    initial : float, default 0
        First value of the accumulator.
    **options
        As in `Optimizer`.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> w = gx.variable(np.array([1.0]), name="w")
    >>> gx.evaluate(gx.optim.AdaGrad(0.5).minimize((w * w).sum())[w]).round(6)
    array([0.5])
    """

    slots = ("squares",)

    def __init__(
        self, learning_rate: Rate = 0.01, eps: float = 1e-10, initial: float = 0.0, **options: Any
    ) -> None:
        super().__init__(learning_rate, **options)
        self.eps = at_least_zero("optimizer", "eps", eps)
        self.initial = at_least_zero("optimizer", "initial accumulator", initial)

    def initial_slot(self, name: str, target: Variable) -> np.ndarray[Any, Any]:
        """Return the accumulator's first value."""
        return np.full(target.storage.array.shape, self.initial, target.dtype)

    def step_for(self, variable: Variable, gradient: Tensor, slots: Slots, step: Step) -> Result:
        """Return the new value and sum of squares."""
        squares = slots["squares"] + gradient * gradient
        change = step.rate_in(variable.dtype) * gradient / (_sqrt(squares) + self.eps)
        return variable - change, {"squares": squares}


class RMSProp(Optimizer):
    """Rates adapted to a moving average of squares.

    ``s = decay * s + (1 - decay) * g**2; w - rate * g / (sqrt(s) + eps)``, from Hinton's
    lecture 6e (2012).

    Parameters
    ----------
    learning_rate : float, Tensor or schedule, default 0.01
        Step size.
    decay : float, default 0.99
        Share of the average that is kept, in [0, 1).
    eps : float, default 1e-8
        Keeps the division finite.
    **options
        As in `Optimizer`.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> w = gx.variable(np.array([1.0]), name="w")
    >>> gx.evaluate(gx.optim.RMSProp(0.1).minimize((w * w).sum())[w]).round(6)
    array([0.])
    """

    slots = ("squares",)

    def __init__(
        self, learning_rate: Rate = 0.01, decay: float = 0.99, eps: float = 1e-8, **options: Any
    ) -> None:
        super().__init__(learning_rate, **options)
        self.decay = fraction("optimizer", "decay", decay)
        self.eps = at_least_zero("optimizer", "eps", eps)

    def step_for(self, variable: Variable, gradient: Tensor, slots: Slots, step: Step) -> Result:
        """Return the new value and average of squares."""
        squares = self.decay * slots["squares"] + (1.0 - self.decay) * (gradient * gradient)
        change = step.rate_in(variable.dtype) * gradient / (_sqrt(squares) + self.eps)
        return variable - change, {"squares": squares}


class Adam(Optimizer):
    """Moving averages of gradient and square, corrected for their start at zero.

    Algorithm 1 of Kingma and Ba (ICLR 2015): ``w - rate * m_hat / (sqrt(v_hat) + eps)``.

    Parameters
    ----------
    learning_rate : float, Tensor or schedule, default 0.001
        Step size.
    beta1, beta2 : float
        Shares of the averages that are kept, in [0, 1).
    eps : float, default 1e-8
        Keeps the division finite.
    **options
        As in `Optimizer`.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> w = gx.variable(np.array([1.0]), name="w")
    >>> gx.evaluate(gx.optim.Adam(0.1).minimize((w * w).sum())[w]).round(6)
    array([0.9])
    """

    slots = ("m", "v")
    counts_steps = True

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta1 = fraction("optimizer", "beta1", beta1)
        self.beta2 = fraction("optimizer", "beta2", beta2)
        self.eps = at_least_zero("optimizer", "eps", eps)

    def step_for(self, variable: Variable, gradient: Tensor, slots: Slots, step: Step) -> Result:
        """Return the new value and averages."""
        m = self.beta1 * slots["m"] + (1.0 - self.beta1) * gradient
        v = self.beta2 * slots["v"] + (1.0 - self.beta2) * (gradient * gradient)
        # The corrections are scalars: folded into the rate and into one factor of the root.
        rate = step.scalar("rate/m", variable.dtype, lambda: step.rate / (1.0 - self.beta1**step.number))
        root = step.scalar("root/v", variable.dtype, lambda: _sqrt(1.0 - self.beta2**step.number))
        return variable - rate * m / (_sqrt(v) / root + self.eps), {"m": m, "v": v}


class AdamW(Adam):
    """Adam with decoupled weight decay: the variable shrinks by ``rate * weight_decay`` besides.

    From Loshchilov and Hutter (ICLR 2019).

    Parameters
    ----------
    learning_rate : float, Tensor or schedule, default 0.001
        Step size.
    beta1, beta2 : float
        Shares of the averages that are kept, in [0, 1).
    eps : float, default 1e-8
        Keeps the division finite.
    weight_decay : float, default 0.01
        Decay that does not pass through the averages.
    **options
        `clip_value`, `clip_norm`, `clip_global_norm`, as in `Optimizer`.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> w = gx.variable(np.array([1.0]), name="w")
    >>> gx.evaluate(gx.optim.AdamW(0.1, weight_decay=0.5).minimize((w * w).sum())[w]).round(6)
    array([0.85])
    """

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, eps, **options)
        self.decoupled_decay = at_least_zero("optimizer", "weight_decay", weight_decay)

    def step_for(self, variable: Variable, gradient: Tensor, slots: Slots, step: Step) -> Result:
        """Return the new value and averages."""
        moved, state = super().step_for(variable, gradient, slots, step)
        return moved - step.rate_in(variable.dtype) * self.decoupled_decay * variable, state
