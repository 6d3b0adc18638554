"""Looking at values while they are computed: prints, checks, watches and statistics."""

from graphc.debug.checking import check as check
from graphc.debug.finite import check_finite as check_finite
from graphc.debug.showing import print as print
from graphc.debug.showing import redirect as redirect

__all__ = ["check", "check_finite", "print", "redirect"]
