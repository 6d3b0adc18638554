"""graphc as a backend of ONNX, which is how ONNX's own tests run it.

Example: ``onnx.backend.test.BackendTest(graphc.onnx.backend.GraphcBackend, __name__)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep

import graphc as gx
from graphc.errors import ArgumentError, OnnxImportError, caller
from graphc.onnx.model import OnnxModel, load
from graphc.onnx.values import Nothing, Series, Value

Array = np.ndarray[Any, Any]


class GraphcRep(BackendRep):
    """A model that is ready to run.

    Operands that decide on shapes may be inputs of a model; a static graph has to know them.  The
    model is imported again with the values of just those, and kept for calls with the same.
    """

    def __init__(self, model: Any, compiled: bool) -> None:
        self._model = model
        self._compiled = compiled
        self._names = inputs_of(model)
        self._fixed: tuple[str, ...] = ()
        self._kept: tuple[dict[str, Array], OnnxModel, Any] | None = None

    def run(self, inputs: Any, **options: Any) -> tuple[Any, ...]:
        """Return the outputs for inputs, given in their order or by name."""
        given = inputs if isinstance(inputs, dict) else dict(zip(self._names, inputs, strict=False))
        model, program = self._ready(given)
        feeds = {n: model.elements[n].carry(np.asarray(given[n])) for n in model.inputs}
        if program is not None:
            found = program(**feeds)
        else:
            found = gx.evaluate(model.outputs, {model.inputs[n]: v for n, v in feeds.items()})
        return tuple(_as_stored(found.get(name), value) for name, value in model.results.items())

    def _ready(self, given: dict[str, Any]) -> tuple[OnnxModel, Any]:
        if self._kept is not None and all(np.array_equal(given[n], v) for n, v in self._kept[0].items()):
            return self._kept[1:]
        model = self.specialized(given)
        program = model.compile() if self._compiled else None
        self._kept = {n: given[n] for n in self._fixed}, model, program
        return model, program

    def specialized(self, given: dict[str, Any]) -> OnnxModel:
        """Return the model with those of the given inputs as constants that decide on shapes."""
        while True:
            try:
                return load(self._model, weights="constants", values={n: given[n] for n in self._fixed})
            except OnnxImportError as error:
                needed = set(error.inputs) & given.keys() - set(self._fixed)
                if not needed:
                    raise
                self._fixed = (*self._fixed, *sorted(needed))


class GraphcBackend(Backend):
    """The backend; it runs on the CPU."""

    compiled = True

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **options: Any) -> GraphcRep:
        """Return a model ready to run.

        Raises
        ------
        ArgumentError
            For another device.
        """
        if not cls.supports_device(device):
            raise ArgumentError("no such device", expected="'CPU'", given=repr(device), where=caller())
        return GraphcRep(model, cls.compiled)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Tell whether models run on a device."""
        return device == "CPU"


class InterpretedBackend(GraphcBackend):
    """The same with graphc's interpreter: nothing is compiled."""

    compiled = False


def inputs_of(model: Any) -> list[str]:
    """Return the names of the inputs that have no default."""
    defaults = {i.name for i in model.graph.initializer}
    return [i.name for i in model.graph.input if i.name not in defaults]


def _as_stored(found: Any, value: Value | Series | Nothing) -> Any:
    """Return a result in the type that the model says."""
    if isinstance(value, Nothing):
        return None
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.element.code)
    return found.astype(dtype) if isinstance(value, Value) else [a.astype(dtype) for a in found]
