"""Resizing by interpolation, along one axis after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as gx
from graphc import dims
from graphc.dims import Dim
from graphc.onnx.call import Call
from graphc.onnx.registry import converter
from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Curve:
    """How elements between elements are computed.

    Attributes
    ----------
    mode : {"nearest", "linear", "cubic"}
        Which elements count, and how much.
    transform : str
        Where element `o` of the result lies in the operand.
    nearest : str
        Which neighbour is nearest.
    cubic : float
        Keys's parameter.
    exclude_outside : bool
        Whether what lies outside has no weight, instead of the border's value.
    antialias : bool
        Whether curves are stretched where sizes shrink.
    outside : float
        Value of what "tf_crop_and_resize" takes from outside.
    """

    mode: str
    transform: str
    nearest: str = "round_prefer_floor"
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    outside: float = 0.0


@dataclass(frozen=True)
class Axis:
    """What happens to one axis: its sizes, their ratio, and the part that is looked at."""

    old: Dim
    new: Dim
    scale: float
    part: tuple[float, float] = (0.0, 1.0)


TRANSFORMS = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
    "tf_half_pixel_for_nn",
)


@converter("Resize", since=11)
def _resize(call: Call) -> Tensor:
    x = call.tensor(0)
    curve = Curve(
        mode=call.choice("mode", "nearest", ("nearest", "linear", "cubic")),
        transform=call.choice("coordinate_transformation_mode", "half_pixel", TRANSFORMS),
        nearest=call.choice("nearest_mode", "round_prefer_floor", tuple(_NEAREST)),
        cubic=call.number("cubic_coeff_a", -0.75),
        exclude_outside=call.flag("exclude_outside"),
        antialias=call.flag("antialias"),
        outside=call.number("extrapolation_value", 0.0),
    )
    axes = [a % x.ndim for a in call.integers("axes", None) or range(x.ndim)]
    changes = _by_sizes(call, x, axes) if call.has(3) else _by_scales(call, x, axes, 2)
    if call.has(1) and curve.transform == "tf_crop_and_resize":
        part = [float(v) for v in call.known(1)]
        count = len(axes)
        changes = [Axis(c.old, c.new, c.scale, (part[k], part[k + count])) for k, c in enumerate(changes)]
    return _resized(call, x, dict(zip(axes, changes, strict=True)), curve)


@converter("Resize", since=10)
@converter("Upsample", since=9)
def _upsample(call: Call) -> Tensor:
    x = call.tensor(0)
    mode = call.choice("mode", "nearest", ("nearest", "linear"))
    changes = _by_scales(call, x, list(range(x.ndim)), 1)
    return _resized(call, x, dict(enumerate(changes)), Curve(mode, "asymmetric", "floor"))


def _by_scales(call: Call, x: Tensor, axes: list[int], index: int) -> list[Axis]:
    scales = [float(s) for s in call.known(index)]
    return [Axis(x.shape[a], _scaled(call, x.shape[a], s), s) for a, s in zip(axes, scales, strict=True)]


def _scaled(call: Call, size: Dim, scale: float) -> Dim:
    if isinstance(size, int):
        return int(np.floor(size * np.float32(scale)))
    if scale == int(scale):
        return size * int(scale)
    return call.fail("a scale that is no whole number, of a size that has a name", given=f"{scale} of {size}")


def _by_sizes(call: Call, x: Tensor, axes: list[int]) -> list[Axis]:
    sizes, old = call.dims(3), [x.shape[a] for a in axes]
    policy = call.choice("keep_aspect_ratio_policy", "stretch", ("stretch", "not_larger", "not_smaller"))
    if policy == "stretch":
        return [Axis(n, m, _ratio(n, m)) for n, m in zip(old, sizes, strict=True)]
    if not all(isinstance(n, int) for n in (*sizes, *old)):
        call.fail(f"{policy} with a size that has a name", given=str(x.type))
    ratios = [_ratio(n, m) for n, m in zip(old, sizes, strict=True)]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return [Axis(n, int(np.floor(n * scale + 0.5)), scale) for n in old if isinstance(n, int)]


def _ratio(old: Dim, new: Dim) -> float:
    if isinstance(old, int) and isinstance(new, int):
        return new / old if old else 1.0
    factor = dims.floordiv(new, old)
    return float(factor) if isinstance(factor, int) else float("nan")


def _resized(call: Call, x: Tensor, changes: dict[int, Axis], curve: Curve) -> Tensor:
    crops = curve.transform == "tf_crop_and_resize"
    # From the last axis on: rows that are not needed twice are interpolated once.
    for axis in sorted(changes, reverse=True):
        change = changes[axis]
        if change.scale != 1 or change.old != change.new or (crops and change.part != (0.0, 1.0)):
            x = _along(call, x, axis, change, curve)
    return x


def _along(call: Call, x: Tensor, axis: int, change: Axis, curve: Curve) -> Tensor:
    repeats = change.scale == int(change.scale) if change.scale == change.scale else False
    if repeats and change.new == change.old * int(change.scale) and _is_repetition(curve):
        return gx.repeat(x, int(change.scale), axis)
    if isinstance(change.old, int) and isinstance(change.new, int):
        return _interpolated(x, axis, change, curve)
    plain = {("linear", "half_pixel"): False, ("linear", "align_corners"): True}
    corners = plain.get((curve.mode, curve.transform))
    if corners is None or curve.antialias or curve.exclude_outside:
        call.fail(
            "interpolation of this kind along an axis whose size has a name",
            expected="fixed sizes, or mode 'linear' with half_pixel or align_corners",
            given=f"{curve.mode}, {curve.transform} of {x.type}",
        )
    # The operation resizes axes behind the first two.
    at = gx.expand_dims(gx.moveaxis(x, axis, -1), (0, 0 + 1))
    sizes = (*at.shape[2:-1], change.new)
    found = gx.resize(at, size=sizes, mode="linear", align_corners=corners)
    return gx.moveaxis(gx.squeeze(found, (0, 1)), -1, axis)


def _is_repetition(curve: Curve) -> bool:
    """Tell whether resizing by a whole factor repeats every element."""
    asymmetric = curve.transform == "asymmetric" and curve.nearest == "floor"
    halves = curve.transform == "half_pixel" and curve.nearest.startswith("round")
    return curve.mode == "nearest" and (asymmetric or halves)


# --------------------------------------------------------------- interpolation
def _interpolated(x: Tensor, axis: int, change: Axis, curve: Curve) -> Tensor:
    """Add up the elements that count for each element of the result, by weights known now."""
    old, new = int(str(change.old)), int(str(change.new))
    positions = _POSITIONS[curve.transform](np.arange(new, dtype=np.float64), old, new, change)
    places, weights = _taps(positions, old, change.scale, curve)
    found: Tensor | None = None
    for tap in range(places.shape[1]):
        part = gx.take(x, np.clip(places[:, tap], 0, old - 1), axis)
        if curve.mode != "nearest":
            part = part * gx.reshape(
                gx.constant(weights[:, tap], x.dtype if x.dtype.kind == "f" else "float64"),
                tuple(-1 if a == axis else 1 for a in range(x.ndim)),
            )
        found = part if found is None else found + part
    result = x if found is None else gx.astype(found, x.dtype)
    if curve.transform != "tf_crop_and_resize":
        return result
    inside = (positions >= 0) & (positions <= old - 1)
    mask = gx.reshape(gx.constant(inside), tuple(-1 if a == axis else 1 for a in range(x.ndim)))
    return gx.where(mask, result, gx.constant(curve.outside, x.dtype))


def _taps(positions: Array, old: int, scale: float, curve: Curve) -> tuple[Array, Array]:
    """Return which elements count for each position, and how much."""
    if curve.mode == "nearest":
        return _NEAREST[curve.nearest](positions).astype(np.int64)[:, None], np.ones((len(positions), 1))
    stretch = min(scale, 1.0) if curve.antialias else 1.0
    reach = {"linear": 1, "cubic": 2}[curve.mode] / stretch
    count = int(np.ceil(reach))
    places = np.floor(positions).astype(np.int64)[:, None] + np.arange(1 - count, count + 1)
    distances = np.abs(places - positions[:, None]) * stretch
    weights = np.maximum(1 - distances, 0) if curve.mode == "linear" else _keys(distances, curve.cubic)
    if curve.exclude_outside:
        weights = np.where((places >= 0) & (places < old), weights, 0.0)
    if curve.exclude_outside or curve.antialias:
        weights = weights / weights.sum(1, keepdims=True)
    return places, weights


def _keys(distances: Array, a: float) -> Array:
    """Return the weights of Keys's cubic convolution ("Cubic Convolution Interpolation", 1981)."""
    d = distances
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _half_pixel(o: Array, old: int, new: int, change: Axis) -> Array:
    return (o + 0.5) / change.scale - 0.5


def _half_pixel_symmetric(o: Array, old: int, new: int, change: Axis) -> Array:
    center = old / 2 * (1 - new / (change.scale * old))
    return center + _half_pixel(o, old, new, change)


def _pytorch_half_pixel(o: Array, old: int, new: int, change: Axis) -> Array:
    return _half_pixel(o, old, new, change) if new > 1 else np.zeros_like(o)


def _align_corners(o: Array, old: int, new: int, change: Axis) -> Array:
    length = change.scale * old
    return o * (old - 1) / (length - 1) if length != 1 else np.zeros_like(o)


def _crop(o: Array, old: int, new: int, change: Axis) -> Array:
    first, last = change.part
    if new == 1:
        return np.full_like(o, (first + last) * (old - 1) / 2)
    return first * (old - 1) + o * (last - first) * (old - 1) / (new - 1)


_POSITIONS: dict[str, Callable[[Array, int, int, Axis], Array]] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "align_corners": _align_corners,
    "asymmetric": lambda o, old, new, change: o / change.scale,
    "tf_half_pixel_for_nn": lambda o, old, new, change: (o + 0.5) / change.scale,
    "tf_crop_and_resize": _crop,
}
_NEAREST: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda p: np.ceil(p - 0.5),
    "round_prefer_ceil": lambda p: np.floor(p + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
