"""Functions of kernel code that are no vector math: they may branch and loop."""

from __future__ import annotations

from graphc.codegen.device import i64
from graphc.codegen.device_draws import random_below_i64, random_gamma_f64, random_poisson_f64

__all__ = ["power_i64", "random_below_i64", "random_gamma_f64", "random_poisson_f64"]


def power_i64(base: i64, exponent: i64) -> i64:
    """Return base**exponent for an exponent of at least 0, by repeated squaring; overflow wraps around.

    >>> int(power_i64(3, 13)) == 3**13
    True
    """
    result = i64(1)
    while exponent > 0:
        result = result * (base if exponent & 1 else i64(1))
        base = base * base
        exponent = exponent >> 1
    return result
