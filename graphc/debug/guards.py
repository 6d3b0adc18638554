"""What ``gx.compile(..., check=...)`` adds to a program.

``"nan"`` adds one test of all results and new values, a native branch, and on its other side a call into
Python that interprets the graph as it was traced, to find where the first bad value came from.  ``"all"``
adds a call that is given every intermediate value, and compares each with what NumPy makes of its operands.
Both happen before any variable changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from graphc import interpreter
from graphc.control import bodies
from graphc.control.branches import branch_node
from graphc.debug.comparing import first_difference
from graphc.debug.summaries import count_nonfinite, summary
from graphc.effects import START, silence
from graphc.errors import UNKNOWN, NonFiniteError
from graphc.feeds import solve_sizes
from graphc.ir import Graph, Node
from graphc.lower.rules import Alias, Callback, Control, Leaf
from graphc.ops.elementwise import astype
from graphc.ops.fused import items
from graphc.ops.op import Infer, Op, inherit_place
from graphc.ops.public import all, isfinite
from graphc.tensor import Tensor
from graphc.types import INT64, TensorType, TupleType, is_float

__all__ = ["GUARDS", "Check", "compared", "guarded"]

Array = np.ndarray[Any, Any]
Check = Literal["nan", "all"]
GUARDS: Mapping[str, Check] = {"find_nonfinite": "nan", "compare_all": "all"}
"""The ops that close over a graph, and the checks that they make."""


def guarded(graph: Graph, name: str) -> Graph:
    """Return a traced graph that fails, naming the cause, where a result or new value is not finite."""
    roots = [n for n in graph.roots if n not in graph.effects and is_float(n.type.dtype)]
    if not roots:
        return graph

    def explain(token: Array, *feeds: Array) -> Array:
        raise _explained(graph, name, dict(zip(graph.inputs, feeds, strict=True)))

    token = _last(graph)
    operands = (token, *graph.inputs)
    op = Op("find_nonfinite", _token_rule, explain, Callback(), listed=False)
    formals = [tuple(bodies.formal(n.type, n.name or "token", n.where) for n in operands) for _ in range(2)]
    with inherit_place(roots[0].where):
        ok = [all(isfinite(Tensor(n))) for n in dict.fromkeys(roots)]
        together = ok[0]
        for each in ok[1:]:
            together = together & each
        branches = [Graph(formals[0], formals[0][:1])]
        branches.append(Graph(formals[1], (op(*map(Tensor, formals[1])).node,)))
        index = astype(~together, INT64).node
        (after,) = items(branch_node("check", index, operands, branches))
    return replace(graph, effects=(after.node,), nodes=())


def compared(graph: Graph, traced: Graph, name: str) -> Graph:
    """Return an optimized graph that fails where a value differs from the interpreter's."""
    shown = tuple(n for n in graph.nodes if _is_computed(n))

    def compare(token: Array, *values: Array) -> Array:
        feeds = dict(zip(graph.inputs, values, strict=False))
        found = dict(zip(shown, values[len(feeds) :], strict=True))
        with silence():
            error = first_difference(graph, traced, feeds, found, name)
        if error is not None:
            raise error
        return token

    op = Op("compare_all", _token_rule, compare, Callback(), listed=False)
    with inherit_place(shown[-1].where if shown else UNKNOWN):
        after = op(*(Tensor(n) for n in (_last(graph), *graph.inputs, *shown)))
    return replace(graph, effects=(after.node,), nodes=())


def _token_rule(ctx: Infer, token: TensorType, *values: TensorType) -> TensorType:
    return token


def _last(graph: Graph) -> Node:
    """Return the token of what happens so far."""
    return graph.effects[-1] if graph.effects else START


def _is_computed(node: Node) -> bool:
    return not isinstance(node.op.lowering, (Alias, Leaf)) and not isinstance(node.type, TupleType)


# -------------------------------------------------------------- where it came from
def _explained(graph: Graph, name: str, feeds: Mapping[Node, Array]) -> NonFiniteError:
    """Return the error that names the first node on the way to a bad result."""
    with silence():
        sizes = solve_sizes(feeds.items(), graph.checks)
        values = interpreter.run_nodes(graph.nodes, feeds, sizes)
        bad = [n for n in graph.roots if _is_bad(values[n])]
        if not bad:
            return NonFiniteError(
                f"{name}: a result is not finite, but those of the interpreter are",
                expected="the same; compile with check='all' to find the difference",
                given=", ".join(summary(values[n]) for n in graph.roots),
                where=graph.roots[0].where,
            )
        node = _first(graph.nodes, _way(bad, values))
        target = _target(graph, bad[0])
        found = (node, [values[i] for i in node.inputs], values[node])
        if isinstance(node.op.lowering, Control):
            found = _inside(node, found[1], sizes) or found
    return _error(name, target, *found)


def _is_bad(value: Any) -> bool:
    return any(map(_is_bad, value)) if isinstance(value, tuple) else count_nonfinite(value) > 0


def _way(bad: Sequence[Node], values: Mapping[Node, Any]) -> set[Node]:
    """Return the nodes from which bad values reach a bad result, all values between being bad."""
    found: set[Node] = set()
    waiting = list(bad)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [i for i in node.inputs if _is_bad(values[i])]
    return found


def _first(nodes: Iterable[Node], way: set[Node]) -> Node:
    """Return the first node on the way; an infinite constant was meant, and what is made of it was not."""
    order = [n for n in nodes if n in way]
    return next((n for n in order if n.op.name != "constant"), order[0])


def _inside(
    node: Node, operands: list[Array], sizes: Mapping[str, int]
) -> tuple[Node, list[Any], Any] | None:
    """Return the first node in a loop or branch that makes a bad value of good ones, and its values."""
    found: list[tuple[Node, list[Any], Any]] = []

    def look(inner: Node, values: Mapping[Node, Any]) -> None:
        given = [values[i] for i in inner.inputs]
        made = not found and inner.inputs and _is_bad(values[inner]) and not any(map(_is_bad, given))
        if made and not isinstance(inner.op.lowering, Control):
            found.append((inner, given, values[inner]))

    with interpreter.observed(look):
        interpreter.compute(node, operands, sizes)
    return found[0] if found else None


def _target(graph: Graph, node: Node) -> str:
    """Return what the caller knows a bad result as."""
    if node in graph.outputs:
        return f"output {graph.outputs.index(node)}"
    variable = next(v for v, value in graph.updates if value is node)
    return f"the new value of {variable.name!r}"


def _error(name: str, target: str, node: Node, operands: Sequence[Any], value: Any) -> NonFiniteError:
    sources = {"placeholder": f"feed {node.name!r}", "variable": f"variable {node.name!r}, before the call,"}
    source = sources.get(node.op.name)
    if source is not None:
        what, given = f"{name}: {source} is not finite", summary(value)
    else:
        what = f"{name}: {node.op.name} made {summary(value)}"
        given = "; ".join(f"operand {k}: {summary(v)}" for k, v in enumerate(operands)) or "no operands"
    return NonFiniteError(f"{what}, which reaches {target}", expected="finite", given=given, where=node.where)
