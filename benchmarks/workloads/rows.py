"""Normalizations of rows: reductions and elementwise work over the same values."""

from __future__ import annotations

from benchmarks.vocabulary import Tensor, Values, Vocabulary
from benchmarks.workload import Forward, Gradient, Spec, Workload, normal, uniform

__all__ = ["WORKLOADS"]


def softmax(f: Vocabulary, v: Values) -> Tensor:
    """Return the softmax of the input's rows."""
    return f.softmax(v["x"])


def layer_norm(f: Vocabulary, v: Values) -> Tensor:
    """Return the input's rows, normalized."""
    return f.layer_norm(v["x"], v["scale"], v["shift"])


def workloads(rows: int, columns: int) -> dict[str, Workload]:
    """Return both, forward alone and with gradients."""
    x, g = {"x": Spec((rows, columns))}, {"cotangent": Spec((rows, columns))}
    weights = {"scale": Spec((columns,), uniform(0.5, 1.5)), "shift": Spec((columns,), normal())}
    forward, size = Forward(), f"{rows}x{columns}"
    both, all_three = Gradient(("x",)), Gradient(("x", "scale", "shift"))
    return {
        "softmax": Workload(f"softmax {size}, forward", softmax, x, {}, forward),
        "softmax_gradient": Workload(f"softmax {size}, forward and backward", softmax, x | g, {}, both),
        "layer_norm": Workload(f"layer norm {size}, forward", layer_norm, x, weights, forward),
        "layer_norm_gradient": Workload(
            f"layer norm {size}, forward and backward", layer_norm, x | g, weights, all_three
        ),
    }


WORKLOADS = workloads(4096, 1000)
