"""Does compiling scale?  Time per node of every pass, on graphs of 100, 1,000 and 10,000 nodes.

``python -m benchmarks.compile_scaling`` prints one table for each kind of graph and exits with 1 if
the largest graph costs more than twice as much per node as the cheapest smaller one.  Everything
from the traced graph to the text of the kernels is timed; compiling that text is not, as equal
kernels are compiled once and kept on disk.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from graphc.passes import FULL

import graphc as gx
from benchmarks.tables import Table
from graphc import dims, interpreter
from graphc.blocks import generate, may_fail
from graphc.ir import Graph
from graphc.lower.ownership import materialize
from graphc.lower.steps import lower_graph
from graphc.memory import assign, byte_size
from graphc.pipeline import Pass, Pipeline, Repeat, pass_name
from graphc.placement import Block, place
from graphc.trace import trace

__all__ = ["GRAPHS", "Growth", "main", "measure"]

SIZES = (100, 1_000, 10_000)
ALLOWED = 2.0
# Stages that take a smaller share of the total than this are too short to be judged alone.
SHARE = 0.1
WIDTH = 32

Layer = Callable[[gx.Tensor, gx.Tensor], gx.Tensor]
Model = Callable[[gx.Tensor, int], gx.Tensor]


# ---------------------------------------------------------------------- graphs
def _weight(*shape: int) -> gx.Variable:
    return gx.variable(np.full(shape, 0.5, np.float32))


def _elementwise(h: gx.Tensor, before: gx.Tensor) -> gx.Tensor:
    return gx.tanh(h * _weight(WIDTH) + _weight(WIDTH))


def _dense(h: gx.Tensor, before: gx.Tensor) -> gx.Tensor:
    return gx.relu(h @ _weight(WIDTH, WIDTH) + _weight(WIDTH))


def _shared(h: gx.Tensor, before: gx.Tensor) -> gx.Tensor:
    """Two readers of each value, and one subexpression that stands there twice."""
    gate = gx.sigmoid(h * _weight(WIDTH))
    return gx.tanh(h + before) * gate + gx.tanh(h + before)


def _normalized(h: gx.Tensor, before: gx.Tensor) -> gx.Tensor:
    """Reductions and composite ops, as in a transformer."""
    return h + gx.softmax(h * _weight(WIDTH), axis=-1)


def _deep(layer: Layer) -> Model:
    def build(x: gx.Tensor, depth: int) -> gx.Tensor:
        before, h = x, x
        for _ in range(depth):
            before, h = h, layer(h, before)
        return h

    return build


def _wide(x: gx.Tensor, depth: int) -> gx.Tensor:
    """Branches that all read the input, and their sum."""
    total = x
    for _ in range(depth):
        total = total + gx.sigmoid(x * _weight(WIDTH))
    return total


GRAPHS: dict[str, Model] = {
    "deep, elementwise": _deep(_elementwise),
    "deep, matrix products": _deep(_dense),
    "deep, shared subexpressions": _deep(_shared),
    "deep, softmax": _deep(_normalized),
    "wide": _wide,
}


def training_graph(build: Model, depth: int) -> Graph:
    """Return the traced graph of one gradient descent step over a model of the given depth."""
    x = gx.placeholder("x", shape=("batch", WIDTH))
    loss = gx.square(build(x, depth)).mean()
    graph, _ = trace([x], loss, gx.optim.SGD(0.01).minimize(loss))
    return graph


def graph_of(build: Model, size: int) -> Graph:
    """Return a training graph of about `size` nodes."""
    few, more = (len(training_graph(build, depth).nodes) for depth in (2, 4))
    per_layer = (more - few) / 2
    return training_graph(build, max(1, round((size - few) / per_layer) + 2))


# -------------------------------------------------------------------- measuring
class _Clock:
    """Seconds of CPU time by name; `lap` books what has passed since the last one."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._last = time.process_time()

    def lap(self, name: str) -> None:
        now = time.process_time()
        self.spent[name] = self.spent.get(name, 0.0) + now - self._last
        self._last = now


@dataclass(frozen=True)
class _Timed:
    """A pass that books its time under its name, and the pipeline's own under "verify"."""

    step: Pass
    clock: _Clock

    @property
    def name(self) -> str:
        return pass_name(self.step)

    def __call__(self, graph: Graph) -> Graph:
        self.clock.lap("verify")
        result = self.step(graph)
        self.clock.lap(self.name)
        return result


def _timed(step: Pass | Repeat, clock: _Clock) -> Pass | Repeat:
    if isinstance(step, Repeat):
        return Repeat(tuple(_Timed(p, clock) for p in step.passes), step.limit)
    return _Timed(step, clock)


def time_stages(graph: Graph) -> dict[str, float]:
    """Return the seconds that each stage of compiling takes, and their total.

    Without the garbage collector: it strikes rarely, and then whichever stage is running.
    """
    gc.collect()
    gc.disable()
    try:
        return _time_stages(graph)
    finally:
        gc.enable()


def _time_stages(graph: Graph) -> dict[str, float]:
    clock = _Clock()
    stages = Pipeline([_timed(step, clock) for step in FULL]).run(graph)
    clock.lap("verify")
    final = materialize(stages[-1].graph)
    steps = lower_graph(final)
    clock.lap("lower")
    assignment = assign(final, steps, frozenset(s.node for s in steps if may_fail(s)))
    clock.lap("assign memory")
    sizes = dict.fromkeys(final.dim_names, 8)
    lives = assignment.lifetimes.items()
    place([Block(s, first, last, dims.evaluate(byte_size(s), sizes)) for s, (first, last) in lives])
    clock.lap("place in arena")
    for step in assignment.order:
        generate(step, assignment)
    clock.lap("write kernels")
    return {**clock.spent, "total": sum(clock.spent.values())}


@dataclass(frozen=True)
class Growth:
    """Seconds per node that one stage takes, by graph size, and whether it counts.

    Attributes
    ----------
    stage : str
        A pass or a later stage, or "total".
    seconds : tuple of float
        Per node of the traced graph, smallest graph first.
    matters : bool
        Whether the stage is long enough to be judged.
    """

    stage: str
    seconds: tuple[float, ...]
    matters: bool

    @property
    def factor(self) -> float:
        """How much more the largest graph costs per node than a smaller one.

        The total is compared with the cheapest, a stage with the next smaller: in a graph of a
        hundred nodes, kernels have not reached their full size.
        """
        smaller = min(self.seconds[:-1]) if self.stage == "total" else self.seconds[-2]
        return self.seconds[-1] / max(smaller, 1e-12)

    @property
    def flat(self) -> bool:
        """Whether the cost per node stays within the allowed factor."""
        return not self.matters or self.factor <= ALLOWED


def measure(build: Model, sizes: Sequence[int], repeat: int) -> list[Growth]:
    """Return how the stages grow, each at its fastest of `repeat` runs."""
    fastest: list[dict[str, float]] = []
    for size in sizes:
        graph = graph_of(build, size)
        runs = [time_stages(graph) for _ in range(repeat)]
        fastest.append({stage: min(r[stage] for r in runs) / len(graph.nodes) for stage in runs[0]})
    enough = SHARE * fastest[-1]["total"]
    return [
        Growth(stage, tuple(f.get(stage, 0.0) for f in fastest), seconds >= enough)
        for stage, seconds in fastest[-1].items()
    ]


def check(name: str, build: Model) -> None:
    """Fail unless the optimized graph computes what the traced one does."""
    graph = graph_of(build, SIZES[0])
    feed = {graph.inputs[0]: np.linspace(-1, 1, 4 * WIDTH, dtype=np.float32).reshape(4, WIDTH)}
    expected = interpreter.run_graph(graph, feed)
    found = interpreter.run_graph(Pipeline(FULL).run(graph)[-1].graph, feed)
    for a, b in zip((*expected[0], *expected[1]), (*found[0], *found[1]), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5, err_msg=f"{name}: optimizing changed a result")


# ---------------------------------------------------------------------- printing
def table_of(name: str, sizes: Sequence[int], growths: Sequence[Growth]) -> Table:
    """Return the table of one kind of graph."""
    table = Table(f"{name}: microseconds per node", ("stage", *(f"{s:,}" for s in sizes), "growth"))
    for growth in growths:
        times = (f"{s * 1e6:.1f}" for s in growth.seconds)
        shown = f"{growth.factor:.2f}" if growth.matters else "-"
        table.rows.append((growth.stage, *times, shown if growth.flat else f"{shown} !"))
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return 1 if something grows faster than the graph."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compile_scaling", description=__doc__)
    parser.add_argument("--graphs", nargs="+", choices=GRAPHS, default=list(GRAPHS), metavar="NAME")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="nodes, in growing order")
    parser.add_argument("--repeat", type=int, default=3, help="runs, of which the fastest counts")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args(arguments)
    if len(options.sizes) < 2:
        parser.error("--sizes: growth takes at least two")
    grown: list[str] = []
    for name in options.graphs:
        check(name, GRAPHS[name])
        growths = measure(GRAPHS[name], options.sizes, options.repeat)
        table = table_of(name, options.sizes, growths)
        print(table.markdown() if options.markdown else table.text(), end="\n\n")
        grown += [f"{name}: {g.stage} grows {g.factor:.2f} times" for g in growths if not g.flat]
    for line in grown:
        print(f"not flat: {line} (allowed: {ALLOWED})")
    return int(bool(grown))


if __name__ == "__main__":
    sys.exit(main())
