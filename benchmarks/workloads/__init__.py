"""What is measured: one file per family of workloads."""

from __future__ import annotations

from benchmarks.workload import Workload
from benchmarks.workloads import (
    convolutions,
    curvature,
    elementwise,
    loops,
    networks,
    products,
    resnet,
    rows,
    sequence,
    vae,
)

__all__ = ["FAMILIES", "WORKLOADS", "select"]

FAMILIES: dict[str, dict[str, Workload]] = {
    "elementwise": elementwise.WORKLOADS,
    "rows": rows.WORKLOADS,
    "networks": networks.WORKLOADS,
    "vae": vae.WORKLOADS,
    "sequence": sequence.WORKLOADS,
    "loops": loops.WORKLOADS,
    "resnet": resnet.WORKLOADS,
    "products": products.WORKLOADS,
    "convolutions": convolutions.WORKLOADS,
    "curvature": curvature.WORKLOADS,
}
WORKLOADS = {name: workload for family in FAMILIES.values() for name, workload in family.items()}


def select(names: list[str]) -> list[str]:
    """Return the workloads that are meant by names of workloads and of families, in order.

    Examples
    --------
    >>> select(["sequence", "mlp"])
    ['mlp', 'lstm', 'gru', 'attention']
    """
    meant = {w for name in names for w in FAMILIES.get(name, (name,))}
    return [name for name in WORKLOADS if name in meant]
