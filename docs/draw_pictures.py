"""Draws the pictures of the documentation from programs that are really compiled."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import graphc as gx
from graphc import plotting

PICTURES = Path(__file__).resolve().parent / "pictures"


def residual_block() -> gx.Program:
    """Compile the block whose graph the README shows."""
    x = gx.placeholder("x", shape=("batch", 64))
    w = gx.variable(np.eye(64, dtype="float32"), name="w")
    b = gx.variable(np.zeros(64, "float32"), name="b")
    return gx.compile(x, gx.softmax(x + gx.gelu(x @ w + b), axis=1), name="residual_block")


def main(folder: Path = PICTURES) -> None:
    """Write every picture."""
    folder.mkdir(parents=True, exist_ok=True)
    program = residual_block()
    by_name = {stage.name: stage.graph for stage in program.stages}
    graphs = {
        "as written": program.stages[0].graph,
        "expanded": by_name["prune"],
        f"fused: {len(program.kernels)} kernels": program.graph,
    }
    plotting.graph_picture(folder / "fusion.svg", graphs)


if __name__ == "__main__":
    main()
