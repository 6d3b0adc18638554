"""Nothing is timed that does not compute the same: the check."""

from __future__ import annotations

import math

__all__ = ["TOLERANCE", "DisagreementError", "require_close"]

TOLERANCE = 1e-4


class DisagreementError(Exception):
    """Two frameworks do not compute the same; their times would mean nothing."""


def require_close(what: str, value: float, other: str, expected: float) -> None:
    """Compare two losses.

    Raises
    ------
    DisagreementError
        If they differ by more than rounding, or one is not a number.
    """
    if not math.isclose(value, expected, rel_tol=TOLERANCE):
        raise DisagreementError(f"{what}: loss {value:.7g}, {other}: {expected:.7g}")
