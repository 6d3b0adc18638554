"""From the nodes of a graph to nodes of a model, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphc.errors import Where
from graphc.ir import Node, topological
from graphc.lower.rules import Expand, Leaf
from graphc.onnx.export import registry
from graphc.onnx.export.call import Call
from graphc.onnx.export.lowerings import lowered
from graphc.onnx.export.writer import CannotExpress, Writer
from graphc.ops.op import expand_all
from graphc.types import TupleType


@dataclass
class Names:
    """What the nodes of a graph are called in the model, and those around it.

    Attributes
    ----------
    writer : Writer
        Where nodes go.
    failures : list of (str, Where)
        What could not be written, of the whole model.
    outer : Names, optional
        Of the graph around.
    """

    writer: Writer
    failures: list[tuple[str, Where]]
    outer: Names | None = None
    values: dict[Node, tuple[str, ...]] = field(default_factory=dict)

    def inner(self) -> Names:
        """Return the names of a graph within this one."""
        return Names(self.writer.inner(), self.failures, self)

    def find(self, node: Node) -> tuple[str, ...] | None:
        """Return the names of a node's results, if it was written."""
        names: Names | None = self
        while names is not None:
            if node in names.values:
                return names.values[node]
            names = names.outer
        return None

    def of(self, node: Node) -> str:
        """Return the name of a value that was written."""
        found = self.find(node)
        # What failed is collected; its readers go on with a name that nothing has.
        return found[0] if found else ""

    def write(self, roots: Iterable[Node]) -> list[str]:
        """Write what the roots depend on and return their names."""
        wanted = list(roots)
        for node in topological(wanted, known=self.values):
            if self.find(node) is None:
                self.values[node] = self._written(node)
        return [self.of(node) for node in wanted]

    def _written(self, node: Node) -> tuple[str, ...]:
        try:
            return self._spelled(node)
        except CannotExpress as error:
            own = node.op.name == str(error)
            self.failures.append((node.op.name if own else f"{node.op.name}: {error}", node.where))
            return ("",)

    def _spelled(self, node: Node) -> tuple[str, ...]:
        if isinstance(node.op.lowering, Leaf):
            return (self._leaf(node),)
        if node.op.name == "item":
            several = self.find(node.inputs[0]) or ()
            return (several[node.attrs["index"]] if node.attrs["index"] < len(several) else "",)
        if 0 in node.type.shape and not isinstance(node.type, TupleType):
            # Nothing to compute, and what runtimes do with nothing differs.
            return (self.writer.expand(self.writer.constant(0, node.type.dtype), node.type.shape),)
        operands = tuple(self.of(i) for i in node.inputs)
        call = Call(node, operands, self.writer, self)
        export = registry.find(node.op.name)
        found = export(call) if export is not None else None
        if found is not None:
            return (found,) if isinstance(found, str) else found
        if isinstance(node.op.lowering, Expand):
            return tuple(self.write(expand_all(node)))
        return (lowered(call),)

    def _leaf(self, node: Node) -> str:
        array: Any = node.payload.array
        root = self.writer.root
        if node.op.name == "constant":
            return root.constant(array, array.dtype)
        return root.weight(array, node.name or "variable")


def names_of(nodes: Sequence[Node], names: Sequence[str]) -> dict[Node, tuple[str, ...]]:
    """Return values of nodes under names that they have already."""
    return {node: (name,) for node, name in zip(nodes, names, strict=True)}
