"""Format strings that are safe wherever they come from: programs are read from files, too."""

from __future__ import annotations

import re
import string
from itertools import count

__all__ = ["is_format", "numbered"]

_FIELD = re.compile(r"[0-9]{1,3}")
# Python's format specifications for numbers, without the widths that would fill memory.
_SPEC = re.compile(r"[-+ ]?#?0?[0-9]{0,2}[,_]?(\.[0-9]{1,2})?[a-zA-Z%]?")


def numbered(text: object) -> object:
    """Return a format whose fields have numbers, where none of them has one; anything else as it is.

    Examples
    --------
    >>> numbered("{{loss}} {} after {:.1f}"), numbered("{0}, {}")
    ('{{loss}} {0} after {1:.1f}', '{0}, {}')
    """
    if not isinstance(text, str):
        return text
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        return text
    if any(field for _, field, _, _ in parts):
        return text
    numbers = count()
    return "".join(
        _escaped(literal) + ("" if field is None else _field(next(numbers), spec, how))
        for literal, field, spec, how in parts
    )


def _escaped(literal: str) -> str:
    return literal.replace("{", "{{").replace("}", "}}")


def _field(number: int, spec: str | None, how: str | None) -> str:
    return "{" + str(number) + (f"!{how}" if how else "") + (f":{spec}" if spec else "") + "}"


def is_format(text: object, values: int) -> bool:
    """Tell whether a text formats so many `values` by number, and reads nothing else of them.

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
    return all(field is None or _is_field(field, spec, how, values) for _, field, spec, how in parts)


def _is_field(field: str, spec: str | None, how: str | None, values: int) -> bool:
    number = _FIELD.fullmatch(field)
    return bool(number and int(field) < values and not how and _SPEC.fullmatch(spec or ""))
