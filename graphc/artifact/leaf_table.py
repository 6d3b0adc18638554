"""The data of a file's graphs: variables and constants, each once, however many graphs name it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from graphc.artifact.container import ALIGNMENT
from graphc.artifact.fields import as_index
from graphc.artifact.stored import Bytes, Stored, read_stored
from graphc.artifact.values import ValueWriter
from graphc.ir import Attrs, Node
from graphc.leaves import VARIABLE
from graphc.state import STATE_LOCK, ConstantData, Storage
from graphc.types import TensorType

__all__ = ["LeafTable"]

Array = np.ndarray[Any, Any]


class LeafTable:
    """Variables and constants that graphs refer to by number.

    Graphs of several programs share one table, and so their variables.

    Attributes
    ----------
    variables : list of Node
        One for each variable.
    constants : list of ConstantData
        One for each array, whatever number of constants has its value.

    Examples
    --------
    >>> import graphc as gx, numpy as np
    >>> from graphc.trace import trace
    >>> from graphc.artifact.graphs import decode_graph, encode_graph
    >>> x, w = gx.placeholder("x", shape=(2,)), gx.variable(np.ones(2, "float32"), name="w")
    >>> leaves = LeafTable()
    >>> data = encode_graph(trace([x], x * w, {w: w + 1})[0], leaves)
    >>> stored = np.frombuffer(b"".join(leaves.pieces()), np.uint8)
    >>> again = LeafTable.decode(leaves.encode(), stored)
    >>> [v.name for v in decode_graph(data, again).variables]
    ['w']
    """

    def __init__(self) -> None:
        self.variables: list[Node] = []
        self.constants: list[ConstantData] = []
        self._numbers: dict[object, int] = {}
        self._cold: frozenset[int] = frozenset()

    def add_variable(self, node: Node) -> int:
        """Return the number of a variable."""
        number = self._numbers.setdefault(node.payload, len(self.variables))
        if number == len(self.variables):
            self.variables.append(node)
        return number

    def add_constant(self, data: ConstantData) -> int:
        """Return the number of a constant's array."""
        number = self._numbers.setdefault(data.digest, len(self.constants))
        if number == len(self.constants):
            self.constants.append(data)
        return number

    def variable(self, number: Any) -> Node:
        """Return the variable of a number."""
        return self.variables[as_index(number, "variable", len(self.variables))]

    def number_of(self, payload: Storage | ConstantData) -> int:
        """Return the number of a variable's memory among the variables, or of a constant among those."""
        if isinstance(payload, ConstantData):
            return self.add_constant(payload)
        return self._numbers[payload]

    def constant(self, number: Any) -> ConstantData:
        """Return the constant of a number."""
        return self.constants[as_index(number, "constant", len(self.constants))]

    # -- writing
    def set_running(self, constants: Collection[int]) -> None:
        """Say which constants programs run with: the others, which only graphs need, stand apart."""
        self._cold = frozenset(range(len(self.constants))) - frozenset(constants)

    def _arrays(self, cold: bool = False) -> list[Array]:
        chosen = [c.array for k, c in enumerate(self.constants) if (k in self._cold) == cold]
        return chosen if cold else [*(v.payload.array for v in self.variables), *chosen]

    def encode(self) -> dict[str, Any]:
        """Return everything but the bytes as pure data: names, types, and where in the bytes each begins."""
        values = ValueWriter()
        offsets = _offsets(a.nbytes for a in self._arrays())
        cold = _offsets(a.nbytes for a in self._arrays(cold=True))
        variables = [
            {
                "name": v.name,
                "type": values.type(v.type),
                "at": values.place(v.where),
                "trainable": bool(v.payload.trainable),
                "offset": next(offsets),
            }
            for v in self.variables
        ]
        constants = [
            {
                "type": values.type(TensorType(c.array.shape, c.array.dtype)),
                **({"offset": next(cold), "cold": True} if k in self._cold else {"offset": next(offsets)}),
            }
            for k, c in enumerate(self.constants)
        ]
        return {"variables": variables, "constants": constants, "tables": values.tables}

    def pieces(self, cold: bool = False) -> Iterator[memoryview]:
        """Yield the bytes, one array after the other and zeros between them; no program runs meanwhile.

        `cold` asks for the constants that only graphs need.
        """
        with STATE_LOCK:
            for array in self._arrays(cold):
                yield _bytes(array)
                yield memoryview(bytes(-array.nbytes % ALIGNMENT))

    # -- reading
    @classmethod
    def decode(cls, data: Any, stored: Bytes) -> LeafTable:
        """Return the table of what `encode` gave, over its bytes; raises as `read_stored`."""
        return cls.over(read_stored(data, stored))

    @classmethod
    def over(cls, stored: Stored) -> LeafTable:
        """Return the table of a file's variables and constants."""
        table = cls()
        for v in stored.variables:
            table.variables.append(Node(VARIABLE, (), Attrs(), v.type, v.name, v.where, v.storage))
        arrays = map(stored.constant, range(stored.count))
        table.constants += [ConstantData(array) for array in arrays]
        return table


def _offsets(lengths: Any) -> Iterator[int]:
    place = 0
    for length in lengths:
        yield place
        place += length + -length % ALIGNMENT


def _bytes(array: Array) -> memoryview:
    # A view of the same memory; one without elements has no bytes to view.
    flat: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return memoryview(flat)
