"""Constant offsets of reads, moved out of kernels into the pointers that they are given.

Sixty-four slices of one tensor are sixty-four kernels if every kernel holds its own start,
and one kernel if the start is part of the address.  Structurally equal kernels are
compiled once, so a graph unrolled over time compiles as fast as one of its steps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from graphc.dims import Dim
from graphc.ir import Attrs, Node
from graphc.leaves import PLACEHOLDER
from graphc.lower.contraction import ContractionRegion
from graphc.lower.expr import Expr, index_const, load
from graphc.lower.region import Region, walk
from graphc.lower.rewrite import substitute
from graphc.lower.rules import Index
from graphc.types import INT64

Body = TypeVar("Body", Region, ContractionRegion)


@dataclass(frozen=True)
class Origin:
    """Where an operand's index (0, 0, ...) lies: so many elements behind the start of another one."""

    operand: Node
    offset: Dim


def move_origins(body: Body, fixed: Collection[object] = ()) -> tuple[Body, Mapping[Node, Origin]]:
    """Let reads begin at index zero of operands that begin where the first of them did.

    Parameters
    ----------
    body : Region or ContractionRegion
        What a step computes.
    fixed : collection
        Operands that keep their place: those whose memory a result takes over.

    Returns
    -------
    body : Region or ContractionRegion
        The same one if all reads begin at zero.
    origins : mapping of Node to Origin
        For every operand that is new in the body, what it stands for.
    """
    starts = _starts(body, fixed)
    if not starts:
        return body, {}
    moved = {node: Node(PLACEHOLDER, (), Attrs(), node.type, node.name, node.where) for node in starts}
    origins = {moved[node]: Origin(node, _flat(node, start)) for node, start in starts.items()}
    image: dict[Expr, Expr] = {}
    memo: dict[Expr, Expr] = {}
    # Operands come first: an index may itself contain loads that have moved.
    for e in walk(_values(body)):
        if e.kind == "load" and e.data in starts:
            at = tuple(substitute(p, image, memo) for p in e.args)
            image[e] = _moved(at, starts[e.data], moved[e.data])
    return _rebuilt(body, image, memo), origins


def _values(body: Region | ContractionRegion) -> list[Expr]:
    if isinstance(body, Region):
        return body.values
    return [body.lhs, body.rhs, *(s.value for s in body.stores)]


def _starts(body: Region | ContractionRegion, fixed: Collection[object]) -> dict[Node, tuple[int, ...]]:
    """Return the smallest constant part of all indices of each operand, where it is not zero."""
    lowest: dict[Node, tuple[int, ...]] = {}
    values = _values(body)
    guarded = {e.data for e in _behind_guards(values) if e.kind == "load"}
    for e in walk(values):
        if e.kind != "load" or e.data in fixed:
            continue
        # What is read under a condition may not exist at index zero, but does at a constant one.
        loose = e.data not in guarded
        own = tuple(split_constant(p)[1] if loose or p.kind == "const" else 0 for p in e.args)
        lowest[e.data] = tuple(map(min, lowest.get(e.data, own), own))
    return {node: start for node, start in lowest.items() if any(start)}


def _behind_guards(values: Iterable[Expr]) -> list[Expr]:
    return walk(a for e in walk(values) if e.kind == "guard" for a in e.args[1:])


def split_constant(e: Expr) -> tuple[Expr, int]:
    """Return an index without the constants added to it, and their sum."""
    if e.kind == "const":
        return index_const(0), int(e.data)
    if e.kind != "call" or e.data not in ("add", "sub") or e.dtype != INT64:
        return e, 0
    (left, a), (right, b) = map(split_constant, e.args)
    if a == b == 0:
        return e, 0
    return (left + right, a + b) if e.data == "add" else (left - right, a - b)


def _moved(index: Index, start: tuple[int, ...], operand: Node) -> Expr:
    parts = (split_constant(p) for p in index)
    at = tuple(_plus(rest, constant - by) for (rest, constant), by in zip(parts, start, strict=True))
    return load(operand, at, operand.type.dtype)


def _plus(e: Expr, constant: int) -> Expr:
    return e if constant == 0 else e + constant


def _flat(node: Node, start: tuple[int, ...]) -> Dim:
    """Return the row-major position of an index."""
    total: Dim = 0
    for d, at in zip(node.type.shape, start, strict=True):
        total = total * d + at
    return total


def _rebuilt(body: Body, image: Mapping[Expr, Expr], memo: dict[Expr, Expr]) -> Body:
    def new(e: Expr) -> Expr:
        return substitute(e, image, memo)

    changed: dict[str, Any] = {"stores": tuple(replace(s, value=new(s.value)) for s in body.stores)}
    if isinstance(body, Region):
        changed["reductions"] = tuple(replace(r, body=new(r.body)) for r in body.reductions)
        changed["columns"] = tuple(replace(r, body=new(r.body)) for r in body.columns)
    else:
        changed.update(lhs=new(body.lhs), rhs=new(body.rhs))
    return replace(body, **changed)
