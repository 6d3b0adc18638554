"""What must hold of a model before anything of it is converted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx

from graphc.errors import OnnxImportError, caller
from graphc.onnx import registry, schemas
from graphc.onnx.importer import Model, opsets_of, unsupported

# Deeper calls of functions by functions are taken for a cycle.
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
    missing = sorted(set(_unsupported(found, model.graph.node, opsets, 0)))
    if missing:
        raise unsupported(missing)
    return found


def _unsupported(model: Model, nodes: Iterable[Any], opsets: Any, depth: int) -> Iterator[str]:
    """Yield what nodes need that graphc does not have, in graphs within them too."""
    if depth > DEEPEST:
        raise OnnxImportError("functions of the model call each other without end", where=caller())
    for node in nodes:
        domain = registry.domain_of(node.domain)
        own = model.functions.get((domain, node.op_type))
        version = opsets.get(domain, 1)
        if own is not None:
            yield from _unsupported(model, own.node, opsets_of(own, opsets), depth + 1)
        elif not _has(domain, node.op_type, version):
            yield f"{domain}.{node.op_type}" if domain else f"{node.op_type} (opset {version})"
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _unsupported(model, graph.node, opsets, depth + 1)


def _has(domain: str, name: str, version: int) -> bool:
    if registry.find(domain, name, version) is not None:
        return True
    schema = schemas.schema(name, version, domain)
    return schema is not None and (schema.has_function or schema.has_context_dependent_function)
