"""Dimensions as rows of a table: an operation and two operands, which are earlier rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from graphc.dims import Atom, Dim
from graphc.native_export import layout

__all__ = ["Rows"]

Row = tuple[int, int, int]
_OPERATIONS: Mapping[str, int] = {"//": layout.DIVIDE, "max": layout.MAXIMUM, "min": layout.MINIMUM}


class Rows:
    """Collects dimensions, equal ones once.

    Parameters
    ----------
    names : iterable of str
        The named sizes, in the order in which a call gives them.

    Examples
    --------
    >>> from graphc.dims import symbol
    >>> rows = Rows(["n"])
    >>> rows.number(2 * symbol("n") + 1)
    4
    >>> rows.rows
    [(0, 2, 0), (1, 0, 0), (3, 0, 1), (0, 1, 0), (2, 2, 3)]
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = {name: k for k, name in enumerate(names)}
        self._numbers: dict[Row, int] = {}
        self._known: dict[Dim, int] = {}

    @property
    def rows(self) -> list[Row]:
        """All rows, in order."""
        return list(self._numbers)

    def number(self, dim: Dim) -> int:
        """Return the number of the row that holds a dimension."""
        found = self._known.get(dim)
        if found is None:
            found = self._known[dim] = self._sum(dim)
        return found

    def apply(self, operation: int, a: int, b: int = 0) -> int:
        """Return the number of the row that applies an operation to two others."""
        return self._numbers.setdefault((operation, a, b), len(self._numbers))

    def _sum(self, dim: Dim) -> int:
        if isinstance(dim, int):
            return self.apply(layout.CONSTANT, dim)
        total: int | None = None
        for factors, coefficient in dim.terms:
            term = None if coefficient == 1 and factors else self.apply(layout.CONSTANT, coefficient)
            for atom in factors:
                value = self._atom(atom)
                term = value if term is None else self.apply(layout.MULTIPLY, term, value)
            if term is not None:
                total = term if total is None else self.apply(layout.ADD, total, term)
        return self.apply(layout.CONSTANT, 0) if total is None else total

    def _atom(self, atom: Atom) -> int:
        if atom.fn == "name":
            return self.apply(layout.SIZE, self.names[atom.text])
        first, second = (self.number(a) for a in atom.args)
        return self.apply(_OPERATIONS[atom.fn], first, second)
