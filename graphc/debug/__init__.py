"""Looking at values while they are computed: prints, checks, watches and statistics."""

from graphc.debug.checking import check as check
from graphc.debug.finite import check_finite as check_finite
from graphc.debug.showing import print as print
from graphc.debug.showing import redirect as redirect
from graphc.debug.watching import Inspection as Inspection

__all__ = ["Inspection", "check", "check_finite", "print", "redirect"]
