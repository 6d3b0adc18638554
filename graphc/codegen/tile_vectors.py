"""Vector instructions that the register tiles share, as LLVM IR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llvmlite import binding as llvm

from graphc.frontend.types import SCALARS, Pointer, Scalar
from graphc.frontend.writer import Function, Writer

__all__ = ["Carried", "Vectors"]


# Names of all vector registers, by architecture; a host may have the first half only.
_REGISTERS = {"x86_64": "xmm", "aarch64": "v", "arm64": "v"}
_COUNT = 32


class Vectors:
    """Writes addresses, loads, stores and arithmetic on vectors of one width into a function.

    Values are their names in LLVM IR; the function's parameters keep theirs.
    """

    def __init__(self, dtype: str, lanes: int) -> None:
        self.w = Writer()
        self.dtype = dtype
        self.lanes = lanes
        self.scalar = SCALARS[dtype]
        self.size = self.scalar.bits // 8
        self.kind = f"<{lanes} x {self.scalar.llvm}>"

    def function(self, name: str, parameters: Mapping[str, Scalar | Pointer]) -> Function:
        """Return the finished function."""
        self.w.run("ret void")
        header = ", ".join(f"{kind.llvm} %{parameter}" for parameter, kind in parameters.items())
        text = self.w.finish(f"define internal void @{name}({header}) alwaysinline nounwind")
        return Function(name, tuple(parameters.values()), None, text, self.w.declarations, ())

    def vacate(self) -> None:
        """Let no value stay in a vector register across this place.

        What is computed from a tile's sums uses constants that LLVM loads once, before the loop over
        tiles.  It would rather keep these in registers than the sums, in the innermost of all loops.
        """
        names = _REGISTERS.get(llvm.get_process_triple().partition("-")[0])
        if names is not None:
            clobbered = ",".join(f"~{{{names}{n}}}" for n in range(_COUNT))
            self.w.run(f'call void asm sideeffect "", "{clobbered}"()')

    # -- addresses and scalars
    def at(self, base: str, offset: str | int) -> str:
        """Return the address so many elements behind another."""
        return (
            base
            if offset == 0
            else self.w.name(f"getelementptr {self.scalar.llvm}, ptr {base}, i64 {offset}")
        )

    def row(self, base: str, stride: str, position: str | int) -> str:
        """Return the address of a row, or of a column."""
        return self.at(base, self.w.name(f"mul i64 {stride}, {position}") if position != 0 else 0)

    def clamped(self, position: int, limit: str) -> str:
        """Return a position, or the last one below the limit."""
        last = self.w.name(f"sub i64 {limit}, 1")
        return self.w.name(f"select i1 {self.below(position, limit)}, i64 {position}, i64 {last}")

    def below(self, position: int | str, limit: str) -> str:
        """Return whether a position is below a limit."""
        return self.w.name(f"icmp slt i64 {position}, {limit}")

    def element(self, pointer: str) -> str:
        """Load one element."""
        return self.w.name(f"load {self.scalar.llvm}, ptr {pointer}, align {self.size}")

    # -- blocks
    def branch(self, condition: str, then: str, otherwise: str) -> None:
        """End the block by a choice."""
        self.w.run(f"br i1 {condition}, label %{then}, label %{otherwise}")

    def join(self, first: str, first_block: str, second: str, second_block: str) -> str:
        """Return the vector that comes with the block before."""
        return self.w.name(f"phi {self.kind} [ {first}, %{first_block} ], [ {second}, %{second_block} ]")

    # -- vectors
    def load(self, pointer: str) -> str:
        """Load a vector from the address of its first element."""
        return self.w.name(f"load {self.kind}, ptr {pointer}, align {self.size}")

    def store(self, value: str, pointer: str) -> None:
        """Store a vector at the address of its first element."""
        self.w.run(f"store {self.kind} {value}, ptr {pointer}, align {self.size}")

    def mask(self, count: str, first: int = 0) -> str:
        """Return which lanes, numbered from `first` on, are below a count."""
        kind = f"<{self.lanes} x i64>"
        numbers = ", ".join(f"i64 {n}" for n in range(first, first + self.lanes))
        return self.w.name(f"icmp slt {kind} <{numbers}>, {self.spread(count, 'i64')}")

    def load_where(self, mask: str, pointer: str) -> str:
        """Load the lanes of a mask, and zeros elsewhere."""
        lanes = f"<{self.lanes} x i1>"
        name = self._intrinsic("masked.load", ".p0", self.kind, ("ptr", "i32", lanes, self.kind))
        operands = f"ptr {pointer}, i32 {self.size}, {lanes} {mask}, {self.kind} zeroinitializer"
        return self.w.name(f"call {self.kind} @{name}({operands})")

    def store_where(self, mask: str, value: str, pointer: str) -> None:
        """Store the lanes of a mask."""
        lanes = f"<{self.lanes} x i1>"
        name = self._intrinsic("masked.store", ".p0", "void", (self.kind, "ptr", "i32", lanes))
        self.w.run(f"call void @{name}({self.kind} {value}, ptr {pointer}, i32 {self.size}, {lanes} {mask})")

    def spread(self, value: str, element: str = "") -> str:
        """Return a vector of copies of a scalar, by default of the vectors' own type."""
        element = element or self.scalar.llvm
        kind = f"<{self.lanes} x {element}>"
        one = self.w.name(f"insertelement {kind} poison, {element} {value}, i64 0")
        return self.w.name(f"shufflevector {kind} {one}, {kind} poison, <{self.lanes} x i32> zeroinitializer")

    def shuffle(self, left: str, right: str, lanes: Sequence[int]) -> str:
        """Pick lanes of two vectors; those of the second are numbered after the first's."""
        picked = ", ".join(f"i32 {lane}" for lane in lanes)
        return self.w.name(
            f"shufflevector {self.kind} {left}, {self.kind} {right}, <{len(lanes)} x i32> <{picked}>"
        )

    def add(self, left: str, right: str) -> str:
        """Return ``left + right``."""
        return self.w.name(f"fadd {self.kind} {left}, {right}")

    def multiply_add(self, left: str, right: str, total: str) -> str:
        """Return ``left * right + total``."""
        # fmuladd, not fma: on a host without FMA it is a multiplication and an addition.
        name = self._intrinsic("fmuladd", "", self.kind, (self.kind,) * 3)
        operands = ", ".join(f"{self.kind} {x}" for x in (left, right, total))
        return self.w.name(f"call {self.kind} @{name}({operands})")

    def total(self, value: str) -> str:
        """Return the sum of a vector's elements, added in a tree."""
        kind = self.scalar.llvm
        name = self._intrinsic("vector.reduce.fadd", "", kind, (kind, self.kind))
        return self.w.name(f"call reassoc nsz contract {kind} @{name}({kind} 0.0, {self.kind} {value})")

    def _intrinsic(self, verb: str, suffix: str, result: str, parameters: Sequence[str]) -> str:
        name = f"llvm.{verb}.v{self.lanes}{self.dtype}{suffix}"
        self.w.declare(result, name, parameters)
        return name


class Carried:
    """A value that a loop carries from round to round."""

    def __init__(self, w: Writer, kind: str, first: str, before: str) -> None:
        self.w = w
        self.name = w.name(f"phi {kind} [ {first}, %{before} ]")
        self.position = len(w.lines) - 1

    def close(self, value: str, block: str) -> None:
        """Name the value that the next round begins with, and the block it comes from."""
        self.w.lines[self.position] += f", [ {value}, %{block} ]"
