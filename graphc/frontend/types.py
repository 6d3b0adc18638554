"""Types of kernel code, and how operators combine them.

The rules are those of Numba, whose front end kernels can be compared with: integer arithmetic is done in
64 bits, and a float32 next to an integer of more than 16 bits becomes a float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "BOOL",
    "F32",
    "F64",
    "I64",
    "SCALARS",
    "STORAGE",
    "U64",
    "Pointer",
    "Scalar",
    "Tuple",
    "Type",
    "arithmetic",
    "common",
]


@dataclass(frozen=True)
class Scalar:
    """One machine value: its name in kernel code, LLVM's name, its bits, and its kind as in NumPy."""

    name: str
    llvm: str
    bits: int
    kind: str

    @property
    def is_float(self) -> bool:
        """Whether it is a floating point type."""
        return self.kind == "f"

    @property
    def signed(self) -> bool:
        """Whether it compares and widens as a signed integer."""
        return self.kind == "i"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Pointer:
    """The address of elements of one type."""

    element: Scalar
    llvm = "ptr"

    def __str__(self) -> str:
        return f"{self.element}*"


@dataclass(frozen=True)
class Tuple:
    """Several values that device functions hand around together."""

    items: tuple[Scalar | Pointer, ...]

    @property
    def llvm(self) -> str:
        """LLVM's name of the struct that stands for it."""
        return "{ " + ", ".join(item.llvm for item in self.items) + " }"

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.items))})"


Type: TypeAlias = Scalar | Pointer | Tuple

BOOL = Scalar("b1", "i1", 1, "b")
I64 = Scalar("i64", "i64", 64, "i")
U64 = Scalar("u64", "i64", 64, "u")
F32 = Scalar("f32", "float", 32, "f")
F64 = Scalar("f64", "double", 64, "f")
SCALARS = {
    scalar.name: scalar
    for scalar in (
        BOOL,
        *(Scalar(f"i{bits}", f"i{bits}", bits, "i") for bits in (8, 16, 32)),
        I64,
        *(Scalar(f"u{bits}", f"i{bits}", bits, "u") for bits in (8, 16, 32)),
        U64,
        F32,
        F64,
    )
}
"""Scalar types by their names in kernel code."""

STORAGE = {
    "bool": SCALARS["u8"],
    "float32": F32,
    "float64": F64,
    **{f"{word}{bits}": SCALARS[f"{word[0]}{bits}"] for word in ("int", "uint") for bits in (8, 16, 32, 64)},
}
"""How the elements of a NumPy dtype lie in memory."""

# Integers up to this size are exact in a float32.
_BITS_OF_A_FLOAT32 = 16


def _with_a_float(first: Scalar, second: Scalar) -> Scalar:
    if first.is_float and second.is_float:
        return first if first.bits >= second.bits else second
    number, integer = (first, second) if first.is_float else (second, first)
    return number if integer.bits <= _BITS_OF_A_FLOAT32 else F64


def arithmetic(first: Scalar, second: Scalar) -> Scalar:
    """Return the type in which two operands are added, multiplied or compared.

    Examples
    --------
    >>> str(arithmetic(SCALARS["i8"], SCALARS["i32"])), str(arithmetic(F32, I64))
    ('i64', 'f64')
    """
    if first.is_float or second.is_float:
        return _with_a_float(first, second)
    return U64 if first.kind == second.kind == "u" else I64


def common(first: Scalar, second: Scalar) -> Scalar | None:
    """Return the narrowest type that holds both operands, None if there is no good one.

    Examples
    --------
    >>> str(common(SCALARS["i8"], SCALARS["i32"])), str(common(SCALARS["u8"], SCALARS["i8"]))
    ('i32', 'i16')
    """
    if first == second:
        return first
    if first.is_float or second.is_float:
        return _with_a_float(first, second)
    if BOOL in (first, second):
        return second if first == BOOL else first
    if first.kind == second.kind:
        return first if first.bits >= second.bits else second
    signed, unsigned = (first, second) if first.signed else (second, first)
    bits = max(signed.bits, 2 * unsigned.bits)
    return SCALARS.get(f"i{bits}")
