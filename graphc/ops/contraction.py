"""The primitive of all sums of products: the contraction of two operands over named axes.

A label is batch (in both operands and the result), rows (left only), cols (right only) or
inner (in both operands, not in the result).  `contract_pair` reduces any pair of labelled
operands to it: a label that one operand alone has is summed first, a product without inner
labels is an elementwise one, and a result in another order is permuted.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import Any

import numpy as np

from graphc.dims import Dim
from graphc.errors import DTypeError, ShapeError
from graphc.ir import Node
from graphc.lower.expr import Expr
from graphc.lower.rules import Contract, Contraction, Index, Site
from graphc.ops.attributes import Rule, Use
from graphc.ops.elementwise import astype
from graphc.ops.op import Array, ErrorSample, Gradients, Infer, Op, Sample
from graphc.tensor import Tensor, as_tensor
from graphc.types import NUMERIC, TensorType

_LETTERS = string.ascii_lowercase + string.ascii_uppercase

Labels = tuple[int, ...]


# ----------------------------------------------------------------- contraction
def _roles(left: str, right: str, result: str) -> tuple[str, str, str, str]:
    """Return the batch, row, column and inner labels of a contraction, in the result's order."""
    batch = "".join(c for c in result if c in left and c in right)
    rows = "".join(c for c in result if c not in right)
    cols = "".join(c for c in result if c not in left)
    inner = "".join(c for c in left if c not in result)
    return batch, rows, cols, inner


def _split(spec: str) -> tuple[str, str, str]:
    operands, result = spec.split("->")
    left, right = operands.split(",")
    return left, right, result


def _contract_rule(ctx: Infer, a: TensorType, b: TensorType, spec: str) -> TensorType:
    ctx.dtype_in(a.dtype, NUMERIC, "operand 0")
    ctx.dtype_in(b.dtype, NUMERIC, "operand 1")
    if a.dtype != b.dtype:
        ctx.dtype_error("operands differ in dtype", a.dtype, b.dtype)
    left, right, result = _split(spec)
    ctx.rank(a, len(left), "operand 0")
    ctx.rank(b, len(right), "operand 1")
    sizes: dict[str, Dim] = {}
    for label, size in (*zip(left, a.shape, strict=True), *zip(right, b.shape, strict=True)):
        sizes[label] = ctx.same(sizes.get(label, size), size, f"sizes of {label!r} differ in {spec!r}")
    return TensorType(tuple(sizes[c] for c in result), a.dtype)


def _contract_lower(site: Site) -> Contraction:
    left, right, result = _split(site.attrs["spec"])
    batch, rows, cols, inner = _roles(left, right, result)
    shapes = (*site.inputs[0].shape, *site.inputs[1].shape, *site.type.shape)
    sizes = dict(zip(left + right + result, shapes, strict=True))

    def at(labels: str, names: str, index: Index) -> Index:
        place = dict(zip(names, index, strict=True))
        return tuple(place[c] for c in labels)

    def lhs(b: Index, m: Index, k: Index) -> Expr:
        return site.read(0, at(left, batch + rows + inner, (*b, *m, *k)))

    def rhs(b: Index, k: Index, n: Index) -> Expr:
        return site.read(1, at(right, batch + inner + cols, (*b, *k, *n)))

    def extents(labels: str) -> tuple[Dim, ...]:
        return tuple(sizes[c] for c in labels)

    parts = (extents(batch), extents(rows), extents(cols), extents(inner))
    return Contraction(*parts, lhs, rhs, site.type.dtype)


def _contract_numpy(a: Array, b: Array, spec: str) -> Array:
    # optimize=True lets NumPy use its matrix product where the labels allow it.
    result: Array = np.einsum(spec, a, b, optimize=True)
    return result


def _contract_gradient(g: Tensor, out: Tensor, a: Tensor, b: Tensor, spec: str) -> Gradients:
    left, right, result = _split(spec)
    # Each label stands in at least two of the three places, so the adjoints are contractions too.
    da = contract_pair(_numbers(result), g, _numbers(right), b, _numbers(left))
    db = contract_pair(_numbers(left), a, _numbers(result), g, _numbers(right))
    return [da, db]


def _numbers(labels: str) -> Labels:
    return tuple(_LETTERS.index(c) for c in labels)


def contract_pair(left: Labels, a: Tensor, right: Labels, b: Tensor, result: Labels) -> Tensor:
    """Return the sum of products of two operands of one dtype; labels as in `einsum`, none repeated."""
    left, a = sum_labels(left, a, keep={*right, *result})
    right, b = sum_labels(right, b, keep={*left, *result})
    if not set(left) & set(right) - set(result):
        return _multiply(left, a, right, b, result)
    kept = stored_order(left, right, result)
    swapped = stored_order(right, left, result)
    if kept != result and swapped == result:
        left, a, right, b, kept = right, b, left, a, swapped
    names = {label: _LETTERS[i] for i, label in enumerate(dict.fromkeys((*left, *right)))}
    spec = ",".join("".join(names[i] for i in labels) for labels in (left, right))
    product = _CONTRACT(a, b, spec=f"{spec}->{''.join(names[i] for i in kept)}")
    return permute_labels(kept, product, result)


def stored_order(left: Labels, right: Labels, result: Labels) -> Labels:
    """Return the labels of `result` in the order in which a contraction stores them."""
    batch = [i for i in result if i in left and i in right]
    rows = [i for i in result if i not in right]
    return (*batch, *rows, *(i for i in result if i not in left))


def sum_labels(labels: Labels, x: Tensor, keep: set[int]) -> tuple[Labels, Tensor]:
    """Sum `x` over the labels that are not in `keep`; returns the labels that remain, too."""
    axes = tuple(axis for axis, label in enumerate(labels) if label not in keep)
    if not axes:
        return labels, x
    return tuple(i for i in labels if i in keep), astype(x.sum(axis=axes), x.dtype)


def _multiply(left: Labels, a: Tensor, right: Labels, b: Tensor, result: Labels) -> Tensor:
    return _aligned(left, a, result) * _aligned(right, b, result)


def _aligned(labels: Labels, x: Tensor, result: Labels) -> Tensor:
    """Return `x` with its axes in the result's order and size 1 for the labels that it lacks."""
    own = tuple(i for i in result if i in labels)
    ordered = permute_labels(labels, x, own)
    sizes = dict(zip(own, ordered.shape, strict=True))
    return ordered if own == result else ordered.reshape(tuple(sizes.get(i, 1) for i in result))


def permute_labels(labels: Labels, x: Tensor, result: Labels) -> Tensor:
    """Bring the axes of `x` into the order of `result`."""
    return x if labels == result else x.transpose(tuple(labels.index(i) for i in result))


def _contract_batch(size: Dim, batched: tuple[bool, ...], node: Node, a: Tensor, b: Tensor) -> Tensor:
    # A label of their own for the rows: where one operand alone has them, they are rows or columns.
    left, right, result = map(_numbers, _split(node.attrs["spec"]))
    left = (-1, *left) if batched[0] else left
    right = (-1, *right) if batched[1] else right
    return contract_pair(left, a, right, b, (-1, *result))


def _contract_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(5)
    cases = [
        ("ab,bc->ac", (3, 4), (4, 2)),
        ("ba,bc->ac", (3, 4), (3, 2)),
        ("abc,adc->abd", (2, 3, 4), (2, 5, 4)),
        ("abcd,aecd->abe", (2, 3, 1, 4), (2, 5, 1, 4)),
        ("ab,cab->c", (3, 4), (2, 3, 4)),
        ("a,a->", (5,), (5,)),
        ("ab,bc->ac", (3, 0), (0, 2)),
        ("ab,bc->ac", (0, 3), (3, 2)),
    ]
    for spec, left, right in cases:
        a, b = rng.normal(size=left), rng.normal(size=right)
        yield Sample(
            (a, b), expected=np.einsum(spec, a, b), call=lambda x, y, spec=spec: _CONTRACT(x, y, spec=spec)
        )


def _contract_errors() -> Iterable[ErrorSample]:
    yield ErrorSample(lambda: _build((2, 3), (4, 5)), ShapeError, "sizes of 'b' differ")
    yield ErrorSample(lambda: _build((2,), (2, 5)), ShapeError, "wrong rank")
    yield ErrorSample(lambda: _build((2, 3), (3, 4), bool), DTypeError, "unsupported dtype")


def _build(left: tuple[int, ...], right: tuple[int, ...], dtype: type = float) -> Tensor:
    return _CONTRACT(as_tensor(np.ones(left, dtype)), as_tensor(np.ones(right, dtype)), spec="ab,bc->ac")


def _is_spec(value: Any, use: Use) -> bool:
    """Tell whether a text names each label in two of its three places or more, in stored order."""
    if not isinstance(value, str) or value.count(",") != 1 or value.count("->") != 1:
        return False
    left, right, result = (tuple(map(ord, part)) for part in value.replace("->", ",").split(","))
    parts = [set(left), set(right), set(result)]
    plain = set(value) - set(",->") <= set(_LETTERS)
    once = sum(map(len, parts)) == len(left) + len(right) + len(result)
    shared = all(sum(label in part for part in parts) >= 2 for label in set().union(*parts))
    return plain and once and shared and stored_order(left, right, result) == result


_CONTRACT = Op(
    "contract",
    _contract_rule,
    _contract_numpy,
    Contract(_contract_lower),
    attributes={"spec": Rule("labels of two operands and a result, in stored order", _is_spec)},
    gradient=_contract_gradient,
    batch=_contract_batch,
    samples=_contract_samples,
    errors=_contract_errors,
    dtypes=NUMERIC,
    cost=8,
)
