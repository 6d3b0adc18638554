"""Loops and branches.  Their bodies read values from around them by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import helper

from graphc.control.loop import Loop
from graphc.dims import Dim
from graphc.ir import Graph, Node
from graphc.onnx.export.call import Call
from graphc.onnx.export.expressions import moved
from graphc.onnx.export.graphs import Names, names_of
from graphc.onnx.export.registry import exporter
from graphc.onnx.export.writer import Writer, carrier, value_info
from graphc.types import BOOL, INT32, INT64, DType, TensorType, TupleType

_SCALAR = TensorType((), INT64)
_FLAG = TensorType((), BOOL)


@exporter("debug_print", "debug_check", "debug_fail")
def _effect(call: Call) -> str:
    # What a model does besides computing cannot be said in ONNX; its token keeps loops in shape.
    return call.writer.constant(0)


# ----------------------------------------------------------------------- branches
@exporter("switch")
def _switch(call: Call) -> tuple[str, ...]:
    index, *captures = call.inputs
    return _branch(call.writer, call.names, call.node, index, captures, 0)


def _branch(
    w: Writer, names: Names, node: Node, index: str, captures: Sequence[str], first: int
) -> tuple[str, ...]:
    """Return the results of whichever branch from `first` on runs; those of the last need no question."""
    graphs: tuple[Graph, ...] = node.payload
    if first == len(graphs) - 1:
        inner = Names(w, names.failures, names, names_of(graphs[first].inputs, captures))
        return tuple(inner.write(graphs[first].outputs))
    this = w.node("Less", index, w.constant(first + 1))
    types = node.type.items if isinstance(node.type, TupleType) else ()
    taken, others = names.inner(), names.inner()
    taken.values.update(names_of(graphs[first].inputs, captures))
    found = taken.write(graphs[first].outputs)
    rest = _branch(others.writer, others, node, index, captures, first + 1)
    return w.several(
        "If",
        len(types),
        this,
        then_branch=_graph(taken.writer, "then", (), (), found, types),
        else_branch=_graph(others.writer, "otherwise", (), (), rest, types),
    )


def _graph(
    w: Writer,
    name: str,
    inputs: Sequence[str],
    input_types: Sequence[TensorType],
    outputs: Sequence[str],
    types: Sequence[TensorType],
) -> Any:
    """Return a graph with values of its own for results, as ONNX requires."""
    own = [w.node("Identity", x) for x in outputs]
    return helper.make_graph(
        w.nodes,
        name,
        [value_info(n, t) for n, t in zip(inputs, input_types, strict=True)],
        [value_info(n, t) for n, t in zip(own, types, strict=True)],
    )


# -------------------------------------------------------------------------- loops
@exporter("loop")
def _loop(call: Call) -> tuple[str, ...]:
    loop = Loop.of(call.node)
    names = dict(zip(loop.inputs, call.inputs, strict=True))
    counts = any(loop.iteration in n.inputs for n in loop.body.nodes) or loop.iteration in loop.body.outputs
    # ONNX Runtime has no Scan of length 0, which a size with a name may be.
    fixed = isinstance(loop.rounds, int) and loop.rounds > 0
    return _scan(call, loop, names) if loop.xs and fixed and not counts else _iterated(call, loop, names)


def _captured(call: Call, loop: Loop, names: dict[Node, str]) -> Names:
    """Return the names within the body, those of what it captures among them."""
    inner = call.names.inner()
    inner.values.update(names_of(loop.formals, [names[n] for n in loop.captures]))
    return inner


def _fresh(w: Writer, nodes: Sequence[Node], wish: str) -> list[str]:
    return [w.root.name(n.name or wish) for n in nodes]


def _scan(call: Call, loop: Loop, names: dict[Node, str]) -> tuple[str, ...]:
    w, inner = call.writer, _captured(call, loop, names)
    slices = loop.body.inputs[len(loop.captures) + 1 + len(loop.inits) :]
    formals = [*loop.carries, *slices]
    given = [*_fresh(w, loop.carries, "carry"), *_fresh(w, slices, "slice")]
    inner.values.update(names_of(formals, given))
    outputs = inner.write(loop.body.outputs)
    types = [n.type for n in loop.body.outputs]
    body = _graph(inner.writer, "body", given, [n.type for n in formals], outputs, types)
    found = w.several(
        "Scan",
        len(outputs),
        *(names[n] for n in (*loop.inits, *loop.xs)),
        body=body,
        num_scan_inputs=len(loop.xs),
        scan_input_directions=[int(f) for f in loop.x_flips],
        scan_output_directions=[int(f) for f in loop.y_flips],
    )
    return (*found, w.scalar(loop.length or 0))


def _iterated(call: Call, loop: Loop, names: dict[Node, str]) -> tuple[str, ...]:
    """Write a Loop; it carries the number of iterations too where that is not known before."""
    w, inner = call.writer, _captured(call, loop, names)
    most = _most(w, loop, names)
    iteration, going = (w.root.name(n) for n in ("iteration", "going"))
    carries = _fresh(w, loop.carries, "carry")
    inner.values.update(names_of((loop.iteration, *loop.carries), (iteration, *carries)))
    slices = loop.body.inputs[len(loop.captures) + 1 + len(loop.inits) :]
    for formal, x, flip in zip(slices, loop.xs, loop.x_flips, strict=True):
        at = inner.writer.node("Sub", _last(inner.writer, most), iteration) if flip else iteration
        inner.values[formal] = (inner.writer.node("Gather", names[x], at, axis=0),)
    outputs = inner.write(loop.body.outputs)
    after = inner.writer.node("Add", iteration, w.constant(1))
    count = len(loop.inits)
    start = _asked(call.names, call, loop, names, w.constant(0), [names[n] for n in loop.inits])
    again = _asked(Names(inner.writer, inner.failures, call.names), call, loop, names, after, outputs[:count])
    counted = [(w.root.name("done"), after, w.constant(0))] if loop.ends_early else []
    inits = [names[n] for n in loop.inits] + [c[2] for c in counted]
    types = [n.type for n in loop.body.outputs]
    results = [again or going, *outputs[:count], *(c[1] for c in counted), *outputs[count:]]
    body = _graph(
        inner.writer,
        "body",
        [iteration, going, *carries, *(c[0] for c in counted)],
        [_SCALAR, _FLAG, *types[:count], *(_SCALAR for _ in counted)],
        results,
        [_FLAG, *types[:count], *(_SCALAR for _ in counted), *types[count:]],
    )
    found = list(w.several("Loop", len(results) - 1, most or "", start or "", *inits, body=body))
    done = found.pop(count) if counted else w.scalar(loop.length or 0)
    pairs = zip(found[count:], types[count:], loop.y_flips, strict=True)
    stacks = [_stack(w, loop, x, t, flip, done, most) for x, t, flip in pairs]
    return (*found[:count], *stacks, done)


def _most(w: Writer, loop: Loop, names: dict[Node, str]) -> str | None:
    """Return the largest number of iterations, if there is one."""
    length = None if loop.length is None else w.scalar(loop.length)
    if loop.count is None:
        return length
    count = w.node("Max", names[loop.count], w.constant(0))
    return count if length is None else w.node("Min", count, length)


def _last(w: Writer, most: str | None) -> str:
    return w.node("Sub", most or w.constant(0), w.constant(1))


def _asked(
    names: Names, call: Call, loop: Loop, outer: dict[Node, str], iteration: str, carried: Sequence[str]
) -> str | None:
    """Write the condition for values of an iteration, if the loop has one."""
    if loop.condition is None:
        return None
    # Names of its own: body and condition may share nodes, which stand for other values here.
    inner = Names(names.writer, names.failures, call.names)
    given = [*(outer[n] for n in loop.captures), iteration, *carried]
    inner.values.update(names_of(loop.condition.inputs, given))
    return inner.write(loop.condition.outputs)[0]


def _stack(w: Writer, loop: Loop, x: str, type: TensorType, flip: bool, done: str, most: str | None) -> str:
    """Return a stack in the order asked for, and as long as there may be iterations."""
    if flip:
        ends = [w.constant([n]) for n in (-1, np.iinfo(np.int64).min, 0, -1)]
        x = w.node("Slice", x, *ends)
    if not loop.ends_early:
        return x
    before = w.node("Sub", most or done, done) if flip else w.constant(0)
    return _padded(w, x, type.dtype, loop.length or 0, done, before)


def _padded(w: Writer, x: str, dtype: DType, length: Dim, done: str, before: str) -> str:
    """Return a stack with zeros for iterations that did not take place."""
    after = w.node("Sub", w.node("Sub", w.scalar(length), done), before)
    wide = INT32 if dtype == BOOL else carrier(dtype)
    first = w.constant([0])
    pads = w.node("Concat", *(w.node("Unsqueeze", n, first) for n in (before, after)), axis=0)
    return moved(w, "Pad", x, pads, w.constant(0, wide), first, dtype=dtype, wide=wide)
