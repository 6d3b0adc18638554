"""What is minimized: a scalar function of one vector, with its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from graphc import directions
from graphc.autodiff import grad
from graphc.control import bodies
from graphc.control.closed import Closed, close, trace
from graphc.control.structure import Rebuild
from graphc.errors import Where
from graphc.forward_mode import jvp
from graphc.ir import Node
from graphc.leaves import Variable
from graphc.ops import reshape
from graphc.optim.flat import Flat
from graphc.tensor import Tensor

__all__ = ["Objective"]


@dataclass(frozen=True, eq=False)
class Objective:
    """A function whose graph is built once, and then stands at every point of a search.

    Attributes
    ----------
    closed : Closed
        From tensors to a scalar.
    flat : Flat
        How the vector holds those tensors.
    captures : tuple of Tensor
        What the function uses besides: data.
    """

    closed: Closed
    flat: Flat
    captures: tuple[Tensor, ...]

    @classmethod
    def of_loss(cls, owner: str, loss: Tensor, variables: Sequence[Variable], where: Where) -> Objective:
        """Return a loss as a function of the variables that it was built from."""
        directions.scalar(owner, "the loss", loss)
        closed = close(owner, [v.node for v in variables], [loss.node], where)
        return cls(closed, Flat.of(owner, variables), closed.captures)

    @classmethod
    def of_function(
        cls, owner: str, fn: Callable[[Any], Any], x: Sequence[Tensor], rebuild: Rebuild, where: Where
    ) -> Objective:
        """Return a user's function of a structure of tensors."""
        flat = Flat.of(owner, x)

        def scalar(*tensors: Tensor) -> Tensor:
            value: Tensor = fn(rebuild(list(tensors)))
            directions.scalar(owner, "the value", value)
            return value

        closed, _ = trace(owner, scalar, flat.types, where)
        return cls(closed, flat, closed.captures)

    def using(self, captures: Sequence[Tensor]) -> Objective:
        """Return the same function of other data."""
        return replace(self, captures=tuple(captures))

    def at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the value and the gradient."""
        nodes = (*self.closed.outputs, *self._gradients)
        value, *gradients = self.closed.at(nodes, self.flat.split(x), self.captures)
        return value.astype(self.flat.dtype), self.flat.join(gradients)

    def products(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Return what multiplies a vector by the Hessian at a point."""
        arguments = self.flat.split(x)
        directions, nodes = self._products

        def product(vector: Tensor) -> Tensor:
            further = list(zip(directions, self.flat.split(vector), strict=True))
            return self.flat.join(self.closed.at(nodes, arguments, self.captures, further))

        return product

    def value_cotangents(self, x: Tensor, cotangent: Tensor) -> list[Tensor | None]:
        """Send a cotangent of the value back to the captures, the point standing still."""
        (value,) = self.closed.outputs
        seed = reshape(cotangent, ()).astype(value.type.dtype)
        return self.closed.cotangents([value], [seed], self.flat.split(x), self.captures)

    def gradient_cotangents(self, x: Tensor, cotangent: Tensor) -> list[Tensor | None]:
        """Send a cotangent of the gradient back to the captures, the point standing still."""
        seeds = self.flat.split(cotangent)
        return self.closed.cotangents(self._gradients, seeds, self.flat.split(x), self.captures)

    @cached_property
    def _gradients(self) -> list[Node]:
        with bodies.reopened(self.closed.graph):
            found = grad(Tensor(self.closed.outputs[0]), [Tensor(a) for a in self.closed.arguments])
        return [t.node for t in found]

    @cached_property
    def _products(self) -> tuple[list[Node], list[Node]]:
        """Placeholders of a direction, and the gradient's derivatives along it."""
        arguments = self.closed.arguments
        along = [bodies.formal(a.type, "direction", a.where) for a in arguments]
        with bodies.reopened(self.closed.graph):
            found = jvp(
                [Tensor(g) for g in self._gradients], list(map(Tensor, arguments)), list(map(Tensor, along))
            )
        return along, [t.node for t in found]
