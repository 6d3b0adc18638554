"""Loops and branches: compiled against interpreted; gradients against differences and unrolled loops."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.errors import ArgumentError, GradientError
from graphc.tensor import Tensor
from tests.cutting import everything_cut

Array = np.ndarray[Any, Any]
rng = np.random.default_rng(0)
F = "float64"
OPTIMIZE = ("none", "fast", "full")


def _agree(
    inputs: list[Tensor], outputs: list[Tensor], *arrays: Any, optimize: tuple[str, ...] = ("full",)
) -> None:
    """Compiled on one thread and on three, at every level, a program returns what the interpreter does."""
    given = [np.asarray(a) for a in arrays]
    want = gx.evaluate(outputs, dict(zip(inputs, given, strict=True)))
    for level in optimize:
        program = gx.compile(inputs, outputs, optimize=level)
        for threads in (1, 3):
            with everything_cut(threads):
                # Twice: nothing may be left over from the first call.
                program(*given)
                for a, b in zip(program(*given), want, strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11, strict=True)


def _vector(name: str = "v") -> Tensor:
    return gx.placeholder(name, ("n",), F)


def _scalar(name: str = "s") -> Tensor:
    return gx.placeholder(name, (), F)


# ------------------------------------------------------------------------ scan
class Recurrence:
    """A small recurrent network over sequences of symbolic length and batch."""

    def __init__(self) -> None:
        self.w = gx.placeholder("w", (3, 3), F)
        self.xs = gx.placeholder("xs", ("t", "b", 3), F)
        self.h = gx.placeholder("h", ("b", 3), F)
        self.inputs = [self.w, self.xs, self.h]

    def step(self, h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        h = gx.tanh(h @ self.w + x)
        return h, h * h

    def arrays(self, t: int, b: int = 2) -> list[Array]:
        return [rng.normal(size=s) for s in ((3, 3), (t, b, 3), (b, 3))]

    def outputs(self, **options: Any) -> list[Tensor]:
        h, ys = gx.scan(self.step, self.h, self.xs, **options)
        loss = h.sum() + (ys * ys).sum()
        return [loss, h, ys, *gx.grad(loss, self.inputs)]

    def unrolled(self, t: int, reverse: bool) -> list[Tensor]:
        h, ys = self.h, []
        for k in reversed(range(t)) if reverse else range(t):
            h, y = self.step(h, self.xs[k])
            ys.append(y)
        stacked = gx.stack(ys[::-1] if reverse else ys)
        loss = h.sum() + (stacked * stacked).sum()
        return [loss, h, stacked, *gx.grad(loss, self.inputs)]


POLICIES: list[Any] = ["all", "none", 1, 3]


@pytest.mark.parametrize(("residuals", "reverse"), list(itertools.product(POLICIES, (False, True))))
def test_a_scan_is_the_unrolled_loop(residuals: Any, reverse: bool) -> None:
    net = Recurrence()
    outputs = net.outputs(residuals=residuals, reverse=reverse)
    program = gx.compile(net.inputs, outputs)
    for t in (1, 2, 7):
        arrays = net.arrays(t)
        want = gx.evaluate(net.unrolled(t, reverse), dict(zip(net.inputs, arrays, strict=True)))
        for a, b in zip(program(*arrays), want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11, strict=True)


@pytest.mark.parametrize("residuals", POLICIES)
def test_a_scan_compiles_at_every_level_and_for_every_size(residuals: Any) -> None:
    net = Recurrence()
    outputs = net.outputs(residuals=residuals)
    _agree(net.inputs, outputs, *net.arrays(5), optimize=OPTIMIZE)
    for t, b in ((0, 2), (1, 1), (4, 0), (3, 1)):
        _agree(net.inputs, outputs, *net.arrays(t, b))


def test_gradients_of_scans_agree_with_finite_differences() -> None:
    net = Recurrence()
    feeds = dict(zip(net.inputs, net.arrays(4), strict=True))
    for options in ({}, {"residuals": "none"}, {"residuals": 2}, {"reverse": True}):
        h, ys = gx.scan(net.step, net.h, net.xs, **options)
        gx.check_gradients([h, ys], net.inputs, feeds)


def test_gradients_of_gradients() -> None:
    net = Recurrence()
    h, _ = gx.scan(net.step, net.h, net.xs)
    first = gx.grad((h * h).sum(), net.w)
    feeds = dict(zip(net.inputs, net.arrays(3), strict=True))
    gx.check_gradients(first, net.inputs, feeds)
    second = gx.grad((first * first).sum(), net.inputs)
    _agree(net.inputs, [first, *second], *net.arrays(3))


def test_structures_of_any_kind_are_carried() -> None:
    v = _vector()

    def body(carry: Any, x: Any) -> Any:
        low, (high, count) = carry["low"], carry["rest"]
        return {"low": gx.minimum(low, x["a"]), "rest": (gx.maximum(high, x["b"]), count + 1)}, [
            x["a"] - low,
            None,
        ]

    init = {"low": np.inf, "rest": (-np.inf, 0)}
    carry, (differences, nothing) = gx.scan(body, init, {"a": v, "b": v * 2})
    assert nothing is None
    high, count = carry["rest"]
    _agree([v], [carry["low"], high, count, differences], [1.0, -2.0, 5.0])


def test_numbers_take_the_dtype_of_the_body() -> None:
    x = gx.placeholder("x", ("n",), "float32")
    total, _ = gx.scan(lambda c, v: (c + v, None), 0, x)
    assert total.dtype == np.float32
    count = gx.fori_loop(0, 3, lambda i, c: c + i, 0)
    assert count.dtype == np.int64


def test_a_scan_without_arrays_needs_a_length() -> None:
    n = gx.placeholder("v", ("n",), F).shape[0]
    powers = gx.scan(lambda c, _: (c * 2, c), 1, None, length=n)[1]
    v = _vector()
    _agree([v], [powers, v], np.zeros(5))
    with pytest.raises(ArgumentError, match="number of iterations is unknown"):
        gx.scan(lambda c, _: (c, None), 0.0)


def test_map_and_associative_scan() -> None:
    v = _vector()
    m = gx.placeholder("m", ("n", 2), F)
    outputs = [
        gx.map(lambda x: gx.sin(x) * x, v),
        *gx.map(lambda p: (p[0].sum(), p[1] * 2), (m, v)),
        gx.associative_scan(gx.add, v),
        gx.associative_scan(gx.maximum, m, reverse=True),
        gx.associative_scan(lambda a, b: a * b, m, axis=1),
    ]
    for n in (0, 1, 2, 7, 8):
        _agree([v, m], outputs, rng.normal(size=n), rng.normal(size=(n, 2)))
    fixed = gx.constant(rng.normal(size=(6, 2)))
    np.testing.assert_allclose(
        gx.evaluate(gx.associative_scan(gx.add, fixed)), np.cumsum(gx.evaluate(fixed), axis=0)
    )
    gx.check_gradients(gx.associative_scan(gx.multiply, v), [v], {v: rng.normal(size=5)})


# ------------------------------------------------------------- along a direction
def _moves(output: Tensor, inputs: list[Tensor], directions: list[Tensor]) -> list[Tensor]:
    """Return a derivative along a direction, and the same from the gradient."""
    forward = gx.jvp(output, inputs, directions)
    parts = [(g * d).sum() for g, d in zip(gx.grad(output, inputs), directions, strict=True)]
    return [forward, sum(parts[1:], start=parts[0])]


def test_tangents_run_along_with_loops_and_branches() -> None:
    net, s = Recurrence(), _scalar()
    h, ys = gx.scan(net.step, net.h, net.xs)
    bounded, _ = gx.while_loop(lambda c: c[1] < 4, lambda c: (gx.sin(c[0]) * s, c[1] + 1), (s * 2, 0), 6)
    chosen = gx.cond(s > 1, lambda: gx.exp(s) * h.sum(), lambda: s * s)
    inputs = [*net.inputs, s]
    directions = [gx.constant(rng.normal(size=(3, 3))), net.xs * 0.3, gx.sin(net.h), gx.constant(0.7)]
    pairs = [_moves(out, inputs, directions) for out in (h.sum() + (ys * ys).sum(), bounded, chosen)]
    arrays = net.arrays(4)
    for value in (0.4, 1.3):
        feeds = dict(zip(inputs, [*arrays, np.asarray(value)], strict=True))
        for forward, backward in gx.evaluate(pairs, feeds):
            np.testing.assert_allclose(forward, backward, rtol=1e-10)
        _agree(inputs, [t for pair in pairs for t in pair], *arrays, value)


def test_tangents_of_while_loops_need_no_bound() -> None:
    s = _scalar()
    x, _ = gx.while_loop(lambda c: c[1] < 5, lambda c: (gx.sin(c[0]) * s, c[1] + 1), (s * 2, 0))
    tangent = gx.jvp(x, s, 1.0)
    step = 1e-6
    high, low = (float(gx.evaluate(x, {s: np.asarray(1.3 + d)})) for d in (step, -step))
    slope = (high - low) / (2 * step)
    np.testing.assert_allclose(gx.evaluate(tangent, {s: np.asarray(1.3)}), slope, rtol=1e-6)
    program = gx.compile(s, [x, tangent])
    assert len([n for n in program.graph.nodes if n.op.name == "loop"]) == 1
    _agree([s], [x, tangent], 1.3, optimize=OPTIMIZE)


# ------------------------------------------------------------- while, fori_loop
def test_a_while_loop_runs_until_its_condition_fails() -> None:
    v = _vector()
    steps, last = gx.while_loop(lambda s: s[1] < v.sum(), lambda s: (s[0] + 1, s[1] * 2), (0, 1.0))
    _agree([v], [steps, last], np.arange(50.0), optimize=OPTIMIZE)
    # Not a single time.
    _agree([v], [steps, last], np.zeros(3))


def test_gradients_of_while_loops_need_a_bound() -> None:
    s = _scalar()

    def run(max_steps: int | None) -> Tensor:
        x, _ = gx.while_loop(
            lambda c: c[1] < 5, lambda c: (gx.sin(c[0]) * s, c[1] + 1), (s * 2, 0), max_steps
        )
        return x

    for most in (3, 5, 9):
        x = run(most)
        gx.check_gradients(x, [s], {s: np.asarray(1.3)})
        _agree([s], [x, gx.grad(x, s)], 1.3)
    with pytest.raises(GradientError, match=r"while_loop: a reverse-mode gradient needs a bound"):
        gx.grad(run(None), s)


def test_fori_loops_take_bounds_of_every_kind() -> None:
    s = _scalar()
    k = gx.placeholder("k", (), "int64")
    v = _vector()

    def body(i: Tensor, c: Tensor) -> Tensor:
        return c * s + i.astype(F)

    n = v.shape[0]
    loops = [
        gx.fori_loop(1, 4, body, 1.0),
        gx.fori_loop(4, 1, body, 1.0),
        gx.fori_loop(0, n, body, 1.0),
        gx.fori_loop(k, 5, body, 1.0),
        gx.fori_loop(2, k, body, s, max_steps=3),
    ]
    bounded = [loops[0], loops[2], loops[4]]
    outputs = [*loops, *(gx.grad(x, s) for x in bounded)]
    for number in (-1, 0, 3, 4, 9):
        _agree([s, k, v], outputs, 1.1, number, np.zeros(4))
    gx.check_gradients(bounded, [s], {s: np.asarray(0.7), k: np.asarray(4), v: np.zeros(3)})


# -------------------------------------------------------------------- branches
def test_only_the_branch_taken_runs() -> None:
    s = _scalar()
    ran: list[float] = []

    def spy(x: Array) -> Array:
        ran.append(float(x))
        return x

    op = gx.custom_op("spy", lambda t: t, spy, lambda g, out, x: [g])
    program = gx.compile(s, gx.cond(s > 0, lambda: op(s * 2), lambda: -s))
    assert program(-3.0) == 3.0
    assert ran == []
    assert program(4.0) == 8.0
    assert ran == [8.0]


def test_branches_and_their_gradients() -> None:
    s, v = _scalar(), _vector()
    k = gx.placeholder("k", (), "int64")
    branches = [lambda a, b: (a * b, a.sum()), lambda a, b: (gx.sin(a), b), lambda a, b: (a, gx.max(a) * s)]
    left, right = gx.switch(k, branches, v, s)
    chosen = gx.cond(s > 1, lambda: gx.exp(v).sum(), lambda: (v * s).sum())
    loss = left.sum() * right + chosen
    outputs = [left, right, chosen, *gx.grad(loss, [s, v])]
    for number, value in itertools.product((-5, 0, 1, 2, 7), (0.3, 1.4)):
        _agree([s, k, v], outputs, value, number, np.array([0.1, -2.0, 0.7]))
        feeds = {s: np.asarray(value), k: np.asarray(number), v: np.array([0.1, -2.0, 0.7])}
        gx.check_gradients(loss, [s, v], feeds)


def test_a_branch_of_a_constant_index_costs_nothing() -> None:
    s = _scalar()
    program = gx.compile(s, gx.switch(1, [lambda: s, lambda: s * 3], *()))
    assert len(program.kernels) == 1
    assert program(2.0) == 6.0


# --------------------------------------------------------------------- nesting
def test_loops_and_branches_nest() -> None:
    m, v = gx.placeholder("m", ("n", 3), F), gx.placeholder("v", (3,), F)

    def inner(c: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return gx.sin(c * x + m.sum()), c * 2

    def outer(c: Tensor, row: Tensor) -> tuple[Any, Any]:
        def loop() -> Tensor:
            return gx.scan(inner, c, row)[0]

        c = gx.cond(c.sum() > 0, loop, lambda: c * row + 1)
        d, ys = gx.scan(inner, c, row)
        return d, (ys, gx.fori_loop(0, 2, lambda i, e: e * c.sum(), 1.0))

    c, (ys, powers) = gx.scan(outer, v, m)
    loss = (c * c).sum() + ys.sum() + powers.sum()
    gradients = gx.grad(loss, [m, v])
    feeds = [rng.normal(size=(4, 3)), rng.normal(size=3)]
    _agree([m, v], [c, ys, powers, *gradients], *feeds, optimize=OPTIMIZE)
    gx.check_gradients(loss, [m, v], {m: feeds[0], v: feeds[1]})


def test_swapped_and_unchanged_values_are_carried() -> None:
    s = _scalar()
    swapped = gx.fori_loop(0, 5, lambda i, c: (c[1], c[0], c[2], c[0]), (s * 1, s * 2, s * 3, s * 4))
    _agree([s], list(swapped), 3.0, optimize=OPTIMIZE)


def test_constants_from_outside_have_gradients() -> None:
    v, factor, offset = _vector(), gx.constant(0.7), gx.zeros((), F)
    total, _ = gx.scan(lambda c, x: (c + factor * x + offset, None), 0.0, v)
    chosen = gx.cond(total > 0, lambda: factor * total, lambda: offset)
    found = gx.grad(total + chosen, [factor, offset])
    np.testing.assert_allclose(gx.evaluate(found, {v: np.arange(4.0)}), [6 + 4.2 + 0.7 * 6, 4 + 0.7 * 4])
    _agree([v], found, np.arange(4.0))


def test_parts_of_what_is_stacked_are_written_where_they_belong() -> None:
    v, s = gx.placeholder("v", (2,), F), _scalar()

    def slope(y: Tensor) -> Tensor:
        return gx.stack([y[1], s * (1 - y[0] ** 2) * y[1] - y[0]])

    def body(c: Any) -> Any:
        y, size, n = c
        first = slope(y)
        second = slope(y + size * first)
        error = gx.sqrt(gx.mean((size * (second - first)) ** 2))
        y = y + size * (first + second)
        return y, size * gx.clip(0.05 / error, 0.5, 2.0), n + 1

    y, _, _ = gx.while_loop(lambda c: c[2] < 5, body, (v, 0.1, 0), max_steps=8)
    _agree([v, s], [y, *gx.grad(y.sum(), [v, s])], np.array([2.0, 0.3]), 1.5)


def test_users_own_operations_run_in_loops() -> None:
    m = gx.placeholder("m", ("n", 3), F)
    total = gx.custom_op("total", lambda t: ((), t.dtype), lambda x: x.sum(), lambda g, out, x: [g + 0 * x])
    c, ys = gx.scan(lambda c, r: (c + total(r), total(r) * 2), 0.0, m)
    _agree([m], [c, ys, gx.grad(c, m)], rng.normal(size=(4, 3)))


def test_an_exception_in_a_loop_ends_it() -> None:
    v = _vector()

    def picky(x: Array) -> Array:
        if x < 0:
            raise ValueError("no roots of negative numbers")
        return np.sqrt(x)

    op = gx.custom_op("root", lambda t: t, picky)
    program = gx.compile(v, gx.scan(lambda c, x: (c + op(x), None), 0.0, v)[0])
    assert program(np.array([4.0, 9.0])) == 5.0
    with pytest.raises(ValueError, match="negative"):
        program(np.array([4.0, -9.0]))
    assert program(np.array([4.0, 9.0])) == 5.0


def test_a_failed_check_in_a_loop_names_the_operation_and_changes_nothing() -> None:
    v = _vector()
    at = gx.placeholder("at", ("m",), "int64")
    calls = gx.variable(0.0, name="calls")
    total, _ = gx.scan(lambda c, i: (c + gx.take(v, i), None), 0.0, at)
    program = gx.compile([v, at], total, updates={calls: calls + total})
    assert program(np.arange(4.0), np.array([1, 3])) == 4.0
    with pytest.raises(gx.errors.IndexRangeError, match="given 9"):
        program(np.arange(4.0), np.array([1, 9]))
    assert calls.value == 4.0


def test_variables_are_read_once_and_updated_by_what_a_loop_carries() -> None:
    w = gx.variable(np.ones(3), name="w")
    v = _vector()
    last, _ = gx.scan(lambda c, x: (c + w * x, None), w, v)
    step = gx.compile(v, last, updates={w: last})
    np.testing.assert_array_equal(step(np.array([1.0, 2.0])), [4.0, 4.0, 4.0])
    np.testing.assert_array_equal(w.value, [4.0, 4.0, 4.0])
    np.testing.assert_array_equal(step(np.array([1.0])), [8.0, 8.0, 8.0])


# ---------------------------------------------------------------- what it costs
def test_the_number_of_kernels_does_not_depend_on_the_length() -> None:
    def kernels(length: int) -> int:
        xs, w = gx.placeholder("xs", (length, 4, 3), F), gx.variable(np.eye(3), name="w")
        h, _ = gx.scan(lambda h, x: (gx.tanh(h @ w + x), None), np.zeros((4, 3)), xs)
        return len(gx.compile(xs, gx.grad(h.sum(), w)).kernels)

    assert kernels(3) == kernels(300)


def test_a_loop_and_its_gradient_run_the_forward_iterations_once() -> None:
    net = Recurrence()
    h, _ = gx.scan(net.step, net.h, net.xs)
    both = gx.compile(net.inputs, [h, gx.grad(h.sum(), net.w)])
    loops = [n for n in both.graph.nodes if n.op.name == "loop"]
    assert len(loops) == 2


def test_what_nothing_reads_is_not_carried() -> None:
    v = _vector()
    (used, _, _), (_, _) = gx.scan(
        lambda c, x: ((c[0] + x, c[1] * x, c[2] + c[1]), (c[1], x)), (0.0, 1.0, 2.0), v
    )
    program = gx.compile(v, used)
    (loop,) = (n for n in program.graph.nodes if n.op.name == "loop")
    assert loop.attrs["carries"] == 1
    assert len(loop.attrs["flip"]) == 1
