"""Resizing of images and their like, axis by axis.

Along one axis, element `o` of the result sums up a few neighbouring elements of the input,
times weights.  The adjoint, which is the gradient, turns that around: every element of the
input sums up those elements of the result that read it, which lie side by side too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import dims, ops
from graphc.dims import Dim, Shape
from graphc.errors import ArgumentError, ShapeError, caller
from graphc.lower.rules import Expand
from graphc.ops.attributes import AXIS, FLAG, SIZE, Use, word
from graphc.ops.axes import as_dim, is_int
from graphc.ops.batching import batch_by, next_axis
from graphc.ops.counting import size_tensor
from graphc.ops.elementwise import astype
from graphc.ops.gather_clipped import gather_clipped
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import FLOAT64, FLOATS, INT64, NUMERIC, TensorType, is_float

__all__ = ["resize"]

Array = np.ndarray[Any, Any]


def resize(
    x: TensorLike, size: Any = None, scale: Any = None, mode: str = "nearest", align_corners: bool = False
) -> Tensor:
    """Give the spatial axes other sizes, interpolating between elements.

    Elements are taken as the centers of cells that divide the same extent (half-pixel
    coordinates), or with `align_corners` as points of which the first and last coincide.

    Parameters
    ----------
    x : array_like, shape (batch, channels, *spatial)
        Operand.
    size : int or dimension, or one per spatial axis, optional
        New sizes.
    scale : int or float, or one per spatial axis, optional
        Factors in place of `size`; the new sizes are rounded down.
    mode : {"nearest", "nearest-exact", "linear", "cubic"}
        The element at ``floor(o * old / new)`` or at the nearest center; straight lines
        ("bilinear" and "trilinear" are other words for it), or cubic curves ("bicubic")
        with Keys's parameter -0.75.  Beyond the border the last element continues.
    align_corners : bool, default False
        For "linear" and "cubic".

    Returns
    -------
    Tensor

    Notes
    -----
    "nearest" by a whole factor is the unpooling that belongs to average pooling: a window's
    average comes back.  There is no smoothing when sizes shrink; use `avg_pool2d` for that.

    Raises
    ------
    ArgumentError
        If not just one of `size` and `scale` is given, the mode is unknown or has no corners.
    ShapeError
        If there are no spatial axes, or one of size 0.
    DTypeError
        If `x` is bool.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.resize([[[1.0, 3.0]]], size=4, mode="linear"))
    array([[[1. , 1.5, 2.5, 3. ]]])
    >>> x = gx.placeholder("x", shape=("batch", 3, "height", "width"))
    >>> gx.resize(x, scale=2)
    <Tensor float32[batch, 3, 2*height, 2*width]>
    """
    t = as_tensor(x)
    kind = _kind(mode, align_corners)
    if t.ndim < 3:
        raise ShapeError(
            "resize: operand of a wrong rank",
            expected="3 or more dimensions (batch, channels, space)",
            given=str(t.type),
            where=caller(),
        )
    y = t if kind in _NEAREST or is_float(t.dtype) else astype(t, FLOAT64)
    # From the last axis on: rows that are not needed twice are interpolated once.
    sizes = list(enumerate(_new_sizes(t.shape[2:], size, scale), start=2))
    for axis, new in reversed(sizes):
        if new != t.shape[axis]:
            attrs: dict[str, Any] = {"mode": kind, "align_corners": bool(align_corners), "adjoint": False}
            y = _RESIZE(y, axis=axis, old=t.shape[axis], new=new, **attrs)
    return y


def _kind(mode: Any, align_corners: object) -> str:
    kind = _MODES.get(mode) if isinstance(mode, str) else None
    if kind is None:
        raise ArgumentError(
            "resize: unknown mode", expected=" or ".join(_MODES), given=repr(mode), where=caller()
        )
    if align_corners and kind in _NEAREST:
        raise ArgumentError(
            "resize: bad align_corners", expected=f"False with mode {kind!r}", given="True", where=caller()
        )
    return kind


def _new_sizes(old: Shape, size: Any, scale: Any) -> tuple[Dim, ...]:
    if (size is None) == (scale is None):
        raise ArgumentError(
            "resize: bad size", expected="either size or scale", given=f"{size} and {scale}", where=caller()
        )
    given = size if scale is None else scale
    listed = tuple(given) if isinstance(given, (tuple, list)) else (given,) * len(old)
    if len(listed) != len(old):
        raise ArgumentError(
            "resize: bad size", expected=f"one number, or {len(old)}", given=repr(given), where=caller()
        )
    if scale is None:
        return tuple(as_dim(n, "resize") for n in listed)
    return tuple(_scaled(n, factor) for n, factor in zip(old, listed, strict=True))


def _scaled(n: Dim, factor: Any) -> Dim:
    if is_int(factor) and factor > 0:
        return n * int(factor)
    if isinstance(factor, (float, np.floating)) and factor > 0 and isinstance(n, int):
        return int(n * factor)
    expected = "a positive number" if isinstance(n, int) else f"a positive int, for an axis of size {n}"
    raise ArgumentError("resize: bad scale", expected=expected, given=repr(factor), where=caller())


# --------------------------------------------------------------- kernels of modes
# What element `o` reads: whole steps from the element at or before its position, and the
# weight of each as a function of the rest.
@dataclass(frozen=True)
class _Curve:
    first: int
    weights: Callable[[Any], tuple[Any, ...]]

    @property
    def count(self) -> int:
        return len(self.weights(0.0))


def _cubic(f: Any) -> tuple[Any, ...]:
    """Return the weights of four neighbours (Keys, 1981) with parameter -0.75."""
    a = -0.75

    def near(t: Any) -> Any:
        return ((a + 2) * t - (a + 3)) * t * t + 1

    def far(t: Any) -> Any:
        return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a

    return far(f + 1), near(f), near(1 - f), far(2 - f)


_CURVES = {
    "nearest": _Curve(0, lambda f: (1.0,)),
    "nearest-exact": _Curve(0, lambda f: (1.0,)),
    "linear": _Curve(0, lambda f: (1 - f, f)),
    "cubic": _Curve(-1, _cubic),
}
_NEAREST = ("nearest", "nearest-exact")
_MODES = {name: name for name in _CURVES} | {"bilinear": "linear", "trilinear": "linear", "bicubic": "cubic"}


@dataclass(frozen=True)
class _Axis:
    """How one axis changes its size; positions are computed in float64, or exactly."""

    old: Dim
    new: Dim
    mode: str
    align_corners: bool

    def taps(self, o: Tensor) -> list[tuple[Tensor, Any]]:
        """Return what elements `o` of the result read, before clipping, and with which weights."""
        if self.mode == "nearest":
            return [(o * _whole(self.old) // _whole(self.new), 1.0)]
        if self.mode == "nearest-exact":
            return [((2 * o + 1) * _whole(self.old) // (2 * _whole(self.new)), 1.0)]
        place = astype(o, FLOAT64)
        at = place * self._step() if self.align_corners else (place + 0.5) * self._step() - 0.5
        before = ops.floor(at)
        curve = _CURVES[self.mode]
        start = astype(before, INT64) + curve.first
        return [(start + k, weight) for k, weight in enumerate(curve.weights(at - before))]

    def readers(self, i: Tensor) -> tuple[Tensor, Dim]:
        """Return the first element of the result that may read elements `i`, and how many to look at."""
        curve = _CURVES[self.mode]
        # Positions of `i` and of elements count from corners or from the first center.
        center = 0 if self.align_corners or self.mode in _NEAREST else 1
        shift = 0 if self.align_corners or self.mode == "nearest" else 1
        # The last step of the window reaches `i`.
        reach = i - (curve.first + curve.count - 1)
        old, new = self._spans()
        low = (2 * reach + center) * _whole(new) // (2 * _whole(old)) - shift
        # A window of `count` steps holds that many elements, one more begins or ends in it.
        return low, dims.floordiv(curve.count * new, old) + 3

    def _spans(self) -> tuple[Dim, Dim]:
        """Return lengths, old and new, that coincide."""
        if not self.align_corners:
            return self.old, self.new
        return dims.maximum(self.old - 1, 1), dims.maximum(self.new - 1, 1)

    def _step(self) -> Tensor:
        old, new = (size_tensor(n, FLOAT64) for n in self._spans())
        return old / new


def _whole(n: Dim) -> Tensor:
    return size_tensor(n, INT64)


# ------------------------------------------------------------------------- the op
def _rule(ctx: Infer, x: TensorType, axis: int, adjoint: bool, **how: Any) -> TensorType:
    ctx.dtype_in(x.dtype, NUMERIC if how["mode"] in _NEAREST else FLOATS)
    before, after = (how["new"], how["old"]) if adjoint else (how["old"], how["new"])
    ctx.same(x.shape[axis], before, "the size along the axis")
    if before == 0 and after != 0:
        ctx.shape_error("nothing to interpolate between", "sizes of at least 1", x)
    return TensorType((*x.shape[:axis], after, *x.shape[axis + 1 :]), x.dtype)


def _matrix(old: int, new: int, mode: str, align_corners: bool) -> Array:
    """Return how much of each old element goes into each new one."""
    matrix, curve = np.zeros((new, old)), _CURVES[mode]
    step = max(old - 1, 1) / max(new - 1, 1) if align_corners else old / max(new, 1)
    for o in range(new if old else 0):
        at = o * step if align_corners else (o + 0.5) * step - 0.5
        before = int(np.floor(at))
        if mode in _NEAREST:
            before = o * old // new if mode == "nearest" else (2 * o + 1) * old // (2 * new)
        for k, weight in enumerate(curve.weights(at - before)):
            matrix[o, min(max(before + curve.first + k, 0), old - 1)] += weight
    return matrix


def _numpy(x: Array, axis: int, adjoint: bool, **how: Any) -> Array:
    matrix = _matrix(**how)
    if adjoint:
        matrix = matrix.T
    return np.moveaxis(np.tensordot(matrix.astype(x.dtype), x, (1, axis)), 0, axis)


def _expand(x: Tensor, axis: int, adjoint: bool, **how: Any) -> Tensor:
    return (_backward if adjoint else _forward)(x, axis, _Axis(**how))


def _forward(x: Tensor, axis: int, change: _Axis) -> Tensor:
    trailing = (-1, *[1] * (x.ndim - axis - 1))
    parts = []
    for index, weight in change.taps(ops.arange(change.new)):
        found = gather_clipped(x, [index], axis)
        scaled = isinstance(weight, Tensor)
        parts.append(found * astype(ops.reshape(weight, trailing), x.dtype) if scaled else found)
    return sum(parts[1:], parts[0])


def _backward(g: Tensor, axis: int, change: _Axis) -> Tensor:
    i = ops.expand_dims(ops.arange(change.old), 1)
    low, count = change.readers(i)
    o = low + ops.arange(count)
    last = size_tensor(change.old, INT64) - 1
    inside = (o >= 0) & (o < size_tensor(change.new, INT64))
    weights = [ops.where(ops.clip(at, 0, last) == i, weight, 0.0) for at, weight in change.taps(o)]
    total = ops.where(inside, sum(weights[1:], weights[0]), 0.0)
    kernel = ops.reshape(astype(total, g.dtype), (change.old, count, *[1] * (g.ndim - axis - 1)))
    return (gather_clipped(g, [o], axis) * kernel).sum(axis=axis + 1)


def _gradient(g: Tensor, out: Tensor, x: Tensor, adjoint: bool, **attrs: Any) -> Gradients:
    return [_RESIZE(g, adjoint=not adjoint, **attrs)]


def _samples() -> Iterable[Sample]:
    rng = np.random.default_rng(24)
    x = rng.normal(size=(2, 5, 3))
    sizes = ((3, 8), (5, 2))
    modes = [(mode, False) for mode in _CURVES] + [("linear", True), ("cubic", True)]
    for mode, corners in modes:
        for old, new in sizes:
            how: dict[str, Any] = {"old": old, "new": new, "mode": mode, "align_corners": corners}
            matrix = _matrix(**how)
            for adjoint in (False, True):
                shape = (2, new if adjoint else old, 3)
                value = rng.normal(size=shape)
                expected = np.einsum("oi,bon->bin" if adjoint else "oi,bin->bon", matrix, value)
                yield Sample((value,), {"axis": 1, "adjoint": adjoint, **how}, expected, _call)
        single = {"old": 1, "new": 4, "mode": mode, "align_corners": corners}
        yield Sample((x[:, :1],), {"axis": 1, "adjoint": False, **single}, np.repeat(x[:, :1], 4, 1), _call)
        ends = np.repeat(x[:, :1], 4, 1)
        yield Sample((ends,), {"axis": 1, "adjoint": True, **single}, 4 * x[:, :1], _call)
    line = np.array([[[1.0, 3.0, 2.0]]])
    yield Sample((line,), {"size": 6}, np.array([[[1.0, 1.0, 3.0, 3.0, 2.0, 2.0]]]))
    yield Sample((line,), {"size": 2, "mode": "nearest-exact"}, np.array([[[1.0, 2.0]]]))
    yield Sample(
        (line,), {"size": 5, "mode": "linear", "align_corners": True}, np.array([[[1.0, 2, 3, 2.5, 2]]])
    )
    yield Sample((line,), {"size": 6, "mode": "bilinear"}, np.array([[[1.0, 1.5, 2.5, 2.75, 2.25, 2.0]]]))
    plane = np.arange(4.0).reshape(1, 1, 2, 2)
    yield Sample((plane,), {"scale": (1, 2.5)}, np.array([[[[0.0, 0, 0, 1, 1], [2, 2, 2, 3, 3]]]]))
    yield Sample((np.array([[[7, 9]]], np.int8),), {"scale": 2}, np.array([[[7, 7, 9, 9]]], np.int8))
    yield Sample((np.ones((0, 1, 4)),), {"size": 6, "mode": "cubic"}, np.ones((0, 1, 6)))


def _call(x: Tensor, **attrs: Any) -> Tensor:
    return _RESIZE(x, **attrs)


def _errors() -> Iterable[ErrorSample]:
    x = np.ones((1, 2, 4, 4))
    yield ErrorSample(lambda: resize(x), ArgumentError, "bad size")
    yield ErrorSample(lambda: resize(x, 2, 2), ArgumentError, "bad size")
    yield ErrorSample(lambda: resize(x, (2, 2, 2)), ArgumentError, "bad size")
    yield ErrorSample(lambda: resize(x, -2), ArgumentError, "bad size")
    yield ErrorSample(lambda: resize(x, scale=0), ArgumentError, "bad scale")
    yield ErrorSample(lambda: resize(x, scale="two"), ArgumentError, "bad scale")
    yield ErrorSample(lambda: resize(x, 2, mode="lanczos"), ArgumentError, "unknown mode")
    yield ErrorSample(lambda: resize(x, 2, align_corners=True), ArgumentError, "bad align_corners")
    yield ErrorSample(lambda: resize(x[0, 0], 2), ShapeError, "wrong rank")
    yield ErrorSample(lambda: resize(x[..., :0], 2), ShapeError, "nothing to interpolate")


def _has_corners(value: Any, use: Use) -> bool:
    return not (value and use.attrs["mode"] in _NEAREST)


_RESIZE: Op = Op(
    "resize",
    _rule,
    _numpy,
    Expand(_expand),
    attributes={
        "axis": AXIS,
        "adjoint": FLAG,
        "old": SIZE,
        "new": SIZE,
        "mode": word(*_CURVES),
        "align_corners": FLAG.narrowed("of modes that interpolate", _has_corners),
    },
    gradient=_gradient,
    batch=batch_by(axis=next_axis),
    api=resize,
    samples=_samples,
    errors=_errors,
    dtypes=FLOATS,
    cost=8,
)
