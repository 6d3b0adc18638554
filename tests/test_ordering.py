"""The order of steps: less memory, and everything still after what it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

import graphc as gx
from graphc import ordering
from graphc.tensor import Tensor
from tests.lifetimes import peak_of

LAYERS, BATCH, WIDTH = 16, 256, 128
VALUE = BATCH * WIDTH * 4
RNG = np.random.default_rng(0)


def _training(wrap: Callable[..., Callable[[Tensor], Tensor]], optimizer: Any) -> gx.Program:
    """A step of a net of blocks of four layers, each with one value that the gradient needs."""
    x = gx.placeholder("x", (BATCH, WIDTH))
    weights = [
        gx.variable(np.random.default_rng(k).normal(0, 0.1, (WIDTH, WIDTH)).astype("f4"), name=f"w{k}")
        for k in range(LAYERS)
    ]
    h: Tensor = x
    for start in range(0, LAYERS, 4):

        def block(t: Tensor, start: int = start) -> Tensor:
            for w in weights[start : start + 4]:
                t = gx.relu(t @ w)
            return t

        h = wrap(block)(h)
    loss = gx.square(h).mean()
    return gx.compile(x, loss, updates=optimizer(1e-2).minimize(loss, weights))


def _run(step: gx.Program) -> tuple[int, list[float]]:
    """Return the peak of temporaries, and losses."""
    point = np.random.default_rng(5).normal(size=(BATCH, WIDTH)).astype("f4")
    losses = [float(step(point)) for _ in range(3)]
    return peak_of(step), losses


def _as_written() -> object:
    return patch.object(ordering, "WORTHWHILE", 1 << 60)


@pytest.mark.parametrize("optimizer", [gx.optim.SGD, gx.optim.Adam])
def test_weights_are_updated_as_soon_as_their_gradient_is_there(optimizer: Any) -> None:
    with _as_written():
        plain, losses = _run(_training(lambda f: f, optimizer))
    step = _training(lambda f: f, optimizer)
    found, same = _run(step)
    assert len(step.memory.in_place) >= LAYERS and not step.memory.committed
    # As written, all values and all cotangents live together.
    assert plain > 2 * (LAYERS - 1) * VALUE
    # A value and a mask for each layer.
    assert found < (LAYERS * 1.25 + 2) * VALUE
    assert same == losses


@pytest.mark.parametrize("optimizer", [gx.optim.SGD, gx.optim.Adam])
def test_a_checkpointed_net_needs_memory_for_its_blocks_and_one_block(optimizer: Any) -> None:
    plain, losses = _run(_training(lambda f: f, optimizer))
    found, same = _run(_training(gx.checkpoint, optimizer))
    assert found < (4 + 4 * 1.25 + 1) * VALUE < plain
    np.testing.assert_allclose(same, losses, rtol=1e-5)


def test_small_programs_stay_as_written() -> None:
    x = gx.placeholder("x", (4, 4))
    w = [gx.variable(RNG.normal(size=(4, 4)).astype("f4"), name=f"w{k}") for k in range(4)]
    h: Tensor = x
    for v in w:
        h = gx.tanh(h @ v)
    gradients = gx.grad(h.sum(), w)
    with _as_written():
        plain = gx.compile(x, gradients)
    assert [k.name for k in gx.compile(x, gradients).kernels] == [k.name for k in plain.kernels]


def test_no_variable_changes_before_the_last_check() -> None:
    """Where a step may fail, what it depends on runs before all updates, whatever that costs."""
    x = gx.placeholder("x", (BATCH, WIDTH))
    w = gx.variable(np.ones((BATCH, WIDTH), np.float32), name="w")
    much = [gx.exp(x * k) for k in range(1, 9)]
    with patch.object(ordering, "WORTHWHILE", -(1 << 60)):
        total = gx.debug.check_finite(sum(much[1:], much[0]).sum(axis=0))
        step = gx.compile(x, total, updates={w: w - much[0]})
    with pytest.raises(gx.errors.NonFiniteError):
        step(np.full((BATCH, WIDTH), np.inf, np.float32))
    assert (w.value == 1).all()


def test_readers_of_a_variable_run_before_its_update() -> None:
    a, b = gx.variable(np.full(4, 2.0), name="a"), gx.variable(np.full(4, 3.0), name="b")
    with patch.object(ordering, "WORTHWHILE", -(1 << 60)):
        step = gx.compile([], gx.exp(a[::-1]) + gx.cumulative_sum(b), updates={a: a * b, b: a + b})
    np.testing.assert_allclose(step(), np.exp(2.0) + 3.0 * np.arange(1, 5))
    np.testing.assert_array_equal([a.value, b.value], [[6.0] * 4, [5.0] * 4])
