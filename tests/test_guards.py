"""``gx.compile(..., check=...)`` names what is not finite, and what differs from the interpreter."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gx
from graphc.errors import ArgumentError, ArtifactError, CheckError, NonFiniteError

PIPELINES = ("none", "full")


def vector(name="x", shape=("n",)):
    return gx.placeholder(name, shape=shape, dtype="float64")


def error_of(program, *feeds):
    with pytest.raises(NonFiniteError) as caught:
        program(*feeds)
    return caught.value


# ------------------------------------------------------------------------------- nan
@pytest.mark.parametrize("optimize", PIPELINES)
def test_the_first_operation_is_named_also_when_fused(optimize):
    x = vector()
    y = gx.log(x - 1) * 2 + 1
    program = gx.compile(x, [x * 2, y.sum()], optimize=optimize, check="nan", name="p")
    assert program(np.array([2.0, 3.0]))[1] == pytest.approx(2 * np.log(2) + 2)
    error = error_of(program, np.array([2.0, 0.5, 1.0]))
    assert error.what.startswith("p: log made float64[3]") and error.what.endswith("reaches output 1")
    assert error.given == "operand 0: float64[3] [ 1.  -0.5  0. ]"
    assert error.where.describe().endswith("y = gx.log(x - 1) * 2 + 1")


def test_no_variable_changes_and_the_update_is_named():
    x, w = vector(), gx.variable(np.ones(2), name="w")
    program = gx.compile(x, updates={w: w / x}, check="nan")
    program(np.array([2.0, 4.0]))
    error = error_of(program, np.array([1.0, 0.0]))
    assert "divide made" in error.what and "the new value of 'w'" in error.what
    np.testing.assert_array_equal(w.numpy(), [0.5, 0.25])


def test_feeds_and_variables_that_were_bad_before_are_said_to_be():
    x, w = vector(), gx.variable(1.0, name="w")
    program = gx.compile(x, (x * w).sum(), check="nan")
    assert "feed 'x' is not finite" in error_of(program, np.array([1.0, np.nan])).what
    w.assign(np.inf)
    assert "variable 'w', before the call, is not finite" in error_of(program, np.ones(2)).what


def test_infinities_that_are_meant_and_gone_again_pass():
    x = vector(shape=(2, 3))
    masked = gx.where(x > 0, x, -np.inf)
    program = gx.compile(x, gx.softmax(masked, axis=1), check="nan")
    good = np.array([[1.0, -1.0, 2.0], [1.0, 1.0, 1.0]])
    assert np.isfinite(program(good)).all()
    # A row without any is not: the constant is not to blame, what it was put into is.
    error = error_of(program, np.where([[True], [False]], good, -1.0))
    assert "where made" in error.what


def test_inside_of_loops_and_branches():
    x = vector(shape=(3,))

    def body(carry, v):
        root = gx.sqrt(v)
        return carry + gx.cond(v < 10, lambda: root, lambda: 1 / (v - v)), carry

    program = gx.compile(x, gx.scan(body, 0.0, x)[0], check="nan")
    program(np.ones(3))
    error = error_of(program, np.array([1.0, -4.0, 1.0]))
    assert "sqrt made float64[] nan" in error.what and error.given == "operand 0: float64[] -4.0"
    assert error.where.describe().endswith("root = gx.sqrt(v)")
    assert "divide made float64[] inf" in error_of(program, np.array([1.0, 11.0, 1.0])).what


def test_summaries_of_large_operands_count():
    x = vector()
    program = gx.compile(x, gx.log(x), check="nan")
    error = error_of(program, np.r_[np.arange(98.0), -1.0, -2.0])
    assert "float64[100], 0 to 4.57471, 2 NaN and 1 infinite of 100" in error.what
    assert error.given == "operand 0: float64[100], -2 to 97"


def test_integers_need_no_check_and_prints_still_happen(capsys):
    k = gx.placeholder("k", shape=("n",), dtype="int64")
    assert gx.compile(k, k + 1, check="nan").graph.effects == ()
    x = vector()
    gx.debug.print(x.sum(), label="sum")
    program = gx.compile(x, gx.log(x), check="nan")
    error_of(program, -np.ones(2))
    assert capsys.readouterr().out == "sum: -2.0\n"


def test_off_is_free():
    x = vector()
    y = gx.exp(x)
    assert str(gx.compile(x, y, check=None).graph) == str(gx.compile(x, y).graph)


# ------------------------------------------------------------------------------- all
def model():
    x = gx.placeholder("x", shape=("batch", 5), dtype="float32")
    net = gx.nn.Sequential(gx.nn.Dense(5, 8, seed=0), gx.tanh, gx.nn.Dense(8, 3, seed=1))
    return x, net, gx.softmax(net(x), axis=1)


@pytest.mark.parametrize("optimize", PIPELINES)
def test_sound_programs_pass(optimize):
    x, _net, y = model()
    loss = -gx.log(y[:, 0]).mean()
    step = gx.compile(
        x, [loss, y], updates=gx.optim.Adam(0.01).minimize(loss), optimize=optimize, check="all"
    )
    rng = np.random.default_rng(0)
    first = step(rng.normal(size=(4, 5)).astype("float32"))[0]
    step(np.zeros((0, 5), "float32"))
    assert np.isfinite(first)
    looped = gx.scan(lambda c, v: (gx.tanh(c + v), c), gx.zeros((5,), "float32"), x)[1]
    gx.compile(x, gx.grad(looped.sum(), x), optimize=optimize, check="all")(np.ones((3, 5), "float32"))


def test_a_kernel_that_computes_something_else_is_named_and_nothing_lands():
    wrong = gx.elementwise_op("wrong", lambda t: t * t, scalar=lambda t: t * t * t)
    x, w = vector(), gx.variable(0.0, name="w")
    y = gx.exp(x).sum()
    z = wrong(x + 1)
    program = gx.compile(x, [y, z], updates={w: z.sum()}, check="all", name="p")
    # One and zero are their own squares and cubes.
    program(np.array([0.0, -1.0]))
    with pytest.raises(CheckError, match=r"(?s)p: .*wrong.* differs from the interpreter") as caught:
        program(np.array([0.0, 1.0]))
    assert caught.value.where.describe().endswith("z = wrong(x + 1)") and "8.0" in caught.value.given
    assert w.numpy() == 1.0


def test_a_pass_that_changes_the_meaning_is_found():
    x = vector()

    def halve(graph):
        if any(n.op.name == "negative" for n in graph.nodes):
            return graph
        return graph.map_nodes(lambda n: (-gx.Tensor(n)).node if n.op.name == "exp" else n)

    program = gx.compile(x, gx.exp(x) + 1, optimize=[halve], check="all")
    with pytest.raises(CheckError, match="differs from that before all passes"):
        program(np.ones(2))


@pytest.mark.parametrize("check", ["nan", "all"])
def test_guarded_programs_are_not_saved(check, tmp_path):
    x = vector()
    program = gx.compile(x, gx.log(x), check=check, name="logs")
    gx.compile(x, gx.exp(x), check=check)  # another op of the same name
    with pytest.raises(ArtifactError, match=f"what logs was told.*\n.*without check.*check='{check}'"):
        program.save(tmp_path / "program.gxc")
    assert not list(tmp_path.iterdir())


def test_bad_arguments():
    x = vector()
    with pytest.raises(ArgumentError, match="compile: no such check"):
        gx.compile(x, x * 2, check="inf")
