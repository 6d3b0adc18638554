"""Loops that end by a condition or after a number of iterations: `while_loop` and `fori_loop`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc import dims
from graphc.control import bodies
from graphc.control.bodies import Scope
from graphc.control.loop import Loop, items
from graphc.control.sequence import carried, refuse_effects
from graphc.control.signature import require_function, traced_carry
from graphc.control.structure import describe, flatten, leaves
from graphc.dims import Dim
from graphc.errors import ArgumentError, ControlFlowError, DTypeError, Where, caller
from graphc.ir import Node
from graphc.ops import maximum
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import BOOL, INT64, is_integer

__all__ = ["fori_loop", "while_loop"]


def while_loop(
    cond_fn: Callable[[Any], Any], body_fn: Callable[[Any], Any], init: Any, max_steps: int | None = None
) -> Any:
    """Run a function on carried values as long as a condition holds.

    ::

        carry = init
        while cond_fn(carry):
            carry = body_fn(carry)

    Parameters
    ----------
    cond_fn : callable
        Function of the carried structure that returns a boolean scalar.
    body_fn : callable
        Function of the carried structure that returns the next one, of the same types.
    init : array_like, or list, tuple or dict of these
        First carried values.
    max_steps : int, optional
        Stop after so many iterations at the latest.  Reverse-mode gradients need it: they keep
        values of every iteration that may come.  Forward-mode gradients (`graphc.jvp`) do not.

    Returns
    -------
    structure of Tensor
        The carried values when the loop ends.

    Raises
    ------
    ControlFlowError
        If the condition is no boolean scalar.
    ShapeError, DTypeError, GraphError
        If a carried value changes its type, or the carried structure changes.

    Examples
    --------
    >>> import graphc as gx
    >>> n, _ = gx.while_loop(lambda s: s[1] < 1000, lambda s: (s[0] + 1, s[1] * 2), (0, 1))
    >>> gx.evaluate(n)
    array(10)
    """
    where = caller()
    require_function("while_loop", "cond_fn", cond_fn, where)
    require_function("while_loop", "body_fn", body_fn, where)
    most = None if max_steps is None else _checked_steps(max_steps, where)
    return _run("while_loop", lambda _, carry: body_fn(carry), init, most, None, cond_fn, where)


def _checked_steps(max_steps: Any, where: Where) -> int:
    if isinstance(max_steps, int) and not isinstance(max_steps, bool) and max_steps >= 0:
        return max_steps
    raise ArgumentError(
        "while_loop: bad max_steps", expected="a non-negative int", given=repr(max_steps), where=where
    )


def fori_loop(
    lower: TensorLike | Dim,
    upper: TensorLike | Dim,
    body_fn: Callable[[Any, Any], Any],
    init: Any,
    max_steps: int | None = None,
) -> Any:
    """Run a function for the integers from `lower` up to `upper`, without it.

    ::

        carry = init
        for i in range(lower, upper):
            carry = body_fn(i, carry)

    Parameters
    ----------
    lower, upper : int, dimension or integer Tensor
        Bounds; Tensors are scalars whose values are known when the program runs.
    body_fn : callable
        ``body_fn(i, carry)``, where i is an int64 scalar, returns the next carried values.
    init : array_like, or list, tuple or dict of these
        First carried values.
    max_steps : int, optional
        For bounds that are Tensors: run so many iterations at most.  Reverse-mode gradients of
        such loops need it.

    Returns
    -------
    structure of Tensor
        The carried values after the last iteration.

    Raises
    ------
    ControlFlowError, DTypeError
        If a bound is no integer scalar.
    ShapeError, DTypeError, GraphError
        If a carried value changes its type, or the carried structure changes.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.fori_loop(1, 6, lambda i, product: product * i, 1))
    array(120)
    """
    where = caller()
    require_function("fori_loop", "body_fn", body_fn, where)
    most: Dim | None = None if max_steps is None else _checked_steps(max_steps, where)
    fixed = _fixed(lower), _fixed(upper)
    count: Tensor | None = None
    start: TensorLike = lower
    if fixed[0] is not None and fixed[1] is not None:
        length = dims.maximum(fixed[1] - fixed[0], 0)
        most = length if most is None else dims.minimum(length, most)
    else:
        start = _bound("lower", lower, where)
        count = maximum(_bound("upper", upper, where) - start, 0)

    def body(i: Tensor, carry: Any) -> Any:
        return body_fn(i + start, carry)

    return _run("fori_loop", body, init, most, count, None, where)


def _fixed(bound: object) -> Dim | None:
    """Return a bound that is known when the program is planned."""
    if isinstance(bound, dims.SymbolicDim):
        return bound
    return bound if isinstance(bound, int) and not isinstance(bound, bool) else None


def _bound(name: str, value: Any, where: Where) -> Tensor:
    tensor = as_tensor(value)
    if not is_integer(tensor.dtype):
        raise DTypeError(
            f"fori_loop: {name} is no integer", expected="an integer", given=str(tensor.type), where=where
        )
    _require_scalar("fori_loop", name, tensor, where)
    return tensor.astype(INT64)


def _require_scalar(what: str, name: str, tensor: Tensor, where: Where) -> None:
    if tensor.ndim:
        raise ControlFlowError(
            f"{what}: {name} is no scalar",
            expected="a scalar: shape ()",
            given=f"{tensor.type} at {tensor.node.where}",
            where=where,
        )


def _run(
    what: str,
    body_fn: Callable[[Tensor, Any], Any],
    init: Any,
    most: Dim | None,
    count: Tensor | None,
    cond_fn: Callable[[Any], Any] | None,
    where: Where,
) -> Any:
    scope = Scope(what, where)
    number = bodies.counter(where, scope)
    scope.iteration = Tensor(number)
    traced = traced_carry(scope, init, lambda carry: body_fn(Tensor(number), carry), paired=False)
    following, effects = carried(scope, traced.following)
    inputs = (number, *traced.formals, *effects.formals)
    parts: list[tuple[tuple[Node, ...], tuple[Node, ...]]] = [(inputs, (*following, *effects.following))]
    if cond_fn is not None:
        carry = traced.rebuild([Tensor(f) for f in traced.formals])
        parts.append((inputs, (_condition(scope, cond_fn, carry),)))
    body = bodies.enclose(parts, scope)
    bodies.refuse_strangers((*body.captures, *(i.node for i in traced.inits)), scope)
    scope.open = False
    loop = Loop(
        what,
        body.graphs[0],
        (*(i.node for i in traced.inits), *effects.inits),
        captures=body.captures,
        length=most,
        count=None if count is None else count.node,
        condition=body.graphs[1] if cond_fn is not None else None,
    )
    results = items(loop.node(where))
    first = len(traced.inits)
    effects.perform(scope, results[first : first + len(effects.inits)])
    return traced.rebuild(list(results[:first]))


def _condition(scope: Scope, cond_fn: Callable[[Any], Any], carry: Any) -> Node:
    found = bodies.call(scope, cond_fn, carry)
    refuse_effects(scope, "the condition")
    flat = leaves(found)[0]
    if len(flat) != 1:
        raise ControlFlowError(
            f"{scope.what}: the condition is no boolean scalar",
            expected="bool[]",
            given=describe(found),
            where=scope.where,
        )
    (condition,) = flatten(found)[0]
    if condition.dtype != BOOL or condition.ndim:
        raise ControlFlowError(
            f"{scope.what}: the condition is no boolean scalar",
            expected="bool[]",
            given=f"{condition.type} at {condition.node.where}",
            where=scope.where,
        )
    return condition.node
