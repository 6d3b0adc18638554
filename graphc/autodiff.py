"""Reverse-mode differentiation of graphs, at build time: the gradient is an ordinary graph.

Every op that has a gradient rule contributes it; an op without one that expands into
other ops is differentiated through its expansion.  The method is reverse accumulation
(Griewank and Walther, *Evaluating Derivatives*, chapter 3) over the nodes that lie on a
path from the inputs asked for to the output.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from graphc.dims import Dim
from graphc.errors import GradientError, caller
from graphc.interpreter import flatten
from graphc.ir import Node
from graphc.lower.rules import Expand
from graphc.ops import reshape, zeros_like
from graphc.ops.op import expand, inherit_place
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import TensorType, is_float

__all__ = ["grad"]

# Ops whose purpose is to cut the path; any other op without a gradient is an error.
_CUTS = frozenset({"stop_gradient"})


def grad(output: Tensor, wrt: Any, grad_output: TensorLike | None = None) -> Any:
    """Differentiate `output` with respect to tensors.

    The result is made of ordinary Tensors, so it can be compiled, printed and
    differentiated again.

    Parameters
    ----------
    output : Tensor
        What to differentiate; a floating scalar, unless `grad_output` is given.
    wrt : Tensor, or list, tuple or dict of Tensor
        Floating tensors to differentiate by: placeholders, variables or any intermediate
        result.  One that `output` does not depend on has a gradient of zeros.
    grad_output : array_like, optional
        Cotangent of `output`, of its shape and dtype; the result is the vector-Jacobian
        product with it.

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
    """
    _require_tensor(output, "output")
    targets, rebuild = flatten(wrt)
    for target in targets:
        _require_float(target, "differentiate with respect to")
    seed = _seed(output, grad_output)
    cotangents = _accumulate(output.node, seed, {t.node for t in targets})
    return rebuild([_gradient_of(t, cotangents) for t in targets])


def _gradient_of(target: Tensor, cotangents: dict[Node, Tensor]) -> Tensor:
    found = cotangents.get(target.node)
    if found is not None:
        return found
    with inherit_place(target.node.where):
        zeros: Tensor = zeros_like(target)
    return zeros


# ------------------------------------------------------------------- arguments
def _require_tensor(value: object, what: str) -> None:
    if not isinstance(value, Tensor):
        raise GradientError(
            f"grad: the {what} must be a Tensor",
            expected="a Tensor",
            given=type(value).__name__,
            where=caller(),
        )


def _require_float(tensor: Tensor, purpose: str) -> None:
    if not is_float(tensor.dtype):
        raise GradientError(
            f"grad: cannot {purpose} {_label(tensor.node)}",
            expected="float32 or float64",
            given=str(tensor.type),
            where=caller(),
        )


def _seed(output: Tensor, grad_output: TensorLike | None) -> Tensor:
    _require_float(output, "differentiate")
    if grad_output is None and output.ndim:
        raise GradientError(
            f"grad: the output {_label(output.node)} is not a scalar",
            expected="a scalar (take a sum or mean), or grad_output=...",
            given=str(output.type),
            where=caller(),
        )
    if grad_output is None:
        return as_tensor(1.0, output.dtype)
    seed = as_tensor(grad_output, output.dtype)
    fitted = _fit(seed, output.type)
    if fitted is None:
        raise GradientError(
            "grad: grad_output does not fit the output",
            expected=str(output.type),
            given=str(seed.type),
            where=caller(),
        )
    return fitted


def _label(node: Node) -> str:
    return repr(node.name) if node.name else node.op.name


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


def _record(output: Node, targets: set[Node]) -> _Tape:
    tape = _Tape()
    done: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(output, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            stack.extend(_finish(tape, node, targets))
        elif node not in done:
            done.add(node)
            stack.append((node, True))
            stack.extend((i, False) for i in reversed(node.inputs) if i not in done)
    return tape


def _finish(tape: _Tape, node: Node, targets: set[Node]) -> Iterable[tuple[Node, bool]]:
    """Enter a node whose operands are entered; returns what must be entered before it."""
    floating = is_float(node.type.dtype)
    depends = floating and node.op.name not in _CUTS and _has_active_inputs(tape, node)
    if depends and node not in tape.expansions and _differentiates_expansion(node):
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


def _accumulate(output: Node, seed: Tensor, targets: set[Node]) -> dict[Node, Tensor]:
    """Return the cotangent of every target that `output` depends on."""
    tape = _record(output, targets)
    pending: dict[Node, Tensor] = {output: seed} if output in tape.active else {}
    found: dict[Node, Tensor] = {}
    for node in reversed(tape.order):
        g = pending.pop(node, None)
        if g is None:
            continue
        if node in targets:
            found[node] = g
        with inherit_place(node.where):
            for operand, part in _pull_back(tape, node, g):
                earlier = pending.get(operand)
                pending[operand] = part if earlier is None else earlier + part
    return found


def _pull_back(tape: _Tape, node: Node, g: Tensor) -> list[tuple[Node, Tensor]]:
    """Return the contributions of one node to the cotangents of its active operands."""
    if node.op.name in _CUTS or not _has_active_inputs(tape, node):
        return []
    expansion = tape.expansions.get(node)
    if expansion is not None:
        return [(expansion, _fitted(g, node, expansion.type))] if expansion in tape.active else []
    if node.op.gradient is None:
        raise GradientError(
            f"{node.op.name} has no gradient, but one is needed through it",
            expected="an op with a gradient, or gx.stop_gradient around it",
            given=f"{node.op.name}({', '.join(str(i.type) for i in node.inputs)})",
            where=node.where,
        )
    parts = node.op.gradient(g, Tensor(node), *map(Tensor, node.inputs), **node.attrs)
    if len(parts) != len(node.inputs):
        raise GradientError(
            f"the gradient of {node.op.name} has a wrong number of parts",
            expected=f"one Tensor or None per input ({len(node.inputs)})",
            given=str(len(parts)),
            where=node.where,
        )
    pairs = zip(node.inputs, parts, strict=True)
    return [(i, _fitted(p, node, i.type)) for i, p in pairs if i in tape.active and p is not None]


def _fitted(part: object, node: Node, expected: TensorType) -> Tensor:
    fitted = _fit(part, expected) if isinstance(part, Tensor) else None
    if fitted is None:
        raise GradientError(
            f"the gradient of {node.op.name} does not fit its input",
            expected=str(expected),
            given=str(part.type) if isinstance(part, Tensor) else type(part).__name__,
            where=node.where,
        )
    return fitted


def _fit(part: Tensor, expected: TensorType) -> Tensor | None:
    """Return `part` in exactly the type expected, or None where it cannot be.

    Sizes that the forward pass assumed equal may stand under another name here; a reshape
    renames them and keeps the assumption checked.
    """
    if part.type == expected:
        return part
    may_fit = part.dtype == expected.dtype and part.ndim == expected.ndim
    if not may_fit or not all(map(_may_equal, part.shape, expected.shape)):
        return None
    renamed: Tensor = reshape(part, expected.shape)
    return renamed


def _may_equal(a: Dim, b: Dim) -> bool:
    return a == b or not (isinstance(a, int) and isinstance(b, int))
