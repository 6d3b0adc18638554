"""Products with Jacobians and Hessians, against the matrices themselves."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import graphc as gx
from graphc.errors import GradientError

RNG = np.random.default_rng(7)


def _regression() -> tuple[gx.Tensor, gx.Tensor, gx.Tensor, gx.Tensor]:
    """A loss, its scores, a weight and a bias."""
    x, labels = RNG.normal(size=(6, 4)), RNG.integers(0, 3, size=6)
    w, b = gx.variable(RNG.normal(size=(4, 3)), name="w"), gx.variable(RNG.normal(size=3), name="b")
    scores = gx.tanh(gx.constant(x) @ w) * 2 + b
    return gx.nn.softmax_cross_entropy(scores, gx.constant(labels)).mean(), scores, w, b


def _rows(fn: object, size: int) -> np.ndarray:
    """Return the matrix of a linear map from and to flat vectors."""
    return np.array([gx.evaluate(fn(row)) for row in np.eye(size)])


# ---------------------------------------------------------------- vjp, linearize
def test_vjp_is_grad_with_cotangents() -> None:
    x = gx.variable([1.0, 2.0], name="x")
    outputs, seeds = {"a": x * x, "b": (gx.sin(x), x.sum())}, {"a": [1.0, 2.0], "b": ([3.0, 4.0], 5.0)}
    found, wanted = gx.evaluate([gx.vjp(outputs, [x], seeds), gx.grad(outputs, [x], seeds)])
    np.testing.assert_array_equal(found, wanted)


def test_linearize_and_its_transpose() -> None:
    loss, scores, w, b = _regression()
    slope = gx.linearize([scores, loss], {"w": w, "b": b})
    v = {"w": RNG.normal(size=(4, 3)), "b": RNG.normal(size=3)}
    u = [RNG.normal(size=(6, 3)), np.float64(2.0)]
    forward, back = gx.evaluate([slope(v), slope.transpose(u)])
    left = (forward[0] * u[0]).sum() + forward[1] * u[1]
    np.testing.assert_allclose(left, sum((back[k] * v[k]).sum() for k in v), rtol=1e-12)


def test_applications_of_a_linearization_share_the_forward_pass() -> None:
    x = gx.placeholder("x", ("n", 3), "float64")
    slope = gx.linearize(gx.tanh(gx.exp(x) @ np.ones((3, 2))), x)
    ones = gx.ones_like(x)
    program = gx.compile(
        x, [slope(ones), slope(x), slope(x * 2), slope.transpose(np.ones((4, 2)) * gx.sum(x))]
    )
    optimized = next(s.graph for s in reversed(program.stages) if s.name == "prune")
    counts = Counter(n.op.name for n in optimized.nodes)
    assert counts["tanh"] == 1 and counts["exp"] == 1


# ---------------------------------------------------------------- second order
def test_hvp_multiplies_by_the_hessian() -> None:
    loss, _, _, b = _regression()
    (by_b,) = gx.grad(loss, [b])
    hessian = np.array([gx.evaluate(gx.grad(by_b[i], b)) for i in range(3)])
    np.testing.assert_allclose(_rows(lambda v: gx.hvp(loss, b, v), 3), hessian, rtol=1e-10, atol=1e-12)


def test_hvp_of_structures_equals_reverse_over_reverse() -> None:
    loss, _, w, b = _regression()
    wrt = {"w": w, "b": b}
    v = {"w": RNG.normal(size=(4, 3)), "b": RNG.normal(size=3)}
    slopes = gx.grad(loss, wrt)
    along = sum(((slopes[k] * v[k]).sum() for k in v), gx.constant(0.0))
    found, wanted = gx.evaluate([gx.hvp(loss, wrt, v), gx.grad(along, wrt)])
    for k in v:
        np.testing.assert_allclose(found[k], wanted[k], rtol=1e-10, atol=1e-12)


def test_gauss_newton_is_the_middle_of_the_chain_rule() -> None:
    loss, scores, w, b = _regression()
    wrt = [w, b]
    jacobian = np.array(
        [
            np.concatenate([g.ravel() for g in gx.evaluate(gx.vjp(scores, wrt, row.reshape(6, 3)))])
            for row in np.eye(18)
        ]
    )
    middle = _rows(lambda v: gx.hvp(loss, scores, v.reshape(6, 3)).ravel(), 18)
    matrix = jacobian.T @ middle @ jacobian
    v = RNG.normal(size=15)
    parts = gx.evaluate(gx.gauss_newton_vp(loss, scores, wrt, [v[:12].reshape(4, 3), v[12:]]))
    np.testing.assert_allclose(np.concatenate([p.ravel() for p in parts]), matrix @ v, rtol=1e-9, atol=1e-12)
    assert np.linalg.eigvalsh(matrix).min() > -1e-12


def test_products_compile() -> None:
    loss, scores, w, _ = _regression()
    v = gx.placeholder("v", (4, 3), "float64")
    products = [gx.hvp(loss, w, v), gx.gauss_newton_vp(loss, scores, w, v)]
    point = RNG.normal(size=(4, 3))
    found = gx.compile(v, products)(point)
    for a, b in zip(found, gx.evaluate(products, {v: point}), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


# ---------------------------------------------------------------- errors
def test_mistakes_name_the_function_that_was_called() -> None:
    x, n = gx.placeholder("x", (3,), "float64"), gx.variable(np.int64(3), name="n")
    y = (x * x).sum()
    mistakes = [
        (lambda: gx.hvp(x, x, np.ones(3)), "hvp: the output 'x' is not a scalar"),
        (lambda: gx.hvp([y], x, np.ones(3)), "hvp: the output sum|hvp: the output squeeze"),
        (lambda: gx.hvp(y, x, np.ones(4)), "hvp: the vector does not fit 'x'"),
        (lambda: gx.hvp(y, [x], np.ones(3)), "hvp: the vector has another structure"),
        (lambda: gx.vjp(x, x, np.ones(4)), "vjp: the cotangent does not fit 'x'"),
        (lambda: gx.vjp(n, x, 1), "vjp: cannot differentiate 'n'"),
        (lambda: gx.linearize(y, n), "linearize: cannot differentiate with respect to 'n'"),
        (lambda: gx.linearize(1.0, x), "linearize: the output must be a Tensor"),
        (lambda: gx.gauss_newton_vp(x, x, x, x), "gauss_newton_vp: the loss 'x' is not a scalar"),
        (lambda: gx.gauss_newton_vp(y, x, x, y), "gauss_newton_vp: the vector does not fit 'x'"),
    ]
    for call, message in mistakes:
        with pytest.raises(GradientError, match=message) as caught:
            call()
        lines = str(caught.value).splitlines()
        assert len(lines) == 3 and __file__ in lines[2]
