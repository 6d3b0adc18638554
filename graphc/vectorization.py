"""`vectorize`: a function of single values, applied to many rows of values at once.

The function is called once, on placeholders for one row.  The graph that it builds is then
rebuilt with a leading axis of rows, op by op, by the rules that the ops carry (`Op.batch`); an
op without one that expands into other ops is batched through its expansion.  What does not
depend on a row stays as it is.  Mapped values have their rows in axis 0 throughout; axes move
only where values enter and leave.

The construction is the batching transformation of JAX's ``vmap`` (Frostig, Johnson and Leary,
"Compiling machine learning programs via high-level tracing", SysML 2018) on a graph that
exists.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from graphc.control import bodies
from graphc.control.bodies import Scope
from graphc.control.scans import run_scan
from graphc.control.structure import describe, flatten, leaves
from graphc.dims import Dim
from graphc.effects import perform
from graphc.errors import ArgumentError, GraphError, ShapeError, Where, caller
from graphc.feeds import DimCheck
from graphc.ir import Graph, Node
from graphc.leaves import placeholder
from graphc.lower.rules import Control, Expand, Item
from graphc.ops import arange, moveaxis, reshape
from graphc.ops import max as maximum_of
from graphc.ops.axes import is_int, normalize_axis
from graphc.ops.batching import stacked
from graphc.ops.op import expand_all, inherit_place
from graphc.tensor import Tensor
from graphc.types import TupleType

__all__ = ["vectorize"]

Image = Tensor | tuple[Tensor, ...]
# What the loops are called by which an op without a rule runs.
ONE_BY_ONE = "vectorize"


def vectorize(fn: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """Return a function that applies `fn` to many rows at once.

    ``gx.vectorize(fn)(x)`` is ``gx.stack([fn(x[0]), fn(x[1]), ...])``, without a loop: every
    operation of `fn` runs once on all rows, a product of matrices as one product.

    Parameters
    ----------
    fn : callable
        Takes Tensors of one row, and returns Tensors: one, or a list, tuple or dict of them.
        It is called once; tensors that it uses without taking them are the same for all rows.
    in_axes : int, None, or list, tuple or dict of these, default 0
        Which axis of each argument counts the rows; None for an argument that all rows share.
        One for all arguments, or one per argument, where an entry may have the structure of
        its argument.
    out_axes : int, None, or list, tuple or dict of these, default 0
        Where the rows stand in the results, in the same way; None for a result that does not
        depend on a row.

    Returns
    -------
    callable
        Function of array_likes, and of lists, tuples and dicts of them.

    Raises
    ------
    ArgumentError
        When called: if no argument is mapped, if an axis does not exist, or if axes and
        arguments differ in structure.
    ShapeError
        When called: if mapped axes differ in size.
    GraphError
        When called: if a variable's update would differ from row to row.

    Notes
    -----
    An op that has no rule for many rows, such as a `custom_op`, runs row by row in a loop, and
    ``program.stages[0].declined`` says so.  Where rows decide a `cond` or `switch` differently,
    all of its branches run; a loop runs as long as any row needs.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.constant([[1.0, 2.0], [3.0, 4.0]])
    >>> gx.evaluate(gx.vectorize(lambda row: row / row.sum())(x)).round(2)
    array([[0.33, 0.67],
           [0.43, 0.57]])

    The gradient of every example, not only of their sum:

    >>> w = gx.variable([1.0, -1.0])
    >>> slope = gx.vectorize(lambda row: gx.grad(gx.exp(row @ w), w))
    >>> gx.evaluate(slope(x)).round(2)
    array([[0.37, 0.74],
           [1.1 , 1.47]])
    """

    @functools.wraps(fn)
    def apply(*args: Any) -> Any:
        where = caller()
        flat, rebuild = flatten(args)
        axes = [
            None if a is None else normalize_axis(a, t.ndim, "vectorize")
            for t, a in zip(flat, _spread(in_axes, args, "in_axes"), strict=True)
        ]
        rows = Rows(_common_size(flat, axes))
        entered = [
            t if a is None else rows.enter(t, a, t.name or f"argument_{k}")
            for k, (t, a) in enumerate(zip(flat, axes, strict=True))
        ]
        scope = Scope("vectorize", where, rows.number(where))
        traced = bodies.call(scope, fn, *rebuild(entered))
        results, restore = flatten(traced)
        rows.follow([t.node for t in results])
        for effect in scope.effects:
            rows.follow([effect.token])
            perform("vectorize", where, effect.ticket, rows.token(effect.token))
        places = _spread(out_axes, traced, "out_axes")
        return restore([rows.leave(t, a) for t, a in zip(results, places, strict=True)])

    return apply


# ------------------------------------------------------------- arguments and axes
def _spread(axes: Any, structure: Any, role: str) -> list[int | None]:
    """Return the axis of every leaf of `structure`: one given for a part counts for all of it."""
    if axes is None or is_int(axes):
        return [axes] * len(leaves(structure)[0])
    if isinstance(axes, Mapping) and isinstance(structure, Mapping) and set(axes) == set(structure):
        return [a for k, v in structure.items() for a in _spread(axes[k], v, role)]
    both = isinstance(axes, (list, tuple)) and isinstance(structure, (list, tuple))
    if both and len(axes) == len(structure):
        return [a for given, v in zip(axes, structure, strict=True) for a in _spread(given, v, role)]
    raise ArgumentError(
        f"vectorize: {role} does not have the structure of the {_OWNERS[role]}",
        expected=f"an int, None, or one of these for each part of {describe(structure)}",
        given=repr(axes),
        where=caller(),
    )


_OWNERS = {"in_axes": "arguments", "out_axes": "results"}


def _common_size(tensors: Sequence[Tensor], axes: Sequence[int | None]) -> Dim:
    """Return the number of rows: a fixed one before a symbolic one."""
    sizes = [t.shape[a] for t, a in zip(tensors, axes, strict=True) if a is not None]
    if not sizes:
        raise ArgumentError(
            "vectorize: no argument is mapped",
            expected="an axis for at least one argument",
            given=f"{len(axes)} arguments without one",
            where=caller(),
        )
    fixed = [n for n in sizes if isinstance(n, int)]
    if len(set(fixed)) > 1:
        raise ShapeError(
            "vectorize: mapped axes differ in size",
            expected=f"{fixed[0]} rows in every argument",
            given=" and ".join(str(n) for n in dict.fromkeys(fixed)),
            where=caller(),
        )
    return fixed[0] if fixed else sizes[0]


# ------------------------------------------------------------------------ the rows
@dataclass
class Rows:
    """What a traced row stands for: the same values of all rows.

    Attributes
    ----------
    size : int or dimension
        Number of rows.
    images : dict
        For every traced node that depends on a row, its value for all rows: with a leading
        axis of them, or of the node's own rank where its value turned out to be the same for
        all.  A tuple for a node with several results.
    expansions : dict
        For an op without a rule, the nodes that its results expand into.
    seen : set of Node
        Nodes that were followed.
    """

    size: Dim
    images: dict[Node, Image] = field(default_factory=dict)
    expansions: dict[Node, tuple[Node, ...]] = field(default_factory=dict)
    seen: set[Node] = field(default_factory=set)

    # ----- values in and out
    def enter(self, t: Tensor, axis: int, name: str) -> Tensor:
        """Return what stands for one row of a tensor whose rows are counted by an axis."""
        shape = t.shape[:axis] + t.shape[axis + 1 :]
        row = placeholder(name, shape, t.dtype)
        self.images[row.node] = self._counted(moveaxis(t, axis, 0))
        return row

    def number(self, where: Where) -> Tensor:
        """Return what stands for the number of the row; random draws of a row depend on it."""
        row = bodies.counter(where)
        self.images[row] = arange(self.size)
        return Tensor(row)

    def _counted(self, t: Tensor) -> Tensor:
        """Return rows whose number is named `size`, to be verified where it is another name."""
        own = t.shape[0]
        if own == self.size:
            return t
        node = reshape(t, (self.size, *t.shape[1:])).node
        check = DimCheck(self.size, own, "vectorize: mapped axes differ in size", caller())
        return Tensor(replace(node, checks=(check,)))

    def leave(self, t: Tensor, axis: int | None) -> Tensor:
        """Return a result for all rows, these along `axis`."""
        image = self.image(t.node)
        if axis is None and self.is_batched(t.node):
            raise ArgumentError(
                "vectorize: a result differs from row to row, but its out_axes is None",
                expected="an axis for the rows",
                given=f"None for {t.type}",
                where=caller(),
            )
        if axis is None:
            return image
        full = self.full_image(t)
        return moveaxis(full, 0, normalize_axis(axis, full.ndim, "vectorize"))

    def full_image(self, t: Tensor) -> Tensor:
        """Return the value of a traced tensor for all rows, with the leading axis in any case."""
        self.follow([t.node])
        image = self.image(t.node)
        return image if self.is_batched(t.node) else stacked(image, self.size)

    def token(self, node: Node) -> Node:
        """Return the token of effects that happen for all rows at once."""
        image = self.image(node)
        return (maximum_of(image) if image.ndim else image).node

    # ----- node by node
    def image(self, node: Node) -> Tensor:
        """Return the value of a node that was followed: for all rows, if it depends on them."""
        found = self.images.get(node)
        return found if isinstance(found, Tensor) else Tensor(node)

    def is_batched(self, node: Node) -> bool:
        """Tell whether the value of a node has an axis of rows."""
        return self.image(node).ndim > node.type.ndim

    def follow(self, outputs: Iterable[Node]) -> None:
        """Give an image to every node behind `outputs` that depends on a row."""
        stack = [(n, False) for n in outputs]
        while stack:
            node, ready = stack.pop()
            if ready:
                stack.extend(self._finish(node))
            elif node not in self.seen:
                self.seen.add(node)
                stack.append((node, True))
                stack.extend((i, False) for i in node.inputs)

    def _finish(self, node: Node) -> Iterable[tuple[Node, bool]]:
        """Give a node its image, those of its operands being there; returns what must come before."""
        if not any(i in self.images for i in node.inputs):
            return ()
        if node.op.batch is None and isinstance(node.op.lowering, Expand):
            expansion = self.expansions.get(node)
            if expansion is None:
                self.expansions[node] = expansion = expand_all(node)
                return (node, True), *((part, False) for part in expansion)
            found = tuple(map(self.image, expansion))
            self.images[node] = found if isinstance(node.type, TupleType) else found[0]
            return ()
        with inherit_place(node):
            self.images[node] = self._apply(node)
        return ()

    def _apply(self, node: Node) -> Image:
        if isinstance(node.op.lowering, Item):
            return self._item(node)
        batched = tuple(map(self.is_batched, node.inputs))
        inputs = tuple(map(self.image, node.inputs))
        if not any(batched):
            return Tensor(node.with_inputs(tuple(t.node for t in inputs)))
        if node.op.batch is None:
            return self._one_by_one(node, batched, inputs)
        token = _rows.set(self)
        try:
            return node.op.batch(self.size, batched, node, *inputs)
        finally:
            _rows.reset(token)

    def _one_by_one(self, node: Node, batched: Sequence[bool], inputs: Sequence[Tensor]) -> Tensor:
        """Apply an op that has no rule to one row after the other."""
        own = [k for k, b in enumerate(batched) if b]

        def single(slices: list[Tensor]) -> Tensor:
            operands = [t.node for t in inputs]
            for k, t in zip(own, slices, strict=True):
                operands[k] = t.node
            return Tensor(node.with_inputs(tuple(operands)))

        arrays = ([inputs[k] for k in own], list)
        _, found = run_scan(
            ONE_BY_ONE, lambda _, x: (None, single(x)), None, arrays, self.size, False, False, node.where
        )
        image: Tensor = found
        return image

    def _item(self, node: Node) -> Tensor:
        results = self.images[node.inputs[0]]
        if isinstance(results, tuple):
            image: Tensor = results[node.attrs["index"]]
            return image
        return Tensor(node.with_inputs((results.node,)))


_rows: ContextVar[Rows | None] = ContextVar("graphc_rows", default=None)


def current_rows() -> Rows:
    """Return the rows that the batching rule in progress is applied to."""
    rows = _rows.get()
    if rows is None:
        raise GraphError("a batching rule was called outside of vectorize", where=caller())
    return rows


def one_by_one(graph: Graph) -> Iterable[tuple[Where, str]]:
    """Yield the line and the name of every op that runs row by row, for want of a rule."""
    for node in graph.nodes:
        inner = node.payload if isinstance(node.op.lowering, Control) else ()
        if inner and node.attrs["what"] == ONE_BY_ONE:
            yield node.where, ", ".join(n.op.name for n in inner[0].outputs)
        for body in inner:
            yield from one_by_one(body)
