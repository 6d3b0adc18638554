"""Tables as text for a terminal or as Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Table", "mebibytes", "percent", "seconds"]

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


def percent(share: float) -> str:
    """Return a share of 1 in percent.

    Examples
    --------
    >>> percent(0.123)
    '12 %'
    """
    return f"{100 * share:.0f} %"


def mebibytes(count: float) -> str:
    """Return a number of bytes in mebibytes.

    Examples
    --------
    >>> mebibytes(3 << 19)
    '1.5 MiB'
    """
    return f"{count / (1 << 20):.1f} MiB"


@dataclass
class Table:
    """A title, column heads, and rows of text; the first columns are aligned to the left.

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
    left: int = 1
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return the table in aligned columns."""
        lines = [self.heads, *self.rows]
        widths = [max(len(line[k]) for line in lines) for k in range(len(self.heads))]
        shown = (self._aligned(line, widths) for line in lines)
        return "\n".join([self.title, *(f"  {line}" for line in (*shown, *self.notes))])

    def markdown(self) -> str:
        """Return the table in Markdown."""
        rule = "|---" * self.left + "|---:" * (len(self.heads) - self.left) + "|"
        rows = ["| " + " | ".join(row) + " |" for row in (self.heads, *self.rows)]
        notes = [line for note in self.notes for line in ("", note)]
        return "\n".join([f"**{self.title}**", "", rows[0], rule, *rows[1:], *notes])

    def _aligned(self, line: Sequence[str], widths: Sequence[int]) -> str:
        cells = zip(line, widths, strict=True)
        shown = (c.ljust(w) if k < self.left else c.rjust(w) for k, (c, w) in enumerate(cells))
        return "  ".join(shown).rstrip()
