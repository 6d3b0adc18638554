"""Minima of functions of Tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.errors import ArgumentError, caller
from graphc.optim.full_batch import FullBatchOptimizer, Minimum
from graphc.optim.methods import LBFGS, ConjugateGradient, NewtonCG

__all__ = ["minimize"]

METHODS: dict[str, type[FullBatchOptimizer]] = {
    "lbfgs": LBFGS,
    "conjugate_gradient": ConjugateGradient,
    "newton_cg": NewtonCG,
}


def minimize(fn: Callable[[Any], Any], x0: Any, method: str = "lbfgs", **options: Any) -> Minimum:
    """Find a minimum of a function, in one compiled loop.

    Parameters
    ----------
    fn : callable
        Returns a floating scalar for a structure like `x0`.  It is traced once; Tensors from
        outside may be used freely, and random draws in it stay the same throughout.
    x0 : array_like, or list, tuple or dict of these
        Where to start, all of one floating dtype.
    method : {"lbfgs", "conjugate_gradient", "newton_cg"}
        `LBFGS`, `ConjugateGradient` or `NewtonCG`.
    **options
        Of that optimizer: `max_iterations`, `tolerance`, ...

    Returns
    -------
    Minimum
        The point in the structure of `x0`, the value, the gradient's norm, the number of
        iterations and evaluations, and whether it converged.

    Raises
    ------
    ArgumentError
        If there is no such method, an option is bad, or `x0` is not of one floating dtype.
    GradientError
        If the value is not a floating scalar, or cannot be differentiated.
    GraphError
        If `fn` updates a variable by what depends on its argument.

    Notes
    -----
    The point and the value have gradients by whatever `fn` uses from outside, by the implicit
    function theorem: they hold where the method converged to a point with a positive definite
    Hessian, whatever way it took.  `x0` has none.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> goal = gx.placeholder("goal", shape=(2,), dtype="float64")
    >>> found = gx.optim.minimize(lambda x: gx.exp(x - goal).sum() - x.sum(), np.zeros(2))
    >>> program = gx.compile(goal, [found.x, gx.grad(found.x.sum(), goal), found.converged])
    >>> x, slope, converged = program(np.array([1.0, -2.0]))
    >>> x.round(4), slope.round(4), bool(converged)
    (array([ 1., -2.]), array([1., 1.]), True)
    """
    if method not in METHODS:
        raise ArgumentError(
            "minimize: no such method",
            expected=" or ".join(map(repr, METHODS)),
            given=repr(method),
            where=caller(),
        )
    return METHODS[method](**options).minimum(fn, x0)
