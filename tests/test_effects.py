"""Prints and checks: they survive every optimization, in order, in loops, branches, rows and gradients."""

from __future__ import annotations

import gc
import io

import numpy as np
import pytest

import graphc as gx
from graphc.effects import Effect
from graphc.errors import ArgumentError, CheckError, DTypeError, GraphError, UnsupportedError

PIPELINES = ("none", "fast", "full")


def printed(run):
    file = io.StringIO()
    with gx.debug.redirect(file):
        run()
    return file.getvalue().splitlines()


def both(inputs, outputs, feeds, updates=None):
    """Return the lines of the interpreter, after requiring that programs of all pipelines print the same."""
    single = not isinstance(outputs, (list, tuple, dict))
    lines = printed(lambda: gx.evaluate(outputs, dict(zip(inputs, feeds, strict=True))))
    for optimize in PIPELINES:
        program = gx.compile(inputs, outputs if single else list(outputs), updates, optimize=optimize)
        assert printed(lambda p=program: p(*feeds)) == lines, optimize
    return lines


def vector(name="x", shape=(3,)):
    return gx.placeholder(name, shape=shape, dtype="float64")


# ------------------------------------------------------------------------- programs
def test_an_unused_print_happens_in_the_order_of_the_program():
    x = vector()
    gx.debug.print(x.max(), label="first")
    y = gx.exp(x)
    # What is equal is printed twice all the same.
    for _ in range(2):
        gx.debug.print(y.min(), format="then {0:.2f}")
    gx.debug.print(x, label="last")
    lines = both([x], y * 2 + x, [np.arange(3.0)])
    assert lines == ["first: 2.0", "then 1.00", "then 1.00", "last: [0. 1. 2.]"]


def test_a_program_prints_what_is_derived_from_what_it_computes():
    x, y, w = vector("x"), vector("y"), gx.variable(2.0, name="w")
    score = x * w
    loss = ((score - y) ** 2).sum()
    gx.debug.print(loss, label="loss")
    gx.debug.print(w * 2, label="twice")
    gx.debug.check(x > 0, "positive")
    ones = np.ones(3)
    assert printed(lambda: gx.compile(x, score)(ones)) == ["twice: 4.0"]
    assert printed(lambda: gx.compile([x, y], score)(ones, ones)) == ["twice: 4.0"]
    assert printed(lambda: gx.evaluate(score, {x: ones, y: ones})) == ["twice: 4.0"]
    assert printed(lambda: gx.compile(x, x + 1)(ones)) == []
    step = gx.compile([x, y], updates={w: w - 0.1 * gx.grad(loss, w)})
    assert printed(lambda: step(ones, ones)) == ["loss: 3.0", "twice: 4.0"]


def test_a_model_that_is_built_twice_prints_for_itself():
    x = gx.placeholder("x", shape=("batch", 3), dtype="float64")
    dense = gx.nn.Dense(3, 2, seed=0, dtype="float64")

    def model(name):
        hidden = dense(x)
        gx.debug.print(hidden.mean(), format=name)
        last, _ = gx.scan(
            lambda c, v: (gx.debug.print(c, format=f"{name} step") + v, None), 0.0, hidden[:, 0]
        )
        return last

    first, second = model("first"), model("second")
    ones = np.ones((2, 3))
    assert printed(lambda: gx.compile(x, first)(ones)) == ["first", "first step", "first step"]
    assert printed(lambda: gx.compile(x, second)(ones)) == ["second", "second step", "second step"]
    slopes = gx.compile(x, gx.grad(second * second, dense.variables))
    assert printed(lambda: slopes(ones)) == ["second", "second step", "second step"]


def test_an_effect_lives_as_long_as_its_graph():
    def count():
        gc.collect()
        return sum(type(o) is Effect for o in gc.get_objects())

    def build():
        x = vector()
        gx.debug.print(x.sum(), label="sum")
        return gx.compile(x, x * 2)

    build()
    before = count()
    for _ in range(3):
        build()
    assert count() <= before


def test_programs_without_effects_are_as_they_were():
    x = vector()
    program = gx.compile(x, gx.exp(x))
    assert program.graph.effects == () and len(program.graph.nodes) == 2
    assert "effects:" not in str(program.graph)


def test_the_value_passes_through_with_its_gradient():
    x = vector()
    y = gx.debug.print(x * 3)
    assert y.node.op.name == "multiply"
    found = gx.evaluate(gx.grad(y.sum(), x), {x: np.ones(3)})
    np.testing.assert_array_equal(found, np.full(3, 3.0))


def test_labels_and_long_arrays():
    x = gx.placeholder("data", shape=(100,), dtype="int64")
    gx.debug.print(x)
    gx.debug.print(x + 1, summarize=2)
    lines = both([x], x * 2, [np.arange(100)])
    assert lines[0] == "data: [ 0  1  2 ... 97 98 99]"
    assert lines[1].startswith("test_effects.py:") and lines[1].endswith(": [  1 ... 100]")


def test_formats_are_those_of_the_elements():
    x = vector()
    gx.debug.print(x, x.sum(), format="{0:.1f} and {1:5.2f}%")
    gx.debug.print(x.sum(), x.min(), format="{{sum}} {:.1f}, least {}")
    assert both([x], x * 2, [np.arange(3.0)]) == [
        "[0.0 1.0 2.0] and  3.00%",
        "{sum} 3.0, least 0.0",
    ]


def test_saved_programs_print_and_check(tmp_path):
    x = vector()
    with gx.scope("part"):
        gx.debug.print(x.sum(), label="sum")
        gx.debug.check(x > 0, "must be positive")
    path = tmp_path / "program.gxc"
    gx.compile(x, x * 2).save(path)
    for trust in (True, False):
        program = gx.load(path, trust=trust)
        assert printed(lambda p=program: p(np.ones(3))) == ["sum: 3.0"]

        def fail(p=program):
            with pytest.raises(CheckError, match=r"(?s)must be positive.*in part"):
                p(-np.ones(3))

        assert printed(fail) == ["sum: -3.0"]


def test_new_values_of_variables_are_printed_and_then_land():
    w = gx.variable(1.0, name="w")
    new = w * 2
    gx.debug.print(w, new)
    step = gx.compile([], new, updates={w: new})
    assert printed(lambda: (step(), step())) == ["w: 1.0 2.0", "w: 2.0 4.0"]
    assert w.numpy() == 4.0


def test_graphs_show_their_effects():
    x = vector()
    gx.debug.print(x)
    graph = gx.compile(x, x + 1).graph
    assert "effects:" in str(graph) and 'label="effects"' in graph.to_dot()


# -------------------------------------------------------------------------- checks
def test_a_failed_check_names_message_values_and_line_and_changes_nothing():
    x, w = vector(), gx.variable(np.zeros(3), name="w")
    gx.debug.check(x > 0, "x must be positive", x.min())
    for optimize in PIPELINES:
        step = gx.compile(x, updates={w: w + x}, optimize=optimize)
        step(np.ones(3))
        before = w.numpy()
        with pytest.raises(
            CheckError, match=r"(?s)x must be positive\n  given -2.0\n  at .*test_effects.py:"
        ):
            step(np.array([1.0, -2.0, 3.0]))
        np.testing.assert_array_equal(w.numpy(), before)
    with pytest.raises(CheckError, match="x must be positive"):
        gx.evaluate(w + x, {x: -np.ones(3)})


def test_what_stands_before_a_failed_check_is_printed_and_nothing_after():
    x = vector()
    gx.debug.print(x.sum(), label="before")
    gx.debug.check(x.sum() < 3, "too much")
    gx.debug.print(x.sum(), label="after")
    program = gx.compile(x, x * 2)
    assert printed(lambda: program(np.zeros(3))) == ["before: 0.0", "after: 0.0"]

    def run():
        with pytest.raises(CheckError):
            program(np.ones(3))

    assert printed(run) == ["before: 3.0"]


def test_what_is_computed_again_to_explain_an_error_is_not_printed_again():
    x, places = vector(), gx.placeholder("places", shape=(2,), dtype="int64")

    def body(carry, at):
        value = gx.debug.print(gx.take(x, at) + carry, label="value")
        return value, value

    last, _ = gx.scan(body, 0.0, places)
    program = gx.compile([x, places], last)

    def run():
        with pytest.raises(IndexError):
            program(np.ones(3), np.array([1, 7]))

    assert printed(run) == ["value: 1.0"]


# ------------------------------------------------------------------ loops and branches
def looped(x):
    def body(carry, v):
        gx.debug.print(v, label="it")
        taken = gx.cond(v > 1.5, lambda: gx.debug.print(v * 10, label="big"), lambda: v)
        gx.debug.check(v < 100, "too big", v)
        return carry * gx.tanh(v) + taken, carry

    gx.debug.print(x.sum(), label="in")
    last, ys = gx.scan(body, 1.0, x)
    gx.debug.print(last.astype("int64"), label="out")
    return (ys * ys).sum() + last


def test_each_iteration_prints_and_only_the_branch_that_is_taken():
    x = vector()
    lines = both([x], looped(x), [np.array([1.0, 2.0, 0.5])])
    assert lines == ["in: 3.5", "it: 1.0", "it: 2.0", "big: 20.0", "it: 0.5", "out: 10"]
    program = gx.compile(x, looped(x))
    with pytest.raises(CheckError, match=r"(?s)too big\n  given 300.0\n.*gx.debug.check"):
        printed(lambda: program(np.array([1.0, 300.0, 1.0])))


@pytest.mark.parametrize("residuals", ["all", "none", 2])
def test_what_a_gradient_repeats_is_not_repeated(residuals):
    x = vector()

    def outer(carry, v):
        def inner(c, u):
            gx.debug.print(u, label="inner")
            return gx.sin(c * u), c

        last, _ = gx.scan(inner, carry, gx.stack([v, v + 1]), residuals=residuals)
        gx.debug.print(v, label="outer")
        return gx.tanh(last), last

    _, ys = gx.scan(outer, 0.5, x, residuals=residuals)
    rows = [[f"inner: {v}", f"inner: {v + 1}", f"outer: {v}"] for v in (0.0, 1.0, 2.0)]
    lines = both([x], [ys, gx.grad(ys.sum(), x)], [np.arange(3.0)])
    assert lines == [line for row in rows for line in row]


def test_a_gradient_still_runs_its_loop_once():
    x = vector()
    loss = looped(x)
    graph = gx.compile(x, [loss, gx.grad(loss, x)]).graph
    assert sum(n.op.name == "loop" for n in graph.nodes) == 2


def test_checkpoints_and_tangents_do_not_repeat():
    x = vector()

    def block(t):
        def body(c, v):
            gx.debug.print(v, label="v")
            return c * gx.sin(v), c

        return gx.scan(body, 1.0, t)[0]

    y = gx.checkpoint(block)(x)
    lines = ["v: 0.0", "v: 1.0", "v: 2.0"]
    assert both([x], [y, gx.grad(y, x)], [np.arange(3.0)]) == lines
    z = block(x * 1.0)
    tangent = gx.jvp(z, x, np.ones(3))
    # The print of `block` above depends on x as well.
    assert both([x], [z, tangent], [np.arange(3.0)]) == lines * 2


def test_while_and_fori_loops():
    x = vector(shape=())

    def halved(v):
        return gx.debug.print(v, label="v") / 2

    y = gx.while_loop(lambda v: v > 1, halved, x)
    z = gx.fori_loop(0, 2, lambda i, c: (gx.debug.print(i, label="i"), c + 1)[1], y)
    assert both([x], z, [np.float64(5.0)]) == ["v: 5.0", "v: 2.5", "v: 1.25", "i: 0", "i: 1"]


def test_a_branch_without_results_prints():
    x = vector(shape=())
    gx.cond(x > 0, lambda: (gx.debug.print(x, label="plus"), ())[1], lambda: ())
    assert both([x], x + 1, [np.float64(1.0)]) == ["plus: 1.0"]
    assert both([x], x + 1, [np.float64(-1.0)]) == []


# --------------------------------------------------------------------------- rows
def test_rows_print_at_once():
    x = vector(shape=(3, 2))

    def row(v):
        gx.debug.print(v.sum(), label="sum")
        return v * 2

    assert both([x], gx.vectorize(row)(x), [np.arange(6.0).reshape(3, 2)]) == ["sum: [1. 5. 9.]"]


def test_of_rows_only_those_that_take_a_branch_print_and_check():
    x = vector()

    def row(v):
        def positive():
            gx.debug.print(v, label="positive")
            gx.debug.check(v > 0, "not positive")
            return gx.log(v)

        return gx.cond(v > 0, positive, lambda: v)

    y = gx.vectorize(row)(x)
    assert both([x], y, [np.array([1.0, -1.0, 2.0])]) == ["positive: [1. 2.]"]
    assert both([x], y, [-np.ones(3)]) == []


def test_of_rows_only_those_that_still_iterate_print():
    x = vector()

    def row(v):
        return gx.while_loop(lambda u: u < 3, lambda u: gx.debug.print(u, label="u") + 1, v)

    assert both([x], gx.vectorize(row)(x), [np.array([0.5, 2.5, 3.5])]) == [
        "u: [0.5 2.5]",
        "u: [1.5]",
        "u: [2.5]",
    ]


def test_a_check_of_rows_fails_if_one_fails():
    x = vector()
    y = gx.vectorize(lambda v: (gx.debug.check(v < 2, "row too big"), gx.exp(v))[1])(x)
    program = gx.compile(x, y)
    program(np.ones(3))
    with pytest.raises(CheckError, match="row too big"):
        program(np.array([1.0, 2.0, 1.0]))


# ------------------------------------------------------------------------- refusals
def test_refusals():
    x = vector()
    with pytest.raises(GraphError, match="no program would do it"):
        gx.debug.print(1.0)
    with pytest.raises(ArgumentError, match="bad summarize"):
        gx.debug.print(x, summarize=0)
    for format in ("{0.dtype}", "{1}", "{0:99999}", "{", "{0!r}", "{!r}", "{} {0}", "{} {}", "\n"):
        with pytest.raises(ArgumentError, match="bad format"):
            gx.debug.print(x, format=format)
    with pytest.raises(ArgumentError, match="bad label"):
        gx.debug.print(x, label=3)
    with pytest.raises(DTypeError, match="not boolean"):
        gx.debug.check(x, "positive")
    with pytest.raises(ArgumentError, match="bad message"):
        gx.debug.check(x > 0, None)
    with pytest.raises(UnsupportedError, match="the condition cannot print"):
        gx.while_loop(lambda v: gx.debug.print(v) < 1, lambda v: v + 1, x.sum())
    with pytest.raises(UnsupportedError, match="the function cannot print"):
        gx.optim.minimize(lambda t: gx.debug.print((t * t).sum()), x)
    with pytest.raises(ArgumentError, match="not a file"), gx.debug.redirect("out.txt"):
        pass


def test_a_pass_must_not_drop_effects():
    x = vector()
    gx.debug.print(x)

    def drop(graph):
        return gx.compile(x, x, optimize="none").graph if not graph.effects else _without(graph)

    with pytest.raises(gx.errors.PassError, match="number of effects"):
        gx.compile(x, x * 2, optimize=[drop])


def _without(graph):
    from graphc.ir import Graph

    return Graph(graph.inputs, graph.outputs, graph.updates, graph.checks)
