"""Variables: updates read old values and land together, or not at all; threads, forks, lifetimes."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.errors import (
    ArgumentError,
    CheckError,
    DTypeError,
    GradientError,
    GraphcError,
    GraphError,
    IndexRangeError,
    NonFiniteError,
    ShapeError,
)
from graphc.runtime import kernels
from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]
A, B = np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 30.0])
X = np.array([0.5, -1.0, 2.0])
Update = Callable[[gx.Variable, gx.Variable, Tensor], dict[gx.Variable, Any]]


def _state() -> tuple[gx.Variable, gx.Variable, Tensor]:
    return gx.variable(A, name="a"), gx.variable(B, name="b"), gx.placeholder("x", (3,), "float64")


def _softmax(x: Array) -> Array:
    result: Array = np.exp(x) / np.exp(x).sum()
    return result


# -------------------------------------------------------------------- updates
# The updates, and what the same expressions give in NumPy.
UPDATES: dict[str, tuple[Update, Callable[[Array, Array, Array], tuple[Any, Any]]]] = {
    "swap": (lambda a, b, x: {a: b, b: a}, lambda a, b, x: (b, a)),
    "sum and difference": (lambda a, b, x: {a: a + b, b: a - b}, lambda a, b, x: (a + b, a - b)),
    "one through the other": (lambda a, b, x: {a: a * 2, b: a + x}, lambda a, b, x: (a * 2, a + x)),
    "one overwritten before the other is read": (
        lambda a, b, x: {a: x * 3, b: a + x},
        lambda a, b, x: (x * 3, a + x),
    ),
    "a row overwritten before it is read": (
        lambda a, b, x: {a: gx.softmax(x), b: gx.softmax(x) * a},
        lambda a, b, x: (_softmax(x), _softmax(x) * a),
    ),
    "same value": (lambda a, b, x: dict.fromkeys((a, b), a * b + x), lambda a, b, x: (a * b + x,) * 2),
    "equal values": (lambda a, b, x: {a: a * x, b: x * a}, lambda a, b, x: (a * x,) * 2),
    "a constant": (lambda a, b, x: {a: gx.constant(B), b: [7.0, 8.0, 9.0]}, lambda a, b, x: (B, [7, 8, 9])),
    "an input": (lambda a, b, x: {a: x, b: x}, lambda a, b, x: (x, x)),
    "another variable": (lambda a, b, x: {a: b}, lambda a, b, x: (b, b)),
    "itself": (lambda a, b, x: {a: a, b: b + 0}, lambda a, b, x: (a, b)),
    "a reshape": (
        lambda a, b, x: {a: (x * 2).reshape(1, 3).reshape(3), b: a.reshape(-1)},
        lambda a, b, x: (x * 2, a),
    ),
    "reversed in place": (
        lambda a, b, x: {a: a[::-1], b: b[::-1] + a},
        lambda a, b, x: (a[::-1], b[::-1] + a),
    ),
    "a total of itself": (
        lambda a, b, x: {a: a / a.sum(), b: b - b.max()},
        lambda a, b, x: (a / a.sum(), b - b.max()),
    ),
    "running total": (
        lambda a, b, x: {a: a.cumsum(), b: b.cumsum() + b},
        lambda a, b, x: (a.cumsum(), b.cumsum() + b),
    ),
    "a product": (
        lambda a, b, x: {a: gx.outer(a, b) @ x, b: b - 0.1 * (gx.outer(b, x) @ a)},
        lambda a, b, x: (np.outer(a, b) @ x, b - 0.1 * (np.outer(b, x) @ a)),
    ),
    "a chain": (
        lambda a, b, x: (lambda m: {a: m, b: b - 0.1 * m / (gx.sqrt(m * m) + 1)})(0.9 * a + x),
        lambda a, b, x: (lambda m: (m, b - 0.1 * m / (np.abs(m) + 1)))(0.9 * a + x),
    ),
    "selected": (
        lambda a, b, x: {a: gx.where(a > 1.5, b, a), b: gx.where(a > 1.5, a, b)},
        lambda a, b, x: (np.where(a > 1.5, b, a), np.where(a > 1.5, a, b)),
    ),
    "gathered": (lambda a, b, x: {a: a[[2, 0, 1]], b: a + 1}, lambda a, b, x: (a[[2, 0, 1]], a + 1)),
}


@pytest.mark.parametrize("outputs", [True, False], ids=["with outputs", "updates only"])
@pytest.mark.parametrize("optimize", ["full", "none"])
@pytest.mark.parametrize(("build", "meaning"), UPDATES.values(), ids=UPDATES.keys())
def test_updates_read_old_values_and_land_together(
    build: Update, meaning: Callable[..., tuple[Any, Any]], optimize: Any, outputs: bool
) -> None:
    a, b, x = _state()
    returned = [a, a * b, b.reshape(3, 1), a] if outputs else None
    step = gx.compile(x, returned, updates=build(a, b, x), optimize=optimize)
    old_a, old_b = A, B
    for _ in range(3):
        found = step(X)
        new_a, new_b = (np.asarray(v, np.float64) for v in meaning(old_a, old_b, X))
        if outputs:
            for value, expected in zip(found, (old_a, old_a * old_b, old_b[:, None], old_a), strict=True):
                np.testing.assert_allclose(value, expected, rtol=1e-12)
        else:
            assert found is None
        np.testing.assert_allclose(a.value, new_a, rtol=1e-12)
        np.testing.assert_allclose(b.value, new_b, rtol=1e-12)
        old_a, old_b = new_a, new_b


def test_the_new_value_can_be_an_output_too() -> None:
    a, _, x = _state()
    new = a * x
    step = gx.compile(x, [new, new.reshape(3, 1), a, new + 1], updates={a: new})
    first = step(X)
    kept = [v.copy() for v in first]
    step(X)
    for value, expected in zip(first, (A * X, (A * X)[:, None], A, A * X + 1), strict=True):
        np.testing.assert_array_equal(value, expected)
    for value, before in zip(first, kept, strict=True):
        np.testing.assert_array_equal(value, before)
    np.testing.assert_array_equal(a.value, A * X * X)


def test_programs_share_the_variables_that_they_name() -> None:
    a, b, x = _state()
    grow = gx.compile([], updates={a: a + 1})
    read = gx.compile(x, a * x)
    move = gx.compile([], a, updates={b: a})
    assert grow() is None
    np.testing.assert_array_equal(read(X), (A + 1) * X)
    np.testing.assert_array_equal(move(), A + 1)
    a.value = X
    np.testing.assert_array_equal(b.value, A + 1)
    np.testing.assert_array_equal(read(X), X * X)


def test_variables_of_size_zero_and_one_and_of_every_kind_update() -> None:
    for value in (np.zeros((0, 3)), np.zeros(()), np.array([True, False]), np.arange(3, dtype="uint8")):
        w = gx.variable(value)
        new = ~w if value.dtype == bool else w + 1
        step = gx.compile([], w, updates={w: new})
        np.testing.assert_array_equal(step(), value)
        np.testing.assert_array_equal(w.value, ~value if value.dtype == bool else value + 1)


# --------------------------------------------------------------- failed calls
def _explode(x: Array) -> Array:
    if (x < 0).any():
        raise ZeroDivisionError("no negatives")
    return x


_FRAGILE = gx.custom_op("fragile", lambda t: t, _explode)
_LYING = gx.custom_op("lying", lambda t: t, lambda x: x if x[0] > 0 else x[:1])

Fail = Callable[[gx.Variable, Tensor], Tensor]
# What fails when an element of the input is negative, how, and words of the message.
FAILURES: dict[str, tuple[Fail, type[Exception], str]] = {
    "index range": (
        lambda a, x: gx.take(a * 2, gx.astype(x * 3, "int64")),
        IndexRangeError,
        "index out of range\n  expected -3 to 2, given -30",
    ),
    "not finite": (
        lambda a, x: gx.debug.check_finite(gx.log(x), "the log") * a,
        NonFiniteError,
        r"the log is not finite\n.*given nan at index \(1,\)",
    ),
    "callback": (lambda a, x: _FRAGILE(x * 2) + a, ZeroDivisionError, "no negatives"),
    "callback of another type": (
        lambda a, x: _LYING(x[1:] * a[1:]),
        CheckError,
        r"lying returned another type.*\n  expected float64\[2\], given float64\[1\]",
    ),
}


@pytest.mark.parametrize("where", ["in an output", "in an update"])
@pytest.mark.parametrize(("build", "error", "words"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failed_call_changes_no_variable(
    build: Fail, error: type[Exception], words: str, where: str
) -> None:
    a, b, x = _state()
    risky = build(a, x)
    updates = {a: a + 1, b: b + x}
    if where == "in an update":
        updates[b] = b + risky.sum()
    step = gx.compile(x, risky if where == "in an output" else a * 2, updates=updates)
    good, bad = np.array([0.5, 0.25, 0.0]) + 0.01, np.array([0.1, -10.0, 0.1])
    step(good)
    before = a.value, b.value
    for _ in range(2):
        with pytest.raises(error, match=words) as caught:
            step(bad)
        if isinstance(caught.value, GraphcError):
            assert caught.value.where is not None and caught.value.where.file == __file__
            assert "lambda a, x" in str(caught.value)
        np.testing.assert_array_equal(a.value, before[0])
        np.testing.assert_array_equal(b.value, before[1])
    expected = gx.evaluate(risky if where == "in an output" else a * 2, {x: good})
    np.testing.assert_allclose(step(good), expected, rtol=1e-12)
    np.testing.assert_array_equal(a.value, before[0] + 1)


def test_the_first_of_several_failures_in_one_kernel_is_reported() -> None:
    _, _, x = _state()
    first = gx.debug.check_finite(gx.log(x), "first")
    second = gx.debug.check_finite(1 / x, "second")
    step = gx.compile(x, [first + second, second])
    with pytest.raises(NonFiniteError, match="second is not finite"):
        step(np.array([1.0, 2.0, 1e-320]))
    with pytest.raises(NonFiniteError, match="first is not finite"):
        step(np.array([1.0, -2.0, 1.0]))
    np.testing.assert_allclose(step(np.ones(3))[1], np.ones(3))


def test_a_program_cannot_call_itself() -> None:
    programs: list[gx.Program] = []
    again = gx.custom_op("again", lambda t: t, lambda v: programs[0](v))
    x = gx.placeholder("x", (3,), "float64")
    programs.append(gx.compile(x, again(x) + 1, name="loop"))
    with pytest.raises(GraphError, match="loop is called by an operation that it calls itself"):
        programs[0](X)


def test_a_callback_may_call_other_programs_and_read_variables() -> None:
    a, b, x = _state()
    inner = gx.compile(x, a * x, updates={a: a + 1})
    outer = gx.compile(x, gx.custom_op("call", lambda t: t, lambda v: inner(v) + b.value)(x) * 2)
    np.testing.assert_array_equal(outer(X), (A * X + B) * 2)
    np.testing.assert_array_equal(a.value, A + 1)


# ---------------------------------------------------------- what is no update
BAD_UPDATES: dict[str, tuple[Callable[..., object], type[GraphcError], str]] = {
    "no variable": (
        lambda a, b, x: gx.compile(x, x, updates={x: x}),
        ArgumentError,
        "key must be a variable",
    ),
    "shape": (
        lambda a, b, x: gx.compile(x, x, updates={a: x[:2]}),
        ShapeError,
        r"float64\[3\], given float64\[2\]",
    ),
    "dtype": (
        lambda a, b, x: gx.compile(x, x, updates={a: x.astype("float32")}),
        DTypeError,
        "given float32",
    ),
    "twice in a list": (
        lambda a, b, x: gx.compile(x, x, updates=[(a, x), (a, x * 2)]),
        GraphError,
        "'a' is updated twice",
    ),
    "by two optimizers": (
        lambda a, b, x: gx.compile(x, x, updates=_two_optimizers(a, x)),
        GraphError,
        "updated twice",
    ),
}


def _two_optimizers(a: gx.Variable, x: Tensor) -> list[Any]:
    loss = (a * x).sum()
    first, second = (gx.optim.SGD(rate).minimize(loss, [a]) for rate in (0.1, 0.2))
    return [*dict(first).items(), *dict(second).items()]


@pytest.mark.parametrize(("build", "error", "words"), BAD_UPDATES.values(), ids=BAD_UPDATES.keys())
def test_a_bad_update_names_the_variable_and_the_line(
    build: Callable[..., object], error: type[GraphcError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        build(*_state())
    assert caught.value.where is not None and caught.value.where.file == __file__


def test_assigning_what_does_not_fit_changes_nothing() -> None:
    a, _, _ = _state()
    for bad, error in ((B[:2], ShapeError), (B * 1j, DTypeError), ([[1], [1, 2]], ShapeError)):
        with pytest.raises(error, match="variable 'a'"):
            a.assign(bad)
    np.testing.assert_array_equal(a.value, A)
    a.value[...] = 0
    np.testing.assert_array_equal(a.value, A)


def test_only_scalars_of_floats_have_a_gradient() -> None:
    a, _, x = _state()
    with pytest.raises(GradientError, match="grad") as caught:
        gx.grad(a * x, [a])
    assert caught.value.where is not None and caught.value.where.file == __file__
    with pytest.raises(GradientError):
        gx.grad(gx.astype(a, "int64").sum(), [a])


@pytest.mark.parametrize("bad", ["", "two\nlines", "\x1b[1m", 3])
def test_names_fit_on_a_line(bad: Any) -> None:
    x = gx.placeholder("x", ())
    builds = {
        "placeholder": lambda: gx.placeholder(bad, ()),
        "variable": lambda: gx.variable(0.0, name=bad),
        "constant": lambda: gx.constant(0.0, name=bad),
        "compile": lambda: gx.compile(x, x, name=bad),
    }
    for owner, build in builds.items():
        with pytest.raises(ArgumentError, match=f"{owner}: bad name") as caught:
            build()
        assert caught.value.where is not None and caught.value.where.file == __file__


def test_updates_are_a_mapping_or_pairs() -> None:
    wrong: Any = [gx.variable(0.0, name="w")]
    with pytest.raises(ArgumentError, match=r"compile: bad updates\n  expected a dict") as caught:
        gx.compile([], None, updates=wrong)
    assert caught.value.where is not None and caught.value.where.file == __file__


@pytest.mark.parametrize("bad", [None, "text", [None]])
def test_what_is_no_number_is_no_operand(bad: Any) -> None:
    x = gx.placeholder("x", ())
    for use in (gx.constant, gx.variable, lambda v: x + v, lambda v: x == v):
        with pytest.raises(DTypeError, match=r": the value is no number\n.*given .*") as caught:
            use(bad)
        assert repr(bad) in str(caught.value)


def test_a_placeholder_may_be_named_self() -> None:
    x = gx.placeholder("self", ())
    assert gx.compile(x, x + 1)(self=1.0) == 2.0


def test_an_attribute_must_be_hashable() -> None:
    op = gx.custom_op("scaled", lambda t, by: t, lambda v, by: v * by[0])
    with pytest.raises(
        ArgumentError, match=r"scaled: attribute 'by' is not hashable\n.*given list"
    ) as caught:
        op(X, by=[2])
    assert caught.value.where is not None and caught.value.where.file == __file__


# ------------------------------------------------------ threads, forks, leaks
def _in_threads(count: int, work: Callable[[int], None]) -> None:
    failures: list[BaseException] = []

    def guarded(k: int) -> None:
        try:
            work(k)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(k,)) for k in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_threads_can_call_one_program() -> None:
    x = gx.placeholder("x", ("n",), "float64")
    program = gx.compile(x, [gx.exp(x).sum() * x, x * 2])

    def work(k: int) -> None:
        for repeat in range(200):
            value = np.full(1 + (repeat + k) % 50, float(k))
            total, twice = program(value)
            np.testing.assert_allclose(total, np.exp(value).sum() * value)
            np.testing.assert_array_equal(twice, value * 2)

    _in_threads(4, work)


def test_threads_can_call_programs_that_share_variables() -> None:
    """Two variables that every update keeps equal are never seen unequal, and no update is lost."""
    a, b = gx.variable(np.zeros(500), name="a"), gx.variable(np.zeros(500), name="b")
    grow = gx.compile([], updates={a: a + 1, b: b + 1})
    swap = gx.compile([], [a.sum(), b.sum()], updates={a: b + 1, b: a + 1})
    check = gx.compile([], gx.abs(a - b).max())

    def work(k: int) -> None:
        for _ in range(200):
            grow() if k % 2 else swap()
            assert float(check()) == 0.0

    _in_threads(4, work)
    np.testing.assert_array_equal(a.value, np.full(500, 800.0))


_FORKED = """
    import os, threading, time
    import numpy as np
    import graphc as gx

    slow = gx.custom_op("slow", lambda t: t, lambda v: (entered.set(), time.sleep(0.3), v)[2])
    x, w = gx.placeholder("x", ("n",)), gx.variable(np.zeros(3, "float32"))
    programs = [gx.compile(x, slow(x) + 1), gx.compile(x, slow(x) + w, updates={w: w + 1})]
    ones = np.ones(3, "float32")
    for program in programs:
        entered = threading.Event()
        thread = threading.Thread(target=program, args=(ones,))
        thread.start()
        entered.wait()
        child = os.fork()
        if not child:
            np.testing.assert_array_equal(program(ones), 2 * ones)
            # New code, too, compiled in the child.
            np.testing.assert_array_equal(gx.compile(x, gx.cos(x) - w * 2)(0 * ones), ones - 2 * w.value)
            os._exit(0)
        thread.join()
        assert os.waitpid(child, 0)[1] == 0
        np.testing.assert_array_equal(programs[0](ones), 2 * ones)
    np.testing.assert_array_equal(w.value, ones)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_a_child_forked_during_a_call_goes_on() -> None:
    script = textwrap.dedent(_FORKED)
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_dropped_programs_and_variables_are_freed() -> None:
    w = gx.variable(np.zeros(1000), name="w")
    x = gx.placeholder("x", ("n", 1000), "float64")
    program = gx.compile(x, (x * w).sum(), updates={w: w + 1})
    program(np.ones((2, 1000)))
    gone = [weakref.ref(program), weakref.ref(w.storage), weakref.ref(program.graph)]
    del program, w, x
    gc.collect()
    assert [ref() for ref in gone] == [None, None, None]


def test_compiling_the_same_graph_again_compiles_no_kernel_and_keeps_nothing() -> None:
    def once() -> None:
        x = gx.placeholder("x", ("n", 7), "float64")
        w = gx.variable(np.ones(7))
        gx.compile(x, gx.sinh(x) * w, updates={w: w * 2})(np.ones((2, 7)))

    once()
    gc.collect()
    before, objects = kernels.compilations(), len(gc.get_objects())
    for _ in range(20):
        once()
    gc.collect()
    assert kernels.compilations() == before
    assert len(gc.get_objects()) - objects < 200
