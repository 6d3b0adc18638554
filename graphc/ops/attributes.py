"""What an op's attributes may be: rules that an `Op` holds of them, and the words to make rules of.

Type rules take for granted that a public function has put attributes into their normal form: axes that
exist and count from the front, steps that are not zero.  A graph that comes from a file has seen no
public function, and a kernel that is made of other attributes may read and write beyond its operands.
So each op says of each of its attributes what it may be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphc.dims import LARGEST_SIZE, SymbolicDim
from graphc.types import DTYPES, DType, TensorType

__all__ = [
    "AXES",
    "AXIS",
    "DIM",
    "DTYPE",
    "FLAG",
    "INTEGER",
    "NUMBER",
    "OFFSETS",
    "REAL",
    "REDUCED",
    "SHAPE",
    "SIZE",
    "TEXT",
    "Attributes",
    "Rule",
    "Use",
    "at_least",
    "distinct_axes",
    "either",
    "number_of",
    "optional",
    "tuple_of",
    "word",
]


@dataclass(frozen=True)
class Use:
    """Where an attribute stands.

    Attributes
    ----------
    types : tuple of TensorType
        The operands.
    attrs : mapping
        All attributes of the node; a rule may take for granted that those obey their rules that stand
        before it in the op's table.
    """

    types: tuple[TensorType, ...]
    attrs: Mapping[str, Any]

    @property
    def ndim(self) -> int:
        """How many axes the first operand has."""
        return self.types[0].ndim if self.types else 0


@dataclass(frozen=True)
class Rule:
    """What one attribute may be.

    Attributes
    ----------
    says : str
        In words, for errors.
    holds : callable
        ``holds(value, use) -> bool``, of any value whatsoever.
    optional : bool
        Whether the attribute may be absent.

    Examples
    --------
    >>> even = at_least(0).narrowed("even", lambda value, use: value % 2 == 0)
    >>> even.says
    'an integer of at least 0, even'
    >>> [even.holds(value, Use((), {})) for value in (4, 3, -2, "4")]
    [True, False, False, False]
    """

    says: str
    holds: Callable[[Any, Use], bool]
    optional: bool = False

    def narrowed(self, says: str, further: Callable[[Any, Use], bool]) -> Rule:
        """Return the rule that a value must obey this one and then another."""
        return replace(
            self,
            says=f"{self.says}, {says}",
            holds=lambda value, use: self.holds(value, use) and further(value, use),
        )


Attributes = Mapping[str, Rule]


# -------------------------------------------------------------------- single values
def _is_int(value: Any, least: int = -LARGEST_SIZE, most: int = LARGEST_SIZE) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_real(value: Any) -> bool:
    return isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_real(value) or isinstance(value, (bool, np.bool_))


def _fits(value: Any, dtype: DType) -> bool:
    """Tell whether a number is one of a dtype's."""
    if dtype.kind == "f" or not math.isfinite(value):
        return dtype.kind == "f"
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return int(value) == value and low <= int(value) <= high


def at_least(least: int, most: int = LARGEST_SIZE) -> Rule:
    """Return the rule of integers from `least` on, up to `most`."""
    says = f"of at least {least}" if most == LARGEST_SIZE else f"from {least} to {most}"
    return Rule(f"an integer {says}", lambda value, use: _is_int(value, least, most))


def word(*words: str) -> Rule:
    """Return the rule of one of some words.

    Examples
    --------
    >>> word("linear", "cubic").says
    "'linear' or 'cubic'"
    """
    return Rule(" or ".join(map(repr, words)), lambda value, use: isinstance(value, str) and value in words)


def number_of(dtype: Callable[[Use], DType]) -> Rule:
    """Return the rule of numbers that an array of a dtype can hold."""
    return NUMBER.narrowed("within the dtype", lambda value, use: _fits(value, dtype(use)))


FLAG = Rule("True or False", lambda value, use: isinstance(value, bool))
INTEGER = Rule("an integer", lambda value, use: _is_int(value))
DIM = Rule("an integer or symbolic size", lambda value, use: isinstance(value, SymbolicDim) or _is_int(value))
SIZE = Rule("a size", lambda value, use: isinstance(value, SymbolicDim) or _is_int(value, 0))
REAL = Rule("a real number", lambda value, use: _is_real(value))
NUMBER = Rule("a number", lambda value, use: _is_number(value))
TEXT = Rule("printable text", lambda value, use: isinstance(value, str) and value.isprintable())
DTYPE = Rule("a dtype of graphc", lambda value, use: isinstance(value, np.dtype) and value in DTYPES)


# ------------------------------------------------------------------------- variations
def either(rule: Rule, other: object) -> Rule:
    """Return the rule that also takes one other value, such as None."""
    return Rule(f"{rule.says}, or {other}", lambda value, use: value is other or rule.holds(value, use))


def optional(rule: Rule) -> Rule:
    """Return the rule for an attribute that may be absent."""
    return replace(rule, optional=True)


def tuple_of(rule: Rule, count: int | None = None, like: str | None = None) -> Rule:
    """Return the rule of tuples whose entries obey a rule.

    Parameters
    ----------
    rule : Rule
        What each entry may be.
    count : int, optional
        How many entries there are.
    like : str, optional
        Another attribute that has as many.

    Examples
    --------
    >>> pair = tuple_of(SIZE, count=2)
    >>> pair.says
    'a tuple, each a size, of 2'
    >>> pair.holds((3, 4), Use((), {})), pair.holds((3, -4), Use((), {})), pair.holds((3,), Use((), {}))
    (True, False, False)
    """
    found = Rule(
        f"a tuple, each {rule.says}",
        lambda value, use: isinstance(value, tuple) and all(rule.holds(v, use) for v in value),
    )
    if count is not None:
        found = found.narrowed(f"of {count}", lambda value, use: len(value) == count)
    if like is not None:
        found = found.narrowed(f"as many as {like}", lambda value, use: len(value) == len(use.attrs[like]))
    return found


SHAPE = tuple_of(SIZE)
OFFSETS = tuple_of(DIM)


# ------------------------------------------------------------------------- axes
def distinct_axes(value: Any, ndim: int) -> bool:
    """Tell whether a value is a tuple of axes among `ndim`, none of them twice."""
    known = isinstance(value, tuple) and all(_is_int(a, 0, ndim - 1) for a in value)
    return known and len(set(value)) == len(value)


AXIS = Rule("an axis of the first operand", lambda value, use: _is_int(value, 0, use.ndim - 1))
AXES = Rule("distinct axes of the first operand", lambda value, use: distinct_axes(value, use.ndim))
REDUCED: Attributes = {"axes": AXES, "keepdims": FLAG}
