"""The methods: one class each, its formula in `direction`."""

from __future__ import annotations

from collections.abc import Mapping

from graphc.control import scan
from graphc.dims import Dim
from graphc.ops import abs, concat, maximum, minimum, sqrt, where
from graphc.optim.descent import Descent, Direction, Memory, Step, short
from graphc.optim.flat import dot
from graphc.optim.full_batch import FullBatchOptimizer, LineSearch
from graphc.optim.krylov import iterate
from graphc.optim.limits import positive_int
from graphc.optim.objective import Objective
from graphc.tensor import Tensor, as_tensor

__all__ = ["LBFGS", "ConjugateGradient", "NewtonCG"]

# The least cosine between a step and the change of the gradient that tells of curvature.
_TELLING = 1e-8
# Gradients that are less orthogonal than this make conjugate directions start anew.
_ORTHOGONAL = 0.2


class LBFGS(FullBatchOptimizer):
    """Limited-memory BFGS: steps scaled by an inverse Hessian that is estimated from the last steps.

    After Nocedal, "Updating quasi-Newton matrices with limited storage" (1980), and Liu and
    Nocedal, "On the limited memory BFGS method for large scale optimization" (1989); the
    recursion is algorithm 7.4 of Nocedal and Wright, *Numerical Optimization*, 2nd edition.

    Parameters
    ----------
    history : int, default 10
        How many steps are remembered.  They outlast a call of the program: the next one continues.
    **options
        `line_search`, `max_iterations`, `tolerance`, `search_steps`, as in `FullBatchOptimizer`.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> w = gx.variable(np.array([-1.2, 1.0]), name="w")
    >>> loss = 100 * (w[1] - w[0] ** 2) ** 2 + (1 - w[0]) ** 2
    >>> program = gx.compile([], updates=gx.optim.LBFGS().minimize(loss))
    >>> _ = program()
    >>> w.value.round(6)
    array([1., 1.])
    """

    curvature = 0.9

    def __init__(
        self,
        history: int = 10,
        *,
        line_search: LineSearch = "strong_wolfe",
        max_iterations: int = 100,
        tolerance: float = 1e-5,
        search_steps: int = 25,
    ) -> None:
        super().__init__(
            line_search=line_search,
            max_iterations=max_iterations,
            tolerance=tolerance,
            search_steps=search_steps,
        )
        self.history = positive_int("LBFGS", "history", history)

    def slots(self, size: Dim) -> Mapping[str, tuple[Dim, ...]]:
        """Return the shapes of the last steps, the changes of the gradient, and one over their products."""
        return {"steps": (self.history, size), "changes": (self.history, size), "scales": (self.history,)}

    def direction(self, objective: Objective, at: Descent) -> Direction:
        """Return the gradient times the estimated inverse Hessian, downhill."""
        pairs = (at.memory["steps"], at.memory["changes"], at.memory["scales"])

        def newest_first(vector: Tensor, pair: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            step, change, scale = pair
            share = scale * dot(step, vector)
            return vector - share * change, share

        def oldest_first(vector: Tensor, pair: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, None]:
            step, change, scale, share = pair
            return vector + step * (share - scale * dot(change, vector)), None

        vector, shares = scan(newest_first, at.gradient, pairs, reverse=True)
        change, scale = pairs[1][-1], pairs[2][-1]
        known = scale > 0
        size = where(known, 1.0 / where(known, scale * dot(change, change), 1.0), 1.0)
        vector, _ = scan(oldest_first, size * vector, (*pairs, shares))
        return Direction(-vector, where(known, 1.0, short(at.gradient)))

    def learn(self, memory: Memory, step: Step) -> Memory:
        """Put the newest pair last, unless it shows no positive curvature."""
        moved = step.length * step.direction
        change = step.reached - step.gradient
        product = dot(moved, change)
        telling = product > _TELLING * sqrt(dot(moved, moved) * dot(change, change))
        newest = {
            "steps": moved,
            "changes": change,
            "scales": where(telling, 1.0 / where(telling, product, 1.0), 0.0),
        }
        return {
            name: where(telling, concat([old[1:], newest[name].reshape((1, *old.shape[1:]))]), old)
            for name, old in memory.items()
        }


class ConjugateGradient(FullBatchOptimizer):
    """Nonlinear conjugate gradients, with the formula of Polak and Ribière that never is negative.

    ``p = -g + max(0, g' (g - g_old) / (g_old' g_old)) p_old``, after Polak and Ribière (1969) and
    Gilbert and Nocedal, "Global convergence properties of conjugate gradient methods for
    optimization" (1992).  Directions start anew at ``-g`` where gradients are far from
    orthogonal (Powell, 1977).  Line searches are for the strong Wolfe conditions, without which
    the directions need not lead down.

    Parameters
    ----------
    **options
        `max_iterations`, `tolerance`, `search_steps`, as in `FullBatchOptimizer`.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> w = gx.variable(np.array([3.0, -4.0]), name="w")
    >>> loss = (w * w * np.array([1.0, 10.0])).sum() / 2 + w.sum()
    >>> updates = gx.optim.ConjugateGradient().minimize(loss)
    >>> gx.evaluate(updates[w]).round(6)
    array([-1. , -0.1])
    """

    curvature = 0.1

    def __init__(self, *, max_iterations: int = 100, tolerance: float = 1e-5, search_steps: int = 25) -> None:
        super().__init__(max_iterations=max_iterations, tolerance=tolerance, search_steps=search_steps)

    def slots(self, size: Dim) -> Mapping[str, tuple[Dim, ...]]:
        """Return the shapes of the last direction, of the gradient before it, and of the change foretold."""
        return {"direction": (size,), "gradient": (size,), "promise": ()}

    def direction(self, objective: Objective, at: Descent) -> Direction:
        """Return a direction conjugate to the last one; its first step promises as much as that did."""
        gradient, before = at.gradient, at.memory["gradient"]
        square, common = dot(before, before), dot(gradient, before)
        own = dot(gradient, gradient)
        follows = (square > 0) & (abs(common) < _ORTHOGONAL * own)
        share = where(follows, maximum(own - common, 0.0) / where(follows, square, 1.0), 0.0)
        vector = share * at.memory["direction"] - gradient
        slope = dot(vector, gradient)
        foretold = (square > 0) & (slope < 0)
        first = at.memory["promise"] / where(foretold, slope, 1.0)
        return Direction(vector, where(foretold, first, short(gradient)))

    def learn(self, memory: Memory, step: Step) -> Memory:
        """Keep the step."""
        return {
            "direction": step.direction,
            "gradient": step.gradient,
            "promise": step.length * step.slope,
        }


class NewtonCG(FullBatchOptimizer):
    """Newton's method, its equations solved by conjugate gradients as far as that pays.

    Only products with the Hessian are computed.  Far from the minimum they need few of them; a
    direction of negative curvature ends them, and what was found up to there leads down.  After
    Dembo and Steihaug, "Truncated-Newton algorithms for large-scale unconstrained
    optimization" (1983); algorithm 7.1 of Nocedal and Wright, *Numerical Optimization*.

    Parameters
    ----------
    products : int, optional
        The most products with the Hessian for a step, by default as many as there are unknowns.
    **options
        `line_search`, `max_iterations`, `tolerance`, `search_steps`, as in `FullBatchOptimizer`.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> w = gx.variable(np.array([2.0, -1.0]), name="w")
    >>> updates = gx.optim.NewtonCG().minimize(gx.exp(w).sum() - w.sum())
    >>> gx.evaluate(updates[w]).round(6) + 0
    array([0., 0.])
    """

    curvature = 0.9

    def __init__(
        self,
        products: int | None = None,
        *,
        line_search: LineSearch = "strong_wolfe",
        max_iterations: int = 100,
        tolerance: float = 1e-5,
        search_steps: int = 25,
    ) -> None:
        super().__init__(
            line_search=line_search,
            max_iterations=max_iterations,
            tolerance=tolerance,
            search_steps=search_steps,
        )
        self.products = None if products is None else positive_int("NewtonCG", "products", products)

    def slots(self, size: Dim) -> Mapping[str, tuple[Dim, ...]]:
        """Return nothing: every step starts from the Hessian where it stands."""
        return {}

    def direction(self, objective: Objective, at: Descent) -> Direction:
        """Return an approximate solution of ``H p = -g``."""
        norm = sqrt(dot(at.gradient, at.gradient))
        limit = minimum(0.5, sqrt(norm)) * norm
        most = as_tensor(objective.flat.size if self.products is None else self.products)
        found = iterate(objective.products(at.x), -at.gradient, limit, most)
        solved = found.steps > 0
        return Direction(where(solved, found.x, -at.gradient), where(solved, 1.0, short(at.gradient)))

    def learn(self, memory: Memory, step: Step) -> Memory:
        """Remember nothing."""
        return memory
