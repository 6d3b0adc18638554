"""Loops of one map: they run inside one kernel, for any sizes, and give what the interpreter does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.codegen.recurrence import BLOCK
from graphc.tensor import Tensor
from tests.cutting import everything_cut

Array = np.ndarray[Any, Any]
rng = np.random.default_rng(5)
F = "float64"


def _check(inputs: list[Tensor], outputs: list[Tensor], *arrays: Any, kernels: int | None = 1) -> None:
    given = [np.asarray(a) for a in arrays]
    program = gx.compile(inputs, outputs)
    if kernels is not None:
        assert len(program.kernels) == kernels, [k.name for k in program.kernels]
        assert all(k.name.startswith("loop_") for k in program.kernels)
    want = gx.evaluate(outputs, dict(zip(inputs, given, strict=True)))
    found = []
    for threads in (1, 2, 3):
        with everything_cut(threads):
            program(*given)
            found.append(program(*given))
    for got in found:
        for a, b, c in zip(got, want, found[0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12, strict=True)
            np.testing.assert_array_equal(a, c)


def test_one_element_is_carried_in_registers() -> None:
    r, x = gx.placeholder("r", (), F), gx.placeholder("x", (), F)
    last, _ = gx.scan(lambda c, _: (r * c * (1 - c), None), x, None, length=100)
    _check([r, x], [last], 3.7, 0.3)
    code = gx.compile([r, x], last).kernels[0].source
    (inside,) = (part for part in code.split("for t in range(100):")[1:])
    assert "p" not in inside.split("p2[0] =")[0].replace("carried0", "")


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("n", [0, 1, 3, BLOCK - 1, BLOCK, 2 * BLOCK + 5])
def test_vectors_of_any_length(n: int, reverse: bool) -> None:
    xs, h, a = gx.placeholder("xs", ("t", "n"), F), gx.placeholder("h", ("n",), F), gx.placeholder("a", (), F)

    def body(c: Any, x: Tensor) -> Any:
        position, speed = c
        return (position + a * speed, gx.tanh(speed - a * position + x)), position * speed

    (p, s), ys = gx.scan(body, (h, h), xs, reverse=reverse)
    for t in (0, 1, 4):
        _check([xs, h, a], [p, s, ys], rng.normal(size=(t, n)), rng.normal(size=n), 0.1)


CASES: dict[str, Callable[[Tensor, Tensor, Tensor], list[Tensor]]] = {
    "broadcast": lambda xs, h, b: list(gx.scan(lambda c, x: (c * b + x, c), h, xs)),
    "iteration": lambda xs, h, b: list(
        gx.scan(lambda c, x: ((c[0] + x, c[1] + 1), c[0] * c[1].astype(F)), (h, 0), xs)[1:]
    ),
    "views": lambda xs, h, b: list(gx.scan(lambda c, x: (c - x.reshape(h.shape), x[0]), h, xs)),
    "index": lambda xs, h, b: [gx.fori_loop(0, 5, lambda i, c: c + i.astype(F) * h, h)],
    "other element": lambda xs, h, b: list(gx.scan(lambda c, x: (c[::-1] + x, None), h, xs)[:1]),
    "swapped": lambda xs, h, b: list(gx.scan(lambda c, x: ((c[1], c[0] + x), None), (h, h * 2), xs)[0]),
}


@pytest.mark.parametrize("case", CASES)
def test_bodies_of_all_kinds(case: str) -> None:
    xs, h = gx.placeholder("xs", ("t", 4, 20), F), gx.placeholder("h", (4, 20), F)
    b = gx.placeholder("b", (20,), F)
    outputs = CASES[case](xs, h, b)
    arrays = rng.normal(size=(5, 4, 20)), rng.normal(size=(4, 20)), rng.normal(size=20)
    _check([xs, h, b], outputs, *arrays, kernels=None)


def test_scalar_loops_end_by_their_condition() -> None:
    x, k = gx.placeholder("x", (), F), gx.placeholder("k", (), "int64")
    root, steps = gx.while_loop(
        lambda c: gx.abs(c[0] * c[0] - x) > 1e-9, lambda c: (0.5 * (c[0] + x / c[0]), c[1] + 1), (x * 1, 0)
    )
    powers = gx.fori_loop(0, k, lambda i, c: c * x + i.astype(F), 1.0)
    for value, count in ((2.0, 5), (1.0, 0), (1e6, -3)):
        _check([x, k], [root, steps, powers], value, count, kernels=None)
    names = [kernel.name for kernel in gx.compile([x, k], [root, steps, powers]).kernels]
    assert sum(name.startswith("loop_") for name in names) == 2


def test_every_dtype_is_carried() -> None:
    for dtype in ("bool", "int8", "int32", "uint8", "float32"):
        xs = gx.placeholder("xs", ("t",), dtype)
        first = gx.constant(np.zeros((), dtype))

        def body(c: Tensor, x: Tensor) -> Any:
            return (~c if c.dtype == bool else c + x), x

        last, ys = gx.scan(body, first, xs)
        _check([xs], [last, ys], rng.integers(0, 2, 7).astype(dtype), kernels=None)


def test_a_check_that_fails_inside_names_the_operation() -> None:
    table, at = gx.placeholder("table", ("n",), F), gx.placeholder("at", ("m",), "int64")
    total, _ = gx.scan(lambda c, i: (c + gx.take(table, i), None), 0.0, at)
    program = gx.compile([table, at], total)
    assert len(program.kernels) == 1
    assert program(np.arange(3.0), np.array([1, 2])) == 3.0
    with pytest.raises(gx.errors.IndexRangeError, match="given 5"):
        program(np.arange(3.0), np.array([1, 5]))
