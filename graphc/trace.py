"""From Tensors to a Graph: the snapshot that compiling works on.

Nodes `with_update`, from batch normalization and random draws, become updates of the graph here, so that
state changes only through `Graph.updates`.  Prints and checks are put in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphc.control.bodies import Scope
from graphc.control.sequence import ordered
from graphc.errors import ArgumentError, DTypeError, GraphError, ShapeError, caller
from graphc.feeds import DimCheck
from graphc.history import follow
from graphc.interpreter import flatten
from graphc.ir import Graph, Node, topological
from graphc.leaves import Variable
from graphc.nests import Nest
from graphc.tensor import Tensor, TensorLike, as_tensor

Updates = Mapping[Variable, TensorLike] | Iterable[tuple[Variable, TensorLike]]


def trace(inputs: Sequence[Tensor], outputs: Any, updates: Updates | None = None) -> tuple[Graph, Nest]:
    """Return the graph of `outputs` and `updates`, and the structure of the outputs.

    Raises
    ------
    GraphError
        If an input is no placeholder or stands twice, if a placeholder that is needed is not
        an input, or if a variable is updated twice.
    ShapeError, DTypeError
        If a new value does not have its variable's type.
    """
    fed = _check_inputs(inputs)
    flat, rebuild = flatten(outputs if outputs is not None else [])
    pairs = [_check_update(variable, value) for variable, value in _pairs(updates)]
    graph = _without_effects(fed, [t.node for t in flat], pairs)
    _check_feeds(graph)
    return graph, rebuild


def _pairs(updates: Updates | None) -> list[tuple[Any, Any]]:
    if updates is None:
        return []
    pairs: list[Any] = list(updates.items()) if isinstance(updates, Mapping) else list(updates)
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ArgumentError(
                "compile: bad updates",
                expected="a dict from variable to new value, or pairs of these",
                given=repr(pair),
                where=caller(),
            )
    return pairs


def _check_inputs(inputs: Sequence[Tensor]) -> tuple[Node, ...]:
    fed: dict[str, Node] = {}
    for tensor in inputs:
        if not isinstance(tensor, Tensor) or tensor.node.op.name != "placeholder":
            raise GraphError(
                "compile: every input must be a placeholder",
                expected="gx.placeholder(...)",
                given=repr(tensor),
                where=caller(),
            )
        name = str(tensor.name)
        if name == "out":
            raise GraphError(
                "compile: an input cannot be named 'out'",
                expected="another name: programs take out= for arrays to write results into",
                given=f"{tensor.type} at {tensor.node.where}",
                where=caller(),
            )
        if name in fed:
            raise GraphError(
                f"compile: two inputs are named {name!r}",
                expected="each placeholder once, under a name of its own",
                given=f"{fed[name].type} at {fed[name].where} and {tensor.type} at {tensor.node.where}",
                where=caller(),
            )
        fed[name] = tensor.node
    return tuple(fed.values())


def _check_update(variable: Any, value: Any) -> tuple[Node, Node]:
    if not isinstance(variable, Variable):
        raise ArgumentError(
            "compile: an update's key must be a variable",
            expected="gx.variable(...)",
            given=repr(variable),
            where=caller(),
        )
    new = as_tensor(value, variable.dtype)
    same = {
        "shape": (variable.shape == new.shape, ShapeError),
        "dtype": (variable.dtype == new.dtype, DTypeError),
    }
    for what, (fits, error) in same.items():
        if not fits:
            raise error(
                f"compile: update of variable {variable.name!r} has another {what}",
                expected=str(variable.type),
                given=str(new.type),
                where=new.node.where,
            )
    return variable.node, new.node


def _without_effects(fed: tuple[Node, ...], outputs: list[Node], pairs: list[tuple[Node, Node]]) -> Graph:
    """Put prints and checks in order; replace `with_update` by its value and collect what it updates."""
    roots, happening = ordered([*outputs, *(v for _, v in pairs)])
    variables = [variable for variable, _ in pairs]
    outputs, pairs = roots[: len(outputs)], list(zip(variables, roots[len(outputs) :], strict=True))
    new: dict[Node, Node] = {}
    checks: dict[DimCheck, None] = {}
    effects: list[tuple[Node, Node]] = []
    for node in topological([*roots, *happening]):
        checks.update(dict.fromkeys(node.checks))
        rebuilt = node.with_inputs(tuple(new[i] for i in node.inputs))
        if node.op.name == "with_update":
            value, variable, target = rebuilt.inputs
            effects.append((variable, target))
            follow(node, value)
            rebuilt = value
        new[node] = rebuilt
    updates = [(variable, new[value]) for variable, value in pairs] + effects
    last = tuple(new[n] for n in happening)
    return Graph(fed, tuple(new[o] for o in outputs), _merged(updates), tuple(checks), effects=last)


def _merged(updates: list[tuple[Node, Node]]) -> tuple[tuple[Node, Node], ...]:
    merged: dict[Node, Node] = {}
    for variable, value in updates:
        before = merged.setdefault(variable, value)
        if before is not value:
            raise GraphError(
                f"variable {variable.name!r} is updated twice",
                expected="one new value per variable and program",
                given=f"one at {before.where} and one at {value.where}",
                where=value.where,
            )
    return tuple(merged.items())


def _check_feeds(graph: Graph) -> None:
    for node in graph.nodes:
        if isinstance(node.payload, Scope):
            raise GraphError(
                f"{node.name!r} is a value of the {node.payload.what} at {node.payload.where}",
                expected="values of the program; return it from the loop or branch to use it outside",
                given=f"{node.type} {node.name!r}",
                where=node.where,
            )
        if node.op.name == "placeholder" and node not in graph.inputs:
            raise GraphError(
                f"placeholder {node.name!r} is needed but is not among the inputs",
                expected="every placeholder that outputs and updates depend on",
                given=", ".join(repr(n.name) for n in graph.inputs) or "no inputs",
                where=node.where,
            )
