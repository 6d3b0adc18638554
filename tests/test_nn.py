"""Layers against plain NumPy; initializers; the finite-value check."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import graphc as gx
from graphc.errors import ArgumentError, IndexRangeError, NonFiniteError, ShapeError
from graphc.ir import topological
from graphc.nn import initializers

RNG = np.random.default_rng(0)


# ---------------------------------------------------------------------- layers
def test_dense():
    layer = gx.nn.Dense(4, 3, activation=gx.relu, seed=0)
    layer.bias.value = np.float32([0.1, -0.2, 0.3])
    x = RNG.normal(size=(5, 2, 4)).astype("float32")
    expected = np.maximum(x @ layer.weight.value + layer.bias.value, 0)
    assert_allclose(gx.evaluate(layer(x)), expected, rtol=1e-5, atol=1e-6)
    assert [v.shape for v in gx.nn.Dense(4, 3, bias=False).variables] == [(4, 3)]


def test_dense_drops_weights_only_while_training():
    layer = gx.nn.DropConnect(200, 50, rate=0.5, seed=0, generator=gx.random.Generator(1), dtype="float64")
    layer.weight.value = np.ones((200, 50))
    assert_array_equal(gx.evaluate(layer(np.eye(200))), np.ones((200, 50)))
    dropped = gx.evaluate(layer(np.eye(200), training=True))
    assert set(np.unique(dropped)) == {0.0, 2.0} and abs(dropped.mean() - 1) < 0.05


def test_an_empty_batch_leaves_running_statistics_alone():
    layer = gx.nn.BatchNorm(3)
    x = gx.placeholder("x", ("n", 3, "m"))
    step = gx.compile(x, layer(x, training=True))
    step(RNG.normal(size=(4, 3, 2)).astype("float32"))
    before = layer.running_mean.value, layer.running_var.value
    assert np.any(before[0])
    for shape in ((0, 3, 2), (4, 3, 0)):
        assert step(np.zeros(shape, "float32")).shape == shape
        assert_array_equal(layer.running_mean.value, before[0])
        assert_array_equal(layer.running_var.value, before[1])


def test_same_seed_same_model():
    def build():
        rng = np.random.default_rng(3)
        return gx.nn.Sequential(gx.nn.Dense(4, 4, seed=rng), gx.nn.Dense(4, 4, seed=rng))

    one, two = build(), build()
    assert all((a.value == b.value).all() for a, b in zip(one.variables, two.variables, strict=True))
    assert (one[0].weight.value != one[1].weight.value).any()


def test_embedding():
    layer = gx.nn.Embedding(6, 3, seed=0)
    index = np.array([[0, 5], [2, 2]])
    assert_array_equal(gx.evaluate(layer(index)), layer.weight.value[index])
    with pytest.raises(IndexRangeError):
        gx.evaluate(layer(gx.constant([1]) * 7))


@pytest.mark.parametrize("groups", [1, 2])
def test_conv2d(groups):
    layer = gx.nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=groups, activation=gx.relu, seed=0)
    layer.bias.value = RNG.normal(size=6).astype("float32")
    x = RNG.normal(size=(2, 4, 7, 6)).astype("float32")
    assert layer.weight.shape == (6, 4 // groups, 3, 2)
    plain = gx.conv2d(x, layer.weight, stride=2, padding=1, groups=groups)
    expected = np.maximum(gx.evaluate(plain) + layer.bias.value[:, None, None], 0)
    assert_allclose(gx.evaluate(layer(x)), expected, rtol=1e-6)


@pytest.mark.parametrize(("layer", "rank"), [(gx.nn.Conv1d, 1), (gx.nn.Conv3d, 3)])
def test_conv_of_other_ranks(layer, rank):
    x = gx.placeholder("x", ("n", 2, *(5,) * rank))
    assert str(layer(2, 3, 3, padding=1, seed=0)(x).type) == f"float32[n, 3{', 5' * rank}]"


def test_pooling():
    x = RNG.normal(size=(2, 3, 4, 6))
    windows = x.reshape(2, 3, 2, 2, 3, 2)
    assert_array_equal(gx.evaluate(gx.nn.MaxPool2d(2)(x)), windows.max((3, 5)))
    assert_allclose(gx.evaluate(gx.nn.AvgPool2d(2)(x)), windows.mean((3, 5)))
    assert_array_equal(gx.evaluate(gx.nn.GlobalMaxPool()(x)), x.max((2, 3)))
    assert_allclose(gx.evaluate(gx.nn.GlobalAvgPool()(x)), x.mean((2, 3)))


def test_flatten():
    x = gx.placeholder("x", ("n", 3, 4))
    assert str(gx.nn.Flatten()(x).type) == "float32[n, 12]"
    assert str(gx.nn.Flatten(-2)(x).type) == "float32[n, 12]"
    assert str(gx.nn.Flatten(2)(x).type) == "float32[n, 3, 4]"
    assert str(gx.nn.Flatten()(gx.placeholder("y", ("n", "c", 4))).type) == "float32[n, 4*c]"
    with pytest.raises(ArgumentError, match="start_axis"):
        gx.nn.Flatten(3)(x)


# --------------------------------------------------------------- normalization
def updates_in(t):
    nodes = [n for n in topological([t.node]) if n.op.name == "with_update"]
    return {gx.Variable.of(n.inputs[1]): gx.Tensor(n.inputs[2]) for n in nodes}


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 2, 5), (1, 3, 1)])
def test_batch_norm_while_training(shape):
    layer = gx.nn.BatchNorm(3, momentum=0.75, eps=1e-3, dtype="float64")
    layer.weight.value, layer.bias.value = RNG.normal(size=(2, 3))
    x = RNG.normal(size=shape) * 3 + 1
    axes = (0, *range(2, len(shape)))
    wide = (slice(None), *(None,) * (len(shape) - 2))
    mean, var = x.mean(axes), x.var(axes)
    y = layer(x, training=True)
    normal = (x - mean[wide]) / np.sqrt(var[wide] + 1e-3)
    expected = normal * layer.weight.value[wide] + layer.bias.value[wide]
    assert_allclose(gx.evaluate(y), expected, rtol=1e-10, atol=1e-12)
    new = updates_in(y)
    assert set(new) == {layer.running_mean, layer.running_var}
    assert_allclose(gx.evaluate(new[layer.running_mean]), 0.25 * mean)
    assert_allclose(gx.evaluate(new[layer.running_var]), 0.75 + 0.25 * var)


def test_batch_norm_uses_running_statistics_for_inference():
    layer = gx.nn.BatchNorm(3, axis=-1, affine=False, dtype="float64")
    layer.running_mean.value, layer.running_var.value = [1, 2, 3], [4, 9, 16]
    x = RNG.normal(size=(4, 3))
    y = layer(x)
    assert_allclose(gx.evaluate(y), (x - [1, 2, 3]) / np.sqrt(np.array([4, 9, 16]) + 1e-5), rtol=1e-12)
    assert not updates_in(y)
    assert [v.trainable for v in layer.variables] == [False, False]


def test_batch_norm_gradient_flows_through_the_statistics():
    layer = gx.nn.BatchNorm(2, dtype="float64")
    x = gx.variable(RNG.normal(size=(5, 2)))
    weights = RNG.normal(size=(5, 2))

    def loss():
        return (layer(x, training=True) * weights).sum()

    slope, start = gx.evaluate(gx.grad(loss(), x)), x.value
    for position in np.ndindex(5, 2):
        sides = []
        for step in (1e-6, -1e-6):
            moved = start.copy()
            moved[position] += step
            x.value = moved
            sides.append(float(gx.evaluate(loss())))
        assert_allclose(slope[position], (sides[0] - sides[1]) / 2e-6, rtol=1e-5, atol=1e-8)


def test_layer_norm():
    layer = gx.nn.LayerNorm((3, 4), dtype="float64")
    layer.weight.value, layer.bias.value = RNG.normal(size=(2, 3, 4))
    x = RNG.normal(size=(2, 3, 4))
    mean, var = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    expected = (x - mean) / np.sqrt(var + 1e-5) * layer.weight.value + layer.bias.value
    assert_allclose(gx.evaluate(layer(x)), expected, rtol=1e-10)


# -------------------------------------------------------------- finding things
class Block(gx.nn.Layer):
    def __init__(self):
        super().__init__("block")
        self.first = gx.nn.Dense(2, 2, seed=0)
        self.scale = gx.variable(np.float32(1), name="scale")
        self.rest = [gx.nn.Dense(2, 2, bias=False, seed=1), {"tied": self.first}]

    def forward(self, x, training):
        return self.first(x) * self.scale


def test_variables_are_found_by_place_and_once():
    block = Block()
    assert list(block.named_variables()) == ["first.weight", "first.bias", "scale", "rest.0.weight"]
    assert [v.node for v in block.variables] == [v.node for v in block.named_variables().values()]
    model = gx.nn.Sequential(gx.nn.Flatten(), block, gx.relu)
    assert next(iter(model.named_variables())) == "1.first.weight"
    assert len(model) == 3 and list(model)[1] is block


def test_training_reaches_inner_layers():
    model = gx.nn.Sequential(gx.nn.Sequential(gx.nn.Dropout(0.5, gx.random.Generator(0))))
    x = np.ones((8, 8), np.float32)
    assert (gx.evaluate(model(x, training=True)) == 0).any()
    assert_array_equal(gx.evaluate(model(x)), x)


def test_a_small_network_learns():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(64, 2)).astype("float32")
    labels = (inputs[:, :1] * inputs[:, 1:] > 0).astype("float32")
    model = gx.nn.Sequential(gx.nn.Dense(2, 16, seed=rng), gx.tanh, gx.nn.Dense(16, 1, seed=rng))
    x, y = gx.placeholder("x", ("n", 2)), gx.placeholder("y", ("n", 1))
    loss = ((model(x) - y) ** 2).mean()
    updates = gx.optim.Adam(0.03).minimize(loss)
    first = float(gx.evaluate(loss, {x: inputs, y: labels}))
    for _ in range(60):
        targets = list(updates)
        for target, value in zip(
            targets, gx.evaluate([updates[t] for t in targets], {x: inputs, y: labels}), strict=True
        ):
            target.assign(value)
    assert float(gx.evaluate(loss, {x: inputs, y: labels})) < first / 3


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: gx.nn.Dense(0, 3), "Dense: bad in_features"),
        (lambda: gx.nn.Dense(3, 2.0), "Dense: bad out_features"),
        (lambda: gx.nn.Dense(3, 2, initializer="nice"), "bad initializer"),
        (lambda: gx.nn.Dense(3, 2, drop_connect=1.0), "Dense: bad rate"),
        (lambda: gx.nn.Dropout("half"), "Dropout: bad rate"),
        (lambda: gx.nn.Conv2d(3, 4, 3, groups=2), "Conv2d: bad groups"),
        (lambda: gx.nn.Conv2d(3, 4, (3, 3, 3)), "Conv2d: bad kernel"),
        (lambda: gx.nn.Conv2d(3, 4, 0), "Conv2d: bad kernel"),
        (lambda: gx.nn.BatchNorm(3, momentum=2.0), "BatchNorm: bad momentum"),
        (lambda: gx.nn.Embedding(0, 3), "Embedding: bad count"),
        (lambda: gx.nn.LayerNorm(0), "LayerNorm: bad shape"),
        (lambda: gx.nn.Sequential(3), "Sequential: not a layer"),
    ],
)
def test_bad_arguments(build, match):
    with pytest.raises(ArgumentError) as caught:
        build()
    # Not in the whole message, which quotes the line above that has `match` in it.
    assert match in caught.value.what
    assert "test_nn.py" in str(caught.value)


# ---------------------------------------------------------------- initializers
@pytest.mark.parametrize(
    ("make", "variance"),
    [
        (initializers.xavier_uniform, 2 / 500),
        (initializers.xavier_normal, 2 / 500),
        (initializers.he_uniform, 2 / 200),
        (initializers.he_normal, 2 / 200),
        (initializers.lecun_uniform, 1 / 200),
        (initializers.lecun_normal, 1 / 200),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_initializer_variances(make, variance):
    dense = make(seed=0)((200, 300), "float64")
    assert_allclose(dense.var(), variance, rtol=0.03)
    assert abs(dense.mean()) < 0.01
    # 12 outputs and 8 inputs over a window of 25 make the same fans.
    assert_allclose(make(seed=0)((12, 8, 5, 5), "float64").var(), variance, rtol=0.06)


def test_uniform_initializers_are_bounded():
    assert abs(initializers.xavier_uniform(0)((200, 300), "float64")).max() <= np.sqrt(6 / 500)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 2, 3, 3), (2, 5, 1)])
def test_orthogonal_initializer(shape):
    matrix = initializers.orthogonal(gain=2.0, seed=0)(shape, "float64").reshape(shape[0], -1)
    small = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)
    with pytest.raises(ShapeError, match="orthogonal"):
        initializers.orthogonal()((3,))


def test_constant_initializers_and_dtype():
    assert initializers.zeros()((2,), "float32").dtype == np.float32
    assert_array_equal(initializers.ones()((2,)), [1, 1])
    assert_array_equal(initializers.constant(0.5)((2,)), [0.5, 0.5])


def test_initializer_seed_wins_over_the_layer():
    fixed = initializers.he_normal(seed=4)
    one, two = gx.nn.Dense(3, 3, initializer=fixed, seed=0), gx.nn.Dense(3, 3, initializer=fixed, seed=1)
    assert_array_equal(one.weight.value, two.weight.value)


# -------------------------------------------------------------- check_finite
def test_check_finite():
    x = gx.placeholder("x", ("n",), "float64")
    checked = gx.debug.check_finite(1 / x, name="inverse")
    assert_array_equal(gx.evaluate(checked, {x: np.array([2.0])}), [0.5])
    assert gx.evaluate(checked, {x: np.zeros(0)}).shape == (0,)
    with pytest.raises(NonFiniteError, match="inverse is not finite") as caught:
        gx.evaluate(checked, {x: np.array([1.0, 0.0, 0.0])})
    assert "inf at index (1,), 2 of 3 elements" in str(caught.value)
    assert "test_nn.py" in str(caught.value)


def test_check_finite_passes_gradients_and_integers():
    x = gx.variable(np.array([1.0, 2.0]))
    assert_array_equal(gx.evaluate(gx.grad((gx.debug.check_finite(x) * x).sum(), x)), [2, 4])
    whole = gx.constant([1, 2])
    assert gx.debug.check_finite(whole) is whole


def test_compiled_check_finite_raises_and_changes_nothing():
    x, seen = gx.placeholder("x", ("n",), "float64"), gx.variable(0.0, name="seen")
    checked = gx.debug.check_finite(1 / x, name="inverse")
    program = gx.compile(x, checked, updates={seen: seen + 1.0})
    assert_array_equal(program(np.array([2.0, 4.0])), [0.5, 0.25])
    with pytest.raises(NonFiniteError, match="inverse is not finite"):
        program(np.array([1.0, 0.0]))
    assert seen.value == 1.0


# ------------------------------------------------------------------- compiled
def test_compiled_training_matches_the_interpreter():
    rng, noise = np.random.default_rng(0), gx.random.Generator(3)
    model = gx.nn.Sequential(
        gx.nn.Dense(3, 4, bias=False, seed=rng, dtype="float64"),
        gx.nn.BatchNorm(4, dtype="float64"),
        gx.nn.Dropout(0.25, noise),
        gx.nn.Dense(4, 2, seed=rng, dtype="float64"),
    )
    x, y = gx.placeholder("x", ("n", 3), "float64"), gx.placeholder("y", ("n",), "int64")
    scores = model(x, training=True)
    updates = gx.optim.Momentum(0.1).minimize(gx.nn.softmax_cross_entropy(scores, y).mean())
    step = gx.compile([x, y], scores, updates=updates)
    everything = updates | updates_in(scores)
    feeds = {x: rng.normal(size=(6, 3)), y: rng.integers(0, 2, 6)}
    for count in range(1, 4):
        expected, *values = gx.evaluate([scores, *everything.values()], feeds)
        assert_allclose(step(feeds[x], feeds[y]), expected, rtol=1e-9, atol=1e-12)
        for variable, value in zip(everything, values, strict=True):
            assert_allclose(variable.value, value, rtol=1e-9, atol=1e-12, err_msg=variable.name)
        assert noise.state.value.tolist() == [3, count]
