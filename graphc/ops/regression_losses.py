"""Losses between tensors of one shape: regression, binary labels, distributions.

All but `kl_divergence` average over every axis but the first.  Shapes must agree exactly:
``(n,)`` against ``(n, 1)`` would broadcast to an ``(n, n)`` table of wrong losses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphc import ops
from graphc.errors import ArgumentError, ShapeError, caller
from graphc.lower.rules import Expand
from graphc.ops.axes import normalize_axis
from graphc.ops.batching import aligned
from graphc.ops.elementwise import astype
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.ops.reductions import sum as sum_
from graphc.ops.statistics import as_float, mean
from graphc.tensor import Tensor, TensorLike, promote
from graphc.types import FLOATS, TensorType

__all__ = [
    "binary_cross_entropy",
    "huber",
    "kl_divergence",
    "l1",
    "mse",
    "sigmoid_cross_entropy",
]

Array = np.ndarray[Any, Any]


# --------------------------------------------------------------- shared by all
def paired(owner: str, predictions: TensorLike, targets: TensorLike) -> tuple[Tensor, Tensor]:
    """Return both operands in one floating dtype, their shapes checked to agree."""
    a, b = as_float(predictions), as_float(targets)
    if a.ndim != b.ndim or not all(map(_may_agree, a.shape, b.shape)):
        raise ShapeError(
            f"{owner}: predictions and targets differ in shape",
            expected=str(a.type),
            given=str(b.type),
            where=caller(),
        )
    _, dtype = promote(a, b)
    return astype(a, dtype), astype(b, dtype)


def _may_agree(a: object, b: object) -> bool:
    # A static 1 against a symbolic size would broadcast, so it counts as different.
    return a == b or (1 not in (a, b) and not (isinstance(a, int) and isinstance(b, int)))


def _per_example(values: Tensor) -> Tensor:
    return mean(values, axis=tuple(range(1, values.ndim)))


# ------------------------------------------------------------------ regression
def mse(predictions: TensorLike, targets: TensorLike) -> Tensor:
    """Mean squared error.

    Parameters
    ----------
    predictions, targets : array_like
        Of the same shape; the first axis counts examples.

    Returns
    -------
    Tensor
        One value per example.

    Raises
    ------
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.losses import mse
    >>> gx.evaluate(mse(gx.constant([[1.0, 2.0], [3.0, 4.0]]), [[1.0, 4.0], [3.0, 4.0]]))
    array([2., 0.])
    """
    a, b = paired("mse", predictions, targets)
    difference = a - b
    return _per_example(difference * difference)


def l1(predictions: TensorLike, targets: TensorLike) -> Tensor:
    """Mean absolute error; its gradient at zero error is zero.

    Parameters
    ----------
    predictions, targets : array_like
        Of the same shape; the first axis counts examples.

    Returns
    -------
    Tensor
        One value per example.

    Raises
    ------
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.losses import l1
    >>> gx.evaluate(l1(gx.constant([[1.0, 2.0], [3.0, 4.0]]), [[1.0, 4.0], [3.0, 4.0]]))
    array([1., 0.])
    """
    a, b = paired("l1", predictions, targets)
    return _per_example(ops.abs(a - b))


def huber(predictions: TensorLike, targets: TensorLike, delta: float = 1.0) -> Tensor:
    """Huber loss: quadratic up to an error of `delta`, linear beyond.

    Follows Huber, "Robust Estimation of a Location Parameter", 1964.

    Parameters
    ----------
    predictions, targets : array_like
        Of the same shape; the first axis counts examples.
    delta : float, default 1.0
        Where the loss turns linear.

    Returns
    -------
    Tensor
        One value per example.

    Raises
    ------
    ShapeError
        If the shapes differ.
    ArgumentError
        If `delta` is not a positive number.

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.losses import huber
    >>> gx.evaluate(huber(gx.constant([0.0, 0.0]), [1.0, 3.0]))
    array([0.5, 2.5])
    """
    if isinstance(delta, bool) or not isinstance(delta, (int, float)) or not delta > 0:
        raise ArgumentError(
            "huber: bad delta", expected="a positive number", given=repr(delta), where=caller()
        )
    a, b = paired("huber", predictions, targets)
    size = ops.abs(a - b)
    near = ops.minimum(size, float(delta))
    # near**2 / 2 + delta * (size - near), in a form whose gradient has no kink at delta.
    return _per_example(near * (size - near * 0.5))


# ------------------------------------------------------ binary and distributions
def sigmoid_cross_entropy(logits: TensorLike, labels: TensorLike) -> Tensor:
    """Cross entropy of independent yes-or-no labels, from logits; never overflows.

    Parameters
    ----------
    logits : array_like
        Scores; the probability of yes is ``sigmoid(logits)``.
    labels : array_like
        Of the same shape: 0, 1, or a probability.

    Returns
    -------
    Tensor
        One value per example: the mean over all axes but the first.

    Raises
    ------
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.losses import sigmoid_cross_entropy
    >>> gx.evaluate(sigmoid_cross_entropy(gx.constant([0.0, 1000.0, -1000.0]), [1.0, 1.0, 1.0])).round(4)
    array([6.931e-01, 0.000e+00, 1.000e+03])
    """
    return _per_example(_SIGMOID_CROSS_ENTROPY(*paired("sigmoid_cross_entropy", logits, labels)))


def _sigmoid_rule(ctx: Infer, logits: TensorType, labels: TensorType) -> TensorType:
    ctx.dtype_in(logits.dtype, FLOATS, "logits")
    if labels.dtype != logits.dtype:
        ctx.dtype_error("labels differ in dtype", logits.dtype, labels.dtype)
    return TensorType(ctx.broadcast(logits.shape, labels.shape), logits.dtype)


def _sigmoid_numpy(logits: Array, labels: Array) -> Any:
    return np.maximum(logits, 0) - logits * labels + np.log1p(np.exp(-np.abs(logits)))


def _sigmoid_expand(logits: Tensor, labels: Tensor) -> Tensor:
    return ops.relu(logits) - logits * labels + ops.log1p(ops.exp(-ops.abs(logits)))


def _sigmoid_gradient(g: Tensor, out: Tensor, logits: Tensor, labels: Tensor) -> Gradients:
    return [g * (ops.sigmoid(logits) - labels), -(g * logits)]


def _sigmoid_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(18)
    for shape in ((5,), (3, 4), (1,), (0,), (2, 1)):
        x, z = rng.normal(size=shape) * 3, rng.uniform(size=shape)
        p = 1 / (1 + np.exp(-x))
        found = -(z * np.log(p) + (1 - z) * np.log(1 - p))
        yield Sample((x, z), expected=found.mean(tuple(range(1, len(shape)))))
    zero = np.zeros(2)
    yield Sample((zero, np.array([0.0, 1.0])), expected=np.full(2, np.log(2.0)))
    far = np.array([1e4, -1e4, 800.0])
    yield Sample((far, np.array([0.0, 1.0, 1.0])), expected=np.array([1e4, 1e4, 0.0]), differentiable=False)


_SIGMOID_CROSS_ENTROPY = Op(
    "sigmoid_cross_entropy",
    _sigmoid_rule,
    _sigmoid_numpy,
    Expand(_sigmoid_expand),
    gradient=_sigmoid_gradient,
    batch=aligned,
    api=sigmoid_cross_entropy,
    samples=_sigmoid_samples,
    errors=lambda: (*_pair_errors(sigmoid_cross_entropy)(), *_other_errors()),
    dtypes=FLOATS,
    cost=24,
)


def binary_cross_entropy(probabilities: TensorLike, labels: TensorLike) -> Tensor:
    """Cross entropy of independent yes-or-no labels, from probabilities.

    From logits, `sigmoid_cross_entropy` is more accurate.

    Parameters
    ----------
    probabilities : array_like
        Of yes, from 0 to 1.
    labels : array_like
        Of the same shape: 0, 1, or a probability.

    Returns
    -------
    Tensor
        One value per example: the mean over all axes but the first.

    Raises
    ------
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.losses import binary_cross_entropy
    >>> gx.evaluate(binary_cross_entropy(gx.constant([0.5, 1.0]), [1.0, 1.0])).round(4) + 0.0
    array([0.6931, 0.    ])
    """
    p, z = paired("binary_cross_entropy", probabilities, labels)
    return _per_example(-(_times_log(z, p) + _times_log(1 - z, 1 - p)))


def kl_divergence(p: TensorLike, q: TensorLike, axis: int = -1) -> Tensor:
    """Kullback-Leibler divergence ``sum(p * log(p / q))``; terms with ``p == 0`` are 0.

    Parameters
    ----------
    p, q : array_like
        Distributions of the same shape: the true one and its approximation.
    axis : int, default -1
        Axis over which each sums to one.

    Returns
    -------
    Tensor
        One value per example, the axis dropped; infinite where `q` is 0 and `p` is not.
        The gradient is 0 where `p` is 0.

    Raises
    ------
    ShapeError
        If the shapes differ.
    ArgumentError
        If the axis does not exist.

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.losses import kl_divergence
    >>> gx.evaluate(kl_divergence(gx.constant([[0.0, 1.0], [0.5, 0.5]]), [[0.5, 0.5], [0.5, 0.5]])).round(4)
    array([0.6931, 0.    ])
    """
    a, b = paired("kl_divergence", p, q)
    along = normalize_axis(axis, a.ndim, "kl_divergence")
    return sum_(_times_log(a, a) - _times_log(a, b), axis=along)


def _times_log(x: Tensor, y: Tensor) -> Tensor:
    """Return ``x * log(y)``, and 0 with zero gradient where x is 0 whatever y is."""
    absent = x == 0
    return ops.where(absent, 0, x * ops.log(ops.where(absent, 1, y)))


# ---------------------------------------------------------------------- errors
def _pair_errors(function: Callable[..., Any]) -> Callable[[], Iterable[ErrorSample]]:
    return lambda: (
        ErrorSample(lambda: function(np.ones(3), np.ones((3, 1))), ShapeError, "differ in shape"),
        ErrorSample(lambda: function(np.ones((2, 3)), np.ones((2, 1))), ShapeError, "differ in shape"),
    )


def _other_errors() -> Iterable[ErrorSample]:
    # Mistakes with the losses that are compositions and have no op of their own.
    for function in (mse, l1, huber, binary_cross_entropy, kl_divergence):
        yield from _pair_errors(function)()
    yield ErrorSample(lambda: huber(np.ones(3), np.ones(3), delta=0.0), ArgumentError, "bad delta")
    yield ErrorSample(lambda: kl_divergence(np.ones(3), np.ones(3), axis=1), ArgumentError, "out of range")
