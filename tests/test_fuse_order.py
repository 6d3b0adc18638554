"""Fusing keeps the graph acyclic, also around nodes that no kernel of its own computes."""

from __future__ import annotations

import numpy as np
import pytest
from graphc.passes import FAST

import graphc as gx
from graphc import interpreter
from graphc.pipeline import Pipeline
from graphc.trace import trace

OPAQUE = {
    "loop": lambda t: gx.cumulative_sum(t, axis=1),
    "callback": lambda t: gx.sort(t, axis=1),
    "reshape": lambda t: gx.reshape(gx.reshape(t, (-1,)) * 2, t.shape),
}


@pytest.mark.parametrize("detour", OPAQUE.values(), ids=OPAQUE)
def test_a_value_is_not_fused_with_a_reader_that_waits_for_a_detour(detour):
    x = gx.placeholder("x", shape=("n", 4))
    value = gx.exp(x)
    graph, _ = trace([x], value + detour(value))
    fused = Pipeline(FAST).run(graph)[-1].graph
    feed = {x.node: np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)}
    (expected,), _ = interpreter.run_graph(graph, feed)
    (found,), _ = interpreter.run_graph(fused, feed)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
