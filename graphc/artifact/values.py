"""The values that graphs are full of as pure data: dimensions, types, places and attributes.

Dimensions, types and places repeat, so each stands once, in a table, and is named by its number.
An entry refers to entries before it only; what is read back is the very value that was written, and
never larger than a small multiple of its text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any, ClassVar, TypeVar

import numpy as np

from graphc import dims
from graphc.artifact.fields import as_index, as_int, as_list, as_object, as_text, reject, require
from graphc.dims import LARGEST_SIZE, Atom, Dim, SymbolicDim
from graphc.errors import UNKNOWN, ArtifactError, Where
from graphc.types import DTYPES, DType, TensorType, TupleType

__all__ = ["MOST_AXES", "ValueReader", "ValueWriter"]

Value = TypeVar("Value", bound=Hashable)

MOST_AXES = 64
MOST_RESULTS = 1 << 16
DEEPEST = 48
# Of all dimensions of a graph together: their text is what comparing and evaluating them walks over.
LONGEST_DIMS = 1 << 22
LONGEST_DIM = 1 << 14
# What the sizes of a type multiply out to: the number of its elements is such a sum.
MOST_TERMS = 1 << 12
_CALLS = ("//", "max", "min")
_DTYPES = {str(d): d for d in DTYPES}
_SCALARS: dict[str, type] = {"b": bool, "i": int, "u": int, "f": float}


def place_text(file: str) -> str:
    """Return the name of a source file as artifacts hold it."""
    shown = "".join(c if c.isprintable() else "?" for c in file)[:1024] or "?"
    # Errors show the line: of a Python file, and never of what else a file could be made to name.
    return shown if shown.endswith(".py") or (shown[0], shown[-1]) == ("<", ">") else f"<{shown}>"


class ValueWriter:
    """Collects the tables while a graph is written."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[Any, int]] = {"files": {}, "places": {}, "dims": {}, "types": {}}
        self._texts: dict[str, list[Any]] = {name: [] for name in self._tables}

    @property
    def tables(self) -> dict[str, list[Any]]:
        """The tables as pure data."""
        return self._texts

    def _number(self, table: str, key: Value, text: Callable[[Value], Any]) -> int:
        known = self._tables[table]
        if key not in known:
            entry = text(key)
            known[key] = len(self._texts[table])
            self._texts[table].append(entry)
        return known[key]

    def place(self, where: Where) -> int | None:
        """Return the number of a place, None for an unknown one."""
        if where is UNKNOWN:
            return None
        file = self._number("files", place_text(where.file), str)
        return self._number("places", (file, where.line, where.scope), list)

    def dim(self, dim: Dim) -> Any:
        """Return a dimension as data: a number, or a reference into the table."""
        if isinstance(dim, SymbolicDim):
            return {"dim": self._number("dims", dim, self._sum)}
        return int(dim)

    def _sum(self, dim: SymbolicDim) -> Any:
        return ["sum", [[c, [self._number("dims", a, self._atom) for a in mono]] for mono, c in dim.terms]]

    def _atom(self, atom: Atom) -> Any:
        if atom.fn == "name":
            return ["name", atom.text]
        return [atom.fn, *(self.dim(a) for a in atom.args)]

    def type(self, type: TensorType) -> int:
        """Return the number of a type."""
        return self._number("types", type, self._type)

    def _type(self, type: TensorType) -> Any:
        if isinstance(type, TupleType):
            return ["tuple", [self.type(t) for t in type.items]]
        return [str(type.dtype), [self.dim(d) for d in type.shape]]

    def attribute(self, value: Any, owner: str, where: Where) -> Any:
        """Return an attribute as data.

        Raises
        ------
        ArtifactError
            If it is none of the kinds that attributes have.
        """
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, SymbolicDim):
            return self.dim(value)
        if isinstance(value, np.dtype) and value in DTYPES:
            return {"dtype": str(value)}
        if isinstance(value, np.generic) and value.dtype in DTYPES:
            return {"scalar": [str(value.dtype), _number_text(value.item())]}
        if isinstance(value, (int, float)):
            return _number_text(value)
        if isinstance(value, tuple):
            return [self.attribute(v, owner, where) for v in value]
        raise ArtifactError(
            f"artifact: {owner} cannot be written",
            expected="attributes that are numbers, text, dtypes, dimensions, None or tuples of these",
            given=repr(value),
            where=where,
        )


def _number_text(value: float) -> Any:
    # JSON has no infinities, and readers of it may round; hexadecimal digits are exact.
    return {"float": value.hex()} if isinstance(value, float) else value


class ValueReader:
    """Reads the tables back, and values that refer to them; trusts nothing.

    Raises
    ------
    ArtifactError
        At anything that the format does not allow.
    """

    def __init__(self, tables: Any) -> None:
        given = as_object(tables, "tables", {"files", "places", "dims", "types"})
        self._files = as_list(given["files"], "files", lambda v: place_text(as_text(v, "file name")))
        self._places = as_list(given["places"], "places", self._place)
        self._dims: list[Atom | SymbolicDim] = []
        self._depths: list[int] = []
        self._text_left = LONGEST_DIMS
        for entry in as_list(given["dims"], "dimensions", lambda v: v):
            self._add_dim(entry)
        self._types: list[TensorType] = []
        for entry in as_list(given["types"], "types", lambda v: v):
            self._types.append(self._read_type(entry))

    # -- places
    def _place(self, entry: Any) -> Where:
        file, line, scope = as_list(entry, "place", lambda v: v, 3)
        name = self._files[as_index(file, "file", len(self._files))]
        inside = as_text(scope, "scope") if scope != "" else ""
        return Where(name, as_int(line, "line", 0, 1 << 31), inside)

    def place(self, number: Any) -> Where:
        """Return the place of a number, the unknown one for None."""
        return UNKNOWN if number is None else self._places[as_index(number, "place", len(self._places))]

    # -- dimensions
    @property
    def names(self) -> frozenset[str]:
        """Names of all sizes that are known only at the call."""
        return frozenset(d.text for d in self._dims if isinstance(d, Atom) and d.fn == "name")

    def dim(self, value: Any) -> Dim:
        """Return a dimension; those that are numbers are sizes, and not negative."""
        return self._dim(value, 0)

    def check_side(self, value: Any) -> Dim:
        """Return a dimension that a check compares; it may be a negative number."""
        return self._dim(value, -LARGEST_SIZE)

    def _dim(self, value: Any, least: int) -> Dim:
        if isinstance(value, int):
            return as_int(value, "size", least, LARGEST_SIZE)
        found = self._dims[self._reference(value)]
        if isinstance(found, SymbolicDim):
            return found
        reject("bad dimension", "a reference to a sum", value)

    def _reference(self, value: Any) -> int:
        return as_index(as_object(value, "dimension", {"dim"})["dim"], "dimension", len(self._dims))

    def _add_dim(self, entry: Any) -> None:
        kind, *rest = as_list(entry, "dimension", lambda v: v) or [None]
        found: Atom | SymbolicDim
        if kind == "sum":
            found, depth = self._sum(rest)
        elif kind == "name":
            found, depth = self._name(rest), 0
        else:
            found, depth = self._call(kind, rest)
        require(depth <= DEEPEST, "dimension nested too deeply", f"at most {DEEPEST} calls", depth)
        length = len(found.text if isinstance(found, Atom) else str(found))
        require(length <= LONGEST_DIM, "dimension too long", f"at most {LONGEST_DIM} characters", length)
        self._dims.append(found)
        self._depths.append(depth)

    def _name(self, rest: list[Any]) -> Atom:
        require(len(rest) == 1, "bad dimension", "one name", rest)
        name = as_text(rest[0], "name of a dimension")
        require(name.isidentifier(), "bad name of a dimension", "an identifier", name)
        self._spend(len(name))
        return Atom("name", (), name)

    def _call(self, fn: Any, rest: list[Any]) -> tuple[Atom, int]:
        require(fn in _CALLS and len(rest) == 2, "bad dimension", f"one of {', '.join(_CALLS)} of two", fn)
        a, b = (self._dim(v, -LARGEST_SIZE) for v in rest)
        depth = 1 + max(0 if isinstance(v, int) else self._depths[v["dim"]] for v in rest)
        # The text of a call is about that of its arguments; it is paid before it is made.
        self._spend(sum(len(str(d)) + 8 for d in (a, b)))
        ((mono, _),) = dims.call(fn, a, b).terms
        return mono[0], depth

    def _sum(self, rest: list[Any]) -> tuple[SymbolicDim, int]:
        require(len(rest) == 1, "bad dimension", "one list of terms", rest)
        terms: dict[tuple[Atom, ...], int] = {}
        depth = 0
        for entry in as_list(rest[0], "terms", lambda v: v):
            coeff, factors = as_list(entry, "term", lambda v: v, 2)
            numbers = as_list(factors, "factors", lambda v: as_index(v, "factor", len(self._dims)))
            mono = tuple(self._factor(k) for k in numbers)
            self._spend(sum(len(a.text) for a in mono) + 24)
            terms[mono] = as_int(coeff, "coefficient", -LARGEST_SIZE, LARGEST_SIZE)
            depth = max([depth, *(self._depths[k] for k in numbers)])
        ordered = all(tuple(sorted(m, key=lambda a: a.text)) == m for m in terms)
        symbolic = any(terms) and 0 not in terms.values()
        require(ordered and symbolic, "bad dimension", "a sum in its canonical form", entry if terms else [])
        return SymbolicDim(terms), depth

    def _factor(self, number: int) -> Atom:
        found = self._dims[number]
        if isinstance(found, Atom):
            return found
        reject("bad factor of a dimension", "a name or a call", number)

    def _spend(self, characters: int) -> None:
        self._text_left -= characters
        require(self._text_left >= 0, "dimensions too long", f"{LONGEST_DIMS} characters in all", "more")

    # -- types
    def type(self, number: Any) -> TensorType:
        """Return the type of a number."""
        return self._types[as_index(number, "type", len(self._types))]

    def _read_type(self, entry: Any) -> TensorType:
        kind, parts = as_list(entry, "type", lambda v: v, 2)
        if kind == "tuple":
            return self._tuple(parts)
        dtype = self._dtype(kind)
        shape = tuple(as_list(parts, "shape", self.dim))
        require(len(shape) <= MOST_AXES, "too many axes", f"at most {MOST_AXES}", len(shape))
        count = math.prod(d for d in shape if isinstance(d, int) and d)
        require(count <= LARGEST_SIZE, "tensor too large", f"at most {LARGEST_SIZE} elements", count)
        terms = math.prod(len(d.terms) for d in shape if isinstance(d, SymbolicDim))
        require(terms <= MOST_TERMS, "sizes too involved", f"at most {MOST_TERMS} products", terms)
        return TensorType(shape, dtype)

    def _tuple(self, parts: Any) -> TupleType:
        items = tuple(as_list(parts, "tuple", self.type))
        plain = not any(isinstance(t, TupleType) for t in items)
        require(0 < len(items) <= MOST_RESULTS and plain, "bad tuple", "types of tensors", len(items))
        return TupleType.of(items)

    def _dtype(self, name: Any) -> DType:
        if isinstance(name, str) and name in _DTYPES:
            return _DTYPES[name]
        reject("bad dtype", " or ".join(_DTYPES), name)

    # -- attributes
    def attribute(self, value: Any, depth: int = 0) -> Any:
        """Return the value of an attribute."""
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            return as_int(value, "number", -(1 << 63), 1 << 64)
        if isinstance(value, list):
            require(depth < 4, "attribute nested too deeply", "at most 4 levels", depth)
            return tuple(self.attribute(v, depth + 1) for v in value)
        require(isinstance(value, dict) and len(value) == 1, "bad attribute", "one of its kinds", value)
        ((kind, content),) = value.items()
        read = self._KINDS.get(kind)
        if read is None:
            reject("bad kind of attribute", " or ".join(self._KINDS), kind)
        return read(self, content)

    def _symbolic(self, number: Any) -> Dim:
        return self.dim({"dim": number})

    def _float(self, text: Any) -> float:
        try:
            return float.fromhex(as_text(text, "float", 40))
        except (ValueError, OverflowError):
            reject("bad float", "hexadecimal digits", text)

    def _scalar(self, content: Any) -> Any:
        name, number = as_list(content, "scalar", lambda v: v, 2)
        dtype = self._dtype(name)
        value = self.attribute(number)
        kind = _SCALARS[dtype.kind]
        require(type(value) is kind, "bad scalar", kind.__name__, value)
        if kind is int:
            limits = np.iinfo(dtype)
            as_int(value, "scalar", int(limits.min), int(limits.max))
        return dtype.type(value)

    _KINDS: ClassVar[dict[str, Callable[..., Any]]] = {
        "dim": _symbolic,
        "dtype": _dtype,
        "float": _float,
        "scalar": _scalar,
    }
