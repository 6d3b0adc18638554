"""Compares every value of a compiled run with what NumPy makes of the same operands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc import interpreter
from graphc.debug.summaries import summary
from graphc.errors import CheckError
from graphc.feeds import solve_sizes
from graphc.ir import Graph, Node
from graphc.types import is_float

__all__ = ["first_difference"]

Array = np.ndarray[Any, Any]

# Of a kernel's result, in units of rounding of the largest value involved: sums may be added in any order.
_UNITS = 1 << 10
# A result may differ by so many times what roundings in other places make of it, in so many trials.
_SHARE, _TRIALS = 64, 2
# Comparisons and roundings of floats may fall to the other side in so many of all elements.
_FLIPPED = 0.01


def first_difference(
    graph: Graph, traced: Graph, feeds: Mapping[Node, Array], found: Mapping[Node, Array], name: str
) -> CheckError | None:
    """Return the error that names the first value that differs, or None.

    Parameters
    ----------
    graph : Graph
        The optimized graph.
    traced : Graph
        The graph before all passes, without composite ops.
    feeds : mapping of Node to ndarray
        Values of the inputs.
    found : mapping of Node to ndarray
        What the kernels computed.
    name : str
        The program's name.
    """
    sizes = solve_sizes(feeds.items(), graph.checks)
    values: dict[Node, Any] = dict(feeds)
    for node in graph.nodes:
        if node in values:
            continue
        operands = [values[i] for i in node.inputs]
        expected = interpreter.compute(node, operands, sizes)
        values[node] = found.get(node, expected)
        # Each kernel by itself, on the operands that it had: differences do not add up.
        given = [values[i] for i in _source(node).inputs]
        if node in found and not _close(found[node], expected, given, _UNITS):
            return _error(f"{name}: {_label(node)} differs from the interpreter", node, found[node], expected)
    return _first_result(graph, traced, feeds, sizes, values, name)


def _first_result(
    graph: Graph,
    traced: Graph,
    feeds: Mapping[Node, Array],
    sizes: Mapping[str, int],
    values: Mapping[Node, Any],
    name: str,
) -> CheckError | None:
    """Return the error that names the first result that passes have changed.

    An optimizer can make any update of a gradient of nothing but rounding errors.  So what is allowed is
    measured: the same graph is interpreted again, with every value rounded at random.
    """
    plain = interpreter.run_nodes(traced.nodes, feeds, sizes)
    trials = [_shaken(traced, feeds, sizes, seed) for seed in range(_TRIALS)]
    for new, old in zip(graph.roots, traced.roots, strict=False):
        result, expected = values[new], plain[old]
        if old in traced.effects or not is_float(old.type.dtype):
            continue
        with np.errstate(all="ignore"):
            spread = np.max([np.abs(t[old] - expected) for t in trials], axis=0)
        if not _close(result, expected, [], _UNITS, _SHARE * _evened(spread)):
            return _error(f"{name}: a result differs from that before all passes", old, result, expected)
    return None


def _evened(spread: Array) -> Array:
    """Return what roundings make of each element, where that is more than by chance little."""
    known = np.nan_to_num(spread, nan=np.inf).astype(np.float64)
    usual = np.sqrt(np.mean(np.square(known))) if known.size else 0.0
    return np.maximum(known, usual)


def _shaken(
    graph: Graph, feeds: Mapping[Node, Array], sizes: Mapping[str, int], seed: int
) -> Mapping[Node, Any]:
    """Return the values of a graph whose every operation errs by one rounding, up or down."""
    rng = np.random.default_rng(seed)
    values: dict[Node, Any] = dict(feeds)
    for node in graph.nodes:
        if node in values:
            continue
        value = interpreter.compute(node, [values[i] for i in node.inputs], sizes)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and node.inputs:
            signs = rng.integers(-1, 2, value.shape).astype(value.dtype)
            with np.errstate(all="ignore"):
                value = value * (1 + signs * np.finfo(value.dtype).eps)
        values[node] = value
    return values


def _source(node: Node) -> Node:
    """Return what computes a value: the kernel, loop or branch that has it among its results."""
    return node.inputs[0] if node.op.name == "item" else node


def _label(node: Node) -> str:
    """Return the op, or those of the kernel."""
    source = _source(node)
    inner = [n.op.name for g in source.subgraphs for n in g.nodes if n.inputs]
    return f"{source.op.name} ({', '.join(dict.fromkeys(inner))})" if inner else source.op.name


def _close(
    found: Array, expected: Any, operands: Sequence[Any], units: int, spread: Array | float = 0.0
) -> bool:
    expected = np.asarray(expected)
    if not is_float(expected.dtype):
        differing = np.count_nonzero(found != expected)
        floats = any(np.asarray(a).dtype.kind == "f" for v in operands for a in _parts(v))
        return bool(differing <= (_FLIPPED * expected.size + 1 if floats else 0))
    finite = np.isfinite(expected)
    with np.errstate(all="ignore"):
        same = np.array_equal(np.isnan(found), np.isnan(expected))
        infinite = np.isinf(expected) | np.isinf(found)
        if not same or not np.array_equal(found[infinite], expected[infinite]):
            return False
        scale = max((_largest(a) for v in (expected, *operands) for a in _parts(v)), default=0.0)
        allowed = np.broadcast_to(
            units * float(np.finfo(expected.dtype).eps) * scale + spread, expected.shape
        )
        return bool(np.all(np.abs(found[finite] - expected[finite]) <= allowed[finite]))


def _parts(value: Any) -> Sequence[Any]:
    return value if isinstance(value, tuple) else (value,)


def _largest(value: Any) -> float:
    """Return the largest finite magnitude."""
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return 0.0
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


def _error(what: str, node: Node, found: Array, expected: Any) -> CheckError:
    wanted = np.asarray(expected)
    with np.errstate(all="ignore"):
        gap = np.where(found == wanted, 0.0, np.abs(found.astype(np.float64) - wanted.astype(np.float64)))
        at = tuple(map(int, np.unravel_index(int(np.argmax(np.nan_to_num(gap, nan=np.inf))), gap.shape)))
    return CheckError(
        what,
        expected=f"{wanted[at]} at {at} of {summary(wanted)}",
        given=f"{found[at]} of {summary(found)}",
        where=node.where,
    )
