"""Symbolic dimensions: integer expressions over named, non-negative sizes.

A dimension is an ``int`` or a `SymbolicDim`.  Symbolic dimensions are kept in one
canonical form (a polynomial whose atoms are names and irreducible calls such as a
floor division), so two dimensions are *proven equal* exactly when ``==`` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Union

Dim = Union[int, "SymbolicDim"]
Shape = tuple[Dim, ...]

# Of files: no size, and no number of elements, may come near what would overflow when it is multiplied
# by a few bytes or a few strides.
LARGEST_SIZE = 1 << 48


class Atom:
    """A factor that cannot be split further: a name, or a call on dimensions."""

    __slots__ = ("_hash", "args", "fn", "text")

    def __init__(self, fn: str, args: tuple[Dim, ...], text: str) -> None:
        self.fn = fn
        self.args = args
        self.text = text
        self._hash = hash(text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Atom) and self.text == other.text

    def __hash__(self) -> int:
        return self._hash

    def evaluate(self, sizes: Mapping[str, int]) -> int:
        """Return the value when every name has the size given in `sizes`."""
        if self.fn == "name":
            return sizes[self.text]
        return _CALLS[self.fn](*(evaluate(a, sizes) for a in self.args))

    def substitute(self, sizes: Mapping[str, Dim]) -> Dim:
        """Replace names by other dimensions."""
        if self.fn == "name":
            return sizes.get(self.text, SymbolicDim({(self,): 1}))
        return _BUILD[self.fn](*(substitute(a, sizes) for a in self.args))


Monomial = tuple[Atom, ...]


class SymbolicDim:
    """A size that is known only when a program is called.

    Examples
    --------
    >>> n = symbol("n")
    >>> 2 * n + n, (4 * n) // 2, (n + 1) - n
    (3*n, 2*n, 1)
    """

    __slots__ = ("_hash", "_text", "terms")

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        ordered = sorted(terms.items(), key=lambda t: (-len(t[0]), [a.text for a in t[0]]))
        self.terms: tuple[tuple[Monomial, int], ...] = tuple(ordered)
        self._text = _render(self.terms)
        self._hash = hash(self._text)

    # -- arithmetic; results collapse to int where the expression is constant.  Anything but a
    # dimension is left to the other operand: a Tensor takes a size as a number.
    def __add__(self, other: Dim) -> Dim:
        if not isinstance(other, _DIMS):
            return NotImplemented
        terms = dict(self.terms)
        for mono, coeff in _terms(other):
            terms[mono] = terms.get(mono, 0) + coeff
        return _make(terms)

    def __mul__(self, other: Dim) -> Dim:
        if not isinstance(other, _DIMS):
            return NotImplemented
        terms: dict[Monomial, int] = {}
        for left, a in self.terms:
            for right, b in _terms(other):
                mono = tuple(sorted(left + right, key=lambda t: t.text))
                terms[mono] = terms.get(mono, 0) + a * b
        return _make(terms)

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        if not isinstance(other, _DIMS):
            return NotImplemented
        return self + other * -1

    def __rsub__(self, other: int) -> Dim:
        if not isinstance(other, _DIMS):
            return NotImplemented
        return self * -1 + other

    def __floordiv__(self, other: Dim) -> Dim:
        if not isinstance(other, _DIMS):
            return NotImplemented
        return floordiv(self, other)

    def __rfloordiv__(self, other: int) -> Dim:
        if not isinstance(other, _DIMS):
            return NotImplemented
        return floordiv(other, self)

    def __mod__(self, other: Dim) -> Dim:
        if not isinstance(other, _DIMS):
            return NotImplemented
        return self - floordiv(self, other) * other

    __radd__ = __add__
    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SymbolicDim) and self._text == other._text

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return self._text


_DIMS = (Integral, SymbolicDim)


def symbol(name: str) -> SymbolicDim:
    """Return the named dimension `name`."""
    return SymbolicDim({(Atom("name", (), name),): 1})


def evaluate(dim: Dim, sizes: Mapping[str, int]) -> int:
    """Return the value of `dim` when every name has the size given in `sizes`."""
    if isinstance(dim, int):
        return dim
    total = 0
    for mono, coeff in dim.terms:
        value = coeff
        for atom in mono:
            value *= atom.evaluate(sizes)
        total += value
    return total


def substitute(dim: Dim, sizes: Mapping[str, Dim]) -> Dim:
    """Replace names by other dimensions, renormalizing the result."""
    if isinstance(dim, int):
        return dim
    total: Dim = 0
    for mono, coeff in dim.terms:
        value: Dim = coeff
        for atom in mono:
            value = value * atom.substitute(sizes)
        total = total + value
    return total


def names(dim: Dim) -> frozenset[str]:
    """Return the names that `dim` mentions."""
    if isinstance(dim, int):
        return frozenset()
    found: set[str] = set()
    for mono, _ in dim.terms:
        for atom in mono:
            found |= {atom.text} if atom.fn == "name" else frozenset().union(*map(names, atom.args))
    return frozenset(found)


def product(dims: Shape) -> Dim:
    """Return the product of `dims` (1 when empty)."""
    total: Dim = 1
    for dim in dims:
        total = total * dim
    return total


def floordiv(a: Dim, b: Dim) -> Dim:
    """Return ``a // b``, exactly where divisibility can be proven."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if a == b or b == 1:
        return a if b == 1 else 1
    exact = _divide_exactly(a, b)
    if exact is not None:
        return exact
    if isinstance(b, int) and isinstance(a, SymbolicDim):
        whole = {m: c // b for m, c in a.terms if c % b == 0}
        rest = {m: c for m, c in a.terms if c % b}
        if whole:
            return _make(whole) + floordiv(_make(rest), b)
    return call("//", a, b)


def maximum(a: Dim, b: Dim) -> Dim:
    """Return the larger of two dimensions, resolved where a bound proves it."""
    return _extremum("max", a, b)


def minimum(a: Dim, b: Dim) -> Dim:
    """Return the smaller of two dimensions, resolved where a bound proves it."""
    return _extremum("min", a, b)


def lower_bound(dim: Dim) -> int | None:
    """Return a number that `dim` never falls below, or None when none is known."""
    if isinstance(dim, int):
        return dim
    total = 0
    for mono, coeff in dim.terms:
        if not mono:
            total += coeff
            continue
        # Each bound once: a second look at every level would double the work with each of them.
        bounds = [_atom_bound(a) for a in mono]
        if coeff < 0 or any(b is None or b < 0 for b in bounds):
            return None
    return total


def _atom_bound(atom: Atom) -> int | None:
    if atom.fn == "name":
        return 0
    bounds = [lower_bound(a) for a in atom.args]
    if atom.fn == "max":
        known = [b for b in bounds if b is not None]
        return max(known) if known else None
    if atom.fn == "min":
        return None if None in bounds else min(b for b in bounds if b is not None)
    return 0 if all(b is not None and b >= 0 for b in bounds) else None


def _extremum(fn: str, a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b) if fn == "max" else min(a, b)
    if a == b:
        return a
    for low, high in ((a, b), (b, a)):
        bound = lower_bound(high - low)
        if bound is not None and bound >= 0:
            return high if fn == "max" else low
    first, second = sorted((a, b), key=str)
    return call(fn, first, second)


def call(fn: str, a: Dim, b: Dim) -> SymbolicDim:
    """Return a call (``//``, ``max`` or ``min``) that nothing is known to simplify."""
    text = f"({_wrap(a)}//{_wrap(b)})" if fn == "//" else f"{fn}({a}, {b})"
    return SymbolicDim({(Atom(fn, (a, b), text),): 1})


def _wrap(dim: Dim) -> str:
    text = str(dim)
    return text if text.isidentifier() or text.isdigit() else f"({text})"


def _terms(dim: Dim) -> tuple[tuple[Monomial, int], ...]:
    return dim.terms if isinstance(dim, SymbolicDim) else (((), dim),)


def _make(terms: Mapping[Monomial, int]) -> Dim:
    kept = {m: c for m, c in terms.items() if c}
    if not kept:
        return 0
    if set(kept) == {()}:
        return kept[()]
    return SymbolicDim(kept)


def _divide_exactly(a: Dim, b: Dim) -> Dim | None:
    divisor = _terms(b)
    if len(divisor) != 1:
        return None
    factors, coeff = divisor[0]
    quotient: dict[Monomial, int] = {}
    for mono, c in _terms(a):
        rest = list(mono)
        for atom in factors:
            if atom not in rest:
                return None
            rest.remove(atom)
        if coeff == 0 or c % coeff:
            return None
        quotient[tuple(rest)] = c // coeff
    return _make(quotient)


def _render(terms: tuple[tuple[Monomial, int], ...]) -> str:
    parts: list[str] = []
    for mono, coeff in terms:
        body = "*".join(a.text for a in mono)
        sign = " - " if coeff < 0 else " + "
        size = abs(coeff)
        text = str(size) if not mono else body if size == 1 else f"{size}*{body}"
        parts.append(text if not parts and coeff > 0 else f"-{text}" if not parts else sign + text)
    return "".join(parts)


_CALLS: dict[str, Callable[[int, int], int]] = {
    "//": lambda a, b: a // b if b else 0,
    "max": max,
    "min": min,
}
_BUILD: dict[str, Callable[[Dim, Dim], Dim]] = {"//": floordiv, "max": maximum, "min": minimum}
