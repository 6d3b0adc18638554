"""Layer and root-mean-square norm, and the standardization that batch norm shares.

Two ops do the work, `standardize` and `rms_standardize`; scale and shift are ordinary
elementwise ops that fuse with what follows.  The gradients need two sums per row, those
of ``g`` and of ``g * out``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphc import ops
from graphc.dims import Shape
from graphc.errors import ArgumentError, ShapeError, caller
from graphc.lower.rules import Expand
from graphc.ops.attributes import AXES, REAL, Attributes
from graphc.ops.batching import batch_by, next_axes
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.ops.reductions import Axes, reduction_axes
from graphc.ops.statistics import as_float, mean, var
from graphc.tensor import Axes as AxisLike
from graphc.tensor import Tensor, TensorLike
from graphc.types import FLOATS, TensorType

__all__ = ["layer_norm", "rms_norm"]

Array = np.ndarray[Any, Any]


# ----------------------------------------------------------- layer and RMS norm
def layer_norm(
    x: TensorLike,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    axis: AxisLike = -1,
    eps: float = 1e-5,
) -> Tensor:
    """Bring the elements along axes to mean 0 and variance 1, then scale and shift them.

    Follows Ba, Kiros and Hinton, "Layer Normalization", 2016.

    Parameters
    ----------
    x : array_like
        Operand.
    weight, bias : array_like, optional
        Scale and shift, of the sizes of the normalized axes.
    axis : int or tuple of int, default -1
        Axes to normalize over.
    eps : float, default 1e-5
        Added to the variance.

    Returns
    -------
    Tensor
        Of the shape of `x`.

    Raises
    ------
    ArgumentError
        If an axis does not exist or is named twice, or `eps` is not a number of 0 or more.
    ShapeError
        If `weight` or `bias` does not have the sizes of the normalized axes.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.layer_norm(gx.constant([[1.0, 3.0], [5.0, 5.0]]), eps=1e-12)).round(3)
    array([[-1.,  1.],
           [ 0.,  0.]])
    """
    t = as_float(x)
    axes = reduction_axes(axis, t.ndim, "layer_norm")
    normal = STANDARDIZE(t, axes=axes, eps=checked_epsilon("layer_norm", eps))
    return scale_and_shift("layer_norm", normal, weight, bias, axes)


def rms_norm(
    x: TensorLike, weight: TensorLike | None = None, axis: AxisLike = -1, eps: float = 1e-5
) -> Tensor:
    """Bring the elements along axes to root-mean-square 1, then scale them.

    Follows Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.

    Parameters
    ----------
    x : array_like
        Operand.
    weight : array_like, optional
        Scale, of the sizes of the normalized axes.
    axis : int or tuple of int, default -1
        Axes to normalize over.
    eps : float, default 1e-5
        Added to the mean square.

    Returns
    -------
    Tensor
        Of the shape of `x`.

    Raises
    ------
    ArgumentError
        If an axis does not exist or is named twice, or `eps` is not a number of 0 or more.
    ShapeError
        If `weight` does not have the sizes of the normalized axes.

    Examples
    --------
    >>> import graphc as gx
    >>> gx.evaluate(gx.rms_norm(gx.constant([[2.0, -2.0]]), eps=0.0))
    array([[ 1., -1.]])
    """
    t = as_float(x)
    axes = reduction_axes(axis, t.ndim, "rms_norm")
    normal = _RMS(t, axes=axes, eps=checked_epsilon("rms_norm", eps))
    return scale_and_shift("rms_norm", normal, weight, None, axes)


def checked_epsilon(owner: str, eps: object) -> float:
    """Return `eps` as a float, or raise an `ArgumentError`."""
    if isinstance(eps, (int, float)) and not isinstance(eps, bool) and eps >= 0:
        return float(eps)
    raise ArgumentError(
        f"{owner}: bad eps", expected="a number of 0 or more", given=repr(eps), where=caller()
    )


def scale_and_shift(
    owner: str, x: Tensor, weight: TensorLike | None, bias: TensorLike | None, axes: Axes
) -> Tensor:
    """Multiply by `weight` and add `bias`, where given; both have the sizes of `axes`."""
    if weight is not None:
        x = x * _along_axes(owner, "weight", weight, x, axes)
    return x if bias is None else x + _along_axes(owner, "bias", bias, x, axes)


def _along_axes(owner: str, role: str, parameter: TensorLike, x: Tensor, axes: Axes) -> Tensor:
    """Return a parameter of the sizes of `axes` in a shape that broadcasts to that of `x`."""
    t = as_float(parameter)
    sizes = tuple(x.shape[a] for a in axes)
    fits = len(t.shape) == len(sizes) and all(map(_may_equal, t.shape, sizes))
    if not fits:
        raise ShapeError(
            f"{owner}: {role} does not fit",
            expected=f"shape {_text(sizes)}",
            given=f"shape {_text(t.shape)}",
            where=caller(),
        )
    if axes == tuple(range(x.ndim - len(axes), x.ndim)):
        return t
    spread = dict(zip(axes, t.shape, strict=True))
    return ops.reshape(t, tuple(spread.get(a, 1) for a in range(x.ndim)))


def _may_equal(a: object, b: object) -> bool:
    return a == b or not (isinstance(a, int) and isinstance(b, int))


def _text(shape: Shape) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


def _norm_rule(ctx: Infer, x: TensorType, axes: Axes, eps: float) -> TensorType:
    ctx.dtype_in(x.dtype, FLOATS)
    return x


def _count(x: Array, axes: Axes) -> Any:
    return x.dtype.type(np.prod([x.shape[a] for a in axes]))


def _mean_numpy(x: Array, axes: Axes) -> Any:
    return np.sum(x, axis=axes, keepdims=True) / _count(x, axes)


def _standardize_numpy(x: Array, axes: Axes, eps: float) -> Any:
    centered = x - _mean_numpy(x, axes)
    return centered / np.sqrt(_mean_numpy(centered * centered, axes) + x.dtype.type(eps))


def _rms_numpy(x: Array, axes: Axes, eps: float) -> Any:
    return x / np.sqrt(_mean_numpy(x * x, axes) + x.dtype.type(eps))


def _standardize_expand(x: Tensor, axes: Axes, eps: float) -> Tensor:
    return (x - mean(x, axis=axes, keepdims=True)) * _inverse_deviation(x, axes, eps)


def _inverse_deviation(x: Tensor, axes: Axes, eps: float) -> Tensor:
    return ops.rsqrt(var(x, axis=axes, keepdims=True) + eps)


def _rms_expand(x: Tensor, axes: Axes, eps: float) -> Tensor:
    return x * ops.rsqrt(mean(x * x, axis=axes, keepdims=True) + eps)


# Both recompute the scale from x: it merges with the forward pass where that is compiled along.
def _standardize_gradient(g: Tensor, out: Tensor, x: Tensor, axes: Axes, eps: float) -> Gradients:
    level = mean(g, axis=axes, keepdims=True)
    slope = mean(g * out, axis=axes, keepdims=True)
    return [(g - level - out * slope) * _inverse_deviation(x, axes, eps)]


def _rms_gradient(g: Tensor, out: Tensor, x: Tensor, axes: Axes, eps: float) -> Gradients:
    slope = mean(g * out, axis=axes, keepdims=True)
    return [(g - out * slope) * ops.rsqrt(mean(x * x, axis=axes, keepdims=True) + eps)]


def _layer_meaning(x: Array, axis: Any, eps: float = 1e-5) -> Array:
    found: Array = (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + eps)
    return found


def _rms_meaning(x: Array, axis: Any, eps: float = 1e-5) -> Array:
    found: Array = x / np.sqrt(np.square(x).mean(axis, keepdims=True) + eps)
    return found


def _norm_samples(function: Callable[..., Tensor], meaning: Callable[..., Array]) -> Iterable[Sample]:
    rng = np.random.default_rng(15)
    x = rng.normal(size=(3, 4, 2)) + 0.5
    for axis in (-1, 1, (1, 2), (0, -1)):
        yield Sample((x,), {"axis": axis}, expected=meaning(x, axis), call=function)
    yield Sample((x,), {"eps": 0.1}, expected=meaning(x, -1, 0.1), call=function)
    w = rng.normal(size=4)
    weighted = meaning(x, 1) * w[:, None]
    yield Sample((x, w), {"axis": 1}, expected=weighted, call=function)
    for shape in ((1,), (3, 1), (0, 3), (3, 0)):
        y = rng.normal(size=shape)
        yield Sample((y,), {}, expected=meaning(y, -1) if y.size else y, call=function)
    special = np.array([[1.0, np.nan], [np.inf, 1.0]])
    expected = np.array([[np.nan, np.nan], [np.nan, np.nan if function is layer_norm else 0.0]])
    yield Sample((special,), {}, expected=expected, call=function, differentiable=False)


def _layer_samples() -> Iterable[Sample]:
    yield from _norm_samples(layer_norm, _layer_meaning)
    x, w, b = np.random.default_rng(16).normal(size=(3, 4, 3))
    yield Sample((x, w[0], b[0]), {}, expected=_layer_meaning(x, -1) * w[0] + b[0])
    yield Sample((x, w, b), {"axis": (0, 1)}, expected=_layer_meaning(x, None) * w + b)


def _norm_errors(function: Callable[..., Tensor]) -> Iterable[ErrorSample]:
    x = np.ones((2, 3))
    yield ErrorSample(lambda: function(x, axis=2), ArgumentError, "out of range")
    yield ErrorSample(lambda: function(x, eps=-1.0), ArgumentError, "bad eps")
    yield ErrorSample(lambda: function(x, eps="small"), ArgumentError, "bad eps")
    yield ErrorSample(lambda: function(x, np.ones(2)), ShapeError, "weight does not fit")
    yield ErrorSample(lambda: function(x, np.ones((2, 3))), ShapeError, "weight does not fit")


_ATTRIBUTES: Attributes = {"axes": AXES, "eps": REAL}

STANDARDIZE = Op(
    "standardize",
    _norm_rule,
    _standardize_numpy,
    Expand(_standardize_expand),
    attributes=_ATTRIBUTES,
    gradient=_standardize_gradient,
    batch=batch_by(axes=next_axes),
    api=layer_norm,
    samples=_layer_samples,
    errors=lambda: _norm_errors(layer_norm),
    dtypes=FLOATS,
    cost=8,
)
_RMS = Op(
    "rms_standardize",
    _norm_rule,
    _rms_numpy,
    Expand(_rms_expand),
    attributes=_ATTRIBUTES,
    gradient=_rms_gradient,
    batch=batch_by(axes=next_axes),
    api=rms_norm,
    samples=lambda: _norm_samples(rms_norm, _rms_meaning),
    errors=lambda: _norm_errors(rms_norm),
    dtypes=FLOATS,
    cost=6,
)
