"""Optimizers that run to a minimum in one call, on problems whose minima are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.errors import ArgumentError, GradientError, GraphcError, GraphError, ShapeError
from graphc.optim.descent import Descent
from graphc.optim.methods import LBFGS
from graphc.optim.objective import Objective
from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]
F = "float64"
METHODS: dict[str, Callable[..., gx.optim.FullBatchOptimizer]] = {
    "lbfgs": gx.optim.LBFGS,
    "conjugate_gradient": gx.optim.ConjugateGradient,
    "newton_cg": gx.optim.NewtonCG,
}
methods = pytest.mark.parametrize("method", METHODS)


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


class Regression:
    """Logistic regression with a weight, a bias, and batches of any size."""

    def __init__(self, dtype: str = F) -> None:
        rng = np.random.default_rng(0)
        self.features = rng.normal(size=(60, 4)).astype(dtype)
        score = self.features @ np.array([1.0, -2.0, 0.5, 0.0]) + 0.3 + rng.normal(size=60)
        self.labels = (score > 0).astype(dtype)
        self.x, self.y = gx.placeholder("x", ("n", 4), dtype), gx.placeholder("y", ("n",), dtype)
        self.w = gx.variable(np.zeros((4, 1), dtype), name="w")
        self.b = gx.variable(np.zeros((), dtype), name="b")
        z = (self.x @ self.w)[:, 0] + self.b
        self.loss = (gx.softplus(z) - self.y * z).mean() + 0.01 * (self.w * self.w).sum()

    def compile(self, optimizer: gx.optim.FullBatchOptimizer, **options: Any) -> gx.Program:
        updates = optimizer.minimize(self.loss)
        return gx.compile([self.x, self.y], updates.minimum, updates, **options)

    def best(self, rows: int) -> Array:
        """Newton's method in NumPy."""
        x = np.c_[self.features[:rows], np.ones(rows)].astype(F)
        ridge = 0.02 * np.diag([1.0] * 4 + [0.0])
        theta = np.zeros(5)
        for _ in range(20):
            p = 1 / (1 + np.exp(-x @ theta))
            gradient = x.T @ (p - self.labels[:rows]) / rows + ridge @ theta
            theta -= np.linalg.solve((x.T * (p * (1 - p))) @ x / rows + ridge, gradient)
        return theta

    def found(self) -> Array:
        return np.append(self.w.value[:, 0], self.b.value)


# --------------------------------------------------------------------- minima
@methods
@pytest.mark.parametrize("dtype", ["float32", F])
def test_logistic_regression(method: str, dtype: str) -> None:
    """One compiled program for every number of rows; variables of different shapes."""
    net = Regression(dtype)
    program = net.compile(METHODS[method](tolerance=1e-4 if dtype == "float32" else 1e-9))
    for rows in (60, 40):
        minimum = program(net.features[:rows], net.labels[:rows])
        assert minimum.converged
        assert 0 < minimum.iterations <= minimum.evaluations < 60
        np.testing.assert_allclose(net.found(), net.best(rows), atol=5e-3 if dtype == "float32" else 1e-7)
        assert minimum.value == pytest.approx(
            float(gx.evaluate(net.loss, {net.x: net.features[:rows], net.y: net.labels[:rows]})), rel=1e-5
        )


@methods
@pytest.mark.parametrize("size", [2, 10])
def test_rosenbrock(method: str, size: int) -> None:
    start = np.where(np.arange(size) % 2, 1.0, -1.2)
    found = gx.optim.minimize(rosenbrock, start, method, tolerance=1e-7, max_iterations=400)
    minimum = gx.compile([], found)()
    assert minimum.converged
    np.testing.assert_allclose(minimum.x, np.ones(size), atol=1e-6)
    # What other implementations of these methods need.
    assert minimum.iterations < {2: 85, 10: 270}[size]


@pytest.mark.parametrize("method", ["lbfgs", "newton_cg"])
def test_backtracking(method: str) -> None:
    found = gx.optim.minimize(rosenbrock, np.array([-1.2, 1.0]), method, line_search="backtracking")
    x, converged = gx.evaluate([found.x, found.converged])
    assert converged
    np.testing.assert_allclose(x, np.ones(2), atol=1e-4)


@methods
def test_quadratic(method: str) -> None:
    rng = np.random.default_rng(1)
    m = rng.normal(size=(6, 6))
    a, b = m @ m.T + np.eye(6), rng.normal(size=6)
    x0 = gx.placeholder("x0", (6,), F)
    found = gx.optim.minimize(lambda x: (x * (a @ x)).sum() / 2 - (b * x).sum(), x0, method, tolerance=1e-9)
    program = gx.compile(x0, found)
    minimum = program(np.zeros(6))
    np.testing.assert_allclose(minimum.x, np.linalg.solve(a, b), rtol=1e-7)
    assert minimum.iterations <= {"newton_cg": 8, "lbfgs": 20, "conjugate_gradient": 20}[method]
    again = program(minimum.x)
    assert again.converged
    assert (again.iterations, again.evaluations) == (0, 1)
    np.testing.assert_array_equal(again.x, minimum.x)


@methods
def test_compiled_is_interpreted(method: str) -> None:
    start = np.array([-1.2, 1.0, 0.3])
    found = gx.optim.minimize(rosenbrock, start, method, max_iterations=12)
    want = gx.evaluate(found)
    for level in ("none", "full"):
        for a, b in zip(gx.compile([], found, optimize=level)(), want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


def test_structures_and_data_of_any_size() -> None:
    t = gx.placeholder("t", ("n",), F)
    found = gx.optim.minimize(
        lambda p: ((p["a"] - t) ** 2).sum() + ((p["b"][0] * t.sum() - 1) ** 2 + p["b"][0] ** 2).sum(),
        {"a": gx.zeros_like(t), "b": [np.zeros((2, 1))]},
        tolerance=1e-9,
    )
    program = gx.compile(t, found.x)
    for n in (1, 5):
        values = np.arange(1.0, n + 1)
        x = program(values)
        np.testing.assert_allclose(x["a"], values, atol=1e-8)
        share = values.sum() / (values.sum() ** 2 + 1)
        np.testing.assert_allclose(x["b"][0], [[share], [share]], atol=1e-8)


def test_negative_curvature_leads_down() -> None:
    """A saddle and a hump: Newton's own steps would lead to them."""

    def saddle(x: Tensor) -> Tensor:
        return x[0] ** 2 - x[1] ** 2 + x[1] ** 4

    found = gx.optim.minimize(saddle, np.array([0.5, 0.01]), "newton_cg", tolerance=1e-8)
    x, converged = gx.evaluate([found.x, found.converged])
    assert converged
    np.testing.assert_allclose(x, [0.0, 0.5**0.5], atol=1e-7)


# ------------------------------------------------------------------ robustness
@methods
def test_steps_to_where_the_loss_is_not_finite_are_halved(method: str) -> None:
    """From here, the first trial of each method lies where the logarithm does not exist."""
    found = gx.optim.minimize(lambda x: (x - 3 * gx.log(2.5 - x) - gx.log(x)).sum(), np.array([2.4]), method)
    x, converged = gx.compile([], [found.x, found.converged])()
    assert converged
    slope = 1 + 3 / (2.5 - x) - 1 / x
    np.testing.assert_allclose(slope, 0.0, atol=1e-4)


@methods
@pytest.mark.parametrize(
    ("fn", "start"),
    [
        (lambda x: gx.log(x).sum(), -1.0),  # not a number at the start
        (lambda x: (1 / x).sum(), 0.0),  # infinite there
        (lambda x: -x.sum(), 1.0),  # without bound
        (lambda x: gx.abs(x).sum(), 1e-300),  # with a kink at its minimum
    ],
)
def test_hopeless_searches_end(method: str, fn: Callable[[Tensor], Tensor], start: float) -> None:
    minimum = gx.evaluate(gx.optim.minimize(fn, np.full(2, start), method, max_iterations=20))
    assert not minimum.converged
    assert minimum.iterations <= 20
    first = gx.evaluate(fn(gx.constant(np.full(2, start))))
    assert not minimum.value > first
    assert minimum.evaluations == 1 or np.isfinite(first)


@methods
def test_a_flat_function_is_at_its_minimum(method: str) -> None:
    found = gx.optim.minimize(lambda x: (x * 0.0).sum() + 3.0, np.ones(2), method)
    minimum = gx.compile([], found)()
    assert minimum.converged
    assert (minimum.iterations, minimum.value) == (0, 3.0)


def test_a_memory_that_is_not_finite_is_forgotten() -> None:
    net = Regression()
    optimizer = gx.optim.LBFGS(tolerance=1e-9)
    program = net.compile(optimizer)
    for slot in optimizer.variables:
        slot.value = np.full(slot.value.shape, np.nan)
    minimum = program(net.features, net.labels)
    assert minimum.converged
    assert minimum.iterations < 16
    np.testing.assert_allclose(net.found(), net.best(60), atol=1e-7)
    assert all(np.isfinite(slot.value).all() for slot in optimizer.variables)


# ----------------------------------------------------------------------- state
@methods
def test_calls_continue_one_another(method: str, tmp_path: Path) -> None:
    """Two calls of three steps, the state saved by one optimizer and restored by another, are one of six."""
    once, net = Regression(), Regression()
    minimum = once.compile(METHODS[method](max_iterations=6, tolerance=1e-12))(once.features, once.labels)
    assert minimum.iterations == 6
    first, second = (METHODS[method](max_iterations=3, tolerance=1e-12) for _ in range(2))
    net.compile(first)(net.features, net.labels)
    assert np.abs(net.found() - once.found()).max() > 1e-9
    gx.save_variables(tmp_path / "state.safetensors", first)
    program = net.compile(second)
    gx.load_variables(tmp_path / "state.safetensors", second)
    program(net.features, net.labels)
    np.testing.assert_allclose(net.found(), once.found(), rtol=1e-12)


def test_the_state_is_named_by_the_order_of_minimize() -> None:
    optimizer = gx.optim.LBFGS(history=3)
    w, v = gx.variable(np.ones(2), name="w"), gx.variable(np.ones((2, 2)), name="v")
    optimizer.minimize((w * w).sum())
    optimizer.minimize((w * w).sum() + (v * v).sum())
    optimizer.minimize((w * w).sum() * 2)
    shapes = {name: slot.value.shape for name, slot in optimizer.named_variables().items()}
    assert shapes == {
        "0.steps": (3, 2),
        "0.changes": (3, 2),
        "0.scales": (3,),
        "1.steps": (3, 6),
        "1.changes": (3, 6),
        "1.scales": (3,),
    }
    assert not any(slot.trainable for slot in optimizer.variables)


def test_only_the_variables_asked_for_move() -> None:
    net = Regression()
    updates = gx.optim.NewtonCG().minimize(net.loss, [net.b])
    gx.compile([net.x, net.y], updates=updates)(net.features, net.labels)
    assert not net.w.value.any()
    np.testing.assert_allclose(1 / (1 + np.exp(-net.b.value)), net.labels.mean(), rtol=1e-4)


def test_random_draws_stay_the_same_throughout_a_call() -> None:
    w = gx.variable(np.zeros(200), name="w")
    generator = gx.random.Generator(3)
    noise = generator.normal((200,), dtype=F)
    updates = gx.optim.LBFGS(tolerance=1e-9).minimize(((w - noise) ** 2).sum())
    program = gx.compile([], [updates.minimum, noise], updates)
    minimum, drawn = program()
    assert minimum.converged
    np.testing.assert_allclose(w.value, drawn, atol=1e-8)
    assert not np.allclose(program()[1], drawn)


def test_the_number_of_steps_does_not_change_the_program() -> None:
    kernels = {len(Regression().compile(gx.optim.LBFGS(max_iterations=n)).kernels) for n in (1, 50)}
    assert len(kernels) == 1


# --------------------------------------------------------------------- methods
def test_the_recursion_is_that_of_the_bfgs_formula() -> None:
    """Nocedal and Wright, (6.17), from a multiple of the identity."""
    rng = np.random.default_rng(2)
    steps = rng.normal(size=(3, 5))
    hessian = np.diag([1.0, 2.0, 3.0, 4.0, 5.0])
    changes = steps @ hessian
    products = (steps * changes).sum(1)
    scaled = np.eye(5) * products[-1] / (changes[-1] @ changes[-1])
    for s, y, p in zip(steps, changes, products, strict=True):
        left = np.eye(5) - np.outer(s, y) / p
        scaled = left @ scaled @ left.T + np.outer(s, s) / p
    gradient = rng.normal(size=5)
    # A history of four, of which one place is empty.
    memory = {
        "steps": gx.constant(np.r_[np.zeros((1, 5)), steps]),
        "changes": gx.constant(np.r_[np.zeros((1, 5)), changes]),
        "scales": gx.constant(np.r_[0.0, 1 / products]),
    }
    zero, no = gx.constant(0), gx.constant(False)
    at = Descent(
        gx.constant(np.zeros(5)), gx.constant(0.0), gx.constant(gradient), memory, no, no, zero, zero
    )
    x = gx.placeholder("x", (5,), F)
    objective = Objective.of_function("test", lambda t: (t * t).sum(), [x], lambda t: t[0], x.node.where)
    found = gx.evaluate(LBFGS(4).direction(objective, at))
    np.testing.assert_allclose(found.vector, -scaled @ gradient, rtol=1e-12)
    assert found.first == 1.0


# ------------------------------------------------------------------- gradients
@methods
def test_minima_have_gradients(method: str) -> None:
    """By the implicit function theorem, of second order too, and whatever the way to the minimum."""
    t, s = gx.placeholder("t", (3,), F), gx.placeholder("s", (), F)

    def fn(x: Tensor) -> Tensor:
        return gx.exp(x - t).sum() - x.sum() + s * (x**4).sum() + gx.sin(x[0] * s) * 0.1

    found = gx.optim.minimize(fn, np.zeros(3), method, tolerance=1e-11)
    feeds = {t: np.array([0.3, -0.4, 0.8]), s: np.asarray(0.3)}
    loss = (found.x * found.x * np.array([1.0, 2.0, 3.0])).sum() * found.value
    gx.check_gradients(loss, [t, s], feeds)
    first = gx.grad(loss, [t, s])
    gx.check_gradients((first[0] * first[0]).sum() + first[1] ** 3, [t, s], feeds)


def test_minima_of_many_problems_at_once() -> None:
    goals = gx.placeholder("goals", ("n", 2), F)

    def solve(goal: Tensor) -> Tensor:
        x: Tensor = gx.optim.minimize(lambda x: gx.exp(x - goal).sum() - x.sum(), np.zeros(2)).x
        return x

    values = np.array([[0.0, 0.5], [1.0, -1.0], [-0.5, 0.2]])
    found = gx.vectorize(solve)(goals)
    np.testing.assert_allclose(gx.compile(goals, found)(values), values, atol=1e-5)


# -------------------------------------------------------------- linear systems
class System:
    """A symmetric matrix made of a placeholder, and a right-hand side."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.m, self.b = gx.placeholder("m", (5, 5), F), gx.placeholder("b", (5,), F)
        self.a = self.m @ self.m.T + gx.eye(5, dtype=F)
        self.arrays = rng.normal(size=(5, 5)), rng.normal(size=5)
        self.feeds = {self.m: self.arrays[0], self.b: self.arrays[1]}
        self.matrix = self.arrays[0] @ self.arrays[0].T + np.eye(5)

    def solve(self, b: Tensor, **options: Any) -> gx.optim.Solution:
        return gx.optim.conjugate_gradient(lambda v: self.a @ v, b, **{"tol": 1e-13, **options})


def test_a_linear_system_needs_one_step_per_unknown() -> None:
    system = System()
    found = gx.compile([system.m, system.b], system.solve(system.b))(*system.arrays)
    np.testing.assert_allclose(found.x, np.linalg.solve(system.matrix, system.arrays[1]), rtol=1e-9)
    assert found.converged
    assert found.iterations == 5
    residual = np.linalg.norm(system.arrays[1] - system.matrix @ found.x)
    assert found.residual_norm == pytest.approx(residual, abs=1e-13)


def test_starts_limits_and_preconditioners_of_linear_systems() -> None:
    system = System()
    b, want = system.b, np.linalg.solve(system.matrix, system.arrays[1])
    inverse = np.linalg.inv(system.matrix)
    solved, exact, short, loose, zero = (
        system.solve(b, x0=want, tol=1e-9),
        system.solve(b, preconditioner=lambda v: inverse @ v),
        system.solve(b, max_steps=2),
        system.solve(b, tol=0.0, atol=0.1),
        system.solve(b * 0),
    )
    program = gx.compile([system.m, b], [solved, exact, short, loose, zero])
    solved, exact, short, loose, zero = program(*system.arrays)
    assert (solved.iterations, bool(solved.converged)) == (0, True)
    assert exact.converged
    assert exact.iterations <= 2
    assert (short.iterations, bool(short.converged)) == (2, False)
    assert loose.converged
    assert 1e-9 < loose.residual_norm <= 0.1
    assert (zero.iterations, bool(zero.converged)) == (0, True)
    assert not zero.x.any()


def test_a_matrix_that_is_not_positive_definite_does_not_converge() -> None:
    found = gx.evaluate(
        gx.optim.conjugate_gradient(lambda v: v * np.array([1.0, -1.0]), np.array([1.0, 2.0]))
    )
    assert not found.converged
    assert np.isfinite(found.x).all()


def test_linear_systems_over_structures_and_dtypes() -> None:
    b = {"p": np.ones((2, 2), "float32"), "q": np.float32(6.0)}
    found = gx.optim.conjugate_gradient(lambda v: {"p": 2 * v["p"], "q": 3 * v["q"]}, b)
    x = gx.evaluate(found.x)
    np.testing.assert_allclose(x["p"], np.full((2, 2), 0.5), rtol=1e-5)
    assert x["q"] == pytest.approx(2.0)
    assert x["q"].dtype == "float32"


def test_solutions_have_gradients() -> None:
    system = System()
    x = system.solve(system.b).x
    loss = (x * gx.sin(x)).sum()
    gx.check_gradients(loss, [system.m, system.b], system.feeds)
    first = gx.grad(loss, [system.m, system.b])
    second = (first[0] ** 2).sum() + gx.sin(first[1]).sum()
    gx.check_gradients(second, [system.m, system.b], system.feeds)
    along = gx.evaluate(gx.jvp(x, system.b, np.ones(5)), system.feeds)
    np.testing.assert_allclose(along, np.linalg.solve(system.matrix, np.ones(5)), rtol=1e-9)


def test_solutions_in_loops_and_of_many_rows_have_gradients() -> None:
    system = System()
    b = system.b
    c, _ = gx.scan(lambda c, _: (gx.sin(system.solve(c).x) + b, None), b, None, 3)
    rows = gx.vectorize(lambda r: system.solve(r).x)(gx.stack([b, b * b]))
    for loss in ((c * c).sum(), (rows * rows).sum()):
        gx.check_gradients(loss, [system.m, b], system.feeds)


# -------------------------------------------------------------------- mistakes
def _normed() -> Tensor:
    w = gx.variable(np.ones(3), name="w")
    mean = gx.variable(0.0, name="mean")
    return gx.with_update((w * w).sum(), mean, w.sum())


def _mixed() -> Tensor:
    return (gx.variable(1.0, name="a") * gx.variable(np.float32(1.0), name="b")).sum()


MISTAKES: list[tuple[Callable[[], Any], type[GraphcError], str]] = [
    (lambda: gx.optim.LBFGS(0), ArgumentError, "LBFGS: bad history"),
    (lambda: gx.optim.LBFGS(line_search="exact"), ArgumentError, "LBFGS: no such line search"),
    (lambda: gx.optim.NewtonCG(products=-1), ArgumentError, "NewtonCG: bad products"),
    (lambda: gx.optim.NewtonCG(tolerance=-1.0), ArgumentError, "NewtonCG: bad tolerance"),
    (lambda: gx.optim.ConjugateGradient(max_iterations=True), ArgumentError, "bad max_iterations"),
    (lambda: gx.optim.LBFGS().minimize(gx.constant(1.0)), ArgumentError, "nothing to update"),
    (lambda: gx.optim.LBFGS().minimize(gx.variable(np.ones(2)) * 2), GradientError, "LBFGS: the loss"),
    (lambda: gx.optim.LBFGS().minimize(_mixed()), ArgumentError, "LBFGS: the values are not of one"),
    (lambda: gx.optim.LBFGS().minimize(_normed()), GraphError, "LBFGS: the body updates variable 'mean'"),
    (lambda: gx.optim.minimize(rosenbrock, np.ones(2), "newton"), ArgumentError, "no such method"),
    (lambda: gx.optim.minimize(rosenbrock, [1, 2]), ArgumentError, "not of one floating dtype"),
    (lambda: gx.optim.minimize(lambda x: x * 2, np.ones(2)), GradientError, "minimize: the value"),
    (lambda: gx.optim.minimize(3.0, np.ones(2)), ArgumentError, "minimize: fn is no function"),
    (
        lambda: gx.optim.conjugate_gradient(lambda v: v[:1], np.ones(2)),
        ShapeError,
        "the result of matvec does not fit",
    ),
    (
        lambda: gx.optim.conjugate_gradient(lambda v: v, np.ones(2), np.ones(3)),
        ShapeError,
        "x0 does not fit",
    ),
    (lambda: gx.optim.conjugate_gradient(None, np.ones(2)), ArgumentError, "matvec is no function"),
    (
        lambda: gx.optim.conjugate_gradient(lambda v: v, np.ones(2), tol=-1),
        ArgumentError,
        "conjugate_gradient: bad tol",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), MISTAKES)
def test_mistakes(make: Callable[[], Any], error: type[GraphcError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        make()
    assert "test_full_batch.py" in str(caught.value)
