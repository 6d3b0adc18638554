"""What recomputation saves and costs: peak memory against time, on a residual net of 64 layers.

``python -m benchmarks.recomputation`` prints one table.  All rows are the same training step; the
losses of the first three calls must agree.  Memory is the arena of the program: every temporary
and the working memory of kernels, without inputs, weights and results.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from graphc.passes import FULL, Rematerialize

import graphc as gx
from benchmarks.tables import Table, mebibytes, seconds

__all__ = ["Net", "Row", "main", "measure", "table_of"]

Block = Callable[[gx.Tensor], gx.Tensor]


@dataclass(frozen=True)
class Net:
    """Sizes of the net: each layer is ``h + tanh(h @ w + b)``."""

    layers: int = 64
    width: int = 256
    batch: int = 512

    def step(self, every: int | None, optimize: Any = "full") -> gx.Program:
        """Return a training step with a checkpoint around every so many layers."""
        rng = np.random.default_rng(0)
        shape, scale = (self.width, self.width), 0.5 / np.sqrt(self.width)
        weights = [gx.variable(rng.normal(0, scale, shape).astype("f4")) for _ in range(self.layers)]
        biases = [gx.variable(np.zeros(self.width, np.float32)) for _ in range(self.layers)]
        x, y = (gx.placeholder(name, (self.batch, self.width)) for name in "xy")
        h: gx.Tensor = x
        for first in range(0, self.layers, every or self.layers):
            layers = range(first, min(first + (every or self.layers), self.layers))

            def block(t: gx.Tensor, layers: range = layers) -> gx.Tensor:
                for k in layers:
                    t = t + gx.tanh(t @ weights[k] + biases[k])
                return t

            h = (gx.checkpoint(block) if every else block)(h)
        loss = gx.square(h - y).mean()
        updates = gx.optim.SGD(1e-3).minimize(loss, weights + biases)
        return gx.compile([x, y], loss, updates=updates, optimize=optimize)

    def feed(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return a batch."""
        rng = np.random.default_rng(1)
        x, y = (rng.normal(size=(self.batch, self.width)).astype("f4") for _ in "xy")
        return x, y


@dataclass
class Row:
    """One way to train: its program's kernels and memory, the first losses, and seconds per call."""

    kernels: int
    arena: int
    losses: list[float]
    seconds: list[float] = field(default_factory=list)


def measure(net: Net, intervals: Sequence[int], shares: Sequence[float], repeat: int) -> dict[str, Row]:
    """Return a row for the plain step, for checkpoints, and for budgets as shares of the plain arena.

    Calls take turns, so that a change of the machine's speed meets all alike.
    """
    feed = net.feed()
    programs = {"keep everything": net.step(None)}
    rows = {name: _started(program, feed) for name, program in programs.items()}
    plain = rows["keep everything"].arena
    programs |= {f"checkpoint every {k} layers": net.step(k) for k in intervals}
    for share in shares:
        budget = int(plain * share)
        passes = [*FULL, Rematerialize(budget)]
        programs[f"budget of {mebibytes(budget)}"] = net.step(None, passes)
    rows |= {name: _started(p, feed) for name, p in programs.items() if name not in rows}
    for _ in range(repeat):
        for name, program in programs.items():
            start = time.perf_counter()
            program(*feed)
            rows[name].seconds.append(time.perf_counter() - start)
    return rows


def _started(program: gx.Program, feed: Sequence[Any]) -> Row:
    losses = [float(program(*feed)) for _ in range(3)]
    return Row(len(program.kernels), program.memory.arena, losses)


def table_of(net: Net, rows: Mapping[str, Row]) -> Table:
    """Return the table; ratios are to keeping everything, round by round."""
    title = f"{net.layers} layers of {net.width}, batch {net.batch}: a training step"
    table = Table(title, ("what is kept", "kernels", "peak memory", "of plain", "median", "x plain"))
    plain = next(iter(rows.values()))
    for name, row in rows.items():
        ratio = median(a / b for a, b in zip(row.seconds, plain.seconds, strict=True))
        memory = mebibytes(row.arena), f"{row.arena / plain.arena:.2f}"
        table.rows.append((name, str(row.kernels), *memory, seconds(median(row.seconds)), f"{ratio:.2f}"))
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return 1 if losses disagree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recomputation", description=__doc__)
    parser.add_argument("--layers", type=int, default=64)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--every", nargs="+", type=int, default=[4, 8, 16], help="layers per checkpoint")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.75, 0.5, 0.25], help="budgets")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args(arguments)
    net = Net(options.layers, options.width, options.batch)
    rows = measure(net, options.every, options.shares, options.repeat)
    table = table_of(net, rows)
    print(table.markdown() if options.markdown else table.text())
    plain = next(iter(rows.values())).losses
    return int(not all(np.allclose(r.losses, plain, rtol=1e-4) for r in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
