"""Neighbouring floats, by their bits."""

from __future__ import annotations

from graphc.codegen.device import (
    copysign_f32,
    copysign_f64,
    f32,
    f32_as_i32,
    f64,
    f64_as_i64,
    i32,
    i32_as_f32,
    i64,
    i64_as_f64,
)


def nextafter_f32(x: f32, y: f32) -> f32:
    """Return the float next to `x` in the direction of `y`; nan if either is.

    >>> bool(nextafter_f32(f32(0), f32(1)) > f32(0))
    True
    """
    bits = f32_as_i32(x)
    # Away from zero is one up in the bits, whatever the sign.
    away = (x < y) == (x > f32(0.0))
    moved = i32_as_f32(i32(bits + i32(1)) if away else i32(bits - i32(1)))
    least = copysign_f32(i32_as_f32(i32(1)), y)
    stepped = least if x == f32(0.0) else moved
    result = y if x == y else stepped
    return x + y if (x != x) | (y != y) else result


def nextafter_f64(x: f64, y: f64) -> f64:
    """Return the float next to `x` in the direction of `y`; nan if either is.

    >>> bool(nextafter_f64(f64(0), f64(1)) > f64(0))
    True
    """
    bits = f64_as_i64(x)
    away = (x < y) == (x > f64(0.0))
    moved = i64_as_f64(i64(bits + i64(1)) if away else i64(bits - i64(1)))
    least = copysign_f64(i64_as_f64(i64(1)), y)
    stepped = least if x == f64(0.0) else moved
    result = y if x == y else stepped
    return x + y if (x != x) | (y != y) else result
