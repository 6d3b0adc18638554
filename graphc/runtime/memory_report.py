"""How a program uses memory, in numbers and words."""

from __future__ import annotations

from dataclasses import dataclass

from graphc.runtime.plan import Layout, Plan, unshared_size


@dataclass(frozen=True)
class MemoryReport:
    """Where values live.

    Attributes
    ----------
    temporaries, in_place, committed : list of str
        Values in the arena; variables updated in place; variables updated by a copy.
    reused : int
        Results that took over an operand's memory.
    sizes : dict or None
        Sizes the byte counts are for; None before the first call.
    arena, unshared : int
        Bytes of the arena, and of all temporaries and working memory of kernels if none shared it.
    """

    temporaries: list[str]
    in_place: list[str]
    committed: list[str]
    reused: int
    sizes: dict[str, int] | None
    arena: int
    unshared: int

    @classmethod
    def of(cls, layout: Layout, plan: Plan | None) -> MemoryReport:
        """Describe a layout, with byte counts at a plan's sizes."""
        assignment = layout.assignment
        temporaries = [s for s in assignment.lifetimes if s not in layout.output_storages]
        return cls(
            [f"{s.node.op.name} {s.node.type} from {s.node.where}" for s in temporaries],
            [str(v.name) for v in assignment.in_place],
            [str(v.name) for v, _ in assignment.committed],
            len(assignment.home) - len(assignment.in_place),
            dict(plan.sizes) if plan is not None else None,
            plan.arena_size if plan is not None else 0,
            unshared_size(layout, plan.sizes) if plan is not None else 0,
        )

    def __str__(self) -> str:
        lines = [
            f"{len(self.temporaries)} temporaries, {self.reused} results in an operand's memory",
            f"variables updated in place: {', '.join(self.in_place) or 'none'}",
            f"variables updated by copy: {', '.join(self.committed) or 'none'}",
        ]
        if self.sizes is not None:
            at = ", ".join(f"{k}={v}" for k, v in self.sizes.items()) or "fixed sizes"
            lines.append(f"arena {self.arena} bytes at {at}; without sharing {self.unshared} bytes")
        return "\n".join(lines)
