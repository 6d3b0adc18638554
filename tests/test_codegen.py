"""Generated code: full vector width, no run-time alias checks, accurate long sums."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.runtime import features
from graphc.tensor import Tensor

# Registers of x86 by their width in bytes.
REGISTERS = {64: "%zmm", 32: "%ymm", 16: "%xmm"}


def _outer(x: Tensor) -> Tensor:
    return x[:, None] * x[None, :]


# The dtype of the input, its rank, and what is computed.
VECTORIZED: dict[str, tuple[str, int, Callable[[Tensor], Any]]] = {
    "arithmetic": ("float32", 1, lambda x: x * 2 + 1),
    "several results": ("float32", 1, lambda x: [x * x, x + 1, x - x * x]),
    "exp": ("float32", 1, lambda x: gx.exp(x) * x),
    "gelu": ("float32", 1, gx.gelu),
    "float64": ("float64", 1, lambda x: gx.tanh(x) / (x + 2)),
    "integers": ("int32", 1, lambda x: x * x + 3),
    "bytes": ("uint8", 1, lambda x: x + x),
    "selection": ("float32", 1, lambda x: gx.where(x > 0, x, x * 0.01)),
    "conversion": ("int32", 1, lambda x: x.astype("float32") * 0.5),
    "total": ("float32", 1, lambda x: x.sum()),
    "largest": ("float32", 1, lambda x: x.max()),
    "rows": ("float32", 2, lambda x: x.sum(axis=1)),
    "columns": ("float32", 2, lambda x: x.sum(axis=0)),
    "largest of columns": ("float32", 2, lambda x: x.max(axis=0)),
    "softmax": ("float32", 2, lambda x: gx.softmax(x)),
    "layer norm": ("float32", 2, lambda x: gx.layer_norm(x)),
    "batch norm": ("float32", 2, lambda x: list(gx.batch_norm_training(x.reshape((x.shape[0], 2, 48))))),
    "exp and tanh": ("float32", 1, lambda x: gx.tanh(gx.exp(x) * 0.5) + x),
    "softmax and its bias": ("float32", 2, lambda x: [gx.softmax(x), gx.softmax(x).sum(axis=0)]),
    "row broadcast": ("float32", 2, lambda x: x - x.mean(axis=1, keepdims=True)),
    "outer product": ("float32", 1, _outer),
    "matrix product": ("float32", 2, lambda x: x.T @ x),
}


@pytest.mark.parametrize(("dtype", "ndim", "build"), VECTORIZED.values(), ids=VECTORIZED.keys())
def test_inner_loops_use_the_full_vector_width(dtype: str, ndim: int, build: Callable[[Tensor], Any]) -> None:
    x = gx.placeholder("x", ("n", 96)[-ndim:] if ndim == 2 else ("n",), dtype)
    (kernel,) = gx.compile(x, build(x)).kernels
    width = features.vector_bytes()
    # Sums of float32 are kept in float64: the widest of the vectors counts.
    sizes = {"float": 4, "double": 8, "i32": 4, "i8": 1}
    found = re.findall(r"<(\d+) x (float|double|i32|i8)>", kernel.llvm)
    assert max((int(n) * sizes[element] for n, element in found), default=0) >= width, kernel.source
    if platform.machine().lower() in ("x86_64", "amd64"):
        assert REGISTERS[width] in kernel.asm


@pytest.mark.parametrize(("dtype", "ndim", "build"), VECTORIZED.values(), ids=VECTORIZED.keys())
def test_no_loop_checks_at_run_time_whether_its_arrays_overlap(
    dtype: str, ndim: int, build: Callable[[Tensor], Any]
) -> None:
    x = gx.placeholder("x", ("n", 96)[-ndim:] if ndim == 2 else ("n",), dtype)
    for kernel in gx.compile(x, build(x)).kernels:
        assert "memcheck" not in kernel.llvm


def test_a_kernel_that_works_in_place_is_vectorized_without_checks() -> None:
    w, v = gx.variable(np.ones(1000, np.float32), name="w"), gx.variable(np.ones(1000, np.float32), name="v")
    step = gx.compile([], updates={w: w * 0.5 + v, v: w - v})
    assert step.memory.in_place == ["w", "v"]
    for kernel in step.kernels:
        assert "memcheck" not in kernel.llvm
        assert f"<{features.vector_bytes() // 4} x float>" in kernel.llvm


def test_sums_over_short_rows_keep_independent_partial_sums() -> None:
    """Unrolled completely, they became one long chain of dependent additions."""
    x = gx.placeholder("x", (64, 1000))
    (kernel,) = gx.compile(x, gx.layer_norm(x)).kernels
    vectors = re.findall(r"= phi <\d+ x float>", kernel.llvm)
    assert len(vectors) >= 4, kernel.llvm


@pytest.mark.parametrize("build", [gx.relu, lambda x: x.max(axis=1), lambda x: x.min(axis=0)])
def test_maxima_mind_no_sign_of_zero(build: Callable[[Tensor], Any]) -> None:
    """Six instructions would be needed in place of one to three."""
    x = gx.placeholder("x", ("n", 96))
    (kernel,) = gx.compile(x, build(x)).kernels
    calls = re.findall(r"call ([^@\n]*)@llvm\.m(?:ax|in)imum", kernel.llvm)
    assert calls and all("nsz" in flags for flags in calls)


def test_kernels_call_no_library() -> None:
    x = gx.placeholder("x", ("n",))
    y = gx.exp(x) + gx.log(x) + gx.sin(x) + gx.tanh(x) + gx.erf(x) + x**2.5 + gx.floor(x) + gx.sqrt(x)
    for kernel in gx.compile(x, y).kernels:
        called = re.findall(r"call [^@\n]*@([\w.]+)\(", kernel.llvm)
        assert all(name.startswith("llvm.") for name in called)


# ---------------------------------------------------------------- long sums
def test_the_mean_of_a_hundred_million_halves_is_a_half() -> None:
    x = gx.placeholder("x", ("n",))
    halves = np.full(10**8, 0.5, np.float32)
    assert float(gx.compile(x, x.mean())(halves)) == 0.5


LONG: dict[str, tuple[Callable[[Tensor], Any], Callable[[Any], Any], tuple[int, ...]]] = {
    "total": (lambda x: x.sum(), lambda v: v.sum(), (3_000_000,)),
    "total of a matrix": (lambda x: x.sum(), lambda v: v.sum(), (1_000_000, 3)),
    "columns": (lambda x: x.sum(axis=0), lambda v: v.sum(0), (1_000_000, 3)),
    "many columns": (lambda x: x.mean(axis=0), lambda v: v.mean(0), (40_000, 100)),
    "rows": (lambda x: x.sum(axis=1), lambda v: v.sum(1), (2, 1_500_000)),
    "around the middle": (lambda x: x.sum(axis=(0, 2)), lambda v: v.sum((0, 2)), (1000, 2, 1500)),
    "fused": (lambda x: (x * x + x).mean(), lambda v: (v * v + v).mean(), (3_000_000,)),
    "variance": (lambda x: gx.var(x + 100), lambda v: v.var(), (1_000_000,)),
    "logsumexp": (lambda x: gx.logsumexp(x), lambda v: np.log(np.exp(v).sum()), (3_000_000,)),
}


@pytest.mark.parametrize(("build", "exact", "shape"), LONG.values(), ids=LONG.keys())
def test_long_sums_of_float32_stay_accurate(
    build: Callable[[Tensor], Any], exact: Callable[[Any], Any], shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 1, shape).astype(np.float32)
    x = gx.placeholder("x", ("a", "b", "c")[: len(shape)])
    found = gx.compile(x, build(x))(values)
    tolerance = 1e-4 if exact is LONG["variance"][1] else 5e-7
    np.testing.assert_allclose(found, exact(values.astype(np.float64)), rtol=tolerance)


def test_long_sums_of_float64_are_blocked() -> None:
    x = gx.placeholder("x", ("n",), "float64")
    values = np.full(4_000_000, 0.1)
    assert abs(float(gx.compile(x, x.sum())(values)) - 400_000.0) < 1e-7


def test_long_inner_products_stay_accurate() -> None:
    values = np.random.default_rng(0).uniform(0, 1, (2, 1_000_000)).astype(np.float32)
    x = gx.placeholder("x", (2, "k"))
    exact = values.astype(np.float64) @ values.T.astype(np.float64)
    np.testing.assert_allclose(gx.compile(x, x @ x.T)(values), exact, rtol=5e-6)


def test_infinities_and_nan_pass_through_sums() -> None:
    x = gx.placeholder("x", ("n",))
    total = gx.compile(x, [x.sum(), x.max(), (x * 0).sum()])
    values = np.ones(5000, np.float32)
    values[4000] = np.inf
    assert [float(v) for v in total(values)][:2] == [np.inf, np.inf]
    values[1] = np.nan
    assert all(np.isnan(v) for v in total(values))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [16, 32, 64])
def test_tiles_of_every_register_width(width: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Narrower tiles, as hosts without AVX-512 or AVX get them, compute the same."""
    monkeypatch.setattr("graphc.runtime.features.vector_bytes", lambda: width)
    rng = np.random.default_rng(0)
    a, b = gx.placeholder("a", ("m", "k"), dtype), gx.placeholder("b", ("k", 33), dtype)
    image, kernel = gx.placeholder("x", ("n", 3, 9, 11), dtype), gx.placeholder("w", (5, 3, 3, 3), dtype)
    convolved = gx.conv2d(image, kernel, padding=1)
    outputs = [gx.relu(a @ b), convolved, *gx.grad((convolved * convolved).sum(), [image, kernel])]
    inputs = [a, b, image, kernel]
    program = gx.compile(inputs, outputs)
    lanes = width // np.dtype(dtype).itemsize
    assert any(f"x{lanes}_corner" in k.source for k in program.kernels)
    for m, k, n in ((1, 3, 1), (7, 20, 2), (0, 5, 0)):
        shapes = ((m, k), (k, 33), (n, 3, 9, 11), (5, 3, 3, 3))
        values = [rng.normal(size=shape).astype(dtype) for shape in shapes]
        expected = gx.evaluate(outputs, dict(zip(inputs, values, strict=True)))
        for got, wanted in zip(program(*values), expected, strict=True):
            scale = 1 + np.abs(wanted).max(initial=0)
            np.testing.assert_allclose(got / scale, wanted / scale, atol=100 * np.finfo(dtype).eps)


def test_a_value_is_kept_across_reduced_axes_that_share_a_loop() -> None:
    x = gx.placeholder("x", ("n", 3, 4), "float64")
    for argument in (x * 2, gx.tanh(x)):
        y = gx.softmax(argument, axis=(1, 2))
        program = gx.compile(x, y)
        assert len(program.kernels) == 1
        for n in (0, 1, 5):
            points = np.random.default_rng(n).normal(size=(n, 3, 4))
            np.testing.assert_allclose(program(points), gx.evaluate(y, {x: points}), rtol=1e-14)


AHEAD: dict[str, tuple[Callable[..., Any], list[tuple[Any, ...]], list[str]]] = {
    "what every phase reads": (gx.softmax, [("n", 500)], ["x0"]),
    "what later phases read": (lambda x, y: gx.softmax(x) * y, [("n", 500), ("n", 500)], ["x0", "x1"]),
    "rows of several axes": (lambda x: gx.softmax(x, axis=(1, 2)), [("n", 20, 25)], ["x0"]),
    "rows of unknown length": (gx.softmax, [("n", "m")], ["x0"]),
    "no row that is the same for all": (lambda x, y: gx.softmax(x) * y, [("n", 500), (500,)], ["x0"]),
    "no row of other steps": (lambda x, y: gx.softmax(x) * y.T, [("n", 500), (500, "n")], ["x0"]),
    "no long row": (gx.softmax, [("n", 50_000)], []),
    "no row that is read but once": (lambda x: gx.exp(x).sum(axis=1), [("n", 500)], []),
}


@pytest.mark.parametrize(("build", "shapes", "expected"), AHEAD.values(), ids=AHEAD.keys())
def test_the_next_row_is_asked_for_in_advance(
    build: Callable[..., Any], shapes: list[tuple[Any, ...]], expected: list[str]
) -> None:
    inputs = [gx.placeholder(f"x{k}", shape) for k, shape in enumerate(shapes)]
    (kernel,) = gx.compile(inputs, build(*inputs)).kernels
    names = dict(re.findall(r"# (p\d+) = (x\d):", kernel.source))
    assert [names[p] for p in re.findall(r"ahead_f32\(addr\((p\d+),", kernel.source)] == expected
    if platform.machine() in ("x86_64", "AMD64"):
        assert ("prefetch" in kernel.asm) == bool(expected)


def test_rows_of_any_dtype_are_asked_for_in_advance() -> None:
    x, mask = gx.placeholder("x", ("n", 9), "float64"), gx.placeholder("mask", ("n", 9), "bool")
    y = gx.softmax(gx.where(mask, x, -1.0))
    program = gx.compile([x, mask], y)
    assert set(re.findall(r"ahead_(\w+)\(", program.kernels[0].source)) == {"f64", "u8"}
    rng = np.random.default_rng(1)
    for n in (0, 1, 5):
        feed = {x: rng.normal(size=(n, 9)), mask: rng.normal(size=(n, 9)) > 0}
        np.testing.assert_allclose(program(*feed.values()), gx.evaluate(y, feed), rtol=1e-14)


def test_a_position_is_a_value() -> None:
    """Stored as it is, a loop variable keeps its loop apart from its neighbour's."""
    x = gx.placeholder("x", ("n", 4), "float32")
    rows = gx.broadcast_to(gx.arange(x.shape[0])[:, None], x.shape)
    found = gx.compile(x, rows)(np.zeros((3, 4), np.float32))
    np.testing.assert_array_equal(found, [[0] * 4, [1] * 4, [2] * 4])
