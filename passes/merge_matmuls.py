"""Matrix products that share an operand become one wide product, read in slices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from graphc import ops
from graphc.costs import Estimate, copied, elements, extent, launched, multiplied, packed, read
from graphc.dims import Shape
from graphc.ir import Graph, Node
from graphc.lower.rules import Map
from graphc.ops.op import REGISTRY
from graphc.ops.slicing import slice_window
from graphc.pipeline import decline, record
from graphc.rewriting.rebuild import Replacement, replace_nodes
from graphc.rewriting.weights import from_weights
from graphc.tensor import Tensor

from .join_windows import Series, find_series, find_window, joining_cost
from .sum_matmuls import inner_axis

__all__ = ["MergeSiblingMatmuls"]

# Elementwise ops to look at behind a product.
_REACH = 16

WIDER = "products of one left operand --> slices of one product"
TALLER = "products with one right operand --> slices of one product"


@dataclass(frozen=True)
class MergeSiblingMatmuls:
    """Merge products that share an operand: gates and projections, and the same layer at every time step.

    ``x @ wq, x @ wk  -->  y = x @ concat(wq, wk); y[:, :n], y[:, n:]``
    ``t[0] @ w, t[1] @ w  -->  y = t @ w; y[0], y[1]``

    Other operands are laid side by side, at the price of a copy per call unless they are
    constants or windows of one tensor; groups that the copy would not pay for are left
    alone.  On the left any values may be merged that do not depend on each other, on the
    right only those that depend on weights alone.
    """

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with sibling products merged."""
        # What has been merged on one side may have a sibling on the other; each round leaves fewer products.
        while True:
            declined: Declined = []
            merged = _merge_lefts(_merge_rights(graph, declined), declined)
            if merged is graph:
                break
            graph = merged
        for line in declined:
            decline(*line)
        return graph


# Values that lie side by side already, and along which axis.
Join = tuple[tuple[Node, ...], int]
# Rule, first product and estimate of what a round left alone.
Declined = list[tuple[str, Node, str]]


# ------------------------------------------------------- one left operand, several right ones
def _merge_rights(graph: Graph, declined: Declined) -> Graph:
    weights = from_weights(graph)
    groups: dict[Hashable, list[Node]] = {}
    for node in graph.nodes:
        if node.op.name == "matmul" and node.inputs[1] in weights and node.inputs[1].type.ndim == 2:
            groups.setdefault((node.inputs[0], node.attrs), []).append(node)
    siblings = [_distinct(g) for g in groups.values()]
    siblings = [g for g in siblings if len(g) > 1]
    sharing: dict[tuple[Node, ...], int] = {}
    for group in siblings:
        sharing[_rights(group)] = sharing.get(_rights(group), 0) + 1
    found: dict[Node, Replacement] = {}
    for group in siblings:
        estimate = _wider_estimate(graph, group, sharing[_rights(group)])
        note = WIDER, group[0], f"{len(group)} products, {estimate}"
        if estimate.pays:
            record(*note, nodes=group)
            found.update(_wider(group))
        else:
            declined.append(note)
    return replace_nodes(graph, found) if found else graph


def _distinct(group: Sequence[Node]) -> list[Node]:
    """Return one product for each right operand, in the order of the graph."""
    return list({p.inputs[1]: p for p in reversed(group)}.values())[::-1]


def _rights(group: Sequence[Node]) -> tuple[Node, ...]:
    return tuple(p.inputs[1] for p in group)


def _wider_estimate(graph: Graph, group: Sequence[Node], sharing: int) -> Estimate:
    first = group[0]
    rows = elements(first.type.shape[:-1])
    inner = extent(first.inputs[0].type.shape[inner_axis(first, 0)])
    widths = [extent(p.type.shape[-1]) for p in group]
    apart = sum(multiplied(rows, n, inner) for n in widths)
    join = joining_cost(_rights(group), _outer_axis(first))
    # What stays elementwise in one part alone was an epilogue of its product, and becomes a kernel.
    unfused = 0.0 if _meet(graph, group) else sum(copied(p.type) for p in group)
    return Estimate(
        saved=launched(len(group) - 1) + apart - multiplied(rows, sum(widths), inner),
        spent=(join + launched(join > 0)) / sharing + unfused,
    )


def _outer_axis(product: Node) -> int:
    """Return which axis of the right operand becomes the columns of the result."""
    return 1 - inner_axis(product, 1)


def _meet(graph: Graph, group: Sequence[Node]) -> bool:
    """Tell whether elementwise ops read several of the products, so that one kernel takes them all in."""
    owner: dict[Node, Node] = {}
    pairs = [_elementwise_readers(graph, p) for p in group]
    if not any(pairs):
        return True
    for product, readers in zip(group, pairs, strict=True):
        for reader in readers:
            if owner.setdefault(reader, product) is not product:
                return True
    return False


def _elementwise_readers(graph: Graph, product: Node) -> list[Node]:
    """Return the nearest elementwise nodes that a product reaches through others of its shape."""
    found: dict[Node, None] = {}
    stack = [product]
    while stack and len(found) < _REACH:
        for reader in graph.users[stack.pop()]:
            elementwise = isinstance(reader.op.lowering, Map) and reader.type.shape == product.type.shape
            if elementwise and reader not in found:
                found[reader] = None
                stack.append(reader)
    return list(found)


def _wider(group: Sequence[Node]) -> Mapping[Node, Replacement]:
    starts = accumulate((p.type.shape[-1] for p in group), initial=0)
    lead = (0,) * (group[0].type.ndim - 1)
    windows = [((*lead, at), p.type.shape) for at, p in zip(starts, group, strict=False)]
    return _in_common((group[0].inputs[0], *_rights(group)), _widened, group, windows)


def _widened(images: Sequence[Tensor], product: Node) -> Tensor:
    return _multiply(product, images[0], ops.concat(images[1:], axis=_outer_axis(product)))


# ------------------------------------------------------- one right operand, several left ones
def _merge_lefts(graph: Graph, declined: Declined) -> Graph:
    waits: dict[Node, tuple[Node, ...]] = {}
    order: Sequence[Node] = graph.nodes
    found: dict[Node, Replacement] = {}
    joined = {(n.inputs, n.attrs["axis"]) for n in graph.nodes if n.op.name == "concat"}
    for group in _lefts(graph):
        if not _taller_estimate(group, joined).pays:
            declined.append(_note(group, joined))
            continue
        merged = [level for level in _levels(order, waits, group) if len(level) > 1]
        for level in (m for m in merged if _taller_estimate(m, joined).pays):
            record(*_note(level, joined), nodes=level)
            found.update(_taller(level))
            # From now on each of them waits for the operands of all.
            waits.update(dict.fromkeys(level, tuple(p.inputs[0] for p in level)))
        if merged:
            order = _ordered(graph, waits)
    return replace_nodes(graph, found) if found else graph


def _lefts(graph: Graph) -> list[list[Node]]:
    """Return products by one matrix, two or more at a time; windows of one tensor in their order."""
    groups: dict[Hashable, list[Node]] = {}
    for node in graph.nodes:
        if node.op.name != "matmul" or node.attrs["transpose_a"] or node.inputs[1].type.ndim != 2:
            continue
        window = find_window(node.inputs[0])
        source = None if window is None else (window.base, window.axis, window.shape)
        key = (node.inputs[1], node.attrs, node.inputs[0].type.shape[1:], source)
        groups.setdefault(key, []).append(node)
    return [_in_order(g) for g in groups.values() if len(g) > 1]


def _in_order(group: list[Node]) -> list[Node]:
    windows = [find_window(p.inputs[0]) for p in group]
    starts = [w.start for w in windows if w is not None and isinstance(w.start, int)]
    if len(starts) < len(group):
        return group
    return [group[k] for k in sorted(range(len(group)), key=starts.__getitem__)]


def _levels(
    order: Sequence[Node], waits: Mapping[Node, tuple[Node, ...]], members: Sequence[Node]
) -> list[list[Node]]:
    """Cut the members into lists within which none depends on another."""
    height: dict[Node, int] = {}
    inside = set(members)
    level: dict[Node, int] = {}
    for node in order:
        below = max((height[i] for i in (*node.inputs, *waits.get(node, ()))), default=0)
        height[node] = below + (node in inside)
        if node in inside:
            level[node] = below
    found: dict[int, list[Node]] = {}
    for node in members:
        found.setdefault(level[node], []).append(node)
    return list(found.values())


def _ordered(graph: Graph, waits: Mapping[Node, tuple[Node, ...]]) -> list[Node]:
    """Return the nodes in an order in which what has been merged stands behind all that it waits for."""
    order: list[Node] = []
    done: set[Node] = set()
    for root in graph.nodes:
        stack = [root]
        while stack:
            node = stack[-1]
            missing = [i for i in (*node.inputs, *waits.get(node, ())) if i not in done]
            if missing and node not in done:
                stack.extend(reversed(missing))
                continue
            stack.pop()
            if node not in done:
                done.add(node)
                order.append(node)
    return order


def _taller_estimate(group: Sequence[Node], joined: Collection[Join]) -> Estimate:
    right, transposed = group[0].inputs[1], group[0].attrs["transpose_b"]
    fewer = len(group) - 1
    lefts = tuple(p.inputs[0] for p in group)
    free = _hoistable(lefts) is not None or (lefts, 0) in joined
    join = 0.0 if free else joining_cost(lefts, 0)
    # A step's own result would still lie near when it is read, and all steps' together may not.
    results = [p.type for p in group]
    farther = max(0.0, copied(*results) - sum(map(copied, results)))
    return Estimate(
        saved=fewer * (launched(1) + read(right.type) + (packed(right.type) if transposed else 0.0)),
        spent=join + launched(join > 0) + farther,
    )


def _note(group: Sequence[Node], joined: Collection[Join]) -> tuple[str, Node, str]:
    return TALLER, group[0], f"{len(group)} products, {_taller_estimate(group, joined)}"


def _hoistable(lefts: Sequence[Node]) -> Series | None:
    """Return operands as windows along another axis than the summed one, the last."""
    series = find_series(lefts)
    return series if series is not None and series.axis < len(series.first.shape) - 1 else None


def _taller(group: Sequence[Node]) -> Mapping[Node, Replacement]:
    lefts = [p.inputs[0] for p in group]
    series = _hoistable(lefts)
    if series is None:
        heights = [p.type.shape[0] for p in group]
        starts = list(accumulate(heights, initial=0))
        rest = [0] * (group[0].type.ndim - 1)
        parts = [((at, *rest), p.type.shape) for at, p in zip(starts, group, strict=False)]
        return _in_common((*lefts, group[0].inputs[1]), _stacked, group, parts)
    base = series.within
    own = (*series.first.shape[:-1], group[0].type.shape[-1])
    steps = (series.first.length * k for k in range(len(group)))
    windows = [(tuple(at if a == series.axis else 0 for a in range(len(own))), own) for at in steps]
    return _in_common(
        (series.base, group[0].inputs[1]),
        lambda images, product: _multiply(product, base(images[0], series.first.start), images[1]),
        group,
        windows,
    )


def _stacked(images: Sequence[Tensor], product: Node) -> Tensor:
    return _multiply(product, ops.concat(images[:-1], axis=0), images[-1])


# ------------------------------------------------------------------- what both have in common
def _multiply(like: Node, left: Tensor, right: Tensor) -> Tensor:
    result: Tensor = REGISTRY["matmul"](left, right, **like.attrs)
    return result


def _in_common(
    needs: tuple[Node, ...],
    common: Callable[[Sequence[Tensor], Node], Tensor],
    group: Sequence[Node],
    windows: Sequence[tuple[Shape, Shape]],
) -> Mapping[Node, Replacement]:
    """Replace every product by a window, given by starts and sizes, of a common one."""
    made: list[Tensor] = []

    def part(product: Node, starts: Shape, sizes: Shape) -> Replacement:
        def build(images: Sequence[Tensor]) -> Tensor:
            if not made:
                made.append(common(images, product))
            return ops.reshape(slice_window(made[0], starts, sizes), product.type.shape)

        return Replacement(needs, build)

    return {product: part(product, *window) for product, window in zip(group, windows, strict=True)}
