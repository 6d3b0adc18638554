"""Concatenations that are stored part by part, by the loops that compute their operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc import ops
from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]


def _draw(*shape: int) -> Array:
    return np.random.default_rng(shape).normal(size=shape).astype("float32")


def _check(program: Any, outputs: list[Tensor], feeds: dict[Tensor, Array]) -> None:
    wanted = gx.evaluate(outputs, feeds)
    for got, expected in zip(program(*feeds.values()), wanted, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def _parts(x: Tensor, axis: int) -> Tensor:
    return ops.concat([ops.exp(x), x * 2, ops.tanh(x) - x], axis=axis)


CASES: dict[str, Callable[[Tensor], Any]] = {
    "first axis": lambda x: _parts(x, 0),
    "middle axis": lambda x: _parts(x, 1),
    "last axis": lambda x: _parts(x, 2),
    "new axis": lambda x: ops.stack([ops.exp(x), ops.tanh(x)], axis=-1),
    "of transposes": lambda x: ops.concat([ops.exp(x), x.transpose((0, 2, 1))], axis=0),
    "of slices": lambda x: ops.concat([x[:, 1:2], x[:, :1], x[:, 2:]], axis=1),
    "of one value": lambda x: ops.concat([ops.exp(x)] * 3, axis=1),
    "with constants": lambda x: ops.concat([ops.exp(x), ops.zeros_like(x)], axis=2),
    "and its parts": lambda x: [e := ops.exp(x), ops.concat([e, e + 1], axis=1)],
    "nested": lambda x: ops.concat([_parts(x, 1), _parts(x + 1, 1)], axis=2),
    "read by a product": lambda x: ops.matmul(_parts(x, 1), x, transpose_b=True),
    "behind a product": lambda x: ops.concat([h := ops.matmul(x, x), ops.relu(h)], axis=2),
    "read by loops": lambda x: ops.exp(_parts(x, 1)) - 1,
    "summed": lambda x: ops.sum(_parts(x, 1), axis=1),
    "of unlike parts": lambda x: ops.concat([ops.exp(x), x[:, :1] * 2], axis=1),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("rows", [2, "n"])
def test_values(name: str, rows: Any) -> None:
    x = gx.placeholder("x", (rows, 3, 3))
    y = CASES[name](x)
    outputs = y if isinstance(y, list) else [y]
    program = gx.compile([x], outputs)
    for n in (2,) if rows == 2 else (0, 1, 5):
        _check(program, outputs, {x: _draw(n, 3, 3)})


@pytest.mark.parametrize("name", ["last axis", "new axis", "behind a product"])
def test_one_kernel_computes_and_stores_all_parts(name: str) -> None:
    x = gx.placeholder("x", ("n", 3, 3))
    (kernel,) = gx.compile([x], CASES[name](x)).kernels
    # No question which part an element belongs to.
    asked = [line for line in kernel.text.code.splitlines() if " if " in line and "<" in line]
    assert name == "behind a product" or not asked


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("alike", [True, False])
def test_many_parts(axis: int, alike: bool) -> None:
    count = 150
    x = gx.placeholder("x", (count, 3, 2))
    parts = [x[k] if alike or k % 2 else x[k, :2] if axis == 0 else x[k, :, :1] for k in range(count)]
    y = ops.concat(parts[::-1], axis=axis)
    _check(gx.compile([x], [y]), [y], {x: _draw(count, 3, 2)})


@pytest.mark.parametrize("first", [True, False])
def test_a_variable_made_of_its_own_halves_is_read_before_it_is_overwritten(first: bool) -> None:
    x = gx.placeholder("x", (4,))
    v = gx.variable(_draw(8), name="v")
    half = v[:4] if first else v[4:]
    for parts in ([half * 2, x], [x, half * 2]):
        before = v.numpy().copy()
        program = gx.compile([x], [], updates={v: ops.concat(parts)})
        wanted = gx.evaluate(ops.concat(parts), {x: _draw(4)})
        program(_draw(4))
        np.testing.assert_allclose(v.numpy(), wanted, rtol=1e-6)
        v.assign(before)
