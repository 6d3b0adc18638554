"""Arithmetic, comparison, logic and selection, under their array-API names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphc.errors import DTypeError
from graphc.lower import expr
from graphc.lower.expr import Expr, call
from graphc.lower.rules import Index, Map, Site
from graphc.ops.elementwise import astype, binary, boolean, unary, unbroadcast
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.tensor import Tensor, TensorLike, as_tensor, promote
from graphc.types import BOOL, DTYPES, FLOATS, INTEGERS, NUMERIC, TensorType

__all__ = [
    "add",
    "divide",
    "equal",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "multiply",
    "negative",
    "not_equal",
    "subtract",
    "where",
]

add = binary(
    "add",
    np.add,
    lambda x, y: x + y,
    doc="Add elementwise.",
    dtypes=NUMERIC,
    commutative=True,
    gradient=lambda g, out, x, y: [g, g],
)
subtract = binary(
    "subtract",
    np.subtract,
    lambda x, y: x - y,
    doc="Subtract elementwise.",
    dtypes=NUMERIC,
    gradient=lambda g, out, x, y: [g, -g],
)
multiply = binary(
    "multiply",
    np.multiply,
    lambda x, y: x * y,
    doc="Multiply elementwise.",
    dtypes=NUMERIC,
    commutative=True,
    gradient=lambda g, out, x, y: [g * y, g * x],
)
divide = binary(
    "divide",
    np.true_divide,
    lambda x, y: x / y,
    doc="Divide elementwise; integers are converted to float64 first.",
    dtypes=FLOATS,
    cost=4,
    gradient=lambda g, out, x, y: [g / y, -(g * out) / y],
)
negative = unary(
    "negative",
    np.negative,
    lambda x: -x,
    doc="Negate elementwise.",
    dtypes=NUMERIC,
    gradient=lambda g, out, x: [-g],
)


def _comparison(name: str, numpy: Callable[..., Any], fn: str, doc: str, commutative: bool = False) -> Any:
    return binary(
        name,
        numpy,
        lambda x, y: expr.compare(fn, x, y),
        doc=doc,
        result=boolean,
        commutative=commutative,
    )


equal = _comparison("equal", np.equal, "eq", "Tell elementwise whether x == y.", commutative=True)
not_equal = _comparison("not_equal", np.not_equal, "ne", "Tell elementwise whether x != y.", commutative=True)
less = _comparison("less", np.less, "lt", "Tell elementwise whether x < y.")
less_equal = _comparison("less_equal", np.less_equal, "le", "Tell elementwise whether x <= y.")
greater = _comparison("greater", np.greater, "gt", "Tell elementwise whether x > y.")
greater_equal = _comparison("greater_equal", np.greater_equal, "ge", "Tell elementwise whether x >= y.")


# ------------------------------------------------------------------- selection
def _where_rule(ctx: Infer, cond: TensorType, x: TensorType, y: TensorType) -> TensorType:
    ctx.dtype_in(cond.dtype, (BOOL,), "condition")
    if x.dtype != y.dtype:
        ctx.dtype_error("branches differ in dtype", x.dtype, y.dtype)
    return TensorType(ctx.broadcast(cond.shape, x.shape, y.shape), x.dtype)


def _where_lower(site: Site, index: Index) -> Expr:
    return expr.where(site.broadcast(0, index), site.broadcast(1, index), site.broadcast(2, index))


def _where_gradient(g: Tensor, out: Tensor, cond: Tensor, x: Tensor, y: Tensor) -> Gradients:
    zero = as_tensor(0, g.dtype)
    return [None, unbroadcast(where(cond, g, zero), x), unbroadcast(where(cond, zero, g), y)]


def _where_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(3)
    for shape in ((3, 5), (0, 2), (1,), ()):
        x, y = rng.normal(size=shape), rng.normal(size=shape)
        yield Sample((rng.random(shape) > 0.5, x, y), expected=np.where)
    yield Sample((np.array([[True], [False]]), np.ones(3), np.zeros((2, 1))), expected=np.where)


def where(condition: TensorLike, x: TensorLike, y: TensorLike) -> Tensor:
    """Choose elementwise: `x` where `condition` is true, else `y`.

    Parameters
    ----------
    condition : array_like of bool
        Selects.
    x, y : array_like
        Choices; all three broadcast, `x` and `y` are promoted to one dtype.

    Returns
    -------
    Tensor

    Raises
    ------
    DTypeError
        If `condition` is not bool.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.where(gx.constant([True, False]), 1, 2))
    array([1, 2])
    """
    (a, b), dtype = promote(x, y)
    return _WHERE(as_tensor(condition), astype(a, dtype), astype(b, dtype))


_WHERE = Op(
    "where",
    _where_rule,
    np.where,
    Map(_where_lower),
    gradient=_where_gradient,
    api=where,
    samples=_where_samples,
    errors=lambda: (ErrorSample(lambda: where(1.0, 2.0, 3.0), DTypeError, "condition"),),
)
