"""Linear systems with symmetric positive definite matrices, of which only products are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphc.control import while_loop
from graphc.control.closed import Closed, trace
from graphc.control.signature import require_function
from graphc.control.structure import Rebuild, describe, flatten
from graphc.errors import ShapeError, Where, caller
from graphc.ops import maximum, sqrt, where, zeros
from graphc.ops.custom import custom_gradient
from graphc.optim.flat import Flat, dot
from graphc.optim.limits import at_least_zero, positive_int
from graphc.tensor import Tensor, as_tensor

__all__ = ["Iterated", "Solution", "conjugate_gradient", "iterate"]

Product = Callable[[Tensor], Tensor]
# Steps for each unknown; without rounding, one would do.
_PATIENCE = 10


class Solution(NamedTuple):
    """What a linear solver returns.

    Attributes
    ----------
    x : structure of Tensor
        The solution, in the structure of the right-hand side.
    residual_norm : Tensor
        Euclidean norm of what is left of the right-hand side.
    iterations : Tensor
        The number of steps.
    converged : Tensor
        Whether the residual is as small as was asked for.
    """

    x: Any
    residual_norm: Tensor
    iterations: Tensor
    converged: Tensor


def conjugate_gradient(
    matvec: Callable[[Any], Any],
    b: Any,
    x0: Any = None,
    tol: float = 1e-5,
    max_steps: int | None = None,
    *,
    atol: float = 0.0,
    preconditioner: Callable[[Any], Any] | None = None,
) -> Solution:
    """Solve ``matvec(x) == b`` for a symmetric positive definite matrix.

    The method of conjugate gradients (Hestenes and Stiefel, 1952; Nocedal and Wright,
    *Numerical Optimization*, algorithm 5.3), as one compiled loop.

    Parameters
    ----------
    matvec : callable
        Multiplies by the matrix: a linear function from the structure of `b` to itself.  Tensors
        from outside may be used freely.
    b : array_like, or list, tuple or dict of these
        Right-hand side.
    x0 : structure like `b`, optional
        Where to start; zeros by default.
    tol : float
        The residual's norm that is small enough, relative to that of `b`.
    max_steps : int, optional
        The most steps, by default ten times the number of unknowns.
    atol : float
        A norm of the residual that is small enough in any case.
    preconditioner : callable, optional
        Multiplies by an approximate inverse of the matrix, symmetric and positive definite too.

    Returns
    -------
    Solution
        The solution with the residual's norm, the number of steps, and whether it converged: it
        does not for a matrix that turns out not to be positive definite.

    Raises
    ------
    ArgumentError
        If `b` is not of one floating dtype, or an option is out of range.
    ShapeError
        If `matvec` or `preconditioner` does not return values of the types of `b`.
    GraphError
        If `matvec` updates a variable by what depends on its argument.

    Notes
    -----
    Gradients come from the implicit function theorem and do not go through the loop: those by
    `b` take one more solution, those by what `matvec` uses a product besides.  They are as
    exact as the solutions are, and can be differentiated again.  `x0` has none.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> a = gx.constant([[4.0, 1.0], [1.0, 3.0]])
    >>> found = gx.optim.conjugate_gradient(lambda v: a @ v, np.array([1.0, 2.0]))
    >>> gx.evaluate([found.x, found.iterations])
    [array([0.09090909, 0.63636364]), array(2)]
    """
    where_ = caller()
    values, rebuild = flatten(b)
    flat = Flat.of("conjugate_gradient", values)
    limits = _Limits(
        at_least_zero("conjugate_gradient", "tol", tol),
        at_least_zero("conjugate_gradient", "atol", atol),
        None if max_steps is None else positive_int("conjugate_gradient", "max_steps", max_steps),
    )
    condition = None
    if preconditioner is not None:
        closed = _linear("preconditioner", preconditioner, flat, rebuild, where_)
        condition = _product(closed, flat, closed.captures)
    system = _System(_linear("matvec", matvec, flat, rebuild, where_), flat, limits, condition)
    start = None if x0 is None else flat.join(_like("x0", flat, x0, where_))
    rhs = flat.join(values)
    found, limit = system.run(rhs, system.closed.captures, start)
    x = system.solution(rhs, system.closed.captures, start)
    return Solution(rebuild(flat.split(x)), sqrt(found.square), found.steps, found.square <= limit * limit)


# ----------------------------------------------------------------- differentiable
@dataclass(frozen=True)
class _Limits:
    tol: float
    atol: float
    most: int | None


@dataclass(frozen=True, eq=False)
class _System:
    """A matrix and how to solve with it."""

    closed: Closed
    flat: Flat
    limits: _Limits
    condition: Product | None

    def run(self, rhs: Tensor, captures: Sequence[Tensor], start: Tensor | None) -> tuple[Iterated, Tensor]:
        """Return the loop's results, and the residual's norm that is small enough."""
        limit = maximum(self.limits.tol * sqrt(dot(rhs, rhs)), self.limits.atol)
        most = (
            as_tensor(self.flat.size) * _PATIENCE if self.limits.most is None else as_tensor(self.limits.most)
        )
        product = _product(self.closed, self.flat, captures)
        return iterate(product, rhs, limit, most, start, self.condition), limit

    def solution(self, rhs: Tensor, captures: Sequence[Tensor], start: Tensor | None = None) -> Tensor:
        """Return the solution, with a gradient by the implicit function theorem.

        From ``A(p) x = b`` follows ``A dx = db - dA x``: with ``l = solve(A, g)``, as A is its own
        transpose, the cotangent of b is l and that of p is ``-(d(A x) / dp)' l``.
        """

        def solve(rhs: Tensor, *captures: Tensor) -> tuple[Tensor, Callable[[Tensor], list[Tensor | None]]]:
            def back(g: Tensor) -> list[Tensor | None]:
                adjoint = self.solution(g, captures)
                parts = self.flat.split(-adjoint)
                return [
                    adjoint,
                    *self.closed.cotangents(self.closed.outputs, parts, self.flat.split(x), captures),
                ]

            return self.run(rhs, captures, start)[0].x, back

        x: Tensor = custom_gradient(solve)(rhs, *captures)
        return x


def _product(closed: Closed, flat: Flat, captures: Sequence[Tensor]) -> Product:
    return lambda v: flat.join(closed.at(closed.outputs, flat.split(v), captures))


def _linear(name: str, fn: Callable[[Any], Any], flat: Flat, rebuild: Rebuild, where: Where) -> Closed:
    """Trace a user's function, which must return what it takes."""
    require_function("conjugate_gradient", name, fn, where)

    def typed(*tensors: Tensor) -> list[Tensor]:
        return _like(f"the result of {name}", flat, fn(rebuild(list(tensors))), where)

    return trace("conjugate_gradient", typed, flat.types, where)[0]


def _like(what: str, flat: Flat, structure: Any, where: Where) -> list[Tensor]:
    """Return the tensors of a structure, which must have the types of the unknowns."""
    found, _ = flatten(structure)
    if tuple(t.type for t in found) != flat.types:
        raise ShapeError(
            f"conjugate_gradient: {what} does not fit the right-hand side",
            expected=", ".join(map(str, flat.types)),
            given=describe(structure),
            where=where,
        )
    return found


# ---------------------------------------------------------------------- the loop
class Iterated(NamedTuple):
    """Where the method of conjugate gradients ended.

    Attributes
    ----------
    x : Tensor
        The last iterate.
    square : Tensor
        The residual's square norm.
    steps : Tensor
        The number of steps; none is taken along a direction of no positive curvature.
    """

    x: Tensor
    square: Tensor
    steps: Tensor


class _State(NamedTuple):
    x: Tensor
    residual: Tensor
    direction: Tensor
    weight: Tensor
    square: Tensor
    positive: Tensor
    steps: Tensor


def iterate(
    product: Product,
    rhs: Tensor,
    limit: Tensor,
    most: Tensor,
    start: Tensor | None = None,
    condition: Product | None = None,
) -> Iterated:
    """Run the method until the residual's norm is at most `limit`, or curvature is not positive."""
    x = zeros((rhs.shape[0],), rhs.dtype) if start is None else start
    residual = rhs if start is None else rhs - product(start)
    conditioned = residual if condition is None else condition(residual)
    weight, square = dot(residual, conditioned), dot(residual, residual)

    def body(s: _State) -> _State:
        image = product(s.direction)
        curvature = dot(s.direction, image)
        positive = curvature > 0
        length = where(positive, s.weight / where(positive, curvature, 1.0), 0.0)
        residual = s.residual - length * image
        conditioned = residual if condition is None else condition(residual)
        weight = dot(residual, conditioned)
        return _State(
            s.x + length * s.direction,
            residual,
            conditioned + weight / s.weight * s.direction,
            weight,
            dot(residual, residual),
            positive,
            s.steps + positive,
        )

    def goes_on(s: _State) -> Tensor:
        return (s.square > limit * limit) & s.positive & (s.steps < most)

    first = _State(x, residual, conditioned, weight, square, as_tensor(True), as_tensor(0))
    last: _State = while_loop(goes_on, body, first)
    return Iterated(last.x, last.square, last.steps)
