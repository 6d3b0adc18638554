"""Loops and branches for many rows at once, for `graphc.vectorize`.

All rows run through one loop together: its body is batched.  A carried value has rows if its
first value has, or if an iteration gives it some.  Where rows need different numbers of
iterations, the loop runs as long as one of them does, and keeps the results of those that are
done.  Branches that rows choose differently all run, and every row selects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphc.control import bodies
from graphc.control.bodies import Scope
from graphc.control.branches import branch_node
from graphc.control.loop import Loop, items
from graphc.dims import Dim
from graphc.effects import only_rows
from graphc.ir import Graph, Node
from graphc.ops import any as any_
from graphc.ops import arange, broadcast_to, clip, maximum, minimum, moveaxis, ones, where, zeros, zeros_like
from graphc.ops.batching import row_numbers, stacked, with_rank
from graphc.ops.gather import gather
from graphc.tensor import Tensor, as_tensor
from graphc.types import BOOL, INT64, TensorType
from graphc.vectorization import Rows

__all__ = ["loop_rows", "switch_rows"]

Flags = tuple[bool, ...]


def _rows(size: Dim, graph: Graph, inputs: Sequence[Tensor]) -> Rows:
    """Return rows that know the values of a graph's outputs, given those of its inputs."""
    rows = Rows(size, dict(zip(graph.inputs, inputs, strict=True)))
    rows.follow(graph.outputs)
    return rows


def _choose(mask: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Return the rows of `new` where a mask of rows says so, else those of `old`."""
    return where(with_rank(mask, new.ndim - 1), new, old)


# ------------------------------------------------------------------------- branches
def switch_rows(
    size: Dim, batched: Flags, node: Node, index: Tensor, *captures: Tensor
) -> tuple[Tensor, ...]:
    """Batch a node that runs one of several graphs."""
    if batched[0]:
        return _selected(size, node, index, captures)
    formals = [bodies.formal(t.type, f.name or "value", f.where) for t, f in _pairs(captures, node)]
    made = [_rows(size, graph, [Tensor(f) for f in formals]) for graph in node.payload]
    columns = zip(*(graph.outputs for graph in node.payload), strict=True)
    wide = [any(r.is_batched(n) for r, n in zip(made, column, strict=True)) for column in columns]
    graphs = []
    for rows, graph in zip(made, node.payload, strict=True):
        pairs = zip(graph.outputs, wide, strict=True)
        outputs = [rows.full_image(Tensor(n)) if w else rows.image(n) for n, w in pairs]
        graphs.append(Graph(tuple(formals), tuple(t.node for t in outputs)))
    operands = [t.node for t in captures]
    return tuple(items(branch_node(node.attrs["what"], index.node, operands, graphs, node.where)))


def _pairs(captures: Sequence[Tensor], node: Node) -> list[tuple[Tensor, Node]]:
    return list(zip(captures, node.payload[0].inputs, strict=True))


def _selected(size: Dim, node: Node, index: Tensor, captures: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Run all branches on all rows; indices outside of the range count as the nearest one within."""
    chosen: list[Tensor] = []
    chosen_at = clip(index, 0, len(node.payload) - 1)
    for number, graph in enumerate(node.payload):
        with only_rows(chosen_at == number):
            rows = _rows(size, graph, captures)
        results = [rows.full_image(Tensor(n)) for n in graph.outputs]
        chosen = [_choose(index >= number, a, b) for a, b in zip(results, chosen or results, strict=True)]
    return tuple(chosen)


# ---------------------------------------------------------------------------- loops
def loop_rows(size: Dim, batched: Flags, node: Node, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Batch a loop."""
    given = _Given(size, node, Loop.of(node), dict(zip(node.inputs, inputs, strict=True)))
    loop = given.loop
    wide = [given.has_rows(n) for n in loop.inits]
    while (found := given.wider(wide)) != wide:
        # One more carried value has rows, and may give them to others.
        wide = found
    counted = loop.count is not None and given.has_rows(loop.count)
    return _uneven(given, counted) if counted or given.ends_differ(wide) else _even(given, wide)


@dataclass(frozen=True)
class _Given:
    """A loop that is batched, and its operands.

    Attributes
    ----------
    size : int or dimension
        Number of rows.
    node, loop : Node, Loop
        For one row.
    image : dict
        For each operand its value: with a leading axis, if it has rows.
    """

    size: Dim
    node: Node
    loop: Loop
    image: Mapping[Node, Tensor]

    def has_rows(self, operand: Node) -> bool:
        """Tell whether an operand differs from row to row."""
        return self.image[operand].ndim > operand.type.ndim

    def full(self, operand: Node) -> Tensor:
        """Return an operand's value for all rows."""
        return self.image[operand] if self.has_rows(operand) else stacked(self.image[operand], self.size)

    def carries(self, wide: Sequence[bool], scope: Scope) -> list[Tensor]:
        """Return what stands for carried values in a body."""
        return [_formal(n, self.size, w, scope) for n, w in zip(self.loop.carries, wide, strict=True)]

    def slices(self, scope: Scope) -> list[Tensor]:
        """Return what stands for the slices of an iteration."""
        pairs = zip(self.loop.slices, self.loop.xs, strict=True)
        return [_formal(f, self.size, self.has_rows(n), scope) for f, n in pairs]

    def array(self, x: Node) -> Tensor:
        """Return an array to take slices of, its rows behind the axis of slices."""
        return moveaxis(self.image[x], 0, 1) if self.has_rows(x) else self.image[x]

    def body(self, number: Tensor, carries: Sequence[Tensor], slices: Sequence[Tensor]) -> Rows:
        """Return the rows of one iteration."""
        captured = [self.image[n] for n in self.loop.captures]
        return _rows(self.size, self.loop.body, [*captured, number, *carries, *slices])

    def condition(self, graph: Graph, number: Tensor, carries: Sequence[Tensor]) -> Tensor:
        """Return whether to go on, for all rows or for each."""
        captured = [self.image[n] for n in self.loop.captures]
        return _rows(self.size, graph, [*captured, number, *carries]).image(graph.outputs[0])

    def wider(self, wide: Sequence[bool]) -> list[bool]:
        """Return which carried values have rows after an iteration, if `wide` have some before."""
        scope = Scope(self.loop.what, self.node.where)
        number = Tensor(bodies.counter(scope.where, scope))
        rows = self.body(number, self.carries(wide, scope), self.slices(scope))
        return [w or rows.is_batched(n) for w, n in zip(wide, self.loop.following, strict=True)]

    def ends_differ(self, wide: Sequence[bool]) -> bool:
        """Tell whether the condition differs from row to row."""
        if self.loop.condition is None:
            return False
        scope = Scope(self.loop.what, self.node.where)
        number = Tensor(bodies.counter(scope.where, scope))
        return self.condition(self.loop.condition, number, self.carries(wide, scope)).ndim > 0


def _formal(node: Node, size: Dim, has_rows: bool, scope: Scope) -> Tensor:
    type = TensorType((size, *node.type.shape) if has_rows else node.type.shape, node.type.dtype)
    return Tensor(bodies.formal(type, node.name or "value", node.where, scope))


def _nodes(tensors: Sequence[Tensor]) -> tuple[Node, ...]:
    return tuple(t.node for t in tensors)


def _even(given: _Given, wide: Sequence[bool]) -> tuple[Tensor, ...]:
    """Batch a loop of as many iterations for every row."""
    loop = given.loop
    scope = Scope(loop.what, given.node.where)
    number = Tensor(bodies.counter(scope.where, scope))
    carries, slices = given.carries(wide, scope), given.slices(scope)
    rows = given.body(number, carries, slices)
    following = zip(loop.following, wide, strict=True)
    outputs = [rows.full_image(Tensor(n)) if w else rows.image(n) for n, w in following]
    outputs += [rows.image(n) for n in loop.ys]
    parts = [(_nodes([number, *carries, *slices]), _nodes(outputs))]
    if loop.condition is not None:
        end = given.condition(loop.condition, number, carries)
        parts.append((_nodes([number, *carries]), (end.node,)))
    inits = [given.full(n) if w else given.image[n] for n, w in zip(loop.inits, wide, strict=True)]
    arrays = [given.array(n) for n in loop.xs]
    results = _run(given, scope, parts, inits, arrays, loop.flip, loop.count)
    for k, y in enumerate(loop.ys, start=len(inits)):
        results[k] = moveaxis(results[k], 1, 0) if rows.is_batched(y) else results[k]
    return tuple(results)


def _run(
    given: _Given,
    scope: Scope,
    parts: Sequence[tuple[Sequence[Node], Sequence[Node]]],
    inits: Sequence[Tensor],
    arrays: Sequence[Tensor],
    flip: tuple[bool, ...],
    count: Node | None,
) -> list[Tensor]:
    """Return the results of a loop of a body, and of a condition if there is one."""
    body = bodies.enclose(parts, scope)
    scope.open = False
    loop = Loop(
        given.loop.what,
        body.graphs[0],
        _nodes(inits),
        _nodes(arrays),
        body.captures,
        given.loop.length,
        flip,
        None if count is None else given.image[count].node,
        body.graphs[1] if len(parts) > 1 else None,
        given.loop.recompute,
    )
    return items(loop.node(scope.where, given.node.name))


# ------------------------------------------------------ as many iterations as a row wants
def _uneven(given: _Given, counted: bool) -> tuple[Tensor, ...]:
    """Batch a loop whose rows end at different iterations; `counted` ones each after its own number.

    It runs while a row is `going`.  Every value is carried twice: as what the row's last iteration
    began with, and as its result.  A row that is done repeats its last iteration, so the body
    meets no values that it would not have met.
    """
    loop, size = given.loop, given.size
    scope = Scope(loop.what, given.node.where)
    number = Tensor(bodies.counter(scope.where, scope))
    everything = [True] * len(loop.inits)
    begun, found = given.carries(everything, scope), given.carries(everything, scope)
    going = Tensor(bodies.formal(TensorType((size,), BOOL), "going", scope.where, scope))
    steps = Tensor(bodies.formal(TensorType((size,), INT64), "steps", scope.where, scope))
    limit = _limit(given) if counted else None
    turned = [counted and f for f in loop.flip]
    slices = given.slices(scope)
    arrays = list(zip(loop.xs, slices, turned, strict=False))

    def goes_on(at: Tensor, values: Sequence[Tensor], before: Tensor) -> Tensor:
        """Return which of the rows `before` run the iteration `at`."""
        if loop.condition is not None:
            before = before & given.condition(loop.condition, at, values)
        return before if limit is None else before & (limit > at)

    taken = [_from_end(given, x, limit, number) if t else s for x, s, t in arrays]
    with only_rows(going):
        rows = given.body(number, begun, taken)
    results = [
        _choose(going, rows.full_image(Tensor(n)), t) for n, t in zip(loop.following, found, strict=True)
    ]
    after = goes_on(number + 1, results, going)
    following = [_choose(after, new, old) for new, old in zip(results, begun, strict=True)]
    ys = [rows.full_image(Tensor(n)) for n in loop.ys]
    stacks = [_choose(going, y, zeros_like(y)) for y in ys]
    carried = [number, *begun, *found, going, steps]
    inner = [s for _, s, t in arrays if not t]
    outputs = [*following, *results, after, steps + going.astype(INT64), *stacks]
    parts = [(_nodes([*carried, *inner]), _nodes(outputs)), (_nodes(carried), (any_(going).node,))]
    inits = [given.full(n) for n in loop.inits]
    first = goes_on(as_tensor(0), inits, ones((size,), BOOL))
    starts = [*inits, *inits, first, zeros((size,), INT64)]
    flip = (*(f for f, (_, _, t) in zip(loop.x_flips, arrays, strict=True) if not t),)
    flip += tuple(f and not counted for f in loop.y_flips)
    outer = [given.array(x) for x, _, t in arrays if not t]
    made = _run(given, scope, parts, starts, outer, flip, None if counted else loop.count)
    count = len(inits)
    tops = [moveaxis(t, 1, 0) for t in made[len(starts) : -1]]
    if limit is not None:
        tops = [_turned(t, limit) if f else t for t, f in zip(tops, loop.y_flips, strict=True)]
    return (*made[count : 2 * count], *tops, made[len(starts) - 1])


def _limit(given: _Given) -> Tensor:
    """Return each row's own number of iterations."""
    loop = given.loop
    count = as_tensor(0) if loop.count is None else given.image[loop.count]
    return count if loop.length is None else minimum(count, as_tensor(loop.length))


def _from_end(given: _Given, x: Node, limit: Tensor | None, number: Tensor) -> Tensor:
    """Return each row's slice, counted from the end of those that it takes."""
    array = given.image[x]
    last = as_tensor(array.shape[1 if given.has_rows(x) else 0]) - 1
    at = last if limit is None else clip(limit - 1 - number, 0, maximum(last, 0))
    return gather(array, [row_numbers(at), at] if given.has_rows(x) else [at], 0)


def _turned(stack: Tensor, limit: Tensor) -> Tensor:
    """Return stacks of rows, each filled up to its limit, in reversed order up to there."""
    shape = stack.shape[:2]
    position = broadcast_to(arange(shape[1]), shape)
    top = with_rank(limit, 1)
    at = clip(top - 1 - position, 0, maximum(as_tensor(shape[1]) - 1, 0))
    found = gather(stack, [row_numbers(at), at], 0)
    inside = position < top
    return where(inside.reshape((*shape, *(1,) * (stack.ndim - 2))), found, zeros_like(found))
