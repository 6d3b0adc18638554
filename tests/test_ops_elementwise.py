"""What the table-driven test cannot express of elementwise, custom and marker ops."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

import graphc as gx
from graphc.errors import ArgumentError, DTypeError, GradientError, ShapeError
from graphc.ops import (
    activations,
    arithmetic,
    custom,
    elementwise,
    functions,
    linear_units,
    logic,
    markers,
    power,
    selection,
)

MODULES = (
    activations, arithmetic, custom, elementwise, functions, linear_units, logic, markers, power, selection,
)  # fmt: skip
PUBLIC = sorted({(name, getattr(m, name)) for m in MODULES for name in m.__all__}, key=lambda p: p[0])


def gradient(fn, *values):
    """Return the gradients of ``sum(fn(...))`` at float64 `values`."""
    arrays = [np.asarray(v, np.float64) for v in values]
    inputs = [gx.placeholder(f"x{k}", a.shape, a.dtype) for k, a in enumerate(arrays)]
    return gx.evaluate(gx.grad(gx.sum(fn(*inputs)), inputs), dict(zip(inputs, arrays, strict=True)))


@pytest.mark.parametrize(("name", "function"), PUBLIC, ids=[name for name, _ in PUBLIC])
def test_docstring_is_complete_and_its_example_runs(name, function):
    text = function.__doc__
    assert all(section in text for section in ("Parameters\n", "Returns\n", "Examples\n"))
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    assert test.examples
    report: list[str] = []
    runner = doctest.DocTestRunner()
    runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)


# ------------------------------------------------------------------ promotion
@pytest.mark.parametrize(
    ("build", "dtype"),
    [
        (lambda: gx.constant([1], "float32") * 2.5, "float32"),
        (lambda: gx.constant([1], "int8") + 1, "int8"),
        (lambda: gx.constant([1], "int8") + gx.constant([1], "uint8"), "int16"),
        (lambda: gx.constant([1], "int32") + gx.constant([1], "float32"), "float64"),
        (lambda: gx.constant([1], "int8") / 2, "float64"),
        (lambda: gx.constant([True]) + gx.constant([True]), "bool"),
        (lambda: gx.constant([True]) // gx.constant([True]), "int8"),
        (lambda: gx.exp(gx.constant([1], "int8")), "float64"),
        (lambda: gx.clip(gx.constant([1], "float32"), 0, 1), "float32"),
        (lambda: gx.clip(gx.constant([1], "uint8"), max=3), "uint8"),
        (lambda: gx.floor(gx.constant([1], "int16")), "int16"),
        (lambda: gx.gelu(gx.constant([1], "float32"), "tanh"), "float32"),
        (lambda: gx.logical_and(gx.constant([1], "int8"), gx.constant([0.5])), "bool"),
    ],
)
def test_result_dtypes_follow_numpy(build, dtype):
    assert build().dtype == dtype


SIZES = (
    lambda xp, x, n: x.sum() / n,
    lambda xp, x, n: n * x + n,
    lambda xp, x, n: n - x,
    lambda xp, x, n: n / (x + 1),
    lambda xp, x, n: n // (x + 1),
    lambda xp, x, n: (x + 1) ** n,
    lambda xp, x, n: xp.where(x < n, x, n),
    lambda xp, x, n: xp.add(2 * n + 1, n),
)


@pytest.mark.parametrize("build", SIZES)
@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_symbolic_size_is_a_weak_integer(build, size):
    x = gx.placeholder("x", ("n",))
    values = np.arange(size, dtype="float32")
    result = build(gx, x, x.shape[0])
    with np.errstate(invalid="ignore"):
        expected = build(np, values, size)
        np.testing.assert_allclose(gx.evaluate(result, {x: values}), expected)
    np.testing.assert_allclose(gx.compile(x, result)(values), expected)
    assert result.dtype == expected.dtype


def test_sizes_stay_whole():
    n = gx.placeholder("x", ("n",)).shape[0]
    for wrong in (lambda: n * 0.5, lambda: n + "1", lambda: n // 2.0):
        with pytest.raises(TypeError, match="unsupported operand"):
            wrong()


def test_python_integer_that_does_not_fit_is_refused():
    with pytest.raises(DTypeError, match="300 does not fit uint8"):
        gx.constant([1], "uint8") + 300


def test_negative_integer_powers():
    base = gx.constant([2, 3])
    with pytest.raises(ArgumentError, match="negative integer power"):
        base ** np.array([1, -1])
    np.testing.assert_array_equal(gx.evaluate(base**-1.0), [1 / 2, 1 / 3])
    np.testing.assert_array_equal(gx.evaluate(base ** gx.constant(-1)), [0, 0])


# ------------------------------------------------------------------ gradients
EDGES = {
    "sqrt": [0.0, 4.0],
    "rsqrt": [0.0, 4.0],
    "log": [0.0, 2.0],
    "log2": [0.0, 2.0],
    "log10": [0.0, 2.0],
    "log1p": [-1.0, 2.0],
    "asin": [1.0, 0.5],
    "acos": [-1.0, 0.5],
    "acosh": [1.0, 2.0],
    "atanh": [-1.0, 0.5],
}


@pytest.mark.parametrize("name", EDGES)
def test_masked_edge_of_the_domain_has_gradient_zero(name):
    edge = EDGES[name][0]
    (masked,) = gradient(lambda x: gx.where(x == edge, 0.0, getattr(gx, name)(x)), EDGES[name])
    (plain,) = gradient(getattr(gx, name), EDGES[name])
    assert masked[0] == 0 and np.isinf(plain[0])
    assert masked[1] == plain[1] != 0


def test_masked_root_by_pow_has_gradient_zero():
    (masked,) = gradient(lambda x: gx.where(x > 0, x**0.5, 0.0), [0.0, 4.0])
    np.testing.assert_array_equal(masked, [0, 0.25])


def test_second_derivative_survives_a_zero_cotangent():
    # At x = 1 the cotangent of log is 2 * log(x) = 0, yet the second derivative is 2.
    x = gx.placeholder("x", (), "float64")
    once = gx.grad(gx.log(x) ** 2, x)
    assert gx.evaluate(gx.grad(once, x), {x: np.array(1.0)}) == 2


def test_pow_at_zero():
    base, exponent = gradient(gx.pow, [0.0, 0.0, 0.0], [2.0, 1.0, 0.0])
    np.testing.assert_array_equal(base, [0, 1, 0])
    np.testing.assert_array_equal(exponent, [0, 0, 0])


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0, 0.5, -2.0])
def test_pow_by_a_number_differentiates_twice(exponent):
    x = gx.placeholder("x", (3,), "float64")
    once = gx.grad(gx.sum(x**exponent), x)
    gx.check_gradients(once, x, {x: np.array([0.5, 1.0, 2.0])})


def test_ties_share_the_gradient():
    left, right = gradient(gx.maximum, [1.0, 2.0, 3.0], [1.0, 3.0, 2.0])
    np.testing.assert_array_equal(left, [0.5, 0, 1])
    np.testing.assert_array_equal(right, [0.5, 1, 0])


def test_clip_passes_gradient_at_its_bounds():
    x, low, high = gradient(gx.clip, [-1.0, 0.0, 0.5, 1.0, 2.0], [0.0] * 5, [1.0] * 5)
    np.testing.assert_array_equal(x, [0, 1, 1, 1, 0])
    np.testing.assert_array_equal(low, [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(high, [0, 0, 0, 0, 1])


def test_logaddexp_of_infinities_shares_the_gradient():
    left, right = gradient(gx.logaddexp, [np.inf, -np.inf, np.inf], [np.inf, -np.inf, 0.0])
    np.testing.assert_array_equal(left, [0.5, 0.5, 1])
    np.testing.assert_array_equal(right, [0.5, 0.5, 0])


def test_gradients_at_the_origin_of_the_plane():
    for part in (*gradient(gx.hypot, [0.0], [0.0]), *gradient(gx.atan2, [0.0], [0.0])):
        assert part == 0


@pytest.mark.parametrize(
    "name", ["sigmoid", "softplus", "log_sigmoid", "elu", "selu", "relu", "tanh", "gaussian"]
)
def test_saturated_activations_have_finite_gradients(name):
    (found,) = gradient(getattr(gx, name), [-1e4, 1e4])
    assert np.isfinite(found).all()


# ------------------------------------------------------------------ activations
@pytest.mark.parametrize(("axis", "pieces"), [(0, 2), (1, 3), (-1, 5), (-2, 1)])
def test_maxout(axis, pieces):
    x = np.random.default_rng(0).normal(size=(4, 6, 5))
    split = np.moveaxis(x, axis, -1)
    expected = split.reshape(*split.shape[:-1], -1, pieces).max(-1)
    np.testing.assert_array_equal(gx.evaluate(gx.maxout(x, pieces, axis)), np.moveaxis(expected, -1, axis))
    gx.check_gradients(lambda t: gx.maxout(t, pieces, axis), [x])


def test_maxout_of_symbolic_sizes():
    x = gx.placeholder("x", ("n", 4))
    assert str(gx.maxout(x, 2).type) == "float32[n, 2]"
    with pytest.raises(ShapeError, match="cannot be split"):
        gx.maxout(x, 2, axis=0)
    with pytest.raises(ArgumentError, match="num_pieces"):
        gx.maxout(x, 0)
    with pytest.raises(ArgumentError, match="no such axis"):
        gx.maxout(x, 2, axis=2)


def test_bounded_rectifiers():
    x = np.array([-2.0, -0.5, 0.5, 7.0])
    np.testing.assert_array_equal(gx.evaluate(gx.relu6(x)), [0, 0, 0.5, 6])
    np.testing.assert_array_equal(gx.evaluate(gx.hard_tanh(x)), [-1, -0.5, 0.5, 1])


# ------------------------------------------------------------------ users' ops
def test_elementwise_op_with_scalar_expression():
    mean = gx.elementwise_op(
        "mean_of_two",
        lambda x, y: (x + y) / 2,
        lambda g, out, x, y: [g * 0.5, g * 0.5],
        lambda x, y: (x + y) * 0.5,
        arity=2,
    )
    x, y = np.ones((2, 3)), np.arange(3.0)
    np.testing.assert_array_equal(gx.evaluate(mean(x, y)), (x + y) / 2)
    gx.check_gradients(mean, [x, y])
    with pytest.raises(ArgumentError, match="wrong number of operands"):
        mean(x)


@pytest.mark.parametrize("scalar", [np.sin, lambda x: 3, lambda x, y: x], ids=["numpy", "number", "arity"])
def test_elementwise_op_needs_a_scalar_expression(scalar):
    with pytest.raises(ArgumentError, match="scalar meaning of wave is no expression") as caught:
        gx.elementwise_op("wave", np.sin, scalar=scalar)
    assert "test_ops_elementwise.py" in str(caught.value)


def test_elementwise_op_without_gradient_is_refused_by_grad():
    step = gx.elementwise_op("step", lambda x: x > 0, dtype="bool")
    assert step(np.ones(3)).dtype == "bool"
    opaque = gx.elementwise_op("opaque", np.sin)
    x = gx.placeholder("x", (), "float64")
    with pytest.raises(GradientError, match="opaque has no gradient"):
        gx.grad(opaque(x), x)


@pytest.mark.parametrize("bad", ["", "two words", 3])
def test_op_names_are_identifiers(bad):
    with pytest.raises(ArgumentError, match="bad name"):
        gx.elementwise_op(bad, np.sin)
    with pytest.raises(ArgumentError, match="bad name"):
        gx.custom_op(bad, lambda x: x, np.sin)


def test_custom_op_with_attributes():
    repeat = gx.custom_op(
        "repeated",
        lambda x, times: ((*x.shape, times), x.dtype),
        lambda x, times: np.stack([x] * times, -1),
        lambda g, out, x, times: [gx.sum(g, axis=-1)],
    )
    x = np.arange(3.0)
    np.testing.assert_array_equal(gx.evaluate(repeat(x, times=2)), np.stack([x, x], -1))
    gx.check_gradients(lambda t: repeat(t, times=2), [x])


def test_custom_op_mistakes():
    with pytest.raises(ShapeError, match="infer returned no type"):
        gx.custom_op("wrong", lambda x: 3, np.sin)(np.ones(2))
    x = gx.placeholder("x", (2,), "float64")
    short = gx.custom_op("short", lambda t: t, np.sin, lambda g, out, t: [])
    with pytest.raises(GradientError, match="short: the gradient does not match"):
        gx.grad(gx.sum(short(x)), x)
    narrow = gx.custom_op("narrow", lambda t: t, np.sin, lambda g, out, t: [gx.sum(g)])
    with pytest.raises(GradientError, match="narrow"):
        gx.grad(gx.sum(narrow(x)), x)


def test_custom_gradient():
    @gx.custom_gradient
    def log1pexp(x, scale):
        e = gx.exp(x)
        return scale * gx.log(1 + e), lambda g: (g * scale * (1 - 1 / (1 + e)), None)

    assert log1pexp.__name__ == "log1pexp"
    x = gx.placeholder("x", (2,), "float64")
    value = log1pexp(x, 2.0)
    point = {x: np.array([0.0, 100.0])}
    np.testing.assert_allclose(gx.evaluate(value, point), [2 * np.log(2), 200])
    np.testing.assert_allclose(gx.evaluate(gx.grad(gx.sum(value), x), point), [1, 2])


def test_custom_gradient_mistakes():
    with pytest.raises(GradientError, match="returned something else"):
        gx.custom_gradient(lambda x: x)(1.0)
    x = gx.placeholder("x", (2,), "float64")
    wrong = gx.custom_gradient(lambda t: (t * 2, lambda g: (g, g)))
    with pytest.raises(GradientError, match="does not match the operands"):
        gx.grad(gx.sum(wrong(x)), x)


# -------------------------------------------------------------------- markers
def test_stop_gradient_cuts_one_path():
    (found,) = gradient(lambda x: x * gx.stop_gradient(x), [3.0])
    assert found == 3


def test_with_update_is_an_identity_to_value_and_gradient():
    state = gx.variable(np.zeros(2), name="state")
    (found,) = gradient(lambda x: gx.with_update(x * x, state, state + 1), [3.0])
    assert found == 6
    gx.evaluate(gx.with_update(1.0, state, state + 1))
    np.testing.assert_array_equal(state.value, [0, 0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nextafter_is_exact(dtype: str) -> None:
    info = np.finfo(dtype)
    edge = [0.0, -0.0, 1.0, -1.0, 2.5, np.inf, -np.inf, np.nan]
    values = np.array([*edge, info.max, info.min, info.tiny, info.smallest_subnormal], dtype)
    x, y = gx.placeholder("x", ("n", 1), dtype), gx.placeholder("y", ("n",), dtype)
    program = gx.compile([x, y], gx.nextafter(x, y))
    with np.errstate(all="ignore"):
        expected = np.nextafter(values[:, None], values)
    found = program(values[:, None], values)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        np.signbit(found[~np.isnan(found)]), np.signbit(expected[~np.isnan(expected)])
    )
