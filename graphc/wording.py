"""Lists of names in sentences."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["few"]


def few(names: Sequence[str], shown: int = 4) -> str:
    """Return names joined by commas, those after the first `shown` as a count.

    Examples
    --------
    >>> few(["a", "b", "c", "d"], 2)
    'a, b and 2 more'
    """
    rest = len(names) - shown
    return ", ".join(names) or "none" if rest < 2 else f"{', '.join(names[:shown])} and {rest} more"
