"""Sequences and optional values of ONNX, which are resolved while a model is imported."""

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
    return gx.evaluate(model.outputs, {model.inputs[n]: np.asarray(v, "float32") for n, v in feeds.items()})


def test_tensors_pass_through_a_sequence():
    text = """g (float[n] x, float[m] y) => (float[k] joined, int64 count, float[n] last) {
        front = Constant<value = int64 {0}>()
        back = Constant<value = int64 {-1}>()
        pair = SequenceConstruct(x, y)
        more = SequenceInsert(pair, y, front)
        three = SequenceInsert(more, x)
        two = SequenceErase(three, front)
        joined = ConcatFromSequence<axis = 0>(two)
        count = SequenceLength(two)
        last = SequenceAt(two, back)
    }"""
    model = loaded(text)
    assert str(model.outputs["joined"].type) == "float32[m + 2*n]"
    found = run(model, x=[1], y=[2, 3])
    assert found["joined"].tolist() == [1, 2, 3, 1]
    assert found["count"] == 3
    assert found["last"].tolist() == [1]


def test_an_output_may_be_a_sequence():
    text = """g (float[5, n] x) => (seq(float[a, n]) rows) {
        two = Constant<value = int64 {2}>()
        rows = SplitToSequence<axis = 0>(x, two)
    }"""
    model = loaded(text)
    assert [str(t.type) for t in model.outputs["rows"]] == ["float32[2, n]", "float32[2, n]", "float32[1, n]"]
    assert "rows: [float32[2, n]" in repr(model)
    x = np.arange(10, dtype="float32").reshape(5, 2)
    program = model.compile()
    assert [r.tolist() for r in program(x)["rows"]] == [x[:2].tolist(), x[2:4].tolist(), x[4:].tolist()]


def test_stacked_pieces_are_what_was_split():
    text = """g (float[3, n] x) => (float[a, b] y, seq(float[n]) rows) {
        rows = SplitToSequence<axis = 0, keepdims = 0>(x)
        y = ConcatFromSequence<axis = 1, new_axis = 1>(rows)
    }"""
    x = np.arange(6, dtype="float32").reshape(3, 2)
    assert np.array_equal(run(loaded(text), x=x)["y"], x.T)


def test_a_body_is_applied_to_each_element():
    text = """g (float[n] x, float[m] y, float z) => (seq(float[k]) out) {
        both = SequenceConstruct(x, y)
        out = SequenceMap (both, z) <body = b (float[k] v, float s) => (float[k] w) { w = Mul(v, s) }>
    }"""
    found = run(loaded(text), x=[1, 2], y=[3], z=2)["out"]
    assert [a.tolist() for a in found] == [[2, 4], [6]]


def test_sequences_that_are_inputs_are_given():
    text = "g (seq(float[k]) all, float[n] x) => (seq(float[k]) out) { out = SequenceInsert(all, x) }"
    with pytest.raises(OnnxImportError, match="'all' is a sequence") as caught:
        loaded(text)
    assert caught.value.inputs == ("all",)
    model = loaded(text, values={"all": [np.ones(2, "float32")]})
    assert [a.tolist() for a in run(model, x=[3])["out"]] == [[1, 1], [3]]


OPTIONAL = """g (optional(float[n]) given, float[n] x) => (float[n] y) {
    there = OptionalHasElement(given)
    y = If (there) <then_branch = a () => (float[n] p) { p = OptionalGetElement(given) },
                    else_branch = b () => (float[n] q) { q = Neg(x) }>
}"""


def test_what_is_not_there_decides_a_branch():
    assert run(loaded(OPTIONAL, values={"given": None}), x=[1])["y"].tolist() == [-1]
    given = np.array([5], "float32")
    assert run(loaded(OPTIONAL, values={"given": given}), x=[1])["y"].tolist() == [5]
    with pytest.raises(OnnxImportError, match="'given' is an optional value"):
        loaded(OPTIONAL)


def test_the_backend_returns_sequences_and_none():
    from graphc.onnx.backend import InterpretedBackend

    text = """g (float[n] x) => (optional(seq(float[n])) nothing, seq(float[n]) one) {
        nothing = Optional<type = seq(float[n])>()
        one = SequenceConstruct(x)
    }"""
    nothing, one = InterpretedBackend.prepare(parser.parse_model(HEADER + text)).run([np.ones(1, "float32")])
    assert nothing is None
    assert [a.tolist() for a in one] == [[1]]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("y = SequenceAt(all, two)", "no such position"),
        ("bad = SequenceInsert(all, two)\n y = SequenceAt(all, zero)", "a value of another type"),
        ("y = Relu(all)", "no tensor"),
        ("y = SequenceAt(x, zero)", "of a wrong type"),
        ("none = SequenceEmpty()\n y = ConcatFromSequence<axis = 0>(none)", "an empty sequence"),
        ("none = Optional<type = float[n]>()\n y = OptionalGetElement(none)", "is not there"),
        ("cut = SplitToSequence(x, zero)\n y = SequenceAt(cut, zero)", "without elements"),
        ("cut = SplitToSequence(x, pair)\n y = SequenceAt(cut, zero)", "do not add up"),
        ("rows = SplitToSequence(open)\n y = SequenceAt(rows, zero)", "operand 0 decides on shapes"),
    ],
)
def test_faulty_uses_are_refused(line, complaint):
    text = f"""g (float[3] x, float[n] open) => (float[k] y) {{
        zero = Constant<value = int64 {{0}}>()
        two = Constant<value = int64 {{2}}>()
        pair = Constant<value = int64[2] {{1, 1}}>()
        all = SequenceConstruct(x, x)
        {line}
    }}"""
    with pytest.raises(OnnxImportError, match=complaint):
        loaded(text)
