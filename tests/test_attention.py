"""Attention against loops over its definition; masks, gradients, kernels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import graphc as gx
from graphc.errors import ArgumentError, DTypeError, ShapeError

RNG = np.random.default_rng(0)


def average(scores, values, allowed):
    """Average values query by query, over the allowed keys only; zeros where there are none."""
    found = np.zeros((*scores.shape[:-1], values.shape[-1]))
    for at in np.ndindex(*scores.shape[:-1]):
        keep = np.broadcast_to(allowed, scores.shape)[at]
        weights = np.exp(scores[at][keep])
        if keep.any():
            found[at] = weights @ values[at[:-1]][keep] / weights.sum()
    return found


def operands(queries=4, keys=5):
    return (RNG.normal(size=(2, 3, n, width)) for n, width in ((queries, 6), (keys, 6), (keys, 7)))


LOWER = np.tril(np.ones((4, 5), bool))
SOME = RNG.random((2, 1, 4, 5)) > 0.5
SOME[0, 0, 2] = False
BIAS = RNG.normal(size=(3, 4, 5))


# ------------------------------------------------------------------ function
@pytest.mark.parametrize(
    ("options", "allowed", "bias", "scale"),
    [
        ({}, True, 0, 6**-0.5),
        ({"scale": 0.3}, True, 0, 0.3),
        ({"is_causal": True}, LOWER, 0, 6**-0.5),
        ({"mask": SOME}, SOME, 0, 6**-0.5),
        ({"mask": BIAS}, True, BIAS, 6**-0.5),
        ({"mask": SOME, "is_causal": True}, SOME & LOWER, 0, 6**-0.5),
        ({"mask": BIAS, "is_causal": True}, LOWER, BIAS, 6**-0.5),
    ],
)
def test_scaled_dot_product_attention(options, allowed, bias, scale):
    q, k, v = operands()
    expected = average(q @ k.swapaxes(-1, -2) * scale + bias, v, allowed)
    x = [
        gx.placeholder(name, ("n", *a.shape[1:]), "float64") for name, a in zip("qkv", (q, k, v), strict=True)
    ]
    y = gx.scaled_dot_product_attention(*x, **options)
    feeds = dict(zip(x, (q, k, v), strict=True))
    assert_allclose(gx.evaluate(y, feeds), expected, rtol=1e-12, atol=1e-14)
    assert_allclose(gx.compile(x, y)(q, k, v), expected, rtol=1e-12, atol=1e-14)
    gx.check_gradients(y, feeds=feeds, entries=12)
    again = gx.grad(y.sum(), x)
    gx.check_gradients(again, feeds=feeds, entries=6, rtol=1e-4, atol=1e-6)


def test_lengths_may_be_named():
    q, k, v = operands()
    x = [gx.placeholder("q", (2, 3, "t", "f"), "float64"), gx.placeholder("k", (2, 3, "s", "f"), "float64")]
    x.append(gx.placeholder("v", (2, 3, "s", 7), "float64"))
    program = gx.compile(x, gx.scaled_dot_product_attention(*x, is_causal=True))
    for queries in (4, 1, 2):
        scores = q[:, :, :queries] @ k.swapaxes(-1, -2) / np.sqrt(6)
        expected = average(scores, v, LOWER[:queries])
        assert_allclose(program(q[:, :, :queries], k, v), expected, rtol=1e-12, atol=1e-14)


def test_a_query_without_keys_passes_no_nan_back():
    q, k, v = map(gx.constant, operands())
    mask = np.zeros((4, 5), bool)
    mask[1:] = True
    y = gx.scaled_dot_product_attention(q, k, v, mask=mask)
    value, *slopes = gx.evaluate([y, *gx.grad(y.sum(), [q, k, v])])
    assert (value[:, :, 0] == 0).all() and (slopes[0][:, :, 0] == 0).all()
    assert all(np.isfinite(s).all() and s.any() for s in slopes[:2])


def test_scores_scaled_and_masked_are_one_kernel_between_two_products():
    x = gx.placeholder("x", ("n", 4, 64, 32))
    program = gx.compile(x, gx.scaled_dot_product_attention(x, x, x, is_causal=True))
    assert [k.choice is not None for k in program.kernels] == [True, False, True]


def test_dropout_drops_weights_and_keeps_their_mean():
    q, k = np.zeros((200, 1, 2)), np.zeros((200, 10, 2))
    y = gx.scaled_dot_product_attention(
        q, k, np.ones((200, 10, 1)), dropout=0.5, generator=gx.random.Generator(0)
    )
    found = gx.evaluate(y)
    assert_allclose(found * 5, np.round(found * 5), atol=1e-6)
    assert len(np.unique(found.round(6))) > 3 and abs(found.mean() - 1) < 0.05


# -------------------------------------------------------------------- layers
def heads(layer, x, role):
    """Return what a dense layer makes of `x`, as (batch, heads, sequence, width)."""
    dense = getattr(layer, role)
    y = x @ dense.weight.value + dense.bias.value
    return y.reshape(*x.shape[:2], layer.heads, -1).swapaxes(1, 2)


@pytest.mark.parametrize("cross", [False, True])
def test_multi_head_attention(cross):
    sizes = {"key_features": 5, "value_features": 3} if cross else {}
    layer = gx.nn.MultiHeadAttention(8, 2, **sizes, is_causal=not cross, seed=0, dtype="float64")
    for dense in (layer.query, layer.key, layer.value, layer.output):
        dense.bias.value = RNG.normal(size=8)
    x = RNG.normal(size=(2, 4, 8))
    k, v = (RNG.normal(size=(2, 5, 5)), RNG.normal(size=(2, 5, 3))) if cross else (x, x)
    length = k.shape[1]
    padding = np.zeros((2, length), bool)
    padding[1, 3:] = True
    mask = RNG.random((2, 1, 4, length)) > 0.2
    allowed = mask & ~padding[:, None, None] & (True if cross else LOWER[:, :length])
    scores = heads(layer, x, "query") @ heads(layer, k, "key").swapaxes(2, 3) / 2
    joined = average(scores, heads(layer, v, "value"), allowed).swapaxes(1, 2).reshape(2, 4, 8)
    expected = joined @ layer.output.weight.value + layer.output.bias.value
    others = {"key": k, "value": v} if cross else {}
    found = layer(x, mask=mask, key_padding_mask=padding, **others)
    assert_allclose(gx.evaluate(found), expected, rtol=1e-10)
    assert len(layer.variables) == 8


def test_padding_keys_do_not_matter():
    layer = gx.nn.MultiHeadAttention(8, 2, seed=0)
    x, memory = RNG.normal(size=(2, 3, 8)).astype("float32"), RNG.normal(size=(2, 6, 8)).astype("float32")
    padding = np.arange(6) >= np.array([[4], [2]])
    changed = np.where(padding[..., None], np.float32(99), memory)
    one, other = (gx.evaluate(layer(x, key=m, key_padding_mask=padding)) for m in (memory, changed))
    assert_array_equal(one, other)


def test_self_attention_stands_in_a_chain_and_drops_only_while_training():
    attention = gx.nn.MultiHeadAttention(8, 2, dropout=0.5, seed=0, generator=gx.random.Generator(0))
    model = gx.nn.Sequential(attention, gx.nn.LayerNorm(8))
    x = RNG.normal(size=(2, 4, 8)).astype("float32")
    assert_array_equal(gx.evaluate(attention(x)), gx.evaluate(attention(x)))
    assert_allclose(gx.evaluate(model(x)), gx.evaluate(model[1](attention(x))), rtol=1e-6)
    assert not np.allclose(gx.evaluate(attention(x, training=True)), gx.evaluate(attention(x)))


def test_the_dense_layers_start_with_different_weights():
    layer = gx.nn.MultiHeadAttention(8, 2, seed=0)
    assert (layer.query.weight.value != layer.key.weight.value).any()
    same = gx.nn.MultiHeadAttention(8, 2, seed=0)
    assert_array_equal(layer.output.weight.value, same.output.weight.value)


@pytest.mark.parametrize("is_causal", [False, True])
def test_additive_attention(is_causal):
    layer = gx.nn.AdditiveAttention(3, 4, hidden=5, is_causal=is_causal, seed=0, dtype="float64")
    layer.query.bias.value = RNG.normal(size=5)
    x, k, v = RNG.normal(size=(2, 4, 3)), RNG.normal(size=(2, 5, 4)), RNG.normal(size=(2, 5, 6))
    padding = np.arange(5) >= np.array([[3], [5]])
    scores = np.zeros((2, 4, 5))
    for n, i, j in np.ndindex(2, 4, 5):
        hidden = (
            x[n, i] @ layer.query.weight.value + layer.query.bias.value + k[n, j] @ layer.key.weight.value
        )
        scores[n, i, j] = layer.score.value @ np.tanh(hidden)
    allowed = ~padding[:, None] & (LOWER if is_causal else True)
    found = layer(x, key=k, value=v, key_padding_mask=padding)
    assert_allclose(gx.evaluate(found), average(scores, v, allowed), rtol=1e-10)
    assert layer(x, key=k).shape == (2, 4, 4) and len(layer.variables) == 4
    gx.check_gradients(found, layer.variables, entries=8)


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda x: gx.scaled_dot_product_attention(x[0, 0], x, x), ShapeError, "q of a wrong rank"),
        (lambda x: gx.scaled_dot_product_attention(x, x[:, :, :3], x), ShapeError, "inner sizes"),
        (lambda x: gx.scaled_dot_product_attention(x, x, x, np.ones(3, bool)), ShapeError, "broadcast"),
        (lambda x: gx.scaled_dot_product_attention(x, x, x, np.ones(4, int)), DTypeError, "mask has"),
        (lambda x: gx.scaled_dot_product_attention(x, x, x, dropout=1.0), ArgumentError, "bad rate"),
        (lambda x: gx.scaled_dot_product_attention(x, x, x, scale="one"), ArgumentError, "bad scale"),
        (lambda x: gx.nn.MultiHeadAttention(8, 3), ArgumentError, "MultiHeadAttention: bad heads"),
        (
            lambda x: gx.nn.MultiHeadAttention(8, 2, dropout=1.0),
            ArgumentError,
            "MultiHeadAttention: bad rate",
        ),
        (lambda x: gx.nn.MultiHeadAttention(8, 2)(x[0]), ShapeError, "MultiHeadAttention: query"),
        (lambda x: gx.nn.MultiHeadAttention(8, 2)(x, key=x[0]), ShapeError, "MultiHeadAttention: key"),
        (
            lambda x: gx.nn.MultiHeadAttention(8, 2)(x, key_padding_mask=np.ones((2, 4))),
            DTypeError,
            "bad key_padding_mask",
        ),
        (
            lambda x: gx.nn.AdditiveAttention(8, 8, 2)(x, key_padding_mask=np.ones(4, bool)),
            ShapeError,
            "bad key_padding_mask",
        ),
        (lambda x: gx.nn.AdditiveAttention(8, 8, 0), ArgumentError, "AdditiveAttention: bad hidden"),
    ],
)
def test_bad_arguments(build, error, match):
    with pytest.raises(error) as caught:
        build(gx.constant(np.ones((2, 4, 8), np.float32)))
    # Not in the whole message, which quotes the line above that has `match` in it.
    assert match in caught.value.what
    assert __file__ in str(caught.value)
