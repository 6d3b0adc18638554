"""A recurrent network that learns, character by character, to count in English.

Shows: an LSTM over time, states of a cell carried by `gx.scan`, text that a compiled loop writes.
"""

from __future__ import annotations

import sys

import numpy as np

import graphc as gx

ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"


def spelled(limit: int) -> str:
    """Return the numbers below `limit`, at most 100, in words."""
    small = [*ONES.split(), "seventeen", "eighteen", "nineteen"]
    large = [f"{ten}-{one}".removesuffix("-zero") for ten in TENS.split() for one in small[:10]]
    return " ".join((small + large)[:limit]) + " "


def main(epochs: int, length: int = 24, batch: int = 32) -> str:
    """Train; return what the network writes after "seventeen "."""
    text = spelled(100)
    letters = sorted(set(text))
    codes = np.array([letters.index(c) for c in text])
    rng = np.random.default_rng(0)

    embed = gx.nn.Embedding(len(letters), 16, seed=rng)
    memory = gx.nn.LSTM(16, 96, seed=rng)
    score = gx.nn.Dense(96, len(letters), seed=rng)

    x = gx.placeholder("x", shape=("time", "batch"), dtype="int64")
    y = gx.placeholder("y", shape=("time", "batch"), dtype="int64")
    outputs, _ = memory(embed(x))
    loss = gx.nn.softmax_cross_entropy(score(outputs), y).mean()
    optimizer = gx.optim.Adam(gx.optim.cosine(1e-2, epochs * 20))
    train = gx.compile([x, y], loss, updates=optimizer.minimize(loss), name="train")

    for epoch in range(1, epochs + 1):
        losses = []
        for _ in range(20):
            rows = rng.integers(0, len(codes) - length, batch) + np.arange(length + 1)[:, None]
            losses.append(train(codes[rows[:-1]], codes[rows[1:]]))
        print(f"epoch {epoch}: loss {np.mean(losses):.4f}")

    # Read a word, then let every letter be the next input.
    (cell,) = memory.cells
    read, (h, c) = memory(embed(x))

    def write(carry: tuple[gx.Tensor, ...], _: None) -> tuple[tuple[gx.Tensor, ...], gx.Tensor]:
        letter, h, c = carry
        h, c = cell(embed(letter), (h, c))
        letter = gx.argmax(score(h), axis=-1)
        return (letter, h, c), letter

    first = gx.argmax(score(read[-1]), axis=-1)
    _, rest = gx.scan(write, (first, h[0], c[0]), length=60)
    writer = gx.compile(x, gx.concat([gx.expand_dims(first, 0), rest]), name="write")
    start = "seventeen "
    written = writer(np.array([[letters.index(c)] for c in start]))[:, 0]
    return start + "".join(letters[code] for code in written)


if __name__ == "__main__":
    print(main(epochs=2 if "--fast" in sys.argv else 15))
