"""Products of square matrices."""

from __future__ import annotations

from benchmarks.vocabulary import Tensor, Values, Vocabulary
from benchmarks.workload import Spec, Workload

__all__ = ["WORKLOADS", "product"]


def _product(f: Vocabulary, v: Values) -> Tensor:
    return f.matmul(v["a"], v["b"])


def product(size: int) -> Workload:
    """Return the product of two matrices, neither of which is known beforehand."""
    inputs = {"a": Spec((size, size)), "b": Spec((size, size))}
    return Workload(f"matrix product {size}x{size}x{size}", _product, inputs)


WORKLOADS = {f"product_{size}": product(size) for size in (64, 128, 256, 512, 1024, 2048)}
