"""Sums across the rows beside a kernel that works row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.tensor import Tensor


def _rows(dtype: str = "float32", width: int = 40) -> Tensor:
    return gx.placeholder("x", ("n", width), dtype)


def _with_bias_gradient(x: Tensor) -> list[Tensor]:
    scores = gx.softmax(x) - 0.125
    return [scores, scores.sum(axis=0)]


def _layer_norm(x: Tensor) -> list[Tensor]:
    normal = (x - x.mean(axis=1, keepdims=True)) * gx.rsqrt(x.var(axis=1, keepdims=True) + 1)
    return [normal, (x * normal).sum(axis=0), x.sum(axis=0, keepdims=True)]


def _both_sums(x: Tensor) -> list[Tensor]:
    return [x.sum(axis=1), x.sum(axis=0)]


def _several_axes(x: Tensor) -> list[Tensor]:
    block = x.reshape((x.shape[0], 4, 5, 2))
    row = block - block.sum(axis=(2, 3), keepdims=True)
    return [row, row.sum(axis=(0, 1))]


def _sliced(x: Tensor) -> list[Tensor]:
    part = x[:, 8:]
    return [gx.softmax(part), (part * 2).sum(axis=0)]


CASES: dict[str, Callable[[Tensor], list[Tensor]]] = {
    "scores and their bias": _with_bias_gradient,
    "layer norm": _layer_norm,
    "sums both ways": _both_sums,
    "several axes": _several_axes,
    "a slice": _sliced,
}


@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("build", CASES.values(), ids=CASES.keys())
def test_one_kernel_computes_what_the_interpreter_does(
    build: Callable[[Tensor], list[Tensor]], dtype: str, n: int
) -> None:
    x = _rows(dtype)
    outputs = build(x)
    program = gx.compile(x, outputs)
    assert len(program.kernels) == 1, [k.name for k in program.kernels]
    data = np.random.default_rng(n).normal(size=(n, 40)).astype(dtype)
    tolerance = {"float32": 1e-4, "float64": 1e-12}[dtype]
    for found, expected in zip(program(data), gx.evaluate(outputs, {x: data}), strict=True):
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_the_bits_do_not_depend_on_the_number_of_threads() -> None:
    x = _rows(width=1000)
    program = gx.compile(x, _layer_norm(x))
    data = np.random.default_rng(3).normal(size=(3000, 1000)).astype(np.float32)
    before = gx.get_num_threads()
    try:
        results = [[gx.set_num_threads(n), *program(data)][1:] for n in (1, 2, 3)]
    finally:
        gx.set_num_threads(before)
    for other in results[1:]:
        assert all(a.tobytes() == b.tobytes() for a, b in zip(results[0], other, strict=True))


def test_long_sums_across_rows_are_accurate() -> None:
    x = _rows(width=3)
    _, total = gx.compile(x, _both_sums(x))(np.full((1_000_000, 3), 0.1, np.float32))
    np.testing.assert_allclose(total, 1e6 * float(np.float32(0.1)), rtol=1e-6)


@pytest.mark.parametrize(
    "across",
    [lambda x: x.max(axis=0), lambda x: x.astype("int32").sum(axis=0), lambda x: x.prod(axis=0)],
    ids=["largest", "integers", "product"],
)
def test_only_sums_of_floats_stand_beside_rows(across: Callable[[Tensor], Tensor]) -> None:
    x = _rows()
    program = gx.compile(x, [gx.softmax(x), across(x)])
    assert len(program.kernels) == 2


def test_wide_rows_keep_to_themselves() -> None:
    x = _rows(width=100_000)
    assert len(gx.compile(x, _with_bias_gradient(x)).kernels) == 2


def _classifier(rate: float) -> tuple[list[Tensor], Tensor, Any]:
    x, y = gx.placeholder("x", ("n", 6)), gx.placeholder("y", ("n",), "int64")
    net = gx.nn.Dense(6, 4)
    loss = gx.nn.softmax_cross_entropy(net(x), y).mean()
    return [x, y], loss, gx.optim.SGD(rate).minimize(loss)


def test_no_variable_is_updated_among_rows_that_later_steps_need() -> None:
    """The check of the classes comes first: the weights can then be updated in place."""
    inputs, loss, updates = _classifier(0.5)
    step = gx.compile(inputs, loss, updates=updates)
    assert len(step.memory.in_place) == 2
    assert not [k for k in step.kernels if k.name == "commit"]
