"""Branches of which only one runs: `cond` and `switch`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.autodiff import pull_back
from graphc.control import bodies
from graphc.control.bodies import Scope, checks_of
from graphc.control.loop import items
from graphc.control.sequence import follow
from graphc.control.signature import require_function, same_structure
from graphc.control.structure import flatten, leaves
from graphc.dims import Dim
from graphc.directions import fit
from graphc.effects import TOKEN, perform, ticket
from graphc.errors import ArgumentError, ControlFlowError, DTypeError, GraphError, ShapeError, Where, caller
from graphc.history import recorded_nodes
from graphc.ir import Attrs, Graph, Node
from graphc.lower.rules import Control
from graphc.ops import zeros_like
from graphc.ops.attributes import TEXT
from graphc.ops.op import Op, current_place
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import BOOL, INT64, TupleType, is_float, is_integer

__all__ = ["cond", "switch"]

Array = np.ndarray[Any, Any]


def cond(pred: TensorLike, true_fn: Callable[..., Any], false_fn: Callable[..., Any], *operands: Any) -> Any:
    """Run one of two functions, whichever a condition says; the other one does not run.

    Parameters
    ----------
    pred : boolean scalar
        Whether to run `true_fn`.
    true_fn, false_fn : callable
        Functions of the operands that return the same structure of the same types.
    *operands : array_like or structures of these
        Given to the function.  Tensors from outside may also be used freely.

    Returns
    -------
    structure of Tensor
        What the function returned.

    Raises
    ------
    ControlFlowError
        If `pred` is no boolean scalar.
    GraphError, ShapeError, DTypeError
        If the two functions return different structures or types.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=(), dtype="float64")
    >>> y = gx.cond(x > 0, lambda v: v * 2, lambda v: -v, x)
    >>> gx.evaluate(y, {x: -3.0})
    array(3.)
    """
    where = caller()
    condition = as_tensor(pred)
    if condition.dtype != BOOL or condition.ndim:
        raise ControlFlowError(
            "cond: the condition is no boolean scalar",
            expected="bool[]",
            given=f"{condition.type} at {condition.node.where}",
            where=where,
        )
    require_function("cond", "true_fn", true_fn, where)
    require_function("cond", "false_fn", false_fn, where)
    return _branch("cond", condition.astype(INT64), (false_fn, true_fn), operands, where)


def switch(index: TensorLike, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """Run one of several functions; the others do not run.

    Parameters
    ----------
    index : integer scalar
        Which one; values outside of the range count as the nearest one within.
    branches : sequence of callable
        Functions of the operands that return the same structure of the same types.
    *operands : array_like or structures of these
        Given to the function, as by `cond`.

    Returns
    -------
    structure of Tensor
        What the function returned.

    Raises
    ------
    ControlFlowError
        If `index` is no integer scalar.
    ArgumentError
        If there is no branch.
    GraphError, ShapeError, DTypeError
        If two functions return different structures or types.

    Examples
    --------
    >>> import graphc as gx
    >>> k = gx.placeholder("k", shape=(), dtype="int64")
    >>> y = gx.switch(k, [lambda v: v, lambda v: v * v, lambda v: v * v * v], gx.constant(2.0))
    >>> gx.evaluate(y, {k: 2})
    array(8.)
    """
    where = caller()
    number = as_tensor(index)
    if not is_integer(number.dtype) or number.ndim:
        raise ControlFlowError(
            "switch: the index is no integer scalar",
            expected="an integer of shape ()",
            given=f"{number.type} at {number.node.where}",
            where=where,
        )
    functions = list(branches)
    if not functions:
        raise ArgumentError("switch: there is no branch", expected="at least one", given="none", where=where)
    for k, fn in enumerate(functions):
        require_function("switch", f"branch {k}", fn, where)
    return _branch("switch", number.astype(INT64), functions, operands, where)


def _branch(
    what: str, index: Tensor, functions: Sequence[Callable[..., Any]], operands: Sequence[Any], where: Where
) -> Any:
    values, regroup = flatten(tuple(operands))
    scope = Scope(what, where)
    known: dict[Node, Node] = {}
    for k, v in enumerate(values):
        known.setdefault(v.node, bodies.formal(v.type, v.name or f"operand{k}", v.node.where, scope))
    given = regroup([Tensor(known[v.node]) for v in values])
    structures, made, effects = [], [], []
    for fn in functions:
        with recorded_nodes() as nodes:
            structures.append(bodies.call(scope, fn, *given))
        made.append(nodes)
        effects.append(scope.effects)
    for structure in structures[1:]:
        same_structure(scope, "the branches do not agree: they", structures[0], structure)
    columns = zip(*(leaves(s)[0] for s in structures), strict=True)
    with recorded_nodes() as nodes:
        fitted = [_agree(scope, k, column) for k, column in enumerate(columns)]
        rows = [[column[k] for column in fitted] for k in range(len(structures))]
        before = ticket(where)
        if any(effects):
            # A branch without any hands on what happened before.
            known[before] = bodies.formal(TOKEN, "token", where, scope)
            both = [follow(own, before, row) for own, row in zip(effects, rows, strict=True)]
            rows = [[*row, last] for row, last in both]
    body = bodies.enclose_made(rows, [own | nodes for own in made], known, scope)
    bodies.refuse_strangers(body.captures, scope)
    scope.open = False
    rebuild = flatten(structures[0])[1]
    if not rows[0]:
        return rebuild([])
    results = items(branch_node(what, index.node, body.captures, body.graphs, where))
    for token in results[len(fitted) :]:
        perform(what, where, before, token.node)
    return rebuild(list(results[: len(fitted)]))


def _agree(scope: Scope, k: int, column: Sequence[Any]) -> list[Node]:
    """Return one result of every branch, in one type; Python numbers take the dtype of the others."""
    known = [v for v in column if not isinstance(v, (bool, int, float))]
    dtype = as_tensor(known[0]).dtype if known else None
    tensors = [as_tensor(v, dtype) for v in column]
    first = tensors[0]
    fitted = [fit(t, first.type) for t in tensors]
    for number, (tensor, fits) in enumerate(zip(tensors, fitted, strict=True)):
        if fits is None:
            error = DTypeError if tensor.dtype != first.dtype else ShapeError
            raise error(
                f"{scope.what}: the branches return different types as result {k}",
                expected=f"{first.type} at {first.node.where}",
                given=f"{tensor.type} at {tensor.node.where} in branch {number}",
                where=scope.where,
            )
    return [t.node for t in fitted if t is not None]


# ---------------------------------------------------------------------- the op
def branch_node(
    what: str, index: Node, captures: Sequence[Node], graphs: Sequence[Graph], where: Where | None = None
) -> Node:
    """Return a node that runs one of several graphs over the same captures."""
    types = TupleType.of(tuple(n.type for n in graphs[0].outputs))
    place = where or current_place()
    payload = tuple(graphs)
    return Node(
        SWITCH, (index, *captures), Attrs({"what": what}), types, None, place, payload, checks_of(payload)
    )


def _rule(*args: Any, **attrs: Any) -> Any:
    raise GraphError("a branch carries its own type")


def _run(index: Array, *captures: Array, node: Node, sizes: Mapping[str, int]) -> tuple[Array, ...]:
    # Deferred: the interpreter knows of branches.
    from graphc.interpreter import run_nodes

    graphs = node.payload
    body: Graph = graphs[min(max(int(index), 0), len(graphs) - 1)]
    values = run_nodes(body.nodes, dict(zip(body.inputs, captures, strict=True)), sizes)
    return tuple(values[n] for n in body.outputs)


def _gradient(
    cotangents: Sequence[Tensor | None],
    out: Tensor,
    index: Tensor,
    *captures: Tensor,
    wanted: Sequence[bool],
    what: str,
) -> list[Tensor | None]:
    """Differentiate every branch; the one that ran is computed again for what its gradient needs."""
    node = out.node
    targets = [k for k, w in enumerate(wanted[1:]) if w and is_float(captures[k].dtype)]
    seeds = {k: g for k, g in enumerate(cotangents) if g is not None}
    formals = {k: bodies.formal(g.type, f"cotangent{k}", node.where) for k, g in seeds.items()}
    graphs = [_backward(body, formals, targets) for body in node.payload]
    operands = (*(c.node for c in captures), *(seeds[k].node for k in formals))
    found = items(branch_node(what, index.node, operands, graphs))
    parts: list[Tensor | None] = [None] * (1 + len(captures))
    for k, part in zip(targets, found, strict=True):
        parts[1 + k] = part
    return parts


def _backward(body: Graph, formals: Mapping[int, Node], targets: Sequence[int]) -> Graph:
    wrt = [body.inputs[k] for k in targets]
    with bodies.reopened(body):
        found = pull_back([(body.outputs[k], Tensor(f)) for k, f in formals.items()], set(wrt))
        outputs = [found[n] if n in found else zeros_like(Tensor(n)) for n in wrt]
    return Graph((*body.inputs, *formals.values()), tuple(t.node for t in outputs))


def _batch(size: Dim, batched: tuple[bool, ...], node: Node, *inputs: Tensor) -> tuple[Tensor, ...]:
    # Deferred: batching is written in terms of branches.
    from graphc.control.batching import switch_rows

    return switch_rows(size, batched, node, *inputs)


def _tangent(
    tangents: Sequence[Tensor | None], out: Tensor, index: Tensor, *captures: Tensor, what: str
) -> list[Tensor | None]:
    """Return how each result moves: the branch that ran, run again along the direction."""
    node = out.node
    moving = {k: t for k, t in enumerate(tangents[1:]) if t is not None}
    formals = {k: bodies.formal(captures[k].type, "tangent", node.where) for k in moving}
    rows = [_pushed(body, formals) for body in node.payload]
    moved = [k for k in range(len(rows[0])) if any(row[k] is not None for row in rows)]
    if not moved:
        return [None] * len(rows[0])
    graphs = []
    for body, row in zip(node.payload, rows, strict=True):
        pairs = [(row[k], Tensor(body.outputs[k])) for k in moved]
        outputs = tuple((zeros_like(y) if t is None else t).node for t, y in pairs)
        graphs.append(Graph((*body.inputs, *formals.values()), outputs))
    operands = (*(c.node for c in captures), *(t.node for t in moving.values()))
    found = dict(zip(moved, items(branch_node(what, index.node, operands, graphs)), strict=True))
    return [found.get(k) for k in range(len(rows[0]))]


def _pushed(body: Graph, formals: Mapping[int, Node]) -> list[Tensor | None]:
    # Deferred: forward mode is written in terms of ops.
    from graphc.forward_mode import push_forward

    with bodies.reopened(body):
        return push_forward([(body.inputs[k], Tensor(f)) for k, f in formals.items()], body.outputs)


SWITCH = Op(
    "switch",
    _rule,
    _run,
    Control(),
    attributes={"what": TEXT},
    gradient=_gradient,
    batch=_batch,
    tangent=_tangent,
    dtypes=(),
    cost=100,
)
