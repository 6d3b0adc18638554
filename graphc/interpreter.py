"""The NumPy interpreter: runs any graph node by node.  It is the truth.

Constant folding, the differential tests, `graphc.evaluate` and debugging all use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from graphc.errors import FeedError, GraphcError, GraphError, caller
from graphc.feeds import check_feed, solve_sizes
from graphc.ir import Graph, Node, topological
from graphc.lower.rules import Control, Fused, Leaf
from graphc.nests import Nest, split
from graphc.ops.op import resolve_attrs
from graphc.tensor import Tensor, TensorLike
from graphc.types import TupleType

if TYPE_CHECKING:
    from graphc.debug.watching import Inspection

Array = np.ndarray[Any, Any]


def evaluate(
    outputs: Any,
    feeds: Mapping[Tensor, TensorLike] | None = None,
    *,
    watch: Mapping[Tensor, Callable[[Tensor, Array], object]] | Iterable[Tensor] = (),
    breakpoints: Iterable[Tensor | Callable[[Node, Any], object]] = (),
    on_break: Callable[[Inspection], object] | None = None,
) -> Any:
    """Compute tensors with NumPy, without compiling: for debugging and as the reference.

    Parameters
    ----------
    outputs : Tensor, list, tuple or dict of Tensor
        What to compute; the result has the same structure.
    feeds : mapping of placeholder to array, optional
        Values of the placeholders that `outputs` depend on.  Those of other placeholders are
        checked and otherwise ignored: one dict of feeds serves every tensor of a graph.
    watch : mapping of Tensor to callable, or iterable of Tensor, optional
        ``callback(tensor, value)`` is called as soon as the value is there; values without a
        callback are printed.
    breakpoints : iterable of Tensor or callable, optional
        Where to stop: behind these tensors, or wherever ``predicate(node, value)`` is true, which
        is asked of every node, those in loops and branches included.
    on_break : callable, optional
        Takes a `graphc.debug.Inspection` of the node, its operands and all values so far; by
        default Python's ``breakpoint()`` opens the debugger.

    Returns
    -------
    ndarray, list, tuple or dict of ndarray

    Raises
    ------
    FeedError
        If a feed is missing or does not fit its placeholder.
    ArgumentError
        If something else is watched, or is to be a breakpoint.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> x = gx.placeholder("x", shape=("n",), dtype="float64")
    >>> y = x * 2
    >>> gx.evaluate(y + 1, {x: np.array([1.0, 2.0])})
    array([3., 5.])
    >>> result = gx.evaluate(y + 1, {x: np.ones(2)}, watch={y: lambda tensor, value: print(value)})
    [2. 2.]
    """
    flat, rebuild = flatten(outputs)
    given = {_placeholder(k): v for k, v in (feeds or {}).items()}
    arrays = {node: np.asarray(v) for node, v in given.items()}
    for node, array in arrays.items():
        check_feed(node, array)
    # Deferred: control flow, and what looks at values, are written in terms of the interpreter.
    from graphc.control.sequence import ordered
    from graphc.debug.watching import Watcher

    watcher = Watcher(watch, breakpoints, on_break)
    found, happening = ordered([t.node for t in (*flat, *watcher.tensors)])
    roots, watched = found[: len(flat)], found[len(flat) :]
    order = topological([*found, *happening])
    missing = [n for n in order if n.op.name == "placeholder" and n not in arrays]
    if missing:
        raise FeedError(
            f"placeholder {missing[0].name!r} is not fed",
            expected=f"a value of type {missing[0].type}",
            given=", ".join(str(n.name) for n in arrays) or "no feeds",
            where=missing[0].where,
        )
    checks = tuple(c for n in order for c in n.checks)
    sizes = solve_sizes(arrays.items(), checks)
    with watcher.watching(watched):
        values = run_nodes(order, arrays, sizes)
    return rebuild([values[n] for n in roots])


def _placeholder(key: object) -> Node:
    if isinstance(key, Tensor) and key.node.op.name == "placeholder":
        return key.node
    raise FeedError("evaluate: a feed's key must be a placeholder", given=repr(key), where=caller())


def flatten(structure: Any) -> tuple[list[Tensor], Nest]:
    """Return the Tensors of a nested list, tuple or dict, and the structure, which rebuilds it."""
    values, nest = split(structure)
    for value in values:
        if not isinstance(value, Tensor):
            raise GraphError(
                "outputs must be Tensors",
                expected="a Tensor, or a list, tuple or dict of Tensors",
                given=type(value).__name__,
                where=caller(),
            )
    return values, nest


Observer = Callable[[Node, Mapping[Node, Any]], None]
_observer: ContextVar[Observer | None] = ContextVar("graphc_observer", default=None)


@contextmanager
def observed(observer: Observer | None) -> Iterator[None]:
    """Let a function see every node as soon as it has a value, with all values so far around it."""
    reset = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(reset)


def run_nodes(
    order: Iterable[Node], feeds: Mapping[Node, Array], sizes: Mapping[str, int]
) -> dict[Node, Array]:
    """Compute every node of `order` (operands first); variables are read, never written."""
    values: dict[Node, Array] = dict(feeds)
    observer = _observer.get()
    for node in order:
        if node not in values:
            values[node] = compute(node, [values[i] for i in node.inputs], sizes)
        if observer is not None:
            observer(node, values)
    return values


def compute(node: Node, operands: list[Array], sizes: Mapping[str, int]) -> Array:
    """Return the value of one node, in exactly the type that its rule promised."""
    if isinstance(node.op.lowering, Leaf):
        return leaf_value(node)
    if isinstance(node.op.lowering, Fused):
        fused: Array = _compute_fused(node.payload, operands, sizes)
        return fused
    if isinstance(node.op.lowering, Control):
        results: Any = _compute_control(node, operands, sizes)
        return cast("Array", results)
    if isinstance(node.type, TupleType):
        several: Any = node.op.numpy(*operands, **resolve_attrs(node.attrs, sizes))
        return cast("Array", several)
    with np.errstate(all="ignore"):
        try:
            found = node.op.numpy(*operands, **resolve_attrs(node.attrs, sizes))
        except GraphcError as error:
            if error.where is not None:
                raise
            raise error.at(node.where) from None
    result = np.asarray(found, node.type.dtype)
    expected = node.type.concrete(sizes)
    if result.shape != expected:
        raise GraphError(
            f"{node.op.name}: the NumPy meaning disagrees with the type rule",
            expected=str(expected),
            given=str(result.shape),
            where=node.where,
        )
    return result


def _compute_fused(body: Graph, operands: list[Array], sizes: Mapping[str, int]) -> Any:
    """Return the result of a sub-graph; several travel as a tuple, which only `item` nodes read."""
    values = run_nodes(body.nodes, dict(zip(body.inputs, operands, strict=True)), sizes)
    results = tuple(values[n] for n in body.outputs)
    return results[0] if len(results) == 1 else results


def _compute_control(node: Node, operands: list[Array], sizes: Mapping[str, int]) -> tuple[Array, ...]:
    """Return the results of a loop or branch; the tuple is read by `item` nodes only."""
    return tuple(map(np.asarray, node.op.numpy(*operands, node=node, sizes=sizes)))


def leaf_value(node: Node) -> Array:
    """Return the value of a variable or constant."""
    if node.op.name == "variable":
        with node.payload.lock:
            copied: Array = node.payload.array.copy()
        return copied
    if node.op.name == "constant":
        array: Array = node.payload.array
        return array
    raise FeedError(f"placeholder {node.name!r} is not fed", where=node.where)


def run_graph(graph: Graph, feeds: Mapping[Node, Array]) -> tuple[list[Array], list[Array]]:
    """Interpret a whole graph: returns its outputs and the new values of its updates."""
    sizes = solve_sizes(feeds.items(), graph.checks)
    values = run_nodes(graph.nodes, feeds, sizes)
    return [values[n] for n in graph.outputs], [values[v] for _, v in graph.updates]
