"""Sequences: language models with an LSTM and a GRU, a block of a transformer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.vocabulary import Tensor, Values, Vocabulary
from benchmarks.workload import Spec, Training, Workload, below, dense, normal, ones, uniform, zeros

__all__ = ["GRU", "LSTM", "WORKLOADS", "attention_block", "language_model"]


def _lstm(f: Vocabulary, v: Values, x: Tensor) -> Tensor:
    return f.lstm(x, v["kernel"], v["recurrent"], v["bias"])


def _gru(f: Vocabulary, v: Values, x: Tensor) -> Tensor:
    return f.gru(x, v["kernel"], v["recurrent"], v["bias"], v["recurrent_bias"])


@dataclass(frozen=True)
class Cell:
    """A recurrent layer: its name, its word, how many gates it has, and its biases."""

    title: str
    run: Callable[[Vocabulary, Values, Tensor], Tensor]
    gates: int
    biases: tuple[str, ...] = ("bias",)


LSTM = Cell("LSTM", _lstm, 4)
GRU = Cell("GRU", _gru, 3, ("bias", "recurrent_bias"))


def language_model(cell: Cell, batch: int, steps: int, words: int, embedding: int, hidden: int) -> Workload:
    """Return a training step of a model that predicts the next word."""
    draw, columns = uniform(-(hidden**-0.5), hidden**-0.5), cell.gates * hidden
    weights = {
        "table": Spec((words, embedding), normal()),
        "kernel": Spec((embedding, columns), draw, "dense"),
        "recurrent": Spec((hidden, columns), draw, "dense"),
        **{name: Spec((columns,), draw) for name in cell.biases},
    }
    inputs = {
        "words": Spec((batch, steps), below(words), dtype="int64"),
        "next": Spec((batch * steps,), below(words), dtype="int64"),
    }

    def body(f: Vocabulary, v: Values) -> Tensor:
        h = cell.run(f, v, f.embedding(v["table"], v["words"]))
        return f.cross_entropy(f.dense(f.rows(h), v["out.weight"], v["out.bias"]), v["next"])

    title = f"{cell.title} language model {embedding}-{hidden}-{words}, batch {batch}, {steps} steps"
    return Workload(title, body, inputs, weights | dense("out", hidden, words), Training())


def _attention_block(f: Vocabulary, v: Values) -> Tensor:
    """Attention and a perceptron, each on a normalized residual stream."""

    def layer(x: Tensor, name: str) -> Tensor:
        return f.dense(x, v[f"{name}.weight"], v[f"{name}.bias"])

    x = v["x"]
    h = f.layer_norm(x, v["norm1.scale"], v["norm1.shift"])
    x = x + layer(f.attention(layer(h, "q"), layer(h, "k"), layer(h, "v")), "o")
    h = f.layer_norm(x, v["norm2.scale"], v["norm2.shift"])
    x = x + layer(f.gelu(layer(h, "up")), "down")
    difference = x - v["y"]
    return f.mean(difference * difference)


def attention_block(batch: int, tokens: int, width: int) -> Workload:
    """Return a training step of a block with one head."""
    weights: dict[str, Spec] = {}
    for norm in ("norm1", "norm2"):
        weights |= {f"{norm}.scale": Spec((width,), ones), f"{norm}.shift": Spec((width,), zeros)}
    for name in "qkvo":
        weights |= dense(name, width, width)
    weights |= dense("up", width, 4 * width) | dense("down", 4 * width, width)
    inputs = {name: Spec((batch, tokens, width)) for name in "xy"}
    title = f"attention block, batch {batch}, {tokens} tokens, width {width}"
    return Workload(title, _attention_block, inputs, weights, Training())


WORKLOADS = {
    "lstm": language_model(LSTM, 32, 64, 1000, 128, 256),
    "gru": language_model(GRU, 32, 64, 1000, 128, 256),
    "attention": attention_block(8, 128, 256),
}
