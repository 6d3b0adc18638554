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


def training_step() -> gx.Program:
    """Compile the step whose graphs docs/inspecting.md shows."""
    x = gx.placeholder("x", shape=("batch", 8))
    w = gx.variable(np.zeros((8, 4), "float32"), name="w")
    loss = gx.log(gx.exp(x @ w) + 1).sum()
    return gx.compile(x, loss, updates={w: w - 0.1 * gx.grad(loss, w)}, name="step")


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
    step = training_step()
    (folder / "step_written.svg").write_text(step.stages[0].graph.to_svg() + "\n", encoding="utf-8")
    (folder / "step_compiled.svg").write_text(step.to_svg() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
