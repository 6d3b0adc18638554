"""Sums of products over the iterations of a loop become one product."""

from __future__ import annotations

import string
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from graphc import dims
from graphc.control.loop import Loop, items
from graphc.ir import Graph, Node
from graphc.ops import einsum, flip
from graphc.ops import sum as sum_
from graphc.pipeline import record
from graphc.rewriting.loops import replace_controls
from graphc.tensor import Tensor

__all__ = ["HoistLoopSums"]


@dataclass(frozen=True)
class HoistLoopSums:
    """Stack what a loop multiplies and sums up, and do it once outside.

    ``scan(s, (a, b): s + a.T @ b)  -->  s + as.T @ bs, all iterations' rows below each other``

    Gradients of recurrent weights are such sums.  Where memory counts more than time, which is when a
    loop computes its iterations again, nothing is stacked.
    """

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph whose loops sum up no products."""
        return replace_controls(graph, _hoisted)


def _hoisted(node: Node, read: Collection[int]) -> dict[int, Node]:
    if node.op.name != "loop":
        return {}
    loop = Loop.of(node)
    if loop.rounds is None:
        # Iterations that do not take place must add nothing.
        return {}
    if loop.recompute:
        return {}
    users = loop.body.users
    summed = {k: _summand(loop, k, users[c]) for k, c in enumerate(loop.carries)}
    found = {k: part for k, part in summed.items() if part is not None}
    if not found:
        return {}
    record("sums of products in a loop --> one product outside", node)
    return _outside(node, loop, found)


def _summand(loop: Loop, k: int, users: Collection[Node]) -> Node | None:
    """Return what is added to a carried value in every iteration, if it is a sum of products of its own."""
    carry, following = loop.carries[k], loop.following[k]
    alone = list(users) == [following] and loop.body.outputs.count(following) == 1
    if not alone or following.op.name != "add" or carry.type != following.type:
        return None
    left, right = following.inputs
    part = right if left is carry else left
    fits = part is not carry and part.op.name in _TOTALS and part.type == carry.type
    return part if fits and all(i not in loop.formals for i in part.inputs) else None


def _outside(node: Node, loop: Loop, found: dict[int, Node]) -> dict[int, Node]:
    slices = {f: (x, back) for f, x, back in zip(loop.slices, loop.xs, loop.x_flips, strict=True)}
    kept = [k for k in range(len(loop.inits)) if k not in found]
    operands = dict.fromkeys(i for part in found.values() for i in part.inputs)
    # In the direction of the slices, so that both stand side by side.
    backwards = all(loop.x_flips) if loop.x_flips else False
    present = {
        n: k for k, (n, back) in enumerate(zip(loop.ys, loop.y_flips, strict=True)) if back == backwards
    }
    stacked = [n for n in operands if n not in slices and n not in present]
    body = Graph(
        (*loop.formals, loop.iteration, *(loop.carries[k] for k in kept), *loop.slices),
        (*(loop.following[k] for k in kept), *loop.ys, *stacked),
        (),
        loop.body.checks,
    )
    inits = tuple(loop.inits[k] for k in kept)
    flips = (*loop.flip, *(backwards for _ in stacked))
    results = items(replace(loop, body=body, inits=inits, flip=flips).node(node.where, node.name))
    first = len(kept) + len(loop.ys)
    stacks = {n: (results[first + i], backwards) for i, n in enumerate(stacked)}
    stacks |= {n: (results[len(kept) + k], backwards) for n, k in present.items()}
    stacks |= {f: (Tensor(x), back) for f, (x, back) in slices.items()}

    def total(part: Node) -> Tensor:
        given = [stacks[i] for i in part.inputs]
        aligned = [t if back == given[0][1] else flip(t, axis=0) for t, back in given]
        return _TOTALS[part.op.name](part, *aligned)

    new = {k: (Tensor(loop.inits[k]) + total(part)).node for k, part in found.items()}
    new |= {k: results[i].node for i, k in enumerate(kept)}
    carried = len(loop.inits)
    new |= {carried + k: results[len(kept) + k].node for k in range(len(loop.ys))}
    new[carried + len(loop.ys)] = results[-1].node
    return new


# ------------------------------------------------------- sums over all iterations
def _total_of_products(part: Node, a: Tensor, b: Tensor) -> Tensor:
    if part.attrs["transpose_a"] and not part.attrs["transpose_b"] and a.ndim == b.ndim == 3:
        return part.op(_rows_below(a), _rows_below(b), **part.attrs)
    stack = string.ascii_lowercase[: part.type.ndim - 2]
    left = f"T{stack}{'KM' if part.attrs['transpose_a'] else 'MK'}"
    right = f"T{stack}{'NK' if part.attrs['transpose_b'] else 'KN'}"
    return einsum(f"{left},{right}->{stack}MN", a, b)


def _rows_below(t: Tensor) -> Tensor:
    """Return the matrices of a stack one below the other."""
    return t.reshape((dims.product(t.shape[:2]), t.shape[2]))


def _total_of_contractions(part: Node, a: Tensor, b: Tensor) -> Tensor:
    operands, result = part.attrs["spec"].split("->")
    left, right = operands.split(",")
    free = next(c for c in string.ascii_letters if c not in part.attrs["spec"])
    return einsum(f"{free}{left},{free}{right}->{result}", a, b)


def _total_of_sums(part: Node, x: Tensor) -> Tensor:
    axes = tuple(a + 1 for a in part.attrs["axes"])
    if not part.attrs["keepdims"]:
        return sum_(x, axis=(0, *axes))
    return sum_(sum_(x, axis=axes, keepdims=True), axis=0)


_TOTALS: dict[str, Callable[..., Tensor]] = {
    "matmul": _total_of_products,
    "contract": _total_of_contractions,
    "sum": _total_of_sums,
}
