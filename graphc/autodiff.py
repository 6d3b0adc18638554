"""Reverse-mode differentiation of graphs, at build time: the gradient is an ordinary graph.

Every op that has a gradient rule contributes it; an op without one that expands into
other ops is differentiated through its expansion.  The method is reverse accumulation
(Griewank and Walther, *Evaluating Derivatives*, chapter 3) over the nodes that lie on a
path from the inputs asked for to the output.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphc import directions
from graphc.errors import GradientError
from graphc.history import differentiating
from graphc.interpreter import flatten
from graphc.ir import Node
from graphc.lower.rules import Expand, Item
from graphc.ops import zeros_like
from graphc.ops.op import Gradients, expand, inherit_place
from graphc.tensor import Tensor, as_tensor
from graphc.types import TensorType, TupleType, has_float

__all__ = ["grad"]

# Ops whose purpose is to cut the path; any other op without a gradient is an error.
CUTS = frozenset({"stop_gradient"})


def grad(output: Any, wrt: Any, grad_output: Any = None) -> Any:
    """Differentiate with respect to tensors.

    The result is made of ordinary Tensors, so it can be compiled, printed and
    differentiated again.

    Parameters
    ----------
    output : Tensor, or list, tuple or dict of Tensor
        What to differentiate: a floating scalar, unless `grad_output` is given.  The
        gradients of several outputs are added.
    wrt : Tensor, or list, tuple or dict of Tensor
        Floating tensors to differentiate by: placeholders, variables or any intermediate
        result.  One that `output` does not depend on has a gradient of zeros.
    grad_output : array_like, or structure of them, optional
        Cotangent of each output, of its shape and dtype, in the structure of `output`; the
        result is the vector-Jacobian product with it.

    Returns
    -------
    Tensor, list, tuple or dict
        Gradients in the structure of `wrt`, each of the shape and dtype of its tensor.

    Raises
    ------
    GradientError
        If `output` is not a scalar and no `grad_output` is given, if a dtype is not
        floating, or if an op on the way has no gradient.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.variable(3.0, name="x")
    >>> y = x * x
    >>> gx.evaluate(gx.grad(y, x))
    array(6.)
    >>> gx.evaluate(gx.grad(gx.grad(y, x), x))
    array(2.)
    >>> gx.evaluate(gx.grad([y, y * x], x, [1.0, 10.0]))
    array(276.)
    """
    outputs = directions.floating("grad", "the output", output, "differentiate")
    targets = directions.floating("grad", "what to differentiate by", wrt, "differentiate with respect to")
    if grad_output is None:
        seeds = [_one(t) for t in outputs]
    else:
        seeds = directions.matched("grad", "grad_output", output, grad_output)
    seeded = zip([t.node for t in outputs], seeds, strict=True)
    found = pull_back(seeded, {t.node for t in targets})
    rebuild = flatten(wrt)[1]
    return rebuild([found[t.node] if t.node in found else zeros_at(t) for t in targets])


def _one(output: Tensor) -> Tensor:
    directions.scalar("grad", "the output", output, "a scalar (take a sum or mean), or grad_output=...")
    return as_tensor(1.0, output.dtype)


def zeros_at(target: Tensor) -> Tensor:
    """Return zeros of the target's type, with its line."""
    with inherit_place(target.node), differentiating(target.node):
        zeros: Tensor = zeros_like(target)
    return zeros


# ---------------------------------------------------------------- the backward
@dataclass
class _Tape:
    """What the reverse sweep follows.

    Attributes
    ----------
    order : list of Node
        Nodes, operands first.
    active : set of Node
        Floating nodes that depend on a target: these and only these carry cotangents.
    expansions : dict
        For an op without its own gradient, the node it expands into.
    """

    order: list[Node] = field(default_factory=list)
    active: set[Node] = field(default_factory=set)
    expansions: dict[Node, Node] = field(default_factory=dict)


def _record(outputs: Iterable[Node], targets: Collection[Node], frontier: Iterable[Node]) -> _Tape:
    tape = _Tape()
    done: set[Node] = set(frontier)
    stack: list[tuple[Node, bool]] = [(o, False) for o in outputs]
    while stack:
        node, ready = stack.pop()
        if ready:
            stack.extend(_finish(tape, node, targets))
        elif node not in done:
            done.add(node)
            stack.append((node, True))
            stack.extend((i, False) for i in reversed(node.inputs) if i not in done)
    return tape


def _finish(tape: _Tape, node: Node, targets: Collection[Node]) -> Iterable[tuple[Node, bool]]:
    """Enter a node whose operands are entered; returns what must be entered before it."""
    floating = has_float(node.type)
    depends = floating and node.op.name not in CUTS and _has_active_inputs(tape, node)
    if depends and node not in tape.expansions and _differentiates_expansion(node):
        with differentiating(node):
            tape.expansions[node] = expand(node)
        return ((node, True), (tape.expansions[node], False))
    if depends or (floating and node in targets):
        tape.active.add(node)
    tape.order.append(node)
    return ()


def _has_active_inputs(tape: _Tape, node: Node) -> bool:
    return any(i in tape.active for i in node.inputs)


def _differentiates_expansion(node: Node) -> bool:
    return node.op.gradient is None and isinstance(node.op.lowering, Expand)


class _Cotangents:
    """Sums of the contributions to each node's cotangent; one per result where there are several."""

    def __init__(self) -> None:
        self._sums: dict[Node, dict[int, Tensor]] = {}

    def add(self, node: Node, part: Tensor, item: int = 0) -> None:
        """Add a contribution to the cotangent of one result."""
        sums = self._sums.setdefault(node, {})
        sums[item] = part if item not in sums else sums[item] + part

    def take(self, node: Node) -> dict[int, Tensor]:
        """Return the cotangents of a node's results; those that nothing depends on are absent."""
        return self._sums.pop(node, {})


def pull_back(
    seeds: Iterable[tuple[Node, Tensor]], targets: Collection[Node], frontier: Iterable[Node] = ()
) -> dict[Node, Tensor]:
    """Return the cotangent of every target that a seeded node depends on.

    Parameters
    ----------
    seeds : iterable of (Node, Tensor)
        Outputs and their cotangents, of the same type.
    targets : collection of Node
        What to differentiate by.
    frontier : iterable of Node, optional
        Nodes that count as leaves: what lies behind them is not even visited.
    """
    given = list(seeds)
    tape = _record([node for node, _ in given], targets, frontier)
    pending = _Cotangents()
    for node, seed in given:
        if node in tape.active:
            pending.add(node, seed)
    found: dict[Node, Tensor] = {}
    for node in reversed(tape.order):
        parts = pending.take(node)
        if not parts:
            continue
        if node in targets:
            found[node] = parts[0]
        with inherit_place(node), differentiating(node):
            _spread(tape, node, parts, pending)
    return found


def _spread(tape: _Tape, node: Node, parts: dict[int, Tensor], pending: _Cotangents) -> None:
    """Add the contributions of one node to the cotangents of its active operands."""
    if node.op.name in CUTS or not _has_active_inputs(tape, node):
        return
    expansion = tape.expansions.get(node)
    if expansion is not None:
        if expansion in tape.active:
            pending.add(expansion, _fitted(parts[0], node, expansion.type))
        return
    if isinstance(node.op.lowering, Item):
        pending.add(node.inputs[0], parts[0], node.attrs["index"])
        return
    wanted = tuple(i in tape.active for i in node.inputs)
    for operand, part, used in zip(node.inputs, apply_rule(node, parts, wanted), wanted, strict=True):
        if used and part is not None:
            pending.add(operand, _fitted(part, node, operand.type))


def apply_rule(node: Node, parts: Mapping[int, Tensor], wanted: tuple[bool, ...]) -> Gradients:
    """Return what a node's gradient rule makes of its results' cotangents.

    Parameters
    ----------
    node : Node
        Whose rule to apply.
    parts : mapping of int to Tensor
        Cotangents by result; those that nothing depends on are absent.
    wanted : tuple of bool
        Whether the cotangent of each input will be used.

    Returns
    -------
    sequence of Tensor or None
        One per input.
    """
    if node.op.gradient is None:
        raise GradientError(
            f"{node.op.name} has no gradient, but one is needed through it",
            expected="an op with a gradient, or gx.stop_gradient around it",
            given=f"{node.op.name}({', '.join(str(i.type) for i in node.inputs)})",
            where=node.where,
        )
    found = _call_rule(node, parts, wanted)
    if len(found) != len(node.inputs):
        raise GradientError(
            f"the gradient of {node.op.name} has a wrong number of parts",
            expected=f"one Tensor or None per input ({len(node.inputs)})",
            given=str(len(found)),
            where=node.where,
        )
    return found


def _call_rule(node: Node, parts: Mapping[int, Tensor], wanted: tuple[bool, ...]) -> Gradients:
    rule: Any = node.op.gradient
    operands = [Tensor(i) for i in node.inputs]
    if not isinstance(node.type, TupleType):
        found: Gradients = rule(parts[0], Tensor(node), *operands, **node.attrs)
        return found
    cotangents = [parts.get(k) for k in range(len(node.type.items))]
    several: Gradients = rule(cotangents, Tensor(node), *operands, wanted=wanted, **node.attrs)
    return several


def _fitted(part: object, node: Node, expected: TensorType) -> Tensor:
    fitted = directions.fit(part, expected) if isinstance(part, Tensor) else None
    if fitted is None:
        raise GradientError(
            f"the gradient of {node.op.name} does not fit its input",
            expected=str(expected),
            given=str(part.type) if isinstance(part, Tensor) else type(part).__name__,
            where=node.where,
        )
    return fitted
