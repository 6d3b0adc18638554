"""Looking at values while they are computed: prints, checks, watches and statistics."""

from graphc.debug.activity import Activity as Activity
from graphc.debug.activity import Statistics as Statistics
from graphc.debug.activity import statistics as statistics
from graphc.debug.checking import check as check
from graphc.debug.finite import check_finite as check_finite
from graphc.debug.showing import print as print
from graphc.debug.showing import redirect as redirect
from graphc.debug.watching import Inspection as Inspection

__all__ = [
    "Activity",
    "Inspection",
    "Statistics",
    "check",
    "check_finite",
    "print",
    "redirect",
    "statistics",
]
