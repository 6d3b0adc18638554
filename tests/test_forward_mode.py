"""Forward mode against reverse mode, and against known derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from op_table import DIFFERENTIABLE, Call, build, differentiable, symbolic_calls

import graphc as gx
from graphc.errors import GradientError
from graphc.ir import topological
from graphc.lower.rules import Callback, Expand, Map
from graphc.ops.op import Op
from graphc.types import is_float

every_differentiable_op = pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)


# ---------------------------------------------------------------- every op
@every_differentiable_op
def test_forward_mode_is_the_transpose_of_reverse_mode(op: Op) -> None:
    samples = differentiable(op)
    for call in [*(build(op, s) for s in samples), *symbolic_calls(op, samples)]:
        _check_transpose(call)


def _check_transpose(call: Call) -> None:
    """For random u and v, u . Jv = J'u . v."""
    rng = np.random.default_rng(5)
    wrt = [t for t in call.inputs if is_float(t.dtype)]
    outputs = [t for t in call.outputs if is_float(t.dtype)]
    points = [a for a in call.values if is_float(a.dtype)]
    values = gx.evaluate(outputs, call.feeds)
    if not all(np.isfinite(a).all() for a in values):
        return  # the mean of nothing
    along = [gx.placeholder(f"along{k}", t.shape, t.dtype) for k, t in enumerate(wrt)]
    seeds = [gx.placeholder(f"seed{k}", t.shape, t.dtype) for k, t in enumerate(outputs)]
    v = [rng.uniform(0.5, 1.5, a.shape).astype(a.dtype) for a in points]
    u = [rng.uniform(0.5, 1.5, a.shape).astype(a.dtype) for a in values]
    feeds = {**call.feeds, **dict(zip(along, v, strict=True)), **dict(zip(seeds, u, strict=True))}
    forward, backward = gx.jvp(outputs, wrt, along), gx.grad(outputs, wrt, seeds)
    assert [t.type for t in forward] == [t.type for t in outputs]
    jv, ju = gx.evaluate([forward, backward], feeds)
    single = any(t.dtype == np.float32 for t in (*wrt, *outputs))
    scale = _inner(map(np.abs, ju), v) + 1
    assert abs(_inner(jv, u) - _inner(ju, v)) <= (1e-5 if single else 1e-12) * scale, outputs


def _inner(left: object, right: object) -> float:
    return sum(float((a * b).sum(dtype=np.float64)) for a, b in zip(left, right, strict=True))


# ---------------------------------------------------------------- the graph made
@pytest.mark.parametrize(
    ("fn", "ops"),
    [
        (lambda x, w: gx.exp(x), ["exp", "multiply"]),
        (lambda x, w: x + 1, []),
        (lambda x, w: gx.relu(x).sum(), ["greater", "relu", "sum", "where"]),
        (lambda x, w: x @ w, ["matmul"]),
        (lambda x, w: x[:, 1:3].sum(), ["slice", "sum"]),
        (lambda x, w: gx.concat([x, x * 2], axis=1), ["concat", "multiply"]),
    ],
)
def test_tangents_contain_nothing_of_the_backward_pass(fn: object, ops: list[str]) -> None:
    x, t = (gx.placeholder(n, (3, 4), "float64") for n in "xt")
    w = gx.variable(np.ones((4, 2)), name="w")
    program = gx.compile([x, t], gx.jvp(fn(x, w), x, t))
    before_fusion = program.stages[-2].graph
    found = sorted(n.op.name for n in before_fusion.nodes if n.inputs)
    assert [name for name in found if name != "copy"] == ops
    assert len(program.kernels) <= 1


def test_the_forward_pass_is_shared() -> None:
    x, t = (gx.placeholder(n, ("n", 3), "float64") for n in "xt")
    y = gx.tanh(gx.exp(x))
    moved = gx.jvp(y, x, t)
    assert y.node in topological([moved.node])


def test_new_nodes_carry_the_line_of_the_forward_node() -> None:
    x = gx.variable(2.0, name="x")
    y = gx.exp(x)  # the line that tangents must name
    line = y.node.where
    made = set(topological([gx.jvp(y, x, 1.0).node])) - set(topological([y.node]))
    assert {n.where for n in made if n.inputs} == {line}


def test_long_chains_need_no_recursion_and_stay_linear() -> None:
    x = gx.variable(1.0, name="x")
    w = gx.variable(np.ones((1, 1)), name="w")
    y = gx.reshape(x, (1, 1))
    for _ in range(2_000):
        y = gx.softplus(y @ w) * x
    moved = gx.jvp(y, x, 1.0)
    assert len(topological([moved.node])) < 20 * 2_000


# ---------------------------------------------------------------- structures
def test_structures_and_several_inputs() -> None:
    x, y = gx.variable(3.0, name="x"), gx.variable(2.0, name="y")
    found = gx.jvp({"p": x * y, "q": (x, y * 1)}, [x, y], [1.0, 10.0])
    assert gx.evaluate(found) == {"p": 32.0, "q": (1.0, 10.0)}


def test_a_tensor_given_twice_moves_by_both_tangents() -> None:
    x = gx.variable(3.0, name="x")
    assert gx.evaluate(gx.jvp(x * x, [x, x], [1.0, 2.0])) == 18.0


def test_by_an_intermediate_result_and_what_it_depends_on() -> None:
    """As the transpose of `grad`: a result moves by its own tangent and with its operands."""
    x = gx.variable(3.0, name="x")
    h = x * x
    y = h * h + x
    assert gx.evaluate(gx.jvp(y, h, 1.0)) == 18.0
    assert gx.evaluate(gx.jvp(y, [h, x], [1.0, 0.0])) == 18.0
    assert gx.evaluate(gx.jvp(y, [h, x], [0.0, 1.0])) == 109.0
    assert gx.evaluate(gx.jvp(h, h, 5.0)) == 5.0


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 3)])
def test_what_does_not_move_has_zeros(shape: tuple[int, ...]) -> None:
    x, other = gx.variable(3.0, name="x"), gx.variable(np.ones(shape, "float32"), name="other")
    found = gx.evaluate(gx.jvp(gx.exp(other), x, 1.0))
    assert found.shape == shape and found.dtype == np.float32 and not found.any()


def test_integers_and_cuts_do_not_move() -> None:
    x = gx.variable(np.array([3.0, 1.0]), name="x")
    y = x * gx.argmax(x).astype("float64") + gx.stop_gradient(x) * gx.floor(x)
    np.testing.assert_array_equal(gx.evaluate(gx.jvp(y, x, [1.0, 1.0])), [0.0, 0.0])


def test_where_a_derivative_is_infinite_no_motion_gives_none() -> None:
    x = gx.variable([0.0, 0.0, 4.0], name="x")
    found = gx.evaluate(gx.jvp(gx.sqrt(x), x, [0.0, 1.0, 1.0]))
    np.testing.assert_array_equal(found, [0.0, np.inf, 0.25])


def test_forward_over_reverse_and_forward_over_forward() -> None:
    x = gx.variable(2.0, name="x")
    y = x * x * x * x
    assert gx.evaluate(gx.jvp(gx.grad(y, x), x, 1.0)) == 48.0
    assert gx.evaluate(gx.jvp(gx.jvp(gx.jvp(y, x, 1.0), x, 1.0), x, 1.0)) == 48.0
    assert gx.evaluate(gx.grad(gx.jvp(y, x, 1.0), x)) == 48.0


# ---------------------------------------------------------------- users' ops
def _op(name: str, **fields: object) -> Op:
    rule = fields.pop("lowering", Map(lambda site, index: site.read(0, index)))
    numpy = fields.pop("numpy", lambda *a: a[0] * 1)
    return Op(name, lambda ctx, *types: types[0], numpy, rule, listed=False, **fields)


def test_an_ops_own_tangent_is_used() -> None:
    mine = _op("mine", tangent=lambda tangents, out, x, y: None if tangents[0] is None else tangents[0] * 7)
    x, y = gx.variable(1.0, name="x"), gx.variable(1.0, name="y")
    assert gx.evaluate(gx.jvp(mine(x, y), [x, y], [2.0, 3.0])) == 14.0
    assert gx.evaluate(gx.jvp(mine(x, y), y, 3.0)) == 0.0


def test_a_users_gradient_is_transposed() -> None:
    @gx.custom_gradient
    def doubled(x: gx.Tensor, w: gx.Tensor) -> object:
        return x @ w, lambda g: [2 * g @ w.T, 2 * x.T @ g]

    rng = np.random.default_rng(0)
    x, w = (gx.variable(rng.normal(size=s), name=n) for n, s in (("x", (2, 3)), ("w", (3, 4))))
    dx, dw = rng.normal(size=(2, 3)), rng.normal(size=(3, 4))
    found, plain = gx.evaluate([gx.jvp(doubled(x, w), [x, w], [dx, dw]), gx.jvp(x @ w, [x, w], [dx, dw])])
    np.testing.assert_allclose(found, 2 * plain, rtol=1e-12)


def test_an_op_without_rules_is_differentiated_through_its_expansion() -> None:
    cube = _op("cube", numpy=lambda a: a**3, lowering=Expand(lambda t: t * t * t))
    ninth = _op("ninth", numpy=lambda a: a**9, lowering=Expand(lambda t: cube(cube(t))))
    x = gx.variable(2.0, name="x")
    assert gx.evaluate(gx.jvp(ninth(x), x, 1.0)) == 9 * 2.0**8


def test_a_rule_that_is_not_linear_in_the_cotangent_is_taken_at_one() -> None:
    """Away from exceptions, which depend on the cotangent, a rule has the same transpose anywhere."""
    guarded = _op("guarded", gradient=lambda g, out, x: [gx.where(g == 0, 0.0, 3.0) * g])
    x = gx.variable(2.0, name="x")
    assert gx.evaluate(gx.jvp(guarded(x), x, 5.0)) == 15.0


def test_nodes_with_several_results_are_transposed_too() -> None:
    """A bounded loop: both modes agree, for its last carried value and for its stack."""
    w, x = gx.variable(0.7, name="w"), gx.placeholder("x", (5,), "float64")
    last, stack = gx.scan(lambda c, v: (gx.sin(c * w) + v, c * c), gx.constant(0.3), x)
    u, v = [2.0, np.arange(5.0)], [0.5, np.ones(5)]
    moved, back = gx.jvp([last, stack], [w, x], v), gx.vjp([last, stack], [w, x], u)
    jv, ju = gx.evaluate([moved, back], {x: np.linspace(0, 1, 5)})
    np.testing.assert_allclose(_inner(jv, map(np.asarray, u)), _inner(ju, map(np.asarray, v)), rtol=1e-12)


# ---------------------------------------------------------------- errors
def test_an_op_without_gradient_is_named_with_its_line() -> None:
    x = gx.variable(3.0, name="x")
    y = _op("opaque", lowering=Callback())(x)
    with pytest.raises(GradientError, match="opaque has no gradient") as caught:
        gx.jvp(y * 2, x, 1.0)
    assert caught.value.where == y.node.where
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (lambda: gx.constant([1.0, 2.0]), "does not fit its result"),
        (lambda: gx.constant(1.0, "float32"), "does not fit its result"),
        (lambda: [None, None], "wrong number of parts"),
    ],
)
def test_a_wrong_tangent_of_an_op_is_named(found: object, message: str) -> None:
    x = gx.variable(3.0, name="x")
    y = _op("odd", tangent=lambda tangents, out, x: found())(x)
    with pytest.raises(GradientError, match=f"tangent of odd .*{message}") as caught:
        gx.jvp(y, x, 1.0)
    assert caught.value.where == y.node.where


def test_tangents_must_match() -> None:
    x, n = gx.placeholder("x", (3,), "float64"), gx.variable(np.int64(3), name="n")
    mistakes = [
        (lambda: gx.jvp(x, x, np.ones(4)), "the tangent does not fit 'x'"),
        (lambda: gx.jvp(x, [x], np.ones(3)), "another structure"),
        (lambda: gx.jvp(x, {"a": x}, {"b": np.ones(3)}), "another structure"),
        (lambda: gx.jvp(x, n, 1), "cannot differentiate with respect to 'n'"),
        (lambda: gx.jvp(n, x, np.ones(3)), "cannot differentiate 'n'"),
        (lambda: gx.jvp(3.0, x, np.ones(3)), "the output must be a Tensor"),
        (lambda: gx.jvp(x, [x, 1], np.ones(3)), "what to differentiate by must be a Tensor"),
    ]
    for call, message in mistakes:
        with pytest.raises(GradientError, match=message) as caught:
            call()
        lines = str(caught.value).splitlines()
        assert len(lines) == 3 and "gx.jvp" in lines[2]
