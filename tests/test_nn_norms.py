"""Layers of norms and transposed convolutions: variables, training, many uses."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import graphc as gx
from graphc.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)


# ------------------------------------------------------------------- groups
def test_group_norm_scales_channels():
    layer = gx.nn.GroupNorm(2, 6, dtype="float64")
    layer.weight.value, layer.bias.value = RNG.normal(size=(2, 6))
    x = RNG.normal(size=(3, 6, 5))
    expected = gx.group_norm(x, 2, layer.weight.value, layer.bias.value)
    assert_allclose(gx.evaluate(layer(x)), gx.evaluate(expected))
    assert list(layer.named_variables()) == ["weight", "bias"]


def test_instance_norm_has_no_variables_by_default():
    layer = gx.nn.InstanceNorm(4)
    y = gx.evaluate(layer(RNG.normal(size=(2, 4, 30)).astype("float32")))
    assert layer.variables == [] and len(gx.nn.InstanceNorm(4, affine=True).variables) == 2
    assert_allclose(y.mean(2), 0, atol=1e-6)
    assert_allclose(y.std(2), 1, rtol=1e-3)


def test_local_response_norm():
    x = RNG.normal(size=(2, 6, 3))
    layer = gx.nn.LocalResponseNorm(3, alpha=0.5, beta=1.0, k=2.0)
    near = np.pad(x, ((0, 0), (1, 1), (0, 0))) ** 2
    average = (near[:, :-2] + near[:, 1:-1] + near[:, 2:]) / 3
    assert_allclose(gx.evaluate(layer(x)), x / (2 + 0.5 * average))


@pytest.mark.parametrize("norm", [lambda x: gx.group_norm(x, 2), gx.instance_norm])
def test_norms_of_groups_are_one_kernel(norm):
    x = gx.placeholder("x", ("n", 4, 8, 8))
    assert len(gx.compile(x, norm(x)).kernels) == 1


# ------------------------------------------------- transposed convolutions
@pytest.mark.parametrize("groups", [1, 2])
def test_conv_transpose(groups):
    layer = gx.nn.ConvTranspose2d(
        4, 6, (3, 2), stride=2, padding=1, output_padding=1, groups=groups, activation=gx.relu, seed=0
    )
    layer.bias.value = RNG.normal(size=6).astype("float32")
    x = RNG.normal(size=(2, 4, 5, 4)).astype("float32")
    assert layer.weight.shape == (4, 6 // groups, 3, 2)
    plain = gx.conv_transpose2d(x, layer.weight, stride=2, padding=1, output_padding=1, groups=groups)
    expected = np.maximum(gx.evaluate(plain) + layer.bias.value[:, None, None], 0)
    assert_allclose(gx.evaluate(layer(x)), expected, rtol=1e-6)


@pytest.mark.parametrize(("layer", "rank"), [(gx.nn.ConvTranspose1d, 1), (gx.nn.ConvTranspose3d, 3)])
def test_conv_transpose_of_other_ranks(layer, rank):
    x = gx.placeholder("x", ("n", 2, *(5,) * rank))
    assert str(layer(2, 3, 2, stride=2, seed=0)(x).type) == f"float32[n, 3{', 10' * rank}]"


def test_conv_transpose_starts_with_the_weights_of_the_convolution():
    conv = gx.nn.Conv2d(4, 6, 2, groups=2, seed=0).weight.value
    found = gx.nn.ConvTranspose2d(4, 6, 2, groups=2, seed=0).weight.value
    for group in (0, 1):
        one, other = found[2 * group : 2 * group + 2], conv[3 * group : 3 * group + 3]
        assert_array_equal(one, other.swapaxes(0, 1))


# ------------------------------------------------------------ spectral norm
def test_spectral_norm_finds_the_largest_singular_value():
    layer = gx.nn.SpectralNorm(gx.nn.Conv2d(2, 3, 3, bias=False, seed=0), seed=1)
    x = gx.placeholder("x", (1, 2, 5, 5))
    train, infer = gx.compile(x, layer(x, training=True)), gx.compile(x, layer(x))
    image = RNG.normal(size=(1, 2, 5, 5)).astype("float32")
    for _ in range(200):
        train(image)
    weight = layer.layer.weight.value
    largest = np.linalg.svd(weight.reshape(3, -1), compute_uv=False)[0]
    expected = gx.evaluate(gx.conv2d(image, weight / largest))
    assert_allclose(infer(image), expected, rtol=1e-4, atol=1e-5)
    assert_allclose(train(image), expected, rtol=1e-4, atol=1e-5)
    assert list(layer.named_variables()) == ["layer.weight", "u"]
    assert [v.name for v in layer.variables if v.trainable] == [layer.layer.weight.name]


def test_spectral_norm_iterates_once_per_call_and_not_in_inference():
    layer = gx.nn.SpectralNorm(gx.nn.Dense(4, 5, bias=False, seed=0), seed=1)
    w, u = layer.layer.weight.value, layer.u.value
    v = u @ w / np.linalg.norm(u @ w)
    moved = w @ v / np.linalg.norm(w @ v)
    x = gx.placeholder("x", (2, 4))
    infer = gx.compile(x, layer(x))
    both = gx.compile(x, [layer(x, training=True), layer(x + 1, training=True)])
    points = RNG.normal(size=(2, 4)).astype("float32")
    assert_allclose(infer(points), points @ w / (u @ w @ v), rtol=1e-5)
    assert_array_equal(layer.u.value, u)
    one, other = both(points)
    assert_allclose(layer.u.value, moved, rtol=1e-5)
    assert_allclose(one, points @ w / (moved @ w @ v), rtol=1e-5)
    assert_allclose(other, (points + 1) @ w / (moved @ w @ v), rtol=1e-5)


def test_spectral_norm_differentiates_with_fixed_vectors():
    u = RNG.normal(size=3)
    u /= np.linalg.norm(u)
    w = gx.variable(RNG.normal(size=(3, 4)), name="w")
    divided, _ = gx.nn.spectral_norm(w, u)
    cotangent = RNG.normal(size=(3, 4))
    v = u @ w.value / np.linalg.norm(u @ w.value)
    left = w.value @ v / np.linalg.norm(w.value @ v)
    sigma = left @ w.value @ v
    # Of w / (left' w v) with constant left and v.
    expected = cotangent / sigma - (cotangent * w.value).sum() / sigma**2 * np.outer(left, v)
    assert_allclose(gx.evaluate(gx.grad(divided, w, grad_output=cotangent)), expected)


def test_spectral_norm_of_another_axis():
    w = RNG.normal(size=(3, 4, 2))
    u = np.eye(4)[0]
    divided, _ = gx.nn.spectral_norm(w, u, iterations=100, axis=1)
    largest = np.linalg.svd(np.moveaxis(w, 1, 0).reshape(4, -1), compute_uv=False)[0]
    assert_allclose(gx.evaluate(divided), w / largest, rtol=1e-6)


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: gx.nn.GroupNorm(3, 4), ArgumentError, "GroupNorm: bad groups"),
        (lambda: gx.nn.GroupNorm(0, 4), ArgumentError, "GroupNorm: bad groups"),
        (lambda: gx.nn.InstanceNorm(0), ArgumentError, "InstanceNorm: bad num_channels"),
        (lambda: gx.nn.LocalResponseNorm(0), ArgumentError, "LocalResponseNorm: bad size"),
        (lambda: gx.nn.ConvTranspose2d(3, 4, 3, groups=2), ArgumentError, "ConvTranspose2d: bad groups"),
        (lambda: gx.nn.SpectralNorm(gx.nn.Flatten()), ArgumentError, "SpectralNorm: not a layer"),
        (lambda: gx.nn.SpectralNorm(gx.nn.Dense(2, 3), iterations=0), ArgumentError, "bad iterations"),
        (lambda: gx.nn.SpectralNorm(gx.nn.Dense(2, 3), axis=2), ArgumentError, "SpectralNorm: axis"),
        (lambda: gx.nn.spectral_norm([1.0], [1.0]), ShapeError, "spectral_norm: weight"),
        (lambda: gx.nn.spectral_norm(np.ones((2, 3)), np.ones(2), -1), ArgumentError, "bad iterations"),
        (lambda: gx.nn.spectral_norm(np.ones((2, 3)), np.ones(3)), ShapeError, "spectral_norm: u"),
    ],
)
def test_bad_arguments(build, error, match):
    with pytest.raises(error) as caught:
        build()
    # Not in the whole message, which quotes the line above that has `match` in it.
    assert match in caught.value.what
    assert __file__ in str(caught.value)
