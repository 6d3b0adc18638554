"""Vector and matrix norms, under their array-API names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np

from graphc import ops
from graphc.errors import ArgumentError, ShapeError, caller
from graphc.lower.rules import Expand
from graphc.ops.attributes import REAL, REDUCED
from graphc.ops.batching import batch_by, next_axes
from graphc.ops.elementwise import astype
from graphc.ops.extrema import max as max_
from graphc.ops.extrema import min as min_
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.ops.reductions import Axes, keep_axes, reduced_shape, reduction_axes
from graphc.ops.reductions import sum as sum_
from graphc.ops.statistics import as_float
from graphc.tensor import Axes as AxisLike
from graphc.tensor import Tensor, TensorLike
from graphc.types import FLOATS, TensorType

__all__ = ["matrix_norm", "vector_norm"]

Array = np.ndarray[Any, Any]


# ----------------------------------------------------------------- vector norm
def vector_norm(x: TensorLike, axis: AxisLike = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    """Compute the `ord`-norm of the vectors along axes: ``sum(abs(x)**ord)**(1/ord)``.

    Parameters
    ----------
    x : array_like
        Operand; integers and bools are converted to float64.
    axis : int or tuple of int, optional
        Axes that make up one vector; by default all.
    keepdims : bool, default False
        Keep the reduced axes with size 1.
    ord : float, default 2
        Order; ``inf`` and ``-inf`` take the largest and smallest magnitude, 0 counts the
        elements that are not zero.

    Returns
    -------
    Tensor
        The gradient at the zero vector is zero.

    Raises
    ------
    ArgumentError
        If an axis does not exist or is named twice, or `ord` is not a number.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.constant([3.0, -4.0])
    >>> [float(gx.evaluate(gx.vector_norm(x, ord=p))) for p in (1, 2, float("inf"))]
    [7.0, 5.0, 4.0]
    """
    t = as_float(x)
    axes = reduction_axes(axis, t.ndim, "vector_norm")
    order = _order(ord)
    if order in _SPECIAL:
        return _SPECIAL[order](t, axes, bool(keepdims))
    return _NORM(t, axes=axes, keepdims=bool(keepdims), ord=order) if axes else ops.abs(t)


def _order(ord: object) -> float:
    if isinstance(ord, (int, float)) and not isinstance(ord, bool) and ord == ord:
        return float(ord)
    raise ArgumentError("vector_norm: bad ord", expected="a number", given=repr(ord), where=caller())


def _count(x: Tensor, axes: Axes, keepdims: bool) -> Tensor:
    return sum_(astype(x != 0, x.dtype), axis=axes, keepdims=keepdims)


_SPECIAL: dict[float, Callable[[Tensor, Axes, bool], Tensor]] = {
    np.inf: lambda x, axes, keepdims: max_(ops.abs(x), axis=axes, keepdims=keepdims),
    -np.inf: lambda x, axes, keepdims: min_(ops.abs(x), axis=axes, keepdims=keepdims),
    0.0: _count,
}


def _norm_rule(ctx: Infer, x: TensorType, axes: Axes, keepdims: bool, ord: float) -> TensorType:
    ctx.dtype_in(x.dtype, FLOATS)
    return TensorType(reduced_shape(x.shape, axes, keepdims), x.dtype)


def _norm_numpy(x: Array, axes: Axes, keepdims: bool, ord: float) -> Any:
    if ord == 2:
        return np.sqrt(np.sum(x * x, axis=axes, keepdims=keepdims))
    return np.sum(np.abs(x) ** ord, axis=axes, keepdims=keepdims) ** (1 / ord)


def _norm_expand(x: Tensor, axes: Axes, keepdims: bool, ord: float) -> Tensor:
    if ord == 1:
        return sum_(ops.abs(x), axis=axes, keepdims=keepdims)
    if ord == 2:
        return ops.sqrt(sum_(x * x, axis=axes, keepdims=keepdims))
    return ops.pow(sum_(ops.pow(ops.abs(x), ord), axis=axes, keepdims=keepdims), 1 / ord)


def _norm_gradient(g: Tensor, out: Tensor, x: Tensor, axes: Axes, keepdims: bool, ord: float) -> Gradients:
    scale = keep_axes(g, axes, keepdims)
    if ord == 1:
        return [ops.sign(x) * scale]
    kept = keep_axes(out, axes, keepdims)
    # The zero vector is divided by one: its gradient is zero, not 0 / 0.
    length = ops.where(kept == 0, 1, kept)
    if ord == 2:
        return [x * (scale / length)]
    return [ops.sign(x) * ops.pow(ops.abs(x) / length, ord - 1) * scale]


def _norm_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(14)
    x = rng.permutation(24).reshape(3, 4, 2) / 7.0 - 1.6
    for ord in (2, 1, 3, 1.5, -1, np.inf, -np.inf, 0):
        expected = np.linalg.vector_norm(x, axis=1, ord=ord)
        yield Sample((x,), {"axis": 1, "ord": ord}, expected=expected)
    yield Sample((x,), {}, expected=np.asarray(np.sqrt((x**2).sum())))
    expected = np.linalg.vector_norm(x, axis=(0, 2), keepdims=True)
    yield Sample((x,), {"axis": (0, -1), "keepdims": True}, expected=expected)
    yield Sample((np.array(-3.0),), {}, expected=np.array(3.0))
    for shape in ((1,), (3, 1), (0, 3), (3, 0)):
        y = rng.normal(size=shape)
        yield Sample((y,), {"axis": -1}, expected=np.asarray(np.linalg.vector_norm(y, axis=-1)))
    special = np.array([[0.0, -0.0], [np.inf, 1.0], [np.nan, 1.0]])
    yield Sample((special,), {"axis": 1}, expected=np.array([0.0, np.inf, np.nan]), differentiable=False)


_NORM = Op(
    "vector_norm",
    _norm_rule,
    _norm_numpy,
    Expand(_norm_expand),
    attributes={**REDUCED, "ord": REAL.narrowed("not 0", lambda value, use: value != 0)},
    gradient=_norm_gradient,
    batch=batch_by(axes=next_axes),
    api=vector_norm,
    samples=_norm_samples,
    errors=lambda: (
        ErrorSample(lambda: vector_norm(np.ones(3), axis=1), ArgumentError, "out of range"),
        ErrorSample(lambda: vector_norm(np.ones(3), ord=cast("Any", "fro")), ArgumentError, "bad ord"),
        ErrorSample(lambda: vector_norm(np.ones((2, 0)), axis=1, ord=np.inf), ShapeError, "empty axis"),
    ),
    dtypes=FLOATS,
    cost=2,
)


# ----------------------------------------------------------------- matrix norm
def matrix_norm(x: TensorLike, keepdims: bool = False, ord: float | str = "fro") -> Tensor:
    """Compute a norm of the matrices in the last two axes.

    Parameters
    ----------
    x : array_like
        Operand of two or more dimensions.
    keepdims : bool, default False
        Keep the last two axes with size 1.
    ord : {"fro", 1, -1, inf, -inf}, default "fro"
        Frobenius norm; largest or smallest column sum of magnitudes; the same of row sums.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If `x` has fewer than two dimensions.
    ArgumentError
        If `ord` is another norm: those need singular values.

    Examples
    --------
    >>> import graphc as gx
    >>> float(gx.evaluate(gx.matrix_norm(gx.constant([[1.0, 2.0], [2.0, 4.0]]))))
    5.0
    """
    t = as_float(x)
    if t.ndim < 2:
        raise ShapeError(
            "matrix_norm: too few dimensions", expected="two or more", given=str(t.type), where=caller()
        )
    if ord == "fro":
        return vector_norm(t, axis=(-2, -1), keepdims=keepdims)
    if ord not in _MATRIX_ORDERS:
        raise ArgumentError(
            "matrix_norm: bad ord", expected="'fro', 1, -1, inf or -inf", given=repr(ord), where=caller()
        )
    summed, extremum = _MATRIX_ORDERS[cast("float", ord)]
    sums = sum_(ops.abs(t), axis=summed, keepdims=True)
    found = extremum(sums, axis=(-2, -1), keepdims=True)
    return found if keepdims else ops.squeeze(found, (t.ndim - 2, t.ndim - 1))


_MATRIX_ORDERS: dict[Any, tuple[int, Callable[..., Tensor]]] = {
    1: (-2, max_),
    -1: (-2, min_),
    np.inf: (-1, max_),
    -np.inf: (-1, min_),
}
