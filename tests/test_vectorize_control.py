"""`gx.vectorize` of loops, branches and ops that have no rule, against single rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.ir import topological
from graphc.lower.rules import Expand
from graphc.ops.fused import items
from graphc.ops.op import Op
from graphc.pipeline import Pipeline
from graphc.tensor import Tensor
from graphc.trace import trace
from graphc.types import TensorType, TupleType

Array = np.ndarray[Any, Any]


def floats(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).normal(size=shape) * 0.5


X, Y, W = floats(3, 5, 2), floats(3, 2), floats(2, 2)
COUNTS, STRIDES = np.array([2, 0, 4]), np.array([3, 9, 1])
NUMBERS = np.array([1.5, 40.0, 0.2])


def batched_and_single(
    fn: Callable[..., Any], values: Sequence[Array], axes: tuple[int | None, ...]
) -> tuple[list[Array], list[Array]]:
    """Return what the vectorized function gives, and its single results stacked."""
    inputs = [gx.placeholder(f"v{k}", v.shape, v.dtype) for k, v in enumerate(values)]
    found = gx.evaluate(gx.vectorize(fn, axes)(*inputs), dict(zip(inputs, values, strict=True)))
    pairs = list(enumerate(zip(values, axes, strict=True)))
    single = [gx.placeholder(f"v{k}", v.shape[a is not None :], v.dtype) for k, (v, a) in pairs]
    result = fn(*single)
    singles = []
    for row in range(next(len(v) for v, a in zip(values, axes, strict=True) if a == 0)):
        own = [v[row] if a == 0 else v for v, a in zip(values, axes, strict=True)]
        singles.append(gx.evaluate(result, dict(zip(single, own, strict=True))))
    flat = [list(s) if isinstance(s, (list, tuple)) else [s] for s in singles]
    return (list(found) if isinstance(found, (list, tuple)) else [found]), [
        np.stack(column) for column in zip(*flat, strict=True)
    ]


def recurrence(x: Tensor, start: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    def step(h: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        new = gx.tanh(row + h @ w)
        return new, new.sum()

    return gx.scan(step, start, x)


def backwards(x: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    return gx.scan(lambda h, row: (h * 0.5 + row, h), start, x, reverse=True)


def chained(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows reach the last carried value only after two iterations."""
    first = (0.0, 0.0, 0.0)
    return gx.scan(lambda c, row: ((row.sum(), c[0], c[1]), None), first, x)[0]


def nested(x: Tensor, w: Tensor) -> Tensor:
    def outer(total: Tensor, row: Tensor) -> tuple[Tensor, None]:
        inner, _ = gx.scan(lambda c, v: (c + v * total, None), 1.0, row)
        return total + inner, None

    return gx.scan(outer, w.sum(), x)[0]


def powers(n: Tensor) -> tuple[Tensor, Tensor]:
    return gx.fori_loop(0, n, lambda i, c: (c[0] * 2.0, c[1] + i), (1.0, 0))


def root(a: Tensor) -> tuple[Tensor, Tensor]:
    """Newton's method: every row needs another number of iterations."""

    def step(s: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        x, n = s
        return 0.5 * (x + a / x), n + 1

    return gx.while_loop(lambda s: gx.abs(s[0] * s[0] - a) > 1e-9, step, (a, 0), max_steps=20)


def looked_up(n: Tensor, stride: Tensor, table: Tensor) -> Tensor:
    """An iteration too many would read beyond the table."""

    def step(s: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return s[0] + 1, s[1] + gx.take(table, s[0] * stride, 0)

    return gx.while_loop(lambda s: s[0] < n, step, (0, table.sum() * 0))[1]


def at_most(n: Tensor) -> Tensor:
    return gx.fori_loop(0, n, lambda i, c: c + 1, 0, max_steps=3)


def either(x: Tensor) -> Tensor:
    return gx.cond(x.sum() > 0, lambda v: (v * 2, v.sum()), lambda v: (-v, v[0]), x)


def shared_choice(flag: Tensor, x: Tensor, y: Tensor) -> Any:
    return gx.cond(flag, lambda: (x, y), lambda: (x * y, y + 1))


def one_of_three(k: Tensor, x: Tensor) -> Tensor:
    return gx.switch(k, [lambda v: v, lambda v: v * v, lambda v: v * 0 + 7], x)


CASES: dict[str, tuple[Callable[..., Any], Sequence[Array], tuple[int | None, ...]]] = {
    "scan, all mapped": (recurrence, (X, Y, floats(3, 2, 2)), (0, 0, 0)),
    "scan, slices mapped": (recurrence, (X, Y[0], W), (0, None, None)),
    "scan, first value mapped": (recurrence, (X[0], Y, W), (None, 0, None)),
    "scan, capture mapped": (recurrence, (X[0], Y[0], floats(3, 2, 2)), (None, None, 0)),
    "scan, reversed": (backwards, (X, Y), (0, 0)),
    "scan, rows reach carried values late": (chained, (X,), (0,)),
    "scan of no slices": (recurrence, (X[:, :0], Y, W), (0, 0, None)),
    "scan in a scan": (nested, (X, W), (0, None)),
    "as often as each row says": (powers, (COUNTS,), (0,)),
    "as often as each row says, up to a bound": (at_most, (COUNTS,), (0,)),
    "while rows go on": (root, (NUMBERS,), (0,)),
    "rows that are done read nothing": (looked_up, (COUNTS, STRIDES, floats(4)), (0, 0, None)),
    "rows of tables": (looked_up, (COUNTS, STRIDES, floats(3, 4)), (0, 0, 0)),
    "each row decides": (either, (Y,), (0,)),
    "all rows decide alike": (shared_choice, (np.array(True), Y, Y[0]), (None, 0, None)),
    "each row chooses": (one_of_three, (np.array([-1, 1, 9]), Y), (0, 0)),
}


@pytest.mark.parametrize("case", CASES)
def test_rows_are_stacked_single_results(case: str) -> None:
    for found, wanted in zip(*batched_and_single(*CASES[case]), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def total(fn: Callable[..., Any]) -> Callable[..., Tensor]:
    """Return a function's floating results as one number."""

    def summed(*args: Tensor) -> Tensor:
        found = fn(*args)
        parts = [found] if isinstance(found, Tensor) else list(found)
        return sum(p.sum() for p in parts if p.dtype.kind == "f")

    return summed


SMOOTH = [name for name, (_, values, _) in CASES.items() if any(v.dtype.kind == "f" for v in values)]


@pytest.mark.parametrize("case", [c for c in SMOOTH if "read nothing" not in c and "tables" not in c])
def test_gradients_of_rows_are_stacked_single_gradients(case: str) -> None:
    fn, values, axes = CASES[case]

    def slopes(*args: Tensor) -> list[Tensor]:
        wanted = [a for a in args if a.dtype.kind == "f"]
        return gx.grad(total(fn)(*args), wanted)

    for found, wanted in zip(*batched_and_single(slopes, values, axes), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "case", ["scan, all mapped", "scan, reversed", "while rows go on", "each row decides"]
)
def test_gradient_through_rows(case: str) -> None:
    fn, values, axes = CASES[case]
    inputs = [gx.placeholder(f"v{k}", v.shape, v.dtype) for k, v in enumerate(values)]
    mapped = gx.vectorize(total(fn), axes)(*inputs).sum()
    gx.check_gradients(mapped, inputs, dict(zip(inputs, values, strict=True)))


def test_third_derivatives_of_rows_that_end_differently() -> None:
    """The loops of gradients take their slices from the end, and stack to it."""

    def power(x: Tensor, n: Tensor) -> Tensor:
        return gx.fori_loop(0, n, lambda i, c: c * x, 1.0, max_steps=6)

    def third(x: Tensor, n: Tensor) -> Tensor:
        return gx.grad(gx.grad(gx.grad(power(x, n), x), x), x)

    counts = np.array([3, 0, 5])
    found = gx.evaluate(gx.vectorize(third)(NUMBERS, counts))
    np.testing.assert_allclose(found, [6, 0, 60 * NUMBERS[2] ** 2])


def test_rows_of_an_even_loop_are_one_loop_of_products() -> None:
    x = gx.placeholder("x", ("n", 5, 2), "float64")
    found = gx.vectorize(lambda row: recurrence(row, gx.constant(Y[0]), gx.constant(W))[0])(x)
    (loop,) = [n for n in topological([found.node]) if n.op.name == "loop"]
    (product,) = [n for n in loop.payload[0].nodes if n.op.name == "matmul"]
    assert len(product.type.shape) - product.type.shape.count(1) == 2


def test_no_rows() -> None:
    n = gx.placeholder("n", ("rows",), "int64")
    found = gx.vectorize(powers)(n)
    for values in gx.evaluate(found, {n: COUNTS[:0]}):
        assert values.shape == (0,)


# ----------------------------------------------------------------------- without a rule
norm = gx.custom_op(
    "row_norm",
    lambda x, w: ((), x.dtype),
    lambda x, w: np.sqrt(((x * w) ** 2).sum()),
    lambda g, out, x, w: [g * x * w * w / out, g * w * x * x / out],
)


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
def test_an_op_without_a_rule_runs_row_by_row(axes: tuple[int | None, int | None]) -> None:
    values = [floats(3, 4) if a == 0 else floats(4) for a in axes]
    for found, wanted in zip(*batched_and_single(norm, values, axes), strict=True):
        np.testing.assert_allclose(found, wanted)

    def slope(x: Tensor, w: Tensor) -> list[Tensor]:
        return gx.grad(norm(x, w), [x, w])

    for found, wanted in zip(*batched_and_single(slope, values, axes), strict=True):
        np.testing.assert_allclose(found, wanted)


def test_row_by_row_is_reported() -> None:
    x = gx.placeholder("x", ("n", 4), "float64")
    for fn in (lambda r: norm(r, r), lambda r: gx.scan(lambda c, v: (c + norm(r, r * v), None), 0.0, r)[0]):
        stage = Pipeline([]).run(trace([x], gx.vectorize(fn)(x))[0])[0]
        (said,) = stage.declined
        assert said.rule == "vectorize" and "row_norm" in said.note and "test_vectorize_control" in str(said)
    assert not Pipeline([]).run(trace([x], gx.vectorize(gx.exp)(x))[0])[0].declined


# ---------------------------------------------------------------------------- compiled
def test_one_program_of_all_loops_and_branches() -> None:
    inputs, values, outputs = [], [], []
    for number, (fn, given, axes) in enumerate(CASES.values()):
        own = [gx.placeholder(f"c{number}_{k}", v.shape, v.dtype) for k, v in enumerate(given)]
        inputs += own
        values += given
        outputs.append(gx.vectorize(fn, axes)(*own))
    x = gx.placeholder("rows", ("n", 4), "float64")
    outputs.append(gx.vectorize(lambda row: norm(row, row + 1))(x))
    program = gx.compile([*inputs, x], outputs)
    for size in (3, 1, 0):
        fed = [*values, floats(3, 4)[:size]]
        wanted = gx.evaluate(outputs, dict(zip([*inputs, x], fed, strict=True)))
        for a, b in zip(flat(program(*fed)), flat(wanted), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def flat(structure: Any) -> list[Array]:
    return [structure] if isinstance(structure, np.ndarray) else [a for part in structure for a in flat(part)]


def test_an_op_of_several_results_expands_row_by_row() -> None:
    both = Op(
        "sum_and_largest",
        lambda ctx, x: TupleType.of((TensorType((), x.dtype), x)),
        lambda x: (x.sum(), x),
        Expand(lambda x: (x.sum(), gx.maximum(x, x.sum()))),
        listed=False,
    )
    total, larger = gx.vectorize(lambda row: tuple(items(both(row).node)))(Y)
    np.testing.assert_allclose(gx.evaluate(total), Y.sum(1))
    np.testing.assert_allclose(gx.evaluate(larger), np.maximum(Y, Y.sum(1, keepdims=True)))
