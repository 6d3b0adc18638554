"""Powers of floats and of integers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, caller
from graphc.lower import expr
from graphc.lower.expr import Expr, call, const
from graphc.ops.elementwise import elementwise_op, operands
from graphc.ops.elementwise_samples import integers, quiet
from graphc.ops.functions import log
from graphc.ops.op import ErrorSample, Gradients, Sample
from graphc.ops.selection import where
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import INT8, INTEGERS, NUMERIC, UINT8, is_float, is_integer

__all__ = ["pow"]


def _pow_numpy(x: Any, y: Any) -> Any:
    if x.dtype.kind == "f":
        return np.power(x, y)
    whole = np.power(x, np.maximum(y, 0))
    odd = (y & 1).astype(bool)
    unit = np.where(x == 1, 1, np.where(x == -1, np.where(odd, -1, 1), 0)) if x.dtype.kind == "i" else x == 1
    return np.where(y < 0, unit, whole).astype(x.dtype)


def _pow(x: Expr, y: Expr) -> Expr:
    if is_float(x.dtype) or x.dtype == UINT8:
        return call("pow", x, y)
    zero, one = const(0, x.dtype), const(1, x.dtype)
    negative = y < 0
    whole = call("pow", x, expr.where(negative, zero, y))
    odd = call("bitand", y, one).ne(0)
    unit = expr.where(x.eq(1), one, expr.where(x.eq(-1), expr.where(odd, const(-1, x.dtype), one), zero))
    return expr.where(negative, unit, whole)


def _constant(t: Tensor) -> float | None:
    """Return the value of a constant that is a single number, else None."""
    return float(t.node.payload.array) if t.node.op.name == "constant" and t.ndim == 0 else None


def _pow_gradient(g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> Gradients:
    # 0**y grows without bound in y < 0 only, so the exponent's share at 0 is 0, not 0 * log(0).
    at_zero = x == 0
    logarithm = log(where(at_zero & (y >= 0), as_tensor(1, x.dtype), x))
    return [_pow_base_gradient(g, x, y, at_zero), g * out * logarithm]


def _pow_base_gradient(g: Tensor, x: Tensor, y: Tensor, at_zero: Tensor) -> Tensor:
    exponent = _constant(y)
    if exponent is not None and exponent >= 1:
        slope = x if exponent == 2 else pow(x, exponent - 1)
        return g if exponent == 1 else g * (exponent * slope)
    # x**(y-1) is infinite at 0; where nothing flows back, 0 * inf must not make NaN.
    harmless = at_zero & ((y == 0) | (g == 0))
    return g * (y * pow(x, where(harmless, as_tensor(1, y.dtype), y - 1)))


def _pow_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(5)
    base, exponent = rng.uniform(0.3, 2.7, (3, 5)), rng.uniform(-2.0, 2.7, (3, 5))
    yield Sample((base, np.abs(exponent)), expected=np.power)
    yield Sample((base, exponent[0]), expected=np.power)
    yield Sample((base[:, :1], exponent), expected=lambda x, y: np.exp(y * np.log(x)))
    yield Sample((np.zeros((0, 4)), np.ones((1, 4))), expected=np.zeros((0, 4)))
    for power in (0.0, 0.5, 1.0, 2.0, 3.0, -1.0):
        yield Sample((base,), expected=base**power, call=lambda x, power=power: pow(x, power))
    special = np.array([0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.0, 2.5, np.inf, -np.inf, np.nan])
    pair = (special[:, None], special[None, :])
    yield Sample(pair, expected=quiet(np.power), differentiable=False)
    for dtype in INTEGERS:
        values = integers(dtype)
        powers = np.array([0, 1, 2, 3, 5, 31, 64, 100], dtype)
        yield Sample((values[:, None], powers[None, :]), expected=np.power)
    below = np.array([[-1], [-2], [-3]])
    units = np.array([-2, -1, 0, 1, 2])
    found = np.array([[0, -1, 0, 1, 0], [0, 1, 0, 1, 0], [0, -1, 0, 1, 0]])
    yield Sample((units, below), expected=found)


def pow(x: TensorLike, y: TensorLike) -> Tensor:
    """Raise `x` to the power `y` elementwise.

    Parameters
    ----------
    x, y : array_like
        Base and exponent, which broadcast and are promoted to one dtype.

    Returns
    -------
    Tensor
        Of the broadcast shape and dtype.

    Raises
    ------
    ArgumentError
        If both are integers and an exponent that is known now is negative.

    Notes
    -----
    A negative integer exponent that appears only at the call gives the power rounded toward
    zero: 0, or the exact value for bases 1 and -1.  Integer powers wrap on overflow.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.pow([1.0, 2.0, 3.0], 2))
    array([1., 4., 9.])
    """
    base, exponent = operands((x, y), NUMERIC, INT8)
    if is_integer(base.dtype) and not isinstance(y, Tensor) and np.any(np.asarray(y) < 0):
        raise ArgumentError(
            "pow: integers cannot be raised to a negative integer power",
            expected="a float base or exponent, or exponents of at least 0",
            given=str(y),
            where=caller(),
        )
    return _POW(base, exponent)


_POW = elementwise_op(
    "pow",
    _pow_numpy,
    _pow,
    dtypes=NUMERIC,
    gradient=_pow_gradient,
    cost=40,
    api=pow,
    samples=_pow_samples,
    errors=lambda: (ErrorSample(lambda: pow(np.array([2, 3]), -1), ArgumentError, "negative integer power"),),
)
