"""Statistics of activations: dead rectifiers, saturated tanh and sigmoid."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gx
from graphc.errors import ArgumentError, GraphError, MissingDependencyError


@pytest.fixture(scope="module")
def network():
    x = gx.placeholder("x", shape=("batch", 3), dtype="float64")
    with gx.scope("first"):
        h = gx.relu(x + np.array([0.0, -1.0, -9.0]))
    with gx.scope("second"):
        t = gx.tanh(h * 3)
    return x, gx.sigmoid(t @ np.full((3, 2), 9.0))


def test_shares_of_values_and_units(network):
    x, y = network
    found = gx.debug.statistics(y)
    assert [(r.name, r.op) for r in found.rows[:2]] == [("first", "relu"), ("second", "tanh")]
    assert np.isnan(found.rows[0].share) and np.isnan(found.rows[0].dead)
    found.observe({x: np.array([[1.0, 2.0, 3.0], [-1.0, 2.0, 3.0]])})
    first, second, third = found.rows
    assert (first.share, first.dead) == (0.5, pytest.approx(1 / 3))
    np.testing.assert_array_equal(first.idle, [0.5, 0.0, 1.0])
    # tanh(3) = 0.995 counts as saturated, tanh(0) does not.
    np.testing.assert_array_equal(second.idle, [0.5, 1.0, 0.0])
    assert third.name.startswith("test_activity.py:") and third.word == "saturated" and third.dead == 1.0


def test_calls_add_up_compiled_and_interpreted(network):
    x, y = network
    seen, compiled = gx.debug.statistics(y), gx.debug.statistics(y)
    observe = compiled.compile(x)
    rng = np.random.default_rng(0)
    for size in (4, 1, 7, 0):
        batch = rng.normal(scale=3, size=(size, 3))
        seen.observe({x: batch})
        observe(batch)
    for a, b in zip(seen.rows, compiled.rows, strict=True):
        np.testing.assert_allclose(a.idle, b.idle)
        assert a.share == pytest.approx(b.share) and 0 < a.share < 1
    compiled.reset()
    assert np.isnan(compiled.rows[0].share)


def test_measures_are_outputs_like_others(network):
    x, y = network
    found = gx.debug.statistics(y)
    program = gx.compile(x, [y, found.measures])
    found.add(program(np.ones((2, 3)))[1])
    assert found.rows[0].share == pytest.approx(2 / 3)
    with pytest.raises(ArgumentError, match="values of something else"):
        found.add([1])


def test_units_are_channels_or_another_axis():
    x = gx.placeholder("x", shape=("batch", 2, 4, 4), dtype="float64")
    batch = np.ones((3, 2, 4, 4))
    batch[:, 1] = -1
    batch[0, 0, 0, 0] = -1
    found = gx.debug.statistics(gx.relu(x))
    found.observe({x: batch})
    np.testing.assert_allclose(found.rows[0].idle, [1 / 48, 1.0])
    last = gx.debug.statistics(gx.relu(x), axis=-1)
    last.observe({x: batch})
    assert last.rows[0].idle.shape == (4,) and last.rows[0].dead == 0


def test_the_table_and_the_picture(network, tmp_path):
    x, y = network
    found = gx.debug.statistics(y)
    assert "nan%" in found.table()
    found.observe({x: np.ones((2, 3))})
    lines = str(found).splitlines()
    assert lines[1].split() == ["first", "relu", "3", "66.7%", "zero", "66.7%"]
    assert len({len(line) for line in lines}) == 1
    pytest.importorskip("matplotlib")
    found.plot(tmp_path / "activity.png")
    assert (tmp_path / "activity.png").read_bytes()[1:4] == b"PNG"


def test_without_matplotlib(network, tmp_path, monkeypatch):
    found = gx.debug.statistics(network[1])
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match="graphc"):
        found.plot(tmp_path / "activity.png")


def test_refusals(network):
    x, y = network
    with pytest.raises(GraphError, match="no activation"):
        gx.debug.statistics(x * 2)
    with pytest.raises(ArgumentError, match="bad margin"):
        gx.debug.statistics(y, margin=1.5)
    with pytest.raises(ArgumentError, match="axis"):
        gx.debug.statistics(y, axis=3)
