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
