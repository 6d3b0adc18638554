"""Values of a model while it is imported: tensors, numbers that are known already, and lists of these.

Shape arithmetic (Shape, Gather, Concat, ...) is on integers that are known when a model is
imported, up to the sizes that have names.  A `Value` carries what is known beside the tensor, as
an array whose elements are numbers or dimensions, and makes the tensor only where one is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as gx
from graphc.control.bodies import Scope
from graphc.dims import Dim, SymbolicDim
from graphc.interpreter import evaluate
from graphc.ir import Node
from graphc.onnx.elements import Element
from graphc.ops.counting import size_tensor
from graphc.tensor import Tensor

Array = np.ndarray[Any, Any]


class Value:
    """What a name of the model stands for.

    Attributes
    ----------
    element : Element
        Its element type in the model.
    """

    def __init__(self, element: Element, tensor: Tensor | None = None, known: Array | None = None) -> None:
        self.element = element
        self._tensor = tensor
        self._known = known

    @property
    def tensor(self) -> Tensor:
        """The value in the graph."""
        if self._tensor is None:
            self._tensor = self._make()
        return self._tensor

    def _make(self) -> Tensor:
        known = np.asarray(self._known)
        if known.dtype != object:
            return gx.constant(known)
        sizes = [size_tensor(d, self.element.carrier) for d in known.ravel()]
        return gx.reshape(gx.stack(sizes), known.shape)

    @property
    def symbolic(self) -> bool:
        """Whether it is known up to sizes that have names."""
        return self._known is not None and self._known.dtype == object

    @property
    def shape(self) -> tuple[Dim, ...]:
        """Its sizes."""
        return self._known.shape if self._known is not None else self.tensor.shape

    def known(self) -> Array | None:
        """Return its numbers, or dimensions, if they are known while importing; else None."""
        if self._known is None and self._tensor is not None and not open_leaves(self._tensor):
            self._known = evaluate(self._tensor)
        return self._known


@dataclass(frozen=True)
class Series:
    """A sequence: as many values as are known while importing, which may differ in shape.

    Attributes
    ----------
    element : Element
        Element type of all of them.
    items : tuple of Value
        The values.
    """

    element: Element
    items: tuple[Value, ...]


@dataclass(frozen=True)
class Nothing:
    """An optional value that is not there."""


def open_leaves(tensor: Tensor) -> list[Node]:
    """Return what keeps a tensor from being known while importing; empty if nothing does.

    Placeholders and variables do, and so do nodes that depend on a size that has a name.
    """
    found: list[Node] = []
    seen: set[Node] = set()
    waiting = [tensor.node]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if _is_open(node):
            found.append(node)
        waiting += node.inputs
    return found


def is_input(node: Node) -> bool:
    """Tell whether a node is an input of the graph, and not one of a loop's body."""
    return node.op.name == "placeholder" and not isinstance(node.payload, Scope)


def _is_open(node: Node) -> bool:
    sizes = _has_dimension(node.type.shape) or any(map(_has_dimension, node.attrs.values()))
    return sizes or node.op.name in ("placeholder", "variable")


def _has_dimension(attribute: object) -> bool:
    if isinstance(attribute, tuple):
        return any(map(_has_dimension, attribute))
    return isinstance(attribute, SymbolicDim)


def dimensions(known: Array) -> Array:
    """Return an array of numbers and dimensions as one of numbers, if it holds nothing else.

    Examples
    --------
    >>> dimensions(np.array([2, 3], object)).dtype
    dtype('int64')
    """
    if any(isinstance(d, SymbolicDim) for d in known.ravel()):
        return known
    return known.astype(np.int64)
