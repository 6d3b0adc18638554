"""What a spelling sees of a node: its operands by name, their types, and the writer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphc.ir import Node
from graphc.onnx.export.writer import Writer
from graphc.types import TensorType

if TYPE_CHECKING:
    from graphc.onnx.export.graphs import Names


@dataclass(frozen=True)
class Call:
    """A node to be written.

    Attributes
    ----------
    node : Node
        The node.
    inputs : tuple of str
        Names of its operands.
    writer : Writer
        Writes nodes of the graph in which it stands.
    names : Names
        What can be read there.
    """

    node: Node
    inputs: tuple[str, ...]
    writer: Writer
    names: Names

    @property
    def type(self) -> TensorType:
        """Type of the result."""
        return self.node.type

    @property
    def types(self) -> tuple[TensorType, ...]:
        """Types of the operands."""
        return tuple(n.type for n in self.node.inputs)

    def attr(self, name: str) -> Any:
        """Return a parameter of the operation."""
        return self.node.attrs[name]

    def write(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Write a node with one result, which has the user's name for it if there is one."""
        return self.writer.node(op, *inputs, name=self.node.name or self.node.op.name, **attributes)
