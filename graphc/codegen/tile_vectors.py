"""Vector instructions that the register tiles share, as LLVM IR."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

I32, I64 = ir.IntType(32), ir.IntType(64)
SCALARS: dict[str, Any] = {"f32": ir.FloatType(), "f64": ir.DoubleType()}
BYTES = {"f32": 4, "f64": 8}


class Vectors:
    """Writes loads, stores and arithmetic on vectors of one width at a builder's position."""

    def __init__(self, builder: Any, dtype: str, lanes: int) -> None:
        self.b = builder
        self.dtype = dtype
        self.lanes = lanes
        self.size = BYTES[dtype]
        self.scalar = SCALARS[dtype]
        self.kind = ir.VectorType(self.scalar, lanes)
        self.zero = ir.Constant(self.kind, [0.0] * lanes)

    def load(self, pointer: Any) -> Any:
        """Load a vector from the address of its first element."""
        loaded = self.b.load(self.b.bitcast(pointer, self.kind.as_pointer()))
        loaded.align = self.size
        return loaded

    def store(self, value: Any, pointer: Any) -> None:
        """Store a vector at the address of its first element."""
        self.b.store(value, self.b.bitcast(pointer, self.kind.as_pointer())).align = self.size

    def load_first(self, pointer: Any, count: Any) -> Any:
        """Load the first `count` elements, and zeros behind them."""
        place = self.b.bitcast(pointer, self.kind.as_pointer())
        numbers = ir.Constant(ir.VectorType(I64, self.lanes), list(range(self.lanes)))
        mask = self.b.icmp_signed("<", numbers, self.spread(count))
        fn = self._declare("masked.load", "p0", [place.type, I32, mask.type, self.kind], self.kind)
        return self.b.call(fn, [place, ir.Constant(I32, self.size), mask, self.zero])

    def spread(self, count: Any) -> Any:
        """Return a vector of copies of one int64."""
        kind = ir.VectorType(I64, self.lanes)
        undefined = ir.Constant(kind, ir.Undefined)
        one = self.b.insert_element(undefined, count, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return self.b.shuffle_vector(one, undefined, zeros)

    def shuffle(self, left: Any, right: Any, lanes: list[int]) -> Any:
        """Pick lanes of two vectors; those of the second are numbered after the first's."""
        return self.b.shuffle_vector(left, right, ir.Constant(ir.VectorType(I32, self.lanes), lanes))

    def multiply_add(self, left: Any, right: Any, total: Any) -> Any:
        """Return ``left * right + total``."""
        # fmuladd, not fma: on a host without FMA it is a multiplication and an addition.
        fn = self._declare("fmuladd", "", [self.kind] * 3, self.kind)
        return self.b.call(fn, [left, right, total])

    def total(self, value: Any) -> Any:
        """Return the sum of a vector's elements, added in a tree."""
        fn = self._declare("vector.reduce.fadd", "", [self.scalar, self.kind], self.scalar)
        start = ir.Constant(self.scalar, 0.0)
        return self.b.call(fn, [start, value], fastmath=("reassoc", "nsz", "contract"))

    def _declare(self, name: str, suffix: str, kinds: list[Any], result: Any) -> Any:
        full = f"llvm.{name}.v{self.lanes}{self.dtype}" + (f".{suffix}" if suffix else "")
        found = self.b.module.globals.get(full)
        return (
            found if found is not None else ir.Function(self.b.module, ir.FunctionType(result, kinds), full)
        )
