"""One spelling for graphs that mean the same, so that later rules need fewer patterns."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np

from graphc import ops
from graphc.dims import Shape
from graphc.ir import Graph, Node
from graphc.leaves import constant
from graphc.lower.rules import Alias, Barrier
from graphc.ops.op import Op
from graphc.rewriting import Match, Rule, anything, apply_rules, constant_of, op, var
from graphc.tensor import Tensor
from graphc.types import FLOATS, INT64, DType

__all__ = ["Canonicalize"]

X, Y, C = var("x"), var("y"), constant_of("c")
RESHAPES = ("reshape", "expand_dims", "squeeze")


# ------------------------------------------------------------------- identities
def _is_alias(op: Op) -> bool:
    return isinstance(op.lowering, Alias) and not isinstance(op.lowering, Barrier)


def _is_identity(match: Match) -> bool:
    root = match.root
    return bool(root.inputs) and root.type == root.inputs[0].type


def _keeps_type(match: Match) -> bool:
    return match["x"].type == match.type


# ------------------------------------------------------------------ conversions
def _keeps_every_value(source: DType, target: DType) -> bool:
    """Tell whether a conversion loses nothing (NumPy calls int64 to float64 safe, but it rounds)."""
    return bool(np.can_cast(source, target, "safe")) and not (source == INT64 and target in FLOATS)


def _converts_losslessly(match: Match) -> bool:
    return _keeps_every_value(match["x"].dtype, match["inner"].dtype)


# ------------------------------------------------------------------- transposes
def _moves_only_ones(match: Match) -> bool:
    moved = [a for a in match.root.attrs["axes"] if match["x"].shape[a] != 1]
    return moved == sorted(moved)


def _composed(match: Match) -> Tensor:
    inner, outer = match.node("inner").attrs["axes"], match.root.attrs["axes"]
    return ops.permute_dims(match["x"], tuple(inner[a] for a in outer))


# --------------------------------------------------------------------- reshapes
def _added_ones(small: Shape, large: Shape) -> tuple[int, ...] | None:
    """Return the axes of 1 by which `large` exceeds `small`, or None if it differs otherwise."""
    added: list[int] = []
    at = 0
    for axis, size in enumerate(large):
        if at < len(small) and small[at] == size:
            at += 1
        elif size == 1:
            added.append(axis)
        else:
            return None
    return tuple(added) if at == len(small) else None


def _adds_ones(match: Match) -> bool:
    return bool(_added_ones(match["x"].shape, match.type.shape))


def _drops_ones(match: Match) -> bool:
    return bool(_added_ones(match.type.shape, match["x"].shape))


def _expanded(match: Match) -> Tensor:
    return ops.expand_dims(match["x"], _added_ones(match["x"].shape, match.type.shape) or ())


def _squeezed(match: Match) -> Tensor:
    return ops.squeeze(match["x"], _added_ones(match.type.shape, match["x"].shape) or ())


# -------------------------------------------------------------------- constants
def _is_commutative(op: Op) -> bool:
    return op.commutative


def _puts_constant_first(match: Match) -> bool:
    return not _is_constant(match.node("x"))


def _is_constant(node: Node) -> bool:
    return node.op.name == "constant"


def _swapped(match: Match) -> Tensor:
    return match.root.op(match["x"], match["c"], **match.root.attrs)


def _has_one_value(match: Match) -> bool:
    return match["c"].size == 1


def _add_negative(match: Match) -> Tensor:
    negated = np.negative(match.node("c").payload.array)
    return ops.add(match["x"], constant(negated))


RULES: tuple[Rule, ...] = (
    Rule("identity(x) --> x", anything(of=_is_alias), lambda m: Tensor(m.root.inputs[0]), _is_identity),
    # -- constants
    Rule(
        "c op x --> x op c",
        op(None, C, X, ordered=True, of=_is_commutative),
        _swapped,
        _puts_constant_first,
    ),
    Rule("x - c --> x + (-c)", op("subtract", X, C), _add_negative, _has_one_value),
    # -- conversions
    Rule("astype(x, own dtype) --> x", op("astype", X), X, _keeps_type),
    Rule(
        "astype(astype(x, wider), dtype) --> astype(x, dtype)",
        op("astype", op("astype", X, bind="inner")),
        lambda m: ops.astype(m["x"], m.dtype),
        _converts_losslessly,
    ),
    # -- transposes
    Rule(
        "permute_dims(permute_dims(x)) --> permute_dims(x)",
        op("permute_dims", op("permute_dims", X, bind="inner")),
        _composed,
    ),
    Rule(
        "permute_dims over axes of size 1 --> reshape",
        op("permute_dims", X),
        lambda m: ops.reshape(m["x"], m.type.shape),
        _moves_only_ones,
    ),
    # -- reshapes
    *(
        Rule(
            f"{outer}({inner}(x)) --> reshape(x)",
            op(outer, op(inner, X)),
            lambda m: ops.reshape(m["x"], m.type.shape),
        )
        for outer, inner in product(RESHAPES, RESHAPES)
    ),
    Rule("reshape that adds axes of 1 --> expand_dims", op("reshape", X), _expanded, _adds_ones),
    Rule("reshape that drops axes of 1 --> squeeze", op("reshape", X), _squeezed, _drops_ones),
    # -- broadcasts
    Rule("broadcast_to(x, own shape) --> x", op("broadcast_to", X), X, _keeps_type),
    Rule(
        "broadcast_to(broadcast_to(x)) --> broadcast_to(x)",
        op("broadcast_to", op("broadcast_to", X)),
        lambda m: ops.broadcast_to(m["x"], m.type.shape),
    ),
)


@dataclass(frozen=True)
class Canonicalize:
    """Bring a graph into normal form: identities gone, constants to the right, shapes collapsed.

    ``stop_gradient(2 * (x - 1))  -->  (x + -1) * 2``
    """

    rules: tuple[Rule, ...] = field(default=RULES, repr=False)

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph in normal form."""
        return apply_rules(graph, self.rules)
