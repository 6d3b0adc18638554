"""Strides of scalar loads: where an operand walks memory evenly, it needs no packing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from graphc import dims
from graphc.dims import Dim
from graphc.lower.expr import Expr


@dataclass(frozen=True)
class Strided:
    """A load whose offset is linear in loop variables."""

    load: Expr
    strides: dict[Expr, Dim]

    def flat(self, variables: Sequence[Expr], extents: Sequence[Dim]) -> Dim | None:
        """Return the stride of `variables` walked as one flattened axis, None if uneven."""
        pairs = [(v, d) for v, d in zip(variables, extents, strict=True) if v.kind == "index" and d != 1]
        if not pairs:
            return 0
        stride = self.strides.get(pairs[-1][0], 0)
        for (outer, _), (inner, extent) in itertools.pairwise(pairs):
            if self.strides.get(outer, 0) != self.strides.get(inner, 0) * extent:
                return None
        return stride


def strided(e: Expr) -> Strided | None:
    """Return the strides of a plain load, or None if `e` is anything else."""
    if e.kind != "load":
        return None
    shape = e.data.type.shape
    strides: dict[Expr, Dim] = {}
    for axis, position in enumerate(e.args):
        linear = _linear(position)
        if linear is None:
            return None
        step = dims.product(shape[axis + 1 :])
        for variable, factor in linear.items():
            strides[variable] = strides.get(variable, 0) + factor * step
    return Strided(e, strides)


def _linear(e: Expr) -> dict[Expr, Dim] | None:
    """Return the factor of each loop variable in a linear index expression."""
    if e.kind == "index":
        return {e: 1}
    if e.kind in ("const", "size"):
        return {}
    if e.kind != "call" or e.data not in ("add", "sub", "mul"):
        return None
    left, right = (_linear(a) for a in e.args)
    if left is None or right is None:
        return None
    if e.data == "mul":
        return _scaled(e, left, right)
    sign = 1 if e.data == "add" else -1
    merged = dict(left)
    for variable, factor in right.items():
        merged[variable] = merged.get(variable, 0) + factor * sign
    return merged


def _scaled(e: Expr, left: dict[Expr, Dim], right: dict[Expr, Dim]) -> dict[Expr, Dim] | None:
    if left and right:
        return None
    factors, other = (left, e.args[1]) if left else (right, e.args[0])
    if not factors:
        return {}
    if other.kind not in ("const", "size"):
        return None
    scale: Dim = other.data if other.kind == "const" else other.data.dim
    return {v: f * scale for v, f in factors.items()}
