"""Reading untrusted data field by field: every function returns a checked value or raises `ArtifactError`."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from graphc.errors import ArtifactError, caller

__all__ = ["as_index", "as_int", "as_list", "as_object", "as_text", "parse_json", "reject", "require"]

Entry = TypeVar("Entry")

# Text of a file that an error repeats stays short.
_show = reprlib.Repr()
_show.maxstring = _show.maxother = 80
LONGEST_TEXT = 4096


def reject(what: str, expected: str, given: object) -> NoReturn:
    """Raise: a field is not what the format says."""
    raise ArtifactError(f"artifact: {what}", expected=expected, given=_show.repr(given), where=caller())


def require(condition: bool, what: str, expected: str, given: object) -> None:
    """Raise unless a condition holds."""
    if not condition:
        reject(what, expected, given)


def as_int(value: object, what: str, low: int, high: int) -> int:
    """Return an int with ``low <= value <= high``.

    Examples
    --------
    >>> as_int(3, "count", 0, 9)
    3
    """
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    reject(f"bad {what}", f"an integer from {low} to {high}", value)


def as_index(value: object, what: str, count: int) -> int:
    """Return the place of an entry among the `count` that a table has so far."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count:
        return value
    reject(f"bad {what}", f"one of the {count} entries before", value)


def as_text(value: object, what: str, longest: int = LONGEST_TEXT) -> str:
    """Return printable text that is not empty."""
    if isinstance(value, str) and 0 < len(value) <= longest and value.isprintable():
        return value
    reject(f"bad {what}", f"printable text of 1 to {longest} characters", value)


def as_list(value: object, what: str, read: Callable[[Any], Entry], count: int | None = None) -> list[Entry]:
    """Return a list, of `count` entries if given, each read by `read`.

    Examples
    --------
    >>> as_list(["a", "b"], "names", lambda v: as_text(v, "name"))
    ['a', 'b']
    """
    if isinstance(value, list) and (count is None or len(value) == count):
        return [read(entry) for entry in value]
    reject(f"bad {what}", "a list" if count is None else f"a list of {count}", value)


def as_object(value: object, what: str, required: set[str], optional: frozenset[str] = frozenset()) -> Any:
    """Return an object that has the required keys, and no others but optional ones."""
    if isinstance(value, dict) and required <= value.keys() <= required | optional:
        return value
    shown = sorted(value) if isinstance(value, dict) else value
    reject(f"bad {what}", f"an object with the keys {', '.join(sorted(required))}", shown)


def parse_json(text: bytes, what: str) -> Any:
    """Return the value of a JSON text.

    Examples
    --------
    >>> parse_json(b'{"a": [1, 2]}', "example")
    {'a': [1, 2]}
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"artifact: {what} is no JSON", expected="a JSON text", given=str(error), where=caller()
        ) from error
