"""Reads at constant offsets: part of the address, so that equal kernels are one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.lower import expr
from graphc.lower.origins import split_constant
from graphc.runtime.program import Program
from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]


def _distinct(program: Program) -> int:
    return len({k.text.code for k in program.kernels if k.text is not None})


def _draw(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).normal(size=shape).astype("float32")


def test_steps_over_slices_share_one_kernel() -> None:
    x, h = gx.placeholder("x", ("n", 6, 4)), gx.variable(_draw(4, 4), name="h")
    state = x[:, 0] @ h
    for t in range(1, 6):
        state = gx.tanh(state @ h + gx.exp(x[:, t]))
    program = gx.compile([x], state, optimize="fast")
    assert _distinct(program) == 2
    for n in (0, 1, 5):
        fed = _draw(n, 6, 4)
        np.testing.assert_allclose(program(fed), gx.evaluate(state, {x: fed}), rtol=1e-5, atol=1e-6)


CASES: dict[str, Callable[[Tensor], Any]] = {
    "several slices": lambda x: gx.exp(x[1:3, 2]) + x[2:4, 1] * x[0:2, 0],
    "only later slices": lambda x: x[3:5, 2:] * x[2:4, 1:3],
    "backwards": lambda x: gx.exp(x[::-1, 1]) - x[1:, ::-1][:1, 1],
    "rows of the middle": lambda x: gx.softmax(x[2:4, 1], axis=-1),
    "reduced over slices": lambda x: gx.sum(x[1:, 1:] * x[:-1, 1:], axis=0),
    "gathered behind a slice": lambda x: gx.exp(gx.take(x[1:], gx.constant([2, 0, 3]), axis=0)),
    "window under a guard": lambda x: gx.exp(gx.concat([x[3:4], x[1:3]], axis=0)),
    "moved up and filled": lambda x: gx.exp(gx.pad(x[:-1], ((1, 0), (0, 0), (0, 0)))),
    "windows": lambda x: gx.conv1d(x[1:, 1:], gx.constant(_draw(2, 2, 3)), padding=1),
    "convolved inside": lambda x: gx.conv1d(x[1:, 1:], gx.constant(_draw(2, 2, 3))),
    "product of slices": lambda x: gx.matmul(x[1:4, 1], x[0:3, 2], transpose_b=True) + x[1:4, 0, :3],
    "an input and an output": lambda x: [y := gx.exp(x), y[1:, 2] * y[:-1, 1]],
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("source", ["input", "variable", "temporary"])
def test_slices_of_every_memory_keep_their_values(name: str, source: str) -> None:
    x = gx.placeholder("x", (5, 3, 4))
    fed = _draw(5, 3, 4)
    given = {
        "input": lambda: x,
        "variable": lambda: gx.variable(fed, name="v"),
        "temporary": lambda: gx.cumulative_sum(x, axis=0),
    }
    y = CASES[name](given[source]())
    outputs = y if isinstance(y, list) else [y]
    program = gx.compile([x], outputs)
    for got, wanted in zip(program(fed), gx.evaluate(outputs, {x: fed}), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_a_value_moved_in_its_own_memory_is_read_before_it_is_overwritten() -> None:
    # The result may take over the operand's memory only where it is read at its own index.
    x = gx.placeholder("x", ("n", 4))
    y = gx.exp(x)
    z = gx.sqrt(gx.pad(y[:-1], ((1, 0), (0, 0))) + y)
    program = gx.compile([x], z)
    for n in (1, 2, 40):
        fed = _draw(n, 4)
        np.testing.assert_allclose(program(fed), gx.evaluate(z, {x: fed}), rtol=1e-5)


def test_constants_are_split_from_an_index() -> None:
    i, j = expr.index("i"), expr.index("j")
    assert split_constant(i * 2 + j + 3 - 5) == (i * 2 + j, -2)
    assert split_constant((i + 1) - (j + 4)) == (i - j, -3)
    assert split_constant(expr.index_const(7)) == (expr.ZERO, 7)
    assert split_constant(i * 2) == (i * 2, 0)
