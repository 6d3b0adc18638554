"""Fourier transforms, of sizes that are fixed.

A transform of n = a*b elements is b transforms of a, a multiplication, and a transforms of b (Cooley
and Tukey, "An Algorithm for the Machine Calculation of Complex Fourier Series", 1965); small and prime
sizes are products with a matrix.  Real and imaginary parts are tensors of their own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import graphc as gx
from graphc.onnx.call import Call
from graphc.onnx.elements import Element, element_of
from graphc.onnx.registry import converter
from graphc.onnx.values import Value
from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]
Complex = tuple[Tensor, Tensor]
# Up to here one product is at least as fast.
DIRECT = 64


def transform(x: Complex, inverse: bool = False) -> Complex:
    """Return the transform along the last axis, the inverse one without its factor 1/n."""
    n = _length(x)
    factor = _factor(n)
    if n <= DIRECT or factor == 1:
        return _times_matrix(x, np.outer(np.arange(n), np.arange(n)) % n / max(n, 1), inverse)
    a, b = factor, n // factor
    lead = x[0].shape[:-1]
    rows = _each(lambda t: gx.swapaxes(gx.reshape(t, (*lead, a, b)), -1, -2), x)
    first = transform(rows, inverse)
    turned = _turned(first, np.outer(np.arange(b), np.arange(a)) / n, inverse)
    second = transform(_each(lambda t: gx.swapaxes(t, -1, -2), turned), inverse)
    return _each(lambda t: gx.reshape(gx.swapaxes(t, -1, -2), (*lead, n)), second)


def _length(x: Complex) -> int:
    n = x[0].shape[-1]
    return n if isinstance(n, int) else 0


def _factor(n: int) -> int:
    """Return the divisor next to the root of a size, 1 if it is prime."""
    return next((a for a in range(math.isqrt(n), 0, -1) if n % a == 0), 1)


def _each(change: Any, x: Complex) -> Complex:
    return change(x[0]), change(x[1])


def _waves(turns: Array, inverse: bool, like: Tensor) -> Complex:
    angles = 2 * np.pi * turns
    sine = np.sin(angles) if inverse else -np.sin(angles)
    return gx.constant(np.cos(angles), like.dtype), gx.constant(sine, like.dtype)


def _times_matrix(x: Complex, turns: Array, inverse: bool) -> Complex:
    (re, im), (cos, sin) = x, _waves(turns, inverse, x[0])
    return gx.matmul(re, cos) - gx.matmul(im, sin), gx.matmul(re, sin) + gx.matmul(im, cos)


def _turned(x: Complex, turns: Array, inverse: bool) -> Complex:
    (re, im), (cos, sin) = x, _waves(turns, inverse, x[0])
    return re * cos - im * sin, re * sin + im * cos


# -------------------------------------------------------------------- operators
@converter("DFT", since=17)
def _dft(call: Call) -> Tensor:
    x = call.tensor(0)
    axis = int(call.scalar(2)) if call.has(2) else call.integer("axis", 1 if call.version < 20 else -2)
    inverse, onesided = call.flag("inverse"), call.flag("onesided")
    at = axis % x.ndim
    parts = _each(lambda t: gx.moveaxis(t, at, -1), _parts(x))
    length = int(call.scalar(1)) if call.has(1) else None
    if inverse and onesided:
        parts = _whole_spectrum(call, parts, length)
    elif length is not None:
        parts = _each(lambda t: _fitted(t, length), parts)
    n = _fixed(call, parts)
    found = transform(parts, inverse)
    if inverse:
        found = _each(lambda t: t / n, found)
        kept = (found[0],) if onesided else found
    else:
        kept = _each(lambda t: t[..., : n // 2 + 1], found) if onesided else found
    return gx.stack([gx.moveaxis(t, -1, at) for t in kept], -1)


def _parts(x: Tensor) -> Complex:
    """Return real and imaginary part; real numbers have none.

    In double precision: waves cancel, and what is left of them would be rounding errors.
    """
    wide = gx.astype(x, "float64")
    re = wide[..., 0]
    return re, gx.zeros_like(re) if x.shape[-1] == 1 else wide[..., 1]


def _fixed(call: Call, x: Complex) -> int:
    n = x[0].shape[-1]
    if not isinstance(n, int) or n == 0:
        call.fail("a transform of an empty axis, or of a size that has a name", given=str(x[0].type))
    return n


def _fitted(t: Tensor, length: int) -> Tensor:
    """Return the first elements, or those there are and zeros."""
    n = t.shape[-1]
    if isinstance(n, int) and n < length:
        return gx.pad(t, [*[(0, 0)] * (t.ndim - 1), (0, length - n)])
    return t[..., :length]


def _whole_spectrum(call: Call, x: Complex, length: int | None) -> Complex:
    """Return the spectrum of real numbers from its first half."""
    half = _fixed(call, x)
    n = length if length is not None else 2 * (half - 1)
    re, im = _each(lambda t: _fitted(t, n // 2 + 1), x)
    mirrored = np.arange((n - 1) // 2, 0, -1)
    if not mirrored.size:
        return re, im
    return (
        gx.concat([re, gx.take(re, mirrored, -1)], -1),
        gx.concat([im, -gx.take(im, mirrored, -1)], -1),
    )


@converter("STFT", since=17)
def _stft(call: Call) -> Tensor:
    x, step = call.tensor(0), int(call.scalar(1))
    window = call.optional(2)
    length = int(call.scalar(3)) if call.has(3) else None
    if length is None:
        length = window.shape[0] if window is not None and isinstance(window.shape[0], int) else 0
    size = x.shape[1]
    if not isinstance(size, int) or not length:
        call.fail("frames of a size that is not fixed", given=str(x.type))
    frames = (size - length) // step + 1
    places = np.arange(frames)[:, None] * step + np.arange(length)
    parts = _each(lambda t: gx.take(t, places, 1), _parts(x))
    if window is not None:
        parts = _each(lambda t: t * window, parts)
    found = transform(parts)
    if call.flag("onesided", True):
        found = _each(lambda t: t[..., : length // 2 + 1], found)
    return gx.stack(list(found), -1)


@converter("MelWeightMatrix", since=17)
def _mel_weights(call: Call) -> Value:
    """Return triangles over frequencies, evenly spaced on the mel scale as the reference spaces them."""
    bins, size, rate, low, high = (call.scalar(k) for k in range(5))
    element: Element = element_of(call.integer("output_datatype", 1), call.label)
    count = int(bins) + 2
    mels = _mel(low) + (_mel(high) - _mel(low)) / count * np.arange(count)
    edges = 700 * np.expm1(mels / 2595 * math.log(10))
    places = np.floor((size + 1) * edges / rate).astype(np.int64)
    rows = np.arange(size // 2 + 1)[:, None]
    left, middle, right = places[:-2], places[1:-1], places[2:]
    with np.errstate(all="ignore"):
        rising = (rows - left) / (middle - left)
        falling = (right - rows) / (right - middle)
    weights = np.where((rows >= left) & (rows < middle), rising, 0.0)
    weights = np.where((rows > middle) & (rows < right), falling, weights)
    weights = np.where(rows == middle, 1.0, weights)
    return Value(element, known=weights.astype(element.carrier))


def _mel(frequency: float) -> float:
    return 2595 * math.log10(1 + frequency / 700)
