"""Saving models: every operation against ONNX Runtime and against reading the model back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from op_table import OPS, build, in_every_dtype, resized, symbolic_calls

import graphc as gx
from graphc.errors import ArgumentError, OnnxExportError

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

# What ONNX has no functions for.
REFUSED = {
    "digamma",
    "erfcinv",
    "erfinv",
    "lgamma",
    "nextafter",
    "random_below",
    "random_gamma",
    "random_poisson",
    "region_argmax",
}
# Where results for NaN and infinities are left to whoever runs the model.
FINITE_ONLY = {"argmax", "argmin", "max_pool", "max_pool_index"}
# Operations that came later than opset 21.
NEWER = {"bitcast": 26}


def session(path):
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(path, feeds):
    return session(path).run(None, feeds)


def checked(path):
    # In full, which infers all shapes and compares them with those declared.
    onnx.checker.check_model(str(path), full_check=True)
    return onnx.load(path)


def assert_same(found, expected, label=""):
    for k, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), f"{label} {k}"
        if b.dtype.kind != "f":
            np.testing.assert_array_equal(a, b, f"{label} {k}")
            continue
        finite = np.where(np.isfinite(b), b, 0)
        scale = float(np.abs(finite).max(initial=1))
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6 * scale, err_msg=f"{label} {k}")


# ------------------------------------------------------------------ every operation
def in_single_precision(sample):
    """Return a sample in float32, for which runtimes have all operators."""
    with np.errstate(over="ignore"):
        cast = [a.astype("float32") if a.dtype == np.float64 else a for a in sample.inputs]
    return replace(sample, inputs=tuple(map(np.asarray, cast)), expected=None)


def samples_of(op) -> Sequence:
    found = list(op.samples())
    if op.name != "bitcast":
        found = [in_single_precision(s) for s in found]
        found += [s for s in in_every_dtype(op) if all(a.dtype != np.float64 for a in s.inputs)]
    if op.name in FINITE_ONLY:
        found = [s for s in found if all(np.isfinite(a).all() for a in s.inputs)]
    if op.name == "pow":
        found = [s for s in found if _is_exact_power(s)]
    return found


def _is_exact_power(sample) -> bool:
    """Tell whether a power stays where floats are exact, which is how runtimes compute it."""
    if sample.inputs[0].dtype.kind == "f" or len(sample.inputs) == 1:
        return True
    base, exponent = (np.abs(a.astype("float64")) for a in sample.inputs)
    with np.errstate(over="ignore"):
        return bool(np.power(base, exponent).max(initial=0) < 2**31)


def saved(calls, path, opset):
    """Save calls as one model, and return what reading it gives."""
    inputs = [t for c in calls for t in c.inputs]
    outputs = {f"{c.label}out{k}": t for c in calls for k, t in enumerate(c.outputs)}
    gx.onnx.save((inputs, outputs), path, opset=opset, updates="leave out")
    checked(path)
    return gx.onnx.load(path)


def assert_agree(calls, path, model):
    """Compare what calls give with ONNX Runtime, and with the interpreter on the model that was read back."""
    feeds = {t.name: np.asarray(v) for c in calls for t, v in zip(c.inputs, c.values, strict=True)}
    expected = [a for c in calls for a in c.interpret()]
    assert_same(run(path, feeds), expected, "ONNX Runtime")
    assert_same(read_back(model, feeds), expected, "read back")


def read_back(model, feeds):
    given = {t: feeds[name] for name, t in model.inputs.items()}
    return gx.evaluate(list(model.outputs.values()), given)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_operation(op, tmp_path):
    path, opset = tmp_path / "model.onnx", NEWER.get(op.name, 21)
    samples = samples_of(op)
    calls = [build(op, s, f"s{k}_") for k, s in enumerate(samples)]
    if op.name in REFUSED:
        with pytest.raises(OnnxExportError, match=op.name):
            saved(calls, path, opset)
        assert list(tmp_path.iterdir()) == []
        return
    assert_agree(calls, path, saved(calls, path, opset))
    named = symbolic_calls(op, samples)
    if not named:
        return
    model = saved(named, path, opset)
    for size in (2, 1):
        assert_agree([resized(c, size) for c in named], path, model)


def test_an_operation_of_a_newer_opset_is_refused_below_it(tmp_path):
    x = gx.placeholder("x", (3,))
    with pytest.raises(OnnxExportError, match="needs opset 26"):
        gx.onnx.save((x, gx.bitcast(x, "int32")), tmp_path / "m.onnx")


@pytest.mark.parametrize("opset", [18, 19, 20, 23])
def test_other_opsets(opset, tmp_path):
    x = gx.placeholder("x", ("n", 4, 6, 6))
    y = gx.avg_pool2d(gx.gelu(x), 2, stride=2).sum(axis=(2, 3)).max(axis=1) + gx.var(x)
    path = tmp_path / "m.onnx"
    gx.onnx.save((x, y), path, opset=opset)
    assert checked(path).opset_import[0].version == opset
    data = np.random.default_rng(0).normal(size=(3, 4, 6, 6)).astype("float32")
    assert_same(run(path, {"x": data}), [gx.evaluate(y, {x: data})])


# ------------------------------------------------------------------- loops, branches
def rows(n):
    return np.random.default_rng(n).normal(size=(n, 3)).astype("float32")


def weights():
    return gx.variable(np.full((3, 3), 0.5, "float32"), name="w")


def scan_of(reverse):
    def build(x, k):
        w = weights()
        return list(gx.scan(lambda c, r: (gx.tanh(c @ w + r), c * 2), gx.zeros((3,)), x, reverse=reverse))

    return build


def _scan_of_fixed_length(x, k):
    table = gx.constant(np.arange(6, dtype="float32").reshape(2, 3))
    return list(gx.scan(lambda c, r: (c + r, c * x.sum()), gx.zeros((3,)), table, reverse=True))


def _doubling(x, k):
    found = gx.while_loop(lambda s: s[0].sum() < 100, lambda s: (s[0] * 2 + 1, s[1] + 1), (x, 0), 4)
    return [*found, gx.grad(found[0].sum(), x)]


def _nested(x, k):
    def step(c, r):
        return c + r, gx.cond(c.sum() > 0, lambda: c, lambda: -c)

    return [gx.cond(x.sum() > 0, lambda v: gx.scan(step, gx.zeros((3,)), v)[1], lambda v: v * 0.5, x)]


def _counting(number):
    def build(x, k):
        rounds = k if number is None else number
        return [gx.fori_loop(0, rounds, lambda i, c: c * 2 + i.astype("float32"), x)]

    return build


CONTROL = {
    "scan": scan_of(reverse=False),
    "scan backwards": scan_of(reverse=True),
    "scan of a fixed length": _scan_of_fixed_length,
    "gradient of scan": lambda x, k: [gx.grad(scan_of(False)(x, k)[1].sum(), x)],
    "fixed number of iterations": _counting(5),
    "number of iterations": _counting(None),
    "while": _doubling,
    "cond": lambda x, k: [gx.cond(x.sum() > 0, lambda v: v * 2, lambda v: v - weights().sum(), x)],
    "switch": lambda x, k: [gx.switch(k, [lambda v: v, lambda v: v * 2, lambda v: -v], x)],
    "nested": _nested,
}


@pytest.mark.parametrize("build", CONTROL.values(), ids=CONTROL)
def test_loops_and_branches(build, tmp_path):
    x, k = gx.placeholder("x", ("n", 3)), gx.placeholder("k", (), "int64")
    outputs, path = build(x, k), tmp_path / "m.onnx"
    gx.onnx.save(([x, k], outputs), path)
    checked(path)
    model = gx.onnx.load(path)
    for n, number in ((1, -1), (4, 0), (0, 1), (2, 2), (3, 7)):
        feeds = {"x": rows(n), "k": np.asarray(number)}
        expected = gx.evaluate(outputs, {x: feeds["x"], k: feeds["k"]})
        assert_same(run(path, feeds), expected)
        assert_same(read_back(model, feeds), expected)


def test_prints_and_checks_are_left_out(tmp_path, capsys):
    x = gx.placeholder("x", (3,))
    gx.debug.print(x.sum())
    gx.debug.check(x.min() > 0, "positive")
    gx.onnx.save((x, x * 2), tmp_path / "m.onnx")
    assert_same(run(tmp_path / "m.onnx", {"x": rows(1)[0]}), [rows(1)[0] * 2])
    assert capsys.readouterr().out == ""


# ------------------------------------------------------------------- what a model says
def linear():
    x = gx.placeholder("x", ("n", 2))
    w = gx.variable(np.arange(6, dtype="float32").reshape(2, 3), name="w")
    return x, w, x @ w


def test_names_of_inputs_sizes_weights_and_outputs(tmp_path):
    x, _, y = linear()
    path = tmp_path / "m.onnx"
    gx.onnx.save(gx.compile(x, {"y": y, "pair": (y + 1, gx.relu(y))}, name="layer"), path)
    model = checked(path)
    assert model.graph.name == "layer"
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == ["n", 2]
    assert [o.name for o in model.graph.output] == ["y", "pair.0", "pair.1"]
    assert "w" in {i.name for i in model.graph.initializer}
    read = gx.onnx.load(path)
    assert [v.name for v in read.variables] == ["w"]
    assert str(read.inputs["x"].type) == "float32[n, 2]"


def test_a_size_is_read_off_an_input_that_has_a_multiple_of_it(tmp_path):
    n = gx.placeholder("y", ("n",)).shape[0]
    x = gx.placeholder("x", (2 * n + 1, 3))
    gx.onnx.save((x, gx.zeros((n, 2)) + x.sum()), tmp_path / "m.onnx")
    checked(tmp_path / "m.onnx")
    (found,) = run(tmp_path / "m.onnx", {"x": np.ones((9, 3), "float32")})
    assert found.shape == (4, 2)


def test_an_output_that_is_an_input_or_stands_twice(tmp_path):
    x, _, y = linear()
    gx.onnx.save(([x], [x, y, y]), tmp_path / "m.onnx")
    data = np.ones((1, 2), "float32")
    checked(tmp_path / "m.onnx")
    assert_same(run(tmp_path / "m.onnx", {"x": data}), gx.evaluate([x, y, y], {x: data}))


def test_weights_in_a_file_of_their_own(tmp_path):
    x = gx.placeholder("x", ("n", 32))
    w = gx.variable(np.random.default_rng(1).normal(size=(32, 32)).astype("float32"), name="w")
    path = tmp_path / "m.onnx"
    gx.onnx.save((x, x @ w + gx.constant(np.ones(32, "float32"))), path, external=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    assert (tmp_path / "m.onnx.data").stat().st_size == 32 * 32 * 4
    data = np.ones((2, 32), "float32")
    expected = data @ w.value + 1
    assert_same(run(path, {"x": data}), [expected])
    assert_same(read_back(gx.onnx.load(path), {"x": data}), [expected])


def test_weights_that_do_not_fit_are_put_apart_or_refused(tmp_path, monkeypatch):
    from graphc.onnx.export import external

    monkeypatch.setattr(external, "_INLINE", 1000)
    x = gx.placeholder("x", ("n", 32))
    y = x @ gx.variable(np.ones((32, 32), "float32"), name="w")
    with pytest.raises(OnnxExportError, match="do not fit"):
        gx.onnx.save((x, y), tmp_path / "m.onnx", external=False)
    assert list(tmp_path.iterdir()) == []
    gx.onnx.save((x, y), tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx.data").exists()


# ------------------------------------------------------------------------- refusals
def test_updates_are_refused_or_left_out(tmp_path):
    x, w, y = linear()
    step = gx.compile(x, y.sum(), updates={w: w * 2})
    with pytest.raises(OnnxExportError, match=r"updates variables, such as 'w'(.|\n)*leave out"):
        gx.onnx.save(step, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
    gx.onnx.save(step, tmp_path / "m.onnx", updates="leave out")
    data = np.ones((1, 2), "float32")
    for _ in range(2):
        assert_same(run(tmp_path / "m.onnx", {"x": data}), [(data @ w.value).sum()])


def test_everything_that_cannot_be_expressed_is_named_with_its_line(tmp_path):
    x = gx.placeholder("x", ("n",))
    first = gx.lgamma(x)
    both = gx.digamma(first) + gx.lgamma(x)
    with pytest.raises(OnnxExportError) as caught:
        gx.onnx.save((x, both), tmp_path / "m.onnx")
    reasons = str(caught.value.given).split("; ")
    assert [r.partition(" at ")[0] for r in reasons] == ["lgamma", "digamma", "lgamma"]
    assert all("test_onnx_export.py:" in r for r in reasons)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (3, {}, "a program, a graph, or a pair"),
        (None, {"opset": 17}, "18 to"),
        (None, {"opset": 999}, "18 to"),
        (None, {"updates": "keep"}, "leave out"),
    ],
)
def test_bad_arguments(source, options, message, tmp_path):
    x, _, y = linear()
    with pytest.raises(ArgumentError, match=message):
        gx.onnx.save((x, y) if source is None else source, tmp_path / "m.onnx", **options)


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path):
    x, _, y = linear()
    with pytest.raises(FileNotFoundError):
        gx.onnx.save((x, y), tmp_path / "none" / "m.onnx")
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(OSError):
        gx.onnx.save((x, y), tmp_path / "m.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
