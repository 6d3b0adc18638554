"""Watches and breakpoints of `graphc.evaluate`."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.debug.summaries import summary
from graphc.errors import ArgumentError, GraphError, Where, caller
from graphc.interpreter import observed
from graphc.ir import Node
from graphc.tensor import Tensor

__all__ = ["Inspection", "Watcher"]

Array = np.ndarray[Any, Any]
Callback = Callable[[Tensor, Array], object]
Predicate = Callable[[Node, Any], object]


@dataclass(frozen=True)
class Inspection:
    """What a breakpoint shows: a node that has just been computed.

    Attributes
    ----------
    node : Node
        The node.
    value : ndarray
        Its value; a tuple of them for a loop or branch.
    values : mapping of Node to ndarray
        All values so far: of the program, or of the body that the node stands in.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=(2,), dtype="float64")
    >>> y = x - 1
    >>> y_of = []
    >>> result = gx.evaluate(gx.sqrt(y), {x: [1.0, 3.0]}, breakpoints=[y], on_break=y_of.append)
    >>> y_of[0].operands[0], y_of[0][x], y_of[0].value
    (array([1., 3.]), array([1., 3.]), array([0., 2.]))
    """

    node: Node
    value: Any
    values: Mapping[Node, Any] = field(repr=False)

    @property
    def where(self) -> Where:
        """The user's line."""
        return self.node.where

    @property
    def operands(self) -> tuple[Any, ...]:
        """The values of the operands, in order."""
        return tuple(_as_array(self.values[i]) for i in self.node.inputs)

    def __getitem__(self, tensor: Tensor | Node) -> Any:
        node = tensor.node if isinstance(tensor, Tensor) else tensor
        if node not in self.values:
            raise GraphError(
                "inspection: this value is not there yet, or belongs to another body",
                expected="what was computed before, and is needed",
                given=repr(node),
                where=caller(),
            )
        return _as_array(self.values[node])

    def __str__(self) -> str:
        lines = [f"{self.node.op.name} at {self.where.describe()}"]
        lines += [f"  operand {k}: {summary(v)}" for k, v in enumerate(self.operands)]
        return "\n".join([*lines, f"  result: {summary(self.value)}"])


def _as_array(value: Any) -> Any:
    """Return a value as an array: slices that a loop takes of vectors are NumPy scalars."""
    return value if isinstance(value, tuple) else np.asarray(value)


class Watcher:
    """What an evaluation looks at on its way.

    Parameters
    ----------
    watch, breakpoints, on_break
        As `graphc.evaluate` takes them.

    Attributes
    ----------
    tensors : tuple of Tensor
        What must be computed for it.
    """

    def __init__(
        self,
        watch: Mapping[Tensor, Callback] | Iterable[Tensor],
        breakpoints: Iterable[Tensor | Predicate],
        on_break: Callable[[Inspection], object] | None,
    ) -> None:
        watched = dict(watch) if isinstance(watch, Mapping) else dict.fromkeys(watch, _show)
        stops = list(breakpoints)
        bad = next((t for t in watched if not isinstance(t, Tensor)), None)
        bad = bad or next((f for t, f in watched.items() if not callable(f)), None)
        bad = bad or next((s for s in stops if not isinstance(s, Tensor) and not callable(s)), None)
        if bad is not None:
            raise ArgumentError(
                "evaluate: nothing to watch or to stop at",
                expected="Tensors, callbacks of watched Tensors, and predicates of nodes",
                given=repr(bad),
                where=caller(),
            )
        self._callbacks = tuple(watched.values())
        self._predicates = [s for s in stops if not isinstance(s, Tensor)]
        self._on_break = on_break or _open_debugger
        self.tensors = (*watched, *(s for s in stops if isinstance(s, Tensor)))

    @contextmanager
    def watching(self, nodes: Sequence[Node]) -> Iterator[None]:
        """Look at values meanwhile; `nodes` are those of `tensors`, as they are computed."""
        if not self.tensors and not self._predicates:
            yield
            return
        count = len(self._callbacks)
        calls: dict[Node, list[tuple[Tensor, Callback]]] = {}
        for node, tensor, callback in zip(nodes, self.tensors, self._callbacks, strict=False):
            calls.setdefault(node, []).append((tensor, callback))
        stops = set(nodes[count:])

        def look(node: Node, values: Mapping[Node, Any]) -> None:
            for tensor, callback in calls.get(node, ()):
                callback(tensor, values[node])
            if node in stops or any(asks(node, values[node]) for asks in self._predicates):
                self._on_break(Inspection(node, values[node], values))

        with observed(look):
            yield


def _show(tensor: Tensor, value: Array) -> None:
    builtins.print(f"{tensor.name or tensor.node.op.name} at {tensor.node.where}: {summary(value)}")


def _open_debugger(inspection: Inspection) -> None:
    """Open Python's debugger, in which `inspection` is a variable."""
    builtins.print(inspection)
    builtins.breakpoint()
