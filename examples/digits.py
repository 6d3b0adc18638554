"""A small dense network on real handwritten digits; needs the extra ``demo``.

Shows: data with preprocessing, layers, dropout, a schedule, saving.
"""

from __future__ import annotations

import sys

import numpy as np

import graphc as gx
from graphc import data


def main(epochs: int) -> float:
    """Train; return the share of held-out digits that are recognized."""
    digits = data.load_digits()
    standardize = data.Standardize.fit(digits.train)
    rng = np.random.default_rng(0)
    steps = -(-len(digits.train) // 64)

    x = gx.placeholder("x", shape=("batch", *digits.image_shape))
    y = gx.placeholder("y", shape=("batch",), dtype="int64")
    model = gx.nn.Sequential(
        gx.nn.Flatten(),
        gx.nn.Dense(64, 128, activation=gx.relu, initializer="he", seed=rng),
        gx.nn.Dropout(0.2),
        gx.nn.Dense(128, 10, seed=rng),
    )
    loss = gx.nn.softmax_cross_entropy(model(x, training=True), y).mean()
    rate = gx.optim.warmup(gx.optim.cosine(5e-3, epochs * steps), steps)
    train = gx.compile([x, y], loss, updates=gx.optim.AdamW(rate).minimize(loss), name="train")
    predict = gx.compile(x, gx.argmax(model(x), axis=1), name="predict")

    for epoch in range(1, epochs + 1):
        losses = []
        for chosen in data.minibatches(len(digits.train), 64, rng):
            pixels = standardize(digits.train.pixels[chosen])
            losses.append(train(pixels, digits.train.labels[chosen]))
        print(f"epoch {epoch}: loss {np.mean(losses):.4f}")
    return float((predict(standardize(digits.test.pixels)) == digits.test.labels).mean())


if __name__ == "__main__":
    print(f"recognized: {main(epochs=2 if '--fast' in sys.argv else 30):.1%}")
