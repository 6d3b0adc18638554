"""Nests: the structure of nested lists, tuples and dicts apart from the values in it."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Nest", "split"]


@dataclass(frozen=True)
class Nest:
    """A structure; called with values in order, it returns them in this structure.

    Attributes
    ----------
    kind : str
        A value itself, nothing (None, which has no values), or what holds `parts`.
    parts : tuple of Nest
        What is inside.
    keys : tuple
        Of a dict; of a named tuple, the names of its fields.
    make : type or None
        The class of a named tuple.

    Examples
    --------
    >>> values, nest = split({"a": 1, "b": (2, [3])})
    >>> values
    [1, 2, 3]
    >>> nest([4, 5, 6])
    {'a': 4, 'b': (5, [6])}
    """

    kind: Literal["value", "nothing", "list", "tuple", "named", "dict"]
    parts: tuple[Nest, ...] = ()
    keys: tuple[Any, ...] = ()
    make: type[Any] | None = None

    def __call__(self, values: list[Any]) -> Any:
        """Return values in this structure."""
        return values[0] if self.kind == "value" else self._build(iter(values))

    def _build(self, values: Iterator[Any]) -> Any:
        if self.kind == "value":
            return next(values)
        made = [part._build(values) for part in self.parts]
        if self.kind == "dict":
            return dict(zip(self.keys, made, strict=True))
        if self.kind == "named" and self.make is not None:
            return self.make(*made)
        if self.kind == "nothing":
            return None
        return made if self.kind == "list" else tuple(made)

    @classmethod
    def named(cls, name: str, keys: tuple[str, ...], parts: tuple[Nest, ...]) -> Nest:
        """Return the structure of a named tuple, of a class made here."""
        # A class of the same name and fields: what a file can say of it.
        return cls("named", parts, keys, namedtuple(name, keys))


def _always(structure: Any) -> bool:
    return isinstance(structure, (list, tuple))


def split(
    structure: Any, is_sequence: Callable[[Any], bool] = _always, none_is_empty: bool = False
) -> tuple[list[Any], Nest]:
    """Return the values of a nested structure, and the structure.

    Parameters
    ----------
    structure : object
        Nested lists, tuples and dicts; anything else is a value.  Dicts keep the order of their keys.
    is_sequence : callable
        Whether something is a list or tuple to look into; by default, each of them is.
    none_is_empty : bool
        Whether None is a structure without values, not a value.

    Examples
    --------
    >>> split([1, (2, None)], none_is_empty=True)[0]
    [1, 2]
    """
    if structure is None and none_is_empty:
        return [], Nest("nothing")
    if isinstance(structure, Mapping):
        values, parts = _split_all(structure.values(), is_sequence, none_is_empty)
        return values, Nest("dict", parts, tuple(structure))
    if not is_sequence(structure):
        return [structure], Nest("value")
    values, parts = _split_all(structure, is_sequence, none_is_empty)
    if hasattr(structure, "_fields"):
        return values, Nest("named", parts, tuple(structure._fields), type(structure))
    return values, Nest("list" if isinstance(structure, list) else "tuple", parts)


def _split_all(
    items: Iterable[Any], is_sequence: Callable[[Any], bool], none_is_empty: bool
) -> tuple[list[Any], tuple[Nest, ...]]:
    found = [split(item, is_sequence, none_is_empty) for item in items]
    return [v for values, _ in found for v in values], tuple(nest for _, nest in found)
