"""LLVM IR as text: values, instructions, blocks, and the functions that a module is put together from."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from graphc.frontend.types import BOOL, Pointer, Scalar, Tuple, Type

__all__ = ["Bundle", "Function", "Operand", "Value", "Writer", "constant", "module_text"]

Number = bool | int | float


@dataclass(frozen=True)
class Value:
    """An SSA value or a constant, as it stands in an instruction.

    `known` is the number itself where it is a constant.
    """

    type: Scalar | Pointer
    text: str
    known: Number | None = None

    def __str__(self) -> str:
        return f"{self.type.llvm} {self.text}"


@dataclass(frozen=True)
class Bundle:
    """A tuple while compiling: it exists in registers, never in memory."""

    items: tuple[Value, ...]

    @property
    def type(self) -> Tuple:
        """Its type."""
        return Tuple(tuple(item.type for item in self.items))


Operand = Value | Bundle


def constant(kind: Scalar, number: Number) -> Value:
    """Return a constant, rounded or wrapped to its type.

    Examples
    --------
    >>> from graphc.frontend.types import F32, I64
    >>> str(constant(I64, -3)), str(constant(F32, 0.5))
    ('i64 -3', 'float 0x3FE0000000000000')
    """
    if kind == BOOL:
        return Value(kind, "true" if number else "false", bool(number))
    if kind.is_float:
        value = _float32(float(number)) if kind.bits == 32 else float(number)
        # LLVM writes a float as the double of the same value.
        return Value(kind, f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}", value)
    wrapped = int(number) & ((1 << kind.bits) - 1)
    if kind.signed and wrapped >> (kind.bits - 1):
        wrapped -= 1 << kind.bits
    return Value(kind, str(wrapped), wrapped)


def _float32(value: float) -> float:
    try:
        rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    return rounded


@dataclass(frozen=True, eq=False)
class Function:
    """A finished function of a module, and what it needs beside itself.

    Parameters
    ----------
    symbol : str
        Its name.
    parameters : tuple of Type
        A tuple is passed as its items.
    result : Type or None
        None for a function that returns nothing.
    text : str
        Its definition.
    declarations : mapping of str to str
        Names and text of the LLVM intrinsics it calls.
    callees : tuple of Function
        The functions it calls.
    """

    symbol: str
    parameters: tuple[Type, ...]
    result: Type | None
    text: str
    declarations: Mapping[str, str]
    callees: tuple[Function, ...]


def module_text(root: Function) -> str:
    """Return a function and all it needs as one module."""
    functions = _reachable(root)
    declarations = {name: text for f in functions for name, text in f.declarations.items()}
    return "\n".join((*declarations.values(), *(f.text for f in functions)))


def _reachable(root: Function) -> Collection[Function]:
    # By symbol: two threads that need a device function at once may each have written it.
    found = {root.symbol: root}
    pending = [root]
    while pending:
        fresh = {f.symbol: f for f in pending.pop().callees if f.symbol not in found}
        found |= fresh
        pending += fresh.values()
    return found.values()


@dataclass
class Writer:
    """Writes the body of one function, instruction by instruction."""

    lines: list[str] = field(default_factory=lambda: ["entry:"])
    slots: list[str] = field(default_factory=list)
    declarations: dict[str, str] = field(default_factory=dict)
    callees: dict[Function, None] = field(default_factory=dict)
    block: str = "entry"
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def fresh(self, prefix: str = "v") -> str:
        """Return a name that the function does not use yet."""
        return f"{prefix}{next(self._numbers)}"

    def run(self, instruction: str) -> None:
        """Write an instruction without a result."""
        self.lines.append(f"  {instruction}")

    def name(self, instruction: str) -> str:
        """Write an instruction and return the name of its result."""
        result = f"%{self.fresh()}"
        self.lines.append(f"  {result} = {instruction}")
        return result

    def value(self, kind: Scalar | Pointer, instruction: str) -> Value:
        """Write an instruction and return its result."""
        return Value(kind, self.name(instruction))

    # -- blocks
    def labels(self, *purposes: str) -> list[str]:
        """Return names for new blocks."""
        number = next(self._numbers)
        return [f"{purpose}{number}" for purpose in purposes]

    def start(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.block = label

    def jump(self, label: str) -> None:
        """End the block."""
        self.run(f"br label %{label}")

    def branch(self, condition: Value, then: str, otherwise: str) -> None:
        """End the block by a choice."""
        self.run(f"br {condition}, label %{then}, label %{otherwise}")

    def phi(self, kind: Scalar | Pointer, *incoming: tuple[str, str]) -> Value:
        """Return the value that comes with the block before; pairs of value and block."""
        pairs = ", ".join(f"[ {text}, %{block} ]" for text, block in incoming)
        return self.value(kind, f"phi {kind.llvm} {pairs}")

    # -- memory
    def slot(self, kind: Scalar | Pointer) -> str:
        """Return a place for a variable; LLVM turns it into a register."""
        name = f"%{self.fresh('slot')}"
        self.slots.append(f"  {name} = alloca {kind.llvm}")
        return name

    def element(self, base: Value, index: Value) -> str:
        """Return the address of an element."""
        pointer = base.type
        kind = pointer.element if isinstance(pointer, Pointer) else pointer
        return self.name(f"getelementptr {kind.llvm}, {base}, {index}")

    def prefetch(self, place: str, *, level: int, write: bool = False) -> None:
        """Ask for the line of memory at `place`, to lie in the cache of a level, for reading or writing."""
        self.declare("void", "llvm.prefetch.p0", ("ptr", "i32", "i32", "i32"))
        # LLVM counts from none, 0, to the nearest, 3; the last number is for data.
        self.run(f"call void @llvm.prefetch.p0(ptr {place}, i32 {int(write)}, i32 {4 - level}, i32 1)")

    # -- calls
    def declare(self, result: str, name: str, parameters: Sequence[str]) -> None:
        """Declare an LLVM intrinsic."""
        self.declarations[name] = f"declare {result} @{name}({', '.join(parameters)})"

    def intrinsic(self, kind: Scalar, name: str, arguments: Sequence[Value], flags: str = "") -> Value:
        """Call an LLVM intrinsic whose name ends in the type of its operands."""
        full = f"{name}.f{kind.bits}" if kind.is_float else f"{name}.i{kind.bits}"
        self.declare(kind.llvm, full, [a.type.llvm for a in arguments])
        call = f"call {flags} {kind.llvm}" if flags else f"call {kind.llvm}"
        return self.value(kind, f"{call} @{full}({', '.join(map(str, arguments))})")

    def finish(self, header: str) -> str:
        """Return the function's text."""
        body = [self.lines[0], *self.slots, *self.lines[1:]]
        return "\n".join([f"{header} {{", *body, "}"])
