"""Operators whose results have as many elements as values say, and classical machine learning."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

import graphc as gx
from graphc.errors import OnnxImportError

HEADER = '<ir_version: 10, opset_import: ["": 21, "ai.onnx.ml": 5]> '


def loaded(text, **values):
    return gx.onnx.load(parser.parse_model(HEADER + text), values=values)


def run(model, **feeds):
    return gx.evaluate(model.outputs, {model.inputs[n]: v for n, v in feeds.items()})


def test_a_mask_that_is_known_selects():
    text = "g (float[3, n] x, bool[3] mask) => (float[a, n] y) { y = Compress<axis = 0>(x, mask) }"
    model = loaded(text, mask=np.array([True, False, True]))
    assert str(model.outputs["y"].type) == "float32[2, n]"
    x = np.arange(6, dtype="float32").reshape(3, 2)
    assert np.array_equal(run(model, x=x)["y"], x[[0, 2]])


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("y = Compress(x, mask)", "mask"),
        ("p = NonZero(mask)\n y = Cast<to = 1>(p)", "mask"),
        ("y = Unique(x)", "x"),
    ],
)
def test_what_decides_on_a_size_is_named(line, needed):
    with pytest.raises(OnnxImportError, match="decides on shapes") as caught:
        loaded(f"g (float[n] x, bool[n] mask) => (float[k] y) {{ {line} }}")
    assert caught.value.inputs == (needed,)


def test_unique_values_in_the_order_in_which_they_come():
    text = """g (float[2, 4] x) => (float[2, k] y, int64[k] first, int64[4] which, int64[k] counts) {
        y, first, which, counts = Unique<axis = 1, sorted = 0>(x)
    }"""
    x = np.array([[3, 1, 3, 2], [0, 5, 0, 2]], "float32")
    found = run(loaded(text, x=x))
    assert found["y"].tolist() == [[3, 1, 2], [0, 5, 2]]
    assert [found[n].tolist() for n in ("first", "which", "counts")] == [[0, 1, 3], [0, 1, 0, 2], [2, 1, 1]]


def test_boxes_that_overlap_better_ones_are_left_out():
    runtime = pytest.importorskip("onnxruntime", reason="compared with another implementation")
    rng = np.random.default_rng(4)
    text = """g (float[2, 30, 4] boxes, float[2, 3, 30] scores, int64 most, float overlap, float least)
        => (int64[k, 3] kept) { kept = NonMaxSuppression(boxes, scores, most, overlap, least) }"""
    given = {
        "boxes": rng.uniform(0, 1, (2, 30, 4)).astype("float32"),
        "scores": rng.uniform(0, 1, (2, 3, 30)).astype("float32"),
        "most": np.array(6),
        "overlap": np.array(0.2, "float32"),
        "least": np.array(0.3, "float32"),
    }
    session = runtime.InferenceSession(parser.parse_model(HEADER + text).SerializeToString())
    (expected,) = session.run(None, given)
    assert np.array_equal(run(loaded(text, **given))["kept"], expected)


def test_regions_are_pooled():
    runtime = pytest.importorskip("onnxruntime", reason="compared with another implementation")
    text = """g (float[2, 3, 8, 9] x, float[4, 5] regions) => (float[a, b, c, d] y) {
        y = MaxRoiPool<pooled_shape = [2, 3], spatial_scale = 0.5>(x, regions)
    }"""
    x = np.random.default_rng(5).normal(size=(2, 3, 8, 9)).astype("float32")
    boxes = [[0, 0, 0, 10, 9], [1, 3, 2, 15, 14], [0, 4, 4, 4, 4], [1, 0, 6, 17, 12]]
    given = {"x": x, "regions": np.array(boxes, "float32")}
    session = runtime.InferenceSession(parser.parse_model(HEADER + text).SerializeToString())
    assert np.array_equal(run(loaded(text), **given)["y"], session.run(None, given)[0])


# ------------------------------------------------------------------------------ trees
def forest(**changes):
    """Return two trees: x0 <= 1 ? (x1 in {2, 3} ? a : b) : c, and x1 > 0 ? d : a."""

    def array(name, dtype, values):
        return helper.make_attribute(name, numpy_helper.from_array(np.array(values, dtype), name))

    attributes = {
        "nodes_featureids": [0, 1, 1],
        "nodes_truenodeids": [1, 0, 3],
        "nodes_trueleafs": [0, 1, 1],
        "nodes_falsenodeids": [2, 1, 0],
        "nodes_falseleafs": [1, 1, 1],
        "nodes_missing_value_tracks_true": [1, 0, 0],
        "leaf_targetids": [0, 1, 0, 1],
        "tree_roots": [0, 2],
        "n_targets": 2,
        **changes,
    }
    node = helper.make_node("TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    node.attribute.extend(
        [
            array("nodes_modes", "uint8", [0, 6, 3]),
            array("nodes_splits", "float32", [1, 0, 0]),
            array("leaf_weights", "float32", [1, 10, 100, 1000]),
            array("membership_values", "float32", [2, 3, np.nan]),
        ]
    )
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    sets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]
    return helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=sets, ir_version=10)


ROWS = np.array([[0, 2], [0, -1], [5, 3], [np.nan, 0]], "float32")


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (1, [[1, 1000], [1, 10], [100, 1000], [1, 10]]),
        (0, [[0.5, 500], [0.5, 5], [50, 500], [0.5, 5]]),
    ],
)
def test_rows_go_down_all_trees(how, expected):
    model = gx.onnx.load(forest(aggregate_function=how))
    assert run(model, x=ROWS)["y"].tolist() == expected
    assert np.array_equal(model.compile()(ROWS)["y"], np.array(expected, "float32"))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"nodes_truenodeids": [0, 0, 3]}, "leads back to itself"),
        ({"nodes_truenodeids": [9, 0, 3]}, "names no node"),
        ({"post_transform": 4}, "a result of this kind"),
    ],
)
def test_faulty_trees_are_refused(changes, complaint):
    with pytest.raises(OnnxImportError, match=complaint):
        gx.onnx.load(forest(**changes))


def test_groups_of_tokens_are_counted_at_any_distance():
    text = """g (int32[n, 5] x) => (float[n, 3] y) {
        y = TfIdfVectorizer<mode = "TFIDF", min_gram_length = 1, max_gram_length = 2, max_skip_count = 1,
            ngram_counts = [0, 1], ngram_indexes = [2, 0, 1], pool_int64s = [7, 7, 8, 8, 7],
            weights = [1.0, 10.0, 0.5]>(x)
    }"""
    x = np.array([[7, 8, 7, 8, 8], [1, 2, 3, 4, 5]], "int32")
    # Next to each other: (7, 8) twice and (8, 7) once; with one between: (7, 8) once more.
    assert run(loaded(text), x=x)["y"].tolist() == [[3, 10, 1], [0, 0, 0]]
