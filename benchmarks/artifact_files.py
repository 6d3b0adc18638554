"""Small artifacts to damage, and what reading a damaged one comes to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import graphc as gx
from graphc.artifact.container import Container, Writer
from graphc.artifact.graphs import decode_graph, encode_graph
from graphc.artifact.leaf_table import LeafTable
from graphc.errors import ArtifactError
from graphc.ir import Graph, verify
from graphc.trace import trace

__all__ = ["EXAMPLES", "OUTCOMES", "outcome", "read", "write"]

GRAPH, LEAVES, DATA = "program/0/graph", "leaves", "data"
OUTCOMES = ("refused", "equal", "another graph")


def training_step() -> Graph:
    """Return an Adam step of a small network with dropout: symbolic sizes, gradients, random state."""
    x = gx.placeholder("x", shape=("batch", 4))
    y = gx.placeholder("y", shape=("batch",), dtype="int64")
    hidden = gx.nn.Dense(4, 3)
    logits = gx.nn.Dense(3, 2)(gx.dropout(gx.relu(hidden(x)), 0.5))
    loss = gx.nn.softmax_cross_entropy(logits, y).mean()
    return trace([x, y], [loss], gx.optim.Adam(1e-3).minimize(loss))[0]


def loops() -> Graph:
    """Return the gradient through a loop with a branch in it, and a loop that ends by a condition."""
    x = gx.placeholder("x", shape=("time", 3), dtype="float64")
    w = gx.variable(np.eye(3), name="w")

    def step(carry: Any, row: Any) -> Any:
        chosen = gx.cond(row[0] > 0, lambda c: gx.tanh(c @ w), lambda c: c * 0.5, carry)
        return chosen + row, chosen.sum()

    carry, sums = gx.scan(step, np.zeros(3), x)
    total = carry.sum() + sums.sum()
    count, _ = gx.while_loop(lambda s: s[1] < 100.0, lambda s: (s[0] + 1, s[1] * 2.0), (0, 1.0))
    return trace([x], [total, count, gx.grad(total, w)])[0]


def windows() -> Graph:
    """Return convolutions, pooling, slices and gathers: attributes that addresses are computed from."""
    x = gx.placeholder("x", shape=("batch", 2, 6, "width"))
    w = gx.variable(np.ones((3, 2, 3, 3), "float32"), name="filters")
    y = gx.max_pool2d(gx.conv2d(x, w, stride=2, padding=1), 2)
    picked = gx.take(y, np.array([0, -1]), axis=1)[..., ::-1]
    parts = [picked[1:].sum(axis=(1, 2, 3)), gx.cumulative_sum(x.sum(axis=(1, 2, 3)), axis=0)]
    return trace([x], [gx.concat(parts, axis=0), gx.grad(picked.sum(), w), gx.argsort(parts[1])])[0]


EXAMPLES: Mapping[str, Callable[[], Graph]] = {
    "training step": training_step,
    "loops": loops,
    "windows": windows,
}


def write(path: Path, graph: Graph) -> None:
    """Write a graph and its data as an artifact."""
    leaves = LeafTable()
    data = encode_graph(graph, leaves)
    with Writer(path, "graphc test") as writer:
        writer.add_json("manifest", {"programs": ["main"]})
        writer.add_json(GRAPH, data)
        writer.add_json(LEAVES, leaves.encode())
        writer.add(DATA, leaves.pieces())


def read(path: Path) -> Graph:
    """Return the graph of an artifact."""
    with Container.open(path) as file:
        file.json("manifest")
        leaves = LeafTable.decode(file.json(LEAVES), file.array(DATA))
        return decode_graph(file.json(GRAPH), leaves)


def fingerprint(graph: Graph) -> tuple[str, str, bytes]:
    """Return all that a graph is: its structure, its data's names and types, its data."""
    leaves = LeafTable()
    data = encode_graph(graph, leaves)
    return json.dumps(data), json.dumps(leaves.encode()), b"".join(leaves.pieces())


def outcome(path: Path, expected: tuple[str, str, bytes]) -> str:
    """Return what reading a damaged artifact comes to.

    Returns
    -------
    str
        "refused" by an `ArtifactError`; the "equal" graph; or "another graph", which is sound: it
        verifies, and is what a file of it holds.  Any other exception is a defect, and raised.
    """
    try:
        graph = read(path)
    except ArtifactError:
        return "refused"
    found = fingerprint(graph)
    if found == expected:
        return "equal"
    verify(graph)
    again = path.with_suffix(".again")
    write(again, graph)
    if fingerprint(read(again)) != found:
        raise AssertionError("an accepted graph is not what a file of it holds")
    return "another graph"
