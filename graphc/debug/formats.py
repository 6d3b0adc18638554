"""Format strings that are safe wherever they come from: programs are read from files, too."""

from __future__ import annotations

import re
import string

__all__ = ["is_format"]

_FIELD = re.compile(r"[0-9]{1,3}")
# Python's format specifications for numbers, without the widths that would fill memory.
_SPEC = re.compile(r"[-+ ]?#?0?[0-9]{0,2}[,_]?(\.[0-9]{1,2})?[a-zA-Z%]?")


def is_format(text: object, count: int) -> bool:
    """Tell whether a text formats `count` values by number, and reads nothing else of them.

    Examples
    --------
    >>> is_format("loss {0:.3f} after {1} steps", 2)
    True
    >>> is_format("{0.__class__}", 1), is_format("{0:999999999}", 1), is_format("{1}", 1)
    (False, False, False)
    """
    if not isinstance(text, str) or not text.isprintable():
        return False
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        return False
    return all(field is None or _is_field(field, spec, how, count) for _, field, spec, how in parts)


def _is_field(field: str, spec: str | None, how: str | None, count: int) -> bool:
    number = _FIELD.fullmatch(field)
    return bool(number and int(field) < count and not how and _SPEC.fullmatch(spec or ""))
