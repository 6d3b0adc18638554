"""Random draws that reject: each element loops until a candidate is accepted.

A candidate is enciphered from the draw's key, the element's position and the number of the attempt, so that
an element does not depend on what others reject.  `graphc.ops.rejection` states the same in NumPy.
"""

from __future__ import annotations

from typing import TypeAlias

from graphc.codegen.device import f64, fabs_f64, floor_f64, i32, i64, sqrt_f64
from graphc.codegen.mathlib.exponential import exp_f64
from graphc.codegen.mathlib.gamma_function import lgamma_positive_f64
from graphc.codegen.mathlib.logarithm import log_f64
from graphc.codegen.mathlib.trigonometric import sin_half_turns_f64

__all__ = ["random_below_i64", "random_gamma_f64", "random_poisson_f64"]

Whole: TypeAlias = i64 | int

MASK = 0xFFFFFFFF
PARITY = 0x1BD11BDA
# Attempts after which the last candidate is taken: beyond any that will be seen.
LIMIT = 1000


def mix(x: Whole, y: Whole, rotation: Whole) -> tuple[Whole, Whole]:
    """Return two words of 32 bits after one round of Threefry.

    >>> mix(1, 2, 13)
    (3, 16387)
    """
    total = (x + y) & MASK
    return total, (((y << rotation) | (y >> (32 - rotation))) & MASK) ^ total


def mix_even(x: Whole, y: Whole, first: Whole, second: Whole, number: Whole) -> tuple[Whole, Whole]:
    """Return two words after a group of four rounds and the injection of two words of the key.

    >>> mix_even(0, 0, 5, 6, 1)
    (5, 7)
    """
    x1, y1 = mix(x, y, 13)
    x2, y2 = mix(x1, y1, 15)
    x3, y3 = mix(x2, y2, 26)
    x4, y4 = mix(x3, y3, 6)
    return (x4 + first) & MASK, (y4 + second + number) & MASK


def mix_odd(x: Whole, y: Whole, first: Whole, second: Whole, number: Whole) -> tuple[Whole, Whole]:
    """Return two words after a group of four rounds with the other rotations.

    >>> mix_odd(0, 0, 5, 6, 1)
    (5, 7)
    """
    x1, y1 = mix(x, y, 17)
    x2, y2 = mix(x1, y1, 29)
    x3, y3 = mix(x2, y2, 16)
    x4, y4 = mix(x3, y3, 24)
    return (x4 + first) & MASK, (y4 + second + number) & MASK


def cipher(key0: i32, key1: i32, low: i32, high: i32, number: Whole) -> tuple[Whole, Whole]:
    """Return the words of candidate `number` at a position, by Threefry-2x32 with 20 rounds.

    >>> [hex(word) for word in cipher(0, 0, 0, 0, 0)]
    ['0x6b200159', '0x99ba4efe']
    """
    k0, k1 = i64(key0) & MASK, i64(key1) & MASK
    k2 = k0 ^ k1 ^ PARITY
    x = ((i64(low) & MASK) + k0) & MASK
    y = (((i64(high) & MASK) ^ (number << 20)) + k1) & MASK
    x1, y1 = mix_even(x, y, k1, k2, 1)
    x2, y2 = mix_odd(x1, y1, k2, k0, 2)
    x3, y3 = mix_even(x2, y2, k0, k1, 3)
    x4, y4 = mix_odd(x3, y3, k1, k2, 4)
    return mix_even(x4, y4, k2, k0, 5)


def random_gamma_f64(key0: i32, key1: i32, low: i32, high: i32, shape: f64) -> f64:
    """Draw from a gamma distribution of a shape of at least 1 (G. Marsaglia, W. W. Tsang, 2000).

    >>> bool(random_gamma_f64(0, 0, 0, 0, 1.0) > 0)
    True
    """
    d = shape - 1 / 3
    c = 1 / sqrt_f64(9 * d)
    v = f64(1)
    attempt = 0
    while attempt < LIMIT:
        first, second = cipher(key0, key1, low, high, 2 * attempt)
        third, fourth = cipher(key0, key1, low, high, 2 * attempt + 1)
        unit = (f64(first) * 2.0**32 + f64(third) + 0.5) * 2.0**-64
        turn = f64(second) * 2.0**-32 - 0.5
        x = sqrt_f64(-2 * log_f64(unit)) * sin_half_turns_f64(turn, f64(0), f64(0))
        root = 1 + c * x
        v = root * root * root
        bounded = v if root > 0 else f64(1)
        allowed = 0.5 * x * x + d * (1 - bounded + log_f64(bounded))
        accepted = (root > 0) & (log_f64((f64(fourth) + 0.5) * 2.0**-32) < allowed)
        attempt = LIMIT if accepted else attempt + 1
    return d * v


def random_poisson_f64(key0: i32, key1: i32, low: i32, high: i32, rate: f64) -> f64:
    """Draw from a Poisson distribution, by inversion for small rates, else W. Hormann's PTRS (1993).

    >>> random_poisson_f64(0, 0, 0, 0, 0.0)
    np.float64(0.0)
    """
    k = f64(0)
    if rate < 10:
        first, second = cipher(key0, key1, low, high, 0)
        unit = (f64(first) * 2.0**32 + f64(second) + 0.5) * 2.0**-64
        term = exp_f64(-rate)
        total = term
        while (unit > total) & (k < 100):
            k = k + 1
            term = term * (rate / k)
            total = total + term
    elif rate < 1e300:
        root = sqrt_f64(rate)
        logarithm = log_f64(rate)
        b = 0.931 + 2.53 * root
        a = -0.059 + 0.02483 * b
        scale = log_f64(1.1239 + 1.1328 / (b - 3.4))
        easy = 0.9277 - 3.6224 / (b - 2)
        attempt = 0
        while attempt < LIMIT:
            first, second = cipher(key0, key1, low, high, attempt)
            u = (f64(first) + 0.5) * 2.0**-32 - 0.5
            v = (f64(second) + 0.5) * 2.0**-32
            s = 0.5 - fabs_f64(u)
            k = floor_f64((2 * a / s + b) * u + rate + 0.43)
            bounded = k if k > 0 else f64(0)
            density = bounded * logarithm - rate - lgamma_positive_f64(bounded + 1)
            close = log_f64(v) + scale - log_f64(a / (s * s) + b) <= density
            outside = (k < 0) | ((s < 0.013) & (v > s))
            accepted = ((s >= 0.07) & (v <= easy)) | ((not outside) & close)
            attempt = LIMIT if accepted else attempt + 1
    return k


def whole_number(key0: i32, key1: i32, low: i32, high: i32, number: Whole) -> Whole:
    """Return candidate `number` as a number of 63 bits.

    >>> hex(whole_number(0, 0, 0, 0, 0))
    '0x6b20015999ba4efe'
    """
    first, second = cipher(key0, key1, low, high, number)
    return ((first & 0x7FFFFFFF) << 32) | second


def random_below_i64(key0: i32, key1: i32, low: i32, high: i32, span: Whole) -> Whole:
    """Draw a whole number from 0 to below span, each equally likely.

    >>> int(random_below_i64(0, 0, 0, 0, 1))
    0
    """
    most = 0x7FFFFFFFFFFFFFFF
    bounded = span if span > 0 else 1
    # From here on, the numbers that are left over would be drawn once more than others.
    last = most - (most % bounded + 1) % bounded
    attempt = 0
    value = whole_number(key0, key1, low, high, attempt)
    while (value > last) & (attempt < LIMIT):
        attempt = attempt + 1
        value = whole_number(key0, key1, low, high, attempt)
    return value % bounded
