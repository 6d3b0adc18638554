"""Watches and breakpoints of the interpreter."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gx
from graphc.errors import ArgumentError, FeedError, GraphError


def vector(name="x", shape=(3,)):
    return gx.placeholder(name, shape=shape, dtype="float64")


def test_watches_see_values_in_order_of_computation():
    x = vector()
    y = gx.exp(x)
    z = y.sum()
    unused = x * 3
    seen = []

    def note(tensor, value):
        seen.append((tensor, value))

    result = gx.evaluate(z + 1, {x: np.zeros(3)}, watch={z: note, x: note, y: note, unused: note})
    assert result == 4.0
    assert [t for t, _ in seen] == [x, y, z, unused]
    np.testing.assert_array_equal(seen[1][1], np.ones(3))


def test_watches_without_callbacks_print(capsys):
    x = vector()
    gx.evaluate(gx.exp(x), {x: np.zeros(3)}, watch=[x, gx.exp(x)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("x at test_watching.py:") and lines[0].endswith(": float64[3] [0. 0. 0.]")
    assert lines[1].startswith("exp at test_watching.py:")


def test_a_watched_value_behind_a_loop_that_prints():
    x = vector()
    last, _ = gx.scan(lambda c, v: (gx.debug.print(v) + c, c), 0.0, x)
    y = last * 2
    seen = []
    gx.evaluate(y + 1, {x: np.ones(3)}, watch={y: lambda t, v: seen.append(float(v))})
    assert seen == [6.0]


def test_breakpoints_show_operands_values_and_the_line():
    x = vector()
    y = x * 2
    z = gx.log(y)
    stops = []
    gx.evaluate(z.sum(), {x: np.array([1.0, 0.0, 2.0])}, breakpoints=[z], on_break=stops.append)
    (stop,) = stops
    assert stop.node is z.node and stop.where == z.node.where
    np.testing.assert_array_equal(stop.operands[0], [2.0, 0.0, 4.0])
    assert stop[x] is stop.values[x.node]
    assert str(stop).splitlines()[0].endswith("z = gx.log(y)")
    assert "result: float64[3]" in str(stop)
    with pytest.raises(GraphError, match="not there yet"):
        stop[z.sum()]


def test_predicates_are_asked_inside_of_loops():
    x = vector()
    last, _ = gx.scan(lambda c, v: (gx.sqrt(v) + c, c), 0.0, x)
    stops = []
    gx.evaluate(
        last,
        {x: np.array([4.0, -1.0, 9.0])},
        breakpoints=[lambda node, value: node.op.name == "sqrt" and np.isnan(value)],
        on_break=stops.append,
    )
    assert [s.operands for s in stops] == [(-1.0,)]


def test_without_a_callback_the_debugger_opens(monkeypatch, capsys):
    x = vector()
    opened = []
    monkeypatch.setattr("builtins.breakpoint", lambda: opened.append(1))
    gx.evaluate(x + 1, {x: np.zeros(3)}, breakpoints=[x])
    assert opened == [1] and "placeholder at" in capsys.readouterr().out


def test_what_a_callback_raises_arrives():
    x = vector()

    def stop(tensor, value):
        raise StopIteration

    with pytest.raises(StopIteration):
        gx.evaluate(x + 1, {x: np.zeros(3)}, watch={x: stop})
    # Nothing is watched afterwards.
    gx.evaluate(x + 1, {x: np.zeros(3)})


def test_refusals():
    x, y = vector("x"), vector("y")
    with pytest.raises(ArgumentError, match="nothing to watch"):
        gx.evaluate(x, {x: np.zeros(3)}, watch={"x": print})
    with pytest.raises(ArgumentError, match="nothing to watch"):
        gx.evaluate(x, {x: np.zeros(3)}, watch={x: 3})
    with pytest.raises(ArgumentError, match="nothing to watch"):
        gx.evaluate(x, {x: np.zeros(3)}, breakpoints=["x"])
    with pytest.raises(FeedError, match="'y' is not fed"):
        gx.evaluate(x, {x: np.zeros(3)}, watch=[y])
