"""`Program.explain`: where a user's node went, and what could not be made fast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.errors import ArgumentError

# With a file name of its own, so that texts do not depend on where it stands in this one.
MODEL = """
import numpy as np
import graphc as gx

x = gx.placeholder("x", shape=("b", 8))
y = gx.placeholder("y", shape=("b",), dtype="int64")
w = gx.variable(np.zeros((8, 4), "float32"), name="w")
e = gx.exp(x)
scale = gx.sqrt(gx.constant(np.float32(4)))
scores = gx.relu((e * gx.exp(x) * scale) @ w)
soft = gx.log(gx.exp(scores) + 1)
parts = soft.reshape(-1, 2, 2)
loss = parts.sum()
updates = {w: w - 0.1 * gx.grad(loss, w)}
order = gx.argsort(soft)
program = gx.compile([x, y], [loss, order, parts], updates=updates)
"""


@pytest.fixture(scope="module")
def model() -> dict[str, Any]:
    found: dict[str, Any] = {}
    exec(compile(MODEL, "model.py", "exec"), found)
    return found


def test_every_line_says_where_it_went(model: dict[str, Any], golden: Callable[[str, str], None]) -> None:
    program = model["program"]
    lines = range(5, MODEL.count("\n"))
    named = [f"model.py:{k}" for k in lines if any(n.where.line == k for n in program.stages[0].graph.nodes)]
    golden("explain", "\n".join(str(program.explain(place)) for place in named))


@pytest.mark.parametrize("subject", ["e", "loss", "w"])
def test_a_tensor_and_its_node_are_explained_alike(model: dict[str, Any], subject: str) -> None:
    tensor = model[subject]
    assert model["program"].explain(tensor) == model["program"].explain(tensor.node)
    assert str(model["program"].explain(tensor)).startswith(tensor.node.op.name)


def test_a_name_is_explained(model: dict[str, Any]) -> None:
    text = str(model["program"].explain("w"))
    assert text.splitlines()[0] == "variable 'w' at model.py:7: float32[8, 4]"


def test_what_one_line_made_in_several_scopes_is_told_apart() -> None:
    x = gx.placeholder("x", shape=("b", 4))
    hidden = x
    for name in ("first", "second"):
        with gx.scope(name):
            hidden = hidden @ hidden.T @ x
    program = gx.compile(x, hidden)
    titles = [line for line in str(program.explain(hidden)).splitlines() if " at " in line]
    assert titles[0].endswith(f"{hidden.node.where} in second: float32[b, 4]")
    left = [line for line in str(program.explain()).splitlines() if "two contractions" in line]
    assert {line.rpartition(" in ")[2] for line in left} == {"first", "second"}
    profile = program.profile(np.ones((2, 4), "float32"), repeat=1)
    assert {step.scopes for step in profile.steps} == {("first",), ("second",)}


def test_a_tensor_that_is_not_needed_is_no_part_of_the_program(model: dict[str, Any]) -> None:
    stranger = gx.exp(model["x"])
    text = str(model["program"].explain(stranger))
    assert text.splitlines()[1] == "  is no part of program: no output and no update needs it"


def test_a_node_of_a_later_stage_is_explained_from_there_on(model: dict[str, Any]) -> None:
    program = model["program"]
    stage = next(s for s in program.stages if s.name == "stabilize")
    made = next(n for n in stage.graph.nodes if n.op.name == "softplus")
    text = str(program.explain(made))
    assert "stabilize" not in text and "runs in kernel" in text


def test_an_unknown_name_suggests_others(model: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="nothing is named 'xx'") as caught:
        model["program"].explain("xx")
    assert caught.value.expected == "'x'"
    with pytest.raises(ArgumentError, match="no such thing"):
        model["program"].explain(3)


def test_a_node_in_a_loop_ends_in_a_kernel_of_the_loop() -> None:
    x = gx.placeholder("x", shape=(16, 4))
    u = gx.variable(np.eye(4, dtype="float32"), name="u")
    _, ys = gx.scan(lambda h, row: (gx.tanh(h @ u + row), h), gx.zeros((4,)), x)
    program = gx.compile(x, ys)
    loop = next(n for n in program.stages[0].graph.nodes if n.op.name == "loop")
    tanh = next(n for n in loop.payload[0].nodes if n.op.name == "tanh")
    assert "runs in kernel" in str(program.explain(tanh))
    assert "runs as a loop of" in str(program.explain(loop))


# ------------------------------------------------------------------ what is slow
def test_what_was_not_fused_says_why(model: dict[str, Any]) -> None:
    text = str(model["program"].explain())
    assert "matmul with where: two contractions  model.py:10" in text
    assert "argsort: a loop nest of its own  model.py:15" in text


def test_what_is_not_parallel_says_why_at_the_sizes_of_the_latest_call(model: dict[str, Any]) -> None:
    program = model["program"]
    assert "depends on sizes that no call has had yet" in str(program.explain())
    program(np.zeros((3, 8), "float32"), np.zeros(3, "int64"))
    text = str(program.explain())
    assert "less than 8 us each at b=3, too little to cut" in text


def test_a_large_step_in_one_piece_is_reported() -> None:
    x = gx.placeholder("x", shape=(1 << 16,))
    text = str(gx.compile(x, gx.sort(x)).explain())
    assert "but in one piece" in text.partition("not parallelized:")[2]


def test_loops_without_vector_instructions_are_reported() -> None:
    x = gx.placeholder("x", shape=(64,))
    text = str(gx.compile(x, gx.cumulative_sum(x)).explain())
    assert "are written element by element" in text.partition("not vectorized:")[2]


def test_a_program_with_nothing_left_to_say_says_so() -> None:
    x = gx.placeholder("x", shape=(1 << 24,))
    text = str(gx.compile(x, gx.exp(x)).explain())
    assert text.startswith("not fused: nothing\nnot rewritten: nothing\nnot vectorized: nothing\n")


def test_explanations_show_in_notebooks(model: dict[str, Any]) -> None:
    shown = model["program"].explain(model["e"])
    assert shown._repr_html_().startswith("<pre>exp at model.py:8")
    assert repr(shown) == str(shown)
