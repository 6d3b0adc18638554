"""Forward-mode differentiation of graphs, at build time: tangents are ordinary Tensors.

There is no second table of rules.  The gradient rule of an op is linear in the cotangent;
its transpose, which reverse mode gives, is the tangent (Radul and others, *You Only
Linearize Once*, run backwards).  Ops may know better: elementwise ones, whose Jacobians
are diagonal, and loops carry a rule of their own in `Op.tangent`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphc import directions
from graphc.autodiff import CUTS, apply_rule, pull_back, zeros_at
from graphc.errors import GradientError
from graphc.history import differentiating
from graphc.interpreter import flatten
from graphc.ir import Node, topological
from graphc.leaves import placeholder
from graphc.lower.rules import Expand, Item
from graphc.ops import ones_like
from graphc.ops.op import expand, inherit_place
from graphc.tensor import Tensor
from graphc.types import TensorType, TupleType, has_float, is_float

__all__ = ["jvp", "push_forward"]


def jvp(outputs: Any, wrt: Any, tangents: Any) -> Any:
    """Differentiate along a direction: the Jacobian-vector product.

    Costs about as much as the outputs themselves, for any number of outputs; `graphc.grad`
    does so for any number of inputs.

    Parameters
    ----------
    outputs : Tensor, or list, tuple or dict of Tensor
        Floating tensors to differentiate.
    wrt : Tensor, or list, tuple or dict of Tensor
        Floating tensors to differentiate by: placeholders, variables or any intermediate
        result.
    tangents : array_like, or structure of them
        The direction in which `wrt` moves, in its structure, shapes and dtypes.

    Returns
    -------
    Tensor, list, tuple or dict
        How each output changes, in the structure of `outputs`; zeros where it does not.

    Raises
    ------
    GradientError
        If tangents do not match `wrt`, if a dtype is not floating, or if an op on the way
        has no gradient.

    Notes
    -----
    JAX's ``y, dy = jax.jvp(f, [x], [t])`` is ``y = f(x); dy = gx.jvp(y, [x], [t])``: a graph
    has its outputs already.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.variable([1.0, 2.0, 3.0], name="x")
    >>> gx.evaluate(gx.jvp(x * x, x, [1.0, 0.0, 10.0]))
    array([ 2.,  0., 60.])
    """
    results = directions.floating("jvp", "the output", outputs, "differentiate")
    targets = directions.floating("jvp", "what to differentiate by", wrt, "differentiate with respect to")
    given = directions.matched("jvp", "the tangent", wrt, tangents)
    seeds = [(t.node, tangent) for t, tangent in zip(targets, given, strict=True)]
    found = push_forward(seeds, [t.node for t in results])
    rebuild = flatten(outputs)[1]
    return rebuild([zeros_at(t) if d is None else d for t, d in zip(results, found, strict=True)])


def push_forward(seeds: Iterable[tuple[Node, Tensor]], outputs: Sequence[Node]) -> list[Tensor | None]:
    """Return the tangent of every output, None for those that do not move.

    Parameters
    ----------
    seeds : iterable of (Node, Tensor)
        Nodes and their tangents, of the same type; a node moves with its operands as well.
    outputs : sequence of Node
        Nodes with one result.
    """
    sweep = _Sweep()
    for node, tangent in seeds:
        sweep.seed(node, tangent)
    sweep.follow(outputs)
    return [sweep.of(n) for n in outputs]


Tangents = tuple[Tensor | None, ...]


class _Sweep:
    """The tangents of nodes, operands first; one per result where a node has several."""

    def __init__(self) -> None:
        self.seeds: dict[Node, Tensor] = {}
        self.found: dict[Node, Tangents] = {}

    def seed(self, node: Node, tangent: Tensor) -> None:
        """Let a node move by a tangent, in addition to how its operands move it."""
        self.seeds[node] = self.seeds[node] + tangent if node in self.seeds else tangent

    def of(self, node: Node) -> Tensor | None:
        """Return the tangent of a node's first result."""
        return self.found[node][0]

    def follow(self, roots: Sequence[Node]) -> None:
        """Find the tangents of everything that `roots` depend on."""
        for node in topological(roots, self.found):
            with inherit_place(node), differentiating(node):
                self.found[node] = self._seeded(node, self._moved(node))

    def _seeded(self, node: Node, moved: Tangents) -> Tangents:
        seed = self.seeds.get(node)
        if seed is None:
            return moved
        return (seed if moved[0] is None else moved[0] + seed,)

    def _moved(self, node: Node) -> Tangents:
        """Return how a node's operands move it."""
        if isinstance(node.op.lowering, Item):
            return (self.found[node.inputs[0]][node.attrs["index"]],)
        types = node.type.items if isinstance(node.type, TupleType) else (node.type,)
        along = tuple(self.of(i) for i in node.inputs)
        still = node.op.name in CUTS or all(t is None for t in along)
        if still or not has_float(node.type):
            return (None,) * len(types)
        if node.op.tangent is not None:
            found = node.op.tangent(along, Tensor(node), *map(Tensor, node.inputs), **node.attrs)
            return _checked(node, types, found)
        if node.op.gradient is None and isinstance(node.op.lowering, Expand):
            expansion = expand(node)
            self.follow([expansion])
            return _checked(node, types, self.of(expansion))
        return _checked(node, types, _transposed_rule(node, types, along))


def _checked(node: Node, types: Sequence[TensorType], found: Any) -> Tangents:
    """Return the tangents that a rule gave, each in exactly the type of its result."""
    parts = (found,) if found is None or isinstance(found, Tensor) else tuple(found)
    if len(parts) != len(types):
        raise GradientError(
            f"the tangent of {node.op.name} has a wrong number of parts",
            expected=f"one Tensor or None per result ({len(types)})",
            given=str(len(parts)),
            where=node.where,
        )
    return tuple(None if p is None else _fitted(node, t, p) for p, t in zip(parts, types, strict=True))


def _fitted(node: Node, expected: TensorType, part: Tensor) -> Tensor:
    fitted = directions.fit(part, expected)
    if fitted is None:
        raise GradientError(
            f"the tangent of {node.op.name} does not fit its result",
            expected=str(expected),
            given=str(part.type),
            where=node.where,
        )
    return fitted


def _transposed_rule(node: Node, types: Sequence[TensorType], along: Tangents) -> Tangents:
    """Return the tangents of a node's results by way of its gradient rule.

    The rule maps the cotangents g to the parts A'g, linearly; what g receives back when the
    tangents are sent through it is At.
    """
    seeds = {
        k: placeholder(f"cotangent{k}", t.shape, t.dtype) for k, t in enumerate(types) if is_float(t.dtype)
    }
    parts = apply_rule(node, seeds, tuple(t is not None for t in along))
    pairs = [(p, t) for p, t in zip(parts, along, strict=True) if p is not None and t is not None]
    known = {node, *node.inputs, *(t.node for _, t in pairs)}
    sent = [(p.node, _fitted(node, p.type, t)) for p, t in pairs]
    received = pull_back(sent, {g.node for g in seeds.values()}, known)
    ones = {g.node: ones_like(g).node for g in seeds.values()}
    found = {k: _replaced(received[g.node], ones, known) for k, g in seeds.items() if g.node in received}
    return tuple(found.get(k) for k in range(len(types)))


def _replaced(found: Tensor, ones: Mapping[Node, Node], known: set[Node]) -> Tensor:
    """Return `found` with ones for cotangents: what is linear in them has the same derivative anywhere."""
    order = topological([found.node], known)
    if ones.keys().isdisjoint(order):
        return found
    image = dict(ones)
    for node in order:
        image.setdefault(node, node.with_inputs(tuple(image.get(i, i) for i in node.inputs)))
    return Tensor(image[found.node])
