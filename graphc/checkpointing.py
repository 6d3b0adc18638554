"""Checkpoints: values that a gradient computes again instead of keeping them.

A checkpoint marks the results of a function.  Its gradient rule builds the function's nodes
once more, over operands behind a *barrier* that waits for the cotangents; differentiates the
copy; and leaves the first nodes with no reader in the backward pass.  The method is Chen and
others, *Training Deep Nets with Sublinear Memory Cost*, 2016.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.autodiff import pull_back
from graphc.control.sequence import muted
from graphc.control.structure import flatten
from graphc.dims import Dim
from graphc.errors import ArgumentError, caller
from graphc.history import recorded_nodes
from graphc.ir import Node, topological
from graphc.lower.rules import Barrier, Expand, Item, Leaf
from graphc.ops import exp, tanh
from graphc.ops.attributes import at_least
from graphc.ops.batching import stacked
from graphc.ops.fused import items
from graphc.ops.markers import first_type, first_value
from graphc.ops.op import Gradients, Infer, Op, Sample
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import TensorType, TupleType

__all__ = ["barrier", "checkpoint"]

Array = np.ndarray[Any, Any]
Function = Callable[..., Any]


def checkpoint(fn: Function) -> Function:
    """Let gradients compute the inner values of a function again instead of keeping them.

    The forward pass keeps the arguments and results of `fn` alone.  The backward pass, once it
    gets there, computes everything between them a second time: memory for time.

    Parameters
    ----------
    fn : callable
        Function of Tensors, or structures of them, that returns such a structure.  It may use
        Tensors from outside, which are kept, and make variables.

    Returns
    -------
    callable
        The same function.  Calls may be nested.

    Raises
    ------
    ArgumentError
        If `fn` cannot be called.

    Notes
    -----
    Values and gradients do not change, only when they are computed; random draws are the same
    numbers both times.  An inner value that is also used outside is kept all the same.
    Gradients with respect to an inner value do not see the copy, and are zeros.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.variable([0.0, 1.0], name="x")
    >>> block = gx.checkpoint(lambda t: gx.sin(gx.exp(t)))
    >>> gx.evaluate(gx.grad(block(x).sum(), x))
    array([ 0.54030231, -2.47834973])
    """
    if not callable(fn):
        raise ArgumentError(
            "checkpoint: not a function", expected="a callable", given=repr(fn), where=caller()
        )

    @functools.wraps(fn)
    def apply(*args: Any, **kwargs: Any) -> Any:
        with recorded_nodes() as made:
            found = fn(*args, **kwargs)
            values, rebuild = flatten(found)
        sources = _sources([v.node for v in values], made)
        if not values or not sources:
            return found
        marked = _CHECKPOINT(*values, *map(Tensor, sources), results=len(values))
        return rebuild(list(items(marked.node)))

    return apply


def _sources(values: Iterable[Node], made: Collection[Node]) -> list[Node]:
    """Return what the inside stands on: nodes from outside that it reads, and its variables."""
    found: dict[Node, None] = {}
    stack = list(values)
    seen: set[Node] = set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if _is_source(node, made):
            found[node] = None
        else:
            stack.extend(reversed(node.inputs))
    return list(found)


def _is_source(node: Node, made: Collection[Node]) -> bool:
    if node.op.name == "constant":
        return False
    if isinstance(node.op.lowering, Leaf) or node not in made:
        return True
    return isinstance(node.op.lowering, Item) and node.inputs[0] not in made


# ------------------------------------------------------------------- the copy
def _gradient(
    cotangents: Sequence[Tensor | None], out: Tensor, *inputs: Tensor, wanted: Sequence[bool], results: int
) -> Gradients:
    """Build the marked values again behind a barrier, and differentiate those."""
    seeded = [(v.node, g) for v, g in zip(inputs, cotangents, strict=False) if g is not None]
    sources = inputs[results:]
    after = [g for _, g in seeded]
    late = {s.node: barrier(s, *after).node for s in sources}
    again = _again([v for v, _ in seeded], late)
    targets = {late[s.node] for s, used in zip(sources, wanted[results:], strict=True) if used}
    outside = {*(s.node for s in sources), *(g.node for g in after)}
    found = pull_back(zip(again, after, strict=True), targets, outside)
    return [*(None for _ in range(results)), *(found.get(late[s.node]) for s in sources)]


def _again(values: Sequence[Node], late: Mapping[Node, Node]) -> list[Node]:
    """Return `values` over other sources; what they update, print and check is left to the first ones."""
    image = dict(late)
    for node in topological(values, late):
        inputs = tuple(image[i] for i in node.inputs)
        image[node] = inputs[0] if node.op.name == "with_update" else muted(node.with_inputs(inputs))
    return [image[v] for v in values]


def _rule(ctx: Infer, *types: TensorType, results: int) -> TensorType:
    return TupleType.of(types[:results])


def _batch(size: Dim, batched: tuple[bool, ...], node: Node, *inputs: Tensor) -> tuple[Tensor, ...]:
    results = node.attrs["results"]
    values = (v if b else stacked(v, size) for v, b in zip(inputs[:results], batched, strict=False))
    return tuple(items(_CHECKPOINT(*values, *inputs[results:], results=results).node))


def _samples() -> Iterable[Sample]:
    for shape in ((3, 5), (0, 2), (1,), ()):
        x = np.random.default_rng(1).normal(size=shape)
        yield Sample((x,), expected=np.tanh(np.exp(x)), call=checkpoint(lambda t: tanh(exp(t))))


_RESULTS = at_least(1).narrowed("of the operands", lambda value, use: value <= len(use.types))
_CHECKPOINT = Op(
    "checkpoint",
    _rule,
    lambda *arrays, results: arrays[:results],
    Expand(lambda *inputs, results: inputs[:results]),
    attributes={"results": _RESULTS},
    gradient=_gradient,
    # Tangents are computed along with the values: nothing waits.
    tangent=lambda tangents, out, *inputs, results: tangents[:results],
    batch=_batch,
    api=checkpoint,
    samples=_samples,
    dtypes=(),
    cost=0,
)


# ---------------------------------------------------------------- the barrier
def barrier(x: TensorLike, *after: Tensor) -> Tensor:
    """Return `x` as a value that no rewriting knows to be `x`, computed after all of `after`.

    What is computed from it is never merged with what is computed from `x`.  In memory it is `x`.

    Parameters
    ----------
    x : array_like
        Operand.
    *after : Tensor
        What must be computed before.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.checkpointing import barrier
    >>> x = gx.constant([1.0, 2.0])
    >>> gx.evaluate(barrier(x, x * 2))
    array([1., 2.])
    """
    return _BARRIER(as_tensor(x), *after)


def _barrier_batch(size: Dim, batched: tuple[bool, ...], node: Node, *inputs: Tensor) -> Tensor:
    return barrier(*inputs)


def _barrier_samples() -> Iterable[Sample]:
    for shape in ((3, 5), (0, 2), (1,), ()):
        x = np.random.default_rng(1).normal(size=shape)
        yield Sample((x,), expected=2 * x, call=lambda t: t + barrier(t, exp(t)))


_BARRIER = Op(
    "barrier",
    first_type,
    first_value,
    Barrier(),
    gradient=lambda g, out, *inputs: [g, *(None for _ in inputs[1:])],
    tangent=lambda tangents, out, *inputs: tangents[0],
    batch=_barrier_batch,
    api=barrier,
    samples=_barrier_samples,
    cost=0,
)
