"""Rounding to the values of floating-point types that graphc does not compute in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import graphc as gx
from graphc.tensor import Tensor
from graphc.types import is_float

Overflow = Literal["inf", "nan", "largest"]


@dataclass(frozen=True)
class Grid:
    """The values of a narrow floating-point type.

    Attributes
    ----------
    precision : int
        Significant bits, the leading one included.
    min_exponent : int
        Exponent of the smallest normal number; below it the spacing stays.
    largest : float
        Largest finite value.
    overflow : {"inf", "nan", "largest"}
        What numbers beyond it, once rounded, become.
    signed_zero : bool
        Whether there is a negative zero.
    """

    precision: int
    min_exponent: int
    largest: float
    overflow: Overflow = "inf"
    signed_zero: bool = True


def round_to(x: Tensor, grid: Grid, *, saturate: bool = False) -> Tensor:
    """Round to the nearest value of a narrow type, ties to even.

    Parameters
    ----------
    x : Tensor
        Floats of any width; rounded once.
    grid : Grid
        The type.
    saturate : bool, default False
        Whether what is beyond the largest value becomes that value.

    Returns
    -------
    Tensor of float64
        Every element is a value of the type.  Gradients pass as if nothing was rounded: those of a
        step function are zero, and a model of narrow floats could not be trained.

    Examples
    --------
    >>> import graphc as gx
    >>> half = Grid(11, -14, 65504.0)
    >>> gx.evaluate(round_to(gx.constant([1.0004, 3e-8, 65520.0]), half)).tolist()
    [1.0, 5.960464477539063e-08, inf]
    """
    if not is_float(x.dtype):
        return _nearest(x, grid, saturate)
    return gx.custom_gradient(
        lambda given: (_nearest(given, grid, saturate), lambda g: gx.astype(g, x.dtype))
    )(x)


def _nearest(x: Tensor, grid: Grid, saturate: bool) -> Tensor:
    wide = gx.astype(x, "float64")
    size = gx.abs(wide)
    finite = gx.isfinite(wide)
    spacing = gx.exp2(exponent(gx.where(finite, size, 1.0), grid.min_exponent) - (grid.precision - 1))
    rounded = gx.round(gx.where(finite, size, 1.0) / spacing) * spacing
    largest = gx.constant(grid.largest)
    beyond = _BEYOND["largest" if saturate else grid.overflow](largest)
    found = gx.where(finite & (rounded <= largest), rounded, beyond)
    signed = gx.where(gx.isnan(wide), wide, gx.copysign(found, wide))
    if grid.signed_zero:
        return signed
    return gx.where(signed == 0, gx.constant(0.0), signed)


# Sizes beyond the largest value, infinity among them.
_BEYOND = {
    "inf": lambda largest: largest + float("inf"),
    "nan": lambda largest: largest * float("nan"),
    "largest": lambda largest: largest,
}


def exponent(size: Tensor, least: int) -> Tensor:
    """Return the exponent of the binade that each finite size is in, and `least` for those below.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(exponent(gx.constant([0.75, 8.0, 9.0, 0.0]), -4)).tolist()
    [-1.0, 3.0, 3.0, -4.0]
    """
    lowest = float(least)
    # The logarithm is off by a little next to a power of two; comparing with the power is exact.
    guess = gx.floor(gx.log2(gx.maximum(size, 2.0**lowest)))
    low = gx.where(gx.exp2(guess) > size, guess - 1, guess)
    exact = gx.where(gx.exp2(low + 1) <= size, low + 1, low)
    return gx.maximum(exact, lowest)
