"""A chain of elementwise operations: one pass over memory, if a framework fuses it."""

from __future__ import annotations

from benchmarks.vocabulary import Tensor, Values, Vocabulary
from benchmarks.workload import Spec, Workload

__all__ = ["WORKLOADS", "chain"]


def chain(f: Vocabulary, v: Values) -> Tensor:
    """Gate one operand with another, as recurrent cells and residual blocks do."""
    x, y = v["x"], v["y"]
    gate = f.sigmoid(x * 0.5 + y)
    return gate * f.tanh(x - y) + f.exp(-(x * x)) * y


def workload(rows: int, columns: int) -> Workload:
    """Return the chain over matrices of a size."""
    specs = {"x": Spec((rows, columns)), "y": Spec((rows, columns))}
    return Workload(f"elementwise chain {rows}x{columns}", chain, specs)


WORKLOADS = {"elementwise": workload(2048, 2048)}
