"""What attributes the nodes of a file may have.

Type rules take for granted that a public function has put an op's attributes into their normal form:
axes that exist and count from the front, steps that are not zero.  Files come from anywhere, and a
kernel that is made of other attributes may read and write beyond its operands.  So each attribute of
each op has a row here; `test_artifact_attributes` sees to it that no op is left out.  Which operands
and attributes there are is what the op's type rule and NumPy meaning can be called with.
"""

from __future__ import annotations

import inspect
import math
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from graphc import dims
from graphc.artifact.fields import reject, require
from graphc.artifact.values import LARGEST_SIZE
from graphc.debug.formats import is_format
from graphc.dims import Dim, SymbolicDim
from graphc.errors import ShapeError, Where
from graphc.feeds import DimCheck
from graphc.ir import Node
from graphc.lower.rules import Control, Leaf
from graphc.ops.contraction import stored_order
from graphc.ops.op import Op
from graphc.types import DTYPES, TensorType, TupleType

__all__ = ["ATTRIBUTES", "check_attributes", "implied_checks"]

Types = tuple[TensorType, ...]
Rule = Callable[[Any, Types], bool]


# -------------------------------------------------------------------- single values
def _flag(value: Any, types: Types) -> bool:
    return isinstance(value, bool)


def _is_int(value: Any, least: int = -LARGEST_SIZE) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= LARGEST_SIZE


def _integer(value: Any, types: Types) -> bool:
    return _is_int(value)


def _at_least(least: int, most: int = LARGEST_SIZE) -> Rule:
    return lambda value, types: _is_int(value, least) and value <= most


def _is_dim(value: Any) -> bool:
    return isinstance(value, SymbolicDim) or _is_int(value)


def _dim(value: Any, types: Types) -> bool:
    return _is_dim(value)


def _size(value: Any, types: Types) -> bool:
    return isinstance(value, SymbolicDim) or _is_int(value, 0)


def _real(value: Any, types: Types) -> bool:
    return isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool)


def _start(value: Any, types: Types) -> bool:
    return isinstance(value, float) or _is_dim(value)


def _number(value: Any, types: Types) -> bool:
    return isinstance(value, (bool, int, float, np.generic))


def _fits(value: Any, dtype: np.dtype[Any]) -> bool:
    """Tell whether a number is one of a dtype's."""
    if dtype.kind == "f" or not math.isfinite(value):
        return dtype.kind == "f"
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return int(value) == value and low <= int(value) <= high


def _text(value: Any, types: Types) -> bool:
    return isinstance(value, str) and value.isprintable()


def _format(value: Any, types: Types) -> bool:
    """Tell whether a text may format values: fields that are numbers, and no widths that fill memory."""
    return _text(value, types) and is_format(value, len(types) - 1)


def _dtype(value: Any, types: Types) -> bool:
    return isinstance(value, np.dtype) and value in DTYPES


def _word(*words: str) -> Rule:
    return lambda value, types: isinstance(value, str) and value in words


def _either(rule: Rule, other: Any) -> Rule:
    return lambda value, types: value is other or rule(value, types)


# ------------------------------------------------------------------------- axes
def _axis(value: Any, types: Types) -> bool:
    return _is_int(value, 0) and value < types[0].ndim


def _place_of_axis(value: Any, types: Types) -> bool:
    return _is_int(value, 0) and value <= types[0].ndim


def _distinct(value: Any, rank: int) -> bool:
    fits = isinstance(value, tuple) and all(_is_int(a, 0) and a < rank for a in value)
    return fits and len(set(value)) == len(value)


def _axes(value: Any, types: Types) -> bool:
    return _distinct(value, types[0].ndim)


def _rising_axes(value: Any, types: Types) -> bool:
    return _axes(value, types) and list(value) == sorted(value)


def _new_axes(value: Any, types: Types) -> bool:
    return isinstance(value, tuple) and _distinct(value, types[0].ndim + len(value))


def _order(value: Any, types: Types) -> bool:
    return _distinct(value, types[0].ndim) and len(value) == types[0].ndim


# ----------------------------------------------------------------------- tuples
def _each(rule: Rule) -> Rule:
    return lambda value, types: isinstance(value, tuple) and all(rule(v, types) for v in value)


def _pair(value: Any, types: Types) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_dim, value))


_SHAPE, _DIMS, _PADS = _each(_size), _each(_dim), _each(_pair)
_STEPS = _each(_at_least(1))
_STRIDES = _each(lambda value, types: _is_int(value) and value != 0)


def _first_labels(value: Any, types: Types) -> bool:
    """Axes of a diagonal: numbered in the order in which they first stand."""
    known = isinstance(value, tuple) and all(_is_int(v, 0) for v in value)
    return known and list(dict.fromkeys(value)) == list(range(len(set(value))))


def _labels(value: Any, types: Types) -> bool:
    known = isinstance(value, tuple) and all(_is_int(v, 0) for v in value)
    return known and set(value) == set(range(len(set(value))))


def _spec(value: Any, types: Types) -> bool:
    """Tell whether a contraction names each label in two of its three places or more, in stored order."""
    if not isinstance(value, str) or value.count(",") != 1 or value.count("->") != 1:
        return False
    left, right, result = (tuple(map(ord, part)) for part in value.replace("->", ",").split(","))
    parts = [set(left), set(right), set(result)]
    plain = set(value) - set(",->") <= set(string.ascii_letters)
    once = sum(map(len, parts)) == len(left) + len(right) + len(result)
    shared = all(sum(label in part for part in parts) >= 2 for label in set().union(*parts))
    return plain and once and shared and stored_order(left, right, result) == result


# ------------------------------------------------------------------------ the table
_REDUCTION: Mapping[str, Rule] = {"axes": _axes, "keepdims": _flag}
# A position within several axes counts in their order.
_SEARCH: Mapping[str, Rule] = {"axes": _rising_axes, "keepdims": _flag}
_WINDOWS: Mapping[str, Rule] = {"kernel": _STEPS, "stride": _STEPS, "padding": _PADS, "dilation": _STEPS}
# A group is empty where the channels are: see `conv_weight_grad`.
_CONV: Mapping[str, Rule] = {"stride": _STEPS, "padding": _PADS, "dilation": _STEPS, "groups": _size}
_RUNNING: Mapping[str, Rule] = {"axis": _axis, "reverse": _flag}
_AXIS: Mapping[str, Rule] = {"axis": _axis}
_AXES: Mapping[str, Rule] = {"axes": _axes}
_STANDARD: Mapping[str, Rule] = {"axes": _axes, "eps": _real}
_FILTER = _word("nearest", "nearest-exact", "linear", "cubic")

ATTRIBUTES: Mapping[str, Mapping[str, Rule]] = {
    "add_along_axis": {"axis": _axis, "size": _size},
    "all": _REDUCTION,
    "any": _REDUCTION,
    "arange": {"size": _size, "start": _start, "step": _real, "dtype": _dtype},
    "argmax": _SEARCH,
    "argmin": _SEARCH,
    "argsort": {"axis": _axis, "descending": _flag},
    "astype": {"dtype": _dtype},
    "avg_pool": {**_WINDOWS, "counted": _PADS},
    "avg_pool_grad": {**_WINDOWS, "counted": _PADS, "size": _SHAPE},
    "batch_norm": {"axis": _axis, "eps": _real},
    "bitcast": {"dtype": _dtype},
    "broadcast_to": {"shape": _SHAPE},
    "check_finite": {"label": _text},
    "checkpoint": {"results": lambda value, types: _is_int(value, 1) and value <= len(types)},
    "class_mask": {"axis": _place_of_axis, "classes": _size},
    "concat": _AXIS,
    "contract": {"spec": _spec},
    "conv": _CONV,
    "conv_input_grad": {**_CONV, "size": _SHAPE},
    "conv_weight_grad": {**_CONV, "kernel": _SHAPE, "channels": _either(_size, None)},
    "cumulative_prod": _RUNNING,
    "cumulative_sum": _RUNNING,
    "debug_check": {"message": _text},
    "debug_fail": {"message": _text},
    "debug_print": {
        "label": _text,
        "format": _either(_format, None),
        "summarize": _at_least(1),
        "masked": _flag,
    },
    "diagonal": {"labels": _first_labels},
    "elu": {"alpha": _real, "scale": _real},
    "embed_diagonal": {"labels": _labels},
    "expand_dims": {"axes": _new_axes},
    "eye": {"shape": _SHAPE, "k": _dim, "dtype": _dtype},
    "full": {"shape": _SHAPE, "value": _number, "dtype": _dtype},
    "gather": _AXIS,
    "gather_clipped": {"axis": _axis, "batch": _at_least(0)},
    "gelu": {"approximate": _word("none", "tanh")},
    "grid_sample": {
        "align_corners": _flag,
        "mode": _word("bilinear", "nearest"),
        "padding_mode": _word("zeros", "border", "reflection"),
    },
    "group_norm": {"groups": _at_least(1), "eps": _real},
    "item": {"index": lambda value, types: _is_int(value, 0)},
    "leaky_relu": {"negative_slope": _real},
    "linear_recurrence": _RUNNING,
    "local_response_norm": {"size": _at_least(1), "alpha": _real, "beta": _real, "k": _real},
    "log_softmax": _AXES,
    "logsumexp": _REDUCTION,
    "masked_softmax": _AXES,
    "matmul": {"transpose_a": _flag, "transpose_b": _flag},
    "max": _REDUCTION,
    "max_pool": _WINDOWS,
    "max_pool_gather": _WINDOWS,
    "max_pool_index": _WINDOWS,
    "max_pool_scatter": {**_WINDOWS, "size": _SHAPE},
    "min": _REDUCTION,
    "one_hot": {"size": _size, "dtype": _dtype},
    "permute_dims": {"axes": _order},
    "place": {"shape": _SHAPE, "starts": _DIMS, "steps": _STRIDES, "value": _number},
    # Of higher orders, which no user reaches by derivatives, the expression would only be long.
    "polygamma": {"n": _at_least(1, 100)},
    "prod": _REDUCTION,
    "random_uniform": {"shape": _SHAPE, "dtype": _dtype},
    "random_word": {"shape": _SHAPE, "word": _at_least(0, 1)},
    "reshape": {"shape": _SHAPE},
    "resize": {
        "axis": _axis,
        "adjoint": _flag,
        "old": _size,
        "new": _size,
        "mode": _FILTER,
        "align_corners": _flag,
    },
    "rms_standardize": _STANDARD,
    "roi_align": {
        "cells": _STEPS,
        "aligned": _flag,
        "scale": _real,
        "points": _at_least(1, 1024),
    },
    "scatter_clipped": {"shape": _SHAPE, "axis": _at_least(0), "batch": _at_least(0)},
    "scatter_into": {"combine": _word("set", "add", "multiply", "maximum", "minimum")},
    "scatter_sum": {"shape": _SHAPE, "axis": _at_least(0)},
    "shift": {"axis": _axis, "offset": _integer, "fill": _number},
    "size": {"size": _size, "dtype": _dtype},
    "slice": {"starts": _DIMS, "sizes": _SHAPE, "steps": _STRIDES},
    "softmax": _AXES,
    "softmax_cross_entropy": _AXIS,
    "sparse_softmax_cross_entropy": _AXIS,
    "squeeze": _AXES,
    "standardize": _STANDARD,
    "sum": _REDUCTION,
    "take_along_axis": _AXIS,
    "top_k": {"axis": _axis, "k": _at_least(0)},
    "var": {**_REDUCTION, "correction": _real},
    "vector_norm": {**_REDUCTION, "ord": lambda value, types: _real(value, types) and value != 0},
}


def check_attributes(op: Op, types: Types, attrs: Mapping[str, Any]) -> None:
    """Require that an op can be applied to operands of these types with these attributes.

    Raises
    ------
    ArtifactError
        If not.
    """
    several = [t for t in types if isinstance(t, TupleType)]
    require(len(several) == (op.name == "item"), f"bad operands of {op.name}", "tensors", several)
    require(
        _can_be_called(op, len(types), attrs), f"{op.name} does not take this", "what it takes", dict(attrs)
    )
    if not op.listed:
        return  # the type rule is the user's own
    rules = ATTRIBUTES.get(op.name, {})
    for name, value in attrs.items():
        rule = rules.get(name)
        if rule is None or not rule(value, types):
            reject(f"bad attribute {name!r} of {op.name}", "a value that fits the operands", value)
    count = _EXTENTS.get(op.name)
    require(
        count is None or count(attrs, types), f"bad attributes of {op.name}", "axes that exist", dict(attrs)
    )


# What no single attribute tells.
_EXTENTS: Mapping[str, Callable[[Mapping[str, Any], Types], bool]] = {
    "avg_pool": lambda a, t: len(a["counted"]) == len(a["kernel"]),
    "avg_pool_grad": lambda a, t: len(a["counted"]) == len(a["kernel"]) == len(a["size"]),
    "conv_input_grad": lambda a, t: len(a["size"]) == len(a["stride"]),
    "conv_weight_grad": lambda a, t: len(a["kernel"]) == len(a["stride"]),
    "debug_print": lambda a, t: a["format"] is None or is_format(a["format"], len(t) - 1 - a["masked"]),
    "eye": lambda a, t: len(a["shape"]) == 2,
    "full": lambda a, t: _fits(a["value"], a["dtype"]),
    "item": lambda a, t: isinstance(t[0], TupleType) and a["index"] < len(t[0].items),
    "max_pool_scatter": lambda a, t: len(a["size"]) == len(a["kernel"]),
    "place": lambda a, t: _fits(a["value"], t[0].dtype),
    "resize": lambda a, t: not (a["align_corners"] and a["mode"].startswith("nearest")),
    "roi_align": lambda a, t: len(a["cells"]) == 2,
    "scatter_clipped": lambda a, t: a["axis"] + len(t) - 1 <= len(a["shape"]),
    "scatter_sum": lambda a, t: a["axis"] + len(t) - 1 <= len(a["shape"]),
    "shift": lambda a, t: _fits(a["fill"], t[0].dtype),
}


def _can_be_called(op: Op, operands: int, attrs: Mapping[str, Any]) -> bool:
    numpy = op.numpy
    if isinstance(numpy, np.ufunc):
        return numpy.nin == operands and not attrs
    signature = _signature(numpy)
    if signature is None:
        return True
    try:
        signature.bind(*[None] * operands, **attrs)
    except TypeError:
        return False
    return True


@cache
def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except ValueError:  # some functions of NumPy do not say what they take
        return None


# ----------------------------------------------------------------- checks at the call
def implied_checks(nodes: Iterable[Node]) -> Iterable[DimCheck]:
    """Yield what must hold of named sizes for the nodes to stay within their memory.

    Public functions make windows that lie within their operand, and sizes that are not negative, for
    every size that a name may have; of a file, that is checked where it cannot be proven.
    """
    seen: set[TensorType] = set()
    for node in nodes:
        items = node.type.items if isinstance(node.type, TupleType) else (node.type,)
        for type in items:
            if type not in seen:
                seen.add(type)
                yield from _not_negative(type.shape, node.where)
        if isinstance(node.op.lowering, (Leaf, Control)):
            continue
        yield from _inside(node)


def _not_negative(sizes: Sequence[Dim], where: Where) -> Iterable[DimCheck]:
    for d in sizes:
        yield from _at_most(0, d, "a size is negative", where)


def _inside(node: Node) -> Iterable[DimCheck]:
    """Yield that a window lies within its operand, as the type rule verifies it for fixed sizes."""
    if node.op.name not in ("slice", "place"):
        return
    attrs = node.attrs
    x = node.inputs[0].type.shape
    outer, counts = (x, attrs["sizes"]) if node.op.name == "slice" else (attrs["shape"], x)
    for n, start, count, step in zip(outer, attrs["starts"], counts, attrs["steps"], strict=True):
        if isinstance(count, int):
            continue
        last = start + (count - 1) * step
        low, high = (start, last) if step > 0 else (last, start)
        some = dims.minimum(1, count)  # an empty window lies anywhere
        if dims.maximum(high + 1, n) != n:
            yield from _at_most((high + 1) * some, n, "a window reaches beyond its operand", node.where)
        if dims.maximum(low, 0) != low:
            yield from _at_most(0, low * some, "a window begins before its operand", node.where)


def _at_most(low: Dim, high: Dim, why: str, where: Where) -> Iterable[DimCheck]:
    larger = dims.maximum(low, high)
    if larger != high:
        yield DimCheck(larger, high, f"artifact: {why}", where, ShapeError)
