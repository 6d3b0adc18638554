"""A node of a model as its converter sees it: operands and attributes, read with their types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Protocol, TypeVar

import numpy as np

from graphc.dims import Dim, SymbolicDim
from graphc.errors import GraphcError, OnnxImportError, caller
from graphc.onnx.elements import Element
from graphc.onnx.values import Series, Value, is_input, open_leaves
from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]
T = TypeVar("T")

# Kinds of attributes by their number in AttributeProto.AttributeType, and the field of their value.
_FIELDS = {
    1: ("float", "f"),
    2: ("int", "i"),
    3: ("string", "s"),
    4: ("tensor", "t"),
    5: ("graph", "g"),
    6: ("list of floats", "floats"),
    7: ("list of ints", "ints"),
    8: ("list of strings", "strings"),
    9: ("list of tensors", "tensors"),
    10: ("list of graphs", "graphs"),
    11: ("sparse tensor", "sparse_tensor"),
    13: ("type", "tp"),
}


class Body(Protocol):
    """A graph that stands in an attribute: the body of a loop, or a branch.

    It reads values of the graphs around it by their names.
    """

    @property
    def inputs(self) -> Sequence[str]:
        """Names of its inputs."""

    @property
    def outputs(self) -> Sequence[str]:
        """Names of its outputs."""

    def __call__(self, *values: Value) -> list[Any]:
        """Return the results for values of its inputs."""


class Surroundings(Protocol):
    """What a node needs of the model around it."""

    def constant(self, tensor: Any) -> Value:
        """Return a TensorProto as a known value."""

    def body(self, graph: Any) -> Body:
        """Return a GraphProto as a function."""

    def find(self, name: str) -> Any:
        """Return what a name stands for."""


class Call:
    """What a converter is given.

    Attributes
    ----------
    name : str
        The operator.
    version : int
        Version of its operator set in this model.
    label : str
        The node, as errors name it.
    inputs : tuple of Value or None
        Operands; None stands for one that is left out.
    outputs : tuple of str
        Names of the results; an empty one is not wanted.
    """

    def __init__(
        self,
        name: str,
        version: int,
        label: str,
        inputs: Sequence[Any],
        outputs: Sequence[str],
        attributes: Mapping[str, Any],
        surroundings: Surroundings,
    ) -> None:
        self.name = name
        self.version = version
        self.label = label
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._attributes = attributes
        self._surroundings = surroundings
        self._read: set[str] = set()

    # ------------------------------------------------------------------ operands
    def has(self, index: int) -> bool:
        """Tell whether an operand is there."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def wants(self, index: int) -> bool:
        """Tell whether a result is used."""
        return index < len(self.outputs) and bool(self.outputs[index])

    def value(self, index: int) -> Value:
        """Return an operand that must be there and be a tensor."""
        found = self.inputs[index] if self.has(index) else None
        if not isinstance(found, Value):
            self.fail(
                f"operand {index} is {'no tensor' if self.has(index) else 'missing'}", expected="a tensor"
            )
        return found

    def tensor(self, index: int = 0) -> Tensor:
        """Return an operand as a Tensor."""
        return self.value(index).tensor

    def series(self, index: int) -> Series:
        """Return an operand that must be a sequence."""
        found = self.inputs[index] if self.has(index) else None
        if not isinstance(found, Series):
            self.fail(f"operand {index} is no sequence", expected="a sequence")
        return found

    def optional(self, index: int) -> Tensor | None:
        """Return an operand as a Tensor, or None if it is left out."""
        return self.tensor(index) if self.has(index) else None

    def tensors(self) -> list[Tensor]:
        """Return all operands as Tensors."""
        return [self.tensor(i) for i in range(len(self.inputs))]

    def element(self, index: int = 0) -> Element:
        """Return the element type of an operand."""
        return self.value(index).element

    def known(self, index: int) -> Array:
        """Return the numbers of an operand, which must be known while importing.

        Raises
        ------
        OnnxImportError
            Naming the inputs of the model that it depends on.
        """
        found = self._numbers(index)
        if found.dtype == object:
            self.fail(
                f"operand {index} depends on a size that has a name", expected="numbers", given=str(found)
            )
        return found

    def dims(self, index: int) -> tuple[Dim, ...]:
        """Return the elements of a list of integers, each a number or a named size."""
        return tuple(d if isinstance(d, SymbolicDim) else int(d) for d in self._numbers(index).ravel())

    def dim(self, index: int) -> Dim:
        """Return an operand of one element, as a number or a named size."""
        found = self.dims(index)
        if len(found) != 1:
            self.fail(f"operand {index} is not one number", expected="one element", given=str(len(found)))
        return found[0]

    def scalar(self, index: int) -> Any:
        """Return an operand of one element, which must be known, as a Python number."""
        found = self.known(index)
        if found.size != 1:
            self.fail(f"operand {index} is not one number", expected="one element", given=str(found.shape))
        return found.item()

    def _numbers(self, index: int) -> Array:
        value = self.value(index)
        found = value.known()
        if found is not None:
            return found
        return self.undecided(index)

    def undecided(self, index: int, reason: GraphcError | None = None) -> NoReturn:
        """Raise the error that an operand would have to be known.

        Raises
        ------
        OnnxImportError
            Naming the inputs of the model that it depends on.
        """
        value = self.value(index)
        names = [n.name or "" for n in open_leaves(value.tensor) if is_input(n)]
        error = OnnxImportError(
            f"{self.label}: operand {index} decides on shapes and is not known",
            expected="numbers that are known when the model is loaded; values= gives those of inputs",
            given=f"a {value.tensor.type} that depends on {', '.join(map(repr, names)) or 'weights'}",
            where=caller(),
        )
        error.inputs = tuple(names)
        raise error from reason

    # ---------------------------------------------------------------- attributes
    def needs(self, *names: str) -> None:
        """Raise unless attributes are given."""
        for name in names:
            if name not in self._attributes:
                self.fail(f"attribute {name!r} is missing", expected=f"{name}=...")

    def given(self, name: str) -> bool:
        """Tell whether an attribute is given."""
        return name in self._attributes

    def ignore(self, *names: str) -> None:
        """Take note of attributes that change nothing here."""
        self._read.update(names)

    def integer(self, name: str, default: T) -> int | T:
        """Return an attribute that is an integer."""
        found = self._attribute(name, "int")
        return default if found is None else int(found)

    def flag(self, name: str, default: bool = False) -> bool:
        """Return an attribute that is 0 or 1."""
        return bool(self.integer(name, default))

    def number(self, name: str, default: T) -> float | T:
        """Return an attribute that is a float."""
        found = self._attribute(name, "float")
        return default if found is None else float(found)

    def text(self, name: str, default: T) -> str | T:
        """Return an attribute that is a string."""
        found = self._attribute(name, "string")
        return default if found is None else found.decode("utf-8", "replace")

    def choice(self, name: str, default: str, among: Sequence[str]) -> str:
        """Return a string attribute that is one of several words."""
        found = self.text(name, default)
        if found not in among:
            self.fail(f"attribute {name!r} has an unknown value", expected=" or ".join(among), given=found)
        return found

    def integers(self, name: str, default: T) -> tuple[int, ...] | T:
        """Return an attribute that is a list of integers."""
        found = self._attribute(name, "list of ints")
        return default if found is None else tuple(found)

    def numbers(self, name: str, default: T) -> tuple[float, ...] | T:
        """Return an attribute that is a list of floats."""
        found = self._attribute(name, "list of floats")
        return default if found is None else tuple(found)

    def texts(self, name: str, default: T) -> tuple[str, ...] | T:
        """Return an attribute that is a list of strings."""
        found = self._attribute(name, "list of strings")
        return default if found is None else tuple(s.decode("utf-8", "replace") for s in found)

    def constant(self, name: str) -> Value | None:
        """Return an attribute that is a tensor, as a known value."""
        found = self._attribute(name, "tensor")
        return None if found is None else self._surroundings.constant(found)

    def body(self, name: str) -> Body | None:
        """Return an attribute that is a graph, as a function of its inputs' values."""
        found = self._attribute(name, "graph")
        return None if found is None else self._surroundings.body(found)

    def named(self, name: str) -> Any:
        """Return what a name of the model stands for where the node is."""
        return self._surroundings.find(name)

    def axes(self, name: str, index: int) -> tuple[int, ...] | None:
        """Return integers that older versions have as an attribute and newer ones as an operand."""
        if self.has(index):
            return tuple(int(n) for n in self.known(index).ravel())
        return self.integers(name, None)

    def _attribute(self, name: str, kind: str) -> Any:
        self._read.add(name)
        proto = self._attributes.get(name)
        if proto is None:
            return None
        found, field = _FIELDS.get(proto.type, ("nothing", ""))
        if found != kind:
            self.fail(f"attribute {name!r} is of another kind", expected=f"a {kind}", given=f"a {found}")
        return getattr(proto, field)

    # -------------------------------------------------------------------- errors
    def fail(self, what: str, *, expected: str | None = None, given: str | None = None) -> NoReturn:
        """Raise the error that this node cannot be converted."""
        raise OnnxImportError(f"{self.label}: {what}", expected=expected, given=given, where=caller())

    def check_attributes(self) -> None:
        """Raise if there are attributes that the converter did not look at."""
        unread = sorted(self._attributes.keys() - self._read)
        if unread:
            self.fail(
                f"unknown attribute {', '.join(map(repr, unread))}",
                expected=", ".join(sorted(self._read)) or "no attributes",
            )
