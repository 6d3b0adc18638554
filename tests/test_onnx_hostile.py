"""Models that are damaged or hostile: an error of graphc's own, in bounded memory, and nothing written."""

from __future__ import annotations

import random
import resource
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper, parser

import graphc as gx
from graphc.errors import OnnxImportError

MODEL = """<ir_version: 10, opset_import: ["": 21]>
g (float[n, 1, 8, 8] x) => (float[n, 3] y) <float[4, 3] v>
{
    c = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w)
    p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(c)
    shape = Constant<value = int64[2] {0, -1}>()
    f = Reshape(p, shape)
    axes = Constant<value = int64[1] {1}>()
    m = ReduceMean<keepdims = 1>(f, axes)
    d = Sub(f, m)
    k = Constant<value = int64[1] {4}>()
    zero = Constant<value = int64[1] {0}>()
    s = Slice(d, zero, k, axes)
    count = Constant<value = int64 {3}>()
    z = Loop(count, , s) <body = b (int64 i, bool go, float[n, 4] a) => (bool go2, float[n, 4] e)
        { go2 = Identity(go)  e = Mul(a, a) }>
    q = MatMul(z, v)
    y = Softmax<axis = 1>(q)
}"""


def whole():
    """Return a model with a bit of everything: windows, shapes, a loop, weights of both kinds."""
    model = parser.parse_model(MODEL)
    rng = np.random.default_rng(0)
    for name, shape in (("w", (4, 1, 3, 3)), ("v", (4, 3))):
        model.graph.initializer.append(
            numpy_helper.from_array(rng.normal(size=shape).astype("float32"), name)
        )
    return model


def mutated(data, rng):
    """Return the bytes of a model with one to three of them changed, left out, doubled or moved."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(found))
        kind = rng.randrange(5)
        if kind == 0:
            found[at] = rng.randrange(256)
        elif kind == 1:
            found[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del found[at : at + rng.randint(1, 9)]
        elif kind == 3:
            found[at:at] = found[at : at + rng.randint(1, 30)]
        else:
            found[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x80\x80\x80\x7f"])
        if not found:
            return b""
    return bytes(found)


def test_mutations_of_a_model_are_loaded_or_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = whole().SerializeToString()
    assert gx.onnx.load(data).outputs
    rng, refused = random.Random(5), 0
    for _ in range(400):
        try:
            gx.onnx.load(mutated(data, rng))
        except OnnxImportError:
            refused += 1
    assert refused > 100
    assert list(tmp_path.iterdir()) == []


# Loads what it is given with a gigabyte of memory, most of which is for the interpreter and its libraries.
LOADER = """
import resource, sys
import graphc as gx
from graphc.errors import OnnxImportError
gx.onnx.load(sys.argv[1])
limit = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + 300_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sys.argv[2:]:
    try:
        print(gx.onnx.load(path).outputs["y"].type)
    except OnnxImportError as error:
        print("refused:", str(error).partition("\\n")[0])
"""
HUGE = 2**40


def _node(text):
    return parser.parse_model(
        f'<ir_version: 10, opset_import: ["": 21]> g (float[2] x) => (float[a] y) {{{text}}}'
    )


def _claimed(field, value):
    """Return a model whose weight claims to be huge."""
    model = _node("y = Add(x, w)")
    weight = model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[HUGE])
    if field == "external":
        weight.data_location = TensorProto.EXTERNAL
        for key, text in {"location": "w.bin", "length": str(4 * HUGE)}.items():
            weight.external_data.add(key=key, value=text)
    elif field:
        weight.raw_data = value
    return model


def _constant(value):
    return f"Constant<value = int64[1] {{{value}}}>()"


CLAIMS = {
    "a weight without data": _claimed("", b""),
    "a weight with little data": _claimed("raw", b"1234"),
    "external data": _claimed("external", b""),
    "a tensor of a huge shape": _node(f"s = {_constant(HUGE)} y = ConstantOfShape(s)"),
    "a stretched tensor": _node(f"s = {_constant(HUGE)} z = Slice(x, s, s) y = Expand(x, s)"),
    "a range": _node(
        f"a = Constant<value = int64 {{0}}>() b = Constant<value = int64 {{{HUGE}}}>() "
        "c = Constant<value = int64 {1}>() r = Range(a, b, c) y = Cast<to = 1>(r)"
    ),
    "copies": _node(f"s = {_constant(HUGE)} y = Tile(x, s)"),
    "a border": _node(f"s = Constant<value = int64[2] {{0, {HUGE}}}>() y = Pad(x, s)"),
    "a one-hot row": _node(
        f"d = Constant<value = int64 {{{HUGE}}}>() v = Constant<value = float[2] {{0.0, 1.0}}>() "
        "i = Constant<value = int64 {3}>() y = OneHot(i, d, v)"
    ),
    "a window": _node(f"y = HannWindow(n) n = Constant<value = int64 {{{HUGE}}}>()"),
    "a sequence of random numbers": _node(f"y = RandomUniform<shape = [{HUGE}]>()"),
    "a matrix": _node(f"s = {_constant(HUGE)} z = Expand(x, s) e = EyeLike(z) y = Flatten(e)"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_huge_claims_take_no_memory(tmp_path):
    paths = [tmp_path / "first.onnx", *(tmp_path / f"{k}.onnx" for k in range(len(CLAIMS)))]
    for path, model in zip(paths, [whole(), *CLAIMS.values()], strict=True):
        path.write_bytes(model.SerializeToString())
    (tmp_path / "w.bin").write_bytes(b"1234")
    before = sorted(tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", LOADER, *map(str, paths)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    answers = dict(zip(CLAIMS, done.stdout.splitlines(), strict=True))
    for what, answer in answers.items():
        assert answer.startswith(("refused:", "float32[")), what
    assert sorted(tmp_path.iterdir()) == before
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize(
    "text",
    [
        "a = Add(x, b) b = Add(x, a) y = Relu(b)",
        "y = Add(y, x)",
        "t = Constant<value = bool {1}>() y = If(t) <then_branch = p () => (float[2] q) { q = Relu(y) }, "
        "else_branch = r () => (float[2] s) { s = Abs(x) }>",
    ],
)
def test_cycles_are_refused(text):
    with pytest.raises(OnnxImportError, match="before it is computed"):
        gx.onnx.load(_node(text))


@pytest.mark.parametrize(
    "text",
    [
        "y = MatMul(x, i) i = Constant<value = int64[2] {1, 2}>()",
        "i = Constant<value = int64[2] {1, 2}>() y = MatMul(x, i)",
        "b = Cast<to = 9>(x) y = Sin(b)",
        "y = Not(x)",
        "y = And(x, x)",
        "y = Gather(x, x)",
        "s = Shape(x) y = Where(s, x, x)",
        "y = Reshape(x, x)",
        "y = Conv(x, x)",
        "y = LSTM<hidden_size = 3>(x, x, x)",
    ],
)
def test_operands_of_wrong_types_are_refused(text):
    with pytest.raises(OnnxImportError):
        gx.onnx.load(_node(text))


def test_missing_weights_are_named():
    model = whole()
    del model.graph.initializer[0]
    with pytest.raises(OnnxImportError, match="'w' is used before it is computed, or never is"):
        gx.onnx.load(model)


@pytest.mark.parametrize("name", [b"x", b"n"])
def test_names_that_are_no_text_are_refused(name):
    data = whole().SerializeToString()
    with pytest.raises(OnnxImportError):
        gx.onnx.load(data.replace(b"\x01" + name, b"\x01\x80"))


def test_wrong_fields_of_a_model_are_refused():
    model = whole()
    wrong = {
        "opset": lambda m: m.opset_import[0].__setattr__("version", 10**6),
        "no opset": lambda m: m.ClearField("opset_import"),
        "no graph": lambda m: m.ClearField("graph"),
        "a type of a weight": lambda m: m.graph.initializer[0].__setattr__("data_type", 77),
        "a negative size": lambda m: m.graph.initializer[0].dims.__setitem__(0, -4),
        "a type of an input": lambda m: m.graph.input[0].type.tensor_type.__setattr__("elem_type", 99),
        "no type of an input": lambda m: m.graph.input[0].ClearField("type"),
        "a sequence": lambda m: m.graph.input[0].type.sequence_type.elem_type.tensor_type.Clear(),
    }
    for what, change in wrong.items():
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        change(changed)
        with pytest.raises(OnnxImportError):
            gx.onnx.load(changed)
            pytest.fail(what)
