"""The line search, on functions that are hard for one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gx
from graphc.optim.line_search import Wolfe, line_search
from graphc.optim.objective import Objective
from graphc.tensor import Tensor

F = "float64"
DECREASE, CURVATURE = 1e-3, 0.1


def _yanai(a: Tensor) -> Tensor:
    """The sixth function of Moré and Thuente, with curvature of very different size at its ends."""
    b1, b2 = 0.01, 0.001
    g1, g2 = (1 + b1**2) ** 0.5 - b1, (1 + b2**2) ** 0.5 - b2
    return g1 * gx.sqrt((1 - a) ** 2 + b2**2) + g2 * gx.sqrt(a**2 + b1**2)


# After Moré and Thuente, "Line search algorithms with guaranteed sufficient decrease" (1994).
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "rational": lambda a: -a / (a * a + 2),
    "quintic": lambda a: (a + 0.004) ** 5 - 2 * (a + 0.004) ** 4,
    "yanai": _yanai,
    "oscillating": lambda a: (a - 3) ** 2 + gx.sin(20 * a) / 5 - a,
    "barrier": lambda a: a - gx.log(a + 0.01) + gx.sqrt(1.5 - a),
    "overflowing": lambda a: gx.exp(50 * a) - 1e3 * a,
}


def _search(fn: Callable[[Tensor], Tensor], curvature: float | None, trials: int = 40) -> gx.Program:
    """Compile a search from zero up; returns the step, trials, and value and slope at both ends."""
    start, first = gx.placeholder("start", (1,), F), gx.placeholder("first", (), F)
    objective = Objective.of_function("test", lambda x: fn(x[0]), [start], lambda t: t[0], start.node.where)
    value, gradient = objective.at(start)
    conditions = Wolfe(DECREASE, curvature, trials)
    found = line_search(objective, start, value, gradient, gx.ones((1,), F), first, conditions)
    outputs = [found.step, found.trials, found.value, found.gradient, value, gradient]
    program = gx.compile([start, first], outputs)
    return lambda x, t: [np.asarray(r).item() for r in program(np.array([x]), np.asarray(t))]


@pytest.mark.parametrize("curvature", [CURVATURE, None], ids=["strong_wolfe", "backtracking"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_search_ends_where_the_conditions_hold(name: str, curvature: float | None) -> None:
    search = _search(FUNCTIONS[name], curvature)
    for first in 10.0 ** np.arange(-3, 4):
        step, trials, value, slope, before, down = search(0.0, first)
        assert step > 0
        assert trials <= 25
        assert value <= before + DECREASE * step * down
        if curvature is not None:
            assert abs(slope) <= curvature * abs(down)


def test_a_step_to_where_nothing_is_finite_is_halved() -> None:
    """At 4 and 2 the logarithm is not a number, and at 1 it is minus infinity."""
    search = _search(lambda a: gx.log(1 - a), None)
    step, trials, *_ = search(0.0, 4.0)
    assert (step, trials) == (0.5, 4)


def test_a_function_without_bound_ends_the_search_at_its_lowest_point() -> None:
    step, trials, value, *_ = _search(lambda a: -a, CURVATURE, trials=7)(0.0, 1.0)
    assert trials == 7
    assert value == -step
    assert step > 2.0**5


@pytest.mark.parametrize("fn", [lambda a: a * a, lambda a: gx.sqrt(-a * a - 1) - a])
def test_where_nothing_is_lower_there_is_no_step(fn: Callable[[Tensor], Tensor]) -> None:
    step, trials, value, _, before, _ = _search(fn, CURVATURE, trials=9)(1.0, 1.0)
    assert (step, trials) == (0.0, 9)
    assert value == before or np.isnan(before)


def test_where_values_are_noise_the_slope_decides() -> None:
    """Values that rise by a few units in the last place count as level."""
    start = 1 - 1e-5

    def noisy(a: Tensor) -> Tensor:
        return (a - 1) ** 2 + 1e9 + gx.stop_gradient(a - start) * 0.05

    step, trials, value, slope, before, down = _search(noisy, CURVATURE)(start, 1e-6)
    assert value > before
    assert trials < 10
    assert abs(slope) <= CURVATURE * abs(down)
    np.testing.assert_allclose(step, 1e-5, rtol=0.2)
