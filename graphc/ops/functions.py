"""Mathematical functions, under their array-API names.

Operands that are not floats are computed in float64.  Where a derivative is infinite at
the edge of the domain (`sqrt` at 0, `asin` at 1), a cotangent of exactly 0 gives a gradient
of 0 rather than NaN, so values that `where` masks afterwards stay harmless.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphc.lower.expr import Expr, call
from graphc.ops.arithmetic import square
from graphc.ops.elementwise import Unary, binary, unary
from graphc.ops.logic import isinf
from graphc.ops.op import Gradients, Sample
from graphc.ops.selection import where
from graphc.tensor import Tensor, as_tensor
from graphc.types import DTYPES, FLOATS, NUMERIC, DType, is_float

__all__ = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "ceil",
    "cos",
    "cosh",
    "erf",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "hypot",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "nextafter",
    "round",
    "rsqrt",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "trunc",
]

_BOTH_SIGNS = (-2.5, 2.5)
_INSIDE_ONE = (-0.9, 0.9)


def _nonzero(divisor: Tensor, g: Tensor) -> Tensor:
    """Return a divisor that is 1 instead of 0 where nothing flows back, so that 0 / 0 is 0.

    Only where the divisor is 0 as well: elsewhere the gradient must stay the plain one, or
    second derivatives at points with a zero cotangent would be lost.
    """
    return where((divisor == 0) & (g == 0), as_tensor(1, divisor.dtype), divisor)


def _function(
    name: str,
    doc: str,
    gradient: Callable[..., Gradients],
    *,
    cost: int = 20,
    domain: tuple[float, float] = _BOTH_SIGNS,
    example: tuple[list[float]] | None = None,
    numpy: Callable[..., Any] | None = None,
    samples: Callable[[], Iterable[Sample]] = lambda: (),
) -> Unary:
    """Define a function of one float that the scalar language has under the same name."""
    return unary(
        name,
        numpy or getattr(np, name),
        lambda x: call(name, x),
        doc=doc,
        example=example,
        gradient=gradient,
        cost=cost,
        domain=domain,
        samples=samples,
    )


# ---------------------------------------------------- exponentials, logarithms
exp = _function("exp", "Raise e to the power of each element.", lambda g, out, x: [g * out])
exp2 = _function("exp2", "Raise 2 to the power of each element.", lambda g, out, x: [g * (out * math.log(2))])
expm1 = _function(
    "expm1", "Compute ``exp(x) - 1`` elementwise, precisely near 0.", lambda g, out, x: [g * (out + 1)]
)


def _logarithm(name: str, doc: str, base: float, numpy: Callable[..., Any]) -> Unary:
    def gradient(g: Tensor, out: Tensor, x: Tensor) -> Gradients:
        slope = g / _nonzero(x, g)
        return [slope if base == math.e else slope * (1 / math.log(base))]

    return _function(name, doc, gradient, domain=(0.3, 2.7), numpy=numpy)


log = _logarithm("log", "Compute the natural logarithm elementwise.", math.e, np.log)
log2 = _logarithm("log2", "Compute the logarithm to base 2 elementwise.", 2, np.log2)
log10 = _logarithm("log10", "Compute the logarithm to base 10 elementwise.", 10, np.log10)
log1p = _function(
    "log1p",
    "Compute ``log(1 + x)`` elementwise, precisely near 0.",
    lambda g, out, x: [g / _nonzero(1 + x, g)],
    domain=(-0.7, 2.7),
)


def _logaddexp_gradient(g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> Gradients:
    # Equal infinities share the cotangent; their difference would be NaN.
    from graphc.ops.activations import sigmoid

    lead = where((x == y) & isinf(x), as_tensor(0, x.dtype), x - y)
    return [g * sigmoid(lead), g * sigmoid(-lead)]


logaddexp = binary(
    "logaddexp",
    np.logaddexp,
    lambda x, y: call("logaddexp", x, y),
    doc="Compute ``log(exp(x) + exp(y))`` elementwise without overflow.",
    dtypes=FLOATS,
    commutative=True,
    cost=40,
    domain=_BOTH_SIGNS,
    gradient=_logaddexp_gradient,
)


# ----------------------------------------------------------------------- roots
sqrt = _function(
    "sqrt",
    "Compute the square root elementwise; NaN for negative elements.",
    lambda g, out, x: [g / _nonzero(2 * out, g)],
    cost=4,
    domain=(0.3, 2.7),
)


def _rsqrt_gradient(g: Tensor, out: Tensor, x: Tensor) -> Gradients:
    root = where((x == 0) & (g == 0), as_tensor(0, x.dtype), out)
    return [g * (-0.5 * root * square(root))]


rsqrt = _function(
    "rsqrt",
    "Compute ``1 / sqrt(x)`` elementwise.",
    _rsqrt_gradient,
    cost=8,
    domain=(0.3, 2.7),
    numpy=lambda x: 1 / np.sqrt(x),
)


def _hypot_gradient(g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> Gradients:
    # At the origin, where no gradient exists, 0 is a subgradient.
    length = where(out == 0, as_tensor(1, out.dtype), out)
    return [g * (x / length), g * (y / length)]


hypot = binary(
    "hypot",
    np.hypot,
    lambda x, y: call("hypot", x, y),
    doc="Compute ``sqrt(x**2 + y**2)`` elementwise without overflow.",
    notes="The gradient at (0, 0) is 0.",
    example=([3.0, 5.0], [4.0, 12.0]),
    dtypes=FLOATS,
    commutative=True,
    cost=12,
    gradient=_hypot_gradient,
)


nextafter = binary(
    "nextafter",
    np.nextafter,
    lambda x, y: call("nextafter", x, y),
    doc="Return the next float after `x` in the direction of `y`, elementwise.",
    notes="It has no gradient.",
    example=([1.0, 2.0], [1.0, 2.0]),
    dtypes=FLOATS,
    cost=4,
)


# ---------------------------------------------------------------- trigonometry
def _inverse_root(g: Tensor, radicand: Tensor) -> Tensor:
    """Return ``g / sqrt(radicand)``; 0 where both are 0."""
    return g * rsqrt(_nonzero(radicand, g))


sin = _function("sin", "Compute the sine of each element, in radians.", lambda g, out, x: [g * cos(x)])
cos: Unary = _function(
    "cos", "Compute the cosine of each element, in radians.", lambda g, out, x: [-g * sin(x)]
)
tan = _function(
    "tan",
    "Compute the tangent of each element, in radians.",
    lambda g, out, x: [g * (1 + square(out))],
    domain=(-1.2, 1.2),
)
asin = _function(
    "asin",
    "Compute the inverse sine, in [-pi/2, pi/2]; NaN outside [-1, 1].",
    lambda g, out, x: [_inverse_root(g, (1 - x) * (1 + x))],
    domain=_INSIDE_ONE,
    example=([0.0, 0.5, 1.0],),
    numpy=np.arcsin,
)
acos = _function(
    "acos",
    "Compute the inverse cosine, in [0, pi]; NaN outside [-1, 1].",
    lambda g, out, x: [-_inverse_root(g, (1 - x) * (1 + x))],
    domain=_INSIDE_ONE,
    example=([0.0, 0.5, 1.0],),
    numpy=np.arccos,
)
atan = _function(
    "atan",
    "Compute the inverse tangent, in [-pi/2, pi/2].",
    lambda g, out, x: [g / (1 + square(x))],
    numpy=np.arctan,
)


def _atan2_gradient(g: Tensor, out: Tensor, y: Tensor, x: Tensor) -> Gradients:
    # Dividing twice by the length, not once by its square, keeps huge operands finite.
    length = hypot(x, y)
    safe = where(length == 0, as_tensor(1, x.dtype), length)
    return [g * (x / safe / safe), -g * (y / safe / safe)]


atan2 = binary(
    "atan2",
    np.arctan2,
    lambda y, x: call("atan2", y, x),
    doc="Compute the angle, in [-pi, pi], whose sine is proportional to `x` and whose cosine to `y`.",
    notes="The gradient at (0, 0) is 0.",
    example=([0.0, 1.0], [1.0, 0.0]),
    dtypes=FLOATS,
    cost=40,
    gradient=_atan2_gradient,
)


# ------------------------------------------------------------------ hyperbolic
sinh = _function("sinh", "Compute the hyperbolic sine elementwise.", lambda g, out, x: [g * cosh(x)])
cosh: Unary = _function("cosh", "Compute the hyperbolic cosine elementwise.", lambda g, out, x: [g * sinh(x)])
tanh = _function(
    "tanh", "Compute the hyperbolic tangent elementwise.", lambda g, out, x: [g * (1 - square(out))]
)
asinh = _function(
    "asinh",
    "Compute the inverse hyperbolic sine elementwise.",
    lambda g, out, x: [g / hypot(x, 1.0)],
    numpy=np.arcsinh,
)
acosh = _function(
    "acosh",
    "Compute the inverse hyperbolic cosine elementwise; NaN below 1.",
    lambda g, out, x: [_inverse_root(g, x - 1) * rsqrt(x + 1)],
    domain=(1.2, 4.0),
    example=([1.0, 1.5, 3.0],),
    numpy=np.arccosh,
)
atanh = _function(
    "atanh",
    "Compute the inverse hyperbolic tangent elementwise; NaN outside [-1, 1].",
    lambda g, out, x: [g / _nonzero((1 - x) * (1 + x), g)],
    domain=_INSIDE_ONE,
    example=([-0.5, 0.0, 0.5],),
    numpy=np.arctanh,
)


# -------------------------------------------------------------- error function
_erf_of_number = np.frompyfunc(math.erf, 1, 1)


def erf_numpy(x: Any) -> Any:
    """Return the error function of an array: the C library's, within one ulp in float64."""
    return np.asarray(_erf_of_number(x), x.dtype)


def _erf_samples() -> Iterable[Sample]:
    # DLMF 7.2.1, evaluated to 16 digits.
    x = np.array([0.0, 0.5, 1.0, -2.0, 3.0])
    expected = np.array(
        [0.0, 0.5204998778130465, 0.8427007929497149, -0.9953222650189527, 0.9999779095030014]
    )
    yield Sample((x,), expected=expected)


erf = _function(
    "erf",
    "Compute the error function ``2 / sqrt(pi) * integral of exp(-t**2) from 0 to x`` elementwise.",
    lambda g, out, x: [g * (2 / math.sqrt(math.pi) * exp(-square(x)))],
    numpy=erf_numpy,
    samples=_erf_samples,
)


# -------------------------------------------------------------------- rounding
def _rounding(
    name: str, numpy: Callable[..., Any], fn: str, doc: str, dtypes: tuple[DType, ...] = DTYPES
) -> Unary:
    def meaning(x: Any) -> Any:
        return numpy(x) if x.dtype.kind == "f" else x

    def scalar(x: Expr) -> Expr:
        return call(fn, x) if is_float(x.dtype) else x

    return unary(
        name,
        meaning,
        scalar,
        doc=doc,
        notes="Integers are returned as they are.  The gradient is zero.",
        example=([-1.5, 0.5, 2.5],),
        dtypes=dtypes,
        gradient=lambda g, out, x: [None],
    )


floor = _rounding("floor", np.floor, "floor", "Round down to a whole number.")
ceil = _rounding("ceil", np.ceil, "ceil", "Round up to a whole number.")
trunc = _rounding("trunc", np.trunc, "trunc", "Round toward zero to a whole number.")
round = _rounding(
    "round", np.rint, "rint", "Round to the nearest whole number, ties to the even one.", NUMERIC
)
