"""Classification losses: softmax cross entropy and the multiclass hinge.

An integer label must name a class: one that does not stops the run with an
`IndexRangeError`, and negative labels do not count from the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np

from graphc import ops
from graphc.dims import Dim
from graphc.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError, caller
from graphc.lower import expr
from graphc.lower.expr import Expr
from graphc.lower.rules import Expand, Index, Map, Site
from graphc.ops.attributes import AXIS, SIZE, at_least
from graphc.ops.axes import normalize_axis
from graphc.ops.batching import batch_by, next_axis
from graphc.ops.elementwise import astype
from graphc.ops.op import ErrorSample, Gradients, Infer, Op, Sample
from graphc.ops.reductions import sum as sum_
from graphc.ops.regression_losses import paired
from graphc.ops.soft_maximum import below_max, log_softmax, softmax
from graphc.ops.statistics import as_float
from graphc.tensor import Tensor, TensorLike, as_tensor
from graphc.types import BOOL, FLOATS, INT64, INTEGERS, TensorType, is_float, is_integer

__all__ = ["multiclass_hinge", "softmax_cross_entropy"]

Array = np.ndarray[Any, Any]


# ----------------------------------------------------------------- public face
def softmax_cross_entropy(logits: TensorLike, labels: TensorLike, axis: int = -1) -> Tensor:
    """Cross entropy between labels and the softmax of logits, from the logits themselves.

    Parameters
    ----------
    logits : array_like
        Scores of the classes.
    labels : array_like
        Integers: the class of every example, of the shape of `logits` without `axis`.
        Floats: the probability of every class, of the shape of `logits`.
    axis : int, default -1
        Axis of the classes.

    Returns
    -------
    Tensor
        One value per example, of the shape of `logits` without `axis`.

    Raises
    ------
    ShapeError
        If the labels do not fit the logits.
    DTypeError
        If the labels are bool.
    ArgumentError
        If the axis does not exist.
    IndexRangeError
        When run, if an integer label is not a class.

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.losses import softmax_cross_entropy
    >>> logits = gx.constant([[0.0, 0.0], [1000.0, 0.0]])
    >>> gx.evaluate(softmax_cross_entropy(logits, [0, 1])).round(4)
    array([6.931e-01, 1.000e+03])
    """
    x, t = as_float(logits), as_tensor(labels)
    along = normalize_axis(axis, x.ndim, "softmax_cross_entropy")
    if is_float(t.dtype):
        return _DENSE(*paired("softmax_cross_entropy", x, t), axis=along)
    return _SPARSE(x, _classes("softmax_cross_entropy", x, t, along), axis=along)


def multiclass_hinge(scores: TensorLike, labels: TensorLike, margin: float = 1.0, axis: int = -1) -> Tensor:
    """Multiclass hinge loss: how far other classes come within `margin` of the right one.

    For every example, ``sum(max(0, scores[j] - scores[label] + margin))`` over the other
    classes j.  Follows Weston and Watkins, "Support Vector Machines for Multi-Class
    Pattern Recognition", 1999.

    Parameters
    ----------
    scores : array_like
        Scores of the classes.
    labels : array_like of int
        The class of every example, of the shape of `scores` without `axis`.
    margin : float, default 1.0
        By how much the right class should lead.
    axis : int, default -1
        Axis of the classes.

    Returns
    -------
    Tensor
        One value per example.

    Raises
    ------
    ShapeError, DTypeError
        If the labels do not fit the scores or are not integers.
    ArgumentError
        If the axis does not exist or `margin` is not a number.
    IndexRangeError
        When run, if a label is not a class.

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ops.losses import multiclass_hinge
    >>> gx.evaluate(multiclass_hinge(gx.constant([[3.0, 2.5, 0.0]]), [0]))
    array([0.5])
    """
    if isinstance(margin, bool) or not isinstance(margin, (int, float)):
        raise ArgumentError(
            "multiclass_hinge: bad margin", expected="a number", given=repr(margin), where=caller()
        )
    x = as_float(scores)
    along = normalize_axis(axis, x.ndim, "multiclass_hinge")
    mask = _class_mask(_classes("multiclass_hinge", x, as_tensor(labels), along), x, along)
    right = sum_(ops.where(mask, x, 0), axis=along, keepdims=True)
    return sum_(ops.where(mask, 0, ops.relu(x - right + float(margin))), axis=along)


def _classes(owner: str, x: Tensor, labels: Tensor, axis: int) -> Tensor:
    expected = TensorType((*x.shape[:axis], *x.shape[axis + 1 :]), INT64)
    given = str(labels.type)
    if not is_integer(labels.dtype):
        raise DTypeError(
            f"{owner}: labels are not integers", expected=str(expected), given=given, where=caller()
        )
    if labels.ndim != expected.ndim or not all(map(_may_equal, labels.shape, expected.shape)):
        raise ShapeError(f"{owner}: labels do not fit", expected=str(expected), given=given, where=caller())
    return labels


def _may_equal(a: Dim, b: Dim) -> bool:
    return a == b or not (isinstance(a, int) and isinstance(b, int))


# ------------------------------------------------------------------- class mask
def _class_mask(labels: Tensor, x: Tensor, axis: int) -> Tensor:
    """Return, in the shape of `x`, where its position along `axis` is the example's label."""
    return _MASK(labels, axis=axis, classes=x.shape[axis])


def _mask_rule(ctx: Infer, labels: TensorType, axis: int, classes: Dim) -> TensorType:
    ctx.dtype_in(labels.dtype, INTEGERS, "labels")
    return TensorType((*labels.shape[:axis], classes, *labels.shape[axis:]), BOOL)


def _mask_numpy(labels: Array, axis: int, classes: int) -> Any:
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
        raise IndexRangeError(
            "a label is not a class", expected=f"0 to {classes - 1}", given=str(wrong.flat[0])
        )
    position = np.arange(classes).reshape(-1, *(1 for _ in range(labels.ndim - axis)))
    return np.expand_dims(labels, axis) == position


def _mask_lower(site: Site, index: Index) -> Expr:
    axis = site.attrs["axis"]
    label = expr.cast(site.read(0, (*index[:axis], *index[axis + 1 :])), INT64)
    in_range = (label >= expr.ZERO) & (label < expr.size(site.attrs["classes"]))
    # The check does not depend on the class, so it leaves the loop over classes.
    return expr.check(in_range, label, site.message).eq(index[axis])


def _mask_samples() -> Iterable[Sample]:
    labels = np.array([2, 0, 1])
    yield Sample((labels,), {"axis": 1, "classes": 3}, expected=np.eye(3)[labels] == 1, call=_MASK)
    yield Sample((labels,), {"axis": 0, "classes": 4}, expected=np.eye(4)[labels].T == 1, call=_MASK)
    grid = np.array([[1], [0]], np.uint8)
    expected = np.array([[[False], [True]], [[True], [False]]])
    yield Sample((grid,), {"axis": 1, "classes": 2}, expected=expected, call=_MASK)
    yield Sample((labels[:0],), {"axis": 1, "classes": 0}, expected=np.zeros((0, 0), bool), call=_MASK)


_MASK = Op(
    "class_mask",
    _mask_rule,
    _mask_numpy,
    Map(_mask_lower),
    attributes={
        "axis": at_least(0).narrowed("an axis of the result", lambda value, use: value <= use.ndim),
        "classes": SIZE,
    },
    batch=batch_by(axis=next_axis),
    samples=_mask_samples,
    dtypes=INTEGERS,
)


# --------------------------------------------------- cross entropy of integer labels
def _without(type: TensorType, axis: int) -> TensorType:
    return TensorType((*type.shape[:axis], *type.shape[axis + 1 :]), type.dtype)


def _sparse_rule(ctx: Infer, x: TensorType, labels: TensorType, axis: int) -> TensorType:
    ctx.dtype_in(x.dtype, FLOATS, "logits")
    ctx.dtype_in(labels.dtype, INTEGERS, "labels")
    result = _without(x, axis)
    ctx.rank(labels, result.ndim, "labels")
    for a, b in zip(result.shape, labels.shape, strict=True):
        ctx.same(a, b, "labels and logits differ in the number of examples")
    return result


def _sparse_numpy(x: Array, labels: Array, axis: int) -> Any:
    shifted = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    mask = _mask_numpy(labels, axis, x.shape[axis])
    chosen = np.sum(np.where(mask, shifted, x.dtype.type(0)), axis=axis)
    return np.log(np.sum(np.exp(shifted), axis=axis)) - chosen


def _sparse_expand(x: Tensor, labels: Tensor, axis: int) -> Tensor:
    shifted = below_max(x, (axis,))
    # Both sums run in one pass over the row, no gather breaks the fusion, and with its axis
    # kept the first is the softmax's own sum, which the gradient shares.
    chosen = sum_(ops.where(_class_mask(labels, x, axis), shifted, 0), axis=axis, keepdims=True)
    total = sum_(ops.exp(shifted), axis=axis, keepdims=True)
    return ops.squeeze(ops.log(total) - chosen, axis)


def _sparse_gradient(g: Tensor, out: Tensor, x: Tensor, labels: Tensor, axis: int) -> Gradients:
    target = astype(_class_mask(labels, x, axis), x.dtype)
    return [(softmax(x, axis) - target) * ops.expand_dims(g, axis), None]


def _sparse_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(19)
    x, labels = rng.normal(size=(4, 3)) * 2, np.array([2, 0, 1, 2])
    yield Sample((x, labels), expected=_plain_cross_entropy(x, np.eye(3)[labels]))
    yield Sample((x, labels.astype(np.uint8)), expected=_plain_cross_entropy(x, np.eye(3)[labels]))
    pixels = rng.normal(size=(2, 3, 4))
    classes = rng.integers(0, 3, (2, 4))
    expected = _plain_cross_entropy(np.moveaxis(pixels, 1, -1), np.eye(3)[classes])
    yield Sample((pixels, classes), {"axis": 1}, expected=expected)
    yield Sample((x[:0], labels[:0]), expected=np.zeros(0))
    yield Sample((x[:1, :1], labels[1:2]), expected=np.zeros(1))
    yield Sample((x[0], np.array(1)), expected=_plain_cross_entropy(x[0], np.eye(3)[1]))
    far = np.array([[1e5, 0.0, -np.inf], [1e5, 0.0, -np.inf], [0.0, np.nan, 0.0]])
    found = np.array([1e5, np.inf, np.nan])
    yield Sample((far, np.array([1, 2, 0])), expected=found, differentiable=False)


def _plain_cross_entropy(x: Array, target: Array) -> Array:
    p = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    return np.asarray(-(target * np.log(p)).sum(-1))


def _label_errors(function: Callable[..., Any]) -> Iterable[ErrorSample]:
    x = np.ones((4, 3))
    yield ErrorSample(lambda: function(x, np.zeros(5, int)), ShapeError, "labels do not fit")
    yield ErrorSample(lambda: function(x, np.zeros((4, 1), int)), ShapeError, "labels do not fit")
    yield ErrorSample(lambda: function(x, np.zeros((4, 3), bool)), DTypeError, "labels")
    yield ErrorSample(lambda: function(x, np.zeros(4, int), axis=2), ArgumentError, "out of range")


def _hinge_errors() -> Iterable[ErrorSample]:
    x, labels = np.ones((4, 3)), np.zeros(4, int)
    yield from _label_errors(multiclass_hinge)
    yield ErrorSample(lambda: multiclass_hinge(x, np.ones((4, 3))), DTypeError, "labels")
    bad = cast("Any", "wide")
    yield ErrorSample(lambda: multiclass_hinge(x, labels, margin=bad), ArgumentError, "bad margin")


_SPARSE = Op(
    "sparse_softmax_cross_entropy",
    _sparse_rule,
    _sparse_numpy,
    Expand(_sparse_expand),
    attributes={"axis": AXIS},
    gradient=_sparse_gradient,
    batch=batch_by(axis=next_axis),
    api=softmax_cross_entropy,
    samples=_sparse_samples,
    errors=lambda: (*_label_errors(softmax_cross_entropy), *_hinge_errors()),
    dtypes=FLOATS,
    cost=16,
)


# ---------------------------------------------- cross entropy of label probabilities
def _dense_rule(ctx: Infer, x: TensorType, target: TensorType, axis: int) -> TensorType:
    ctx.dtype_in(x.dtype, FLOATS, "logits")
    if target.dtype != x.dtype:
        ctx.dtype_error("labels differ in dtype", x.dtype, target.dtype)
    ctx.rank(target, x.ndim, "labels")
    for a, b in zip(x.shape, target.shape, strict=True):
        ctx.same(a, b, "labels and logits differ in shape")
    return _without(x, axis)


def _dense_numpy(x: Array, target: Array, axis: int) -> Any:
    shifted = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    logs = shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))
    return -np.sum(np.where(target == 0, x.dtype.type(0), target * logs), axis=axis)


def _dense_expand(x: Tensor, target: Tensor, axis: int) -> Tensor:
    # A class of probability 0 counts nothing, even where its log-probability is -inf.
    terms = ops.where(target == 0, 0, target * log_softmax(x, axis))
    return -sum_(terms, axis=axis)


def _dense_gradient(g: Tensor, out: Tensor, x: Tensor, target: Tensor, axis: int) -> Gradients:
    wide = ops.expand_dims(g, axis)
    total = sum_(target, axis=axis, keepdims=True)
    return [(softmax(x, axis) * total - target) * wide, -(log_softmax(x, axis) * wide)]


def _dense_samples() -> Iterable[Sample]:
    rng = np.random.default_rng(20)
    x, target = rng.normal(size=(4, 3)) * 2, rng.uniform(0.1, 1.0, size=(4, 3))
    yield Sample((x, target), expected=_plain_cross_entropy(x, target))
    yield Sample((x, target), {"axis": 0}, expected=_plain_cross_entropy(x.T, target.T))
    yield Sample((x, np.eye(4, 3)), expected=_plain_cross_entropy(x, np.eye(4, 3)))
    yield Sample((x[:0], target[:0]), expected=np.zeros(0))
    far = np.array([[1e5, 0.0, -np.inf]])
    yield Sample((far, np.array([[0.5, 0.5, 0.0]])), expected=np.array([5e4]), differentiable=False)


_DENSE = Op(
    "softmax_cross_entropy",
    _dense_rule,
    _dense_numpy,
    Expand(_dense_expand),
    attributes={"axis": AXIS},
    gradient=_dense_gradient,
    batch=batch_by(axis=next_axis),
    api=softmax_cross_entropy,
    samples=_dense_samples,
    errors=lambda: (
        ErrorSample(
            lambda: softmax_cross_entropy(np.ones((4, 3)), np.ones(4)), ShapeError, "differ in shape"
        ),
    ),
    dtypes=FLOATS,
    cost=16,
)
