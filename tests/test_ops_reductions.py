"""Reductions, sorting, norms and losses: what the table-driven tests cannot express."""

from __future__ import annotations

import numpy as np
import pytest
from expr_eval import evaluate_lowered

import graphc as gx
from graphc.errors import ArgumentError, IndexRangeError, ShapeError
from graphc.ops import losses

INT64 = np.iinfo(np.int64)


def symbolic(dtype="float64", rank=1):
    return gx.placeholder("x", [f"n{a}" for a in range(rank)], dtype)


def both_ways(out, feeds):
    """Return the interpreter's value, after checking that the lowerings give the same."""
    value = gx.evaluate(out, feeds)
    np.testing.assert_allclose(evaluate_lowered(out, feeds), value, rtol=1e-12)
    return value


# ------------------------------------------------------------------------ dtypes
@pytest.mark.parametrize(
    ("function", "given", "result"),
    [
        (gx.sum, "int8", "int64"),
        (gx.sum, "uint8", "int64"),
        (gx.sum, "bool", "int64"),
        (gx.sum, "float32", "float32"),
        (gx.prod, "int32", "int64"),
        (gx.mean, "int32", "float64"),
        (gx.mean, "bool", "float64"),
        (gx.mean, "float32", "float32"),
        (gx.max, "int8", "int8"),
        (gx.max, "bool", "bool"),
        (gx.any, "float32", "bool"),
        (gx.argmin, "float32", "int64"),
        (gx.count_nonzero, "int8", "int64"),
        (gx.var, "int8", "float64"),
        (gx.cumulative_sum, "int8", "int64"),
        (gx.sort, "bool", "bool"),
        (gx.vector_norm, "int8", "float64"),
    ],
)
def test_result_dtypes(function, given, result):
    out = function(gx.placeholder("x", (3,), given))
    assert out.dtype == result
    assert gx.evaluate(out, {gx_leaf(out): np.ones(3, given)}).dtype == result


def gx_leaf(out):
    from graphc.ir import topological

    return next(gx.Tensor(n) for n in topological([out.node]) if n.op.name == "placeholder")


def test_sum_dtype_is_chosen_before_summing():
    x = np.full(300, 100, np.int8)
    assert gx.evaluate(gx.sum(gx.constant(x), dtype="float32")) == 30000.0


# ----------------------------------------------------------- symbolic and empty axes
@pytest.mark.parametrize("size", [0, 1, 5])
def test_one_graph_serves_every_size(size):
    x = symbolic(rank=2)
    value = np.arange(size * 3.0).reshape(size, 3) ** 2
    with np.errstate(all="ignore"):
        pairs = [
            (gx.sum(x, axis=0), value.sum(0)),
            (gx.prod(x), value.prod()),
            (gx.mean(x, axis=0), value.sum(0) / np.float64(size)),
            (gx.element_count(x, axis=0), size),
            (gx.cumulative_sum(x, axis=0), value.cumsum(0)),
            (gx.sort(x, axis=0, descending=True), np.sort(value, 0)[::-1]),
            (gx.logsumexp(x, axis=1), np.logaddexp.reduce(value, 1)),
        ]
    for out, expected in pairs:
        np.testing.assert_allclose(both_ways_expanded(out, {x: value}), expected)


def both_ways_expanded(out, feeds):
    value = gx.evaluate(out, feeds)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(evaluate_lowered(out, feeds), value, rtol=1e-12)
    return value


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("float32", -np.inf, np.inf), ("int64", INT64.min, INT64.max), ("uint8", 0, 255)],
)
def test_extrema_of_a_symbolic_empty_axis_are_the_limits(dtype, low, high):
    x = symbolic(dtype)
    feeds = {x: np.zeros(0, dtype)}
    assert both_ways(gx.max(x), feeds) == low
    assert both_ways(gx.min(x), feeds) == high
    assert both_ways(gx.argmax(x), feeds) == 0


def test_python_scalars_and_numpy_arrays_are_operands():
    assert gx.evaluate(gx.sum(3)) == 3
    assert gx.evaluate(gx.argmax(5.0)) == 0
    np.testing.assert_array_equal(gx.evaluate(gx.max(np.eye(2), axis=())), np.eye(2))


# -------------------------------------------------------------------- gradients
def test_ties_share_the_gradient_evenly():
    x = gx.constant([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    expected = [[0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(gx.evaluate(gx.grad(gx.max(x, axis=1).sum(), x)), expected)


def test_gradient_of_a_row_with_nan_is_nan():
    x = gx.constant([[1.0, np.nan], [1.0, 2.0]])
    found = gx.evaluate(gx.grad(gx.max(x, axis=1).sum(), x))
    np.testing.assert_array_equal(found, [[np.nan, np.nan], [0.0, 1.0]])


def test_product_through_zeros_has_exact_second_derivatives():
    x = gx.constant([0.0, 0.0, 5.0])
    first = gx.grad(gx.prod(x), x)
    np.testing.assert_array_equal(gx.evaluate(first), [0.0, 0.0, 0.0])
    np.testing.assert_array_equal(gx.evaluate(gx.grad(first[0], x)), [0.0, 5.0, 0.0])


def test_gradients_at_the_edges_are_finite():
    zero, empty = gx.constant([0.0, 0.0]), gx.constant([-np.inf, -np.inf])
    np.testing.assert_array_equal(gx.evaluate(gx.grad(gx.vector_norm(zero), zero)), [0.0, 0.0])
    np.testing.assert_array_equal(gx.evaluate(gx.grad(gx.logsumexp(empty), empty)), [0.0, 0.0])


def test_sort_and_top_k_send_gradients_back():
    x = gx.constant([3.0, 1.0, 2.0])
    weights = gx.constant([10.0, 20.0, 30.0])
    np.testing.assert_array_equal(gx.evaluate(gx.grad((gx.sort(x) * weights).sum(), x)), [30.0, 10.0, 20.0])
    best, _ = gx.top_k(x, 2)
    np.testing.assert_array_equal(gx.evaluate(gx.grad((best * weights[:2]).sum(), x)), [10.0, 0.0, 20.0])


# ---------------------------------------------------------------------- sorting
@pytest.mark.parametrize("dtype", ["float64", "int8"])
@pytest.mark.parametrize("size", [1, 2, 17, 64, 100])
def test_sorting_many_ties(size, dtype):
    value = np.random.default_rng(size).integers(-4, 5, (3, size)).astype(dtype)
    if dtype == "float64":
        value[value == 3] = np.nan
    x = symbolic(dtype, 2)
    ascending = both_ways(gx.argsort(x), {x: value})
    np.testing.assert_array_equal(ascending, np.argsort(value, kind="stable"))
    descending = both_ways(gx.argsort(x, descending=True), {x: value})
    for k in {1, size // 2, size}:
        _, positions = gx.top_k(x, k)
        np.testing.assert_array_equal(both_ways(positions, {x: value}), descending[:, :k])


def test_top_k_agrees_with_max_on_nan():
    values, indices = gx.top_k(gx.constant([1.0, np.nan, 2.0]), 2)
    np.testing.assert_array_equal(gx.evaluate(values), [np.nan, 2.0])
    np.testing.assert_array_equal(gx.evaluate(indices), [1, 2])


def test_top_k_of_a_short_symbolic_axis_names_the_line():
    x = symbolic()
    _, indices = gx.top_k(x, 3)
    with pytest.raises(IndexRangeError, match=r"fewer than k(.|\n)*gx.top_k\(x, 3\)"):
        gx.evaluate(indices, {x: np.zeros(2)})


# --------------------------------------------------- functions without an op of their own
def test_compositions_match_numpy():
    value = np.random.default_rng(0).normal(size=(3, 4, 2))
    x = gx.constant(value)
    pairs = [
        (gx.mean(x, axis=(0, 2), keepdims=True), value.mean((0, 2), keepdims=True)),
        (gx.std(x, axis=1, correction=1), value.std(1, ddof=1)),
        (gx.count_nonzero(x > 0, axis=0), np.count_nonzero(value > 0, axis=0)),
        (gx.matrix_norm(x), np.linalg.matrix_norm(value)),
        (gx.sort(x, axis=1), np.sort(value, 1)),
        (x.var(correction=1), value.var(ddof=1)),
        (x.cumsum(), value.cumsum()),
    ]
    for ord in (1, -1, np.inf, -np.inf):
        pairs.append((gx.matrix_norm(x, ord=ord), np.linalg.matrix_norm(value, ord=ord)))
    for out, expected in pairs:
        np.testing.assert_allclose(gx.evaluate(out), expected, rtol=1e-12)


def test_matrix_norm_refuses_what_it_cannot_do():
    with pytest.raises(ShapeError, match="two or more"):
        gx.matrix_norm(np.ones(3))
    with pytest.raises(ArgumentError, match="'nuc'"):
        gx.matrix_norm(np.ones((2, 2)), ord="nuc")


def test_batch_norm_training_returns_the_batch_statistics():
    value = np.random.default_rng(1).normal(size=(5, 3, 2)) * 4 + 7
    weight, bias = np.array([1.0, 2.0, 3.0]), np.array([-1.0, 0.0, 1.0])
    y, mean, var = gx.evaluate(list(gx.batch_norm_training(gx.constant(value), weight, bias)))
    np.testing.assert_allclose(mean, value.mean((0, 2)))
    np.testing.assert_allclose(var, value.var((0, 2)))
    inference = gx.batch_norm(gx.constant(value), mean, var, weight, bias)
    np.testing.assert_allclose(y, gx.evaluate(inference))


# ----------------------------------------------------------------------- losses
def test_losses_match_their_formulas():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 4, 3)) * 2
    p, q = rng.dirichlet(np.ones(3), size=(2, 4))
    d = np.abs(a - b)
    right = a[np.arange(4), [0, 2, 1, 0]][:, None]
    hinge = np.maximum(0, a - right + 0.5).sum(1) - 0.5
    pairs = [
        (losses.mse(a, b), (d**2).mean(1)),
        (losses.l1(a, b), d.mean(1)),
        (losses.huber(a, b, 0.7), np.where(d < 0.7, d**2 / 2, 0.7 * (d - 0.35)).mean(1)),
        (losses.kl_divergence(p, q), (p * np.log(p / q)).sum(1)),
        (losses.binary_cross_entropy(p, q), -(q * np.log(p) + (1 - q) * np.log(1 - p)).mean(1)),
        (losses.multiclass_hinge(a, [0, 2, 1, 0], margin=0.5), hinge),
        (losses.l1_penalty([gx.constant(a), gx.constant(b)], 0.1), 0.1 * (np.abs(a) + np.abs(b)).sum()),
        (losses.elastic_penalty(gx.constant(a), 0.1, 0.2), 0.1 * np.abs(a).sum() + 0.2 * (a**2).sum()),
        (losses.mse(a[0], b[0]), d[0] ** 2),
    ]
    for out, expected in pairs:
        np.testing.assert_allclose(gx.evaluate(out), expected, rtol=1e-12)


LOSSES = [
    losses.mse,
    losses.l1,
    losses.huber,
    losses.sigmoid_cross_entropy,
    losses.binary_cross_entropy,
    losses.kl_divergence,
    losses.softmax_cross_entropy,
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda f: f.__name__)
def test_loss_gradients(loss):
    rng = np.random.default_rng(3)
    a = gx.placeholder("a", ("n", 3), "float64")
    b = gx.placeholder("b", ("n", 3), "float64")
    feeds = {a: rng.dirichlet(np.ones(3), 4), b: rng.dirichlet(np.ones(3), 4)}
    gx.check_gradients(loss(a, b).sum(), [a, b], feeds)


@pytest.mark.parametrize("loss", [losses.softmax_cross_entropy, losses.multiclass_hinge])
def test_label_loss_gradients(loss):
    x = gx.placeholder("x", ("n", 3), "float64")
    labels = gx.placeholder("labels", ("n",), "int8")
    feeds = {x: np.random.default_rng(4).normal(size=(4, 3)), labels: np.array([0, 2, 1, 1], np.int8)}
    gx.check_gradients(loss(x, labels).sum(), [x], feeds)


@pytest.mark.parametrize("loss", [losses.softmax_cross_entropy, losses.multiclass_hinge])
@pytest.mark.parametrize("label", [3, -1])
def test_a_label_that_is_no_class_stops_the_run(loss, label):
    x = gx.placeholder("x", ("n", 3), "float64")
    labels = gx.placeholder("labels", ("n",), "int64")
    out = loss(x, labels)
    feeds = {x: np.zeros((2, 3)), labels: np.array([0, label])}
    for run in (gx.evaluate, evaluate_lowered):
        with pytest.raises(IndexRangeError):
            run(out, feeds)


def test_terms_of_probability_zero_count_nothing():
    p = gx.constant([[0.0, 1.0]])
    q = gx.constant([[0.0, 0.5]])
    np.testing.assert_allclose(gx.evaluate(losses.kl_divergence(p, q)), [np.log(2)])
    np.testing.assert_array_equal(gx.evaluate(gx.grad(losses.kl_divergence(p, q).sum(), q)), [[0.0, -2.0]])
    assert gx.evaluate(losses.kl_divergence(q, p)) == [-0.5 * np.log(2)]
    assert gx.evaluate(losses.kl_divergence(np.array([[1.0, 0.0]]), p)) == [np.inf]
    np.testing.assert_array_equal(gx.evaluate(losses.binary_cross_entropy(p, [[0.0, 1.0]])), [0.0])


def test_a_symbolic_batch_against_one_does_not_broadcast():
    x = gx.placeholder("x", ("n",), "float64")
    with pytest.raises(ShapeError, match="differ in shape"):
        losses.mse(x, np.zeros(1))
