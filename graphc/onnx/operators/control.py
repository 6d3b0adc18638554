"""Branches and loops: what is known while importing is decided there, the rest when the program runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

import graphc as gx
from graphc.dims import Dim
from graphc.errors import DTypeError, GraphcError, GraphError, ShapeError
from graphc.onnx.call import Body, Call
from graphc.onnx.elements import BOOLEAN, INTEGER, Element
from graphc.onnx.registry import converter
from graphc.onnx.values import Value
from graphc.tensor import Tensor

# A loop that has to be unrolled is taken for a mistake beyond this.
MOST_UNROLLED = 1024


def body_of(call: Call, name: str) -> Body:
    """Return an attribute that is a graph and must be there."""
    call.needs(name)
    found = call.body(name)
    return call.fail(f"attribute {name!r} is missing") if found is None else found


# ------------------------------------------------------------------- branches
@converter("If", exact=True)
def _if(call: Call) -> Sequence[Any]:
    branches = body_of(call, "else_branch"), body_of(call, "then_branch")
    known = call.value(0).known()
    if known is not None:
        return branches[bool(known.item())]()
    try:
        return _branch(call, *branches)
    except (ShapeError, DTypeError, GraphError) as error:
        # Results of different types: only one of them can be in the graph, so the condition decides.
        return call.undecided(0, error)


def _branch(call: Call, otherwise: Body, then: Body) -> list[Value]:
    elements: list[list[Element]] = []

    def traced(body: Body) -> list[Tensor]:
        found = body()
        if not all(isinstance(v, Value) for v in found):
            call.undecided(0)
        elements.append([v.element for v in found])
        return [v.tensor for v in found]

    pred = gx.reshape(call.tensor(0), ())
    found = gx.cond(pred, lambda: traced(then), lambda: traced(otherwise))
    if elements[0] != elements[1]:
        call.fail("the branches do not agree in their element types")
    return [Value(e, t) for e, t in zip(elements[0], found, strict=True)]


# ---------------------------------------------------------------------- loops
@converter("Loop", exact=True)
def _loop(call: Call) -> Sequence[Any]:
    body, carried = body_of(call, "body"), call.inputs[2:]
    reason: GraphcError | None = None
    if all(isinstance(v, Value) for v in carried):
        try:
            return _compiled(call, body, carried)
        except GraphcError as error:
            # Shapes that change, or numbers that decide on them: each iteration is a graph of its own.
            reason = error
    return _unrolled(call, body, carried, reason)


def _compiled(call: Call, body: Body, carried: Sequence[Value]) -> list[Value]:
    """Return the results of a loop whose body is in the graph once."""
    first = _first(call)
    if first is None or _count(call) is None:
        return _until(call, body, carried)
    count = _count(call) if first else 0
    elements: list[Element] = []
    decided = []

    def step(carry: list[Tensor], number: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        going, *found = body(Value(INTEGER, number), _true(), *_values(carried, carry))
        still = going.known()
        decided.append(still is not None and bool(still))
        elements[:] = _elements(call, carried, found)
        tensors = [v.tensor for v in found]
        return tensors[: len(carried)], tensors[len(carried) :]

    last, stacks = gx.scan(step, [v.tensor for v in carried], gx.arange(count))
    if not decided[-1]:
        return _until(call, body, carried)
    return [Value(e, t) for e, t in zip(elements, [*last, *stacks], strict=True)]


def _until(call: Call, body: Body, carried: Sequence[Value]) -> list[Value]:
    """Return the results of a loop that runs as long as its condition holds."""
    if len(body.outputs) > 1 + len(carried):
        _refuse_stacks(call)
    most = gx.reshape(call.tensor(0), ()) if call.has(0) else None
    count = _count(call)

    def goes(state: tuple[Tensor, Tensor, list[Tensor]]) -> Tensor:
        return state[1] if most is None else state[1] & (state[0] < most)

    def step(state: tuple[Tensor, Tensor, list[Tensor]]) -> tuple[Tensor, Tensor, list[Tensor]]:
        number, going, values = state
        after, *found = body(Value(INTEGER, number), Value(BOOLEAN, going), *_values(carried, values))
        _elements(call, carried, found)
        return number + 1, gx.reshape(after.tensor, ()), [v.tensor for v in found]

    start = gx.reshape(call.tensor(1), ()) if call.has(1) else gx.constant(True)
    init = (gx.constant(0, dtype="int64"), start, [v.tensor for v in carried])
    last = gx.while_loop(goes, step, init, max_steps=count if isinstance(count, int) else None)[2]
    return _values(carried, last)


def _refuse_stacks(call: Call) -> NoReturn:
    """Raise the error that nobody knows how many iterations put something out."""
    if _first(call) is None:
        call.undecided(1)
    if call.has(0) and _count(call) is None:
        call.undecided(0)
    call.fail(
        "a loop that ends by a condition stacks its results",
        expected="a number of iterations that is known, or no scan outputs",
        given="a shape that depends on values",
    )


def _unrolled(call: Call, body: Body, carried: Sequence[Any], reason: GraphcError | None) -> list[Any]:
    """Return the results of a loop whose iterations are all known, one after the other."""
    count = _count(call) if call.has(0) else MOST_UNROLLED + 1
    if not isinstance(count, int):
        call.undecided(0, reason)
    rows: list[list[Value]] = []
    values, going = list(carried), call.value(1) if call.has(1) else _true()
    while len(rows) < count:
        still = going.known()
        if still is None and rows and reason is not None:
            raise reason
        if still is None:
            call.undecided(1, reason)
        if not still.item():
            break
        if len(rows) == MOST_UNROLLED:
            call.fail("too many iterations to unroll", expected=f"at most {MOST_UNROLLED}", given=str(reason))
        going, *found = body(Value(INTEGER, known=np.array(len(rows))), going, *values)
        values = found[: len(values)]
        rows.append(found[len(values) :])
    if not rows and len(body.outputs) > 1 + len(values):
        call.fail("a loop that does not run has outputs whose shapes are not known")
    return [*values, *(_stacked(column) for column in zip(*rows, strict=True))]


def _stacked(column: Sequence[Value]) -> Value:
    return Value(column[0].element, gx.stack([v.tensor for v in column]))


def _count(call: Call) -> Dim | None:
    """Return how often a loop runs at most, as a number or a named size; None if it is not known."""
    known = call.value(0).known() if call.has(0) else None
    return None if known is None else call.dim(0)


def _first(call: Call) -> bool | None:
    """Return whether a loop runs at all, or None if that is not known."""
    known = call.value(1).known() if call.has(1) else np.array(True)
    return None if known is None else bool(known.item())


def _true() -> Value:
    return Value(BOOLEAN, known=np.array(True))


def _values(like: Sequence[Value], tensors: Sequence[Tensor]) -> list[Value]:
    return [Value(v.element, t) for v, t in zip(like, tensors, strict=True)]


def _elements(call: Call, carried: Sequence[Value], found: Sequence[Value]) -> list[Element]:
    """Return the element types of results, the first of which are carried to the next iteration."""
    elements = [v.element for v in found]
    expected = [v.element for v in carried]
    if elements[: len(carried)] != expected:
        call.fail(
            "carried values change their element types",
            expected=", ".join(e.name for e in expected),
            given=", ".join(e.name for e in elements),
        )
    return elements


# ----------------------------------------------------------------------- scan
@converter("Scan", since=9, exact=True)
def _scan(call: Call) -> list[Value]:
    call.needs("num_scan_inputs")
    count = call.integer("num_scan_inputs", 0)
    carried = [call.value(k) for k in range(len(call.inputs) - count)]
    slices = [call.value(k) for k in range(len(carried), len(call.inputs))]
    axes = call.integers("scan_input_axes", None) or (0,) * count
    backward = call.integers("scan_input_directions", None) or (0,) * count
    arrays = [
        _turned(gx.moveaxis(v.tensor, axis, 0), back)
        for v, axis, back in zip(slices, axes, backward, strict=True)
    ]
    states, stacks, elements = _scanned(call, carried, slices, arrays)
    places = call.integers("scan_output_axes", None) or (0,) * len(stacks)
    turns = call.integers("scan_output_directions", None) or (0,) * len(stacks)
    laid = [gx.moveaxis(_turned(t, b), 0, axis) for t, axis, b in zip(stacks, places, turns, strict=True)]
    return [Value(e, t) for e, t in zip(elements, [*states, *laid], strict=True)]


@converter("Scan", since=8, exact=True)
def _scan_batch(call: Call) -> list[Value]:
    """Scan every row of a batch; what is scanned has its axis after that of rows."""
    call.needs("num_scan_inputs")
    if call.has(0):
        call.fail("a Scan of rows of different lengths", expected="no sequence_lens, or opset 9 and newer")
    count = call.integer("num_scan_inputs", 0)
    backward = call.integers("directions", None) or (0,) * count
    carried = [call.value(k) for k in range(1, len(call.inputs) - count)]
    slices = [call.value(k) for k in range(1 + len(carried), len(call.inputs))]
    elements: list[Element] = []

    def row(tensors: list[Tensor]) -> list[Tensor]:
        arrays = [_turned(t, b) for t, b in zip(tensors[len(carried) :], backward, strict=True)]
        states, stacks, elements[:] = _scanned(
            call, _values(carried, tensors[: len(carried)]), slices, arrays
        )
        return [*states, *stacks]

    found = gx.vectorize(row)([v.tensor for v in (*carried, *slices)])
    return [Value(e, t) for e, t in zip(elements, found, strict=True)]


def _turned(x: Tensor, backward: int) -> Tensor:
    return gx.flip(x, axis=0) if backward else x


def _scanned(
    call: Call, carried: Sequence[Value], slices: Sequence[Value], arrays: list[Tensor]
) -> tuple[list[Tensor], list[Tensor], list[Element]]:
    """Return the last carried values, the stacks, and the element types of both."""
    body = body_of(call, "body")
    elements: list[Element] = []

    def step(carry: list[Tensor], xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        found = body(*_values(carried, carry), *_values(slices, xs))
        elements[:] = _elements(call, carried, found)
        tensors = [v.tensor for v in found]
        return tensors[: len(carried)], tensors[len(carried) :]

    states, stacks = gx.scan(step, [v.tensor for v in carried], arrays)
    return states, stacks, elements
