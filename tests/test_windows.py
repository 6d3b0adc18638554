"""Windows over padded and strided axes: the same values, in straight vector code."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable

import numpy as np
import pytest

import graphc as gx
from graphc.lower import expr
from graphc.runtime import features
from graphc.tensor import Tensor
from graphc.types import INT64


def _max(kernel: int, stride: int, padding: int) -> Callable[[Tensor], Tensor]:
    return lambda x: gx.max_pool2d(x, kernel, stride=stride, padding=padding)


def _avg(kernel: int, stride: int, padding: int) -> Callable[[Tensor], Tensor]:
    return lambda x: gx.avg_pool2d(x, kernel, stride=stride, padding=padding)


WINDOWS: dict[str, Callable[[Tensor], Tensor]] = {
    f"{name} {kernel}x{kernel} by {stride} padded {padding}": build(kernel, stride, padding)
    for name, build in (("max", _max), ("avg", _avg))
    for kernel, stride, padding in (
        (2, 2, 0),
        (3, 2, 1),
        (3, 1, 1),
        (3, 3, 0),
        (4, 2, 1),
        (5, 2, 2),
        (2, 1, 0),
    )
}


@pytest.mark.parametrize("width", [7, 8, 9, 24, 32, 37, 66])
@pytest.mark.parametrize("build", WINDOWS.values(), ids=WINDOWS.keys())
def test_windows_and_their_gradients(build: Callable[[Tensor], Tensor], width: int) -> None:
    x = gx.placeholder("x", ("n", 2, 9, width))
    y = build(x)
    weights = gx.placeholder("g", y.shape)
    outputs = [y, gx.grad((y * weights).sum(), [x])[0]]
    rng = np.random.default_rng(width)
    # Few different values: ties must go to the first, and NaN must win.
    data = rng.integers(0, 4, (2, 2, 9, width)).astype(np.float32)
    data[0, 0, 3, width // 2] = np.nan
    g = rng.normal(size=(2, *(int(d) for d in y.shape[1:]))).astype(np.float32)
    found = gx.compile([x, weights], outputs)(data, g)
    for a, b in zip(found, gx.evaluate(outputs, {x: data, weights: g}), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("build", [_max(2, 2, 0), _max(3, 2, 1), _avg(3, 2, 1)])
def test_inner_loops_have_neither_gathers_nor_branches(build: Callable[[Tensor], Tensor]) -> None:
    x = gx.placeholder("x", (4, 8, 64, 64))
    y = build(x)
    program = gx.compile(x, [y, gx.grad(y.sum(), [x])[0]])
    for kernel in program.kernels:
        lanes = {int(n) for n in re.findall(r"<(\d+) x float>", kernel.llvm)}
        assert max(lanes, default=0) * 4 >= features.vector_bytes(), kernel.source
        assert "llvm.masked.gather" not in kernel.llvm, kernel.source
        if platform.machine().lower() in ("x86_64", "amd64"):
            assert "gather" not in kernel.asm


def test_rows_between_the_borders_have_whole_vectors_and_no_selections() -> None:
    x = gx.placeholder("x", (4, 8, 64, 64))
    (kernel,) = gx.compile(x, gx.max_pool2d(x, 3, stride=2, padding=1)).kernels
    found = re.search(r"\n( +)if i\d+ >= 1.*:\n(?s:(.*?))\n\1else:", kernel.source)
    assert found is not None
    inside = found[2]
    vectors = [range(int(a), int(b)) for a, b in re.findall(r"range\((\d+), (\d+)\)", inside)]
    # LLVM leaves the last element of each to scalar code.
    assert [len(loop) for loop in vectors if len(loop) > 1] == [17, 17]
    assert [line for line in inside.splitlines() if " if " in line and "else f32" in line] == []


def test_short_rows_without_padding_have_whole_vectors() -> None:
    x = gx.placeholder("x", (1, 8, 55, 55))
    for stride, wanted in ((2, 2), (3, 0)):
        (kernel,) = gx.compile(x, gx.max_pool2d(x, 3, stride=stride)).kernels
        loops = re.findall(r"range\((\d+), (\d+)\)", kernel.source)
        assert len(loops) == wanted


def test_dividing_a_multiple_of_a_loop_variable_needs_no_division() -> None:
    i = expr.index("i0")
    assert (i * 6 + 5) // 3 is i * 2 + 1
    assert (i * 6 + 5) % 3 is expr.index_const(2)
    assert (i * 4 - 1 + 0).kind == "call"
    assert ((i * 2) // 4).data == "floordiv"


def test_integers_of_users_wrap_before_they_are_divided() -> None:
    value = expr.load("x", (), INT64)
    assert ((value * 4) // 4).data == "floordiv"
    x = gx.placeholder("x", ("n",), "int64")
    numbers = np.array([2**62, 5, -(2**62)])
    np.testing.assert_array_equal(gx.compile(x, (x * 4 + 1) // 4)(numbers), (numbers * 4 + 1) // 4)
