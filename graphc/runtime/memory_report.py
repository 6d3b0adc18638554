"""How a program uses memory, in numbers and words."""

from __future__ import annotations

from dataclasses import dataclass

from graphc import dims
from graphc.placement import aligned
from graphc.runtime.image import Facts
from graphc.runtime.plan import Plan
from graphc.wording import few


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
    kept : int
        Bytes outside the arena that calls leave as they are: packed weights and tables.
    """

    temporaries: list[str]
    in_place: list[str]
    committed: list[str]
    reused: int
    sizes: dict[str, int] | None
    arena: int
    unshared: int
    kept: int

    @classmethod
    def of(cls, facts: Facts, plan: Plan | None) -> MemoryReport:
        """Give the facts about a program, with byte counts at a plan's sizes."""
        sizes = None if plan is None else dict(plan.sizes)
        return cls(
            list(facts.temporaries),
            list(facts.in_place),
            list(facts.committed),
            facts.reused,
            sizes,
            plan.arena_size if plan is not None else 0,
            sum(aligned(dims.evaluate(d, sizes)) for d in facts.unshared) if sizes is not None else 0,
            sum(p.size for p in plan.prepared) if plan is not None else 0,
        )

    def __str__(self) -> str:
        lines = [
            f"temporaries: {len(self.temporaries)}, results in an operand's memory: {self.reused}",
            f"variables updated in place ({len(self.in_place)}): {few(self.in_place, 8)}",
            f"variables updated by copy ({len(self.committed)}): {few(self.committed, 8)}",
        ]
        if self.sizes is not None:
            at = ", ".join(f"{k}={v}" for k, v in self.sizes.items()) or "fixed sizes"
            lines.append(f"arena {self.arena} bytes at {at}; without sharing {self.unshared} bytes")
        if self.kept:
            lines.append(f"packed weights and tables, kept from call to call: {self.kept} bytes")
        return "\n".join(lines)
