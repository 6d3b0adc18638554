"""Branches and loops of ONNX: decided while importing where they can be, else when the program runs."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import parser

import graphc as gx
from graphc.errors import OnnxImportError

HEADER = '<ir_version: 10, opset_import: ["": 21]> '


def loaded(text, **options):
    return gx.onnx.load(parser.parse_model(HEADER + text), **options)


def run(model, **feeds):
    found = gx.evaluate(model.outputs, {model.inputs[n]: v for n, v in feeds.items()})
    return {name: value.tolist() for name, value in found.items()}


def operations(model):
    """Return the names of the operations behind the outputs."""
    from graphc.ir import topological

    return [n.op.name for n in topological([t.node for t in model.outputs.values()])]


# ------------------------------------------------------------------------------ If
BRANCHES = """g (bool cond, float[n] x) => (float[n] y) {
    y = If (cond) <then_branch = g1 () => (float[n] a) { a = Exp(x) },
                   else_branch = g2 () => (float[n] b) { b = Neg(x) }>
}"""


def test_a_condition_that_is_an_input_is_decided_at_the_call():
    model = loaded(BRANCHES)
    assert run(model, cond=np.array(True), x=np.zeros(2, "float32")) == {"y": [1.0, 1.0]}
    assert run(model, cond=np.array(False), x=np.ones(2, "float32")) == {"y": [-1.0, -1.0]}


def test_a_condition_that_is_known_leaves_one_branch():
    model = loaded(BRANCHES, values={"cond": np.array(False)})
    assert operations(model) == ["placeholder", "negative"]


def test_branches_of_different_shapes_need_a_condition_that_is_known():
    text = """g (bool cond, float[2] x) => (float[m] y) {
        y = If (cond) <then_branch = g1 () => (float[m] a) { a = Identity(x) },
                       else_branch = g2 () => (float[m] b) { b = Concat<axis = 0>(x, x) }>
    }"""
    with pytest.raises(OnnxImportError, match="'cond'") as caught:
        loaded(text)
    assert caught.value.inputs == ("cond",)
    assert loaded(text, values={"cond": np.array(False)}).outputs["y"].shape == (4,)


# ---------------------------------------------------------------------------- Loop
POWERS = """g (int64 count, float[n] x) => (float[n] last, float[k, n] all) {
    going = Constant<value = bool {1}>()
    last, all = Loop (count, going, x) <body = b (int64 i, bool before, float[n] v)
        => (bool after, float[n] w, float[n] out) {
            after = Identity(before)
            w = Add(v, x)
            out = Identity(w)
    }>
}"""


def test_a_loop_of_known_length_is_one_loop_in_the_graph():
    model = loaded(POWERS, values={"count": np.array(100)})
    assert operations(model).count("add") == 0
    found = run(model, x=np.ones(1, "float32"))
    assert found["last"] == [101.0]
    assert np.array_equal(found["all"], np.arange(2, 102)[:, None])


def test_a_loop_that_does_not_run_returns_what_it_was_given():
    model = loaded(POWERS, values={"count": np.array(0)})
    assert model.outputs["all"].shape[0] == 0
    assert run(model, x=np.ones(1, "float32"))["last"] == [1.0]


def test_the_length_of_a_stack_must_be_known():
    with pytest.raises(OnnxImportError, match="'count'") as caught:
        loaded(POWERS)
    assert caught.value.inputs == ("count",)


def test_a_length_that_is_a_named_size_stays_open():
    text = POWERS.replace("g (int64 count, ", "g (").replace(
        "going =",
        "sizes = Shape(x)\n zero = Constant<value = int64 {0}>()\n count = Gather(sizes, zero)\n going =",
    )
    model = loaded(text)
    assert str(model.outputs["all"].type) == "float32[n, n]"
    for n in (0, 1, 3):
        assert run(model, x=np.ones(n, "float32"))["last"] == [n + 1.0] * n


def test_a_length_that_is_an_input_is_no_shape_without_stacks():
    text = """g (int64 count, float x) => (float last) {
        last = Loop (count, , x) <body = b (int64 i, bool before, float v) => (bool before, float w) {
            two = Constant<value = float {2}>()
            w = Mul(v, two)
        }>
    }"""
    model = loaded(text)
    assert [run(model, count=np.array(n), x=np.float32(1))["last"] for n in (0, 1, 5)] == [1.0, 2.0, 32.0]


WHILE = """g (int64 most, float x) => (float last) {
    last = Loop (most, , x) <body = b (int64 i, bool before, float v) => (bool after, float w) {
        two = Constant<value = float {2}>()
        limit = Constant<value = float {100}>()
        w = Mul(v, two)
        after = Less(w, limit)
    }>
}"""


@pytest.mark.parametrize("known", [True, False])
def test_a_loop_ends_by_its_condition_or_by_its_length(known):
    for most, expected in ((3, 8.0), (50, 128.0)):
        given = {"most": np.array(most)}
        model = loaded(WHILE, values=given if known else {})
        assert run(model, x=np.float32(1), **({} if known else given))["last"] == expected


def test_a_loop_without_a_length_ends_by_its_condition():
    model = loaded(WHILE.replace("int64 most, ", "").replace("(most, ,", "( , ,"))
    assert run(model, x=np.float32(3))["last"] == 192.0


def test_stacks_of_a_loop_that_ends_by_its_condition_are_refused():
    text = WHILE.replace("(float last)", "(float last, float[k] all)").replace(
        "last = Loop", "last, all = Loop"
    )
    text = text.replace("float w) {", "float w, float out) {").replace("after =", "out = Neg(w)\n after =")
    with pytest.raises(OnnxImportError, match="ends by a condition stacks"):
        loaded(text, values={"most": np.array(9)})


def test_a_loop_whose_shapes_grow_is_unrolled():
    text = """g (float[2] x) => (float[m] last) {
        count = Constant<value = int64 {3}>()
        last = Loop (count, , x) <body = b (int64 i, bool before, float[k] v) => (bool before, float[l] w) {
            w = Concat<axis = 0>(v, x)
        }>
    }"""
    model = loaded(text)
    assert model.outputs["last"].shape == (8,)


def test_a_loop_of_too_many_graphs_is_refused():
    text = """g (float[1] x) => (float[m] last) {
        count = Constant<value = int64 {100000}>()
        last = Loop (count, , x) <body = b (int64 i, bool before, float[k] v) => (bool before, float[l] w) {
            one = Constant<value = int64[1] {1}>()
            size = Add(one, one)
            w = Expand(x, size)
        }>
    }"""
    with pytest.raises(OnnxImportError, match="too many iterations"):
        loaded(text)


def test_loops_within_loops_read_values_around_both():
    text = """g (float[n] x) => (float[n] y) {
        three = Constant<value = int64 {3}>()
        start = Sub(x, x)
        y = Loop (three, , start) <body = b (int64 i, bool before, float[n] v) => (bool before, float[n] w) {
            w = Loop (three, , v) <body = c (int64 j, bool going, float[n] p) => (bool going, float[n] q) {
                r = Add(p, x)
                number = Cast<to = 1>(i)
                q = Add(r, number)
            }>
        }>
    }"""
    model = loaded(text)
    assert operations(model).count("loop") <= 1
    assert run(model, x=np.array([1.0, 2.0], "float32"))["y"] == [18.0, 27.0]


# ---------------------------------------------------------------------------- Scan
def test_scans_take_and_lay_slices_along_any_axis_in_either_direction():
    text = """g (float[n] s, float[n, t] a, float[t, n] b) => (float[n] last, float[t, n] p, float[n, t] q) {
        last, p, q = Scan (s, a, b) <num_scan_inputs = 2, scan_input_axes = [1, 0],
            scan_input_directions = [1, 0], scan_output_axes = [0, -1], scan_output_directions = [0, 1],
            body = c (float[n] v, float[n] x, float[n] y) => (float[n] w, float[n] p, float[n] q) {
                u = Mul(v, x)
                w = Add(u, y)
                p = Identity(w)
                q = Neg(w)
        }>
    }"""
    model = loaded(text)
    rng = np.random.default_rng(0)
    s, a, b = (rng.normal(size=z).astype("float32") for z in ((2,), (2, 4), (4, 2)))
    rows, state = [], s
    for t in range(4):
        state = state * a[:, 3 - t] + b[t]
        rows.append(state)
    found = run(model, s=s, a=a, b=b)
    np.testing.assert_allclose(found["last"], state, rtol=1e-5)
    np.testing.assert_allclose(found["p"], rows, rtol=1e-5)
    np.testing.assert_allclose(found["q"], -np.stack(rows[::-1], axis=-1), rtol=1e-5)


def test_carried_values_keep_their_element_types():
    text = """g (float[n] s, float[t, n] x) => (double[n] last) {
        last = Scan (s, x) <num_scan_inputs = 1, body = c (float[n] v, float[n] y) => (double[n] w) {
            u = Add(v, y)
            w = Cast<to = 11>(u)
        }>
    }"""
    with pytest.raises(OnnxImportError, match="change their element types"):
        loaded(text)


def test_a_compiled_model_with_loops_can_be_trained_through_them():
    model = loaded(POWERS, values={"count": np.array(3)})
    x = model.inputs["x"]
    slope = gx.grad((model.outputs["last"] ** 2).sum(), x)
    program = gx.compile(x, [model.outputs["last"], slope])
    last, found = program(np.array([1.0, 2.0], "float32"))
    assert last.tolist() == [4.0, 8.0]
    assert found.tolist() == [32.0, 64.0]
