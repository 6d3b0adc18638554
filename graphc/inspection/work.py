"""What a step has to do at least: floating-point operations, bytes read and bytes written.

Counted from the expressions that a step was lowered to, in terms of the program's named sizes.  What a
kernel does beyond that, like copying an operand into another order, does not count as work.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from graphc import dims
from graphc.control.loop import Loop as LoopParts
from graphc.dims import Dim
from graphc.inspection.arithmetic import operations
from graphc.ir import Node
from graphc.lower import expr
from graphc.lower.contraction import ContractionRegion
from graphc.lower.expr import Expr
from graphc.lower.region import Region, walk
from graphc.lower.rules import Index
from graphc.lower.steps import Step, lower_graph
from graphc.memory import byte_size
from graphc.runtime.kernel import Kernel
from graphc.types import DType, TensorType, is_float

__all__ = ["Work", "work_of", "work_of_kernel"]


@dataclass(frozen=True)
class Work:
    """What one execution of a step takes at least.

    Attributes
    ----------
    flops : mapping of str to Dim, or None
        Floating-point operations by the dtype that they are done in.  None where nobody counts
        them: in loop nests written by hand, and in loops whose length is known only when they run.
    read, written : Dim
        Bytes of operands, each element counted once, and of results.
    """

    flops: Mapping[str, Dim] | None = field(default_factory=dict)
    read: Dim = 0
    written: Dim = 0

    def at(self, sizes: Mapping[str, int], times: int) -> tuple[dict[str, int] | None, int, int]:
        """Return operations and bytes of so many executions, for given sizes."""
        flops = None if self.flops is None else _times(self.flops, times)
        found = None if flops is None else {k: dims.evaluate(d, sizes) for k, d in flops.items()}
        read, written = (dims.evaluate(d, sizes) * times for d in (self.read, self.written))
        return found, read, written

    def __add__(self, other: Work) -> Work:
        flops = None if self.flops is None or other.flops is None else _summed(self.flops, other.flops)
        return Work(flops, self.read + other.read, self.written + other.written)


def work_of(step: Step) -> Work:
    """Return what one execution of a step takes at least.

    Parameters
    ----------
    step : Step
        As `graphc.lower.steps.lower_graph` returns them.

    Examples
    --------
    >>> import graphc as gx
    >>> from graphc.ir import Graph
    >>> a, b = (gx.placeholder(name, shape=("n", "n")) for name in "ab")
    >>> (step,) = lower_graph(Graph((a.node, b.node), ((a @ b).node,)))
    >>> work_of(step)
    Work(flops={'float32': 2*n*n*n}, read=8*n*n, written=4*n*n)
    """
    written = _total(byte_size(storage) for storage in dict.fromkeys(step.writes.values()))
    if isinstance(step.body, Region):
        return Work(*_of_region(step.body), written)
    if isinstance(step.body, ContractionRegion):
        return Work(*_of_contraction(step.body), written)
    if step.node.op.name == "loop":
        return _of_loop(step, written)
    return Work(None, _total(byte_size(storage) for storage in dict.fromkeys(step.reads.values())), written)


def work_of_kernel(kernel: Kernel) -> Work:
    """Return what one execution of a program's kernel takes at least.

    Examples
    --------
    >>> import graphc as gx
    >>> x = gx.placeholder("x", shape=(10,))
    >>> (kernel,) = gx.compile(x, x * x + 1).kernels
    >>> work_of_kernel(kernel)
    Work(flops={'float32': 20}, read=40, written=40)
    """
    if kernel.step is not None:
        return work_of(kernel.step)
    # A copy, or the clearing of a result.
    pointers = [] if kernel.text is None else kernel.text.pointers.values()
    read = [h.type for h in pointers if isinstance(h, Node)]
    written = [h[1].type for h in pointers if isinstance(h, tuple)]
    return Work({}, _total(map(_bytes, read)), _total(map(_bytes, written)))


def _bytes(type: TensorType) -> Dim:
    return type.size * type.dtype.itemsize


def _of_loop(step: Step, written: Dim) -> Work:
    """Return the work of a loop that runs inside one kernel: its operands are read once."""
    loop = LoopParts.of(step.node)
    inner = functools.reduce(Work.__add__, map(work_of, lower_graph(loop.body)), Work())
    rounds = loop.rounds
    flops = None if rounds is None or inner.flops is None else _times(inner.flops, rounds)
    return Work(flops, _total(byte_size(storage) for storage in dict.fromkeys(step.reads.values())), written)


def _of_region(region: Region) -> tuple[Mapping[str, Dim], Dim]:
    inner = [v for a, v in enumerate(region.indices) if a in region.reduced]
    outer = [v for a, v in enumerate(region.indices) if a not in region.reduced]
    extents = dict(zip(region.indices, region.space, strict=True))
    sums = {r.node: frozenset(outer) for r in region.reductions}
    counter = _Counter(extents, sums | {r.node: frozenset(inner) for r in region.columns})
    for phase in range(region.phases):
        summed = [r for r in (*region.reductions, *region.columns) if r.phase == phase]
        stored = [s.value for s in region.stores if s.phase == phase]
        counter.compute([*(r.body for r in summed), *stored], region.indices)
        for each in summed:
            counter.add(each.body.dtype, dims.product(region.space))
    counter.compute([s.value for s in region.stores if s.phase is None and not s.column], outer)
    counter.compute([s.value for s in region.stores if s.column], inner)
    return counter.flops, counter.read


def _of_contraction(region: ContractionRegion) -> tuple[Mapping[str, Dim], Dim]:
    spec, axes = region.shape, region.node.type.shape
    names = ("batch", "rows", "cols", "inner")
    extents = {v: d for n in names for v, d in zip(getattr(region, n), getattr(spec, n), strict=True)}
    # The epilogue runs over the axes of the result.
    result = [expr.index(f"i{a}") for a in range(len(axes))]
    counter = _Counter(extents | dict(zip(result, axes, strict=True)), {region.node: frozenset(result)})
    counter.compute([region.lhs], (*region.batch, *region.rows, *region.inner))
    counter.compute([region.rhs], (*region.batch, *region.inner, *region.cols))
    counter.compute([s.value for s in region.stores], result)
    counter.add(spec.dtype, 2 * dims.product(tuple(region.extent(n) for n in names)))
    return counter.flops, counter.read


class _Counter:
    """Adds up what expressions cost over index spaces.

    Parameters
    ----------
    extents : mapping of Expr to Dim
        How many values each loop variable takes.
    sums : mapping of Node to frozenset
        The variables on which each finished reduction depends.
    """

    def __init__(self, extents: Mapping[Expr, Dim], sums: Mapping[Node, frozenset[Expr]]) -> None:
        self.flops: dict[str, Dim] = {}
        self._extents = {v: d for v, d in extents.items() if v.kind == "index"}
        self._sums = sums
        # On which variables each expression depends.
        self._known: dict[Expr, frozenset[Expr]] = {}
        # Which elements of an operand are read, and how many those are.
        self._reads: dict[Node, dict[Index, Dim]] = {}

    @property
    def read(self) -> Dim:
        """Bytes of all operands: what is read of them, and not more than there is."""
        return _total(
            dims.minimum(_total(parts.values()), operand.type.size) * operand.type.dtype.itemsize
            for operand, parts in self._reads.items()
        )

    def add(self, dtype: DType, count: Dim) -> None:
        """Count so many operations."""
        if is_float(dtype) and count != 0:
            self.flops[str(dtype)] = self.flops.get(str(dtype), 0) + count

    def compute(self, values: Sequence[Expr], space: Iterable[Expr]) -> None:
        """Count values at every point of a space, sub-expressions that they share once.

        What varies with some of the variables only, like the rows, is computed once for each of these.
        """
        for e in walk(values):
            if e not in self._known:
                self._known[e] = self._variables(e)
        self._count(values, frozenset(space))

    def _count(self, values: Sequence[Expr], space: frozenset[Expr]) -> None:
        for e in _surface(values):
            if e.kind == "load":
                self._reads.setdefault(e.data, {})[e.args] = self._points(self._known[e])
            elif e.kind == "call":
                dtype = e.args[0].dtype
                self.add(dtype, operations(e.data, dtype) * self._points(self._known[e] & space))
            elif e.kind == "fold":
                body, variables = e.args[0], _window(e)
                inside = space | variables.keys()
                self.add(body.dtype, self._points((self._known[body] | variables.keys()) & inside))
                self._count([body], inside)

    def _variables(self, e: Expr) -> frozenset[Expr]:
        """Return the loop variables on which an expression depends."""
        if e.kind == "index":
            return frozenset([e])
        if e.kind == "local":
            return self._sums.get(e.data, frozenset())
        found = frozenset[Expr]().union(*(self._known[a] for a in e.args))
        if e.kind == "fold":
            self._extents |= _window(e)
            return found - _window(e).keys()
        return found

    def _points(self, variables: Iterable[Expr]) -> Dim:
        return dims.product(tuple(self._extents.get(v, 1) for v in variables))


def _surface(values: Iterable[Expr]) -> list[Expr]:
    """Return every sub-expression once, operands first, except for what stands inside of windows."""
    order: dict[Expr, None] = {}
    stack = [(v, False) for v in values]
    while stack:
        e, expanded = stack.pop()
        if expanded or e in order:
            order[e] = None
            continue
        stack.append((e, True))
        stack.extend((a, False) for a in e.args if e.kind != "fold" and a not in order)
    return list(order)


def _window(fold: Expr) -> dict[Expr, Dim]:
    """Return the variables of a window, and how many values each takes."""
    rest = fold.args[1:]
    variables, extents = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    return {v: d.data if d.kind == "const" else d.data.dim for v, d in zip(variables, extents, strict=True)}


def _summed(first: Mapping[str, Dim], second: Mapping[str, Dim]) -> dict[str, Dim]:
    return {k: first.get(k, 0) + second.get(k, 0) for k in (*first, *second)}


def _times(flops: Mapping[str, Dim], count: Dim) -> dict[str, Dim]:
    return {k: v * count for k, v in flops.items()}


def _total(parts: Iterable[Dim]) -> Dim:
    total: Dim = 0
    for part in parts:
        total = total + part
    return total
