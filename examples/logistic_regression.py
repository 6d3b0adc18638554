"""Logistic regression with gradients and an update rule written by hand.

Shows: placeholders with a symbolic size, variables, `gx.grad`, updates of one's own.
"""

from __future__ import annotations

import sys

import numpy as np

import graphc as gx


def main(steps: int) -> float:
    """Train on points in the plane; return the share that is classified right."""
    x = gx.placeholder("x", shape=("batch", 2))
    y = gx.placeholder("y", shape=("batch",))
    weights = gx.variable(np.zeros(2, "float32"), name="weights")
    bias = gx.variable(np.float32(0), name="bias")

    score = x @ weights + bias
    loss = gx.mean(gx.softplus(score) - y * score)
    slopes = gx.grad(loss, [weights, bias])
    updates = {state: state - 0.5 * slope for state, slope in zip((weights, bias), slopes, strict=True)}
    step = gx.compile([x, y], loss, updates=updates, name="step")
    predict = gx.compile(x, score > 0, name="predict")

    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 2)).astype("float32")
    sides = (points @ np.float32([2, -1]) > 0.3).astype("float32")
    for number in range(steps):
        value = step(points, sides)
        if number % (steps // 5) == 0:
            print(f"step {number}: loss {value:.4f}")
    return float((predict(points) == sides).mean())


if __name__ == "__main__":
    print(f"classified right: {main(steps=50 if '--fast' in sys.argv else 1000):.1%}")
