"""The op that stores matrices transposed, where `permute_dims` would only read them so."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from graphc import dims
from graphc.lower.rules import Loop, LoopBody, LoopSite
from graphc.ops.batching import batch_by
from graphc.ops.op import Gradients, Infer, Op, Sample
from graphc.tensor import Tensor
from graphc.types import TensorType

# Side of the square blocks: both of them then stay in the L1 cache.
BLOCK = 16


def _rule(ctx: Infer, x: TensorType) -> TensorType:
    if x.ndim < 2:
        ctx.shape_error("operand is no matrix", "2 or more dimensions", x)
    return TensorType((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype)


def _loop(site: LoopSite) -> LoopBody:
    *stack, rows, cols = site.inputs[0].shape
    m, n, count = site.size(rows), site.size(cols), site.size(dims.product(tuple(stack)))
    return LoopBody(
        (
            f"for s in range({count}):",
            f"    start = s * {m} * {n}",
            f"    for top in range(0, {m}, {BLOCK}):",
            f"        bottom = min(top + {BLOCK}, {m})",
            f"        for left in range(0, {n}, {BLOCK}):",
            f"            right = min(left + {BLOCK}, {n})",
            "            for j in range(left, right):",
            "                for i in range(top, bottom):",
            f"                    out[start + j * {m} + i] = in0[start + i * {n} + j]",
        )
    )


def _gradient(g: Tensor, out: Tensor, x: Tensor) -> Gradients:
    return [STORED_TRANSPOSE(g)]


def _samples() -> Iterable[Sample]:
    for shape in ((3, 5), (40, 17), (2, 3, 4), (0, 4), (1, 1)):
        x = np.random.default_rng(len(shape)).normal(size=shape)
        yield Sample((x,), expected=np.swapaxes(x, -1, -2), call=lambda x: STORED_TRANSPOSE(x))


STORED_TRANSPOSE: Op = Op(
    "stored_transpose",
    _rule,
    lambda x: np.swapaxes(x, -1, -2).copy(),
    Loop(_loop),
    gradient=_gradient,
    batch=batch_by(),
    samples=_samples,
)
