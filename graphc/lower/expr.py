"""Scalar expressions over loop indices: the language that ops lower to.

An `Expr` is the value of one tensor element (or of an index) as a function of loop
indices and named sizes.  Expressions are interned: structurally equal ones are the
same object, so fusing by composition shares common sub-expressions for free and
code generation assigns each shared one to a temporary.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.dims import Dim, SymbolicDim
from graphc.types import BOOL, INT64, DType

Key = tuple[Any, ...]
_interned: weakref.WeakValueDictionary[Key, Expr] = weakref.WeakValueDictionary()
_lock = threading.Lock()


class Expr:
    """One node of a scalar expression.

    Attributes
    ----------
    kind : str
        ``const``, ``index`` (a loop variable), ``size`` (a dimension read from the
        argument block), ``load``, ``call``, ``cast``, ``guard``, ``fold``, ``local``
        or ``check``.
    args : tuple of Expr
        Operands.
    dtype : numpy.dtype
        Type of the value.
    data : object
        What `kind` needs besides: the constant, the function's name, the buffer.
    """

    __slots__ = ("__weakref__", "args", "data", "dtype", "kind")

    kind: str
    args: tuple[Expr, ...]
    dtype: DType
    data: Any

    def __new__(cls, kind: str, args: tuple[Expr, ...], dtype: DType, data: Any = None) -> Expr:
        """Return the one expression with this content."""
        key = (kind, tuple(map(id, args)), dtype, _data_key(data))
        with _lock:
            found = _interned.get(key)
            if found is None:
                found = object.__new__(cls)
                found.kind, found.args, found.dtype, found.data = kind, args, dtype, data
                _interned[key] = found
        return found

    # -- arithmetic keeps the dtype; both sides must already agree
    def __add__(self, other: Expr | int | float) -> Expr:
        return _arith("add", self, other)

    def __sub__(self, other: Expr | int | float) -> Expr:
        return _arith("sub", self, other)

    def __mul__(self, other: Expr | int | float) -> Expr:
        return _arith("mul", self, other)

    def __truediv__(self, other: Expr | int | float) -> Expr:
        return _arith("div", self, other)

    def __floordiv__(self, other: Expr | int | float) -> Expr:
        return _arith("floordiv", self, other)

    def __mod__(self, other: Expr | int | float) -> Expr:
        return _arith("mod", self, other)

    def __radd__(self, other: int | float) -> Expr:
        return _arith("add", const(other, self.dtype), self)

    def __rsub__(self, other: int | float) -> Expr:
        return _arith("sub", const(other, self.dtype), self)

    def __rmul__(self, other: int | float) -> Expr:
        return _arith("mul", const(other, self.dtype), self)

    def __rtruediv__(self, other: int | float) -> Expr:
        return _arith("div", const(other, self.dtype), self)

    def __neg__(self) -> Expr:
        return call("neg", self)

    # -- comparisons build bool expressions (equality is `eq`: `==` stays identity)
    def __lt__(self, other: Expr | int | float) -> Expr:
        return compare("lt", self, other)

    def __le__(self, other: Expr | int | float) -> Expr:
        return compare("le", self, other)

    def __gt__(self, other: Expr | int | float) -> Expr:
        return compare("gt", self, other)

    def __ge__(self, other: Expr | int | float) -> Expr:
        return compare("ge", self, other)

    def eq(self, other: Expr | int | float) -> Expr:
        """Return the bool expression ``self == other``."""
        return compare("eq", self, other)

    def ne(self, other: Expr | int | float) -> Expr:
        """Return the bool expression ``self != other``."""
        return compare("ne", self, other)

    def __and__(self, other: Expr) -> Expr:
        return _logic("and", self, other)

    def __or__(self, other: Expr) -> Expr:
        return _logic("or", self, other)

    def __invert__(self) -> Expr:
        return Expr("call", (self,), BOOL, "not")

    def __repr__(self) -> str:
        inner = ", ".join(map(repr, self.args))
        label = self.kind if self.data is None else f"{self.kind}:{self.data}"
        return f"{label}({inner})" if inner else label


def _data_key(data: Any) -> Any:
    if isinstance(data, float):
        return ("float", data.hex())
    if isinstance(data, (bool, int)):
        return (type(data).__name__, data)
    return data


def _value(e: Expr) -> Any:
    return e.data if e.kind == "const" else None


def const(value: bool | int | float, dtype: DType) -> Expr:
    """Return the constant `value` of `dtype`."""
    return Expr("const", (), dtype, dtype.type(value).item())


def index_const(value: int) -> Expr:
    """Return an index constant."""
    return const(value, INT64)


ZERO = index_const(0)
TRUE = const(True, BOOL)
FALSE = const(False, BOOL)


def index(name: str) -> Expr:
    """Return the loop variable `name`."""
    return Expr("index", (), INT64, name)


def size(dim: Dim) -> Expr:
    """Return a dimension as an index expression: a constant, or read from the argument block."""
    return index_const(dim) if isinstance(dim, int) else Expr("size", (), INT64, _Size(dim))


class _Size:
    """Hashable wrapper that prints as the dimension."""

    __slots__ = ("dim",)

    def __init__(self, dim: SymbolicDim) -> None:
        self.dim = dim

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Size) and self.dim == other.dim

    def __hash__(self) -> int:
        return hash(self.dim)

    def __repr__(self) -> str:
        return repr(self.dim)


def load(buffer: Any, position: tuple[Expr, ...], dtype: DType) -> Expr:
    """Return the element of `buffer` (any hashable handle) at a multi-index."""
    return Expr("load", position, dtype, buffer)


def local(name: Any, dtype: DType) -> Expr:
    """Return a value that an enclosing loop has computed (a finished reduction)."""
    return Expr("local", (), dtype, name)


def call(fn: str, *args: Expr, dtype: DType | None = None) -> Expr:
    """Apply the scalar function `fn`; operands share a dtype, which is the result's by default."""
    return Expr("call", args, dtype or args[0].dtype, fn)


def compare(fn: str, a: Expr, b: Expr | int | float) -> Expr:
    """Return a comparison (``lt le gt ge eq ne``) as a bool expression."""
    right = b if isinstance(b, Expr) else const(b, a.dtype)
    if a.kind == "const" and right.kind == "const":
        return const(_COMPARE[fn](a.data, right.data), BOOL)
    return Expr("call", (a, right), BOOL, fn)


def where(cond: Expr, a: Expr, b: Expr) -> Expr:
    """Select between two values that are both safe to compute."""
    if cond.kind == "const":
        return a if cond.data else b
    return a if a is b else Expr("call", (cond, a, b), a.dtype, "where")


def guard(cond: Expr, a: Expr, b: Expr) -> Expr:
    """Select, computing only the chosen side: for loads that may be out of bounds."""
    if cond.kind == "const":
        return a if cond.data else b
    return a if a is b else Expr("guard", (cond, a, b), a.dtype)


def cast(e: Expr, dtype: DType) -> Expr:
    """Convert to `dtype` as NumPy's ``astype`` does."""
    if e.dtype == dtype:
        return e
    if e.kind == "const":
        with np.errstate(all="ignore"):
            return const(np.asarray(e.data, e.dtype).astype(dtype).item(), dtype)
    return Expr("cast", (e,), dtype)


def fold(kind: str, extents: tuple[Dim, ...], body: Callable[[tuple[Expr, ...]], Expr]) -> Expr:
    """Reduce `body` over a small index range, inside one element's expression (a pooling window).

    Parameters
    ----------
    kind : str
        ``sum``, ``prod``, ``max``, ``min``, ``any``, ``all``, ``argmax`` or ``argmin`` (flat position).
    extents : tuple of Dim
        Sizes of the range.
    body : callable
        Maps the range's indices to the value to reduce.
    """
    variables = tuple(index(f"w{next(_fresh)}") for _ in extents)
    value = body(variables)
    dtype = INT64 if kind.startswith("arg") else value.dtype
    return Expr("fold", (value, *variables, *map(size, extents)), dtype, kind)


def check(ok: Expr, value: Expr, message: Any) -> Expr:
    """Return `value`, raising the run-time check `message` after the call where `ok` is false."""
    if ok.kind == "const" and ok.data:
        return value
    return Expr("check", (ok, value), value.dtype, message)


_fresh = itertools.count()

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
}


def _arith(fn: str, a: Expr, b: Expr | int | float) -> Expr:
    right = b if isinstance(b, Expr) else const(b, a.dtype)
    simpler = _simplify_index(fn, a, right) if a.dtype == INT64 else None
    return simpler if simpler is not None else Expr("call", (a, right), a.dtype, fn)


def _logic(fn: str, a: Expr, b: Expr) -> Expr:
    absorbing, neutral = (False, True) if fn == "and" else (True, False)
    for x, y in ((a, b), (b, a)):
        if x.kind == "const":
            return y if x.data is neutral else const(absorbing, BOOL)
    return Expr("call", (a, b), BOOL, fn)


def _simplify_index(fn: str, a: Expr, b: Expr) -> Expr | None:
    """Fold integer identities, so that composed index maps stay affine and vectorizable."""
    x, y = _value(a), _value(b)
    if x is not None and y is not None:
        return _fold_index(fn, x, y)
    if fn == "add" and (x == 0 or y == 0):
        return b if x == 0 else a
    if fn == "sub" and (y == 0 or a is b):
        return a if y == 0 else ZERO
    if fn == "mul" and (x == 1 or y == 1):
        return b if x == 1 else a
    if fn == "mul" and (x == 0 or y == 0):
        return ZERO
    if fn == "floordiv" and y == 1:
        return a
    if fn == "mod" and y == 1:
        return ZERO
    if fn in ("floordiv", "mod") and y is not None and y > 1:
        return _divide(fn, a, y)
    return None


def _divide(fn: str, a: Expr, divisor: int) -> Expr | None:
    """Divide a loop variable's multiple plus a constant, if the multiple divides evenly.

    Loop variables never wrap around, as other integers may.
    """
    scaled, offset = (a.args[0], _value(a.args[1])) if a.kind == "call" and a.data == "add" else (a, 0)
    if offset is None or scaled.kind != "call" or scaled.data != "mul" or scaled.args[0].kind != "index":
        return None
    factor = _value(scaled.args[1])
    if factor is None or factor % divisor:
        return None
    if fn == "mod":
        return index_const(offset % divisor)
    return scaled.args[0] * index_const(factor // divisor) + offset // divisor


def _fold_index(fn: str, x: int, y: int) -> Expr | None:
    if fn in ("floordiv", "mod") and y == 0:
        return None
    table: dict[str, Callable[[int, int], int]] = {
        "add": lambda p, q: p + q,
        "sub": lambda p, q: p - q,
        "mul": lambda p, q: p * q,
        "floordiv": lambda p, q: p // q,
        "mod": lambda p, q: p % q,
    }
    if fn not in table:
        return None
    value = table[fn](x, y)
    # Wrap like int64 does: an index beyond it cannot be represented anyway.
    return const((value + 2**63) % 2**64 - 2**63, INT64)
