"""What the page shows of kernels: sub-graph, generated Python, LLVM IR, assembly, schedules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphc.report.packing import Pack
from graphc.report.tables import Nodes
from graphc.report.views import Results, Views

if TYPE_CHECKING:
    from graphc.runtime.kernel import Kernel

__all__ = ["kernel_data"]


def kernel_data(
    kernel: Kernel, computed: Sequence[int], views: Views, pack: Pack, nodes: Nodes
) -> dict[str, Any]:
    """Return what the page shows of a kernel; its texts go into the pack, its drawing into the views.

    `computed` are the numbers of the nodes of the last stage's graph that it computes.
    """
    several = len(kernel.results) > 1
    results = {n: Results([f"result {k}" if several else "result"]) for k, n in enumerate(kernel.results)}
    choice = kernel.choice
    return {
        "name": kernel.name,
        "nodes": [nodes.number(n) for n in kernel.nodes],
        "results": [nodes.number(n) for n in kernel.results],
        "steps": list(computed),
        "view": views.add(kernel.nodes, kernel.name, results),
        "texts": _texts(kernel, pack),
        "schedules": [[c.cycles, str(c)] for c in choice.candidates] if choice is not None else [],
    }


def _texts(kernel: Kernel, pack: Pack) -> list[str]:
    """Return the keys of source, LLVM IR and assembly.  Steps that share a kernel have the same LLVM IR."""
    source, llvm = pack.text(kernel.source), pack.text(kernel.llvm)
    return [source, llvm, pack.derived(llvm, lambda: kernel.asm)]
