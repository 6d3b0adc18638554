"""Running sums and products, sorting."""

from __future__ import annotations

from collections.abc import Callable

import graphc as gx
from graphc.onnx.export.call import Call
from graphc.onnx.export.registry import exporter
from graphc.onnx.export.writer import carrier
from graphc.tensor import Tensor
from graphc.types import BOOL, INT64


@exporter("cumulative_sum")
def _cumulative_sum(call: Call) -> str:
    w, (x,), dtype = call.writer, call.inputs, call.type.dtype
    wide = carrier(dtype)
    given = x if call.types[0].dtype == wide else w.cast(x, wide)
    axis = w.constant(call.attr("axis"))
    found = call.write("CumSum", given, axis, reverse=int(call.attr("reverse")))
    return found if wide == dtype else w.cast(found, dtype)


@exporter("cumulative_prod")
def _cumulative_prod(call: Call) -> str:
    return _running(call, lambda state, x: state * x, 1)


@exporter("linear_recurrence")
def _linear_recurrence(call: Call) -> str:
    return _running(call, lambda state, a, b: a * state + b, 0)


def _running(call: Call, step: Callable[..., Tensor], start: int) -> str:
    """Write a loop along an axis whose state is also what it puts out."""
    axis, dtype = call.attr("axis"), call.type.dtype
    xs = [gx.moveaxis(gx.astype(Tensor(n), dtype), axis, 0) for n in call.node.inputs]
    first = gx.full(xs[0].shape[1:], start, dtype)

    def body(state: Tensor, rows: list[Tensor]) -> tuple[Tensor, Tensor]:
        following = step(state, *rows)
        return following, following

    _, stack = gx.scan(body, first, xs, reverse=call.attr("reverse"))
    return call.names.write([gx.moveaxis(stack, 0, axis).node])[0]


@exporter("argsort")
def _argsort(call: Call) -> str:
    size = call.writer.size(call.type.shape[call.attr("axis")])
    return _positions(call, size, call.attr("descending"))


@exporter("top_k")
def _top_k(call: Call) -> str:
    return _positions(call, call.writer.constant([call.attr("k")]), True)


def _positions(call: Call, count: str, largest: bool) -> str:
    w, (x,), dtype = call.writer, call.inputs, call.types[0].dtype
    wide = INT64 if dtype == BOOL else carrier(dtype)
    given = x if wide == dtype else w.cast(x, wide)
    axis = call.attr("axis")
    return w.several("TopK", 2, given, count, axis=axis, largest=int(largest), sorted=1)[1]
