"""Shape, joining, indexing and creation: what single samples of one op cannot express."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from expr_eval import evaluate_lowered

import graphc as gx
from graphc import dims
from graphc.errors import (
    ArgumentError,
    DTypeError,
    GraphcError,
    IndexRangeError,
    ShapeError,
    UnsupportedError,
)

Array = np.ndarray[Any, Any]
S = slice
ROWS, COLS = np.array([[0, 1, -1]]), np.array([[2], [-3]])


def _both(t: gx.Tensor, feeds: dict[Any, Array]) -> Array:
    """Return the value, having checked that interpreter and lowering agree."""
    found: Array = gx.evaluate(t, feeds)
    np.testing.assert_array_equal(evaluate_lowered(t, feeds), found)
    return found


def _fed(x: Array, names: tuple[int | str, ...] | None = None) -> tuple[gx.Tensor, dict[Any, Array]]:
    t = gx.placeholder("x", names or x.shape, x.dtype)
    return t, {t: x}


# ---------------------------------------------------------------------- getitem
KEYS: list[Any] = [
    0,
    -1,
    (0, 1),
    (),
    ...,
    (..., 1),
    None,
    (None, 0, None),
    (..., None, 1),
    S(None),
    S(1, None),
    S(None, -1),
    S(-2, None),
    S(None, None, 2),
    S(None, None, -1),
    S(3, 0, -2),
    S(10, None),
    S(-10, 2),
    S(2, 10, 3),
    S(1, -1),
    S(5, -7, -1),
    (S(None), S(1, 3), S(None, None, -2)),
    (S(None), None, [0, 1]),
    (ROWS, COLS),
    (ROWS, S(None), COLS),
    (S(None), ROWS, COLS),
    (0, S(None), ROWS),
    (S(None), 0, ROWS),
    (ROWS, None, COLS),
    (None, ROWS, COLS),
    (S(None, None, -1), ..., ROWS),
    (ROWS, ..., COLS),
    (S(None), ROWS, ..., COLS),
    ([],),
    (np.array(1),),
    (np.array(1), S(None), np.array([0, 1])),
    (ROWS, 0, S(1, 3)),
    (0, ROWS, S(1, 3)),
    (0, ROWS, 0),
    (ROWS, ROWS, ROWS),
    (S(None), S(1, None), None, COLS, None),
]


@pytest.mark.parametrize("names", [None, ("a", "b", "c")], ids=["fixed", "symbolic"])
@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_getitem_is_numpys(key: Any, names: tuple[str, ...] | None) -> None:
    x = np.arange(4 * 3 * 5).reshape(4, 3, 5)
    t, feeds = _fed(x, names)
    np.testing.assert_array_equal(_both(t[key], feeds), x[key])


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_index_add_is_the_adjoint_of_getitem(key: Any) -> None:
    x = np.arange(4 * 3 * 5).reshape(4, 3, 5)
    t, feeds = _fed(x, ("a", "b", "c"))
    updates = np.random.default_rng(0).integers(0, 9, x[key].shape)
    expected = x.copy()
    np.add.at(expected, key, updates)
    np.testing.assert_array_equal(_both(gx.index_add(t, key, updates), feeds), expected)


@pytest.mark.parametrize("n", range(5))
def test_every_slice_of_a_symbolic_size(n: int) -> None:
    x = np.arange(n)
    t, feeds = _fed(x, ("n",))
    starts, stops = (None, -4, -3, -1, 0, 1, 2, 4), (None, -4, -2, -1, 0, 1, 3, 5)
    for start, stop, step in itertools.product(starts, stops, (None, 2, 3, -1, -2)):
        key = slice(start, stop, step)
        np.testing.assert_array_equal(gx.evaluate(t[key], feeds), x[key], err_msg=repr(key))


def test_slice_bounds_may_be_dimensions() -> None:
    x = np.arange(7)
    t, feeds = _fed(x, ("n",))
    n = t.shape[0]
    half = dims.floordiv(n, 2)
    np.testing.assert_array_equal(_both(t[half:], feeds), x[3:])
    np.testing.assert_array_equal(_both(t[: n - 1], feeds), x[:6])
    np.testing.assert_array_equal(_both(t[-half:], feeds), x[-3:])
    np.testing.assert_array_equal(_both(t[half], feeds), x[3])
    assert str(t[1:-1].shape) == "(max(0, n - 2),)"
    assert str(t[-3:].shape) == "(min(3, n),)"


def test_index_tensors_are_fed_at_run_time() -> None:
    x = np.arange(12.0).reshape(3, 4)
    t, feeds = _fed(x, ("n", "m"))
    i = gx.placeholder("i", ("k",), "int32")
    feeds[i] = np.array([2, -1, 0], "int32")
    np.testing.assert_array_equal(_both(t[i], feeds), x[[2, -1, 0]])
    np.testing.assert_array_equal(_both(t[:, i], feeds), x[:, [2, -1, 0]])
    np.testing.assert_array_equal(_both(t[i, i], feeds), x[[2, -1, 0], [2, -1, 0]])


@pytest.mark.parametrize("bad", [3, -4, 2**40])
def test_run_time_index_out_of_range_raises_in_both_worlds(bad: int) -> None:
    t, feeds = _fed(np.arange(6.0).reshape(3, 2), ("n", 2))
    i = gx.placeholder("i", (2,), "int64")
    feeds[i] = np.array([0, bad])
    along = gx.placeholder("along", (1, 2), "int64")
    feeds[along] = np.array([[0, bad]])
    updates = np.ones((2, 2))
    for result in (t[i], gx.scatter_add(t, i, updates), gx.take_along_axis(t, along, 0), gx.one_hot(i, 3)):
        with pytest.raises(IndexRangeError):
            gx.evaluate(result, feeds)
        with pytest.raises(IndexRangeError):
            evaluate_lowered(result, feeds)


def test_run_time_index_error_names_range_value_and_line() -> None:
    t, feeds = _fed(np.zeros((3, 2)))
    i = gx.placeholder("i", (1,), "int64")
    selected = t[i]
    with pytest.raises(IndexRangeError, match=r"expected -3 to 2, given 5\n.*test_ops_shape.py") as caught:
        gx.evaluate(selected, {**feeds, i: np.array([5])})
    assert isinstance(caught.value, IndexError)


def test_an_index_that_selects_nothing_is_not_looked_at() -> None:
    t, feeds = _fed(np.zeros((3, 0)))
    assert _both(t[np.array([0, 1])], feeds).shape == (2, 0)
    i = gx.placeholder("i", (2,), "int64")
    feeds[i] = np.array([0, 9])
    assert _both(gx.take(t, i, axis=0), feeds).shape == (2, 0)
    assert _both(gx.scatter_add(t, i, np.zeros((2, 0))), feeds).shape == (3, 0)


X = gx.placeholder("x", (4, 3))
MASK = gx.placeholder("mask", (4,), "bool")
HALF: Any = 0.5
PER_ELEMENT: Any = [1, 2]
MISTAKES: list[tuple[Callable[[], object], type[GraphcError], str]] = [
    (lambda: X[4], IndexRangeError, "expected -4 to 3, given 4"),
    (lambda: X[:, -4], IndexRangeError, "expected -3 to 2, given -4"),
    (lambda: X[[0, 4]], IndexRangeError, "given 4"),
    (lambda: gx.take(X, -5, 0), IndexRangeError, "given -5"),
    (lambda: gx.scatter_add(X, [4], np.ones((1, 3))), IndexRangeError, "given 4"),
    (lambda: X[0, 0, 0], ShapeError, "too many indices"),
    (lambda: X[..., ...], ShapeError, "more than one Ellipsis"),
    (lambda: X[[0, 1], [0, 1, 2]], ShapeError, "do not broadcast"),
    (lambda: X[MASK], UnsupportedError, "gx.where"),
    (lambda: X[np.array([True, False, True, False])], UnsupportedError, "gx.top_k"),
    (lambda: X[True], UnsupportedError, "mask"),
    (lambda: X[gx.constant(1) :], UnsupportedError, "gx.arange"),
    (lambda: X[::0], ArgumentError, "bad slice step"),
    (lambda: X[0.5], ArgumentError, "bad index"),
    (lambda: X["a"], ArgumentError, "bad index"),
    (lambda: X[HALF:], ArgumentError, "bad slice bound"),
    (lambda: X[gx.constant([0.0])], DTypeError, "not integers"),
    (lambda: gx.scatter_add(gx.constant([1]), [0], [0.5]), DTypeError, "cannot be added"),
    (lambda: gx.scatter_add(X, [0], np.ones((2, 3))), ShapeError, "does not broadcast"),
    (lambda: gx.nonzero(X), UnsupportedError, "gx.where"),
    (lambda: gx.unique(X), UnsupportedError, "gx.sort"),
    (lambda: gx.masked_select(X, MASK), UnsupportedError, "x * mask"),
    (lambda: gx.split(X, 3), ShapeError, "equal parts"),
    (lambda: gx.split(X, 0), ArgumentError, "bad sections"),
    (lambda: gx.split(X, [HALF]), ArgumentError, "bad sections"),
    (lambda: gx.unstack(gx.placeholder("y", ("n",))), ShapeError, "a fixed size"),
    (lambda: gx.stack([X, X[0]]), ShapeError, "rank"),
    (lambda: gx.pad(X, ((1, 1),)), ArgumentError, "bad pad_width"),
    (lambda: gx.pad(X, -1), ArgumentError, "bad pad_width"),
    (lambda: gx.pad(X, 1, mode="wrap"), ArgumentError, "unknown mode"),
    (lambda: gx.pad(np.zeros(0), 1, mode="edge"), ShapeError, "beyond axis 0"),
    (lambda: gx.pad(np.zeros(0), 1, mode="reflect"), ShapeError, "beyond axis 0"),
    (lambda: gx.roll(X, (1, 2), 0), ArgumentError, "bad shift"),
    (lambda: gx.tile(X, -1), ArgumentError, "repetitions"),
    (lambda: gx.repeat(X, PER_ELEMENT), ArgumentError, "non-negative int"),
    (lambda: gx.moveaxis(X, (0, 1), 0), ArgumentError, "differ in length"),
    (lambda: gx.matrix_transpose(np.zeros(3)), ShapeError, "matrices"),
    (lambda: gx.tril(np.zeros(3)), ShapeError, "matrices"),
    (lambda: gx.linspace(0, 1, -1), ArgumentError, "bad num"),
]


@pytest.mark.parametrize(("build", "error", "text"), MISTAKES, ids=[text for _, _, text in MISTAKES])
def test_mistakes_are_named(build: Callable[[], object], error: type[GraphcError], text: str) -> None:
    with pytest.raises(error) as caught:
        build()
    message = str(caught.value)
    assert text in message
    assert len(message.splitlines()) <= 3
    assert "test_ops_shape.py" in message


# ------------------------------------------------------------- like their models
LIKE_NUMPY: list[Callable[[Any, Any], Any]] = [
    lambda m, x: m.roll(x, 3, 0),
    lambda m, x: m.roll(x, -2),
    lambda m, x: m.roll(x, (1, -1), (0, 1)),
    lambda m, x: m.roll(x, 2, (0, 1)),
    lambda m, x: m.flip(x),
    lambda m, x: m.flip(x, -1),
    lambda m, x: m.tile(x, (2, 1, 2)),
    lambda m, x: m.tile(x, 3),
    lambda m, x: m.tile(x, (0, 2)),
    lambda m, x: m.repeat(x, 2, 0),
    lambda m, x: m.repeat(x, 3),
    lambda m, x: m.repeat(x, 0, 1),
    lambda m, x: m.pad(x, 2),
    lambda m, x: m.pad(x, ((1, 0), (0, 3))),
    lambda m, x: m.moveaxis(x, 0, 1),
    lambda m, x: m.swapaxes(x, 0, -1),
    lambda m, x: m.stack([x, x + 1], -1),
    lambda m, x: m.concat([x, x, x[:1]], 0),
    lambda m, x: m.tril(x),
    lambda m, x: m.tril(x, 1),
    lambda m, x: m.triu(x, -1),
    lambda m, x: m.take(x, np.array([0, 2, -1]), 1),
]


@pytest.mark.parametrize("shape", [(4, 3), (1, 3), (0, 3), (5, 3)], ids=str)
@pytest.mark.parametrize("function", LIKE_NUMPY)
def test_functions_are_numpys_at_every_size(function: Callable[..., Any], shape: tuple[int, ...]) -> None:
    x = np.arange(np.prod(shape), dtype="float32").reshape(shape)
    t, feeds = _fed(x, ("n", 3))
    np.testing.assert_array_equal(_both(function(gx, t), feeds), function(np, x))


@pytest.mark.parametrize("shape", [(4, 3), (1, 5)], ids=str)
@pytest.mark.parametrize("mode", ["edge", "reflect"])
@pytest.mark.parametrize("width", [(2, 1), (0, 3), (7, 9)], ids=str)
def test_pad_modes_are_numpys(mode: str, width: tuple[int, int], shape: tuple[int, ...]) -> None:
    x = np.arange(np.prod(shape)).reshape(shape)
    t, feeds = _fed(x)
    np.testing.assert_array_equal(_both(gx.pad(t, width, mode), feeds), _numpy_pad(x, width, mode))


def _numpy_pad(x: Array, width: Any, mode: Any) -> Array:
    padded: Array = np.pad(x, width, mode)
    return padded


def test_pad_of_a_symbolic_size_checks_that_the_image_exists() -> None:
    t = gx.placeholder("x", ("n",), "int64")
    padded = gx.pad(t, 2, "reflect")
    np.testing.assert_array_equal(_both(padded, {t: np.arange(3)}), [2, 1, 0, 1, 2, 1, 0])
    with pytest.raises(ShapeError, match="beyond axis 0"):
        gx.evaluate(padded, {t: np.arange(2)})


def test_split_and_unstack() -> None:
    x = np.arange(24).reshape(6, 4)
    t, feeds = _fed(x, ("n", 4))
    for found, expected in zip(gx.split(t, 2, axis=-1), np.split(x, 2, axis=-1), strict=True):
        np.testing.assert_array_equal(_both(found, feeds), expected)
    for found, expected in zip(gx.split(t, [1, 4]), np.split(x, [1, 4]), strict=True):
        np.testing.assert_array_equal(_both(found, feeds), expected)
    for found, expected in zip(gx.unstack(t, axis=1), x.T, strict=True):
        np.testing.assert_array_equal(_both(found, feeds), expected)
    doubled = gx.concat([t, t])
    assert [p.shape for p in gx.split(doubled, 2)] == [t.shape, t.shape]


def test_operands_are_promoted() -> None:
    joined = gx.concat([gx.constant([1]), gx.constant([0.5])])
    np.testing.assert_array_equal(gx.evaluate(joined), [1.0, 0.5])
    assert gx.concat([np.ones(2, "int8"), np.ones(2, "float32")]).dtype == np.float32


def test_reshape_proves_or_checks_sizes() -> None:
    t = gx.placeholder("x", ("n", 6), "int64")
    assert str(gx.reshape(t, (-1, 2)).shape) == "(3*n, 2)"
    quarters = gx.reshape(t, (-1, 4))
    assert _both(quarters, {t: np.zeros((2, 6), int)}).shape == (3, 4)
    with pytest.raises(ShapeError, match="number of elements"):
        gx.evaluate(quarters, {t: np.zeros((1, 6), int)})


def test_squeeze_of_a_symbolic_axis_is_checked_at_the_call() -> None:
    t = gx.placeholder("x", ("n", 2))
    squeezed = gx.squeeze(t, 0)
    assert squeezed.shape == (2,)
    with pytest.raises(ShapeError, match="not of size 1"):
        gx.evaluate(squeezed, {t: np.zeros((2, 2), "float32")})


def test_creation_takes_symbolic_sizes_and_values() -> None:
    t, feeds = _fed(np.zeros((5, 3), "float32"), ("n", "m"))
    n = t.shape[0]
    cases = [
        (gx.zeros_like(t), np.zeros((5, 3), "float32")),
        (gx.ones_like(t, "int8"), np.ones((5, 3), "int8")),
        (gx.full_like(t, 2.5), np.full((5, 3), 2.5, "float32")),
        (gx.full(("n", 2), t[0, 0] + 1), np.ones((5, 2), "float32")),
        (gx.arange(n), np.arange(5)),
        (gx.arange("n"), np.arange(5)),
        (gx.arange(n, 0, -2), np.arange(5, 0, -2)),
        (gx.arange(1, n + 2, 3), np.arange(1, 7, 3)),
        (gx.eye("n", "m", dtype="float64"), np.eye(5, 3)),
        (gx.one_hot(gx.arange(3), "n", "int64"), np.eye(3, 5, dtype="int64")),
    ]
    for found, expected in cases:
        joined = gx.concat([gx.reshape(found, -1), gx.reshape(t, -1)[:0]])
        np.testing.assert_array_equal(gx.evaluate(joined, feeds), expected.reshape(-1))
        assert found.dtype == expected.dtype


def test_arange_of_floats_and_linspace() -> None:
    np.testing.assert_array_equal(gx.evaluate(gx.arange(0.5, 3, 0.5, "float64")), np.arange(0.5, 3, 0.5))
    for args in ((0, 1, 7), (2, -3, 2), (5, 5, 3), (0, 1, 1), (0, 1, 0)):
        for endpoint in (True, False):
            found = gx.evaluate(gx.linspace(*args, endpoint=endpoint, dtype="float64"))
            np.testing.assert_allclose(found, np.linspace(*args, endpoint=endpoint), rtol=1e-15)
    assert gx.evaluate(gx.linspace(0, 0.1, 11, dtype="float64"))[-1] == 0.1


def test_creation_defaults() -> None:
    assert [gx.full(2, v).dtype.name for v in (True, 1, 1.0)] == ["bool", "int64", "float32"]
    assert gx.zeros(2).dtype == gx.ones(()).dtype == gx.eye(2).dtype == np.float32
    assert gx.arange(3).dtype == np.int64
    assert gx.arange(3.0).dtype == np.float32


# -------------------------------------------------------------------- gradients
LINEAR: list[tuple[str, Callable[[Any], Any]]] = [
    ("reshape", lambda x: gx.reshape(x, (2, 6))),
    ("expand_dims", lambda x: gx.expand_dims(x, (0, 2))),
    ("squeeze", lambda x: gx.squeeze(gx.reshape(x, (4, 1, 3)), 1)),
    ("permute_dims", lambda x: x.T),
    ("broadcast_to", lambda x: gx.broadcast_to(gx.reshape(x, (4, 1, 3)), (2, 4, 5, 3))),
    ("slice", lambda x: x[1:, ::-2]),
    ("place", lambda x: gx.pad(x, ((1, 2), (0, 1)))),
    ("concat", lambda x: gx.concat([x, x[1:2], x], 0)),
    ("edge", lambda x: gx.pad(x, 2, "edge")),
    ("reflect", lambda x: gx.pad(x, 2, "reflect")),
    ("roll", lambda x: gx.roll(x, (1, 2), (0, 1))),
    ("tile", lambda x: gx.tile(x, (2, 2))),
    ("repeat", lambda x: gx.repeat(x, 3, 1)),
    ("gather", lambda x: x[[0, 2, 2, -1]]),
    ("gather two", lambda x: x[[0, 2, 2], [1, 1, -1]]),
    ("gather apart", lambda x: gx.reshape(x, (2, 2, 3))[[0, 1, 1], :, [2, 0, 0]]),
    ("take", lambda x: gx.take(x, [[0, 5], [5, 11]])),
    ("take_along_axis", lambda x: gx.take_along_axis(x, [[0], [2], [2], [1]], 1)),
    ("scatter_add", lambda x: gx.scatter_add(x[:2], [0, 1, 0], x[1:])),
    ("index_add", lambda x: gx.index_add(x, (slice(None), [0, 0]), x[:, 1:])),
    ("triangles", lambda x: gx.tril(x) - gx.triu(x, 1)),
    ("stack", lambda x: gx.stack([x, x * 2], 1)),
    ("full", lambda x: gx.full((2, 2), x[0, 0])),
]


@pytest.mark.parametrize("function", [f for _, f in LINEAR], ids=[name for name, _ in LINEAR])
def test_gradient_is_the_adjoint_and_closed(function: Callable[[Any], Any]) -> None:
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(4, 3)), gx.placeholder("x", (4, 3), "float64")
    y = function(t)
    values: Array = gx.evaluate(y, {t: x})
    g: Array = np.asarray(rng.normal(size=values.shape))
    cotangent = gx.placeholder("g", g.shape, "float64")
    back = gx.grad(y, t, grad_output=cotangent)
    assert back.type == t.type
    found = _both(back, {t: x, cotangent: g})
    # <g, f(x)> = <f'(g), x> for every linear f.
    np.testing.assert_allclose((g * values).sum(), (found * x).sum(), rtol=1e-12)
    # The adjoint of the adjoint is the function itself.
    v = gx.placeholder("v", (4, 3), "float64")
    again = gx.grad(back, cotangent, grad_output=v)
    np.testing.assert_allclose(gx.evaluate(again, {v: x}), values, rtol=1e-12)


def test_second_derivative_through_a_gather() -> None:
    x, t = np.array([0.5, -1.5, 2.0]), gx.placeholder("x", (3,), "float64")
    picked = t[[0, 2, 2]]
    first = gx.grad((picked * picked * picked).sum(), t)
    second = gx.grad(first.sum(), t)
    np.testing.assert_allclose(gx.evaluate(first, {t: x}), 3 * x**2 * [1, 0, 2])
    np.testing.assert_allclose(gx.evaluate(second, {t: x}), 6 * x * [1, 0, 2])


@pytest.mark.parametrize("index", [5, -4])
def test_an_index_beyond_a_symbolic_axis_is_an_index_error(index: int) -> None:
    x = gx.placeholder("x", shape=("n",))
    program = gx.compile(x, x[index])
    assert program(np.arange(6, dtype="float32")) == np.arange(6)[index]
    with pytest.raises(IndexRangeError, match="out of range for axis 0"):
        program(np.ones(3, "float32"))
    with pytest.raises(IndexError):
        gx.evaluate(x[index], {x: np.ones(3, "float32")})
