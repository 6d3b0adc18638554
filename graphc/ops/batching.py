"""Rules by which ops apply to many rows at once, for `graphc.vectorize`; what several ops share.

A rule is ``batch(size, batched, node, *inputs)``: `inputs` are the operands of `node`, those
marked in `batched` with a leading axis of `size` rows; it returns the result with that axis.
Most ops need no rule of their own, only a word on how their attributes change (`batch_by`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphc.dims import Dim, Shape

if TYPE_CHECKING:
    from graphc.ir import Node
    from graphc.ops.op import Batch
    from graphc.tensor import Tensor

    Change = Callable[[Dim, Any], Any]


# ----------------------------------------------------------------------- operands
def stacked(x: Tensor, size: Dim) -> Tensor:
    """Return `size` rows that all are `x`."""
    # Deferred, here and below: shapes have rules in turn.
    from graphc.ops.shape import broadcast_to, expand_dims

    return broadcast_to(expand_dims(x, 0), (size, *x.shape))


def all_stacked(size: Dim, batched: tuple[bool, ...], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Return operands that all have rows."""
    return [x if own else stacked(x, size) for own, x in zip(batched, inputs, strict=True)]


def with_rank(x: Tensor, rank: int) -> Tensor:
    """Return rows with axes of size 1 behind the leading one, so that each has `rank` dimensions."""
    from graphc.ops.shape import expand_dims

    return expand_dims(x, tuple(range(1, rank - x.ndim + 2)))


def row_numbers(like: Tensor) -> Tensor:
    """Return, in the shape of rows, for every element the number of its row."""
    from graphc.ops.ranges import arange
    from graphc.ops.shape import broadcast_to, expand_dims

    return broadcast_to(expand_dims(arange(like.shape[0]), tuple(range(1, like.ndim))), like.shape)


# ----------------------------------------------------- rules that many ops share
def aligned(size: Dim, batched: tuple[bool, ...], node: Node, *inputs: Tensor) -> Tensor:
    """Batch an op whose operands broadcast: rows of a lower rank get axes of size 1."""
    rank = max(i.type.ndim for i in node.inputs)
    operands = (with_rank(x, rank) if own else x for own, x in zip(batched, inputs, strict=True))
    return node.op(*operands, **node.attrs)


def batch_by(**changes: Change) -> Batch:
    """Return the rule of an op that is the same op on the rows, some attributes changed.

    Parameters
    ----------
    **changes : callable
        For an attribute, ``change(size, value)``: its value for rows.
    """

    def rule(size: Dim, batched: tuple[bool, ...], node: Node, *inputs: Tensor) -> Tensor:
        attrs = {k: changes[k](size, v) if k in changes else v for k, v in node.attrs.items()}
        return node.op(*all_stacked(size, batched, inputs), **attrs)

    return rule


def merged(size: Dim, batched: tuple[bool, ...], node: Node, *inputs: Tensor) -> Tensor:
    """Batch an op whose operands' first axis is a batch already: the rows join it."""
    flat = [x.reshape((size * x.shape[1], *x.shape[2:])) for x in all_stacked(size, batched, inputs)]
    found = node.op(*flat, **node.attrs)
    return found.reshape((size, node.type.shape[0], *found.shape[1:]))


# --------------------------------------------------------------- changed attributes
def next_axis(size: Dim, axis: int) -> int:
    """Change an axis: one further."""
    return axis + 1


def next_axes(size: Dim, axes: tuple[int, ...]) -> tuple[int, ...]:
    """Change a set of axes: each one further."""
    return tuple(a + 1 for a in axes)


def first_kept(size: Dim, axes: tuple[int, ...]) -> tuple[int, ...]:
    """Change one axis or label for every axis: the first stays, the others follow."""
    return (0, *(a + 1 for a in axes))


def sized(size: Dim, shape: Shape) -> Shape:
    """Change a shape: one more leading axis of `size`."""
    return (size, *shape)


def from_zero(size: Dim, starts: Shape) -> Shape:
    """Change the starts of a window: that of the rows is the first."""
    return (0, *starts)


def by_one(size: Dim, steps: tuple[int, ...]) -> tuple[int, ...]:
    """Change the steps of a window: through the rows one by one."""
    return (1, *steps)
