"""Reverse-mode differentiation against finite differences and against known derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gx
from graphc.errors import GradientError
from graphc.ir import topological
from graphc.lower.rules import Callback, Expand, Map
from graphc.ops.op import Op
from graphc.tensor import Tensor


def _value(t: Tensor, feeds: dict[Tensor, object] | None = None) -> float:
    return float(gx.evaluate(t, feeds))


def test_chain_rule_and_structures() -> None:
    x, y = gx.variable(3.0, name="x"), gx.variable(2.0, name="y")
    z = x * x * y
    assert _value(gx.grad(z, x)) == 12.0
    as_list = gx.grad(z, [x, y])
    assert isinstance(as_list, list) and _value(as_list[1]) == 9.0
    as_dict = gx.grad(z, {"a": y})
    assert _value(as_dict["a"]) == 9.0
    assert isinstance(gx.grad(z, (x,)), tuple)


def test_gradient_by_an_intermediate_result() -> None:
    x = gx.variable(3.0, name="x")
    h = x * x
    by_h, by_x = gx.grad(h * h + x, [h, x])
    assert _value(by_h) == 18.0
    assert _value(by_x) == 109.0


def test_gradient_by_the_output_itself_is_one() -> None:
    x = gx.variable(3.0, name="x")
    y = x * 2
    assert _value(gx.grad(y, y)) == 1.0


def test_an_operand_used_twice_adds_up() -> None:
    x = gx.variable(3.0, name="x")
    assert _value(gx.grad(x + x, x)) == 2.0


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 3)])
def test_unrelated_tensor_has_zero_gradient(shape: tuple[int, ...]) -> None:
    x, other = gx.variable(3.0, name="x"), gx.variable(np.ones(shape, "float32"), name="other")
    found = gx.evaluate(gx.grad(x * x, other))
    assert found.shape == shape and found.dtype == np.float32 and not found.any()


def test_higher_derivatives() -> None:
    x = gx.variable(2.0, name="x")
    y = x * x * x * x
    for expected in (32.0, 48.0, 48.0, 24.0, 0.0):
        y = gx.grad(y, x)
        assert _value(y) == expected


def test_grad_output_gives_a_vector_jacobian_product() -> None:
    x = gx.placeholder("x", ("n",), "float64")
    v = np.array([1.0, 10.0, 100.0])
    found = gx.grad(x * x, x, grad_output=v)
    np.testing.assert_array_equal(gx.evaluate(found, {x: np.ones(3)}), 2 * v)


def test_gradients_of_several_outputs_are_added() -> None:
    x, y = gx.variable(3.0, name="x"), gx.variable(np.ones(2), name="y")
    p, q = x * x, y * x
    assert _value(gx.grad([p, x * 2], x)) == 8.0
    by_x, by_y = gx.evaluate(
        gx.grad({"p": p, "q": [q, q]}, [x, y], {"q": (q * 0 + 1, [1.0, 2.0]), "p": 10.0})
    )
    assert by_x == 60 + 2 + 3
    np.testing.assert_array_equal(by_y, [6.0, 9.0])


def test_one_output_may_depend_on_another() -> None:
    x = gx.variable(3.0, name="x")
    h = x * x
    assert _value(gx.grad([h, h * h, h], x, [1.0, 10.0, 100.0])) == 101 * 6 + 10 * 4 * 27


def test_cotangents_stand_in_the_structure_of_the_outputs() -> None:
    x = gx.variable(3.0, name="x")
    with pytest.raises(GradientError, match="grad_output has another structure") as caught:
        gx.grad([x, {"a": x}], x, [1.0, {"b": 1.0}])
    assert str(caught.value).splitlines()[1].endswith("expected a dict of 'a', given a dict of 'b'")
    with pytest.raises(GradientError, match="another structure"):
        gx.grad([x, x], x, 1.0)
    with pytest.raises(GradientError, match="output multiply is not a scalar"):
        gx.grad([x, gx.constant([1.0]) * x], x)


def test_new_nodes_carry_the_line_of_the_forward_node() -> None:
    x = gx.variable(2.0, name="x")
    y = x * x  # the line that gradients must name
    line = y.node.where
    made = set(topological([gx.grad(y, x).node])) - set(topological([y.node]))
    assert {n.where for n in made if n.inputs} == {line}


def test_only_paths_between_input_and_output_are_differentiated() -> None:
    x, other = gx.variable(2.0, name="x"), gx.variable(2.0, name="other")
    blocked = _callback(other)
    assert _value(gx.grad(x * blocked, x)) == 2.0


def test_integers_carry_no_gradient() -> None:
    x = gx.variable(np.array([3.0, 1.0]), name="x")
    position = gx.argmax(x).astype("float64")
    np.testing.assert_array_equal(gx.evaluate(gx.grad((x * position).sum(), x)), [0.0, 0.0])


def test_stop_gradient_cuts_the_path() -> None:
    x = gx.variable(3.0, name="x")
    assert _value(gx.grad(x * gx.stop_gradient(x), x)) == 3.0
    assert _value(gx.grad(_callback(gx.stop_gradient(x)) * x, x)) == 3.0


# ---------------------------------------------------------------- own gradients
def _callback(x: Tensor) -> Tensor:
    return Op("opaque", lambda ctx, t: t, lambda a: a, Callback(), listed=False)(x)


def _identity_with_gradient(parts: object) -> Op:
    rule = Map(lambda site, index: site.read(0, index))
    return Op("odd", lambda ctx, t: t, lambda a: a, rule, gradient=lambda g, out, x: parts, listed=False)


def test_an_op_without_gradient_is_named_with_its_line() -> None:
    x = gx.variable(3.0, name="x")
    y = _callback(x)
    with pytest.raises(GradientError, match="opaque has no gradient") as caught:
        gx.grad(y * 2, x)
    assert caught.value.where == y.node.where
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([gx.constant([1.0, 2.0])], "does not fit"),
        ([gx.constant(1.0, "float32")], "does not fit"),
        ([1.0], "does not fit"),
        ([], "wrong number of parts"),
    ],
)
def test_a_wrong_gradient_of_a_users_op_is_named(parts: object, message: str) -> None:
    x = gx.variable(3.0, name="x")
    y = _identity_with_gradient(parts)(x)
    with pytest.raises(GradientError, match=f"gradient of odd .*{message}") as caught:
        gx.grad(y, x)
    assert caught.value.where == y.node.where


def test_an_op_without_gradient_is_differentiated_through_its_expansion() -> None:
    cube = Op("cube", lambda ctx, t: t, lambda a: a**3, Expand(lambda t: t * t * t), listed=False)
    ninth = Op("ninth", lambda ctx, t: t, lambda a: a**9, Expand(lambda t: cube(cube(t))), listed=False)
    x = gx.variable(2.0, name="x")
    y = ninth(x)
    assert _value(y) == 512.0
    assert _value(gx.grad(y, x)) == 9 * 2.0**8
    assert _value(gx.grad(gx.grad(y, x), x)) == 72 * 2.0**7


# ---------------------------------------------------------------------- errors
def test_a_non_scalar_output_needs_a_cotangent() -> None:
    x = gx.placeholder("x", ("n", 2))
    with pytest.raises(GradientError, match="not a scalar") as caught:
        gx.grad(x * 2, x)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3 and "gx.grad(x * 2, x)" in lines[2]


def test_integers_cannot_be_differentiated() -> None:
    n, x = gx.variable(np.int64(3), name="n"), gx.variable(1.0, name="x")
    with pytest.raises(GradientError, match="cannot differentiate with respect to 'n'"):
        gx.grad(x * x, n)
    with pytest.raises(GradientError, match="cannot differentiate multiply"):
        gx.grad(n * n, x)


def test_a_cotangent_of_another_type_is_refused() -> None:
    x = gx.placeholder("x", (3,), "float64")
    with pytest.raises(GradientError, match="grad_output does not fit"):
        gx.grad(x * 2, x, grad_output=np.ones(4))
    with pytest.raises(GradientError, match="output must be a Tensor"):
        gx.grad(3.0, x)


# ------------------------------------------------------------ symbolic and deep
def test_sizes_assumed_equal_get_gradients_under_their_own_name() -> None:
    x, y = gx.placeholder("x", ("n",), "float64"), gx.placeholder("y", ("m",), "float64")
    by_x, by_y = gx.grad((x * y).sum(), [x, y])
    assert (by_x.type, by_y.type) == (x.type, y.type)
    feeds = {x: np.array([1.0, 2.0]), y: np.array([3.0, 4.0])}
    np.testing.assert_array_equal(gx.evaluate(by_y, feeds), [1.0, 2.0])


@pytest.mark.parametrize("n", [0, 1, 4])
def test_broadcasting_at_every_size(n: int) -> None:
    x = gx.placeholder("x", ("n", 3), "float64")
    w, b = gx.variable(np.ones((3,)), name="w"), gx.variable(np.float64(2.0), name="b")
    rng = np.random.default_rng(n)
    gx.check_gradients(((x * w + b) / (x * x + 1)).sum(), [x, w, b], {x: rng.normal(size=(n, 3))})


def test_ten_thousand_nodes_need_no_recursion_and_stay_linear() -> None:
    x = gx.variable(1.0, name="x")
    y: Tensor = x
    for _ in range(10_000):
        y = y * x
    gradient = gx.grad(y, x)
    assert _value(gradient) == 10_001.0
    assert len(topological([gradient.node])) < 6 * 10_000


# ---------------------------------------------------------------- check_gradients
def test_check_gradients_accepts_float32_and_reports_entries() -> None:
    report = gx.check_gradients(
        lambda a, b: gx.exp(a) * b, [np.zeros((2, 3), "float32"), np.ones(3, "float32")]
    )
    assert [i.entries for i in report.inputs] == [6, 3]
    assert "worst" in str(report)


def test_check_gradients_names_the_worst_entry() -> None:
    rule = Map(lambda site, index: site.read(0, index))
    wrong = Op(
        "wrong", lambda ctx, t: t, lambda a: a * a, rule, gradient=lambda g, out, x: [g * x], listed=False
    )
    with pytest.raises(GradientError, match=r"gradient by 'x0' is wrong at index \(1,\)") as caught:
        gx.check_gradients(lambda t: wrong(t), [np.array([0.0, 3.0])])
    assert "6" in str(caught.value) and "3" in str(caught.value)


def test_check_gradients_varies_leaves_only() -> None:
    x = gx.variable(1.0, name="x")
    h = x * 2
    with pytest.raises(GradientError, match="only placeholders and variables"):
        gx.check_gradients(h * h, h)
