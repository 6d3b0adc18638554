"""Arithmetic, under its array-API names.

Integers follow NumPy: they wrap on overflow, and division by zero gives 0.  Sums and
products of bools are logical.
"""

from __future__ import annotations

import numpy as np

from graphc.errors import DTypeError, caller
from graphc.lower import expr
from graphc.lower.expr import Expr, call, const
from graphc.ops.elementwise import Binary, Unary, binary, unary
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import BOOL, DTYPES, FLOATS, INT8, NUMERIC, UINT8, is_float, is_integer

__all__ = [
    "abs",
    "add",
    "copysign",
    "divide",
    "floor_divide",
    "multiply",
    "negative",
    "positive",
    "reciprocal",
    "remainder",
    "sign",
    "square",
    "subtract",
]

add = binary(
    "add",
    np.add,
    lambda x, y: x | y if x.dtype == BOOL else x + y,
    doc="Add elementwise; for bools, the logical or.",
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
    lambda x, y: x & y if x.dtype == BOOL else x * y,
    doc="Multiply elementwise; for bools, the logical and.",
    commutative=True,
    gradient=lambda g, out, x, y: [g * y, g * x],
)
divide = binary(
    "divide",
    np.true_divide,
    lambda x, y: x / y,
    doc="Divide elementwise.",
    notes=(
        "The gradient at ``y = 0`` is not finite even where the quotient is masked by `where`\n"
        "afterwards; mask the divisor instead: ``x / gx.where(y == 0, 1, y)``."
    ),
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
abs = unary(
    "abs",
    np.abs,
    lambda x: x if x.dtype in (BOOL, UINT8) else call("abs", x),
    doc="Compute the absolute value elementwise.",
    notes="The gradient at 0 is 0.",
    example=([-2.0, 0.0, 3.0],),
    dtypes=DTYPES,
    gradient=lambda g, out, x: [g * sign(x)],
)
square = unary(
    "square",
    np.square,
    lambda x: x * x,
    doc="Multiply every element by itself.",
    dtypes=NUMERIC,
    bools=INT8,
    gradient=lambda g, out, x: [g * (2 * x)],
)
reciprocal = unary(
    "reciprocal",
    np.reciprocal,
    lambda x: 1 / x,
    doc="Compute ``1 / x`` elementwise.",
    cost=4,
    gradient=lambda g, out, x: [-g * square(out)],
)


def _sign(x: Expr) -> Expr:
    if is_float(x.dtype):
        return call("sign", x)
    one, zero = const(1, x.dtype), const(0, x.dtype)
    negative_part = zero if x.dtype == UINT8 else expr.where(x < 0, const(-1, x.dtype), zero)
    return expr.where(x > 0, one, negative_part)


sign: Unary = unary(
    "sign",
    np.sign,
    _sign,
    doc="Return -1, 0 or 1 with the sign of each element; NaN for NaN.",
    example=([-2.5, 0.0, 4.0],),
    dtypes=NUMERIC,
    gradient=lambda g, out, x: [None],
)
copysign: Binary = binary(
    "copysign",
    np.copysign,
    lambda x, y: call("copysign", x, y),
    doc="Return the magnitude of `x` with the sign of `y`, which may be a signed zero.",
    example=([1.0, 2.0], [-0.0, 3.0]),
    dtypes=FLOATS,
    gradient=lambda g, out, x, y: [g * copysign(1.0, x) * copysign(1.0, out), None],
)


def positive(x: TensorLike) -> Tensor:
    """Return `x` itself.

    Parameters
    ----------
    x : array_like
        Operand; any dtype but bool.

    Returns
    -------
    Tensor

    Raises
    ------
    DTypeError
        If `x` is bool.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.positive([1, -2]))
    array([ 1, -2])
    """
    t = as_tensor(x)
    if t.dtype != BOOL:
        return t
    raise DTypeError(
        "positive: operand has an unsupported dtype",
        expected=" or ".join(map(str, NUMERIC)),
        given=str(t.dtype),
        where=caller(),
    )


# ------------------------------------------------------------ integer division
def _divide_safely(fn: str, x: Expr, y: Expr, by_zero: Expr, by_minus_one: Expr) -> Expr:
    """Divide integers without ever executing a division that traps (by 0, INT_MIN by -1)."""
    zero = y.eq(0)
    minus_one = expr.FALSE if y.dtype == UINT8 else y.eq(-1)
    quotient = call(fn, x, expr.where(zero | minus_one, const(1, y.dtype), y))
    return expr.where(zero, by_zero, expr.where(minus_one, by_minus_one, quotient))


def _floor_divide(x: Expr, y: Expr) -> Expr:
    if is_integer(x.dtype):
        return _divide_safely("floordiv", x, y, const(0, x.dtype), -x)
    # floor(x / y) would be off by one where the quotient rounds up to a whole number.
    zero = y.eq(0)
    safe = expr.where(zero, const(1, y.dtype), y)
    quotient = call("rint", (x - call("mod", x, safe)) / safe)
    far = call("isinf", y, dtype=BOOL) & call("isfinite", x, dtype=BOOL)
    toward_zero = expr.where(x * y < 0, const(-1, x.dtype), const(0, x.dtype))
    return expr.where(zero, x / y, expr.where(far, toward_zero, quotient))


def _remainder(x: Expr, y: Expr) -> Expr:
    nothing = const(0, x.dtype)
    if is_integer(x.dtype):
        return _divide_safely("mod", x, y, nothing, nothing)
    zero = y.eq(0)
    undefined = const(float("nan"), x.dtype)
    return expr.where(zero, undefined, call("mod", x, expr.where(zero, const(1, y.dtype), y)))


floor_divide = binary(
    "floor_divide",
    np.floor_divide,
    _floor_divide,
    doc="Divide and round down elementwise.",
    notes="Integers divided by 0 give 0.  The gradient is zero.",
    example=([7, -7, 7], [2, 2, 0]),
    dtypes=NUMERIC,
    bools=INT8,
    cost=8,
    gradient=lambda g, out, x, y: [None, None],
)
remainder = binary(
    "remainder",
    np.remainder,
    _remainder,
    doc="Compute what floor division leaves: ``x - floor_divide(x, y) * y``, with the sign of `y`.",
    notes="Integers give 0 for a zero divisor, floats NaN.",
    example=([7, -7, 7], [3, 3, -3]),
    dtypes=NUMERIC,
    bools=INT8,
    cost=8,
    gradient=lambda g, out, x, y: [g, -g * floor_divide(x, y)],
)
