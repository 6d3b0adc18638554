"""Jacobians and Hessians against single products, known matrices, and each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gx
from graphc.errors import ArgumentError, GradientError
from graphc.ir import topological
from graphc.lower.rules import Control
from graphc.tensor import Tensor

RNG = np.random.default_rng(11)


def _conv(x: Tensor) -> Tensor:
    kernel = gx.constant(RNG.normal(size=(2, 1, 3, 3)))
    return gx.max_pool2d(gx.conv2d(x.reshape((1, 1, 4, 4)), kernel, padding=1), 2)


def _scanned(x: Tensor) -> Tensor:
    return gx.scan(lambda c, v: (gx.sin(c * v), c * x[0]), x[1], x)[1]


FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "elementwise": (lambda x: gx.exp(x) * gx.sin(x), 3),
    "softmax": (lambda x: gx.softmax(x * x), 4),
    "product": (lambda x: x.reshape((2, 3)) @ x.reshape((3, 2)), 6),
    "indexing": (lambda x: gx.concat([x[::-1], x[1:3] * x[0]]), 4),
    "reductions": (lambda x: gx.stack([x.prod(), x.max(), gx.logsumexp(x)]), 5),
    "sorting": (lambda x: gx.cumulative_sum(gx.sort(x) * x), 4),
    "convolution": (_conv, 16),
    "scan": (_scanned, 3),
    "checkpoint": (lambda x: gx.checkpoint(lambda t: gx.tanh(gx.exp(t)))(x), 3),
    "constant": (lambda x: gx.constant([1.0, 2.0]), 3),
}


@pytest.mark.parametrize("fn", [f for f, _ in FUNCTIONS.values()], ids=FUNCTIONS.keys())
def test_both_modes_give_every_row(fn: Callable[[Tensor], Tensor], request: pytest.FixtureRequest) -> None:
    size = FUNCTIONS[request.node.callspec.id][1]
    x = gx.variable(RNG.uniform(0.2, 1.5, size), name="x")
    y = fn(x)
    n = int(np.prod(y.shape))
    rows = [gx.grad(y, x, np.eye(n)[k].reshape(y.shape)) for k in range(n)]
    wanted = np.array(gx.evaluate(rows)).reshape((*y.shape, size))
    for mode in ("reverse", "forward", "auto"):
        found = gx.jacobian(y, x, mode)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(gx.evaluate(found), wanted, rtol=1e-11, atol=1e-13, err_msg=mode)
        np.testing.assert_allclose(gx.compile([], found)(), wanted, rtol=1e-10, atol=1e-12, err_msg=mode)


def test_no_loop_is_made() -> None:
    x = gx.variable(RNG.normal(size=(3, 2)), name="x")
    y = gx.softmax(gx.tanh(x @ np.ones((2, 5))))
    for mode in ("reverse", "forward"):
        nodes = topological([gx.jacobian(y, x, mode).node])
        assert len(nodes) < 80
        assert not any(isinstance(n.op.lowering, Control) for n in nodes)


def test_auto_takes_the_shorter_side() -> None:
    w = gx.variable(np.ones((4, 3)), name="w")
    x = gx.placeholder("x", (2, 4), "float64")
    many, few = gx.tanh(x @ w), gx.tanh(x @ w).sum(axis=1)

    def size(t: Tensor) -> set[int]:
        return {n.type.shape[0] for n in topological([t.node]) if n.op.name == "eye"}

    assert size(gx.jacobian(many, w)) == {6} and size(gx.jacobian(few, w)) == {2}
    assert size(gx.jacobian(many, x)) == {6} and size(gx.jacobian(many, w, "forward")) == {12}
    assert size(gx.jacobian(many.sum(), w)) == set()


def test_structures_stand_within_structures() -> None:
    x, b = gx.variable(RNG.normal(size=(2, 3)), name="x"), gx.variable(0.5, name="b")
    found = gx.jacobian({"y": gx.sin(x) * b, "s": (x.sum() * b,)}, [x, b])
    assert list(found) == ["y", "s"] and isinstance(found["s"], tuple)
    assert [t.shape for t in found["y"]] == [(2, 3, 2, 3), (2, 3)]
    assert [t.shape for t in found["s"][0]] == [(2, 3), ()]
    value = gx.evaluate(found["y"][0])
    cosines = np.cos(x.value) * 0.5
    np.testing.assert_allclose(np.einsum("abab->ab", value), cosines)
    np.testing.assert_allclose(value.sum(axis=(2, 3)), cosines)


@pytest.mark.parametrize("n", [0, 1, 4])
@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_symbolic_sizes(n: int, mode: str) -> None:
    x, w = gx.placeholder("x", ("n", 2), "float64"), gx.variable(RNG.normal(size=2), name="w")
    point = RNG.normal(size=(n, 2))
    y = gx.tanh(x @ w)
    slope = 1 - np.tanh(point @ w.value) ** 2
    by_x, by_w = gx.compile(x, gx.jacobian(y, [x, w], mode))(point)
    np.testing.assert_allclose(by_w, slope[:, None] * point, rtol=1e-12)
    np.testing.assert_allclose(by_x, np.einsum("a,b,ac->acb", slope, w.value, np.eye(n)), rtol=1e-12)


# ---------------------------------------------------------------- hessians
def test_hessian_of_a_quadratic_form() -> None:
    a = RNG.normal(size=(4, 4))
    x = gx.variable(RNG.normal(size=4), name="x")
    np.testing.assert_allclose(gx.evaluate(gx.hessian(x @ a @ x, x)), a + a.T, rtol=1e-12)


def test_hessian_of_logistic_regression() -> None:
    x, y = gx.placeholder("x", ("n", 5), "float64"), gx.placeholder("y", ("n",), "float64")
    w, b = gx.variable(RNG.normal(size=5), name="w"), gx.variable(0.3, name="b")
    scores = x @ w + b
    loss = gx.nn.sigmoid_cross_entropy(scores, y).mean()
    points, labels = RNG.normal(size=(7, 5)), (RNG.normal(size=7) > 0).astype("f8")
    found = gx.compile([x, y], gx.hessian(loss, {"w": w, "b": b}))(points, labels)
    p = 1 / (1 + np.exp(-(points @ w.value + 0.3)))
    full = np.concatenate([points, np.ones((7, 1))], axis=1)
    wanted = full.T @ (full * (p * (1 - p))[:, None]) / 7
    np.testing.assert_allclose(found["w"]["w"], wanted[:5, :5], rtol=1e-10)
    np.testing.assert_allclose(found["w"]["b"], wanted[:5, 5], rtol=1e-10)
    np.testing.assert_allclose(found["b"]["w"], wanted[5, :5], rtol=1e-10)
    np.testing.assert_allclose(found["b"]["b"], wanted[5, 5], rtol=1e-10)


def test_third_derivatives_are_jacobians_of_hessians() -> None:
    x = gx.variable(RNG.normal(size=3), name="x")
    third = gx.evaluate(gx.jacobian(gx.hessian((x * x * x * x).sum(), x), x))
    wanted = np.zeros((3, 3, 3))
    wanted[range(3), range(3), range(3)] = 24 * x.value
    np.testing.assert_allclose(third, wanted, atol=1e-12)


def test_per_example_hessians() -> None:
    rows = gx.constant(RNG.normal(size=(6, 3)))
    found = gx.evaluate(gx.vectorize(lambda x: gx.hessian((x * x.sum()).prod(), x))(rows))
    wanted = []
    for row in gx.evaluate(rows):
        x = gx.variable(row, name="row")
        wanted.append(gx.evaluate(gx.hessian((x * x.sum()).prod(), x)))
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-11)


# ---------------------------------------------------------------- errors
def test_mistakes_name_the_function_that_was_called() -> None:
    x, n = gx.placeholder("x", (3,), "float64"), gx.variable(np.int64(3), name="n")
    mistakes = [
        (lambda: gx.jacobian(x, x, "sideways"), ArgumentError, "jacobian: no such mode"),
        (lambda: gx.jacobian(n, x), GradientError, "jacobian: cannot differentiate 'n'"),
        (lambda: gx.jacobian(x, n), GradientError, "jacobian: cannot differentiate with respect to 'n'"),
        (lambda: gx.hessian(x, x), GradientError, "hessian: the output 'x' is not a scalar"),
        (lambda: gx.hessian(x.sum(), [n]), GradientError, "hessian: cannot differentiate with respect to"),
    ]
    for call, error, message in mistakes:
        with pytest.raises(error, match=message) as caught:
            call()
        lines = str(caught.value).splitlines()
        assert len(lines) == 3 and __file__ in lines[2]
