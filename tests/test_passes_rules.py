"""Every row of every rule table: that it fires, and that the value stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graphc.passes import FULL, canonicalize, simplify, stabilize

import graphc as gx
from graphc import ops
from graphc.interpreter import run_graph
from graphc.ir import Graph
from graphc.ops.op import REGISTRY
from graphc.pipeline import Pipeline
from graphc.rewriting import Rule, apply_rules
from graphc.tensor import Tensor

Build = Callable[..., Tensor]
FLOATS = (np.array([[0.5, -1.5, 2.0], [3.0, -0.25, 1.0]]), np.array([[1.5, 0.5, -2.0], [0.75, 4.0, 2.0]]))
POSITIVE = tuple(np.abs(a) for a in FLOATS)
SPECIAL = (np.array([0.0, 1.0, np.nan, np.inf, -np.inf]), np.array([np.inf, -2.0, 0.5, np.nan, 1.0]))
INTEGERS = (np.array([[3, -4, 0]]), np.array([[2, 7, -1]]))
MASK = np.array([[True, False, True], [False, False, True]])
STACK = (np.arange(12.0).reshape(2, 2, 3), np.arange(12.0).reshape(2, 2, 3) / 7)
ONES = (np.arange(3.0).reshape(1, 3, 1),)


def _raw(name: str) -> Any:
    """Return the op itself, where the public function would not make the node under test."""
    return REGISTRY[name]


CANONICALIZE: dict[str, tuple[Build, tuple[Any, ...]]] = {
    "identity(x) --> x": (lambda x, y: ops.stop_gradient(x) + y, FLOATS),
    "c op x --> x op c": (lambda x, y: 2.0 * x, SPECIAL),
    "x - c --> x + (-c)": (lambda x, y: x - 3, INTEGERS),
    "astype(x, own dtype) --> x": (lambda x, y: _raw("astype")(x, dtype=x.dtype), FLOATS),
    "astype(astype(x, wider), dtype) --> astype(x, dtype)": (
        lambda x, y: x.astype("float32").astype("float64").astype("int32"),
        (np.array([1, -7, 100], "int16"), np.zeros(3)),
    ),
    "permute_dims(permute_dims(x)) --> permute_dims(x)": (
        lambda x, y: x.transpose(1, 2, 0).transpose(2, 1, 0),
        STACK,
    ),
    "permute_dims over axes of size 1 --> reshape": (lambda x: x.transpose(1, 0, 2), ONES),
    "reshape that adds axes of 1 --> expand_dims": (lambda x, y: x.reshape(2, 1, 3), FLOATS),
    "reshape that drops axes of 1 --> squeeze": (lambda x: x.reshape(3), ONES),
    "broadcast_to(x, own shape) --> x": (lambda x, y: _raw("broadcast_to")(x, shape=x.shape), FLOATS),
    "broadcast_to(broadcast_to(x)) --> broadcast_to(x)": (
        lambda x, y: ops.broadcast_to(ops.broadcast_to(x, (4, 2, 3)), (5, 4, 2, 3)),
        FLOATS,
    ),
    "reshape(reshape(x)) --> reshape(x)": (lambda x, y: x.reshape(6).reshape(3, 2), FLOATS),
    "reshape(expand_dims(x)) --> reshape(x)": (lambda x, y: ops.expand_dims(x, 0).reshape(3, 2), FLOATS),
    "reshape(squeeze(x)) --> reshape(x)": (lambda x: ops.squeeze(x).reshape(3, 1), ONES),
    "expand_dims(reshape(x)) --> reshape(x)": (lambda x, y: ops.expand_dims(x.reshape(6), 0), FLOATS),
    "expand_dims(expand_dims(x)) --> reshape(x)": (
        lambda x, y: ops.expand_dims(ops.expand_dims(x, 0), 2),
        FLOATS,
    ),
    "expand_dims(squeeze(x)) --> reshape(x)": (lambda x: ops.expand_dims(ops.squeeze(x), 0), ONES),
    "squeeze(reshape(x)) --> reshape(x)": (lambda x, y: ops.squeeze(x.reshape(1, 6)), FLOATS),
    "squeeze(expand_dims(x)) --> reshape(x)": (lambda x, y: ops.squeeze(ops.expand_dims(x, 0)), FLOATS),
    "squeeze(squeeze(x)) --> reshape(x)": (lambda x: ops.squeeze(ops.squeeze(x, 0), 1), ONES),
}

SIMPLIFY: dict[str, tuple[Build, tuple[Any, ...]]] = {
    "x + 0 --> x": (lambda x, y: x + 0, SPECIAL),
    "x - 0 --> x": (lambda x, y: x - 0, SPECIAL),
    "0 - x --> -x": (lambda x, y: 0 - x, SPECIAL),
    "x * 1 --> x": (lambda x, y: x * np.ones((5, 1)), SPECIAL),
    "x / 1 --> x": (lambda x, y: x / 1, SPECIAL),
    "x * -1 --> -x": (lambda x, y: x * -1, SPECIAL),
    "x / -1 --> -x": (lambda x, y: x / -1, SPECIAL),
    "x * 0 --> 0 (integers)": (lambda x, y: x * 0, INTEGERS),
    "x - x --> 0 (integers)": (lambda x, y: x - x, INTEGERS),
    "-(-x) --> x": (lambda x, y: ops.negative(-x), SPECIAL),
    "-(x - y) --> y - x": (lambda x, y: -(x - y), SPECIAL),
    "x + (-y) --> x - y": (lambda x, y: -y + x, SPECIAL),
    "x - (-y) --> x + y": (lambda x, y: x - (-y), SPECIAL),
    "(-x) * (-y) --> x * y": (lambda x, y: (-x) * (-y), SPECIAL),
    "(-x) / (-y) --> x / y": (lambda x, y: (-x) / (-y), SPECIAL),
    "(-x) * c --> x * (-c)": (lambda x, y: -x * 2.5, SPECIAL),
    "abs(abs(x)) --> abs(x)": (lambda x, y: ops.abs(ops.abs(x)), SPECIAL),
    "abs(-x) --> abs(x)": (lambda x, y: ops.abs(-x), SPECIAL),
    "(x + c) + d --> x + (c + d) (rounding)": (lambda x, y: x + 0.1 + 0.2, SPECIAL),
    "(x * c) * d --> x * (c * d) (rounding)": (lambda x, y: x * 1.1 * 1.7, SPECIAL),
    "x / 2**k --> x * 2**-k": (lambda x, y: x / 8, SPECIAL),
    "x ** 0 --> 1": (lambda x, y: x**0, SPECIAL),
    "x ** 1 --> x": (lambda x, y: x**1, SPECIAL),
    "x ** (2, 3, 4) --> products (rounding)": (lambda x, y: x**2 + x**3 + x**4, SPECIAL),
    "x ** -1 --> 1 / x": (lambda x, y: x**-1, SPECIAL),
    "x ** 0.5 --> sqrt(x), x >= 0": (lambda x, y: (x * x + 1) ** 0.5, SPECIAL),
    "x ** -0.5 --> rsqrt(x), x >= 0 (rounding)": (lambda x, y: ops.abs(x) ** -0.5, SPECIAL),
    "exp(log(x)) --> x, x >= 0 (rounding)": (lambda x, y: ops.exp(ops.log(ops.square(x))), SPECIAL),
    "where(true, x, y) --> x": (lambda x, y: ops.where(True, x, y), SPECIAL),
    "where(false, x, y) --> y": (lambda x, y: ops.where(False, x, y), SPECIAL),
    "where(c, x, x) --> x": (lambda x, y: ops.where(x > y, x, x), SPECIAL),
    "where(not c, x, y) --> where(c, y, x)": (lambda x, y: ops.where(ops.logical_not(x > y), x, y), SPECIAL),
    "not (not x) --> x": (lambda x: ops.logical_not(ops.logical_not(x)), (MASK,)),
    "maximum(x, x) --> x": (lambda x, y: ops.maximum(x, x), SPECIAL),
    "minimum(x, x) --> x": (lambda x, y: ops.minimum(x, x), SPECIAL),
    "matmul of a transposed operand --> transpose_a": (lambda x, y: x.mT @ y, FLOATS),
    "matmul of a transposed operand --> transpose_b": (lambda x, y: x @ y.mT, FLOATS),
}
for _name in ("bitwise_and", "bitwise_or", "logical_and", "logical_or"):
    _keeps, _gives = ("true", "false") if _name.endswith("and") else ("false", "true")
    SIMPLIFY |= {
        f"{_name}(x, {_keeps}) --> x": (
            lambda x, f=_name, v=_keeps: getattr(ops, f)(x, v == "true"),
            (MASK,),
        ),
        f"{_name}(x, {_gives}) --> {_gives}": (
            lambda x, f=_name, v=_gives: getattr(ops, f)(x, v == "true"),
            (MASK,),
        ),
    }
for _name in simplify.POINTWISE:
    _operands = 1 if _name in ("abs", "exp", "log", "negative", "sqrt", "square") else 2
    SIMPLIFY[f"{_name} of repeated constants --> repeated constant"] = (
        lambda x, y, f=_name, k=_operands: x + getattr(ops, f)(*(ops.full(x.shape, 2.0, "float64"), 3.0)[:k]),
        FLOATS,
    )
for _name in simplify.REDUCTIONS:
    _reduce = getattr(ops, _name)
    SIMPLIFY |= {
        f"{_name}({_name}(x)) --> {_name}(x) (rounding)": (
            lambda x, y, r=_reduce: r(r(x, axis=1), axis=0),
            (MASK[:, None], MASK) if _name in ("any", "all") else STACK,
        ),
        f"{_name} over axes of size 1 --> reshape": (
            lambda x, r=_reduce: r(x, axis=0),
            (MASK[None],) if _name in ("any", "all") else ONES,
        ),
        f"squeeze({_name}(x, keepdims)) --> {_name}(x)": (
            lambda x, y, r=_reduce: ops.squeeze(r(x, axis=1, keepdims=True), 1),
            STACK,
        ),
        f"reshape({_name}(x, keepdims)) --> {_name}(x)": (
            lambda x, y, r=_reduce: r(x, axis=1, keepdims=True).reshape(2, 3),
            STACK,
        ),
    }
for _name in simplify.STRETCHING:
    _apply = getattr(ops, _name)
    SIMPLIFY |= {
        f"{_name}(broadcast_to(x), y) --> {_name}(x, y)": (
            lambda x, y, f=_apply: f(ops.broadcast_to(x[0], y.shape), y),
            FLOATS,
        ),
        f"{_name}(y, broadcast_to(x)) --> {_name}(y, x)": (
            lambda x, y, f=_apply: f(y, ops.broadcast_to(x[0], y.shape)),
            FLOATS,
        ),
    }

STABILIZE: dict[str, tuple[Build, tuple[Any, ...]]] = {
    "log(softmax(x)) --> log_softmax(x)": (lambda x, y: ops.log(ops.softmax(x, axis=1)), FLOATS),
    "log(sigmoid(x)) --> log_sigmoid(x)": (lambda x, y: ops.log(ops.sigmoid(x)), FLOATS),
    "log1p(-sigmoid(x)) --> log_sigmoid(-x)": (lambda x, y: ops.log1p(-ops.sigmoid(x)), FLOATS),
    "log(sum(exp(x))) --> logsumexp(x)": (
        lambda x, y: ops.log(ops.exp(x).sum(axis=1, keepdims=True)),
        FLOATS,
    ),
    "log(exp(x) + exp(y)) --> logaddexp(x, y)": (lambda x, y: ops.log(ops.exp(x) + ops.exp(y)), FLOATS),
    "log(1 + exp(x)) --> softplus(x)": (lambda x, y: ops.log(ops.exp(x) + 1), FLOATS),
    "log1p(exp(x)) --> softplus(x)": (lambda x, y: ops.log1p(ops.exp(x)), FLOATS),
    "log(exp(x)) --> x": (lambda x, y: ops.log(ops.exp(x)), FLOATS),
    "log(1 + x) --> log1p(x)": (lambda x, y: ops.log(1 + x), POSITIVE),
    "log(1 - x) --> log1p(-x)": (lambda x, y: ops.log(1 - x), (-POSITIVE[0], POSITIVE[1])),
    "exp(log_softmax(x)) --> softmax(x)": (lambda x, y: ops.exp(ops.log_softmax(x, axis=0)), FLOATS),
    "exp(x) / sum(exp(x)) --> softmax(x)": (
        lambda x, y: ops.exp(x) / ops.exp(x).sum(axis=1, keepdims=True),
        FLOATS,
    ),
    "exp(x) - 1 --> expm1(x)": (lambda x, y: ops.exp(x) + -1, FLOATS),
    "1 - exp(x) --> -expm1(x)": (lambda x, y: 1 - ops.exp(x), FLOATS),
    "1 / (1 + exp(-x)) --> sigmoid(x)": (lambda x, y: 1 / (1 + ops.exp(-x)), FLOATS),
    "1 / (1 + exp(x)) --> sigmoid(-x)": (lambda x, y: 1 / (1 + ops.exp(x)), FLOATS),
    "exp(x) / (1 + exp(x)) --> sigmoid(x)": (lambda x, y: ops.exp(x) / (ops.exp(x) + 1), FLOATS),
    "1 - sigmoid(x) --> sigmoid(-x)": (lambda x, y: 1 - ops.sigmoid(x), FLOATS),
    "exp(x) * sigmoid(-x) --> sigmoid(x)": (lambda x, y: ops.sigmoid(-x) * ops.exp(x), FLOATS),
    "exp(-x) * sigmoid(x) --> sigmoid(-x)": (lambda x, y: ops.exp(-x) * ops.sigmoid(x), FLOATS),
    "sqrt(x * x) --> abs(x)": (lambda x, y: ops.sqrt(x * x), FLOATS),
    "sqrt(square(x)) --> abs(x)": (lambda x, y: ops.sqrt(ops.square(x)), FLOATS),
    "1 / sqrt(x) --> rsqrt(x)": (lambda x, y: 1 / ops.sqrt(x), POSITIVE),
    "reciprocal(sqrt(x)) --> rsqrt(x)": (lambda x, y: ops.reciprocal(ops.sqrt(x)), POSITIVE),
}

TABLES = {
    "canonicalize": (canonicalize, CANONICALIZE),
    "simplify": (simplify, SIMPLIFY),
    "stabilize": (stabilize, STABILIZE),
}
ROWS = [
    pytest.param(rules, rule, examples, id=f"{table}: {rule.name}")
    for table, (module, examples) in TABLES.items()
    for rules in (module.RULES,)
    for rule in rules
]


def _graph(build: Build, arrays: tuple[Any, ...]) -> tuple[Graph, dict[Any, Any]]:
    inputs = [gx.placeholder(n, a.shape, a.dtype) for n, a in zip("xy", arrays, strict=False)]
    feeds = {t.node: a for t, a in zip(inputs, arrays, strict=True)}
    return Graph(tuple(feeds), (build(*inputs).node,)), feeds


@pytest.mark.parametrize(("rules", "rule", "examples"), ROWS)
def test_rule_fires_and_keeps_the_value(
    rules: tuple[Rule, ...], rule: Rule, examples: dict[str, Any]
) -> None:
    build, arrays = examples[rule.name]
    graph, feeds = _graph(build, arrays)
    stages = Pipeline([lambda g: apply_rules(g, (rule,))]).run(graph)
    assert stages[-1].counts().get(rule.name), f"{rule.name} did not fire on\n{graph}"
    ((wanted,), _), ((got,), _) = run_graph(graph, feeds), run_graph(stages[-1].graph, feeds)
    exact = "(rounding)" not in rule.name and rules is not stabilize.RULES
    np.testing.assert_allclose(got, wanted, rtol=0.0 if exact else 1e-14, atol=0.0 if exact else 1e-15)


@pytest.mark.parametrize("table", TABLES)
def test_examples_name_existing_rules_once(table: str) -> None:
    module, examples = TABLES[table]
    names = [r.name for r in module.RULES]
    assert set(examples) == set(names) and len(set(names)) == len(names)


# ------------------------------------------------------- what must not be rewritten
UNTOUCHED: dict[str, tuple[Build, tuple[Any, ...]]] = {
    "0 * x of floats": (lambda x, y: x * 0, SPECIAL),
    "x - x of floats": (lambda x, y: x - x, SPECIAL),
    "x / x": (lambda x, y: x / x, SPECIAL),
    "constants that cancel": (lambda x, y: x + 1e16 + -1e16, FLOATS),
    "constants that overflow between": (lambda x, y: x * 1e200 * 1e-200, FLOATS),
    "division by 3": (lambda x, y: x / 3, FLOATS),
    "division by 0": (lambda x, y: x / 0, FLOATS),
    "x ** 0.5 of anything": (lambda x, y: x**0.5, SPECIAL),
    "exp(log(x)) of anything": (lambda x, y: ops.exp(ops.log(x)), SPECIAL),
    "x ** 2.5": (lambda x, y: x**2.5, SPECIAL),
    "a mask that is not constant": (lambda x, y: ops.where(x > y, x, y), SPECIAL),
    "an outer product by broadcasting": (
        lambda x, y: ops.broadcast_to(x, (5, 5)) + y,
        (SPECIAL[0], SPECIAL[1]),
    ),
    "a product with a transposed stack": (lambda x, y: x.transpose(1, 0, 2) @ y.reshape(2, 3, 2), STACK),
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_simplify_returns_the_same_object(name: str) -> None:
    graph, _ = _graph(*UNTOUCHED[name])
    assert simplify.Simplify()(graph) is graph


@pytest.mark.parametrize(
    "build",
    [
        lambda x: x.astype("float32").astype("int64"),
        lambda x: x.astype("int32").astype("float64"),
    ],
    ids=["rounds", "truncates"],
)
def test_lossy_conversions_stay(build: Build) -> None:
    graph, _ = _graph(build, (np.array([1.5, 2.25e9]),))
    assert canonicalize.Canonicalize()(graph) is graph


def test_wide_integers_do_not_survive_float64() -> None:
    graph, _ = _graph(lambda x: x.astype("float64").astype("int64"), (np.array([2**62 + 1]),))
    assert canonicalize.Canonicalize()(graph) is graph


@pytest.mark.parametrize("build", [lambda x, y: ops.log(x + y), lambda x, y: ops.exp(x) / (ops.exp(y) + 1)])
def test_stabilize_returns_the_same_object(build: Build) -> None:
    graph, _ = _graph(build, FLOATS)
    assert stabilize.Stabilize()(graph) is graph


@pytest.mark.parametrize(
    ("build", "wanted"),
    [
        (lambda x: ops.log(1 + ops.exp(x)), 1000.0),
        (lambda x: ops.log(ops.sigmoid(x)), 0.0),
        (lambda x: ops.exp(x) / (1 + ops.exp(x)), 1.0),
        (lambda x: ops.log(ops.exp(x).sum()), 1000.0),
        (lambda x: gx.grad(ops.log(1 + ops.exp(x)).sum(), x), 1.0),
    ],
)
def test_stable_forms_survive_large_values(build: Build, wanted: float) -> None:
    graph, feeds = _graph(build, (np.array([1000.0]),))
    stages = Pipeline(FULL).run(graph)
    ((found,), _) = run_graph(stages[-1].graph, feeds)
    np.testing.assert_allclose(found.ravel(), [wanted])
