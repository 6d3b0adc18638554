"""Pooling of regions that are data, and unpooling, against loops over their definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import graphc as gx
from graphc.errors import ArgumentError, IndexRangeError, ShapeError

RNG = np.random.default_rng(0)


def distinct(*shape):
    """Return values without ties, so that the largest is differentiable."""
    return RNG.permutation(math.prod(shape)).reshape(shape).astype(float)


# ------------------------------------------------------------------ RoI pooling
def pooled(x, boxes, cells, scale):
    found = np.zeros((len(boxes), x.shape[1], *cells))
    for k, (image, *corners) in enumerate(boxes):
        left, top, right, bottom = (math.floor(c * scale + 0.5) for c in corners)
        height, width = max(bottom - top + 1, 1), max(right - left + 1, 1)
        for c, i, j in np.ndindex(*found.shape[1:]):
            rows = range(top + i * height // cells[0], top + math.ceil((i + 1) * height / cells[0]))
            columns = range(left + j * width // cells[1], left + math.ceil((j + 1) * width / cells[1]))
            inside = [
                x[int(image), c, r, q]
                for r in rows
                for q in columns
                if 0 <= r < x.shape[2] and 0 <= q < x.shape[3]
            ]
            found[k, c, i, j] = max(inside, default=0.0)
    return found


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_roi_pool(scale):
    x = distinct(2, 3, 6, 8)
    boxes = np.array(
        [[0, 1, 1, 5, 4], [1, 0, 0, 7, 5], [1, 6.5, 2.5, 3, 2], [0, -3, 2, 12, 9], [0, 20, 20, 22, 22]]
    )
    images, regions = (
        gx.placeholder("x", (2, 3, "h", "w"), "float64"),
        gx.placeholder("b", ("k", 5), "float64"),
    )
    y = gx.roi_pool(images, regions, (2, 3), scale)
    expected = pooled(x, boxes, (2, 3), scale)
    assert_array_equal(gx.evaluate(y, {images: x, regions: boxes}), expected)
    program = gx.compile([images, regions], y)
    assert_array_equal(program(x, boxes), expected)
    assert program(x, boxes[:0]).shape == (0, 3, 2, 3)
    gx.check_gradients(y, [images], feeds={images: x, regions: boxes}, entries=20)


def test_an_image_that_does_not_exist_is_an_error():
    x, boxes = gx.placeholder("x", (2, 1, 4, 4)), gx.placeholder("b", ("k", 5))
    outside = np.array([[2, 0, 0, 1, 1]], "float32")
    for pool in (gx.roi_pool, gx.roi_align):
        program = gx.compile([x, boxes], pool(x, boxes, 2))
        with pytest.raises(IndexRangeError):
            program(np.ones((2, 1, 4, 4), "float32"), outside)


def test_roi_align_differentiates_by_boxes():
    ramp = np.arange(9.0) + np.zeros((1, 1, 9, 1))
    box = gx.variable(np.array([[0.0, 2, 2, 6, 6]]), name="box")
    slope = gx.evaluate(gx.grad(gx.roi_align(ramp, box, 1)[0, 0, 0, 0], box))
    # The average over the box is the middle between left and right.
    assert_allclose(slope, [[0, 0.5, 0, 0.5, 0]], atol=1e-12)


# ------------------------------------------------------------ fractional pooling
def largest(x, rows, columns, overlapping):
    extra = int(overlapping)
    parts = [
        [x[..., a : b + extra, c : d + extra].max((-2, -1)) for c, d in itertools.pairwise(columns)]
        for a, b in itertools.pairwise(rows)
    ]
    return np.moveaxis(np.array(parts), (0, 1), (-2, -1))


@pytest.mark.parametrize("overlapping", [False, True])
def test_fractional_max_pool(overlapping):
    x = distinct(2, 3, 7, 9)
    rows, columns = [0, 2, 3, 5, 7], [0, 1, 4, 9]
    images = gx.placeholder("x", ("n", 3, 7, 9), "float64")
    y = gx.fractional_max_pool2d(images, rows, columns, overlapping)
    expected = largest(x, rows, columns, overlapping)
    assert_array_equal(gx.compile(images, y)(x), expected)
    gx.check_gradients(y, feeds={images: x}, entries=20)
    each = np.array([columns, [0, 3, 5, 9]])
    found = gx.evaluate(gx.fractional_max_pool2d(x, rows, each, overlapping))
    assert_array_equal(found[:1], expected[:1])
    assert_array_equal(found[1:], largest(x[1:], rows, each[1].tolist(), overlapping))


def test_fractional_pooling_layer_draws_regions_only_while_training():
    layer = gx.nn.FractionalMaxPool2d(ratio=0.7, overlapping=True, generator=gx.random.Generator(3))
    image = distinct(1, 1, 20, 30)
    x = gx.placeholder("x", ("n", 1, 20, 30), "float64")
    infer, train = gx.compile(x, layer(x)), gx.compile(x, layer(x, training=True))
    # Boundary i is (20 i + 7) // 14, and so on.
    rows, columns = ([(i * n + m // 2) // m for i in range(m + 1)] for n, m in ((20, 14), (30, 21)))
    assert_array_equal(infer(image), largest(image, rows, columns, True))
    seen = {train(image).tobytes() for _ in range(8)}
    assert len(seen) > 4 and train(image).shape == (1, 1, 14, 21)
    assert gx.nn.FractionalMaxPool2d((3, 4))(x).shape[2:] == (3, 4)


# -------------------------------------------------------------------- unpooling
POOLS = [
    (1, (2, 3, 9), {"kernel": 2}),
    (2, (2, 3, 6, 7), {"kernel": (2, 3), "stride": (2, 3)}),
    (2, (1, 2, 7, 8), {"kernel": 3, "stride": 2, "padding": 1}),
    (3, (1, 2, 4, 5, 6), {"kernel": 2}),
]


@pytest.mark.parametrize(("rank", "shape", "options"), POOLS)
def test_max_pool_with_indices(rank, shape, options):
    x = distinct(*shape)
    images = gx.placeholder("x", ("n", *shape[1:-1], "w"), "float64")
    pool = getattr(gx, f"max_pool{rank}d_with_indices")
    y, indices = gx.compile(images, list(pool(images, **options)))(x)
    assert_array_equal(y, gx.evaluate(getattr(gx, f"max_pool{rank}d")(x, **options)))
    assert indices.dtype == np.int64
    flat = x.reshape(*shape[:2], -1)
    assert_array_equal(np.take_along_axis(flat, indices.reshape(*shape[:2], -1), 2).reshape(y.shape), y)


def test_indices_of_dilated_and_rounded_up_windows():
    x = distinct(1, 1, 8, 9)
    y, indices = gx.evaluate(gx.max_pool2d_with_indices(x, 2, 3, dilation=2, ceil_mode=True))
    assert_array_equal(x.ravel()[indices], y)
    low = np.full((1, 1, 4, 4), -np.inf)
    _, indices = gx.evaluate(gx.max_pool2d_with_indices(low, 2, padding=1))
    assert indices.min() == 0 and indices.max() == 15


@pytest.mark.parametrize(("rank", "shape", "options"), POOLS)
def test_max_unpool(rank, shape, options):
    x = distinct(*shape)
    y, indices = gx.evaluate(getattr(gx, f"max_pool{rank}d_with_indices")(x, **options))
    unpool = getattr(gx, f"max_unpool{rank}d")
    values, places = (
        gx.placeholder("y", ("n", *y.shape[1:]), "float64"),
        gx.placeholder("i", y.shape, "int64"),
    )
    result = unpool(values, places, output_size=shape[2:], **options)
    expected = np.zeros(shape)
    for at in np.ndindex(*y.shape):
        expected[at[:2]].flat[indices[at]] += y[at]
    assert_array_equal(gx.compile([values, places], result)(y, indices), expected)
    gx.check_gradients(result, feeds={values: y, places: indices}, entries=12)


def test_unpooling_gives_the_size_that_windows_cover():
    y, at = np.ones((1, 1, 3, 4)), np.zeros((1, 1, 3, 4), int)
    assert gx.max_unpool2d(y, at, (2, 3), stride=(2, 2), padding=((0, 0), (1, 0))).shape == (1, 1, 6, 8)


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda x: gx.max_unpool2d(x[0], x[0] > 0, 2), gx.errors.UnsupportedError, "bool mask"),
        (lambda x: gx.max_unpool2d(x[0], np.zeros((2, 4, 4), int), 2), ShapeError, "wrong rank"),
        (lambda x: gx.max_unpool2d(x, np.zeros((1, 2, 4, 3), int), 2), ShapeError, "differ"),
        (
            lambda x: gx.max_unpool2d(x, np.zeros((1, 2, 4, 4), int), 2, output_size=(8,)),
            ShapeError,
            "output_size",
        ),
        (lambda x: gx.max_pool2d_with_indices(x, 5), ShapeError, "larger than the padded input"),
        (lambda x: gx.nn.FractionalMaxPool2d(), ArgumentError, "bad size"),
        (lambda x: gx.nn.FractionalMaxPool2d(ratio=1.5), ArgumentError, "bad size"),
        (lambda x: gx.nn.FractionalMaxPool2d(0), ArgumentError, "bad size"),
        (lambda x: gx.nn.FractionalMaxPool2d(5)(x), ShapeError, "sizes do not fit"),
        (lambda x: gx.nn.FractionalMaxPool2d(2)(x[0]), ShapeError, "wrong rank"),
    ],
)
def test_bad_arguments(build, error, match):
    with pytest.raises(error) as caught:
        build(gx.constant(np.ones((1, 2, 4, 4), np.float32)))
    # Not in the whole message, which quotes the line above that has `match` in it.
    assert match in caught.value.what
    assert __file__ in str(caught.value)
