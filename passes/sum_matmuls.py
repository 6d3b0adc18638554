"""Sums of matrix products become one product."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from graphc import ops
from graphc.costs import Estimate, copied, launched
from graphc.ir import Graph, Node
from graphc.ops.op import REGISTRY
from graphc.pipeline import decline, record
from graphc.rewriting.rebuild import Replacement, replace_nodes
from graphc.rewriting.sums import Sum, added, find_sums, is_private
from graphc.tensor import Tensor

from .join_windows import joining_cost

__all__ = ["SumMatmuls"]

RULE = "sum of matrix products --> product over their inner axes (rounding)"


@dataclass(frozen=True)
class SumMatmuls:
    """Add up matrix products inside one product, over their inner axes side by side.

    ``a @ x + b @ y  -->  concat(a, b) @ concat(x, y)``

    The gradient of a weight that every time step reads is such a sum.  A group is merged
    where kernels and trips of the unfinished sum through memory that are saved outweigh
    the copies that lay the operands side by side.
    """

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with sums of products merged."""
        position = {n: k for k, n in enumerate(graph.nodes)}
        roots = set(graph.roots)
        candidates: list[tuple[Sum, list[Group]]] = []
        for total in find_sums(graph):
            products = [t for t in total.terms if t.op.name == "matmul" and is_private(graph, roots, t)]
            # Sums over the same time steps then join the same values in the same order.
            products.sort(key=lambda p: max(position[i] for i in p.inputs))
            candidates.append((total, _groups(products)))
        sharing = Counter(join for _, groups in candidates for g in groups for join in _joins(g))
        found: dict[Node, Replacement] = {}
        made: dict[Join, Tensor] = {}
        for total, groups in candidates:
            chosen = [group for group in groups if _pays(group, total, sharing)]
            if chosen:
                found[total.root] = _merged(total, chosen, made)
        return replace_nodes(graph, found) if found else graph


Group = Sequence[Node]
# Values to lay side by side, and along which axis: several sums may need the same.
Join = tuple[tuple[Node, ...], int]


def _groups(products: Sequence[Node]) -> list[Group]:
    """Return the products that differ in their inner axes only, two or more at a time."""
    groups: dict[Hashable, list[Node]] = {}
    for node in products:
        key = (node.attrs, *(_outer(node, k) for k in (0, 1)))
        groups.setdefault(key, []).append(node)
    return [g for g in groups.values() if len(g) > 1]


def inner_axis(product: Node, operand: int) -> int:
    """Return which axis of an operand a matrix product sums over."""
    last = product.inputs[operand].type.ndim - 1
    stored_last = product.attrs["transpose_b"] if operand else not product.attrs["transpose_a"]
    return last if stored_last else last - 1


def _outer(product: Node, operand: int) -> Hashable:
    axis, shape = inner_axis(product, operand), product.inputs[operand].type.shape
    return (*shape[:axis], *shape[axis + 1 :])


def _joins(group: Group) -> list[Join]:
    return [(tuple(p.inputs[k] for p in group), inner_axis(group[0], k)) for k in (0, 1)]


def _pays(group: Group, total: Sum, sharing: Mapping[Join, int]) -> bool:
    fewer = len(group) - 1
    costs = [(joining_cost(*join), sharing[join]) for join in _joins(group)]
    estimate = Estimate(
        saved=launched(fewer) + fewer * copied(total.root.type),
        spent=sum((cost + launched(cost > 0)) / count for cost, count in costs),
    )
    note = f"{len(group)} products, {estimate}"
    (record if estimate.pays else decline)(RULE, total.root, note)
    return estimate.pays


def _merged(total: Sum, groups: Sequence[Group], made: dict[Join, Tensor]) -> Replacement:
    merged = dict.fromkeys(p for group in groups for p in group)
    rest = [t for t in total.terms if t not in merged]
    needs = dict.fromkeys([*(i for p in merged for i in p.inputs), *rest])

    def build(images: Sequence[Tensor]) -> Tensor:
        image: Mapping[Node, Tensor] = dict(zip(needs, images, strict=True))
        return added([*(_product(group, image, made) for group in groups), *(image[t] for t in rest)])

    return Replacement(tuple(needs), build)


def _product(group: Group, image: Mapping[Node, Tensor], made: dict[Join, Tensor]) -> Tensor:
    first = group[0]
    operands = [_joined([image[p.inputs[k]] for p in group], inner_axis(first, k), made) for k in (0, 1)]
    result: Tensor = REGISTRY["matmul"](*operands, **first.attrs)
    return result


def _joined(parts: Sequence[Tensor], axis: int, made: dict[Join, Tensor]) -> Tensor:
    key = tuple(t.node for t in parts), axis
    if key not in made:
        made[key] = ops.concat(parts, axis=axis)
    return made[key]
