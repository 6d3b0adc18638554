"""What must hold of a model before anything of it is converted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import onnx

from graphc.errors import OnnxImportError, caller
from graphc.onnx import registry, schemas
from graphc.onnx.importer import Model, opsets_of, unsupported

# How deep calls of functions by functions may be.
DEEPEST = 64


def checked(model: Any, folder: Path | None) -> Model:
    """Return a model whose parts are all there and whose operators graphc has.

    Raises
    ------
    OnnxImportError
        If it has no graph or operator set, or listing everything that it needs and graphc lacks.
    """
    newest = onnx.defs.onnx_opset_version()
    # Bodies of functions of other domains may use the default one without naming a version.
    opsets = opsets_of(model, {"": newest})
    if not model.HasField("graph") or not model.graph.output:
        raise OnnxImportError("the model has no graph", expected="a graph with outputs", where=caller())
    if not model.opset_import:
        raise OnnxImportError("the model names no operator set", expected="opset_import", where=caller())
    if opsets[""] > newest:
        raise OnnxImportError(
            "the model is newer than the installed package onnx",
            expected=f"opset {newest} at most, or pip install --upgrade onnx",
            given=f"opset {opsets['']}",
            where=caller(),
        )
    functions = {(registry.domain_of(f.domain), f.name): f for f in model.functions}
    found = Model(model.graph, opsets, functions, folder)
    missing = sorted(_unsupported(found))
    if missing:
        raise unsupported(missing)
    return found


def _unsupported(model: Model) -> set[str]:
    """Return what a model needs that graphc does not have, each of its functions looked at once."""
    found: set[str] = set()
    waiting: list[tuple[Any, Any, Mapping[str, int]]] = [(model.graph.name, model.graph.node, model.opsets)]
    calls: dict[Any, set[Any]] = {model.graph.name: set()}
    while waiting:
        outer, nodes, opsets = waiting.pop()
        for node in _all(nodes):
            called = registry.domain_of(node.domain), node.op_type
            own = model.functions.get(called)
            if own is None:
                found |= _missing(*called, opsets.get(called[0], 1))
                continue
            if called not in calls:
                waiting.append((called, own.node, opsets_of(own, model.opsets)))
                calls[called] = set()
            calls[outer].add(called)
    if _depth(calls) > DEEPEST:
        raise OnnxImportError(
            "functions of the model call each other too deeply",
            expected=f"at most {DEEPEST} within each other",
            where=caller(),
        )
    return found


def _depth(calls: Mapping[Any, set[Any]]) -> int:
    """Return how many calls lie within each other at most."""
    depth: dict[Any, int] = {}
    try:
        for name in TopologicalSorter(calls).static_order():
            depth[name] = max((depth[called] + 1 for called in calls[name]), default=0)
    except CycleError:
        raise OnnxImportError("functions of the model call each other without end", where=caller()) from None
    return max(depth.values())


def _all(nodes: Iterable[Any]) -> Iterator[Any]:
    """Yield nodes, and those of the graphs within them."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _all(graph.node)


def _missing(domain: str, name: str, version: int) -> set[str]:
    if _has(domain, name, version):
        return set()
    return {f"{domain}.{name}" if domain else f"{name} (opset {version})"}


def _has(domain: str, name: str, version: int) -> bool:
    if registry.find(domain, name, version) is not None:
        return True
    schema = schemas.schema(name, version, domain)
    return schema is not None and (schema.has_function or schema.has_context_dependent_function)
