"""Nodes of a model as they are written: names, constants and sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import helper

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import UNKNOWN, OnnxExportError, Where
from graphc.onnx.elements import element_for
from graphc.types import INT32, INT64, DType, TensorType

Array = np.ndarray[Any, Any]
# What small integers are computed in: runtimes have few operators for them.
_CARRIED = frozenset({"int8", "int16", "uint8"})


def code_of(dtype: DType) -> int:
    """Return the number of a dtype in ``TensorProto.DataType``."""
    return element_for(dtype).code


def carrier(dtype: DType) -> DType:
    """Return the dtype in which values of `dtype` are computed."""
    return INT32 if str(dtype) in _CARRIED else dtype


class CannotExpress(Exception):
    """An operation has no spelling; holds why."""


@dataclass
class Root:
    """What the main graph and the graphs within it share.

    Attributes
    ----------
    opset : int
        Version of the operator set to write for.
    nodes : list of NodeProto
        Nodes of the main graph.
    initializers : dict of str to ndarray
        Constants and weights.
    sources : dict of str to (str, int, int, int)
        For each named size: an input, its axis, and what to subtract and divide by.
    """

    opset: int
    nodes: list[Any] = field(default_factory=list)
    initializers: dict[str, Array] = field(default_factory=dict)
    sources: dict[str, tuple[str, int, int, int]] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    _next: dict[str, int] = field(default_factory=dict)
    _constants: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _sizes: dict[Any, str] = field(default_factory=dict)

    def name(self, wish: str) -> str:
        """Return a name that nothing has yet: the one wished for, or it with a number."""
        found = wish
        while found in self._taken:
            number = self._next[wish] = self._next.get(wish, 0) + 1
            found = f"{wish}_{number}"
        self._taken.add(found)
        return found

    def constant(self, array: Any, dtype: DType = INT64) -> str:
        """Return the name of a constant; equal ones are stored once."""
        values = np.ascontiguousarray(array, dtype).reshape(np.shape(array))
        key = (values.tobytes(), values.shape, values.dtype)
        found = self._constants.get(key)
        if found is None:
            found = self._constants[key] = self.weight(values, "constant")
        return found

    def weight(self, array: Array, wish: str) -> str:
        """Store an array under a name of its own."""
        name = self.name(wish)
        self.initializers[name] = array
        return name

    def has_size(self, name: str) -> bool:
        """Tell whether a named size can be read off an input."""
        return name in self.sources


@dataclass
class Writer:
    """Writes the nodes of one graph.

    Attributes
    ----------
    root : Root
        What all graphs of the model share.
    nodes : list of NodeProto
        Where its nodes go.
    """

    root: Root
    nodes: list[Any]

    def inner(self) -> Writer:
        """Return a writer for a graph within this one, which can read all names of this one."""
        return Writer(self.root, [])

    @property
    def top(self) -> Writer:
        """The writer of the main graph."""
        return Writer(self.root, self.root.nodes)

    # --------------------------------------------------------------------- nodes
    def node(self, op: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Write a node with one result and return its name."""
        (result,) = self.several(op, 1, *inputs, wish=name, **attributes)
        return result

    def several(
        self, op: str, count: int, *inputs: str, wish: str | None = None, **attributes: Any
    ) -> tuple[str, ...]:
        """Write a node with several results and return their names."""
        results = tuple(self.root.name(wish or op.lower()) for _ in range(count))
        given = {k: v for k, v in attributes.items() if v is not None}
        self.nodes.append(helper.make_node(op, list(inputs), list(results), name=results[0], **given))
        return results

    def need(self, opset: int, op: str) -> None:
        """Require a version of the operator set.

        Raises
        ------
        CannotExpress
            If the model is written for an older one.
        """
        if self.root.opset < opset:
            raise CannotExpress(f"{op} needs opset {opset}")

    # -------------------------------------------------------------------- values
    def constant(self, array: Any, dtype: DType = INT64) -> str:
        """Return the name of a constant."""
        return self.root.constant(array, dtype)

    def cast(self, x: str, dtype: DType) -> str:
        """Return `x` converted to `dtype`."""
        return self.node("Cast", x, to=code_of(dtype))

    def transpose(self, x: str, axes: Sequence[int]) -> str:
        """Return `x` with its axes in another order."""
        same = tuple(axes) == tuple(range(len(axes)))
        return x if same else self.node("Transpose", x, perm=list(axes))

    def reshape(self, x: str, shape: Shape) -> str:
        """Return `x` under another shape of as many elements."""
        # A zero in the shape would mean to copy the size of the operand.
        return self.node("Reshape", x, self.shape(shape), allowzero=1)

    def expand(self, x: str, shape: Shape) -> str:
        """Return `x` stretched to a shape."""
        return self.node("Expand", x, self.shape(shape))

    def reduced(self, op: str, x: str, axes: Sequence[int], keepdims: bool = False) -> str:
        """Return a reduction over some axes; over none it is `x` itself."""
        return self.node(op, x, self.constant(list(axes)), keepdims=int(keepdims)) if axes else x

    # --------------------------------------------------------------------- sizes
    def shape(self, shape: Shape) -> str:
        """Return the name of a vector with a shape's sizes."""
        if all(isinstance(d, int) for d in shape):
            return self.constant(np.array(shape, INT64))
        key = ("shape", tuple(map(str, shape)))
        found = self.root._sizes.get(key)
        if found is None:
            parts = [self.size(d) for d in shape]
            found = parts[0] if len(parts) == 1 else self.top.node("Concat", *parts, axis=0, name="shape")
            self.root._sizes[key] = found
        return found

    def scalar(self, dim: Dim) -> str:
        """Return the name of a size as a scalar."""
        if isinstance(dim, int):
            return self.constant(dim)
        key = ("scalar", str(dim))
        if key not in self.root._sizes:
            self.root._sizes[key] = self.top.node("Squeeze", self.size(dim), name="size")
        return self.root._sizes[key]

    def size(self, dim: Dim) -> str:
        """Return the name of a vector with one size; what it takes is written once, in the main graph."""
        if isinstance(dim, int):
            return self.constant([dim])
        found = self.root._sizes.get(dim)
        if found is None:
            found = self.root._sizes[dim] = _sum(self.top, dim)
        return found


def _sum(writer: Writer, dim: dims.SymbolicDim) -> str:
    total: str | None = None
    for factors, count in dim.terms:
        value: str | None = None if count == 1 and factors else writer.constant([count])
        for atom in factors:
            part = _atom(writer, atom)
            value = part if value is None else writer.node("Mul", value, part, name="size")
        if value is not None:
            total = value if total is None else writer.node("Add", total, value, name="size")
    return total if total is not None else writer.constant([0])


def _atom(writer: Writer, atom: dims.Atom) -> str:
    if atom.fn == "name":
        return _named(writer, atom.text)
    a, b = (writer.size(arg) for arg in atom.args)
    if atom.fn != "//":
        return writer.node(_EXTREMA[atom.fn], a, b, name="size")
    # Division truncates in ONNX, and sizes may be negative on the way; by zero it is zero here.
    one, zero = writer.constant([1]), writer.constant([0])
    none = writer.node("Equal", b, zero)
    divisor = writer.node("Where", none, one, b)
    rest = writer.node("Mod", a, divisor)
    quotient = writer.node("Div", writer.node("Sub", a, rest), divisor)
    return writer.node("Where", none, zero, quotient, name="size")


_EXTREMA = {"max": "Max", "min": "Min"}


def _named(writer: Writer, name: str) -> str:
    if name not in writer.root.sources:
        raise CannotExpress(f"size {name!r} is no size of an input")
    tensor, axis, offset, factor = writer.root.sources[name]
    found = writer.node("Shape", tensor, start=axis, end=axis + 1, name=name)
    if offset:
        found = writer.node("Sub", found, writer.constant([offset]), name="size")
    return found if factor == 1 else writer.node("Div", found, writer.constant([factor]), name="size")


def source_of(name: str, types: Mapping[str, TensorType]) -> tuple[str, int, int, int] | None:
    """Return where a named size can be read: an input, an axis, and what to subtract and divide by."""
    found = []
    for tensor, type in types.items():
        for axis, dim in enumerate(type.shape):
            if isinstance(dim, int) or dims.names(dim) != {name}:
                continue
            offset, step = (dims.evaluate(dim, {name: n}) for n in (0, 1))
            if dim == dims.symbol(name) * (step - offset) + offset and step != offset:
                found.append((tensor, axis, offset, step - offset))
    # The size itself before a multiple of it.
    return min(found, key=lambda f: (f[3] != 1, f[2] != 0), default=None)


def value_info(name: str, type: TensorType) -> Any:
    """Return the declaration of an input or output; sizes that are not fixed are named by what they are."""
    shape = [d if isinstance(d, int) else str(d) for d in type.shape]
    return helper.make_tensor_value_info(name, code_of(type.dtype), shape)


def cannot(parts: Sequence[tuple[str, Where]]) -> OnnxExportError:
    """Return the error that a graph has operations that a model cannot; all of them, with their lines."""
    lines = dict.fromkeys(
        f"{what} at {where.describe()}" if where is not UNKNOWN else what for what, where in parts
    )
    return OnnxExportError(
        "the graph has operations that have no counterpart in ONNX",
        expected="operations that docs/onnx.md does not exclude",
        given="; ".join(lines),
    )
