"""The table of operations that are spelled in ONNX directly.

One file per family stands in `graphc.onnx.export.operations`; importing that package fills the table.
The spelling does not stand with the operation itself, because the package onnx is optional and most
operations need none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphc.onnx.export.call import Call

Export = Callable[["Call"], str | tuple[str, ...] | None]
"""From a node, seen through a `Call`, to the names of its results; None leaves it to its lowering."""

_TABLE: dict[str, Export] = {}


def exporter(*names: str) -> Callable[[Export], Export]:
    """Register the decorated function as what writes operations of these names.

    Examples
    --------
    >>> from graphc.onnx.export import registry
    >>> registry.find("relu").__name__
    '_relu'
    """

    def register(export: Export) -> Export:
        for name in names:
            _TABLE[name] = export
        return export

    return register


def find(name: str) -> Export | None:
    """Return what writes an operation directly, if anything does."""
    # Deferred: the operations register themselves here.
    from graphc.onnx.export import operations

    operations.load()
    return _TABLE.get(name)
