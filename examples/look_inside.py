"""What compiling does to a graph, stage by stage, down to the machine code.

Shows: stages and their rewrites, kernels with source, LLVM IR and assembly.
"""

from __future__ import annotations

import numpy as np

import graphc as gx


def main() -> gx.Program:
    """Compile a layer with its gradient and print what became of it."""
    x = gx.placeholder("x", shape=("batch", 16))
    w = gx.variable(np.eye(16, dtype="float32"), name="w")
    hidden = gx.layer_norm(gx.tanh(x @ w))
    loss = (hidden * gx.softmax(hidden, axis=1)).sum()
    program = gx.compile(x, [loss, *gx.grad(loss, [w])], name="layer")

    print(f"as written:\n{program.stages[0].graph}\n")
    for stage in program.stages:
        for rule, count in stage.counts().items():
            print(f"{stage.name}: {count} x {rule}")
    print(f"\nas compiled:\n{program.graph}\n")
    kernel = program.kernels[0]
    lines = {"source": kernel.source, "LLVM IR": kernel.llvm, "assembly": kernel.asm}
    print(f"first of {len(program.kernels)} kernels: {kernel.name}")
    print(", ".join(f"{len(text.splitlines())} lines of {name}" for name, text in lines.items()))
    print(kernel.source)
    return program


if __name__ == "__main__":
    main()
