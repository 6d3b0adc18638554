"""How much memory the temporaries of a program take at one time, without what its kernels work in."""

from __future__ import annotations

from collections.abc import Mapping

import graphc as gx
from graphc import dims
from graphc.blocks import may_fail
from graphc.lower.ownership import materialize
from graphc.lower.steps import lower_graph, storage_of
from graphc.memory import assign, byte_size


def peak_of(program: gx.Program, sizes: Mapping[str, int] | None = None) -> int:
    """Return the most bytes of temporaries that live during one step, by the memory plan's own lifetimes."""
    graph = materialize(program.graph)
    steps = lower_graph(graph)
    assignment = assign(graph, steps, frozenset(s.node for s in steps if may_fail(s)))
    results = {assignment.resolve(storage_of(n)) for n in graph.outputs}
    spans = [
        (span, dims.evaluate(byte_size(s), sizes or {}))
        for s, span in assignment.lifetimes.items()
        if s not in results
    ]
    times = range(len(assignment.order))
    return max(sum(size for (first, last), size in spans if first <= t <= last) for t in times)
