"""`gx.vectorize`: every op of the registry against its own results stacked, and the public face."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from op_table import OPS, Call, build, differentiable, gradient

import graphc as gx
from graphc.errors import ArgumentError, DTypeError, GraphError, ShapeError
from graphc.ir import topological
from graphc.lower.rules import Expand, Fused, Item, Leaf
from graphc.ops.batching import aligned
from graphc.ops.op import REGISTRY, Op, Sample

Array = np.ndarray[Any, Any]
ROWS = 3

# Ops whose samples cannot be mapped over, and why.
NOT_MAPPED = {
    "with_update": "a variable has one value, not one per row; tested below",
}
# Ops without a rule, and why it does not matter that they run row by row.
ROW_BY_ROW = {
    "random_key": "a few numbers, once for each draw; rows fold their number into what comes of it",
}
MAPPED = [op for op in OPS if op.name not in NOT_MAPPED]
every_op = pytest.mark.parametrize("op", MAPPED, ids=lambda op: op.name)


def patterns(count: int) -> list[tuple[bool, ...]]:
    """Return which operands have rows: each alone, and all together."""
    alone = [tuple(k == j for k in range(count)) for j in range(count)]
    return list(dict.fromkeys([*alone, (True,) * count]))


def rows_of(a: Array) -> Array:
    """Return rows of different values that are all as legal as those of `a`."""
    return np.stack([np.roll(a.ravel(), k).reshape(a.shape) for k in range(ROWS)])


def check_rows(call: Call, pattern: tuple[bool, ...], context: str) -> None:
    """Compare the vectorized call with single calls, one after the other, in the interpreter."""
    values = [rows_of(a) if mapped else a for a, mapped in zip(call.values, pattern, strict=True)]
    inputs = [gx.placeholder(f"v{k}", a.shape, a.dtype) for k, a in enumerate(values)]
    axes = tuple(0 if mapped else None for mapped in pattern)
    expected = []
    for k in range(ROWS):
        single = [v[k] if mapped else v for v, mapped in zip(values, pattern, strict=True)]
        expected.append(gx.evaluate(list(call.outputs), dict(zip(call.inputs, single, strict=True))))
    batched = gx.vectorize(lambda *xs: substituted(call, xs), axes)(*inputs)
    found = gx.evaluate(batched, dict(zip(inputs, values, strict=True)))
    for t, got, *wanted in zip(call.outputs, found, *expected, strict=True):
        assert got.dtype == t.dtype, context
        exact = t.dtype.kind != "f"
        scale = max((float(np.abs(w[np.isfinite(w)]).max(initial=0)) for w in wanted), default=0) or 1.0
        rtol = 0 if exact else call.sample.ulp * 32 * float(np.finfo(t.dtype).eps)
        np.testing.assert_allclose(got, np.stack(wanted), rtol=rtol, atol=rtol * scale, err_msg=context)


def substituted(call: Call, operands: tuple[gx.Tensor, ...]) -> list[gx.Tensor]:
    """Return the results of a call over other operands."""
    images = dict(zip((t.node for t in call.inputs), (t.node for t in operands), strict=True))
    for node in topological([t.node for t in call.outputs]):
        images.setdefault(node, node.with_inputs(tuple(images[i] for i in node.inputs)))
    return [gx.Tensor(images[t.node]) for t in call.outputs]


def calls(op: Op) -> Iterator[tuple[Call, Sample, str]]:
    for k, sample in enumerate(op.samples()):
        if sample.inputs:
            yield build(op, sample), sample, f"sample {k} kwargs={dict(sample.kwargs)}"


@every_op
def test_rows_are_stacked_single_results(op: Op) -> None:
    for call, sample, label in calls(op):
        for pattern in patterns(len(sample.inputs)):
            check_rows(call, pattern, f"{label} {pattern}")


@every_op
def test_gradients_of_rows_are_stacked_single_gradients(op: Op) -> None:
    """For each cotangent alone, as a Jacobian needs it, and for all operands."""
    for k, sample in enumerate(differentiable(op)):
        call = gradient(build(op, sample))
        seeds = tuple(j >= len(sample.inputs) for j in range(len(call.inputs)))
        for pattern in (seeds, (True,) * len(call.inputs)):
            check_rows(call, pattern, f"gradient of sample {k} {pattern}")


def test_every_other_op_has_a_rule() -> None:
    """An op that has no rule, and expands into nothing that has one, is named above with the reason."""
    exempt = (Expand, Fused, Item, Leaf)
    without = [op for op in REGISTRY.values() if op.batch is None and not isinstance(op.lowering, exempt)]
    assert {op.name for op in without if has_operands(op)} == set(ROW_BY_ROW)


def has_operands(op: Op) -> bool:
    """Tell whether a node of the op ever depends on anything."""
    made = [t.node for sample in op.samples() for t in build(op, sample).outputs]
    return any(n.op is op and n.inputs for n in topological(made))


# ------------------------------------------------------------- compiled, and every size
def test_one_program_serves_every_number_of_rows() -> None:
    """One call of each op that is not elementwise, all in one program."""
    made = []
    for op in (op for op in MAPPED if op.batch is not aligned and op.name not in ROW_BY_ROW):
        sample = next((s for s in op.samples() if s.inputs and all(a.size for a in s.inputs)), None)
        if sample is not None:
            made.append(build(op, sample, f"{op.name}_"))
    inputs, outputs = [], []
    for call in made:
        own = [gx.placeholder(str(t.name), ("rows", *t.shape), t.dtype) for t in call.inputs]
        inputs += own
        outputs += gx.vectorize(partial(lambda call, *xs: substituted(call, xs), call))(*own)
    program = gx.compile(inputs, outputs)
    for size in (ROWS, 0, 1):
        values = [rows_of(a)[:size] for call in made for a in call.values]
        feeds = dict(zip(inputs, values, strict=True))
        expected = gx.evaluate(outputs, feeds)
        for t, got, wanted in zip(outputs, program(*feeds.values()), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6, err_msg=repr(t))


# ------------------------------------------------------------------ the public face
def floats(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).normal(size=shape)


def test_axes_of_arguments_and_results() -> None:
    x, y = floats(3, 4), floats(4, 3)
    found = gx.vectorize(lambda a, b: (a * b, a.sum()), (0, 1), (1, 0))(x, y)
    product, total = gx.evaluate(found)
    np.testing.assert_allclose(product, (x * y.T).T)
    np.testing.assert_allclose(total, x.sum(1))
    negative = gx.vectorize(lambda a: a * 2, -1, -1)(x)
    np.testing.assert_allclose(gx.evaluate(negative), x * 2)


def test_structures_of_arguments_and_results() -> None:
    params = {"w": floats(2, 3), "b": np.array(1.5)}

    def layer(p: dict[str, gx.Tensor], pair: list[gx.Tensor]) -> dict[str, Any]:
        return {"y": p["w"] @ pair[0] + p["b"] * pair[1], "same": [p["b"]]}

    mapped = gx.vectorize(layer, ({"w": None, "b": None}, [0, None]), {"y": 0, "same": None})
    x, scale = floats(5, 3), np.array(2.0)
    found = gx.evaluate(mapped(params, [x, scale]))
    np.testing.assert_allclose(found["y"], x @ params["w"].T + 3.0)
    np.testing.assert_allclose(found["same"][0], 1.5)


def test_a_result_that_no_row_changes_is_repeated() -> None:
    found = gx.vectorize(lambda a: gx.ones(2, dtype="float64"))(floats(3, 1))
    np.testing.assert_array_equal(gx.evaluate(found), np.ones((3, 2)))
    assert gx.vectorize(lambda a: gx.zeros_like(a))(floats(3, 1)).shape == (3, 1)


def test_what_does_not_depend_on_a_row_is_computed_once() -> None:
    w = gx.variable(floats(4, 4), name="w")
    shared = gx.exp(w) @ w
    found = gx.vectorize(lambda row: gx.tanh(row @ shared))(gx.placeholder("x", ("n", 4), "float64"))
    assert shared.node in topological([found.node])


def test_nested() -> None:
    x, y = floats(3, 4), floats(5, 4)
    distances = gx.vectorize(lambda a: gx.vectorize(lambda b: gx.vector_norm(a - b))(y))(x)
    np.testing.assert_allclose(gx.evaluate(distances), np.linalg.norm(x[:, None] - y, axis=-1))


def test_vectors_times_a_matrix_are_one_product() -> None:
    """On either side, with rows on one side alone: no stack of small products."""
    w, x = gx.placeholder("w", (5, 4)), gx.placeholder("x", ("n", 4))
    for row in (lambda v: w @ v, lambda v: v @ w.T):
        found = gx.vectorize(row)(x)
        (product,) = [n for n in topological([found.node]) if n.op.name == "matmul"]
        stacks = [d for d in product.type.shape[:-2] if d != 1]
        assert len(stacks) + (product.type.shape[-2] != 1) == 1, product.type


def test_softmax_stays_whole() -> None:
    found = gx.vectorize(lambda row: gx.softmax(row))(floats(3, 4))
    assert found.node.op.name == "softmax"


def test_per_example_gradients() -> None:
    x, w = floats(6, 4), gx.variable(floats(4), name="w")
    per_example = gx.vectorize(lambda row: gx.grad(gx.tanh(row @ w), w))(x)
    slope = 1 - np.tanh(x @ w.value) ** 2
    np.testing.assert_allclose(gx.evaluate(per_example), slope[:, None] * x)


def test_gradient_through_rows() -> None:
    x = gx.placeholder("x", (3, 4), "float64")
    total = gx.vectorize(lambda row: gx.logsumexp(row * row))(x).sum()
    gx.check_gradients(total, [x], {x: floats(3, 4)})


def test_variables_of_a_row_are_updated_once() -> None:
    calls = gx.variable(0.0, name="calls")
    found = gx.vectorize(lambda row: gx.with_update(row * 2, calls, calls + 1))(np.ones((3, 2)))
    program = gx.compile([], found)
    program()
    assert calls.value == 1.0


# ------------------------------------------------------------- gradients of the user's own
def doubled() -> Any:
    """A product whose gradient the user defines to be twice the true one."""

    @gx.custom_gradient
    def product(x: gx.Tensor, w: gx.Tensor) -> Any:
        return x * w, lambda g: (2 * g * w, 2 * (g * x).sum() if w.ndim == 0 else 2 * g * x)

    return product


@pytest.mark.parametrize("mapped", [(0, 0), (0, None), (None, 0)])
def test_custom_gradient(mapped: tuple[int | None, int | None]) -> None:
    product = doubled()
    x = gx.placeholder("x", (3, 4) if mapped[0] == 0 else (4,), "float64")
    w = gx.placeholder("w", (3,) if mapped[1] == 0 else (), "float64")
    value = gx.vectorize(product, mapped)(x, w)
    feeds = {x: floats(*x.shape), w: floats(*w.shape)}
    wide = feeds[w][:, None] if mapped[1] == 0 else feeds[w]
    np.testing.assert_allclose(gx.evaluate(value, feeds), feeds[x] * wide)
    dx, dw = gx.evaluate(gx.grad(value.sum(), [x, w]), feeds)
    np.testing.assert_allclose(dx, 2 * np.broadcast_to(wide, value.shape).sum(0 if mapped[0] is None else ()))
    each = 2 * np.broadcast_to(feeds[x], value.shape).sum(1)
    np.testing.assert_allclose(dw, each if mapped[1] == 0 else each.sum())


def test_custom_gradient_inside_two_vectorizes() -> None:
    product, x, w = doubled(), floats(2, 3, 4), floats(2, 3)

    def slope(a: gx.Tensor, b: gx.Tensor) -> gx.Tensor:
        return gx.grad(product(a, b).sum(), a)

    found = gx.vectorize(lambda a, b: gx.grad(gx.vectorize(product)(a, b).sum(), a))(x, w)
    np.testing.assert_allclose(gx.evaluate(found), 2 * np.broadcast_to(w[..., None], x.shape))
    found = gx.vectorize(gx.vectorize(slope))(x, w)
    np.testing.assert_allclose(gx.evaluate(found), 2 * np.broadcast_to(w[..., None], x.shape))


# --------------------------------------------------------------------------- mistakes
def _updating(row: gx.Tensor) -> gx.Tensor:
    mean = gx.variable(0.0, name="mean")
    return gx.with_update(row, mean, row.mean())


MISTAKES = [
    (lambda: gx.vectorize(gx.exp, None)(floats(3)), ArgumentError, "no argument is mapped"),
    (lambda: gx.vectorize(gx.exp, 1)(floats(3)), ArgumentError, "axis out of range"),
    (lambda: gx.vectorize(gx.exp, "rows")(floats(3)), ArgumentError, "structure of the arguments"),
    (lambda: gx.vectorize(gx.add, (0, 0, 0))(floats(3), 1.0), ArgumentError, "structure of the arguments"),
    (lambda: gx.vectorize(gx.exp, 0, (0, 0))(floats(3)), ArgumentError, "structure of the results"),
    (lambda: gx.vectorize(gx.exp, 0, None)(floats(3)), ArgumentError, "differs from row to row"),
    (lambda: gx.vectorize(gx.add)(floats(3), floats(4)), ShapeError, "mapped axes differ in size"),
    (lambda: gx.vectorize(_updating)(floats(3, 2)), GraphError, "differs from row to row"),
    (lambda: gx.vectorize(lambda x: "row")(floats(3)), DTypeError, "the value is no number"),
]


@pytest.mark.parametrize("mistake", range(len(MISTAKES)))
def test_mistakes_are_named(mistake: int) -> None:
    build, error, match = MISTAKES[mistake]
    with pytest.raises(error, match=match) as caught:
        build()
    message = str(caught.value)
    assert type(caught.value) is error and len(message.splitlines()) <= 3
    assert f"{__file__}:" in message


def test_sizes_that_differ_at_the_call() -> None:
    x, y = gx.placeholder("x", ("n", 2)), gx.placeholder("y", ("m", 2))
    program = gx.compile([x, y], gx.vectorize(lambda a, b: a + b)(x, y))
    one = np.ones((3, 2), np.float32)
    np.testing.assert_array_equal(program(one, one), one + one)
    with pytest.raises(ShapeError, match="mapped axes differ in size"):
        program(one, one[:2])
