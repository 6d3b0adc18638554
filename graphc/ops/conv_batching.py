"""How a convolution and its adjoints apply to many rows at once: rows become channels or images.

Rows of images alone are more images.  Rows of weights become groups of channels, each with
weights of its own; where groups are not needed for that, all share the input.
"""

from __future__ import annotations

from typing import Any

from graphc.dims import Dim
from graphc.ir import Node
from graphc.ops.batching import all_stacked
from graphc.ops.transpose import moveaxis
from graphc.tensor import Tensor


def _as_images(x: Tensor) -> Tensor:
    """Return rows of batches as one batch."""
    return x.reshape((x.shape[0] * x.shape[1], *x.shape[2:]))


def _as_channels(x: Tensor) -> Tensor:
    """Return rows of batches as one batch of more channels, those of a row side by side."""
    wide = moveaxis(x, 0, 1)
    return wide.reshape((wide.shape[0], wide.shape[1] * wide.shape[2], *wide.shape[3:]))


def _from_channels(y: Tensor, size: Dim, channels: Dim) -> Tensor:
    return moveaxis(y.reshape((y.shape[0], size, channels, *y.shape[2:])), 1, 0)


def _more_groups(size: Dim, node: Node) -> dict[str, Any]:
    return {**node.attrs, "groups": size * node.attrs["groups"]}


def _more_images(node: Node, size: Dim, x: Tensor, w: Tensor) -> Tensor:
    y = node.op(_as_images(x), w, **node.attrs)
    return y.reshape((size, node.type.shape[0], *y.shape[1:]))


def conv_batch(size: Dim, batched: tuple[bool, ...], node: Node, x: Tensor, w: Tensor) -> Tensor:
    """Batch a convolution of images `x` with weights `w`."""
    if not batched[1]:
        return _more_images(node, size, x, w)
    weights, outputs = _as_images(w), node.type.shape[1]
    if not batched[0] and node.attrs["groups"] == 1:
        return _from_channels(node.op(x, weights, **node.attrs), size, outputs)
    images, _ = all_stacked(size, batched, (x, w))
    y = node.op(_as_channels(images), weights, **_more_groups(size, node))
    return _from_channels(y, size, outputs)


def input_grad_batch(size: Dim, batched: tuple[bool, ...], node: Node, g: Tensor, w: Tensor) -> Tensor:
    """Batch the adjoint with respect to the images, of results `g` and weights `w`."""
    if not batched[1]:
        return _more_images(node, size, g, w)
    results, _ = all_stacked(size, batched, (g, w))
    x = node.op(_as_channels(results), _as_images(w), **_more_groups(size, node))
    return _from_channels(x, size, node.type.shape[1])


def weight_grad_batch(size: Dim, batched: tuple[bool, ...], node: Node, g: Tensor, x: Tensor) -> Tensor:
    """Batch the adjoint with respect to the weights, of results `g` and images `x`."""
    if not batched[1] and node.attrs["groups"] == 1:
        w = node.op(_as_channels(g), x, **node.attrs)
    else:
        results, images = map(_as_channels, all_stacked(size, batched, (g, x)))
        # There may be no rows, and so no groups to count the channels by.
        w = node.op(results, images, **{**_more_groups(size, node), "channels": node.type.shape[1]})
    return w.reshape((size, node.type.shape[0], *w.shape[1:]))
