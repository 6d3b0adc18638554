"""`save`: from a program or graph to a model file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

import graphc
from graphc.errors import ArgumentError, OnnxExportError, Where, caller
from graphc.ir import Graph, Node
from graphc.lower.rules import Leaf
from graphc.nests import Nest
from graphc.onnx.export.external import write
from graphc.onnx.export.graphs import Names
from graphc.onnx.export.writer import Root, Writer, cannot, source_of, value_info
from graphc.runtime.program import Program
from graphc.tensor import Tensor
from graphc.trace import trace

Array = np.ndarray[Any, Any]
OLDEST = 18
"""The first operator set whose reductions all take axes as operands, and whose scatters add."""


def save(
    source: Any,
    path: str | os.PathLike[str],
    *,
    opset: int,
    name: str | None,
    updates: str,
    external: bool | None,
) -> None:
    """Save a model; see `graphc.onnx.save`."""
    newest = onnx.defs.onnx_opset_version()
    if not isinstance(opset, int) or not OLDEST <= opset <= newest:
        raise ArgumentError(
            "gx.onnx.save: bad opset", expected=f"{OLDEST} to {newest}", given=repr(opset), where=caller()
        )
    if updates not in ("refuse", "leave out"):
        raise ArgumentError(
            "gx.onnx.save: bad updates",
            expected="'refuse' or 'leave out'",
            given=repr(updates),
            where=caller(),
        )
    graph, nest = _graph_of(source)
    if graph.updates and updates == "refuse":
        variable, value = graph.updates[0]
        raise OnnxExportError(
            f"the program updates variables, such as {variable.name!r}, and a model cannot",
            expected="a program that only computes, or updates='leave out' for its outputs alone",
            given=f"an update at {value.where.describe()}",
            where=caller(),
        )
    label = name or (source.name if isinstance(source, Program) else "graph")
    model, arrays = model_of(graph, nest, opset, label)
    write(model, arrays, Path(path), external)


def _graph_of(source: Any) -> tuple[Graph, Nest | None]:
    if isinstance(source, Program):
        return source._source.traced, source._nest
    if isinstance(source, Graph):
        return source, None
    if isinstance(source, tuple) and len(source) == 2:
        inputs, outputs = source
        fed = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        return trace(fed, outputs)
    raise ArgumentError(
        "gx.onnx.save: nothing that can be saved",
        expected="a program, a graph, or a pair of inputs and outputs",
        given=type(source).__name__,
        where=caller(),
    )


def model_of(graph: Graph, nest: Nest | None, opset: int, name: str) -> tuple[Any, dict[str, Array]]:
    """Return a graph as a ModelProto without initializers, and the arrays that these are to hold.

    Raises
    ------
    OnnxExportError
        Listing everything in it that cannot be written.
    """
    root = Root(opset)
    failures: list[tuple[str, Where]] = []
    names = Names(Writer(root, root.nodes), failures)
    for node in graph.inputs:
        names.values[node] = (root.name(str(node.name)),)
    outputs = [root.name(n) for n in output_names(graph, nest)]
    types = {names.of(n): n.type for n in graph.inputs}
    for size in graph.dim_names:
        source = source_of(size, types)
        if source is not None:
            root.sources[size] = source
    found = names.write(graph.outputs)
    if failures:
        raise cannot(failures)
    _name_outputs(root.nodes, found, outputs)
    made = helper.make_graph(
        root.nodes,
        name,
        [value_info(n, t) for n, t in types.items()],
        [value_info(n, node.type) for n, node in zip(outputs, graph.outputs, strict=True)],
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(
        made,
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="graphc",
        producer_version=graphc.__version__,
    )
    return model, root.initializers


def output_names(graph: Graph, nest: Nest | None) -> list[str]:
    """Return what the outputs are called: by their keys, or by the user's names for the tensors.

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.trace import trace
    >>> x = gx.placeholder("x", shape=(2,))
    >>> output_names(*trace([x], {"twice": x + x, "pair": [x * x, gx.exp(x)]}))
    ['twice', 'pair.0', 'pair.1']
    """
    paths = list(_paths(nest, ())) if nest is not None else [(k,) for k in range(len(graph.outputs))]
    single = len(paths) == 1
    return [
        ".".join(map(str, path)) if any(isinstance(p, str) for p in path) else _plain_name(node, path, single)
        for node, path in zip(graph.outputs, paths, strict=True)
    ]


def _paths(nest: Nest, prefix: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield keys and positions that lead to each value of a structure."""
    if nest.kind == "value":
        yield prefix
    keys = nest.keys or range(len(nest.parts))
    for key, part in zip(keys, nest.parts, strict=True):
        yield from _paths(part, (*prefix, key))


def _plain_name(node: Node, path: tuple[Any, ...], single: bool) -> str:
    if node.name and not isinstance(node.op.lowering, Leaf):
        return node.name
    return "output" if single else "_".join(["output", *map(str, path)])


def _name_outputs(nodes: list[Any], results: Sequence[str], wanted: Sequence[str]) -> None:
    """Give results the names of outputs: in the node that computes one, if nothing else reads it."""
    read = Counter(name for node in nodes for name in _reads(node))
    read.update(results)
    makers = {name: node for node in nodes for name in node.output}
    for result, name in zip(results, wanted, strict=True):
        maker = makers.get(result)
        if maker is None or read[result] > 1:
            nodes.append(helper.make_node("Identity", [result], [name], name=name))
            continue
        maker.output[list(maker.output).index(result)] = name


def _reads(node: Any) -> Iterator[str]:
    yield from node.input
    for attribute in node.attribute:
        if attribute.HasField("g"):
            for inner in attribute.g.node:
                yield from _reads(inner)
