"""Formulas that overflow or cancel become the functions made for them.

The rewritten graph is at least as accurate: where the formula as written overflows or
loses its digits, the result changes for the better.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc import ops
from graphc.ir import Graph
from graphc.rewriting import Match, Rule, apply_rules, op, var
from graphc.tensor import Tensor

__all__ = ["Stabilize"]

X, Y = var("x"), var("y")
EXP_X = op("exp", X)


def _log_softmax(match: Match) -> Tensor:
    return match.fit(ops.log_softmax(match["x"], axis=match.node("softmax").attrs["axes"]))


def _logsumexp(match: Match) -> Tensor:
    total = match.node("sum").attrs
    return ops.logsumexp(match["x"], axis=total["axes"], keepdims=total["keepdims"])


def _softmax(match: Match) -> Tensor:
    (axis,) = match.node("sum").attrs["axes"]
    return ops.softmax(match["x"], axis=axis)


def _normalizes_one_axis(match: Match) -> bool:
    total = match.node("sum").attrs
    return bool(total["keepdims"] and len(total["axes"]) == 1)


RULES: tuple[Rule, ...] = (
    # -- logarithms
    Rule("log(softmax(x)) --> log_softmax(x)", op("log", op("softmax", X, bind="softmax")), _log_softmax),
    Rule("log(sigmoid(x)) --> log_sigmoid(x)", op("log", op("sigmoid", X)), op("log_sigmoid", X)),
    Rule(
        "log1p(-sigmoid(x)) --> log_sigmoid(-x)",
        op("log1p", op("negative", op("sigmoid", X))),
        op("log_sigmoid", op("negative", X)),
    ),
    Rule("log(sum(exp(x))) --> logsumexp(x)", op("log", op("sum", EXP_X, bind="sum")), _logsumexp),
    Rule(
        "log(exp(x) + exp(y)) --> logaddexp(x, y)",
        op("log", op("add", EXP_X, op("exp", Y))),
        op("logaddexp", X, Y),
    ),
    Rule("log(1 + exp(x)) --> softplus(x)", op("log", op("add", EXP_X, 1)), op("softplus", X)),
    Rule("log1p(exp(x)) --> softplus(x)", op("log1p", EXP_X), op("softplus", X)),
    Rule("log(exp(x)) --> x", op("log", EXP_X), X),
    Rule("log(1 + x) --> log1p(x)", op("log", op("add", X, 1)), op("log1p", X)),
    Rule("log(1 - x) --> log1p(-x)", op("log", op("subtract", 1, X)), op("log1p", op("negative", X))),
    # -- exponentials
    Rule(
        "exp(log_softmax(x)) --> softmax(x)",
        op("exp", op("log_softmax", X, bind="inner")),
        lambda m: ops.softmax(m["x"], axis=m.node("inner").attrs["axes"]),
    ),
    Rule(
        "exp(x) / sum(exp(x)) --> softmax(x)",
        op("divide", EXP_X, op("sum", EXP_X, bind="sum")),
        _softmax,
        _normalizes_one_axis,
    ),
    Rule("exp(x) - 1 --> expm1(x)", op("add", EXP_X, -1), op("expm1", X)),
    Rule("1 - exp(x) --> -expm1(x)", op("subtract", 1, EXP_X), op("negative", op("expm1", X))),
    # -- logistic function
    Rule(
        "1 / (1 + exp(-x)) --> sigmoid(x)",
        op("divide", 1, op("add", op("exp", op("negative", X)), 1)),
        op("sigmoid", X),
    ),
    Rule(
        "1 / (1 + exp(x)) --> sigmoid(-x)",
        op("divide", 1, op("add", EXP_X, 1)),
        op("sigmoid", op("negative", X)),
    ),
    Rule("exp(x) / (1 + exp(x)) --> sigmoid(x)", op("divide", EXP_X, op("add", EXP_X, 1)), op("sigmoid", X)),
    Rule(
        "1 - sigmoid(x) --> sigmoid(-x)", op("subtract", 1, op("sigmoid", X)), op("sigmoid", op("negative", X))
    ),
    # -- roots
    Rule("sqrt(x * x) --> abs(x)", op("sqrt", op("multiply", X, X)), op("abs", X)),
    Rule("sqrt(square(x)) --> abs(x)", op("sqrt", op("square", X)), op("abs", X)),
    Rule("1 / sqrt(x) --> rsqrt(x)", op("divide", 1, op("sqrt", X)), op("rsqrt", X)),
    Rule("reciprocal(sqrt(x)) --> rsqrt(x)", op("reciprocal", op("sqrt", X)), op("rsqrt", X)),
)


@dataclass(frozen=True)
class Stabilize:
    """Replace formulas by numerically stable functions.

    ``log(1 + exp(x))  -->  softplus(x)``
    """

    rules: tuple[Rule, ...] = RULES

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph in stable form."""
        return apply_rules(graph, self.rules)
