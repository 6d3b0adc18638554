"""Nothing is timed that does not compute the same: the check."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["DisagreementError", "require_close", "require_equal"]


class DisagreementError(Exception):
    """Two frameworks do not compute the same; their times would mean nothing."""


def require_close(what: str, value: float, other: str, expected: float, tolerance: float = 1e-4) -> None:
    """Compare two losses.

    Raises
    ------
    DisagreementError
        If they differ by more than rounding, or one is not a number.
    """
    if not math.isclose(value, expected, rel_tol=tolerance):
        raise DisagreementError(f"{what}: loss {value:.7g}, {other}: {expected:.7g}")


def require_equal(
    what: str, values: Sequence[Any], other: str, expected: Sequence[Any], tolerance: float
) -> None:
    """Compare lists of arrays; differences count relative to the largest element.

    Raises
    ------
    DisagreementError
        If shapes differ, elements differ by more than rounding, or one is not a number.
    """
    # Imported here: a start is timed from its first import on, and reads this module.
    import numpy as np

    for position, (a, b) in enumerate(zip(values, expected, strict=True)):
        if a.shape != b.shape:
            raise DisagreementError(f"{what}: result {position} is {list(a.shape)}, {other}: {list(b.shape)}")
        difference, largest = np.abs(a - b).max(initial=0.0), np.abs(b).max(initial=0.0)
        # Written so that NaN fails.
        if not difference <= tolerance * largest:
            raise DisagreementError(
                f"{what}: result {position} differs by {difference:.2g} from {other}, "
                f"whose largest element is {largest:.3g}"
            )
