"""The op behind all loops: a body that runs again and again on carried values.

One node serves scan, map, fori_loop and while_loop.  Its operands are an optional number of
iterations, what the body captures from outside, the carried values' first ones, and the arrays
that are taken slice by slice; its results the carried values' last ones, one stack for each
value that the body puts out at every iteration, and, where a condition ends the loop, the
number of iterations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import dims
from graphc.control.bodies import checks_of
from graphc.dims import Dim
from graphc.errors import GraphError, Where
from graphc.ir import Attrs, Graph, Node
from graphc.lower.rules import Control
from graphc.ops.attributes import FLAG, SIZE, TEXT, at_least, either, tuple_of
from graphc.ops.fused import items
from graphc.ops.op import Op, current_place
from graphc.tensor import Tensor
from graphc.types import INT64, TensorType, TupleType

__all__ = ["LOOP", "Loop", "items"]

Array = np.ndarray[Any, Any]
_SCALAR = TensorType((), INT64)


@dataclass(frozen=True)
class Loop:
    """A loop in parts: what a `loop` node is made of.

    Attributes
    ----------
    what : str
        The construct that the user called, for messages.
    body : Graph
        Inputs: captures, the iteration's number, carried values, slices.  Outputs: the
        carried values' next ones, then what is stacked.
    inits, xs, captures : tuple of Node
        First carried values; arrays taken slice by slice along axis 0; values from outside.
    length : Dim or None
        Number of iterations, or the most of them if `count` or `condition` is given.
    flip : tuple of bool
        For each of `xs`, then for each stack: whether it is walked from its last slice to its first.
    count : Node, optional
        An int64 scalar: the number of iterations.
    condition : Graph, optional
        Inputs: captures, the iteration's number, carried values.  Output: whether to go on.
    recompute : bool
        Whether a gradient keeps the carried values only and computes each iteration again.
    """

    what: str
    body: Graph
    inits: tuple[Node, ...]
    xs: tuple[Node, ...] = ()
    captures: tuple[Node, ...] = ()
    length: Dim | None = None
    flip: tuple[bool, ...] = ()
    count: Node | None = None
    condition: Graph | None = None
    recompute: bool = False

    @classmethod
    def of(cls, node: Node) -> Loop:
        """Return the parts of a `loop` node."""
        a = node.attrs
        rest = list(node.inputs)
        count = rest.pop(0) if a["counted"] else None
        first, last = a["captures"], a["captures"] + a["carries"]
        condition = node.payload[1] if len(node.payload) > 1 else None
        captures, inits, xs = tuple(rest[:first]), tuple(rest[first:last]), tuple(rest[last:])
        roles = (inits, xs, captures, a["length"], a["flip"], count, condition, a["recompute"])
        return cls(a["what"], node.payload[0], *roles)

    @property
    def ends_early(self) -> bool:
        """Whether how many iterations take place is known only when it runs."""
        return self.count is not None or self.condition is not None

    @property
    def rounds(self) -> Dim | None:
        """How many iterations take place, None where that is known only when it runs."""
        return None if self.ends_early else self.length

    # -- the body's inputs and outputs by role
    @property
    def formals(self) -> tuple[Node, ...]:
        """The body's placeholders of captures."""
        return self.body.inputs[: len(self.captures)]

    @property
    def iteration(self) -> Node:
        """The body's placeholder of the iteration's number."""
        return self.body.inputs[len(self.captures)]

    @property
    def carries(self) -> tuple[Node, ...]:
        """The body's placeholders of carried values."""
        start = len(self.captures) + 1
        return self.body.inputs[start : start + len(self.inits)]

    @property
    def slices(self) -> tuple[Node, ...]:
        """The body's placeholders of slices."""
        return self.body.inputs[len(self.captures) + 1 + len(self.inits) :]

    @property
    def following(self) -> tuple[Node, ...]:
        """The body's next carried values."""
        return self.body.outputs[: len(self.inits)]

    @property
    def ys(self) -> tuple[Node, ...]:
        """What the body puts out to be stacked."""
        return self.body.outputs[len(self.inits) :]

    @property
    def x_flips(self) -> tuple[bool, ...]:
        """Which arrays are walked backwards."""
        return self.flip[: len(self.xs)]

    @property
    def y_flips(self) -> tuple[bool, ...]:
        """Which stacks are filled backwards."""
        return self.flip[len(self.xs) :]

    @property
    def inputs(self) -> tuple[Node, ...]:
        """Operands in order."""
        count = () if self.count is None else (self.count,)
        return (*count, *self.captures, *self.inits, *self.xs)

    @property
    def type(self) -> TupleType:
        """Types of the results: carried values, stacks, and the number of iterations."""
        carried = [n.type for n in self.carries]
        stacked = [TensorType((self.length or 0, *n.type.shape), n.type.dtype) for n in self.ys]
        return TupleType.of((*carried, *stacked, _SCALAR))

    def node(self, where: Where | None = None, name: str | None = None) -> Node:
        """Return the node."""
        attrs = {
            "what": self.what,
            "counted": self.count is not None,
            "captures": len(self.captures),
            "carries": len(self.inits),
            "length": self.length,
            "flip": self.flip,
            "recompute": self.recompute,
        }
        graphs = (self.body,) if self.condition is None else (self.body, self.condition)
        place = where or current_place()
        return Node(LOOP, self.inputs, Attrs(attrs), self.type, name, place, graphs, checks_of(graphs))


# --------------------------------------------------------------------- meaning
def _rule(*args: Any, **attrs: Any) -> Any:
    raise GraphError("a loop carries its own type")


def _run(*operands: Array, node: Node, sizes: Mapping[str, int]) -> tuple[Array, ...]:
    """Run the loop with the interpreter."""
    loop = Loop.of(node)
    given = dict(zip(loop.inputs, operands, strict=True))
    captured = [given[n] for n in loop.captures]
    carried = [given[n] for n in loop.inits]
    xs = [given[n] for n in loop.xs]
    most = None if loop.length is None else dims.evaluate(loop.length, sizes)
    if loop.count is not None:
        count = max(int(given[loop.count]), 0)
        most = count if most is None else min(count, most)
    kinds = node.type.items if isinstance(node.type, TupleType) else ()
    stacks = [np.zeros(t.concrete(sizes), t.dtype) for t in kinds[len(carried) : -1]]
    done = 0
    while most is None or done < most:
        before = [*captured, np.asarray(done), *carried]
        if loop.condition is not None and not _run_body(loop.condition, before, sizes)[0]:
            break
        slices = [x[_place(done, most, flip)] for x, flip in zip(xs, loop.x_flips, strict=True)]
        results = _run_body(loop.body, [*before, *slices], sizes)
        carried = results[: len(carried)]
        for stack, y, flip in zip(stacks, results[len(carried) :], loop.y_flips, strict=True):
            stack[_place(done, most, flip)] = y
        done += 1
    return (*carried, *stacks, np.asarray(done))


def _place(iteration: int, count: int | None, flip: bool) -> int:
    """Return which slice an iteration takes."""
    return iteration if not flip or count is None else count - 1 - iteration


def _run_body(body: Graph, operands: Sequence[Array], sizes: Mapping[str, int]) -> list[Array]:
    # Deferred: the interpreter knows of loops.
    from graphc.interpreter import run_nodes

    values = run_nodes(body.nodes, dict(zip(body.inputs, operands, strict=True)), sizes)
    return [values[n] for n in body.outputs]


def _gradient(cotangents: Sequence[Tensor | None], out: Tensor, *inputs: Tensor, **attrs: Any) -> Any:
    # Deferred: differentiation is written in terms of ops.
    from graphc.control.loop_gradient import gradient

    return gradient(cotangents, out.node, attrs["wanted"])


def _tangent(tangents: Sequence[Tensor | None], out: Tensor, *inputs: Tensor, **attrs: Any) -> Any:
    # Deferred for the same reason.
    from graphc.control.loop_tangent import tangent

    return tangent(tangents, out.node)


def _batch(size: Dim, batched: tuple[bool, ...], node: Node, *inputs: Tensor) -> tuple[Tensor, ...]:
    # Deferred: batching is written in terms of loops.
    from graphc.control.batching import loop_rows

    return loop_rows(size, batched, node, *inputs)


_COUNT = at_least(0, 1 << 16)
LOOP = Op(
    "loop",
    _rule,
    _run,
    Control(),
    attributes={
        "what": TEXT,
        "counted": FLAG,
        "captures": _COUNT,
        "carries": _COUNT,
        "length": either(SIZE, None),
        "flip": tuple_of(FLAG),
        "recompute": FLAG,
    },
    gradient=_gradient,
    batch=_batch,
    tangent=_tangent,
    dtypes=(),
    cost=100,
)
