"""Importing models: names, sizes, weights, element types, and files that are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

import graphc as gx
from graphc.errors import ArgumentError, OnnxImportError
from graphc.onnx.files import array_of

HEADER = '<ir_version: 10, opset_import: ["": 21]> '


def model_of(text):
    return parser.parse_model(HEADER + text)


def with_weights(text, **arrays):
    model = model_of(text)
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    return model


def operations(tensor):
    """Return the names of the operations behind a tensor, shapes and leaves aside."""
    from graphc.ir import topological

    return [n.op.name for n in topological([tensor.node])]


# ------------------------------------------------------------------ sizes with names
RESHAPE = """g (float[batch, heads, 6] x) => (float[a, b, c] y) {
    shape = Shape(x)
    zero = Constant<value = int64[1] {0}>()
    one = Constant<value = int64[1] {1}>()
    n = Gather<axis = 0>(shape, zero)
    h = Gather<axis = 0>(shape, one)
    two = Constant<value = int64[1] {2}>()
    twice = Mul(h, two)
    three = Constant<value = int64[1] {3}>()
    target = Concat<axis = 0>(n, twice, three)
    y = Reshape(x, target)
}"""


def test_shape_arithmetic_leaves_nothing_in_the_graph():
    model = gx.onnx.load(model_of(RESHAPE))
    assert str(model.outputs["y"].type) == "float32[batch, 2*heads, 3]"
    assert operations(model.outputs["y"]) == ["placeholder", "reshape"]


def test_one_compilation_serves_every_size():
    model = gx.onnx.load(model_of(RESHAPE))
    program = model.compile()
    for batch, heads in ((2, 3), (1, 1), (0, 2), (7, 4)):
        x = np.arange(batch * heads * 6, dtype="float32").reshape(batch, heads, 6)
        assert np.array_equal(program(x)["y"], x.reshape(batch, 2 * heads, 3))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("Sub(n, one)", "batch - 1"),
        ("Div(n, two)", "(batch//2)"),
        ("Max(n, one)", "max(1, batch)"),
        ("Where(minus, one, n)", "batch"),
        ("Slice(pair, zero, one)", "batch"),
        ("Cast<to = 7>(n)", "batch"),
        ("ReduceProd<keepdims = 1>(pair)", "3*batch"),
        ("Expand(n, one)", "batch"),
    ],
)
def test_rules_of_named_sizes(expression, expected):
    text = f"""g (float[batch, 3] x) => (float[r] y) {{
        pair = Shape(x)
        zero = Constant<value = int64[1] {{0}}>()
        one = Constant<value = int64[1] {{1}}>()
        two = Constant<value = int64[1] {{2}}>()
        less = Constant<value = int64[1] {{-1}}>()
        n = Gather(pair, zero)
        minus = Equal(n, less)
        size = {expression}
        value = Constant<value = float {{1.5}}>()
        y = Expand(value, size)
    }}"""
    assert str(gx.onnx.load(model_of(text)).outputs["y"].shape[0]) == expected


def test_what_cannot_be_proven_of_a_size_is_computed_when_it_is_known():
    text = """g (float[batch] x) => (bool[1] y) {
        n = Shape(x)
        one = Constant<value = int64[1] {1}>()
        y = Equal(n, one)
    }"""
    program = gx.onnx.load(model_of(text)).compile()
    assert [program(np.ones(n, "float32"))["y"].item() for n in (1, 2)] == [True, False]


def test_sizes_can_be_fixed():
    model = gx.onnx.load(model_of(RESHAPE), sizes={"batch": 2})
    assert str(model.inputs["x"].type) == "float32[2, heads, 6]"


def test_an_input_that_decides_on_shapes_is_named_and_can_be_given():
    text = "g (float[6] x, int64[2] shape) => (float[a, b] y) { y = Reshape(x, shape) }"
    with pytest.raises(OnnxImportError, match="'shape'") as caught:
        gx.onnx.load(model_of(text))
    assert caught.value.inputs == ("shape",)
    model = gx.onnx.load(model_of(text), values={"shape": np.array([3, 2])})
    assert list(model.inputs) == ["x"]
    assert model.outputs["y"].shape == (3, 2)


# -------------------------------------------------------------------------- weights
LINEAR = """g (float[n, 2] x) => (float[n, 3] y) {
    product = MatMul(x, w)
    y = Add(product, half)
}"""


def linear(**options):
    arrays = {"w": np.ones((2, 3), "float32"), "half": np.array(0.5, "float32")}
    return gx.onnx.load(with_weights(LINEAR, **arrays), **options)


def test_weights_are_variables_and_scalars_are_not():
    model = linear()
    assert [v.name for v in model.variables] == ["w"]
    assert model.variables[0].trainable


def test_weights_can_be_constants():
    model = linear(weights="constants")
    assert model.variables == []
    assert np.array_equal(model.compile()(np.ones((1, 2), "float32"))["y"], np.full((1, 3), 2.5))


def test_an_imported_model_can_be_trained():
    model = linear()
    x = gx.placeholder("x", ("n", 2))
    loss = (model(x) ** 2).mean()
    step = gx.compile(x, loss, updates=gx.optim.SGD(0.05).minimize(loss))
    data = np.ones((4, 2), "float32")
    first = step(data)
    assert step(data) < first


def test_calls_share_the_weights():
    model = linear()
    a, b = gx.placeholder("a", (1, 2)), gx.placeholder("b", (1, 2))
    model(a), model(x=b)
    assert len(model.variables) == 1
    with pytest.raises(ArgumentError, match="other inputs"):
        model(a, b)


def test_statistics_are_not_trainable():
    ones = np.ones(2, "float32")
    text = "g (float[n, 2] x) => (float[n, 2] y) { y = BatchNormalization(x, scale, bias, mean, var) }"
    model = gx.onnx.load(with_weights(text, scale=ones, bias=ones, mean=ones, var=ones))
    assert {v.name: v.trainable for v in model.variables} == {
        "scale": True,
        "bias": True,
        "mean": False,
        "var": False,
    }


# -------------------------------------------------------------------- element types
@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8e4m3fn", "float8e5m2"])
def test_narrow_floats_are_rounded_exactly(name):
    import ml_dtypes

    from graphc.onnx.elements import element_named

    types = {
        "float16": np.float16,
        "bfloat16": ml_dtypes.bfloat16,
        "float8e4m3fn": ml_dtypes.float8_e4m3fn,
        "float8e5m2": ml_dtypes.float8_e5m2,
    }
    rng = np.random.default_rng(3)
    wild = rng.integers(0, 2**32, 4000, np.uint64).astype(np.uint32).view(np.float32)
    near = np.linspace(-500, 500, 4001).astype("float32")
    tiny = np.float32(2.0) ** np.arange(-149, 20)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], "float32")
    given = np.concatenate([wild, near, tiny.astype("float32"), (tiny * 1.5).astype("float32"), special])
    x = gx.placeholder("x", ("n",))
    rounded = element_named(f"tensor({name})").fit(x)
    with np.errstate(all="ignore"):
        expected = given.astype(types[name]).astype("float32")
    for found in (gx.evaluate(rounded, {x: given}), gx.compile(x, rounded)(given)):
        np.testing.assert_array_equal(found, expected)
        numbers = ~np.isnan(expected)
        assert np.array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers]))


def test_gradients_pass_through_rounding():
    text = "g (float16[n] x) => (float16[n] y) { y = Mul(x, x) }"
    model = gx.onnx.load(model_of(text))
    x, y = model.inputs["x"], model.outputs["y"]
    assert gx.evaluate(gx.grad(y.sum(), x), {x: np.array([1.5, -2.0], "float32")}).tolist() == [3.0, -4.0]


def test_small_integers_wrap_around():
    text = "g (uint16[n] x) => (uint16[n] y) { y = Add(x, x) }"
    model = gx.onnx.load(model_of(text))
    x = np.array([1, 40000, 65535], "uint16")
    found = model.compile()(x.astype("int32"))["y"]
    assert np.array_equal(found.astype("uint16"), x + x)
    assert model.elements["y"].name == "uint16"


# ------------------------------------------------------------------- what is wrong
def refusal(source, **options):
    with pytest.raises(OnnxImportError) as caught:
        gx.onnx.load(source, **options)
    return str(caught.value)


@pytest.mark.parametrize("data", [b"", b"no protobuf at all", b"\x08\x07"])
def test_damaged_files_are_refused(tmp_path, data):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    assert refusal(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    data = model_of(RESHAPE).SerializeToString()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        refusal(path)


def test_no_model_at_all():
    assert "expected a path" in refusal(3)
    with pytest.raises(FileNotFoundError):
        gx.onnx.load("no-such-file.onnx")


def test_all_unsupported_operators_are_named_at_once():
    text = """g (float[n] x) => (float[n] y) {
        a = Unheard(x)
        b = Relu(a)
        y = org.example.Another(b)
    }"""
    model = parser.parse_model('<ir_version: 10, opset_import: ["": 21, "org.example": 1]> ' + text)
    message = refusal(model)
    assert "Unheard" in message
    assert "org.example.Another" in message
    assert "Relu" not in message


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("g (float[n] x) => (float[n] y) { y = Relu<wrong = 1>(x) }", "unknown attribute 'wrong'"),
        ("g (float[n] x) => (float[n] y) { y = LeakyRelu<alpha = 1>(x) }", "'alpha' is of another kind"),
        ("g (float[n] x) => (float[n] y) { y = Add(x, z)\n z = Relu(y) }", "'z' is used before"),
        ("g (float[n] x) => (float[n] y) { y = Relu(missing) }", "'missing' is used before"),
        ("g (float[n] x) => (float[n] y) { z = Relu(x) }", "'y' is used before"),
        ("g (float[n] x) => (float[n] y) { y = Relu(x)\n y = Abs(x) }", "computed twice"),
        ("g (float[2] x, float[3] z) => (float[2] y) { y = Add(x, z) }", "Add of 'y'"),
        ("g (string[n] x) => (string[n] y) { y = Identity(x) }", "given string"),
        ("g (float[2] x) => (float[2] y) { y = Transpose<perm = [0, 1]>(x) }", "Transpose of 'y'"),
        ("g (float[2] x) => (float[2] y) { y = Cast<to = 999>(x) }", "data type 999"),
    ],
)
def test_faulty_models_are_refused(text, complaint):
    assert complaint in refusal(model_of(text))


def test_the_node_is_named_in_the_error():
    node = helper.make_node("Concat", ["x", "x"], ["y"], name="join", axis=7)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    model = helper.make_model(helper.make_graph([node], "g", [x], [y]))
    assert "Concat 'join'" in refusal(model)


def test_functions_that_call_each_other_without_end_are_refused():
    text = """g (float[n] x) => (float[n] y) { y = own.f(x) }
    <domain: "own", opset_import: ["": 21, "own": 1]> f (a) => (b) { b = own.f(a) }"""
    model = parser.parse_model('<ir_version: 10, opset_import: ["": 21, "own": 1]> ' + text)
    assert "without end" in refusal(model)


def test_functions_that_stand_for_too_many_nodes_are_refused(monkeypatch):
    """Each calls the next one twice: a few lines, and more nodes than fit into memory."""
    start = '<domain: "own", opset_import: ["own": 1]>'
    bodies = (f"f{k} (a) => (c) {{ b = own.f{k + 1}(a) c = own.f{k + 1}(b) }}" for k in range(40))
    lines = [f"{start} {body}" for body in bodies]
    text = "\n".join(["g (float[n] x) => (float[n] y) { y = own.f0(x) }", *lines])
    last = '<domain: "own", opset_import: ["": 21]> f40 (a) => (b) { b = Relu(a) }'
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["": 21, "own": 1]> {text}\n{last}')
    monkeypatch.setattr("graphc.onnx.importer.MOST_NODES", 1000)
    assert "too large" in refusal(model)


def test_functions_of_the_model_are_expanded():
    text = """g (float[n] x) => (float[n] y) { y = own.leaky<slope = 0.5>(x) }
    <domain: "own", opset_import: ["": 21]> leaky <slope> (a) => (b) {
        b = LeakyRelu<alpha: float = @slope>(a)
    }"""
    model = parser.parse_model('<ir_version: 10, opset_import: ["": 21, "own": 1]> ' + text)
    loaded = gx.onnx.load(model)
    x = np.array([-2.0, 2.0], "float32")
    assert gx.evaluate(loaded.outputs["y"], {loaded.inputs["x"]: x}).tolist() == [-1.0, 2.0]


def test_data_of_another_length_is_refused():
    model = with_weights(LINEAR, w=np.ones((2, 3), "float32"), half=np.array(0.5, "float32"))
    model.graph.initializer[0].dims[0] = 2**40
    assert "does not have the length" in refusal(model)


# ------------------------------------------------------------------- external data
def stored(folder, location, length=24):
    model = with_weights(LINEAR, half=np.array(0.5, "float32"))
    weight = model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[2, 3])
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": str(length)}.items():
        weight.external_data.add(key=key, value=value)
    path = folder / "model" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(model.SerializeToString())
    (path.parent / "weights.bin").write_bytes(np.arange(6, dtype="float32").tobytes())
    (folder / "secret.bin").write_bytes(b"x" * 24)
    return path


def test_external_data_is_read_from_the_folder_of_the_model(tmp_path):
    model = gx.onnx.load(stored(tmp_path, "weights.bin"))
    assert np.array_equal(model.variables[0].value, np.arange(6).reshape(2, 3))


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "", ".", "a/../../secret.bin", "\0"])
def test_external_data_elsewhere_is_refused(tmp_path, location):
    assert "outside of the model's folder" in refusal(stored(tmp_path, location))


def test_external_data_behind_a_link_is_refused(tmp_path):
    path = stored(tmp_path, "link.bin")
    (path.parent / "link.bin").symlink_to(tmp_path / "secret.bin")
    assert "outside of the model's folder" in refusal(path)


@pytest.mark.parametrize("length", [23, 25, -1])
def test_external_data_of_another_length_is_refused(tmp_path, length):
    assert "does not fit" in refusal(stored(tmp_path, "weights.bin", length))


def test_missing_external_data_is_refused(tmp_path):
    assert "cannot be read" in refusal(stored(tmp_path, "nothing.bin"))


def test_models_in_memory_have_no_external_data(tmp_path):
    model = onnx.load(stored(tmp_path, "weights.bin"), load_external_data=False)
    assert "no file" in refusal(model)


def test_a_huge_result_is_a_type_and_not_memory():
    text = """g (float[1] x) => (float[a, b, c] y) {
        shape = Constant<value = int64[3] {1000000, 1000000, 1000}>()
        filled = ConstantOfShape(shape)
        y = Add(filled, x)
    }"""
    assert gx.onnx.load(model_of(text)).outputs["y"].shape == (1000000, 1000000, 1000)


def test_the_paths_may_be_text(tmp_path):
    path = stored(tmp_path, "weights.bin")
    assert isinstance(path, Path)
    assert gx.onnx.load(str(path)).inputs.keys() == gx.onnx.load(path).inputs.keys()


def test_weights_are_copied_once():
    """On their way into the graph: a large model is held in memory often enough."""
    stored = numpy_helper.from_array(np.arange(6, dtype="float32").reshape(2, 3), "w")
    array = array_of(stored, None)
    assert array.base is not None and not array.flags.writeable
    node = gx.constant(array).node
    assert not np.shares_memory(node.payload.array, array)
    np.testing.assert_array_equal(node.payload.array, [[0, 1, 2], [3, 4, 5]])
