"""Compiled convolutions: every schedule, at sizes where blocks, classes and edges of tiles meet."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.ops.conv_rules import CONV_INPUT_GRAD, CONV_WEIGHT_GRAD
from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]

# channels, outputs, size, kernel, stride, padding, dilation, groups
GEOMETRIES = {
    "plain": (5, 20, 9, 3, 1, 1, 1, 1),
    "one strip and lanes left over": (3, 17, 6, 3, 1, 1, 1, 1),
    "strided": (5, 18, 9, 3, 2, 1, 1, 1),
    "strided, even": (4, 16, 8, 3, 2, 1, 1, 1),
    "strided, without padding": (4, 33, 10, 2, 2, 0, 1, 1),
    "strided, one tap": (6, 40, 7, 1, 2, 0, 1, 1),
    "strided by three": (3, 20, 13, 3, 3, 1, 1, 1),
    "strided and dilated": (3, 20, 13, 5, 3, 2, 2, 1),
    "dilated by the stride": (3, 16, 13, 3, 2, 2, 2, 1),
    "groups": (6, 36, 9, 3, 2, 1, 1, 2),
    "several blocks of lines": (2, 20, 43, 3, 2, 1, 1, 1),
    "several blocks of positions": (2, 20, 25, 3, 1, 1, 1, 1),
    "several chunks of inner steps": (70, 16, 5, 3, 1, 1, 1, 1),
    "padding wider than the kernel": (2, 16, 3, 2, 1, 3, 1, 1),
    "depthwise": (8, 8, 8, 3, 1, 1, 1, 8),
    "depthwise, strided": (8, 8, 9, 3, 2, 1, 1, 8),
    "depthwise, strided and dilated": (6, 6, 14, 3, 3, 2, 2, 6),
    "depthwise, more taps than registers": (4, 4, 12, 7, 1, 3, 1, 4),
    "depthwise, without padding": (20, 20, 20, 3, 1, 0, 1, 20),
    "depthwise, padding wider than the kernel": (4, 4, 3, 2, 1, 3, 1, 4),
    "few channels in each group": (8, 12, 10, 3, 2, 1, 1, 4),
    "few outputs": (6, 4, 20, 5, 1, 2, 1, 1),
}


class Example:
    """Placeholders of a convolution, its result's gradient and its adjoints."""

    def __init__(self, geometry: tuple[int, ...], batch: int | str, dtype: str) -> None:
        channels, outputs, size, kernel, stride, padding, dilation, groups = geometry
        self.x = gx.placeholder("x", (batch, channels, size, size), dtype)
        self.w = gx.placeholder("w", (outputs, channels // groups, kernel, kernel), dtype)
        self.y = gx.conv2d(self.x, self.w, stride, padding, dilation, groups)
        self.g = gx.placeholder("g", (batch, *self.y.shape[1:]), dtype)
        attrs: dict[str, Any] = {
            "stride": (stride, stride),
            "padding": ((padding, padding),) * 2,
            "dilation": (dilation, dilation),
            "groups": groups,
        }
        self.dx = CONV_INPUT_GRAD(self.g, self.w, size=(size, size), **attrs)
        self.dw = CONV_WEIGHT_GRAD(self.g, self.x, kernel=(kernel, kernel), **attrs)
        self.inputs = [self.x, self.w, self.g]

    def values(self, batch: int) -> list[Array]:
        """Draw operands."""
        rng = np.random.default_rng(batch)
        shapes = [tuple(batch if not isinstance(d, int) else d for d in t.shape) for t in self.inputs]
        return [rng.normal(size=s).astype(t.dtype) for s, t in zip(shapes, self.inputs, strict=True)]

    def check(self, outputs: list[Tensor], batches: tuple[int, ...]) -> gx.Program:
        """Compare compiled and interpreted results at several batch sizes."""
        program = gx.compile(self.inputs, outputs)
        for batch in batches:
            values = self.values(batch)
            expected = gx.evaluate(outputs, dict(zip(self.inputs, values, strict=True)))
            for found, wanted in zip(program(*values), expected, strict=True):
                scale = 1 + np.abs(wanted).max(initial=0)
                epsilon = np.finfo(wanted.dtype).eps
                np.testing.assert_allclose(found / scale, wanted / scale, atol=100 * epsilon, rtol=0)
        return program


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_convolutions_and_their_adjoints(geometry: tuple[int, ...]) -> None:
    example = Example(geometry, "n", "float32")
    example.check([example.y, example.dx, example.dw], (1, 7, 0))


@pytest.mark.parametrize("batch", [1, 3])
def test_a_known_batch_size(batch: int) -> None:
    example = Example(GEOMETRIES["strided"], batch, "float32")
    example.check([example.y, example.dx, example.dw], (batch,))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [16, 32, 64])
def test_every_register_width(width: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphc.runtime.features.vector_bytes", lambda: width)
    lanes = width // np.dtype(dtype).itemsize
    example = Example(GEOMETRIES["groups"], "n", dtype)
    program = example.check([example.y, example.dx, example.dw], (5,))
    assert any(re.search(rf"gather_f\d\d_\dx\dx{lanes}\(", k.source) for k in program.kernels)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [16, 32, 64])
def test_every_register_width_of_sums_per_tap(
    width: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphc.runtime.features.vector_bytes", lambda: width)
    lanes = width // np.dtype(dtype).itemsize
    example = Example(GEOMETRIES["depthwise, more taps than registers"], "n", dtype)
    (kernel,) = example.check([example.dw], (5,)).kernels
    assert set(re.findall(r"taps_f\d\d_\d+x(\d+)\(", kernel.source)) == {str(lanes)}


@pytest.mark.parametrize("name", ["plain", "several blocks of lines", "groups"])
def test_an_epilogue_sees_each_position(name: str) -> None:
    example = Example(GEOMETRIES[name], "n", "float32")
    y, g, x, w = example.y, example.g, example.x, example.w
    bias = gx.constant(np.linspace(-1, 1, g.shape[1], dtype=np.float32))[:, None, None]
    column = g[:, :, :, :1]
    outputs = [
        gx.relu(y * bias + g),
        y + column,
        y - g[:, :, ::-1, :],
        gx.tanh(example.dx) * x,
        example.dw * 0.5 + w,
        w - example.dw * w[:, :, :1, :],
    ]
    program = example.check(outputs, (1, 4))
    assert len(program.kernels) == 3


def test_products_walk_the_positions_of_a_residual_as_one_axis() -> None:
    x, other = gx.placeholder("x", (2, 12, 11, 13)), gx.placeholder("other", (2, 20, 11, 13))
    w, bias = gx.placeholder("w", (20, 12, 1, 1)), gx.placeholder("bias", (20, 1, 1))
    y, inputs = gx.conv2d(x, w), [x, other, w, bias]
    by_rows = [gx.relu(y) * other[:, :, ::-1], gx.concat([gx.tanh(y), other], axis=2)]
    rng = np.random.default_rng(1)
    values = [rng.normal(size=t.shape).astype(np.float32) for t in inputs]
    for outputs, divided in (([gx.relu(y + bias + other)], False), (by_rows[:1], True), (by_rows[1:], True)):
        program = gx.compile(inputs, outputs)
        (found,) = program(*values)
        (wanted,) = gx.evaluate(outputs, dict(zip(inputs, values, strict=True)))
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
        assert any("% 13" in k.source and "tile_" in k.source for k in program.kernels) is divided


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize("form", ["gather", "slide", "tile"])
def test_parts_of_a_concatenation(form: str, axis: int) -> None:
    geometry = {
        "gather": (16, 32, 9, 3, 1, 1, 1, 1),
        "slide": (4, 4, 9, 3, 1, 1, 1, 4),
        "tile": (4, 8, 9, 1, 1, 0, 1, 1),
    }
    example = Example(geometry[form], "n", "float32")
    program = example.check([gx.concat([gx.relu(example.y), example.y * 2], axis=axis)], (3,))
    assert [k.choice.best.form for k in program.kernels if k.choice is not None] == [form]


def test_a_result_with_a_sum_of_its_own_dtype_takes_no_more_memory() -> None:
    example = Example(GEOMETRIES["plain"], 4, "float32")
    w = gx.variable(np.ones(example.w.shape, np.float32), name="weights")
    step = gx.compile([example.x, example.g], updates={w: w - 0.1 * example.dw})
    x, _, g = example.values(4)
    step(x, g)
    expected = 1 - 0.1 * gx.evaluate(example.dw, {example.x: x, example.g: g})
    np.testing.assert_allclose(w.value, expected, rtol=1e-5, atol=1e-5)


BLOCKED = ["plain", "several blocks of lines", "groups", "depthwise, strided", "few outputs"]


@pytest.mark.parametrize("name", BLOCKED)
def test_any_number_of_blocks_gives_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphc.runtime.schedule.GRAIN", 1)
    monkeypatch.setattr("graphc.runtime.schedule.WORTHWHILE", 0)
    example = Example(GEOMETRIES[name], 5, "float32")
    values = example.values(5)
    program = gx.compile(example.inputs, [gx.relu(example.y), example.dx, example.dw])
    alone = run_in_blocks(program, values, 1)
    for threads in (2, 3, 5):
        for found, wanted in zip(run_in_blocks(program, values, threads), alone, strict=True):
            np.testing.assert_array_equal(found, wanted)


def run_in_blocks(program: gx.Program, values: list[Array], threads: int) -> list[Array]:
    before = gx.get_num_threads()
    gx.set_num_threads(threads)
    try:
        return [np.array(v) for v in program(*values)]
    finally:
        gx.set_num_threads(before)


@pytest.mark.parametrize("name", ["strided", "groups", "several blocks of lines"])
def test_padded_images_are_copied_once_for_all_blocks_or_by_each(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphc.runtime.schedule.GRAIN", 1)
    monkeypatch.setattr("graphc.runtime.schedule.WORTHWHILE", 0)
    few, many = 3, 40
    for batch in (few, many, "n"):
        example = Example(GEOMETRIES[name], batch, "float32")
        monkeypatch.setattr("graphc.codegen.gathered.SHARED", 1 << 14)
        program = gx.compile(example.inputs, [example.y])
        (kernel,) = program.kernels
        assert ("if stage == 3" in kernel.source) is (batch != many)
        for size in (few, many) if batch == "n" else (batch,):
            values = example.values(int(size))
            (wanted,) = gx.evaluate([example.y], dict(zip(example.inputs, values, strict=True)))
            for threads in (1, 2):
                (found,) = run_in_blocks(program, values, threads)
                np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["strided, one tap", "strided by three", "dilated by the stride", "groups"])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_copies_without_what_a_stride_skips(name: str, padding: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphc.codegen.gather_plan.THINNED", 1)
    channels, outputs, size, kernel, stride, _, _, groups = GEOMETRIES[name]
    example = Example((channels, outputs, size, kernel, stride, padding, stride, groups), 3, "float32")
    program = example.check([example.y, example.dx, example.dw], (3,))
    assert f"* {stride}]" in program.kernels[0].source


SCHEDULES = {
    # batch, channels, outputs, size, kernel, stride, padding
    "many channels": (8, 64, 64, 16, 3, 1, 1),
    "small images": (32, 256, 256, 4, 3, 1, 1),
    "strided": (8, 64, 128, 16, 3, 2, 1),
    "three channels": (8, 3, 64, 32, 7, 2, 3),
}


@pytest.mark.parametrize("shape", SCHEDULES.values(), ids=SCHEDULES.keys())
def test_networks_layers_gather(shape: tuple[int, ...]) -> None:
    batch, *geometry = shape
    for size in (batch, "n"):
        example = Example((*geometry, 1, 1), size, "float32")
        for kernel in gx.compile(example.inputs, [example.y, example.dw]).kernels:
            assert kernel.choice is not None
            assert kernel.choice.best.form == "gather"


DEPTHWISE = {
    # batch, channels, outputs, size, kernel, stride, padding, dilation, groups
    "large images": (4, 12, 12, 56, 3, 1, 1, 1, 12),
    "small images": (9, 40, 40, 7, 3, 1, 1, 1, 40),
    "strided": (4, 24, 24, 28, 5, 2, 2, 1, 24),
    "two outputs for a channel": (4, 16, 32, 14, 3, 1, 1, 1, 16),
}


@pytest.mark.parametrize("shape", DEPTHWISE.values(), ids=DEPTHWISE.keys())
def test_weights_of_channels_that_do_not_mix_have_sums_per_tap(shape: tuple[int, ...]) -> None:
    batch, *geometry = shape
    for size in (batch, "n"):
        example = Example(tuple(geometry), size, "float32")
        (kernel,) = example.check([example.dw], (batch,)).kernels
        assert kernel.choice is not None
        assert kernel.choice.best.form == "taps"


def test_sums_per_tap_of_computed_gradients_and_with_an_epilogue() -> None:
    x = gx.placeholder("x", ("n", 6, 11, 11))
    w = gx.variable(np.linspace(-1, 1, 54, dtype=np.float32).reshape(6, 1, 3, 3), name="w")
    y = gx.relu(gx.conv2d(x, w, stride=2, padding=1, groups=6))
    (gradient,) = gx.grad((y * y).sum(), [w])
    program = gx.compile(x, w - 0.5 * gradient)
    assert [k.choice.best.form for k in program.kernels if k.choice is not None][-1] == "taps"
    for n in (0, 1, 5):
        feed = np.random.default_rng(n).normal(size=(n, 6, 11, 11)).astype(np.float32)
        expected = gx.evaluate(w - 0.5 * gradient, {x: feed})
        np.testing.assert_allclose(program(feed), expected, rtol=1e-4, atol=1e-4 * max(1, n))


def test_sums_per_tap_of_long_rows_and_many_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphc.codegen.taps.SUMMED", 50)
    tall, long = (4, 4, 20, 3, 1, 1, 1, 4), (4, 4, 70, 3, 1, 1, 1, 4)
    for geometry in (tall, long):
        example = Example(geometry, "n", "float32")
        example.check([example.dw], (1, 3))


def test_a_tap_sees_no_infinity_that_it_does_not_read() -> None:
    example = Example((4, 4, 9, 3, 2, 1, 2, 4), 2, "float32")
    program = gx.compile(example.inputs, example.dw)
    for place in np.ndindex(9, 9):
        x, w, g = example.values(2)
        x[(1, 2, *place)] = np.inf
        expected = gx.evaluate(example.dw, dict(zip(example.inputs, (x, w, g), strict=True)))
        np.testing.assert_array_equal(np.isfinite(program(x, w, g)), np.isfinite(expected))


def test_few_output_channels_of_large_images_walk() -> None:
    example = Example((4, 6, 33, 3, 1, 1, 1, 1), 8, "float32")
    (kernel,) = gx.compile(example.inputs, example.y).kernels
    assert kernel.choice is not None
    assert kernel.choice.best.form == "walk"
    assert "_indirect" in kernel.source


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_other_ranks(rank: int, stride: int) -> None:
    conv = {1: gx.conv1d, 3: gx.conv3d}[rank]
    x = gx.placeholder("x", ("n", 4, *(7,) * rank), "float64")
    w = gx.placeholder("w", (18, 4, *(3,) * rank), "float64")
    y = conv(x, w, stride=stride, padding=1)
    outputs = [y, *gx.grad((y * y).sum(), [x, w])]
    program = gx.compile([x, w], outputs)
    rng = np.random.default_rng(rank)
    for batch in (1, 3):
        values = [rng.normal(size=(batch, *x.shape[1:])), rng.normal(size=w.shape)]
        expected = gx.evaluate(outputs, dict(zip([x, w], values, strict=True)))
        for found, wanted in zip(program(*values), expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-9)


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_sums_per_tap_of_other_ranks(rank: int, stride: int) -> None:
    conv = {1: gx.conv1d, 3: gx.conv3d}[rank]
    x = gx.placeholder("x", ("n", 8, *(9,) * rank), "float64")
    w = gx.placeholder("w", (8, 1, *(3,) * rank), "float64")
    (gradient,) = gx.grad((conv(x, w, stride=stride, padding=1, groups=8) ** 2).sum(), [w])
    program = gx.compile([x, w], gradient)
    assert [k.choice.best.form for k in program.kernels if k.choice is not None][-1] == "taps"
    rng = np.random.default_rng(rank)
    for batch in (1, 3):
        values = [rng.normal(size=(batch, *x.shape[1:])), rng.normal(size=w.shape)]
        expected = gx.evaluate(gradient, dict(zip([x, w], values, strict=True)))
        np.testing.assert_allclose(program(*values), expected, atol=1e-9)


def test_gradients_of_weights_are_gathered_for_batches_of_any_size() -> None:
    x = gx.placeholder("x", ("n", 8, 9, 9))
    w = gx.variable(np.ones((16, 8, 3, 3), np.float32), name="w")
    (gradient,) = gx.grad((gx.conv2d(x, w, padding=1) ** 2).sum(), [w])
    program = gx.compile(x, gradient)
    forms = [k.choice.best.form for k in program.kernels if k.choice is not None]
    assert forms[-1] == "gather"
    for n in (0, 1, 5):
        feed = np.random.default_rng(n).normal(size=(n, 8, 9, 9)).astype(np.float32)
        expected = gx.evaluate(gradient, {x: feed})
        np.testing.assert_allclose(program(feed), expected, rtol=1e-4, atol=1e-3 * max(1, n))
