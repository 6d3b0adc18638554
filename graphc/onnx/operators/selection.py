"""Selection by values: how much is selected must be known, so what decides on it must be."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gx
from graphc.onnx.call import Call
from graphc.onnx.elements import INTEGER
from graphc.onnx.registry import converter
from graphc.onnx.values import Value
from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]


@converter("Compress", since=9, exact=True)
def _compress(call: Call) -> Tensor:
    x, axis = call.tensor(0), call.integer("axis", None)
    chosen = np.flatnonzero(call.known(1))
    return gx.take(gx.reshape(x, (-1,)), chosen, 0) if axis is None else gx.take(x, chosen, axis)


@converter("NonZero", since=9)
def _nonzero(call: Call) -> Value:
    return Value(INTEGER, known=np.array(np.nonzero(np.atleast_1d(call.known(0))), np.int64))


@converter("Unique", since=11)
def _unique(call: Call) -> list[Value]:
    """Return what differs, where it is first, which of it each element is, and how often it is there."""
    x, axis = call.known(0), call.integer("axis", None)
    found, first, inverse, counts = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    if not call.flag("sorted", True):
        order = np.argsort(first)
        found = np.take(found, order, axis or 0)
        first, counts, inverse = first[order], counts[order], np.argsort(order)[inverse]
    places = [Value(INTEGER, known=a.ravel().astype(np.int64)) for a in (first, inverse, counts)]
    return [Value(call.element(0), known=found), *places]


@converter("NonMaxSuppression", since=10)
def _non_max_suppression(call: Call) -> Value:
    """Keep boxes of high scores that overlap no better one of their class by too much."""
    boxes, scores = call.known(0), call.known(1)
    most = int(call.scalar(2)) if call.has(2) else 0
    overlap = float(call.scalar(3)) if call.has(3) else 0.0
    least = float(call.scalar(4)) if call.has(4) else -np.inf
    corners = _from_centers(boxes) if call.flag("center_point_box") else _ordered(boxes)
    kept = [
        (image, group, k)
        for image, group in np.ndindex(*scores.shape[:2])
        for k in _best(corners[image], scores[image, group], most, overlap, least)
    ]
    return Value(INTEGER, known=np.array(kept, np.int64).reshape(-1, 3))


def _from_centers(boxes: Array) -> Array:
    """Return boxes of a center, width and height as two corners."""
    return np.concatenate([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def _ordered(boxes: Array) -> Array:
    """Return boxes of any two opposite corners with the lower one first."""
    a, b = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([np.minimum(a, b), np.maximum(a, b)], -1)


def _best(boxes: Array, scores: Array, most: int, overlap: float, least: float) -> list[int]:
    """Return which boxes of one class stay, best first; of equal ones the first counts as better."""
    kept: list[int] = []
    for k in np.argsort(-scores, kind="stable"):
        if len(kept) == most or not scores[k] > least:
            break
        if all(_share(boxes[k], boxes[j]) <= overlap for j in kept):
            kept.append(int(k))
    return kept


def _share(a: Array, b: Array) -> float:
    """Return how much of the union of two boxes both have."""
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    common = float(sides.prod())
    union = float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - common
    return common / union if common > 0 else 0.0
