"""Feeds: whether arrays fit what a program takes, and the sizes that they give to named dimensions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.errors import FeedError, GraphcError, ShapeError, Where
from graphc.types import TensorType

__all__ = ["DimCheck", "Fed", "as_array", "at_most", "check_feed", "solve_sizes", "verify_check"]

Array = np.ndarray[Any, Any]
# Which Python numbers a dtype takes: those of its own kind and of the kinds before it.
_KINDS = {"b": 0, "i": 1, "u": 1, "f": 2}


class Fed(Protocol):
    """What takes a feed: a placeholder's node, or an input of a loaded program."""

    @property
    def name(self) -> str | None:
        """By which it is fed."""

    @property
    def type(self) -> TensorType:
        """Shape and dtype."""

    @property
    def where(self) -> Where:
        """The line that declares it."""


@dataclass(frozen=True, slots=True)
class DimCheck:
    """Two dimensions that must turn out equal when the program is called."""

    left: Dim
    right: Dim
    why: str
    where: Where
    error: type[GraphcError] = ShapeError


def at_most(low: Dim, high: Dim, why: str, where: Where) -> Iterable[DimCheck]:
    """Yield what must be checked for ``low <= high``: nothing where that is proven.

    Examples
    --------
    >>> from graphc.dims import symbol
    >>> from graphc.errors import UNKNOWN
    >>> n = symbol("n")
    >>> list(at_most(0, n, "a size is negative", UNKNOWN))
    []
    >>> [(c.left, c.right) for c in at_most(n, 8, "there are too many", UNKNOWN)]
    [(max(8, n), 8)]
    """
    larger = dims.maximum(low, high)
    if larger != high:
        yield DimCheck(larger, high, why, where)


def as_array(value: Any, port: Fed) -> Array:
    """Return a feed as an array; Python numbers and lists take a dtype that holds their kind."""
    weak = isinstance(value, (bool, int, float, list, tuple)) and not isinstance(value, np.generic)
    dtype = port.type.dtype
    try:
        found = np.asarray(value)
        rank = _KINDS.get(found.dtype.kind, len(_KINDS))
        if not weak or (found.size and rank > _KINDS[dtype.kind]):
            return found
        with np.errstate(over="raise"):
            return np.asarray(value, dtype)
    except (ValueError, OverflowError, FloatingPointError) as error:
        raise FeedError(
            f"feed of placeholder {port.name!r} is no {dtype} array",
            expected=str(port.type),
            given=str(error),
        ) from None


def check_feed(port: Fed, array: Array) -> None:
    """Raise `FeedError` unless the array fits the placeholder in rank, dtype and fixed sizes."""
    expected = port.type
    fits = array.dtype == expected.dtype and array.ndim == expected.ndim
    fixed = zip(expected.shape, array.shape, strict=False)
    if fits and all(d == n or not isinstance(d, int) for d, n in fixed):
        return
    raise FeedError(
        f"feed of placeholder {port.name!r} does not fit",
        expected=str(expected),
        given=str(TensorType(array.shape, array.dtype)),
        where=port.where,
    )


def solve_sizes(fed: Iterable[tuple[Fed, Array]], checks: Iterable[DimCheck] = ()) -> dict[str, int]:
    """Return the size of every named dimension, checking that all feeds agree.

    Raises
    ------
    FeedError
        Naming the feed, the dimension and both sizes.
    ShapeError
        If an equality that the graph assumed of symbolic sizes does not hold.
    """
    sizes: dict[str, int] = {}
    source: dict[str, Fed] = {}
    later: list[tuple[Fed, Dim, int]] = []
    for port, array in fed:
        for d, n in zip(port.type.shape, array.shape, strict=True):
            if isinstance(d, int):
                continue
            name = str(d)
            if name not in dims.names(d):
                later.append((port, d, n))
            elif sizes.setdefault(name, n) != n:
                raise FeedError(
                    f"feed of placeholder {port.name!r} disagrees on dimension {name!r}",
                    expected=f"{sizes[name]} as in {source[name].name!r}",
                    given=str(n),
                    where=port.where,
                )
            source.setdefault(name, port)
    for port, d, n in later:
        unknown = dims.names(d) - sizes.keys()
        if unknown:
            raise FeedError(
                f"dimension {sorted(unknown)[0]!r} of placeholder {port.name!r} cannot be determined",
                expected="some placeholder with that name alone as a size",
                given=str(port.type),
                where=port.where,
            )
        if dims.evaluate(d, sizes) != n:
            raise FeedError(
                f"feed of placeholder {port.name!r} does not fit",
                expected=f"{d} = {dims.evaluate(d, sizes)}",
                given=str(n),
                where=port.where,
            )
    for check in checks:
        verify_check(check, sizes)
    return sizes


def verify_check(check: DimCheck, sizes: Mapping[str, int]) -> None:
    """Raise the error of `check` unless its two dimensions agree at `sizes`."""
    left, right = dims.evaluate(check.left, sizes), dims.evaluate(check.right, sizes)
    if left != right:
        raise check.error(
            check.why,
            expected=f"{check.left} == {check.right}",
            given=f"{left} and {right}",
            where=check.where,
        )
