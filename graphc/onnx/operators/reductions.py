"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import graphc as gx
from graphc.onnx.call import Call
from graphc.onnx.registry import Convert, converter
from graphc.tensor import Tensor
from graphc.types import is_float

Reduce = Callable[[Tensor, "tuple[int, ...] | None", bool], Tensor]


def _reduction(reduce: Reduce) -> Convert:
    def convert(call: Call) -> Tensor:
        x, keep = call.tensor(0), call.flag("keepdims", True)
        axes = call.axes("axes", 1)
        if call.flag("noop_with_empty_axes") and not axes:
            # Only the function within a reduction is left, such as the square.
            return reduce(x, (), keep)
        return reduce(x, axes or None, keep)

    return convert


def _sum(x: Tensor, axes: tuple[int, ...] | None, keep: bool) -> Tensor:
    return gx.sum(x, axis=axes, keepdims=keep)


def _mean(x: Tensor, axes: tuple[int, ...] | None, keep: bool) -> Tensor:
    if is_float(x.dtype):
        return gx.mean(x, axis=axes, keepdims=keep)
    return gx.floor_divide(_sum(x, axes, keep), gx.element_count(x, axes))


def _prod(x: Tensor, axes: tuple[int, ...] | None, keep: bool) -> Tensor:
    return gx.prod(x, axis=axes, keepdims=keep)


def _extremum(choose: Callable[..., Tensor], empty: float) -> Reduce:
    def reduce(x: Tensor, axes: tuple[int, ...] | None, keep: bool) -> Tensor:
        reduced = range(x.ndim) if axes is None else [a % x.ndim for a in axes]
        if all(x.shape[a] != 0 for a in reduced):
            return choose(x, axis=axes, keepdims=keep)
        shape = [1 if a in reduced else n for a, n in enumerate(x.shape) if keep or a not in reduced]
        return gx.full(shape, _limit(x, empty), dtype=x.dtype)

    return reduce


def _limit(x: Tensor, empty: float) -> bool | int | float:
    """Return what the extremum of no elements is: the value that all others are beyond."""
    if is_float(x.dtype):
        return empty
    if x.dtype.kind == "b":
        return empty > 0
    limits = np.iinfo(x.dtype)
    return int(limits.max if empty > 0 else limits.min)


def _l2(x: Tensor, axes: tuple[int, ...] | None, keep: bool) -> Tensor:
    return gx.sqrt(_sum(gx.square(x), axes, keep))


_REDUCTIONS: dict[str, Reduce] = {
    "ReduceSum": _sum,
    "ReduceMean": _mean,
    "ReduceProd": _prod,
    "ReduceMax": _extremum(gx.max, float("-inf")),
    "ReduceMin": _extremum(gx.min, float("inf")),
    "ReduceL1": lambda x, axes, keep: _sum(gx.abs(x), axes, keep),
    "ReduceL2": _l2,
    "ReduceLogSum": lambda x, axes, keep: gx.log(_sum(x, axes, keep)),
    "ReduceLogSumExp": lambda x, axes, keep: gx.logsumexp(x, axis=axes, keepdims=keep),
    "ReduceSumSquare": lambda x, axes, keep: _sum(gx.square(x), axes, keep),
}
for _name, _reduce in _REDUCTIONS.items():
    converter(_name)(_reduction(_reduce))


def _position(find: Callable[..., Tensor]) -> Convert:
    def convert(call: Call) -> Tensor:
        x, keep = call.tensor(), call.flag("keepdims", True)
        axis = call.integer("axis", 0)
        if not call.flag("select_last_index"):
            return find(x, axis=axis, keepdims=keep)
        return gx.element_count(x, axis) - 1 - find(gx.flip(x, axis), axis=axis, keepdims=keep)

    return convert


converter("ArgMax")(_position(gx.argmax))
converter("ArgMin")(_position(gx.argmin))


@converter("CumSum", since=11)
def _cumulative_sum(call: Call) -> Tensor:
    return _cumulative(call, gx.cumulative_sum)


@converter("CumProd", since=26)
def _cumulative_product(call: Call) -> Tensor:
    return _cumulative(call, gx.cumulative_prod)


def _cumulative(call: Call, compute: Callable[..., Tensor]) -> Tensor:
    x, axis = call.tensor(0), int(call.scalar(1))
    reverse = call.flag("reverse")
    if not call.flag("exclusive"):
        return compute(x, axis=axis, reverse=reverse)
    longer = compute(x, axis=axis, include_initial=True, reverse=reverse)
    key: list[slice] = [slice(None)] * x.ndim
    key[axis] = slice(1, None) if reverse else slice(0, -1)
    return longer[tuple(key)]
