"""Batch norm with fixed statistics becomes part of the layer before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from graphc import ops
from graphc.dims import Shape
from graphc.ir import Graph, Node
from graphc.ops.op import REGISTRY
from graphc.pipeline import decline, record
from graphc.rewriting.rebuild import Replacement, replace_nodes
from graphc.rewriting.sums import is_private
from graphc.rewriting.weights import from_weights
from graphc.tensor import Tensor

__all__ = ["FoldBatchNorm"]

# Ops whose values are known when the graph is compiled; what is made of them has been folded before.
_KNOWN = ("constant", "full")
RULE = "batch norm of a layer --> layer with scaled weight and shift (rounding)"


@dataclass(frozen=True)
class FoldBatchNorm:
    """Scale the weight of a convolution or matrix product by the batch norm behind it.

    ``batch_norm(conv(x, w) + b, mean, var)  -->  conv(x, w * s) + (b - mean) * s + beta``

    Only with statistics that do not depend on the input: those of a batch in training do.
    Of constants, everything folds when the graph is compiled.  A variable weight is scaled
    again in every call, while scale and shift behind the layer cost little: its results
    are in registers or in the nearest cache then.

    Attributes
    ----------
    ratio : int
        A variable weight is scaled if the layer has at least so many results per element of it,
        named sizes left out.
    """

    ratio: int = 256

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with batch norms folded."""
        # The batch norm behind a folded one sees a layer with a shift: the next round folds it.
        while True:
            declined: list[tuple[Node, str]] = []
            folded = self.fold(graph, declined)
            if folded is graph:
                break
            graph = folded
        for node, note in declined:
            decline(RULE, node, note)
        return graph

    def fold(self, graph: Graph, declined: list[tuple[Node, str]]) -> Graph:
        """Return the graph with the batch norms folded that stand right behind a layer."""
        weights, roots = from_weights(graph), set(graph.roots)
        found: dict[Node, Replacement] = {}
        for node in graph.nodes:
            if node.op.name != "batch_norm" or not all(p in weights for p in node.inputs[1:]):
                continue
            layer = _layer(node, lambda n: is_private(graph, roots, n), weights)
            if layer is None:
                continue
            results, scaled = _fixed_size(node.type.shape), _scaled_per_call(node, layer)
            note = f"{results} results, {scaled} weights to scale in every call"
            if results >= self.ratio * scaled:
                record(RULE, node, note)
                found[node] = _folded(node, layer)
            else:
                declined.append((node, note))
        return replace_nodes(graph, found) if found else graph


@dataclass(frozen=True)
class Layer:
    """A product, and the shift per channel that is added to it if there is one.

    `weight` is which operand holds the weight, `axis` the axis of it that holds the channels.
    """

    product: Node
    shift: Node | None
    weight: int
    axis: int


def _scaled_per_call(norm: Node, layer: Layer) -> int:
    """Return how many weights have to be scaled in every call: none if all is known now."""
    weight = layer.product.inputs[layer.weight]
    fixed = all(n.op.name in _KNOWN for n in (weight, *norm.inputs[1:]))
    return 0 if fixed else _fixed_size(weight.type.shape)


def _layer(norm: Node, private: Callable[[Node], bool], weights: set[Node]) -> Layer | None:
    """Return the layer whose result only the batch norm reads, None if there is none."""
    node, channels = norm.inputs[0], norm.attrs["axis"]
    if not private(node):
        return None
    candidates: list[tuple[Node, Node | None]] = [(node, None)]
    if node.op.name == "add":
        candidates = [(a, b) for a, b in (node.inputs, node.inputs[::-1]) if private(a) and b in weights]
    for product, shift in candidates:
        find = _CHANNELS.get(product.op.name)
        place = None if find is None else find(product, channels)
        if place is None or product.type != norm.type or product.inputs[place[0]] not in weights:
            continue
        if shift is None or _varies_along(shift.type.shape, norm.type.shape, channels):
            return Layer(product, shift, *place)
    return None


def _conv_channels(product: Node, axis: int) -> tuple[int, int] | None:
    return (1, 0) if axis == 1 else None


def _matmul_channels(product: Node, axis: int) -> tuple[int, int] | None:
    if axis != product.type.ndim - 1 or product.inputs[1].type.ndim != 2:
        return None
    return 1, 0 if product.attrs["transpose_b"] else 1


# For each kind of layer: which operand is the weight, and which axis of it makes an axis of the result.
_CHANNELS: Mapping[str, Callable[[Node, int], tuple[int, int] | None]] = {
    "conv": _conv_channels,
    "matmul": _matmul_channels,
}


def _varies_along(shape: Shape, full: Shape, axis: int) -> bool:
    """Tell whether a shape that broadcasts to `full` has one number for each place on one axis only."""
    own = (1,) * (len(full) - len(shape)) + shape
    return all(d == (n if a == axis else 1) for a, (d, n) in enumerate(zip(own, full, strict=True)))


def _folded(norm: Node, layer: Layer) -> Replacement:
    product, axis, eps = layer.product, norm.attrs["axis"], norm.attrs["eps"]
    needs = (*product.inputs, *norm.inputs[1:], *([layer.shift] if layer.shift is not None else []))

    def build(images: Sequence[Tensor]) -> Tensor:
        operands = list(images[: len(product.inputs)])
        mean, var, gamma, beta, *shift = images[len(product.inputs) :]
        scale = gamma * ops.rsqrt(var + eps)
        weight = operands[layer.weight]
        operands[layer.weight] = weight * _along(scale, weight.ndim, layer.axis)
        start = shift[0].reshape(mean.shape) - mean if shift else -mean
        result: Tensor = REGISTRY[product.op.name](*operands, **product.attrs)
        return result + _along(start * scale + beta, result.ndim, axis)

    return Replacement(needs, build)


def _fixed_size(shape: Shape) -> int:
    """Return how many elements there are at least, however small the named sizes turn out."""
    return math.prod(d for d in shape if isinstance(d, int))


def _along(values: Tensor, rank: int, axis: int) -> Tensor:
    """Return one number per channel as a tensor of `rank` axes."""
    return values.reshape(tuple(values.shape[0] if a == axis else 1 for a in range(rank)))
