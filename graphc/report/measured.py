"""A profile as the page shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphc.errors import ArgumentError, caller
from graphc.inspection.profile import Profile

if TYPE_CHECKING:
    from graphc.runtime.program import Program

__all__ = ["measured_data"]

# What ran when on which thread: for a viewer of traces, and by far the largest part.
_OMITTED = ("spans", "span_fields")


def measured_data(program: Program, profile: Profile) -> dict[str, Any]:
    """Return what the page shows of a profile.

    Raises
    ------
    ArgumentError
        If it is no profile, or that of another program.
    """
    expected = f"what {program.name}.profile(...) returned"
    if not isinstance(profile, Profile):
        raise ArgumentError(
            "report: this is no profile", expected=expected, given=type(profile).__name__, where=caller()
        )
    names = [k.name for k in program.kernels]
    steps = [(s.kernel, s.name) for s in profile.steps if s.kernel is not None]
    if any(k >= len(names) or names[k] != name for k, name in steps):
        raise ArgumentError(
            "report: the profile is that of another program",
            expected=expected,
            given=f"a profile of {profile.program}",
            where=caller(),
        )
    return {key: value for key, value in profile.as_dict().items() if key not in _OMITTED}
