"""Users' own operations and gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from graphc.dims import Dim
from graphc.errors import ArgumentError, GradientError, caller
from graphc.ir import Moves, Node
from graphc.leaves import placeholder
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Alias, Callback
from graphc.ops import elementwise
from graphc.ops.batching import stacked
from graphc.ops.elementwise import operands
from graphc.ops.markers import first_type, first_value
from graphc.ops.op import Gradients, Infer, Op, make_node
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import FLOATS, DType, TensorType, as_dtype

__all__ = ["custom_gradient", "custom_op", "elementwise_op"]

Function = Callable[..., Tensor]
Vjp = Callable[[Tensor], "Tensor | Sequence[Tensor | None]"]


# ------------------------------------------------------------------- user ops
def elementwise_op(
    name: str,
    numpy: Callable[..., Any],
    gradient: Callable[..., Gradients] | None = None,
    scalar: Callable[..., Expr] | None = None,
    *,
    arity: int = 1,
    dtypes: Sequence[object] = FLOATS,
    dtype: object = None,
    cost: int = 10,
) -> Function:
    """Define an operation that works element by element.

    Parameters
    ----------
    name : str
        Name in printed graphs.
    numpy : callable
        The meaning: a function of `arity` NumPy arrays that broadcasts.
    gradient : callable, optional
        ``gradient(g, out, *inputs)`` returns one Tensor, or None for no gradient, per input,
        each of the shape of `out`; sums over stretched axes are added.  Without it,
        differentiating through the op is an error.
    scalar : callable, optional
        The meaning on single elements, as a function of `graphc.lower.expr` expressions.  With
        it the op fuses with its neighbours; without it, `numpy` is called at run time.
    arity : int, default 1
        Number of operands.
    dtypes : sequence of dtype
        What operands may be, by default floats.  All are promoted to one dtype first.
    dtype : dtype, optional
        Result dtype, by default that of the promoted operands.
    cost : int
        Rough arithmetic per element, in multiplications.

    Returns
    -------
    callable
        Function of `arity` array_likes that returns a Tensor.

    Raises
    ------
    ArgumentError
        If the name or the arity is not usable, or `scalar` does not return an expression.

    Examples
    --------
    >>> import graphc as gx
    >>> cube = gx.elementwise_op(
    ...     "cube", lambda x: x**3, lambda g, out, x: [g * 3 * x * x], lambda x: x * x * x
    ... )
    >>> gx.evaluate(cube([1.0, 2.0]))
    array([1., 8.])
    """
    _require_name("elementwise_op", name)
    if not isinstance(arity, int) or arity < 1:
        raise ArgumentError(
            "elementwise_op: bad arity", expected="a positive int", given=repr(arity), where=caller()
        )
    allowed = tuple(as_dtype(d) for d in dtypes)
    if scalar is not None:
        _require_expression(name, scalar, arity, allowed)
    target = None if dtype is None else as_dtype(dtype)

    def result(operand: DType) -> DType:
        return operand if target is None else target

    op = elementwise.elementwise_op(
        name,
        numpy,
        scalar,
        dtypes=allowed,
        result=result,
        gradient=_counted(name, gradient),
        cost=cost,
        listed=False,
    )

    def apply(*inputs: TensorLike) -> Tensor:
        if len(inputs) != arity:
            raise ArgumentError(
                f"{name}: wrong number of operands",
                expected=str(arity),
                given=str(len(inputs)),
                where=caller(),
            )
        return op(*operands(inputs, allowed))

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = numpy.__doc__
    return apply


def custom_op(
    name: str,
    infer: Callable[..., TensorType | tuple[Sequence[Any], object]],
    numpy: Callable[..., Any],
    gradient: Callable[..., Gradients] | None = None,
) -> Function:
    """Define an operation by its NumPy meaning, which compiled programs call at run time.

    Parameters
    ----------
    name : str
        Name in printed graphs.
    infer : callable
        ``infer(*types, **attrs)`` returns the result's type from those of the operands, as a
        `TensorType` or a pair (shape, dtype).  Each type has ``shape`` and ``dtype``.
    numpy : callable
        ``numpy(*arrays, **attrs)`` returns an array of that type.
    gradient : callable, optional
        ``gradient(g, out, *inputs, **attrs)`` returns one Tensor, or None for no gradient, per
        input, of exactly that input's type.

    Returns
    -------
    callable
        Function of array_likes, and of the attributes as keywords, that returns a Tensor.

    Raises
    ------
    ArgumentError
        If the name is not usable, or an attribute is not hashable.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> total = gx.custom_op(
    ...     "total", lambda x: ((), x.dtype), lambda x: x.sum(), lambda g, out, x: [g + 0 * x]
    ... )
    >>> gx.evaluate(total([1.0, 2.0, 4.0]))
    array(7.)
    """
    _require_name("custom_op", name)

    def rule(ctx: Infer, *types: TensorType, **attrs: Any) -> TensorType:
        found = infer(*types, **attrs)
        if isinstance(found, TensorType):
            return found
        if isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], (tuple, list)):
            return TensorType(tuple(found[0]), as_dtype(found[1]))
        ctx.shape_error("infer returned no type", "a TensorType or a pair (shape, dtype)", repr(found))

    op = Op(name, rule, numpy, Callback(), _counted(name, gradient), listed=False)

    def apply(*inputs: TensorLike, **attrs: Any) -> Tensor:
        return op(*(as_tensor(x) for x in inputs), **attrs)

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = numpy.__doc__
    return apply


def _require_name(owner: str, name: object) -> None:
    if isinstance(name, str) and name.isidentifier():
        return
    raise ArgumentError(f"{owner}: bad name", expected="an identifier", given=repr(name), where=caller())


def _require_expression(name: str, scalar: Callable[..., Expr], arity: int, dtypes: Sequence[DType]) -> None:
    """Try `scalar` on every dtype, so that a mistake shows at the definition and not inside a pass."""
    for dtype in dtypes:
        try:
            found: object = scalar(*(expr.local(k, dtype) for k in range(arity)))
        except Exception as error:
            raise _no_expression(name, f"{type(error).__name__} on {dtype}: {error}") from error
        if not isinstance(found, Expr):
            raise _no_expression(name, repr(found))


def _no_expression(name: str, given: str) -> ArgumentError:
    return ArgumentError(
        f"elementwise_op: the scalar meaning of {name} is no expression",
        expected="a function of graphc.lower.expr expressions that returns one",
        given=given,
        where=caller(),
    )


def _counted(name: str, gradient: Callable[..., Gradients] | None) -> Callable[..., Gradients] | None:
    """Return the user's gradient, requiring one part per input."""
    if gradient is None:
        return None

    def backward(g: Tensor, out: Tensor, *inputs: Tensor, **attrs: Any) -> Gradients:
        return _parts(name, gradient(g, out, *inputs, **attrs), len(inputs))

    return backward


def _parts(name: str, found: Any, count: int) -> list[Tensor | None]:
    parts = [found] if isinstance(found, Tensor) else found
    fits = isinstance(parts, (list, tuple)) and len(parts) == count
    if fits and all(p is None or isinstance(p, Tensor) for p in parts):
        return list(parts)
    raise GradientError(
        f"{name}: the gradient does not match the operands",
        expected=f"{count} values, each a Tensor or None",
        given=repr(found),
        where=caller(),
    )


# ------------------------------------------------------------ custom gradients
def custom_gradient(fn: Callable[..., tuple[Tensor, Vjp]]) -> Function:
    """Give a function of Tensors a gradient of the user's own.

    Parameters
    ----------
    fn : callable
        Function of Tensors that returns its value, a Tensor, and a function that maps the
        value's cotangent to the cotangents of the arguments: one Tensor, or None for no
        gradient, per argument, of exactly that argument's type.

    Returns
    -------
    callable
        The function, returning the value alone.  The marker that it leaves in the graph
        disappears when a program is compiled.

    Raises
    ------
    GradientError
        If `fn` returns anything else; when differentiated, if the cotangents do not match.

    Examples
    --------
    >>> import graphc as gx
    >>> @gx.custom_gradient
    ... def reversed_gradient(x):
    ...     return x * 1.0, lambda g: -g
    >>> gx.evaluate(reversed_gradient([1.0, 2.0]))
    array([1., 2.])
    """
    name = getattr(fn, "__name__", "custom_gradient")

    @functools.wraps(fn)
    def apply(*args: TensorLike) -> Tensor:
        inputs = tuple(as_tensor(a) for a in args)
        found: Any = fn(*inputs)
        if not (
            isinstance(found, tuple)
            and len(found) == 2
            and isinstance(found[0], Tensor)
            and callable(found[1])
        ):
            raise GradientError(
                f"custom_gradient: {name} returned something else",
                expected="a pair: a Tensor, and a function from cotangent to cotangents",
                given=repr(found),
                where=caller(),
            )
        value, vjp = found
        return _marked(name, vjp, value, inputs)

    return apply


def _marked(name: str, vjp: Vjp, value: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """Return `value`, whose cotangent `vjp` maps to those of the inputs."""

    # Each use has its own op: the rules close over the tensors of that use.
    def backward(g: Tensor, out: Tensor, value: Tensor, *inputs: Tensor) -> Gradients:
        return [None, *_parts(name, _where_it_stands(vjp, out.node)(g), len(inputs))]

    def rows(size: Dim, batched: tuple[bool, ...], node: Node, *operands: Tensor) -> Tensor:
        value, *inputs = operands
        pull = _vjp_of_rows(name, _where_it_stands(vjp, node), size, batched[1:], node)
        return _marked(name, pull, value if batched[0] else stacked(value, size), inputs)

    op = Op("custom_gradient", first_type, first_value, Alias(), backward, batch=rows, listed=False)
    return Tensor(make_node(op, (value.node, *(t.node for t in inputs)), {}, payload=Moves()))


def _where_it_stands(vjp: Vjp, node: Node) -> Vjp:
    """Return the user's function on the nodes that its own became, if `node` was rebuilt: in a loop."""
    images = node.payload.images
    if not images:
        return vjp
    # Deferred: bodies are made of ops.
    from graphc.control.bodies import replaced

    def moved(g: Tensor) -> Any:
        # The cotangent comes in last: it belongs to where the node stands already.
        cotangent = placeholder("cotangent", g.shape, g.dtype)
        found = vjp(cotangent)
        if not isinstance(found, (Tensor, list, tuple)):
            return found
        parts = [found] if isinstance(found, Tensor) else list(found)
        nodes = [p.node for p in parts if isinstance(p, Tensor)]
        for image in (*images, {cotangent.node: g.node}):
            nodes = replaced(nodes, image)
        new = iter(nodes)
        return [Tensor(next(new)) if isinstance(p, Tensor) else p for p in parts]

    return moved


def _vjp_of_rows(name: str, vjp: Vjp, size: Dim, batched: tuple[bool, ...], node: Node) -> Vjp:
    """Return the user's function from cotangent to cotangents, for `size` rows at once."""
    # Deferred: what calls the rules is written in terms of ops.
    from graphc.vectorization import current_rows

    rows = current_rows()

    def summed(part: Tensor | None, own: bool) -> Tensor | None:
        if part is None:
            return None
        full = rows.full_image(part)
        # An operand that all rows share has the sum of their cotangents.
        return full if own else full.sum(axis=0)

    def pull(g: Tensor) -> list[Tensor | None]:
        parts = _parts(name, vjp(rows.enter(g, 0, "cotangent")), len(batched))
        return [summed(part, own) for part, own in zip(parts, batched, strict=True)]

    return pull
