"""Resizing and sampling of images: named sizes, layers, kernels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import graphc as gx

RNG = np.random.default_rng(0)


# ------------------------------------------------------------------ resizing
@pytest.mark.parametrize("options", [{"mode": "nearest"}, {"mode": "cubic", "align_corners": True}])
@pytest.mark.parametrize("new", [{"size": (6, "m")}, {"scale": 3}])
def test_resize_of_named_sizes(options, new):
    x = gx.placeholder("x", (1, 2, "h", "w"), "float64")
    y = gx.placeholder("y", ("m",), "float64")
    resized = gx.resize(x, **new, **options)
    program = gx.compile([x, y], [resized, gx.grad((resized**2).sum(), x)])
    for h, w in ((4, 3), (1, 5)):
        image, line = RNG.normal(size=(1, 2, h, w)), np.zeros(7)
        sizes = (6, 7) if "size" in new else (3 * h, 3 * w)
        fixed = gx.constant(image)
        expected = gx.resize(fixed, sizes, **options)
        value, slope = program(image, line)
        assert_allclose(value, gx.evaluate(expected), rtol=1e-10)
        assert_allclose(slope, gx.evaluate(gx.grad((expected**2).sum(), fixed)), rtol=1e-10, atol=1e-10)


def test_average_pooling_undoes_nearest_upsampling():
    x = RNG.normal(size=(2, 3, 4, 5))
    assert_allclose(gx.evaluate(gx.avg_pool2d(gx.nn.Upsample(scale=3)(x), 3)), x)


def test_axes_of_the_same_size_are_left_alone():
    x = gx.placeholder("x", ("n", 1, 4, 6))
    assert gx.resize(x, (4, 6)).node is x.node


def test_linear_resizing_is_a_kernel_per_axis_forward_and_backward():
    x = gx.placeholder("x", ("n", 8, 32, 32))
    y = gx.resize(x, scale=2, mode="linear")
    # One more for the tables of indices and weights.
    assert len(gx.compile(x, y).kernels) == 3
    slope = gx.compile(x, gx.grad((y * y).sum(), x))
    assert len(slope.kernels) == 6 and "scatter" not in str(slope.graph)


# ------------------------------------------------------------ spatial transformers
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("sizes", [(4, 5), (1, 3), (2, 3, 4)])
def test_affine_grid(sizes, align_corners):
    rank = len(sizes)
    theta = RNG.normal(size=(2, rank, rank + 1))
    expected = np.zeros((2, *sizes, rank))
    for at in np.ndindex(*expected.shape[:-1]):
        # From the last axis on, as positions are written.
        place = []
        for i, n in zip(reversed(at[1:]), reversed(sizes), strict=True):
            # A single element lies in the middle.
            corner = 2 * i / (n - 1) - 1 if n > 1 else 0.0
            place.append(corner if align_corners else (2 * i + 1) / n - 1)
        expected[at] = theta[at[0]] @ [*place, 1]
    found = gx.affine_grid(theta, (2, 7, *sizes), align_corners)
    assert_allclose(gx.evaluate(found), expected, atol=1e-12)


def test_an_affine_map_moves_an_image_and_learns_where_to():
    x = gx.placeholder("x", ("n", 2, "h", "w"), "float64")
    theta = gx.placeholder("theta", ("n", 2, 3), "float64")
    y = gx.grid_sample(x, gx.affine_grid(theta, x.shape))
    program = gx.compile([x, theta], y)
    image = RNG.normal(size=(2, 2, 4, 6))
    # Two columns to the left: 2 / 6 of the way from -1 to 1, which is 2 long.
    shift = np.array([[1, 0, 2 / 3], [0, 1, 0]])
    moved = np.concatenate([image[..., 2:], np.zeros((2, 2, 4, 2))], -1)
    assert_allclose(program(image, np.stack([shift, shift])), moved, atol=1e-12)
    turned = np.array([[0.8, -0.3, 0.1], [0.2, 0.7, -0.15]])
    gx.check_gradients(y, feeds={x: image, theta: np.stack([turned, turned.T.reshape(2, 3)])}, entries=12)


def test_sampling_is_two_kernels_whatever_the_channels():
    x, grid = gx.placeholder("x", ("n", 16, 8, 8)), gx.placeholder("g", ("n", 8, 8, 2))
    assert len(gx.compile([x, grid], gx.grid_sample(x, grid)).kernels) == 2
