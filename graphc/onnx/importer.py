"""From the nodes of a model to a graph: one converter call after the other.

A `Scope` holds what the names of one graph stand for; graphs within attributes and the bodies of
functions have scopes of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphc.errors import GraphcError, OnnxImportError, caller
from graphc.onnx import folding, functions, registry, schemas
from graphc.onnx.call import Body, Call
from graphc.onnx.values import Nothing, Series, Value
from graphc.onnx.weights import Weights
from graphc.tensor import Tensor


@dataclass(frozen=True)
class Model:
    """A model that was read and checked.

    Attributes
    ----------
    graph : GraphProto
        Its main graph.
    opsets : mapping of str to int
        Version of each domain's operator set.
    functions : mapping of (str, str) to FunctionProto
        Its own functions, by domain and name.
    folder : Path, optional
        Where external data may lie.
    """

    graph: Any
    opsets: Mapping[str, int]
    functions: Mapping[tuple[str, str], Any]
    folder: Path | None


# Real models have a few thousand nodes. Functions and loops within each other can stand for any number.
MOST_NODES = 200_000


@dataclass
class Budget:
    """How many more nodes may be converted, functions and unrolled loops written out."""

    left: int = field(default_factory=lambda: MOST_NODES)

    def spend(self) -> None:
        """Take note of a node.

        Raises
        ------
        OnnxImportError
            If there were too many.
        """
        self.left -= 1
        if self.left < 0:
            raise OnnxImportError(
                "the model is too large, its functions and loops written out",
                expected=f"at most {MOST_NODES} nodes",
                where=caller(),
            )


@dataclass
class Scope:
    """The names of one graph, and what surrounds it.

    Attributes
    ----------
    model : Model
        The model.
    weights : Weights
        Values of initializers.
    opsets : mapping of str to int
        Versions of the operator sets; a function has its own.
    outer : Scope, optional
        Whose names can be read here.
    attributes : mapping of str to AttributeProto
        Attributes of the call, within a function.
    values : dict of str to value
        What the names stand for.
    budget : Budget
        How many more nodes may be converted here and in all scopes within.
    """

    model: Model
    weights: Weights
    opsets: Mapping[str, int]
    outer: Scope | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)

    # -------------------------------------------------------------------- names
    def find(self, name: str) -> Any:
        """Return what a name stands for, here or further out.

        Raises
        ------
        OnnxImportError
            If it stands for nothing.
        """
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.outer
        raise OnnxImportError(
            f"{name!r} is used before it is computed, or never is",
            expected="an input, an initializer or the result of a node further up",
            given=f"no such name in graph {self.model.graph.name!r}",
            where=caller(),
        )

    def define(self, name: str, value: Any) -> None:
        """Let a name stand for a value.

        Raises
        ------
        OnnxImportError
            If it stands for another one already.
        """
        if name in self.values:
            raise OnnxImportError(f"{name!r} is computed twice", expected="each name once", where=caller())
        self.values[name] = value

    # ------------------------------------------------------------------- running
    def run(self, graph: Any) -> list[Any]:
        """Convert a graph, whose inputs are defined, and return the values of its outputs."""
        for initializer in graph.initializer:
            # An input may have an initializer, its default; what was given counts.
            if initializer.name not in self.values:
                self.define(initializer.name, self.weights.value(initializer, top=self.outer is None))
        if graph.sparse_initializer:
            raise OnnxImportError("sparse initializers are not supported", where=caller())
        for node in graph.node:
            self.convert(node)
        return [self.find(output.name) for output in graph.output]

    def convert(self, node: Any) -> None:
        """Convert one node and define its results."""
        self.budget.spend()
        inputs = [self.find(name) if name else None for name in node.input]
        results = self.results(node, inputs)
        if len(results) < len([n for n in node.output if n]):
            raise OnnxImportError(
                f"{label_of(node)}: too many outputs",
                expected=f"at most {len(results)}",
                given=str(len(node.output)),
                where=caller(),
            )
        for name, result in zip(node.output, results, strict=False):
            if name and result is not None:
                self.define(name, result)

    def results(self, node: Any, inputs: Sequence[Any]) -> Sequence[Any]:
        """Return the values that a node computes."""
        domain = registry.domain_of(node.domain)
        own = self.model.functions.get((domain, node.op_type))
        attributes = self._attributes(node)
        if own is not None:
            return self.function(own, attributes, inputs)
        version = self.opsets.get(domain, 1)
        found = registry.find(domain, node.op_type, version)
        if found is None:
            body = functions.body_of(node, attributes, version, inputs)
            if body is None:
                raise unsupported([f"{node.op_type} (opset {version})"])
            return self.function(body, {**functions.defaults_of(node, version), **attributes}, inputs)
        call = Call(node.op_type, version, label_of(node), inputs, node.output, attributes, self)
        schemas.check(call, domain)
        folded = folding.fold(call)
        if folded is not None:
            return [folded]
        return self._converted(found, call, domain)

    def _converted(self, found: registry.Converter, call: Call, domain: str) -> Sequence[Any]:
        try:
            result = found.convert(call)
        except OnnxImportError:
            raise
        except GraphcError as error:
            raise OnnxImportError(
                f"{call.label}: {error.what}", expected=error.expected, given=error.given, where=caller()
            ) from error
        call.check_attributes()
        several = [result] if isinstance(result, (Tensor, Value, Series, Nothing)) else result
        elements = schemas.results(call, domain, len(several))
        return [
            r if not isinstance(r, Tensor) else schemas.typed(r, e, exact=found.exact)
            for r, e in zip(several, elements, strict=True)
        ]

    def _attributes(self, node: Any) -> dict[str, Any]:
        found = {}
        for attribute in node.attribute:
            reference = attribute.ref_attr_name
            given = _renamed(self.attributes.get(reference), attribute.name) if reference else attribute
            if given is not None:
                found[attribute.name] = given
        return found

    def function(self, body: Any, attributes: Mapping[str, Any], inputs: Sequence[Any]) -> list[Any]:
        """Return the results of a function for values of its inputs."""
        defaults = {a.name: a for a in body.attribute_proto}
        inner = Scope(
            self.model,
            self.weights,
            opsets_of(body, self.opsets),
            attributes={**defaults, **attributes},
            budget=self.budget,
        )
        inner.values = {name: None for name in body.input}
        inner.values.update(zip(body.input, inputs, strict=False))
        for node in body.node:
            inner.convert(node)
        return [inner.values.get(name) for name in body.output]

    # --------------------------------------------------- what calls need of a scope
    def constant(self, tensor: Any) -> Value:
        """Return a TensorProto as a known value."""
        return self.weights.constant(tensor)

    def body(self, graph: Any) -> Body:
        """Return a GraphProto as a function of its inputs' values."""
        return SubGraph(self, graph)


@dataclass(frozen=True)
class SubGraph:
    """A graph in an attribute, as a function."""

    scope: Scope
    graph: Any

    @property
    def inputs(self) -> list[str]:
        """Names of its inputs."""
        return [i.name for i in self.graph.input]

    @property
    def outputs(self) -> list[str]:
        """Names of its outputs."""
        return [o.name for o in self.graph.output]

    def __call__(self, *values: Any) -> list[Any]:
        """Return the results for values of its inputs."""
        outer = self.scope
        given = dict(zip(self.inputs, values, strict=True))
        inner = Scope(outer.model, outer.weights, outer.opsets, outer, outer.attributes, given, outer.budget)
        return inner.run(self.graph)


def opsets_of(proto: Any, around: Mapping[str, int]) -> dict[str, int]:
    """Return the versions of operator sets that a function or model names, and those around it."""
    return {**around, **{registry.domain_of(o.domain): o.version for o in proto.opset_import}}


def _renamed(attribute: Any, name: str) -> Any:
    """Return an attribute of a function as one of a node in it."""
    if attribute is None or attribute.name == name:
        return attribute
    found = type(attribute)()
    found.CopyFrom(attribute)
    found.name = name
    return found


def label_of(node: Any) -> str:
    """Return how errors name a node."""
    domain = registry.domain_of(node.domain)
    name = f"{domain}.{node.op_type}" if domain else node.op_type
    return f"{name} {node.name!r}" if node.name else f"{name} of {', '.join(map(repr, node.output))}"


def unsupported(names: Sequence[str]) -> OnnxImportError:
    """Return the error that a model needs operators that graphc does not have."""
    return OnnxImportError(
        "the model needs operators that graphc does not have",
        expected="the operators in docs/onnx.md",
        given=", ".join(names),
        where=caller(),
    )
