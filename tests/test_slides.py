"""Convolutions with few channels in each group: planes that slide over each other, and when they do."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.codegen import choice, slide_plan, tile_slide
from graphc.codegen.slide_plan import Layout
from graphc.codegen.walks import Walk
from graphc.lower.contraction import ContractionRegion
from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]


@pytest.fixture
def sliding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slide planes wherever that is possible."""
    scheme = slide_plan.scheme
    monkeypatch.setattr(slide_plan, "scheme", lambda *args: dataclasses.replace(scheme(*args), cycles=-1))


def check(inputs: list[Tensor], outputs: list[Tensor], batches: tuple[int, ...], slid: int) -> gx.Program:
    """Compare compiled and interpreted results, and count the kernels that slide planes."""
    program = gx.compile(inputs, outputs)
    forms = [k.choice.best.form for k in program.kernels if k.choice is not None]
    assert forms.count("slide") == slid, forms
    for n in batches:
        rng = np.random.default_rng(n)
        shapes = [tuple(d if isinstance(d, int) else n for d in t.shape) for t in inputs]
        values = [rng.normal(size=s).astype(t.dtype) for s, t in zip(shapes, inputs, strict=True)]
        expected = gx.evaluate(outputs, dict(zip(inputs, values, strict=True)))
        for found, wanted in zip(program(*values), expected, strict=True):
            scale = 1 + np.abs(wanted).max(initial=0)
            epsilon = np.finfo(wanted.dtype).eps
            np.testing.assert_allclose(found / scale, wanted / scale, atol=100 * epsilon, rtol=0)
    return program


# channels, outputs, (height, width), kernel, stride, padding, dilation, groups
PLANES: dict[str, tuple[Any, ...]] = {
    "depthwise": (6, 6, (9, 11), (3, 3), 1, 1, 1, 6),
    "rows longer than a tile": (3, 3, (5, 141), (3, 3), 1, 1, 1, 3),
    "rows of a vector and a bit": (3, 3, (9, 19), (3, 3), 1, 0, 1, 3),
    "short rows without padding": (3, 3, (6, 7), (3, 2), 1, 0, 1, 3),
    "strided": (5, 5, (13, 47), (3, 3), 2, 1, 1, 5),
    "strided, even": (4, 8, (12, 34), (5, 5), 2, 2, 1, 4),
    "strided by three, dilated": (2, 2, (40, 41), (3, 3), 3, 2, 2, 2),
    "strided by four": (2, 2, (21, 70), (7, 5), 4, 3, 1, 2),
    "dilated by the stride": (2, 2, (14, 15), (3, 3), 2, 2, 2, 2),
    "unlike axes": (3, 3, (10, 23), (5, 2), (1, 2), ((2, 0), (0, 3)), (2, 1), 3),
    "padding wider than the kernel": (2, 4, (3, 3), (2, 2), 1, 3, 1, 2),
    "nothing but padding": (2, 2, (1, 20), (2, 2), 2, ((2, 0), (2, 0)), 1, 2),
    "several channels": (12, 30, (7, 18), (3, 3), 1, 1, 1, 3),
    "one group": (3, 11, (13, 10), (3, 3), 2, 1, 1, 1),
    "several blocks of rows": (2, 2, (101, 67), (3, 3), 1, 1, 1, 2),
}


@pytest.mark.usefixtures("sliding")
@pytest.mark.parametrize("geometry", PLANES.values(), ids=PLANES.keys())
def test_planes_of_all_kinds(geometry: tuple[Any, ...]) -> None:
    channels, outputs, size, kernel, *rest, groups = geometry
    x = gx.placeholder("x", ("n", channels, *size), "float32")
    w = gx.placeholder("w", (outputs, channels // groups, *kernel), "float32")
    check([x, w], [gx.conv2d(x, w, *rest, groups)], (1, 3, 0), 1)


# The same, apart from stride 1 and from strides that split positions into too many classes.
ADJOINTS: dict[str, tuple[Any, ...]] = {
    "strided": (5, 5, (13, 47), (3, 3), 2, 1, 1, 5),
    "even": (4, 8, (12, 34), (5, 5), 2, 2, 1, 4),
    "classes without taps": (3, 3, (9, 70), (2, 1), 3, 0, 1, 3),
    "positions that no window reads": (2, 2, (40, 41), (3, 3), 3, 0, 2, 2),
    "by four": (2, 2, (21, 70), (7, 5), 4, 3, 1, 2),
    "dilated by the stride": (2, 2, (14, 15), (3, 3), 2, 2, 2, 2),
    "unlike axes": (3, 3, (10, 23), (5, 2), (1, 2), ((2, 0), (0, 3)), (2, 1), 3),
    "strided down alone": (3, 6, (11, 18), (3, 3), (2, 1), 1, 1, 3),
    "padding wider than the kernel": (2, 4, (3, 3), (2, 2), 2, 3, 1, 2),
    "fewer positions than classes": (2, 2, (2, 3), (3, 3), 4, 2, 1, 2),
    "several channels": (12, 30, (7, 18), (3, 3), 2, 1, 1, 3),
    "one group": (3, 11, (13, 10), (3, 3), 2, 1, 1, 1),
    "several blocks of rows": (2, 2, (101, 67), (3, 3), 2, 1, 1, 2),
}


@pytest.mark.usefixtures("sliding")
@pytest.mark.parametrize("geometry", ADJOINTS.values(), ids=ADJOINTS.keys())
def test_adjoints_of_strided_convolutions(geometry: tuple[Any, ...]) -> None:
    channels, outputs, size, kernel, *rest, groups = geometry
    x = gx.placeholder("x", ("n", channels, *size), "float32")
    w = gx.placeholder("w", (outputs, channels // groups, *kernel), "float32")
    y = gx.conv2d(x, w, *rest, groups)
    g = gx.placeholder("g", y.shape)
    (gradient,) = gx.grad((y * g).sum(), [x])
    program = check([w, g], [gradient], (1, 3, 0), 1)
    assert "join_f32" in program.kernels[0].source


@pytest.mark.usefixtures("sliding")
@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("stride", [2, 3])
def test_adjoints_of_other_ranks(rank: int, stride: int) -> None:
    conv = {1: gx.conv1d, 3: gx.conv3d}[rank]
    x = gx.placeholder("x", ("n", 4, *(7, 9, 18)[-rank:]), "float64")
    w = gx.placeholder("w", (8, 1, *(3,) * rank), "float64")
    y = conv(x, w, stride=stride, padding=1, groups=4)
    g = gx.placeholder("g", y.shape, "float64")
    (gradient,) = gx.grad((y * g).sum(), [x])
    check([w, g], [gradient, gx.tanh(gradient) + gradient[..., :1]], (1, 3), 1)


def test_copies_have_room_for_all_positions_of_each_class(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[ContractionRegion, slide_plan.Plan]] = []
    find = slide_plan.find

    def note(region: ContractionRegion, walk: Walk, width: int) -> slide_plan.Plan | None:
        plan = find(region, walk, width)
        assert plan is not None
        found.append((region, plan))
        return plan

    monkeypatch.setattr(slide_plan, "find", note)
    g, w = gx.placeholder("g", (2, 4, 4, 6)), gx.placeholder("w", (4, 1, 3, 3))
    gx.compile([g, w], gx.conv_transpose2d(g, w, stride=2, padding=1, groups=4))
    ((region, plan),) = found
    taps = dict(zip(region.inner, region.shape.inner, strict=True))
    for axis, size in zip(plan.walk.axes[-2:], plan.lines, strict=True):
        positions = -(-size // axis.divisor) * axis.divisor
        spans = [f * (int(str(taps[v])) - 1) for v, f in axis.factors.items() if v in taps]
        last = axis.constant + positions - 1 + sum(max(0, span) for span in spans)
        assert axis.divisor == 2
        assert last // 2 - int(str(axis.low)) < axis.extent


@pytest.mark.usefixtures("sliding")
def test_an_adjoint_with_one_position_along_an_axis() -> None:
    x, w = gx.placeholder("x", ("n", 4, 1, 40)), gx.placeholder("w", (4, 1, 3, 3))
    (gradient,) = gx.grad((gx.conv2d(x, w, 2, 1, groups=4) ** 2).sum(), [x])
    check([x, w], [gradient], (2,), 1)


# kernel, stride, dilation, and the heights of runs: of the convolution and of its adjoint
RUNS = {
    "square": ((3, 3), 1, 1, "3"),
    "two heights": ((5, 5), 2, 1, "3_2"),
    "fewer taps than classes": ((2, 5), 3, 1, "1"),
    "dilated by the stride": ((4, 3), 2, 2, "4"),
    "dilated within a class": ((3, 3), 1, 2, "1"),
    "large": ((9, 7), 1, 1, "9"),
}


@pytest.mark.usefixtures("sliding")
@pytest.mark.parametrize("case", RUNS.values(), ids=RUNS.keys())
def test_taps_make_runs_along_the_rows_of_a_kernel(case: tuple[Any, ...]) -> None:
    kernel, stride, dilation, heights = case
    x, w = gx.placeholder("x", (2, 4, 25, 37)), gx.placeholder("w", (4, 1, *kernel))
    y = gx.conv2d(x, w, stride, 3, dilation, 4)
    g = gx.placeholder("g", y.shape)
    program = check([x, w, g], [y, *gx.grad((y * g).sum(), [x])], (2,), 2)
    found = [re.findall(r"slide_f32_1x\d+x\d+x\d+_([\d_]+)\(", k.source) for k in program.kernels]
    assert found == [[heights], [heights]]


def test_rows_are_loaded_once_for_all_taps_of_a_run() -> None:
    function = tile_slide.function("slide_f32_1x7x2x16_5")
    assert function is not None
    assert function.text.count("load <16 x float>") == (7 + 5 - 1) * 2
    assert function.text.count("@llvm.fmuladd") == 7 * 2 * 5


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("planes", [1, 4, 8])
def test_tiles_fit_the_registers(planes: int, width: int) -> None:
    for ways in ([((1, 49),), ((7, 7),)], [((1, 75),), ((3, 15), (2, 15))]):
        tile, runs = tile_slide.choose("f32", planes, 28, 28, ways, width)
        assert runs in ways
        assert tile.registers <= choice.REGISTERS[width]


@pytest.mark.usefixtures("sliding")
@pytest.mark.parametrize(("dtype", "width"), [("float32", 16), ("float64", 32), ("float64", 64)])
def test_every_register_width(width: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphc.runtime.features.vector_bytes", lambda: width)
    x, w = gx.placeholder("x", (2, 4, 9, 21), dtype), gx.placeholder("w", (8, 2, 3, 3), dtype)
    y = gx.conv2d(x, w, 2, 1, 1, 2)
    g = gx.placeholder("g", y.shape, dtype)
    program = check([x, w, g], [y, *gx.grad((y * g).sum(), [x])], (2,), 2)
    lanes = width // np.dtype(dtype).itemsize
    for kernel in program.kernels:
        tiles = r"slide_f\d\d_\d+x\d+x\d+x(\d+)_|(?:classes|join)_f\d\d_\d+x(\d+)\("
        assert {a or b for a, b in re.findall(tiles, kernel.source)} == {str(lanes)}


@pytest.mark.usefixtures("sliding")
def test_gradients_of_inputs_slide_too() -> None:
    x, w = gx.placeholder("x", ("n", 6, 9, 10)), gx.placeholder("w", (12, 2, 3, 3))
    (gradient,) = gx.grad((gx.conv2d(x, w, padding=1, groups=3) ** 2).sum(), [x])
    check([x, w], [gradient], (1, 4), 2)


@pytest.mark.usefixtures("sliding")
@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_other_ranks(rank: int, stride: int) -> None:
    conv = {1: gx.conv1d, 3: gx.conv3d}[rank]
    x = gx.placeholder("x", ("n", 4, *(7, 9, 18)[-rank:]), "float64")
    w = gx.placeholder("w", (8, 1, *(3,) * rank), "float64")
    y = conv(x, w, stride=stride, padding=1, groups=4)
    check([x, w], [y, gx.tanh(y) + y[..., :1]], (1, 3), 1)


@pytest.mark.usefixtures("sliding")
def test_an_epilogue_sees_each_position() -> None:
    x, w = gx.placeholder("x", ("n", 3, 37, 130)), gx.placeholder("w", (6, 1, 3, 3))
    y, b = gx.conv2d(x, w, padding=1, groups=3), gx.placeholder("b", (6, 1, 1))
    g = gx.placeholder("g", ("n", 6, 37, 130))
    check([x, w, b, g], [gx.relu(y + b), y * g, y + g[:, :, :, :1], y - g[:, :, ::-1, :]], (1, 2), 1)


@pytest.mark.usefixtures("sliding")
def test_an_epilogue_of_many_operands() -> None:
    x, w = gx.placeholder("x", ("n", 2, 7, 18)), gx.placeholder("w", (2, 1, 3, 3))
    others = [gx.placeholder(f"y{k}", ("n", 2, 7, 18)) for k in range(40)]
    check([x, w, *others], [sum(others, start=gx.conv2d(x, w, padding=1, groups=2))], (2,), 1)


@pytest.mark.usefixtures("sliding")
def test_a_tap_sees_no_infinity_that_it_does_not_read() -> None:
    x = np.ones((1, 2, 6, 6), np.float32)
    x[0, 0, 2, 3], x[0, 1, 5, 5] = np.inf, np.nan
    w = np.ones((2, 1, 3, 3), np.float32)
    placeholder = gx.placeholder("x", x.shape)
    y = gx.conv2d(placeholder, w, stride=2, padding=1, groups=2)
    program = gx.compile(placeholder, y)
    np.testing.assert_array_equal(program(x), gx.evaluate(y, {placeholder: x}))


@pytest.mark.usefixtures("sliding")
def test_any_number_of_threads_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphc.runtime.schedule.GRAIN", 1)
    monkeypatch.setattr("graphc.runtime.schedule.WORTHWHILE", 0)
    x, w = gx.placeholder("x", ("n", 5, 12, 17)), gx.placeholder("w", (5, 1, 3, 3))
    y = gx.conv2d(x, w, stride=2, padding=1, groups=5)
    g = gx.placeholder("g", y.shape)
    program = gx.compile([x, w, g], gx.concat([y.reshape(-1), gx.grad((y * g).sum(), [x])[0].reshape(-1)]))
    rng, before, found = np.random.default_rng(0), gx.get_num_threads(), []
    values = [rng.normal(size=s).astype(np.float32) for s in ((3, 5, 12, 17), w.shape, (3, 5, 6, 9))]
    try:
        for threads in (1, 2, 5):
            gx.set_num_threads(threads)
            found.append(np.array(program(*values)))
    finally:
        gx.set_num_threads(before)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


# batch, channels, size, kernel, stride, padding: layers of MobileNet, ShuffleNet and EfficientNet
LAYERS = [
    (1, 96, 112, 3, 2, 1),
    (1, 136, 28, 3, 2, 1),
    (8, 144, 56, 3, 1, 1),
    (1, 672, 14, 5, 2, 2),
    (1, 544, 7, 3, 1, 1),
]


@pytest.mark.parametrize("layer", LAYERS)
def test_depthwise_layers_slide(layer: tuple[int, ...]) -> None:
    batch, channels, size, kernel, stride, padding = layer
    for n in (batch, "n"):
        x = gx.placeholder("x", (n, channels, size, size))
        w = gx.placeholder("w", (channels, 1, kernel, kernel))
        y = gx.conv2d(x, w, stride, padding, groups=channels)
        g = gx.placeholder("g", y.shape)
        check([x, w], [y], (), 1)
        check([w, g], gx.grad((y * g).sum(), [x]), (), 1)


def test_what_does_not_slide() -> None:
    x = gx.placeholder("x", (2, 4, 40, 40))
    for shape, stride, dilation in (
        ((4, 1, 3, 3), 5, 1),  # more classes than one copy tells apart
        ((4, 1, 1, 1), 1, 1),  # windows that share nothing
        ((4, 1, 30, 30), 1, 1),  # a sum too long for one go
    ):
        w = gx.placeholder("w", shape)
        check([x, w], [gx.conv2d(x, w, stride, 0, dilation, 4)], (2,), 0)


def test_a_layout_keeps_remainders_apart() -> None:
    layout = Layout.of((2, 7, 8), (1, 2, 3))
    places = [sum(layout.place(a, i) for a, i in enumerate(at)) for at in np.ndindex(2, 7, 8)]
    assert len(set(places)) == len(places)
    assert max(places) < layout.size
    assert layout.place(2, 7) - layout.place(2, 4) == 1
