"""Initializers of a model: variables that can be trained, or constants."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

import graphc as gx
from graphc.leaves import Variable
from graphc.onnx.elements import Element, element_of
from graphc.onnx.files import array_of
from graphc.onnx.values import Value
from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]
Kind = Literal["variables", "constants"]


class Weight(Value):
    """An initializer that becomes a variable where its tensor is needed.

    What converters ask for as numbers, a size or a scale, never is a variable: it was decided on.
    """

    def __init__(self, element: Element, array: Array, name: str) -> None:
        super().__init__(element, known=array)
        self.name = name
        self.variable: Variable | None = None

    def _make(self) -> Tensor:
        self.variable = gx.variable(np.asarray(self._known), name=self.name)
        return self.variable


class Weights:
    """The initializers of a model, each read once.

    Parameters
    ----------
    kind : {"variables", "constants"}
        What floating-point initializers with at least one axis become; all others are constants.
    folder : Path, optional
        Where external data may lie.
    """

    def __init__(self, kind: Kind, folder: Path | None) -> None:
        self.kind = kind
        self.folder = folder
        self._made: dict[str, Value] = {}

    @property
    def variables(self) -> list[Variable]:
        """The variables, in the order in which the model needs them."""
        found = [w.variable for w in self._made.values() if isinstance(w, Weight)]
        return [v for v in found if v is not None]

    def value(self, proto: Any, *, top: bool) -> Value:
        """Return the value of an initializer; those of the main graph are read once."""
        if not top:
            return self.constant(proto)
        found = self._made.get(proto.name)
        if found is None:
            found = self._made[proto.name] = self._read(proto)
        return found

    def constant(self, proto: Any) -> Value:
        """Return a TensorProto as a known value."""
        return Value(element_of(proto.data_type, proto.name), known=array_of(proto, self.folder))

    def _read(self, proto: Any) -> Value:
        element = element_of(proto.data_type, f"initializer {proto.name!r}")
        array = array_of(proto, self.folder)
        # A scalar is a number of the formula, such as an epsilon, and not something to be learned.
        if self.kind == "constants" or not element.is_float or array.ndim == 0:
            return Value(element, known=array)
        return Weight(element, array, proto.name)
