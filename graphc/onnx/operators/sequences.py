"""Sequences and optional values: how many there are, and whether, is known while importing.

Nothing of them is left in the graph, which has tensors only.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

import graphc as gx
from graphc.dims import Dim
from graphc.onnx.call import Call
from graphc.onnx.elements import BOOLEAN, INTEGER, element_of
from graphc.onnx.operators.control import body_of
from graphc.onnx.registry import converter
from graphc.onnx.values import Nothing, Series, Value
from graphc.tensor import Tensor


@converter("Identity", exact=True)
def _identity(call: Call) -> Any:
    return call.inputs[0] if isinstance(call.inputs[0], (Series, Nothing)) else call.value(0)


# ------------------------------------------------------------------- sequences
@converter("SequenceEmpty", since=11)
def _empty(call: Call) -> Series:
    return Series(element_of(call.integer("dtype", 1), call.label), ())


@converter("SequenceConstruct", since=11)
def _construct(call: Call) -> Series:
    return Series(call.element(0), tuple(call.value(k) for k in range(len(call.inputs))))


@converter("SequenceLength", since=11)
def _length(call: Call) -> Value:
    return Value(INTEGER, known=np.array(len(call.series(0).items)))


@converter("SequenceAt", since=11)
def _at(call: Call) -> Value:
    items = call.series(0).items
    return items[_position(call, 1, len(items))]


@converter("SequenceInsert", since=11)
def _insert(call: Call) -> Series:
    given, new = call.series(0), call.value(1)
    if new.element is not given.element:
        call.fail("a value of another type", expected=given.element.name, given=new.element.name)
    count = len(given.items)
    # One may insert behind the last one, which is also what a missing position says.
    at = _position(call, 2, count, last=count) if call.has(2) else count
    return Series(given.element, (*given.items[:at], new, *given.items[at:]))


@converter("SequenceErase", since=11)
def _erase(call: Call) -> Series:
    given = call.series(0)
    at = _position(call, 1, len(given.items)) if call.has(1) else len(given.items) - 1
    return Series(given.element, (*given.items[:at], *given.items[at + 1 :]))


def _position(call: Call, index: int, count: int, last: int | None = None) -> int:
    """Return an operand as a position, counted from the front."""
    highest = count - 1 if last is None else last
    at = int(call.scalar(index))
    if not -count <= at <= highest:
        call.fail("no such position", expected=f"{-count} to {highest}", given=str(at))
    return at + count if at < 0 else at


@converter("SequenceMap", since=17)
def _map(call: Call) -> Sequence[Series]:
    """Apply a body to every element; operands that are no sequences are the same for all."""
    body, count = body_of(call, "body"), len(call.series(0).items)
    columns = [v.items if isinstance(v, Series) else (v,) * count for v in call.inputs]
    if any(len(c) != count for c in columns):
        call.fail("sequences of different lengths", given=", ".join(str(len(c)) for c in columns))
    rows = [body(*row) for row in zip(*columns, strict=True)]
    if not rows:
        call.fail("a body that is applied to nothing has results of unknown types")
    return [Series(column[0].element, column) for column in zip(*rows, strict=True)]


@converter("SplitToSequence", since=11, exact=True)
def _split(call: Call) -> Series:
    x, axis = call.tensor(0), call.integer("axis", 0)
    keep = call.flag("keepdims", True)
    if not -x.ndim <= axis < x.ndim:
        call.fail("axis out of range", expected=f"{-x.ndim} to {x.ndim - 1}", given=str(axis))
    size = x.shape[axis]
    bounds = np.cumsum([0, *_pieces(call, size)]).tolist()
    if isinstance(size, int) and bounds[-1] != size:
        call.fail("the pieces do not add up", expected=str(size), given=str(bounds[-1]))
    before = (slice(None),) * (axis % x.ndim)
    parts = [x[(*before, slice(a, b))] for a, b in itertools.pairwise(bounds)]
    if not keep and not call.has(1):
        parts = [gx.squeeze(p, axis) for p in parts]
    return Series(call.element(0), tuple(Value(call.element(0), p) for p in parts))


def _pieces(call: Call, size: Dim) -> list[int]:
    """Return the sizes of pieces: given one by one, or one for all but the last."""
    given = call.known(1) if call.has(1) else np.array(1)
    if given.ndim:
        return [int(n) for n in given]
    if not isinstance(size, int):
        call.undecided(0)
    each = int(given)
    if each < 1:
        call.fail("pieces without elements", expected="a positive size", given=str(each))
    return [min(each, size - start) for start in range(0, size, each)]


@converter("ConcatFromSequence", since=11, exact=True)
def _concat(call: Call) -> Tensor:
    call.needs("axis")
    tensors, axis = [v.tensor for v in call.series(0).items], call.integer("axis", 0)
    if not tensors:
        call.fail("an empty sequence", expected="at least one tensor")
    return gx.stack(tensors, axis=axis) if call.flag("new_axis") else gx.concat(tensors, axis=axis)


# -------------------------------------------------------------- optional values
@converter("Optional", since=15)
def _optional(call: Call) -> Any:
    call.ignore("type")
    return call.inputs[0] if call.has(0) else Nothing()


@converter("OptionalHasElement", since=15)
def _has_element(call: Call) -> Value:
    there = call.has(0) and not isinstance(call.inputs[0], Nothing)
    return Value(BOOLEAN, known=np.array(there))


@converter("OptionalGetElement", since=15)
def _get_element(call: Call) -> Any:
    if not call.has(0) or isinstance(call.inputs[0], Nothing):
        call.fail("the optional value is not there", expected="a value")
    return call.inputs[0]
