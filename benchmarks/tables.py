"""Tables as text for a terminal or as Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Table", "seconds"]

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


def seconds(value: float) -> str:
    """Return a duration with three digits and a unit.

    Examples
    --------
    >>> seconds(0.00123), seconds(12.3)
    ('1.23 ms', '12.3 s')
    """
    size, unit = next((u for u in _UNITS if value >= u[0]), _UNITS[-1])
    return f"{value / size:.3g} {unit}"


@dataclass
class Table:
    """A title, column heads, and rows of text; the first column is aligned to the left.

    Examples
    --------
    >>> table = Table("speed", ("who", "how fast"), [("hare", "12"), ("tortoise", "1")])
    >>> print(table.text())
    speed
      who       how fast
      hare            12
      tortoise         1
    >>> print(table.markdown())
    **speed**
    <BLANKLINE>
    | who | how fast |
    |---|---:|
    | hare | 12 |
    | tortoise | 1 |
    """

    title: str
    heads: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)

    def text(self) -> str:
        """Return the table in aligned columns."""
        lines = [self.heads, *self.rows]
        widths = [max(len(line[k]) for line in lines) for k in range(len(self.heads))]
        return "\n".join([self.title, *("  " + _aligned(line, widths) for line in lines)])

    def markdown(self) -> str:
        """Return the table in Markdown."""
        rule = "|---" + "|---:" * (len(self.heads) - 1) + "|"
        rows = ["| " + " | ".join(row) + " |" for row in (self.heads, *self.rows)]
        return "\n".join([f"**{self.title}**", "", rows[0], rule, *rows[1:]])


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    first = line[0].ljust(widths[0])
    return "  ".join([first, *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))]).rstrip()
