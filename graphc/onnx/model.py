"""`load`, and the model that it returns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

import graphc as gx
from graphc import dims
from graphc.dims import Dim
from graphc.errors import ArgumentError, GraphcError, OnnxImportError, caller
from graphc.leaves import Variable
from graphc.onnx.checks import checked
from graphc.onnx.elements import Element, element_of
from graphc.onnx.files import read_model
from graphc.onnx.importer import Model, Scope
from graphc.onnx.values import Nothing, Series, Value
from graphc.onnx.weights import Kind, Weights
from graphc.runtime.program import Program
from graphc.tensor import Tensor, TensorLike, as_tensor

Array = np.ndarray[Any, Any]


class OnnxModel:
    """A model from an ONNX file: a function on Tensors, and the graph of its own inputs.

    Attributes
    ----------
    inputs : dict of str to Tensor
        Its inputs, as placeholders; sizes that have names in the model have them here.
    outputs : dict of str to Tensor
        Its outputs for these; a sequence is a list of Tensors, and what is not there is left out.
    elements : dict of str to Element
        Element types of inputs and outputs in the model, where they may be narrower than what
        graphc computes in.
    """

    def __init__(
        self, model: Model, weights: Weights, sizes: Mapping[str, int], values: Mapping[str, Array]
    ) -> None:
        self._model = model
        self._weights = weights
        self._sizes = sizes
        self._fixed = dict(values)
        names = {i.name for i in model.graph.initializer}
        declared = [i for i in model.graph.input if i.name not in names]
        self._declared = {i.name: i for i in declared}
        unknown = sorted(self._fixed.keys() - {i.name for i in model.graph.input})
        if unknown:
            raise ArgumentError(
                f"gx.onnx.load: values= names {unknown[0]!r}",
                expected=f"inputs: {', '.join(self._declared)}",
                given=", ".join(unknown),
                where=caller(),
            )
        self.elements: dict[str, Element] = {}
        self.inputs: dict[str, Tensor] = {}
        for name, info in self._declared.items():
            self.elements[name] = _element(info)
            if name not in self._fixed:
                self.inputs[name] = self._placeholder(info)
        self.results = self._run(self.inputs)
        there = {n: v for n, v in self.results.items() if isinstance(v, (Value, Series))}
        self.elements |= {name: value.element for name, value in there.items()}
        self.outputs: dict[str, Any] = {name: _tensors(value) for name, value in there.items()}

    @property
    def name(self) -> str:
        """The name of its graph in the file."""
        return str(self._model.graph.name)

    @property
    def opsets(self) -> dict[str, int]:
        """Versions of the operator sets that it is written for, by domain."""
        return {domain or "ai.onnx": version for domain, version in self._model.opsets.items()}

    @property
    def operators(self) -> list[str]:
        """The operator of every node, those of loops and branches included."""
        return list(_operators(self._model.graph))

    @property
    def variables(self) -> list[Variable]:
        """The weights, named as in the model; those of normalization statistics are not trainable."""
        return self._weights.variables

    def __call__(self, *operands: TensorLike, **named: TensorLike) -> Any:
        """Return the outputs for other inputs, a tuple if there are several; the weights stay shared.

        Raises
        ------
        ArgumentError
            If inputs are missing or too many.
        """
        names = list(self.inputs)
        given = {**dict(zip(names, operands, strict=False)), **named}
        if given.keys() != set(names) or len(operands) + len(named) != len(names):
            raise ArgumentError(
                "the model is called with other inputs than it has",
                expected=", ".join(names),
                given=f"{len(operands)} by position and {', '.join(named) or 'none'} by name",
                where=caller(),
            )
        tensors = {name: as_tensor(given[name]) for name in names}
        results = self._run(tensors).values()
        found = tuple(_tensors(v) for v in results if not isinstance(v, Nothing))
        return found[0] if len(found) == 1 else found

    def compile(self, **options: Any) -> Program:
        """Compile the model; options are those of `graphc.compile`.

        Returns
        -------
        Program
            From the inputs, in their order, to a dict of outputs.
        """
        return gx.compile(list(self.inputs.values()), self.outputs, **options)

    def __repr__(self) -> str:
        inputs = ", ".join(f"{n}: {t.type}" for n, t in self.inputs.items())
        outputs = ", ".join(f"{n}: {_described(t)}" for n, t in self.outputs.items())
        return f"<OnnxModel {self._model.graph.name!r} ({inputs}) -> ({outputs})>"

    # ------------------------------------------------------------------ building
    def _run(self, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        scope = Scope(self._model, self._weights, self._model.opsets)
        for name, tensor in tensors.items():
            element = self.elements[name]
            scope.define(name, Value(element, element.fit(tensor)))
        for name, array in self._fixed.items():
            scope.define(name, _known(self.elements[name], array))
        found = scope.run(self._model.graph)
        return {o.name: v for o, v in zip(self._model.graph.output, found, strict=True)}

    def _placeholder(self, info: Any) -> Tensor:
        kind = info.type.WhichOneof("value")
        if kind != "tensor_type":
            error = OnnxImportError(
                f"input {info.name!r} is {_KINDS[kind]}, which has to be known",
                expected=f"values={{{info.name!r}: ...}}: a list of arrays, or None for an optional value",
                where=caller(),
            )
            error.inputs = (info.name,)
            raise error
        if not info.type.tensor_type.HasField("shape"):
            raise OnnxImportError(
                f"input {info.name!r} has no shape",
                expected="a number of dimensions; their sizes may have names",
                where=caller(),
            )
        shape = [
            self._dimension(d, f"{info.name}_{axis}")
            for axis, d in enumerate(info.type.tensor_type.shape.dim)
        ]
        try:
            return gx.placeholder(info.name, shape=shape, dtype=self.elements[info.name].carrier)
        except GraphcError as error:
            raise OnnxImportError(
                f"input {info.name!r}: {error.what}",
                expected=error.expected,
                given=error.given,
                where=caller(),
            ) from error

    def _dimension(self, proto: Any, fallback: str) -> Dim:
        if proto.HasField("dim_value"):
            return int(proto.dim_value)
        name = proto.dim_param or fallback
        fixed = self._sizes.get(name)
        return dims.symbol(identifier(name)) if fixed is None else fixed


def _operators(graph: Any) -> Iterator[str]:
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _operators(inner)


def identifier(name: str) -> str:
    """Return a name of a size as a Python identifier.

    Examples
    --------
    >>> identifier("batch-size"), identifier("2n")
    ('batch_size', '_2n')
    """
    found = re.sub(r"\W", "_", name)
    return found if found.isidentifier() else f"_{found}"


# What comes of attributes and operands that are there and make no sense, such as a name that is no text.
_DAMAGE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
# Types of inputs that stand for others, by the name of their field in TypeProto.
_KINDS = {"sequence_type": "a sequence", "optional_type": "an optional value"}


def _element(info: Any) -> Element:
    """Return the element type of an input, or of what it is a sequence of."""
    proto = info.type
    kind = proto.WhichOneof("value")
    while kind in _KINDS:
        proto = getattr(proto, kind).elem_type
        kind = proto.WhichOneof("value")
    if kind != "tensor_type":
        raise OnnxImportError(
            f"input {info.name!r} is no tensor", expected="a tensor", given=str(kind), where=caller()
        )
    return element_of(proto.tensor_type.elem_type, f"input {info.name!r}")


def _known(element: Element, given: Any) -> Value | Series | Nothing:
    """Return what `values=` gives for an input: an array, a list of arrays, or None."""
    if given is None:
        return Nothing()
    if isinstance(given, (list, tuple)) and all(isinstance(a, np.ndarray) for a in given):
        return Series(element, tuple(Value(element, known=element.carry(a)) for a in given))
    return Value(element, known=element.carry(np.asarray(given)))


def _tensors(value: Value | Series) -> Tensor | list[Tensor]:
    return value.tensor if isinstance(value, Value) else [v.tensor for v in value.items]


def _described(output: Tensor | list[Tensor]) -> str:
    return str(output.type) if isinstance(output, Tensor) else f"[{', '.join(str(t.type) for t in output)}]"


def load(
    source: Any,
    *,
    weights: Kind = "variables",
    sizes: Mapping[str, int] | None = None,
    values: Mapping[str, Any] | None = None,
) -> OnnxModel:
    """Load a model; see `graphc.onnx.load`."""
    if weights not in ("variables", "constants"):
        raise ArgumentError(
            "gx.onnx.load: bad weights",
            expected="'variables' or 'constants'",
            given=repr(weights),
            where=caller(),
        )
    proto, folder = read_model(source)
    try:
        model = checked(proto, folder)
        return OnnxModel(model, Weights(weights, folder), sizes or {}, values or {})
    except GraphcError:
        raise
    except _DAMAGE as error:
        raise OnnxImportError(
            "the model is damaged",
            expected="operands, attributes and names of the kinds that ONNX says",
            given=f"{type(error).__name__}: {error}",
            where=caller(),
        ) from error
