"""Products of matrices, and sums over products."""

from __future__ import annotations

import graphc as gx
from graphc.onnx.call import Call
from graphc.onnx.registry import converter
from graphc.tensor import Tensor


@converter("MatMul")
def _matmul(call: Call) -> Tensor:
    return gx.matmul(call.tensor(0), call.tensor(1))


@converter("Gemm")
def _gemm(call: Call) -> Tensor:
    if call.version < 7:
        call.flag("broadcast")
    product = gx.matmul(
        call.tensor(0), call.tensor(1), transpose_a=call.flag("transA"), transpose_b=call.flag("transB")
    )
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    found = product if alpha == 1 else _scaled(product, alpha)
    if not call.has(2) or beta == 0:
        return found
    return found + (call.tensor(2) if beta == 1 else _scaled(call.tensor(2), beta))


def _scaled(x: Tensor, factor: float) -> Tensor:
    return gx.astype(x * factor, x.dtype)


@converter("Einsum", since=12)
def _einsum(call: Call) -> Tensor:
    call.needs("equation")
    return gx.einsum(call.text("equation", "").replace(" ", ""), *call.tensors())


@converter("Det", since=11)
def _determinant(call: Call) -> Tensor:
    x = call.tensor()
    size = x.shape[-1]
    if not isinstance(size, int):
        call.fail("a determinant of a size that has a name", given=str(x.type))
    return _expanded(x, list(range(size)), 0)


def _expanded(x: Tensor, columns: list[int], row: int) -> Tensor:
    if not columns:
        return gx.ones(x.shape[:-2], dtype=x.dtype)
    total: Tensor | None = None
    for k, column in enumerate(columns):
        minor = _expanded(x, columns[:k] + columns[k + 1 :], row + 1)
        term = x[..., row, column] * minor
        term = -term if k % 2 else term
        total = term if total is None else total + term
    return total if total is not None else gx.ones(x.shape[:-2], dtype=x.dtype)
