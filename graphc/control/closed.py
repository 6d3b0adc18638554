"""Functions of Tensors that are traced once and then stand wherever they are needed.

Differentiating first and substituting afterwards has two merits: the work is done once, and a
gradient that has closed over values of its forward pass keeps its meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from graphc.autodiff import pull_back
from graphc.control import bodies
from graphc.control.bodies import Scope
from graphc.control.sequence import refuse_effects
from graphc.control.structure import flatten
from graphc.errors import Where
from graphc.ir import Graph, Node
from graphc.ops import zeros_like
from graphc.tensor import Tensor
from graphc.types import TensorType, is_float

__all__ = ["Closed", "close", "trace"]


@dataclass(frozen=True, eq=False)
class Closed:
    """A function with what it uses from outside as operands.

    Attributes
    ----------
    graph : Graph
        Inputs: placeholders of the captures, then the arguments.
    captures : tuple of Tensor
        Values from outside.
    """

    graph: Graph
    captures: tuple[Tensor, ...]

    @property
    def formals(self) -> tuple[Node, ...]:
        """The placeholders of captures."""
        return self.graph.inputs[: len(self.captures)]

    @property
    def arguments(self) -> tuple[Node, ...]:
        """The nodes that stand for the arguments."""
        return self.graph.inputs[len(self.captures) :]

    @property
    def outputs(self) -> tuple[Node, ...]:
        """The results."""
        return self.graph.outputs

    def at(
        self,
        nodes: Sequence[Node],
        arguments: Sequence[Tensor],
        captures: Sequence[Tensor] | None = None,
        further: Sequence[tuple[Node, Tensor]] = (),
    ) -> list[Tensor]:
        """Return nodes that are made of the graph's inputs, for given values of these."""
        given = (*(self.captures if captures is None else captures), *arguments)
        image = dict(zip(self.graph.inputs, (t.node for t in given), strict=True))
        image.update((n, t.node) for n, t in further)
        return [Tensor(n) for n in bodies.replaced(nodes, image)]

    def cotangents(
        self,
        nodes: Sequence[Node],
        seeds: Sequence[Tensor],
        arguments: Sequence[Tensor],
        captures: Sequence[Tensor],
    ) -> list[Tensor | None]:
        """Send cotangents of nodes back to the captures, the arguments standing still; None for integers."""
        given = [bodies.formal(s.type, "cotangent", n.where) for n, s in zip(nodes, seeds, strict=True)]
        targets = [f for f in self.formals if is_float(f.type.dtype)]
        with bodies.reopened(self.graph):
            found = pull_back(zip(nodes, map(Tensor, given), strict=True), set(targets))
            parts = [found[f].node if f in found else zeros_like(Tensor(f)).node for f in targets]
        moved = iter(self.at(parts, arguments, captures, list(zip(given, seeds, strict=True))))
        return [next(moved) if is_float(f.type.dtype) else None for f in self.formals]


def close(what: str, arguments: Sequence[Node], outputs: Sequence[Node], where: Where) -> Closed:
    """Return what leads from nodes to outputs; what does not depend on them is captured.

    Raises
    ------
    GraphError
        If a variable is updated on the way.
    """
    return _closed(Scope(what, where), arguments, outputs)


def trace(
    what: str, fn: Callable[..., Any], types: Sequence[TensorType], where: Where
) -> tuple[Closed, Callable[[list[Any]], Any]]:
    """Call a function on placeholders; returns also what rebuilds the structure of its results.

    Raises
    ------
    GraphError
        If the function updates a variable by what depends on its arguments.
    """
    scope = Scope(what, where)
    arguments = tuple(bodies.formal(t, f"x{k}", where, scope) for k, t in enumerate(types))
    results, rebuild = flatten(bodies.call(scope, fn, *map(Tensor, arguments)))
    refuse_effects(scope, "the function")
    return _closed(scope, arguments, [t.node for t in results]), rebuild


def _closed(scope: Scope, arguments: Sequence[Node], outputs: Sequence[Node]) -> Closed:
    body = bodies.enclose([(arguments, outputs)], scope)
    bodies.refuse_strangers(body.captures, scope)
    scope.open = False
    return Closed(body.graphs[0], tuple(map(Tensor, body.captures)))
