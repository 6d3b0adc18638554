"""Windows of one tensor that are put together again: no copies piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from graphc import ops
from graphc.costs import copied
from graphc.dims import Dim, Shape
from graphc.ir import Graph, Node
from graphc.lower.reads import is_view
from graphc.lower.rules import Alias, Leaf
from graphc.ops.slicing import place, slice_window
from graphc.pipeline import record
from graphc.rewriting.rebuild import Replacement, replace_nodes
from graphc.rewriting.sums import Sum, added, find_sums, is_private
from graphc.tensor import Tensor
from graphc.types import TensorType

__all__ = ["JoinWindows", "Series", "find_series", "joining_cost"]


@dataclass(frozen=True)
class JoinWindows:
    """Put windows together without padding each to the full size, and not at all if one tensor held them.

    ``place(x, at 0) + place(y, at 1)  -->  concat(x, y)``
    ``concat(t[0], t[1], t[2])  -->  reshape(t[0:3])``
    """

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with windows joined."""
        return _join_slices(_join_placed(graph))


# ------------------------------------------------------------- windows of a tensor
@dataclass(frozen=True)
class Window:
    """A node as part of another: whole on all axes but one, axes of size 1 added or dropped."""

    base: Node
    axis: int
    start: Dim
    shape: Shape

    @property
    def length(self) -> Dim:
        """Size along the axis."""
        return self.shape[self.axis]


@dataclass(frozen=True)
class Series:
    """Equally long windows of one tensor that follow each other along an axis, forwards or backwards."""

    first: Window
    last: Window
    count: int
    backwards: bool

    @property
    def base(self) -> Node:
        """The tensor."""
        return self.first.base

    @property
    def axis(self) -> int:
        """The axis along which they follow each other."""
        return self.first.axis

    @property
    def leads(self) -> bool:
        """Whether the windows lie in memory one behind the other."""
        return not self.backwards and all(d == 1 for d in self.first.shape[: self.axis])

    def stacked(self, base: Tensor, shape: Shape) -> Tensor:
        """Return the windows, each of `shape`, along a new first axis."""
        q, own = self.axis, self.first.shape
        start = self.last.start if self.backwards else self.first.start
        whole = self.within(base, start)
        split = ops.reshape(whole, (*own[:q], self.count, own[q], *own[q + 1 :]))
        ordered = ops.flip(split, axis=q) if self.backwards else split
        return ops.reshape(ops.moveaxis(ordered, q, 0), (self.count, *shape))

    def within(self, base: Tensor, start: Dim) -> Tensor:
        """Return the part of the tensor that the windows cover."""
        q, own = self.axis, self.first.shape
        sizes = (*own[:q], own[q] * self.count, *own[q + 1 :])
        return slice_window(base, [start if a == q else 0 for a in range(len(own))], sizes)


def find_window(node: Node) -> Window | None:
    """Return a node as a window of another, None if it is anything else."""
    while isinstance(node.op.lowering, Alias) and _wide(node) == _wide(node.inputs[0]):
        node = node.inputs[0]
    if node.op.name != "slice" or any(step != 1 for step in node.attrs["steps"]):
        return None
    (base,) = node.inputs
    partial = [a for a, d in enumerate(node.type.shape) if d != base.type.shape[a]]
    if len(partial) != 1:
        return None
    return Window(base, partial[0], node.attrs["starts"][partial[0]], node.type.shape)


def _wide(node: Node) -> list[Dim]:
    return [d for d in node.type.shape if d != 1]


def find_series(nodes: Sequence[Node]) -> Series | None:
    """Return nodes of one type as a series of windows, None if they are none."""
    windows = [find_window(n) for n in nodes]
    first, last = windows[0], windows[-1]
    if first is None or last is None or len({n.type for n in nodes}) > 1 or len(nodes) < 2:
        return None
    ahead = windows[1]
    backwards = ahead is not None and ahead.start == first.start - first.length
    step = -first.length if backwards else first.length
    for k, window in enumerate(windows):
        if window is None or (window.base, window.axis) != (first.base, first.axis):
            return None
        if window.shape != first.shape or window.start != first.start + step * k:
            return None
    return Series(first, last, len(nodes), backwards)


def joining_cost(parts: Sequence[Node], axis: int) -> float:
    """Return the microseconds that it takes per call to put values side by side along an axis."""
    if all(p.op.name == "constant" for p in parts):
        return 0.0
    series = find_series(parts)
    leading = all(d == 1 for d in parts[0].type.shape[:axis])
    if leading and (all(map(_is_computed, parts)) or (series is not None and series.leads)):
        return 0.0
    return copied(*(p.type for p in parts))


def _is_computed(node: Node) -> bool:
    """Tell whether a kernel computes a value, which it may then store where it belongs."""
    return not isinstance(node.op.lowering, Leaf) and not is_view(node)


# ------------------------------------------------------------------ concatenations
def _join_slices(graph: Graph) -> Graph:
    found: dict[Node, Replacement] = {}
    for node in graph.nodes:
        series = find_series(node.inputs) if node.op.name == "concat" and len(node.inputs) > 1 else None
        if series is not None:
            found[node] = _rejoined(node, series)
            record("concat of consecutive windows --> one window", node.where)
    return replace_nodes(graph, found) if found else graph


def _rejoined(node: Node, series: Series) -> Replacement:
    axis, shape = node.attrs["axis"], node.inputs[0].type.shape

    def build(images: Sequence[Tensor]) -> Tensor:
        stacked = series.stacked(images[0], shape)
        return ops.reshape(ops.moveaxis(stacked, 0, axis), node.type.shape)

    return Replacement((series.base,), build)


# ------------------------------------------------------------------- placed windows
def _join_placed(graph: Graph) -> Graph:
    roots = set(graph.roots)
    found: dict[Node, Replacement] = {}
    for total in find_sums(graph):
        private = [t for t in total.terms if t.op.name == "place" and is_private(graph, roots, t)]
        runs = [run for group in _by_axis(private) for run in _adjacent(*group)]
        if runs:
            found[total.root] = _without_padding(total, runs)
            record("sum of windows placed side by side --> concat", total.root)
    return replace_nodes(graph, found) if found else graph


def _by_axis(placed: Iterable[Node]) -> list[tuple[int, list[Node]]]:
    """Group the windows that differ from the result along one axis only by that axis."""
    groups: dict[int, list[Node]] = {}
    for node in placed:
        partial = [a for a, d in enumerate(node.type.shape) if d != node.inputs[0].type.shape[a]]
        plain = node.attrs["value"] == 0 and all(step == 1 for step in node.attrs["steps"])
        if plain and len(partial) == 1 and all(isinstance(d, int) for d in _span(node, partial[0])):
            groups.setdefault(partial[0], []).append(node)
    return list(groups.items())


def _span(node: Node, axis: int) -> tuple[Dim, Dim]:
    """Return where a placed window begins and ends."""
    start = node.attrs["starts"][axis]
    return start, start + node.inputs[0].type.shape[axis]


@dataclass(frozen=True)
class Run:
    """Placed windows that lie side by side along an axis."""

    axis: int
    windows: tuple[Node, ...]


def _adjacent(axis: int, placed: Sequence[Node]) -> list[Run]:
    """Return the runs of two or more windows, each beginning where the one before it ends."""
    runs: list[list[Node]] = []
    for node in sorted(placed, key=lambda n: int(str(_span(n, axis)[0]))):
        if runs and _span(runs[-1][-1], axis)[1] == _span(node, axis)[0]:
            runs[-1].append(node)
        else:
            runs.append([node])
    return [Run(axis, tuple(run)) for run in runs if len(run) > 1]


def _without_padding(total: Sum, runs: Sequence[Run]) -> Replacement:
    inside = {w for run in runs for w in run.windows}
    rest = [t for t in total.terms if t not in inside]
    sources = [w.inputs[0] for run in runs for w in run.windows]

    def build(images: Sequence[Tensor]) -> Tensor:
        image: Mapping[Node, Tensor] = dict(zip((*sources, *rest), images, strict=True))
        joined = [_placed(run, [image[w.inputs[0]] for w in run.windows], total.root.type) for run in runs]
        return added([*joined, *(image[t] for t in rest)])

    return Replacement((*sources, *rest), build)


def _placed(run: Run, parts: Sequence[Tensor], type: TensorType) -> Tensor:
    whole = ops.concat(parts, axis=run.axis)
    starts = [_span(run.windows[0], run.axis)[0] if a == run.axis else 0 for a in range(type.ndim)]
    return place(whole, type.shape, starts, [1] * type.ndim)
