"""Loops over the slices of arrays: `scan`, `map` and `associative_scan`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from graphc import dims
from graphc.control import bodies
from graphc.control.bodies import Scope
from graphc.control.loop import Loop, items
from graphc.control.sequence import carried
from graphc.control.signature import require_function, traced_carry
from graphc.control.structure import flatten
from graphc.dims import Dim
from graphc.errors import ArgumentError, ShapeError, Where, caller
from graphc.leaves import constant
from graphc.ops import arange, concat, flip, maximum, minimum, moveaxis, take, zeros
from graphc.ops import where as where_
from graphc.tensor import Tensor, as_tensor
from graphc.types import TensorType

__all__ = ["associative_scan", "map", "scan"]

# Rounds that double the distance until no array is longer.
_MOST_ROUNDS = 63

Residuals = Literal["all", "none"] | int


def scan(
    fn: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | Dim | None = None,
    reverse: bool = False,
    *,
    residuals: Residuals = "all",
) -> tuple[Any, Any]:
    """Run a function over the slices of arrays, carrying values from one to the next.

    The body becomes one sub-graph that is compiled once, whatever the number of iterations::

        carry = init
        for t in range(length):
            carry, ys[t] = fn(carry, xs[t])

    Parameters
    ----------
    fn : callable
        ``fn(carry, x) -> (carry, y)``, on Tensors in the structures of `init` and of the slices.
        Tensors from outside may be used freely.
    init : array_like, or list, tuple or dict of these
        First carried values.  Python numbers take the dtype of the other values and of `xs`.
    xs : array_like, structure of these, or None
        Arrays to take slices of along axis 0, all of the same length.
    length : int or dimension, optional
        Number of iterations; needed if there are no `xs`.
    reverse : bool
        Run from the last slice to the first; ``ys[t]`` still belongs to ``xs[t]``.
    residuals : {"all", "none"} or int
        What a gradient keeps of the iterations.  "all": whatever it needs, for speed.  "none": the
        carried values only; each iteration is computed again.  A number k: the carried values of
        every k-th iteration; k iterations are computed again at a time.  About
        ``k = sqrt(length)`` needs the least memory.

    Returns
    -------
    carry : structure of Tensor
        The carried values after the last iteration, in the structure of `init`.
    ys : structure of Tensor
        What the iterations put out, stacked along a new axis 0; None if that was None.

    Raises
    ------
    ArgumentError
        If the number of iterations is unknown, or `fn` does not return a pair.
    ShapeError, DTypeError
        If a carried value changes its shape or dtype, or arrays differ in length.
    GraphError
        If the carried structure changes, or a value of another loop's body is used.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> total, sums = gx.scan(lambda c, x: (c + x, c + x), 0.0, np.array([1.0, 2.0, 3.0]))
    >>> gx.evaluate([total, sums])
    [array(6.), array([1., 3., 6.])]
    """
    where = caller()
    require_function("scan", "fn", fn, where)
    arrays, regroup = flatten(xs)
    count = _common_length("scan", arrays, length, where)
    if residuals not in ("all", "none"):
        every = _checked_interval(residuals, where)
        return _in_chunks(fn, init, (arrays, regroup), count, reverse, every, where)
    return run_scan("scan", fn, init, (arrays, regroup), count, reverse, residuals == "none", where)


def map(fn: Callable[[Any], Any], xs: Any) -> Any:
    """Apply a function to every slice of arrays, one after the other.

    Parameters
    ----------
    fn : callable
        Function of one slice, in the structure of `xs`.
    xs : array_like or structure of these
        Arrays to take slices of along axis 0.

    Returns
    -------
    structure of Tensor
        The results, stacked along a new axis 0.  `graphc.vectorize` computes all slices at once,
        which is faster and needs more memory.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.evaluate(gx.map(lambda x: x * x, np.array([1.0, 2.0, 3.0])))
    array([1., 4., 9.])
    """
    where = caller()
    require_function("map", "fn", fn, where)
    arrays, regroup = flatten(xs)
    count = _common_length("map", arrays, None, where)
    return run_scan("map", lambda _, x: (None, fn(x)), None, (arrays, regroup), count, False, False, where)[1]


Arrays = tuple[Sequence[Tensor], Callable[[list[Any]], Any]]


def run_scan(
    what: str,
    fn: Callable[[Any, Any], Any],
    init: Any,
    xs: Arrays,
    length: Dim,
    reverse: bool,
    recompute: bool,
    where: Where,
    count: Tensor | None = None,
) -> tuple[Any, Any]:
    """Trace a body and return the results of its loop; `count` bounds the iterations."""
    arrays, regroup = xs
    scope = Scope(what, where)
    number = bodies.counter(where, scope)
    scope.iteration = Tensor(number)
    slices = [
        bodies.formal(TensorType(a.shape[1:], a.dtype), f"x{k}", a.node.where, scope)
        for k, a in enumerate(arrays)
    ]
    x = regroup([Tensor(s) for s in slices])
    traced = traced_carry(scope, init, lambda carry: fn(carry, x), arrays, paired=True)
    first = len(traced.inits)
    roots, effects = carried(scope, (*traced.following, *(y.node for y in traced.ys)))
    inputs = (number, *traced.formals, *effects.formals, *slices)
    body = bodies.enclose([(inputs, (*roots[:first], *effects.following, *roots[first:]))], scope)
    bodies.refuse_strangers((*body.captures, *(i.node for i in traced.inits)), scope)
    scope.open = False
    loop = Loop(
        what,
        body.graphs[0],
        (*(i.node for i in traced.inits), *effects.inits),
        tuple(a.node for a in arrays),
        body.captures,
        length,
        (reverse,) * (len(arrays) + len(traced.ys)),
        None if count is None else count.node,
        recompute=recompute,
    )
    results = items(loop.node(where))
    last = first + len(effects.inits)
    effects.perform(scope, results[first:last])
    return traced.rebuild(list(results[:first])), traced.rebuild_ys(list(results[last:-1]))


def _common_length(what: str, arrays: Sequence[Tensor], length: Any, where: Where) -> Dim:
    for a in arrays:
        if a.ndim == 0:
            raise ShapeError(
                f"{what}: a scalar has no slices",
                expected="arrays with at least one axis",
                given=str(a.type),
                where=where,
            )
    lengths = [a.shape[0] for a in arrays]
    if length is not None:
        lengths.insert(0, _checked_length(what, length, where))
    if not lengths:
        raise ArgumentError(
            f"{what}: the number of iterations is unknown",
            expected="xs to take slices of, or length=...",
            given="neither",
            where=where,
        )
    if any(d != lengths[0] for d in lengths):
        raise ShapeError(
            f"{what}: the arrays differ in length",
            expected="one number of slices along axis 0",
            given=" and ".join(str(d) for d in lengths),
            where=where,
        )
    return lengths[0]


def _checked_length(what: str, length: Any, where: Where) -> Dim:
    if isinstance(length, dims.SymbolicDim) or (
        isinstance(length, int) and not isinstance(length, bool) and length >= 0
    ):
        return length
    raise ArgumentError(
        f"{what}: bad length",
        expected="a non-negative int or a dimension",
        given=repr(length),
        where=where,
    )


def _checked_interval(k: Any, where: Where) -> int:
    if isinstance(k, int) and not isinstance(k, bool) and k >= 1:
        return k
    raise ArgumentError(
        "scan: bad residuals", expected="'all', 'none' or a positive int", given=repr(k), where=where
    )


def _in_chunks(
    fn: Callable[[Any, Any], Any], init: Any, xs: Arrays, length: Dim, reverse: bool, every: int, where: Where
) -> tuple[Any, Any]:
    """Scan in chunks of `every` iterations, of which a gradient keeps the first carried values only.

    The last chunk may be shorter: its loop stops early, and what it leaves of the stacks is cut off.
    """
    arrays, regroup = xs
    chunks = dims.floordiv(length + (every - 1), every)
    missing = chunks * every - length
    padded = [_padded(a, missing).reshape((chunks, every, *a.shape[1:])) for a in arrays]

    def chunk(carry: Any, given: Any) -> tuple[Any, Any]:
        number, slices = given
        left = None if missing == 0 else minimum(every, as_tensor(length) - number * every)
        return run_scan("scan", fn, carry, (slices, regroup), every, reverse, False, where, left)

    given = ([arange(chunks), *padded], lambda values: (values[0], list(values[1:])))
    carry, stacks = run_scan("scan", chunk, init, given, chunks, reverse, True, where)
    flat, rebuild = flatten(stacks)
    return carry, rebuild([y.reshape((chunks * every, *y.shape[2:]))[:length] for y in flat])


def _padded(array: Tensor, missing: Dim) -> Tensor:
    """Return an array with so many more slices of zeros."""
    if missing == 0:
        return array
    return concat([array, zeros((missing, *array.shape[1:]), array.dtype)], axis=0)


def associative_scan(fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """Combine the slices of arrays from the first to every one, by an associative function.

    ``ys[t] = fn(...fn(fn(x[0], x[1]), x[2])..., x[t])``, computed in ``log2(length)`` rounds on whole
    arrays instead of one iteration after the other (Hillis and Steele, 1986): it takes more
    arithmetic than `scan` by that factor, and all of it in parallel.

    Parameters
    ----------
    fn : callable
        ``fn(a, b)``, associative, on Tensors in the structure of `elems`; it combines any number
        of slices at once and keeps their shapes.
    elems : array_like or structure of these
        Arrays of the same length along `axis`.
    reverse : bool
        Combine from the last slice to the first: ``ys[t] = fn(x[last], ..., x[t])``.
    axis : int, default 0
        The axis to run along.

    Returns
    -------
    structure of Tensor
        Of the shapes of `elems`.

    Raises
    ------
    ShapeError
        If arrays differ in length, or `fn` changes a shape.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> gx.evaluate(gx.associative_scan(gx.multiply, np.array([1.0, 2.0, 3.0, 4.0])))
    array([ 1.,  2.,  6., 24.])
    """
    where = caller()
    require_function("associative_scan", "fn", fn, where)
    arrays, rebuild = flatten(elems)
    moved = [moveaxis(a, axis, 0) if a.ndim else a for a in arrays]
    length = _common_length("associative_scan", moved, None, where)
    moved = [flip(a, axis=0) for a in moved] if reverse else moved

    def combine(earlier: list[Tensor], later: list[Tensor]) -> list[Tensor]:
        found = flatten(fn(rebuild(earlier), rebuild(later)))[0]
        _require_types("associative_scan", [t.type for t in later], found, where)
        return found

    done = _rounds(combine, moved, length)
    done = [flip(a, axis=0) for a in done] if reverse else done
    return rebuild([moveaxis(a, 0, axis) for a in done])


def _rounds(
    combine: Callable[[list[Tensor], list[Tensor]], list[Tensor]], arrays: list[Tensor], length: Dim
) -> list[Tensor]:
    """Let every slice take in the one `distance` before it, for distances 1, 2, 4, ..."""
    if isinstance(length, int):
        distance = 1
        while distance < length:
            later = combine([a[: length - distance] for a in arrays], [a[distance:] for a in arrays])
            arrays = [concat([a[:distance], b], axis=0) for a, b in zip(arrays, later, strict=True)]
            distance *= 2
        return arrays
    # Deferred: both modules build on each other's loops.
    from graphc.control.loops import while_loop

    places = arange(length)

    def round_(state: Any) -> Any:
        distance, current = state
        earlier = maximum(places - distance, 0)
        found = combine([take(a, earlier, axis=0) for a in current], current)
        early = places < distance
        chosen = [
            where_(early.reshape((length,) + (1,) * (a.ndim - 1)), a, b)
            for a, b in zip(current, found, strict=True)
        ]
        return distance * 2, chosen

    state = while_loop(
        lambda s: s[0] < as_tensor(length), round_, (constant(1), arrays), max_steps=_MOST_ROUNDS
    )
    found: list[Tensor] = state[1]
    return found


def _require_types(what: str, types: Sequence[TensorType], found: Sequence[Tensor], where: Where) -> None:
    for expected, tensor in zip(types, found, strict=True):
        if tensor.type != expected:
            raise ShapeError(
                f"{what}: the function changes a type",
                expected=str(expected),
                given=f"{tensor.type} at {tensor.node.where}",
                where=where,
            )
