"""Random draws of rows: each row has numbers of its own, the same as if it ran in a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.tensor import Tensor
from graphc.trace import trace
from graphc.vectorization import one_by_one

Draw = Callable[[gx.random.Generator, Tensor], Any]

ROWS = np.linspace(2.0, 9.0, 5)

DRAWS: dict[str, Draw] = {
    "uniform": lambda g, x: g.uniform((3,), dtype="float64"),
    "one number": lambda g, x: g.uniform(),
    "normal": lambda g, x: g.normal((2, 2), dtype="float64"),
    "parameters of a row": lambda g, x: g.normal((2,), x, 0.5),
    "gamma": lambda g, x: g.gamma(x, shape=(3,)),
    "poisson": lambda g, x: g.poisson(x, shape=(3,)),
    "whole numbers": lambda g, x: g.randint(0, 100, (4,)),
    "permutation": lambda g, x: g.permutation(6),
    "several draws": lambda g, x: g.uniform((2,)) + g.uniform((2,)),
    "draws in a loop": lambda g, x: gx.scan(lambda c, _: (c + g.uniform(), c), 0.0, None, 3)[1],
}


@pytest.mark.parametrize("name", DRAWS)
def test_rows_draw_what_iterations_draw(name: str) -> None:
    x = gx.placeholder("x", ("n",), "float64")
    many = gx.vectorize(lambda row: DRAWS[name](gx.random.Generator(3), row))
    looped = gx.map(lambda row: DRAWS[name](gx.random.Generator(3), row), x)
    found, wanted = gx.evaluate([many(x), looped], {x: ROWS})
    np.testing.assert_array_equal(found, wanted)
    assert len(np.unique(found.reshape(len(ROWS), -1)[:, -1])) > 1
    assert not list(one_by_one(trace([x], many(x))[0]))


def test_compiled_rows_draw_the_same() -> None:
    x = gx.placeholder("x", ("n",), "float64")
    outputs = [gx.vectorize(lambda row, d=draw: d(gx.random.Generator(4), row))(x) for draw in DRAWS.values()]
    expected = gx.evaluate(outputs, {x: ROWS})
    for found, wanted in zip(gx.compile(x, outputs)(ROWS), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_a_draw_made_outside_is_the_same_for_all_rows() -> None:
    noise = gx.random.Generator(5).uniform((2,), dtype="float64")
    found = gx.evaluate(gx.vectorize(lambda row: row + noise)(np.zeros((4, 2))))
    assert len(np.unique(found)) == 2


def test_nested_rows_draw_their_own() -> None:
    generator = gx.random.Generator(6)
    inner = gx.vectorize(lambda v: v + generator.uniform(dtype="float64"))
    found = gx.evaluate(gx.vectorize(lambda row: inner(row))(np.zeros((3, 4))))
    assert len(np.unique(found)) == 12


def test_programs_advance_the_state_once_for_all_rows() -> None:
    generator = gx.random.Generator(7)
    rows = gx.zeros((3, 2))
    program = gx.compile([], gx.vectorize(lambda row: row + generator.uniform((2,)))(rows))
    first, second = program(), program()
    assert generator.state.value[1] == 2
    assert len(np.unique(np.concatenate([first, second]))) == 12


def test_dropout_of_rows() -> None:
    found = gx.evaluate(gx.vectorize(lambda row: gx.dropout(row, 0.5, training=True))(np.ones((8, 16))))
    assert len({tuple(row) for row in found}) > 1
