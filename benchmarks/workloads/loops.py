"""Loops: a recurrence of three operations, and a differential equation with its gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.vocabulary import Tensor, Values, Vocabulary
from benchmarks.workload import Forward, Gradient, Spec, Workload, normal, uniform

__all__ = [
    "WORKLOADS",
    "Iteration",
    "Step",
    "equation",
    "logistic",
    "recurrence",
    "repeated_layer",
    "squashed",
]

Step = Callable[[Vocabulary, Values, Tensor], Tensor]
STEPS = 1000
# Of time, in the differential equation.
STEP = 0.01


@dataclass(frozen=True)
class Iteration:
    """A body: one step again and again, from the input ``x``.

    Attributes
    ----------
    step : callable
        Computes the next state with a vocabulary from the values and a state.
    count : int
        How many steps.
    every : int or None
        Before how many steps a gradient keeps the state; None if it keeps whatever it needs.
    """

    step: Step
    count: int
    every: int | None = None

    def __call__(self, f: Vocabulary, v: Values) -> Tensor:
        """Return the last state."""
        return f.iterate(lambda state: self.step(f, v, state), v["x"], self.count, self.every)


# ------------------------------------------------------------------ recurrences
def logistic(f: Vocabulary, v: Values, x: Tensor) -> Tensor:
    """Take a step of the logistic map: three cheap operations."""
    return v["r"] * x * (1 - x)


def squashed(f: Vocabulary, v: Values, x: Tensor) -> Tensor:
    """Take a step of the smallest of recurrent networks."""
    return f.tanh(v["a"] * x + v["b"])


# Where the maps settle: what rounding adds in a step is less in the next.
_DRAWS = {"x": uniform(0.2, 0.8), "r": uniform(3.1, 3.4), "a": uniform(0.5, 0.9), "b": uniform(0.1, 0.5)}


def recurrence(title: str, step: Step, names: str, shape: tuple[int, ...], count: int) -> Workload:
    """Return the steps of a map of every element."""
    inputs = {name: Spec(shape, _DRAWS[name]) for name in names}
    return Workload(f"{title}, {count:,} steps", Iteration(step, count), inputs, {}, Forward())


def _layer(f: Vocabulary, v: Values, x: Tensor) -> Tensor:
    return f.tanh(f.dense(x, v["weight"], v["bias"]))


def repeated_layer(width: int, count: int) -> Workload:
    """Return the gradient of a layer that is applied to its own result again and again."""
    weights = {"weight": Spec((width, width), normal(width**-0.5), "dense"), "bias": Spec((width,), normal())}
    inputs = {name: Spec((1, width)) for name in ("x", "cotangent")}
    task = Gradient(("weight", "bias"))
    return Workload(f"layer of {width}, {count:,} times", Iteration(_layer, count), inputs, weights, task)


# --------------------------------------------------------- differential equation
def _runge_kutta(f: Vocabulary, v: Values, y: Tensor) -> Tensor:
    """Take a step of the classical method of fourth order along ``y' = tanh(y A + b) - y``."""

    def slope(y: Tensor) -> Tensor:
        return f.tanh(f.matmul(y, v["matrix"]) + v["shift"]) - y

    first = slope(y)
    second = slope(y + (0.5 * STEP) * first)
    third = slope(y + (0.5 * STEP) * second)
    fourth = slope(y + STEP * third)
    return y + (STEP / 6) * (first + 2.0 * (second + third) + fourth)


def equation(batch: int, width: int, count: int, every: Mapping[str, int | None]) -> dict[str, Workload]:
    """Return the gradient of where trajectories end with respect to the equation's parameters.

    Parameters
    ----------
    batch, width : int
        How many trajectories, of how many dimensions.
    count : int
        Steps in time.
    every : mapping of str to int or None
        Names, and before how many steps the gradient keeps the state.
    """
    weights = {"matrix": Spec((width, width), normal(width**-0.5)), "shift": Spec((width,), normal(0.1))}
    inputs = {name: Spec((batch, width)) for name in ("x", "cotangent")}
    task, title = Gradient(("matrix", "shift")), f"ODE of {width} dimensions, batch {batch}, {count:,} steps"
    return {
        name: Workload(f"{title}, {_kept(k)}", Iteration(_runge_kutta, count, k), inputs, weights, task)
        for name, k in every.items()
    }


def _kept(every: int | None) -> str:
    if every is None:
        return "everything kept"
    return "states kept" if every == 1 else f"one state in {every} kept"


WORKLOADS = {
    "logistic": recurrence("logistic map of a scalar", logistic, "xr", (), STEPS),
    "logistic_array": recurrence("logistic map of one element", logistic, "xr", (1,), STEPS),
    "squashed": recurrence("tanh(a x + b) of a scalar", squashed, "xab", (), STEPS),
    "squashed_array": recurrence("tanh(a x + b) of one element", squashed, "xab", (1,), STEPS),
    **equation(32, 64, STEPS, {"ode": None, "ode_states": 1, "ode_every_32": 32}),
}
