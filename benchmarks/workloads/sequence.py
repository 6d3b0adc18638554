"""Sequences: a language model with an LSTM, a block of a transformer."""

from __future__ import annotations

from benchmarks.vocabulary import Tensor, Values, Vocabulary
from benchmarks.workload import Spec, Training, Workload, below, dense, normal, ones, uniform, zeros

__all__ = ["WORKLOADS", "attention_block", "language_model"]


def _language_model(f: Vocabulary, v: Values) -> Tensor:
    h = f.embedding(v["table"], v["words"])
    h = f.lstm(h, v["kernel"], v["recurrent"], v["bias"])
    return f.cross_entropy(f.dense(f.rows(h), v["out.weight"], v["out.bias"]), v["next"])


def language_model(batch: int, steps: int, words: int, embedding: int, hidden: int) -> Workload:
    """Return a training step of a model that predicts the next word."""
    draw = uniform(-(hidden**-0.5), hidden**-0.5)
    weights = {
        "table": Spec((words, embedding), normal()),
        "kernel": Spec((embedding, 4 * hidden), draw, "dense"),
        "recurrent": Spec((hidden, 4 * hidden), draw, "dense"),
        "bias": Spec((4 * hidden,), draw),
    }
    inputs = {
        "words": Spec((batch, steps), below(words), dtype="int64"),
        "next": Spec((batch * steps,), below(words), dtype="int64"),
    }
    title = f"LSTM language model {embedding}-{hidden}-{words}, batch {batch}, {steps} steps"
    return Workload(title, _language_model, inputs, weights | dense("out", hidden, words), Training())


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
    "lstm": language_model(32, 64, 1000, 128, 256),
    "attention": attention_block(8, 128, 256),
}
